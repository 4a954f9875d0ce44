//! The tables of a schema or database that is a tenant's own: locked first, so that what is read of them later is they, and no view
//! that took a table's name meanwhile.

use super::admin::Admin;
use super::error::LifecycleError;
use crate::sql::quote_identifier;

/// A table, a partition, or what those are partitions of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlainTable {
    pub oid: u32,
    pub schema: String,
    pub table: String,
    /// Its rows are in partitions.
    pub is_partitioned: bool,
    pub is_partition: bool,
}

impl PlainTable {
    /// Its name in SQL.
    pub fn name(&self) -> String {
        format!("{}.{}", quote_identifier(&self.schema), quote_identifier(&self.table))
    }

    /// As FROM has it, without tables that inherit from it.
    pub fn from(&self) -> String {
        let only = if self.is_partitioned { "" } else { "ONLY " };
        format!("{only}{}", self.name())
    }
}

const TABLES: &str = "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind = 'p', c.relispartition FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND ($1::text IS NULL OR n.nspname = $1) AND n.nspname !~ '^pg_' \
    AND n.nspname <> 'information_schema' \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 2, 3";

async fn tables(admin: &Admin, schema: Option<&str>) -> Result<Vec<PlainTable>, LifecycleError> {
    let rows = admin.rows(TABLES, &[&schema]).await?;
    let table = |row: &tokio_postgres::Row| {
        Ok(PlainTable {
            oid: row.try_get(0)?,
            schema: row.try_get(1)?,
            table: row.try_get(2)?,
            is_partitioned: row.try_get(3)?,
            is_partition: row.try_get(4)?,
        })
    };
    rows.iter().map(table).collect::<Result<_, _>>().map_err(|error| admin.failed(error))
}

/// Locks all tables of a schema, or of the database, in this transaction.
pub(super) async fn lock_tables(
    admin: &Admin,
    schema: Option<&str>,
    mode: &str,
) -> Result<Vec<PlainTable>, LifecycleError> {
    let before = tables(admin, schema).await?;
    lock(admin, &before.iter().map(|table| format!("ONLY {}", table.name())).collect::<Vec<_>>(), mode).await?;
    let after = tables(admin, schema).await?;
    if before != after {
        return Err(LifecycleError::refused(
            "the tables changed while they were looked at",
            "try again when no migration runs",
        ));
    }
    Ok(after)
}

/// Locks tables, as LOCK has their names.
pub(super) async fn lock(admin: &Admin, names: &[String], mode: &str) -> Result<(), LifecycleError> {
    for some in names.chunks(500) {
        admin.run(&format!("LOCK TABLE {} IN {mode} MODE", some.join(", "))).await?;
    }
    Ok(())
}
