//! Row-level security as a second layer below the guard: the policies that fit the configuration, and what of them is
//! missing on an upstream. The policies compare the tenant column with the setting that pgwarden seals.

mod check;
mod generate;
#[cfg(test)]
mod tests;

pub use check::{Report, check};
pub use generate::generate;

use crate::catalog::Relation;
use crate::guard::{Policy, TableRule, TenantTable};

/// Name of the policies.
pub const POLICY_NAME: &str = "pgwarden_tenant";

/// Name of the policies that show rows of everybody.
pub const NULL_POLICY_NAME: &str = "pgwarden_everybody";

/// The tenant tables that can have policies, by name; views cannot.
fn tables(policy: &Policy) -> Vec<(&Relation, &TenantTable)> {
    let mut tables: Vec<_> = policy
        .tables
        .iter()
        .filter_map(|(name, rule)| match rule {
            TableRule::Tenant(table) => Some((policy.catalog.relations.get(name)?, table)),
            TableRule::Shared(_) => None,
        })
        .filter(|(relation, _)| relation.kind.is_table())
        .collect();
    tables.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    tables
}
