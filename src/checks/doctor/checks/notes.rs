//! What was noted when the rules were applied to the catalog, as far as it is about the schema. Mistakes of the configuration
//! are for `pgwarden check`.

use super::{Finding, Severity};
use crate::policy::PolicyNote;

/// The finding that a note makes.
pub fn noted(note: &PolicyNote) -> Option<Finding> {
    let refused = |object: String, what: String, fix: String| Finding {
        severity: Severity::Low,
        check: "relation-refused",
        object,
        what,
        why: "whose rows it shows cannot be told: tenants are refused every statement on it",
        fix,
    };
    match note {
        PolicyNote::FunctionChangesTenant { name, served } => Some(Finding {
            severity: if *served { Severity::Medium } else { Severity::Low },
            check: "function-sets-tenant",
            object: name.to_string(),
            what: "is on allow_functions and sets or resets the tenant's setting, or one whose name is computed"
                .to_owned(),
            why: "policies would take the statement for another tenant's: with rls alone it is refused, though it is listed",
            fix: "take that out of it, or take it off allow_functions".to_owned(),
        }),
        PolicyNote::UnboundDefiner { name } => Some(Finding {
            severity: Severity::High,
            check: "unbound-definer",
            object: name.to_string(),
            what: "is on allow_functions, SECURITY DEFINER, and no policy binds its owner".to_owned(),
            why: "enforcement counts on policies, and this reads the rows of every tenant",
            fix: format!(
                "ALTER FUNCTION {name} SECURITY INVOKER; or an owner who is neither superuser nor has BYPASSRLS"
            ),
        }),
        PolicyNote::SharedViewOfTenants { name, table } => Some(refused(
            name.to_string(),
            format!("is among shared_tables and reads the tenant table {table}"),
            format!(
                "list \"{name}\" in [tenancy.tables] if it shows the tenant column; take it off shared_tables otherwise"
            ),
        )),
        PolicyNote::SharedHasTenantChild { name, child } => Some(refused(
            name.to_string(),
            format!("is among shared_tables, and its child {child} is a tenant table"),
            format!("ALTER TABLE {child} NO INHERIT {name}; or take {name} off shared_tables"),
        )),
        PolicyNote::ConflictingParents { name } => Some(refused(
            name.to_string(),
            "and the tables that it inherits from are guarded by different columns or keys".to_owned(),
            format!("one column and key for all of them; or ALTER TABLE {name} NO INHERIT ..."),
        )),
        // Others of the doctor's checks tell of these.
        PolicyNote::UnwrittenCast { .. }
        | PolicyNote::RoleAndPolicies { .. }
        | PolicyNote::NoRowSecurity { .. }
        | PolicyNote::UntestedServer { .. }
        | PolicyNote::Unconfigured { .. }
        | PolicyNote::UnlistedView { .. } => None,
        PolicyNote::MissingRelation { .. }
        | PolicyNote::NotATable { .. }
        | PolicyNote::MissingColumn { .. }
        | PolicyNote::LeadsNowhere { .. }
        | PolicyNote::MissingFunction { .. }
        | PolicyNote::UnfitLookUp { .. }
        | PolicyNote::MissingPathSchema { .. }
        | PolicyNote::MissingTenantSchema { .. }
        | PolicyNote::MissingCommonSchema { .. }
        | PolicyNote::CommonIsPrivate { .. }
        | PolicyNote::CommonIsWritable { .. }
        | PolicyNote::ExtensionOutOfReach { .. }
        | PolicyNote::PrivateSchemaInPath { .. }
        | PolicyNote::InPrivateSchema { .. }
        | PolicyNote::SharedHasColumn { .. }
        | PolicyNote::BadKey { .. }
        | PolicyNote::SameKey { .. } => None,
    }
}
