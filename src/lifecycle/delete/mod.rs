//! A tenant's data is deleted, and what was deleted is on record.

pub(super) mod own;
mod shared;
mod strangers;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::Lifecycle;
use super::admin::Admin;
use super::book::Change;
use super::error::{LifecycleError, place_of};
use super::export::ExportRequest;
use super::operations::{self, Operation, Verb};
use super::show::word_of;
use crate::base::hex;
use crate::config::{Layout, Tenant};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct DeleteRequest {
    /// The tenant's name.
    pub name: String,
    /// Count only.
    pub dry_run: bool,
    /// Rows of shared tables that are deleted in one transaction.
    pub batch: u32,
    /// At most so many rows a second.
    pub rate: Option<u32>,
    /// Why, for the record.
    pub reason: Option<String>,
    /// Copy its data there before.
    pub export_first: Option<PathBuf>,
}

/// What became of a table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Deleted {
    pub table: String,
    /// Rows that were there.
    pub counted: i64,
    pub deleted: i64,
}

/// How quickly rows are deleted.
pub(super) struct Pace {
    batch: u32,
    rate: Option<u32>,
    began: Instant,
    rows: u64,
}

impl Pace {
    pub fn new(batch: u32, rate: Option<u32>) -> Self {
        let rate = rate.map(|rate| rate.max(1));
        let batch = batch.clamp(1, 100_000).min(rate.unwrap_or(u32::MAX));
        Self { batch, rate, began: Instant::now(), rows: 0 }
    }

    /// Waits until more rows may be deleted.
    async fn deleted(&mut self, rows: u64) {
        self.rows = self.rows.saturating_add(rows);
        if let Some(rate) = self.rate {
            let due = Duration::from_millis(self.rows.saturating_mul(1000) / u64::from(rate));
            tokio::time::sleep(due.saturating_sub(self.began.elapsed())).await;
        }
    }
}

fn refuse_active(tenant: &Tenant) -> Result<(), LifecycleError> {
    match tenant.suspended {
        true => Ok(()),
        false => Err(LifecycleError::refused(
            format!("tenant \"{}\" is not suspended", tenant.name),
            format!("its sessions end first: pgwarden tenant suspend {}", tenant.name),
        )),
    }
}

impl Lifecycle {
    /// Deletes a suspended tenant's data, and its line among the tenants. Returns the evidence.
    ///
    /// # Errors
    /// It is not suspended, others refer to its rows, or the servers do not let it. What was deleted until then is on record, and the
    /// next run goes on.
    pub async fn delete(&self, request: &DeleteRequest) -> Result<Json, LifecycleError> {
        let listed = self.config.tenants.iter().find(|tenant| tenant.name.as_str() == request.name);
        let Some(tenant) = listed else { return self.was_deleted(&request.name).await };
        self.refuse_others_place(tenant)?;
        if request.dry_run {
            let counts = self.counts(tenant).await?;
            return Ok(json!({ "dry_run": true, "tenant": request.name, "at": place_of(&tenant.upstream),
                "suspended": tenant.suspended, "would_delete": counts }));
        }
        refuse_active(tenant)?;
        let arguments = json!({ "reason": request.reason, "export_first": request.export_first, "rate": request.rate, "batch": request.batch });
        let operation = Operation::begin(&self.home, &request.name, Verb::Delete, &self.by, &arguments).await?;
        let outcome = async {
            self.refuse_moving(operation.admin(), &request.name).await?;
            let tenant = self.as_listed_now(&request.name).await?;
            refuse_active(&tenant)?;
            self.refuse_others_place(&tenant)?;
            self.delete_data(request, &tenant, &operation).await
        };
        let outcome = outcome.await;
        operation.end(outcome).await
    }

    async fn delete_data(
        &self,
        request: &DeleteRequest,
        tenant: &Tenant,
        operation: &Operation,
    ) -> Result<Json, LifecycleError> {
        let export = match &request.export_first {
            Some(directory) => {
                operation.step("exporting").await?;
                let (name, directory) = (request.name.clone(), directory.clone());
                let export = ExportRequest { name, directory, binary: false, jobs: 4 };
                Some(self.export_data(&export, tenant).await?)
            }
            None => None,
        };
        let deleted = match &tenant.layout {
            Layout::Shared => self.delete_rows(tenant, Pace::new(request.batch, request.rate), operation).await?,
            Layout::Schema { schema, role } => {
                operation.step(&format!("dropping schema \"{schema}\"")).await?;
                let role = role.as_deref().filter(|role| !self.is_others_role(tenant, role));
                own::drop_schema(tenant, schema, role).await?
            }
            Layout::Database => {
                operation.step(&format!("dropping {}", place_of(&tenant.upstream))).await?;
                own::drop_database(tenant).await?
            }
        };
        let keys = tenant.keys.default.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut evidence = json!({
            "operation": operation.id(), "tenant": request.name, "layout": word_of(&tenant.layout), "at": place_of(&tenant.upstream), "keys": keys,
            "export": export, "deleted": deleted, "remaining": 0, "reason": request.reason, "signed_off_by": self.by,
        });
        // On record before the tenant's line is gone.
        operation.so_far(&evidence).await?;
        let left_to_do = match self.config.tenancy.pattern {
            // Of a name that nobody lists the pattern makes a tenant.
            Some(_) => {
                Some("its line stays, suspended: [tenancy.pattern] would make a tenant of its name again".to_owned())
            }
            None => self.write(operation.admin(), Change::Delete(&request.name)).await?.edit().map(str::to_owned),
        };
        if let Some(object) = evidence.as_object_mut() {
            object.insert("left_to_do".to_owned(), json!(left_to_do));
            let digest = Sha256::digest(Json::Object(object.clone()).to_string());
            object.insert("sha256".to_owned(), hex(&digest).into());
        }
        Ok(evidence)
    }

    pub(super) async fn counts(&self, tenant: &Tenant) -> Result<Vec<Deleted>, LifecycleError> {
        match &tenant.layout {
            Layout::Shared => self.count_rows(tenant).await,
            Layout::Schema { schema, .. } => own::counts(tenant, Some(schema)).await,
            Layout::Database => own::counts(tenant, None).await,
        }
    }

    /// Nobody is listed: somebody was, perhaps.
    async fn was_deleted(&self, name: &str) -> Result<Json, LifecycleError> {
        let admin = Admin::to_ask(&self.home.upstream).await?;
        let records = operations::last(&admin, &self.home.operations, name, 100).await.unwrap_or_default();
        let evidence = records.into_iter().find(|it| it.verb == "delete" && it.state == "done");
        evidence
            .map(|record| json!({ "tenant": name, "found": "nothing", "deleted_at": record.ended_at, "evidence": record.result }))
            .ok_or_else(|| LifecycleError::NoTenant(name.to_owned()))
    }

    /// A database or schema is dropped only if nobody else is in it, pgwarden's own tables neither.
    pub(super) fn refuse_others_place(&self, tenant: &Tenant) -> Result<(), LifecycleError> {
        if tenant.layout != Layout::Database {
            return Ok(());
        }
        let here = |it: &crate::config::Upstream| {
            it.address == tenant.upstream.address && it.database == tenant.upstream.database
        };
        let mut others = self.config.tenants.iter().filter(|it| it.name != tenant.name);
        if others.any(|it| here(&it.upstream)) || here(&self.home.upstream) {
            return Err(LifecycleError::refused(
                format!("others live in {} too", place_of(&tenant.upstream)),
                "it is no database of this tenant's own: see its line among the tenants",
            ));
        }
        Ok(())
    }

    pub(super) fn is_others_role(&self, tenant: &Tenant, role: &str) -> bool {
        self.config.tenants.iter().any(|it| {
            it.name != tenant.name && matches!(&it.layout, Layout::Schema { role: Some(other), .. } if **other == *role)
        })
    }
}
