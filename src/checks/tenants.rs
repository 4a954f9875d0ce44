//! The tenants that a running proxy would have: those of the file, those of the table, those that a pattern makes.

use std::sync::Arc;

use crate::base::{Access, QualifiedName};
use crate::config::{Config, Tenant, Upstream};
use crate::control::{self, ControlError};
use crate::guard::{Policy, TableRule};
use crate::sql::names_of_select;
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
