//! An export is loaded into a tenant's empty place: all in one transaction.

mod check;
mod own;
mod shared;

use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::SinkExt as _;
use serde_json::{Value as Json, json};
use tokio::io::AsyncReadExt as _;
use tokio_postgres::error::SqlState;

pub(super) use shared::raise_sequences;

use super::Lifecycle;
use super::admin::Admin;
use super::error::{LifecycleError, place_of};
use super::export::{Manifest, Source, TableFile};
use super::operations::{Operation, Verb};
use crate::config::{Layout, Tenant};
use crate::control::ControlError;
use crate::sql::quote_identifier;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// The tenant, which there is already.
    pub name: String,
    /// What `export` wrote.
    pub directory: PathBuf,
    /// Compare hashes of the rows, besides their numbers.
    pub verify: bool,
    /// Definitions that the tenant may have written itself may be run as the admin.
    pub trust: bool,
    /// Say what would be done.
    pub dry_run: bool,
}

impl Lifecycle {
    /// Loads an export into a tenant's place.
    ///
    /// # Errors
    /// The export is damaged, the place is not empty, a key is taken, or the servers do not let it. Then nothing was changed.
    pub async fn import(&self, request: &ImportRequest) -> Result<Json, LifecycleError> {
        let started = Instant::now();
        let tenant = self.find(&request.name)?;
        self.tell("checking the files");
        let (manifest, digest) = check::read(&request.directory)?;
        let rows: i64 = manifest.tables.iter().map(|table| table.rows).sum();
        let arguments = json!({ "directory": request.directory, "manifest_sha256": digest, "of": manifest.tenant });
        if request.dry_run {
            return Ok(
                json!({ "dry_run": true, "tenant": request.name, "at": place_of(&tenant.upstream), "of": manifest.tenant,
                "taken_at": manifest.taken_at, "tables": manifest.tables.len(), "rows": rows }),
            );
        }
        let operation = Operation::begin(&self.home, &request.name, Verb::Import, &self.by, &arguments).await?;
        let outcome = self.import_data(request, &tenant, &manifest).await.map(|loaded| {
            json!({ "tenant": request.name, "of": manifest.tenant, "taken_at": manifest.taken_at, "loaded": loaded, "verified": request.verify,
                "milliseconds": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX) })
        });
        operation.end(outcome).await
    }

    async fn import_data(
        &self,
        request: &ImportRequest,
        tenant: &Tenant,
        manifest: &Manifest,
    ) -> Result<Json, LifecycleError> {
        let admin = Admin::connect(&tenant.upstream).await?;
        admin.run("BEGIN").await?;
        let loaded = match &tenant.layout {
            Layout::Shared => self.load_shared(&admin, request, tenant, manifest).await?,
            Layout::Schema { .. } | Layout::Database => own::load(self, &admin, request, tenant, manifest).await?,
        };
        admin.run("COMMIT").await?;
        Ok(loaded)
    }
}

/// Copies a file's rows into a table.
async fn copy_in(
    admin: &Admin,
    directory: &Path,
    table: &TableFile,
    into: &str,
    copy_format: &str,
) -> Result<(), LifecycleError> {
    let columns: Vec<_> = table.columns.iter().map(|column| quote_identifier(column)).collect();
    let sql = format!("COPY {into} ({}) FROM STDIN (FORMAT {copy_format})", columns.join(", "));
    let path = directory.join(&table.file);
    let mut file = tokio::fs::File::open(&path).await.map_err(LifecycleError::file(&path))?;
    let sink = admin.copy_in::<_, bytes::Bytes>(&sql).await.map_err(|error| failed_at(admin, table, error))?;
    let mut sink = std::pin::pin!(sink);
    loop {
        let mut part = bytes::BytesMut::with_capacity(256 << 10);
        if file.read_buf(&mut part).await.map_err(LifecycleError::file(&path))? == 0 {
            break;
        }
        sink.send(part.freeze()).await.map_err(|error| failed_at(admin, table, error))?;
    }
    let loaded = sink.finish().await.map_err(|error| failed_at(admin, table, error))?;
    if i64::try_from(loaded).ok() != Some(table.rows) {
        return Err(LifecycleError::refused(
            format!("{}.{}: {loaded} rows were loaded of {}", table.schema, table.table, table.rows),
            "the export is damaged: take it again",
        ));
    }
    Ok(())
}

/// What is wrong with a table's rows. A key that is taken has a way out.
fn failed_at(admin: &Admin, table: &TableFile, error: tokio_postgres::Error) -> LifecycleError {
    if error.code() != Some(&SqlState::UNIQUE_VIOLATION) {
        return admin.failed(error);
    }
    let db = error.as_db_error();
    let said = db.map(|db| format!("{} ({})", db.message(), db.detail().unwrap_or_default()));
    let said = said.unwrap_or_else(|| ControlError::from(error).to_string());
    LifecycleError::refused(
        format!("{}.{}: {said}", table.schema, table.table),
        "somebody's row has this key already: give the tenant a schema or a database of its own (create --layout schema), where its keys \
         are free, or free the key",
    )
}

/// Compares what is there with what was exported.
async fn verify(
    admin: &Admin,
    table: &TableFile,
    from: &str,
    condition: &str,
    with_hash: bool,
) -> Result<(), LifecycleError> {
    let sql = match with_hash {
        true => Source::digest(&table.columns, table.tenant_column.as_deref(), from, condition),
        false => format!("SELECT pg_catalog.count(*), '' FROM {from} t WHERE {condition}"),
    };
    let rows = admin.rows(&sql, &[]).await?;
    let failed = |error| admin.failed(error);
    let found: Option<(i64, String)> = match rows.first() {
        Some(row) => Some((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?)),
        None => None,
    };
    let hash = if with_hash { table.hash.clone() } else { String::new() };
    match found {
        Some(found) if found == (table.rows, hash) => Ok(()),
        _ => Err(LifecycleError::refused(
            format!(
                "{}.{} is not as it was exported: a trigger or a default has changed its rows, or their number",
                table.schema, table.table
            ),
            "nothing was changed; without --verify only numbers of rows are compared",
        )),
    }
}
