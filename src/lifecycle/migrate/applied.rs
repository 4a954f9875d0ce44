//! The table in each place that says what was applied there.
//!
//! It stands among a tenant's things, and who may change those may have put something else in its place. So it is read only where it
//! is what was made: a plain table with these columns and no row-level security, locked so that it stays so. Nothing of the
//! tenant's is run to read it.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};

use super::database;
use super::files::Version;
use super::pending::Applied;
use super::places::Place;
use crate::base::QualifiedName;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::{LifecycleError, place_of};
use crate::sql::quote_qualified;

/// Name, type and what else of each column: as [`SHAPE`] prints them.
const COLUMNS: [&str; 9] = [
    "version text",
    "file text",
    "checksum text",
    "statements integer",
    "applied_at timestamp with time zone",
    "milliseconds bigint",
    "by_whom text",
    "as_role text",
    "with_version text",
];

/// Nothing where there is no such schema, NULL where it has no such table.
const SHAPE: &str = "SELECT c.relkind = 'r' AND NOT c.relrowsecurity AND c.relpersistence = 'p', \
    ARRAY(SELECT a.attname || ' ' || CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace AND a.attgenerated = '' \
     THEN format_type(t.oid, NULL) ELSE '?' END FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) \
    FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = $2 WHERE n.nspname = $1";

/// Its columns.
pub(super) fn names() -> Vec<&'static str> {
    COLUMNS.iter().filter_map(|column| column.split(' ').next()).collect()
}

/// The statement that makes it.
pub(super) fn definition(table: &QualifiedName) -> String {
    format!(
        "CREATE TABLE {} (\n    \
         version pg_catalog.text PRIMARY KEY,\n    \
         file pg_catalog.text NOT NULL,\n    \
         checksum pg_catalog.text NOT NULL,\n    \
         statements pg_catalog.int4, -- of a file without a transaction that did not come to its end: those that were run\n    \
         applied_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),\n    \
         milliseconds pg_catalog.int8 NOT NULL,\n    \
         by_whom pg_catalog.text NOT NULL,\n    \
         as_role pg_catalog.text NOT NULL DEFAULT current_user,\n    \
         with_version pg_catalog.text NOT NULL\n)",
        quote_qualified(table)
    )
}

/// The statement that writes a row: version, file, checksum, statements, milliseconds, by whom, with which pgwarden.
pub(super) fn upsert(table: &QualifiedName) -> String {
    format!(
        "INSERT INTO {} AS m (version, file, checksum, statements, milliseconds, by_whom, with_version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (version) DO UPDATE SET checksum = excluded.checksum, \
         statements = excluded.statements, milliseconds = excluded.milliseconds, applied_at = DEFAULT, file = excluded.file",
        quote_qualified(table)
    )
}

/// Whether the table is there, as it was made.
///
/// # Errors
/// Its schema is not there, or something else has its name.
pub(super) async fn is_there(admin: &Admin, table: &QualifiedName) -> Result<bool, LifecycleError> {
    let failed = |error| admin.failed(error);
    // Many are asked for over one connection.
    let shape = admin.prepare_cached(SHAPE).await.map_err(failed)?;
    let rows = admin.query(&shape, &[&table.schema, &table.name]).await.map_err(failed)?;
    let Some(row) = rows.first() else {
        return Err(LifecycleError::refused(
            format!("schema \"{}\" in {} is not there", table.schema, place_of(&admin.at)),
            "make it with pgwarden tenant create, or take the tenant out of the configuration",
        ));
    };
    let Some(plain) = row.try_get::<_, Option<bool>>(0).map_err(failed)? else { return Ok(false) };
    let columns: Vec<String> = row.try_get(1).map_err(failed)?;
    match plain && columns == COLUMNS {
        true => Ok(true),
        false => Err(LifecycleError::refused(
            format!("{table} is not the table that pgwarden makes"),
            "somebody changed it, or something else has its name: it is not read, lest it be trusted",
        )),
    }
}

/// What it says. `None`: it is not there.
///
/// # Errors
/// The server's, or something else has its name.
pub(super) async fn read(admin: &Admin, table: &QualifiedName) -> Result<Option<Vec<Applied>>, LifecycleError> {
    if !is_there(admin, table).await? {
        return Ok(None);
    }
    let read = locked(admin, table).await;
    let undone = admin.run("ROLLBACK").await;
    // Of two errors the first says more.
    let read = read?;
    undone?;
    Ok(Some(read))
}

async fn locked(admin: &Admin, table: &QualifiedName) -> Result<Vec<Applied>, LifecycleError> {
    let name = quote_qualified(table);
    admin.run(&format!("BEGIN READ ONLY; LOCK TABLE ONLY {name} IN ACCESS SHARE MODE")).await?;
    // It may have become another before it was locked.
    if !is_there(admin, table).await? {
        return Err(LifecycleError::refused(format!("{table} is gone"), "try again"));
    }
    let rows =
        admin.rows(&format!("SELECT version, file, checksum, statements FROM ONLY {name} LIMIT 100000"), &[]).await?;
    let applied = |row: &tokio_postgres::Row| {
        let failed = |error| admin.failed(error);
        let version: String = row.try_get(0).map_err(failed)?;
        let statements: Option<i32> = row.try_get(3).map_err(failed)?;
        Ok(Applied {
            version: Version::parse(&version).ok_or_else(|| {
                LifecycleError::refused(format!("{table} has a version \"{version}\""), "pgwarden writes none like it")
            })?,
            file: row.try_get(1).map_err(failed)?,
            checksum: row.try_get(2).map_err(failed)?,
            statements: statements.map(|count| usize::try_from(count).unwrap_or_default()),
        })
    };
    rows.iter().map(applied).collect()
}

/// What it says in each of the places, in their order.
pub(super) async fn read_all(places: &[Place], jobs: usize) -> Vec<Result<Vec<Applied>, LifecycleError>> {
    // Each database is asked over a few connections.
    let mut databases: BTreeMap<_, Vec<(usize, &Place)>> = BTreeMap::new();
    for (at, place) in places.iter().enumerate() {
        databases.entry(database(&place.upstream)).or_default().push((at, place));
    }
    let parts = databases.values().flat_map(|places| places.chunks(places.len().div_ceil(jobs).max(1)));
    let read: Vec<Vec<_>> = stream::iter(parts.map(read_some)).buffer_unordered(jobs).collect().await;
    let mut all: Vec<_> = read.into_iter().flatten().collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, read)| read).collect()
}

async fn read_some(places: &[(usize, &Place)]) -> Vec<(usize, Result<Vec<Applied>, LifecycleError>)> {
    let mut all = Vec::new();
    let mut admin = None;
    for (at, place) in places {
        // One that failed is not used again.
        let used = match admin.take() {
            Some(admin) => Ok(admin),
            None => Admin::to_ask(&place.upstream).await,
        };
        let found = match used {
            Ok(used) => {
                let found = read(&used, &place.table()).await;
                admin = found.is_ok().then_some(used);
                found.map(Option::unwrap_or_default)
            }
            Err(error) => Err(error),
        };
        all.push((*at, found));
    }
    all
}
