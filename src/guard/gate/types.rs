//! Which types a statement may name.

use pg_query::protobuf::TypeName;

use super::names::{foreign_schema, parts, schema_is_own, truncated};
use crate::guard::{Mode, Policy, Refusal, TableRule};

/// Checks the name of a type in a cast, a column definition or a column definition list.
///
/// Casts to `regclass` and its kin look names up, which are no secret in the shared layout; they run on the tenant's own rows
/// only (split guard), so an error shows no other's value.
///
/// # Errors
/// 42501 for a type in a schema of another tenant.
pub(crate) fn check(policy: &Policy, mode: &Mode, name: &TypeName) -> Result<(), Refusal> {
    let names = parts(&name.names).unwrap_or_default();
    let schema = match names.as_slice() {
        [.., schema, _] => truncated(schema),
        _ => return Ok(()),
    };
    let Mode::Schema(_) = mode else { return Ok(()) };
    if schema_is_own(mode, schema) || holds_no_tenant(policy, schema) {
        return Ok(());
    }
    Err(foreign_schema(schema))
}

/// A schema with types of an extension (`extensions.citext`) or with a configured shared table: no tenant's.
fn holds_no_tenant(policy: &Policy, schema: &str) -> bool {
    policy.tables.iter().any(|(name, rule)| name.schema == schema && matches!(rule, TableRule::Shared))
        || policy.catalog.functions.values().flatten().any(|f| f.name.schema == schema && f.extension.is_some())
}
