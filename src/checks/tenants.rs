//! The tenants that a running proxy would have: those of the file, those of the table, those that a pattern makes.

use std::sync::Arc;

use crate::config::{Config, Tenant};
use crate::control::{self, ControlError};
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

/// The tenant of this name: listed, or made by the pattern.
pub fn find(config: &Config, name: &str) -> Option<Arc<Tenant>> {
    let registry = Registry::new(config);
    registry.tenant(name).map(Arc::clone).or_else(|| registry.derive(name))
}
