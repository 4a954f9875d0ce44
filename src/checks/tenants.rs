//! The tenants that a running proxy would have: those of the file, those of the table, those that a pattern makes.

use std::sync::Arc;

use crate::base::{Access, QualifiedName};
use crate::config::{Config, GateTables, Tenant, Upstream};
use crate::control::{self, ControlError};
use crate::guard::{Policy, TableRule};
use crate::sql::{names_of_select, quote_qualified};
use crate::tenant::Registry;
use crate::tenant::table::{ReadError, Rejected, merge, read};

/// Why the tenants' table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ControlError),
    /// The query fails, or gives something else.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The upstream is not configured.
    #[error("the upstream is missing")]
    NoUpstream,
}

/// The configuration with the tenants of `[tenants_from]`, as of now, beside the file's; and the rows that are left out.
///
/// # Errors
/// The table cannot be read.
pub async fn with_table(config: Config) -> Result<(Config, Vec<Rejected>), TableError> {
    let Some(from) = &config.tenants_from else { return Ok((config, Vec::new())) };
    let upstream = config.upstreams.get(&from.upstream).ok_or(TableError::NoUpstream)?;
    let client = control::connect(upstream, "pgwarden check").await?;
    let rows = read(&client, &from.query).await?;
    let merged = merge(&config, &rows);
    Ok((Config { tenants: merged.tenants, ..config }, merged.rejected))
}

/// What proxies lack of the tables by which they agree on moves: each with what is wrong with it. Without them no tenant of
/// `[tenants_from]` is served.
///
/// # Errors
/// Nobody can be asked.
pub async fn gate_tables_lack(config: &Config) -> Result<Vec<(QualifiedName, &'static str)>, TableError> {
    let (Some(from), Some(_)) = (&config.tenants_from, config.moves) else { return Ok(Vec::new()) };
    let upstream = config.upstreams.get(&from.upstream).ok_or(TableError::NoUpstream)?;
    let client = control::connect(upstream, "pgwarden check").await?;
    let GateTables { proxies, gates, acks } = GateTables::beside(&from.writes);
    let mut lacking = Vec::new();
    for (table, rights) in [
        (proxies, "SELECT, INSERT, UPDATE, DELETE"),
        (acks, "SELECT, INSERT, UPDATE, DELETE"),
        (gates, "SELECT, INSERT, DELETE"),
    ] {
        let sql = "SELECT CASE WHEN c IS NULL THEN NULL \
                   ELSE (SELECT pg_catalog.bool_and(pg_catalog.has_table_privilege(c, r)) \
                         FROM pg_catalog.unnest(pg_catalog.string_to_array($2, ', ')) AS r) END \
                   FROM pg_catalog.to_regclass($1) AS c";
        let row = client.query_one(sql, &[&quote_qualified(&table), &rights]).await.map_err(ReadError::Postgres)?;
        match row.try_get(0).map_err(ReadError::Postgres)? {
            None => lacking.push((table, "does not exist")),
            Some(false) => lacking.push((table, "may not be read and written")),
            Some(true) => {}
        }
    }
    Ok(lacking)
}

/// Tables from which `[tenants_from]` has its tenants and which tenants may write, having the tenant column. Of those that
/// `[tenancy.tables]` names, reading the file has warned.
pub fn written_by_tenants<'p>(config: &Config, upstream: &Upstream, policy: &'p Policy) -> Vec<&'p QualifiedName> {
    let from = config.tenants_from.as_ref().and_then(|from| Some((from, config.upstreams.get(&from.upstream)?)));
    let here = |it: &Upstream| it.address == upstream.address && it.database == upstream.database;
    let Some(names) = from.filter(|(_, it)| here(it)).and_then(|(from, _)| names_of_select(&from.query).ok()) else {
        return Vec::new();
    };
    let named = |name: &QualifiedName| {
        names.relations.iter().any(|it| it.name == name.name && it.schema.as_ref().is_none_or(|it| *it == name.schema))
    };
    let writable = |rule: &TableRule| matches!(rule, TableRule::Tenant(table) if table.access != Access::Read);
    let found = policy
        .tables
        .iter()
        .filter(|(name, rule)| writable(rule) && named(name) && !config.tenancy.tables.contains_key(name));
    found.map(|(name, _)| name).collect()
}

/// The tenant of this name: listed, or made by the pattern.
pub fn find(config: &Config, name: &str) -> Option<Arc<Tenant>> {
    let registry = Registry::new(config);
    registry.tenant(name).map(Arc::clone).or_else(|| registry.derive(name))
}
