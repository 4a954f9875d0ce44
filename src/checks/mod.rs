//! Looking after an upstream: a first configuration for it, what in its schema weakens isolation, and the DDL that mends
//! it; and the proof that isolation holds.

pub mod assess;
pub mod doctor;
pub mod init;
mod page;
pub mod plans;
pub mod rls;
pub mod tenants;
pub mod verify_isolation;

use std::sync::Arc;

use crate::catalog::{self, Catalog, LoadError};
use crate::config::{Config, Upstream};
use crate::guard::Policy;
use crate::policy::{PolicyInput, PolicyNote, build_policy, derives_shared, tenants_of, usage_table};
use crate::sql::StatementLimits;

/// The policy of an upstream as the proxy would have it now, and what of the configuration does not fit what is there.
///
/// # Errors
/// The upstream's catalog cannot be read.
pub async fn load_policy(config: &Config, upstream: &Upstream) -> Result<(Policy, Vec<PolicyNote>), LoadError> {
    Ok(policy_of(config, upstream, catalog::load(upstream).await?))
}

/// The same with a catalog that was read.
pub fn policy_of(config: &Config, upstream: &Upstream, catalog: Arc<Catalog>) -> (Policy, Vec<PolicyNote>) {
    let tenants = tenants_of(config, &upstream.name);
    let input = PolicyInput {
        tenancy: &config.tenancy,
        tenants: &tenants,
        derives_shared: derives_shared(config, &upstream.name),
        enforcement: upstream.enforcement,
        usage_table: usage_table(config, &upstream.name),
        limits: StatementLimits::default(),
    };
    build_policy(&input, catalog, 0)
}
