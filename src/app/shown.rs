//! What the console shows of the tenants' table: SHOW REGISTRY, SHOW REJECTED.

use std::sync::Arc;

use super::reload::Reloader;
use super::tenants::TenantSource;
use crate::base::{PgError, SqlState};
use crate::console::table::{Rows, moment, number, text};
use crate::console::{Boxed, Cell, Column, ShowTable, View};

/// SHOW REGISTRY
pub(super) struct RegistryTable(pub Arc<TenantSource>);

const REGISTRY: &[Column] = &[
    text("source"),
    text("state"),
    number("tenants"),
    number("rejected"),
    text("loaded"),
    number("took_ms"),
    text("last_error"),
];

impl ShowTable for RegistryTable {
    fn name(&self) -> &'static str {
        "REGISTRY"
    }

    fn about(&self) -> &'static str {
        "where tenants come from, and whether that can be read"
    }

    fn columns(&self) -> &'static [Column] {
        REGISTRY
    }

    fn rows<'a>(&'a self, view: &'a View) -> Boxed<'a, Result<Rows, PgError>> {
        Box::pin(async move {
            let source = Arc::clone(&self.0);
            // A reload may hold what is counted.
            let counted = tokio::task::spawn_blocking(move || source.reloader().counts()).await;
            let (in_file, rejected) = counted.map_err(interrupted)?;
            let all = view.config.tenants.len();
            let mut rows = vec![vec![
                Cell::text("file"),
                Cell::text("loaded"),
                Cell::int(in_file),
                Cell::int(0),
                Cell::Null,
                Cell::Null,
                Cell::Null,
            ]];
            if let Some(from) = &view.config.tenants_from {
                let status = self.0.status();
                let state = match (&status.loaded, &status.error) {
                    (Some(_), None) => "loaded",
                    (Some(_), Some(_)) => "stale",
                    (None, _) => "not loaded",
                };
                rows.push(vec![
                    Cell::text(format!("upstream {}", from.upstream)),
                    Cell::text(state),
                    Cell::int(all.saturating_sub(in_file)),
                    Cell::int(rejected),
                    Cell::maybe(status.loaded.map(moment)),
                    Cell::int(status.took.as_millis()),
                    Cell::maybe(status.error),
                ]);
            }
            Ok(rows)
        })
    }
}

fn interrupted(_: tokio::task::JoinError) -> PgError {
    PgError::error(SqlState::INTERNAL_ERROR, "the table could not be put together")
}

/// SHOW REJECTED
pub(super) struct RejectedTable(pub Arc<Reloader>);

const REJECTED: &[Column] = &[text("name"), text("why")];

impl ShowTable for RejectedTable {
    fn name(&self) -> &'static str {
        "REJECTED"
    }

    fn about(&self) -> &'static str {
        "rows of the tenants' table that are left out, and tenants whose keys fit no column"
    }

    fn columns(&self) -> &'static [Column] {
        REJECTED
    }

    fn rows<'a>(&'a self, _: &'a View) -> Boxed<'a, Result<Rows, PgError>> {
        Box::pin(async move {
            let reloader = Arc::clone(&self.0);
            let rejected = tokio::task::spawn_blocking(move || reloader.rejected()).await.map_err(interrupted)?;
            Ok(rejected.iter().map(|it| vec![Cell::text(&it.name), Cell::text(&it.why)]).collect())
        })
    }
}
