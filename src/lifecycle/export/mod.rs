//! One tenant's data at one moment, in a directory: definitions, rows, sequences, a manifest, and a script for psql.

mod files;
mod manifest;
mod what;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use futures_util::future::try_join_all;
use serde_json::{Value as Json, json};

pub(super) use files::sha256_of;
pub(super) use manifest::{Extension, Manifest, TableFile};
pub(super) use what::{EXTENSIONS, Source, Sources};

use super::Lifecycle;
use super::admin::Admin;
use super::error::{LifecycleError, place_of};
use super::operations::{Operation, Verb};
use super::show::word_of;
use crate::config::Tenant;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct ExportRequest {
    /// The tenant's name.
    pub name: String,
    /// A directory that is not there, or empty.
    pub directory: PathBuf,
    /// Rows in COPY's binary format.
    pub binary: bool,
    /// Connections that copy at one time.
    pub jobs: usize,
}

impl Lifecycle {
    /// Copies a tenant's data out.
    ///
    /// # Errors
    /// There is something in the directory, or the servers or the disk do not let it. Then there is no directory.
    pub async fn export(&self, request: &ExportRequest) -> Result<Json, LifecycleError> {
        let tenant = self.find(&request.name)?;
        files::refuse_full(&request.directory)?;
        let arguments = json!({ "directory": request.directory, "binary": request.binary });
        let operation = Operation::begin(&self.home, &request.name, Verb::Export, &self.by, &arguments).await?;
        let outcome = self.export_data(request, &tenant).await;
        operation.end(outcome).await
    }

    /// The same, within another operation.
    pub(super) async fn export_data(&self, request: &ExportRequest, tenant: &Tenant) -> Result<Json, LifecycleError> {
        let started = Instant::now();
        files::refuse_full(&request.directory)?;
        let partial = files::Partial::make(&request.directory)?;
        let manifest = self.write_all(request, tenant, &partial.path).await?;
        let digest = files::finish(&partial, &request.directory, &manifest)?;
        let rows: i64 = manifest.tables.iter().map(|table| table.rows).sum();
        let bytes: u64 = manifest.tables.iter().map(|table| table.bytes).sum();
        Ok(json!({
            "tenant": request.name, "directory": request.directory, "tables": manifest.tables.len(), "rows": rows, "bytes": bytes,
            "left_out": manifest.left_out, "manifest_sha256": digest,
            "milliseconds": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        }))
    }

    async fn write_all(
        &self,
        request: &ExportRequest,
        tenant: &Tenant,
        directory: &Path,
    ) -> Result<Manifest, LifecycleError> {
        // Its locks hold the tables as they are until all is copied.
        let holder = Admin::connect(&tenant.upstream).await?;
        let source = self.source(&holder, tenant).await?;
        source.refuse_unwritable()?;
        let leader = Admin::connect(&tenant.upstream).await?;
        leader.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let snapshot = leader.value::<String>("SELECT pg_export_snapshot()", &[]).await?.unwrap_or_default();
        let mut manifest = source.describe(&leader, tenant, directory).await?;
        manifest.layout = word_of(&tenant.layout).to_owned();
        manifest.from = place_of(&tenant.upstream);
        manifest.copy_format = if request.binary { "binary" } else { "csv" }.to_owned();
        let queue: Mutex<VecDeque<(usize, &Source)>> = Mutex::new(source.tables.iter().enumerate().collect());
        let workers = (0..request.jobs.clamp(1, 32).min(source.tables.len().max(1)))
            .map(|_| self.work(tenant, &snapshot, &queue, request, directory));
        let mut tables: Vec<(usize, TableFile)> = try_join_all(workers).await?.into_iter().flatten().collect();
        tables.sort_by_key(|(n, _)| *n);
        manifest.tables = tables.into_iter().map(|(_, table)| table).collect();
        Ok(manifest)
    }

    /// Copies tables until there are no more.
    async fn work(
        &self,
        tenant: &Tenant,
        snapshot: &str,
        queue: &Mutex<VecDeque<(usize, &Source)>>,
        request: &ExportRequest,
        directory: &Path,
    ) -> Result<Vec<(usize, TableFile)>, LifecycleError> {
        let admin = Admin::connect(&tenant.upstream).await?;
        let snapshot = crate::sql::quote_literal(snapshot);
        admin
            .run(&format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {snapshot}"))
            .await?;
        let mut done = Vec::new();
        loop {
            let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front();
            let Some((n, source)) = next else { return Ok(done) };
            self.tell(&format!("copying {}.{}", source.schema, source.table));
            done.push((n, files::copy_out(&admin, source, n, request.binary, directory).await?));
        }
    }
}
