//! What is looked at before anything is done.

use serde::Serialize;

use super::copy::Way;
use super::destination::Ends;
use crate::config::Layout;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::export::Sources;
use crate::sql::quote_identifier;

/// Rows of a table, and about how many bytes they are.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Estimate {
    pub table: String,
    pub rows: i64,
    pub bytes: i64,
}

/// Of a table that stands for its partitions: of all of them.
const SIZE: &str = "SELECT COALESCE(sum(pg_table_size(p.relid)), 0)::bigint, COALESCE(sum(c.reltuples) FILTER (WHERE c.reltuples > 0), 0)::bigint \
    FROM (SELECT relid FROM pg_partition_tree($1::text::regclass) UNION SELECT $1::text::regclass) p JOIN pg_class c ON c.oid = p.relid \
    WHERE c.relkind = 'r'";

/// Counts rows, and estimates their bytes by their part of the table.
pub(super) async fn estimate(admin: &Admin, sources: &Sources) -> Result<Vec<Estimate>, LifecycleError> {
    let mut estimates = Vec::new();
    for source in &sources.tables {
        let rows = Way::of(source).count(admin).await?;
        let name = format!("{}.{}", source.schema, source.table);
        let quoted = format!("{}.{}", quote_identifier(&source.schema), quote_identifier(&source.table));
        let sizes = admin.rows(SIZE, &[&quoted]).await?;
        let failed = |error| admin.failed(error);
        let (bytes, all): (i64, i64) = match sizes.first() {
            Some(row) => (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?),
            None => (0, 0),
        };
        let part = i128::from(bytes) * i128::from(rows) / i128::from(all.max(rows).max(1));
        estimates.push(Estimate { table: name, rows, bytes: i64::try_from(part).unwrap_or(i64::MAX) });
    }
    Ok(estimates)
}

/// Large objects are no table's, and are not copied.
pub(super) async fn refuse_large_objects(admin: &Admin, ends: &Ends, sources: &Sources) -> Result<(), LifecycleError> {
    let all = match &ends.from.layout {
        Layout::Database => Some("SELECT count(*) FROM pg_largeobject_metadata".to_owned()),
        Layout::Schema { role: Some(role), .. } => Some(format!(
            "SELECT count(*) FROM pg_largeobject_metadata m JOIN pg_roles r ON r.oid = m.lomowner WHERE r.rolname = {}",
            crate::sql::quote_literal(role)
        )),
        Layout::Schema { role: None, .. } | Layout::Shared => None,
    };
    if let Some(sql) = all {
        let count = admin.value::<i64>(&sql, &[]).await?.unwrap_or_default();
        return refuse_count(count, "the tenant's place");
    }
    // Whose one is shows in who refers to it.
    let sql = "SELECT a.attname::text FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = $1::text::regclass \
               AND a.attnum > 0 AND NOT a.attisdropped AND (t.oid = 'oid'::regtype OR t.typbasetype = 'oid'::regtype)";
    for source in sources.tables.iter().filter(|it| !it.everybodys) {
        let name = format!("{}.{}", quote_identifier(&source.schema), quote_identifier(&source.table));
        for row in admin.rows(sql, &[&name]).await? {
            let column: String = row.try_get(0).map_err(|error| admin.failed(error))?;
            let count = format!(
                "SELECT count(*) FROM {} t JOIN pg_largeobject_metadata m ON m.oid = t.{}::oid WHERE {}",
                source.from,
                quote_identifier(&column),
                source.condition
            );
            let count = admin.value::<i64>(&count, &[]).await?.unwrap_or_default();
            refuse_count(count, &format!("{}.{}, column {column},", source.schema, source.table))?;
        }
    }
    Ok(())
}

fn refuse_count(count: i64, place: &str) -> Result<(), LifecycleError> {
    match count {
        0 => Ok(()),
        _ => Err(LifecycleError::refused(
            format!("{place} has {count} large objects, which are not copied"),
            "keep them in columns of type bytea, or outside of the database",
        )),
    }
}

/// What an operator should know, and nothing refuses.
pub(super) async fn notes(admin: &Admin, ends: &Ends, sources: &Sources) -> Result<Vec<String>, LifecycleError> {
    let failed = |error| admin.failed(error);
    let mut notes: Vec<String> = sources.left_out.iter().map(|it| format!("left where it is: {it}")).collect();
    let names: Vec<String> = sources
        .tables
        .iter()
        .map(|it| format!("{}.{}", quote_identifier(&it.schema), quote_identifier(&it.table)))
        .collect();
    let sql = "SELECT string_agg(DISTINCT n.name, ', ') FROM unnest($1::text[]) AS n(name) \
               JOIN pg_class c ON c.oid = n.name::regclass WHERE c.relpersistence = 'u'";
    if let Some(names) = admin.value::<Option<String>>(sql, &[&names]).await?.flatten() {
        notes.push(format!("unlogged, there too: {names}"));
    }
    let oldest = "SELECT extract(epoch FROM clock_timestamp() - xact_start)::bigint, pid, usename::text, application_name FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND xact_start IS NOT NULL \
                  AND xact_start < clock_timestamp() - interval '1 second' ORDER BY xact_start LIMIT 1";
    if let Some(row) = admin.rows(oldest, &[]).await?.first() {
        let (seconds, pid): (i64, i32) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        let (user, name): (Option<String>, Option<String>) =
            (row.try_get(2).map_err(failed)?, row.try_get(3).map_err(failed)?);
        notes.push(format!(
            "the oldest transaction is {seconds} s old: process {pid}, role {}, {}",
            user.unwrap_or_default(),
            name.unwrap_or_default()
        ));
    }
    if ends.from.layout == Layout::Database {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' \
                   AND usename NOT IN ($1, current_user)";
        let others = admin.value::<i64>(sql, &[&ends.from.upstream.user]).await?.unwrap_or_default();
        if others > 0 {
            notes.push(format!("{others} sessions of other roles are in its database: no gate holds them back"));
        }
    }
    Ok(notes)
}
