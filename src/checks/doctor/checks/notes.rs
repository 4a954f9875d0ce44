//! What was noted when the rules were applied to the catalog, as far as it is about the schema. Mistakes of the configuration
//! are for `pgwarden check`.

use super::{Finding, Severity};
use crate::policy::PolicyNote;

/// The finding that a note makes.
pub fn noted(note: &PolicyNote) -> Option<Finding> {
    let refused = |object: String, what: String, fix: String| {
        let why = "whose rows it shows cannot be told: tenants are refused every statement on it";
        Finding::new(Severity::Low, "relation-refused", object, what, why).advice(fix)
    };
    match note {
        PolicyNote::FunctionChangesTenant { name, served } => Some(
            Finding::new(
                if *served { Severity::Medium } else { Severity::Low },
                "function-sets-tenant",
                name.to_string(),
                "is on allow_functions and sets or resets the tenant's setting, or one whose name is computed",
                "policies would take the statement for another tenant's: with rls alone it is refused, though it is listed",
            )
            .advice("take that out of it, or take it off allow_functions"),
        ),
        PolicyNote::UnboundDefiner { name } => Some(
            Finding::new(
                Severity::High,
                "unbound-definer",
                name.to_string(),
                "is on allow_functions, SECURITY DEFINER, and no policy binds its owner",
                "enforcement counts on policies, and this reads the rows of every tenant",
            )
            .advice(format!(
                "take {name} off allow_functions; or SECURITY INVOKER, if the caller has the rights that it needs; or an owner who is \
                 neither superuser nor has BYPASSRLS"
            )),
        ),
        PolicyNote::SharedViewOfTenants { name, table } => Some(refused(
            name.to_string(),
            format!("is among shared_tables and reads the tenant table {table}"),
            format!(
                "list \"{name}\" in [tenancy.tables] if it shows the tenant column; take it off shared_tables otherwise"
            ),
        )),
        PolicyNote::SharedViewCalls { name, function } => Some(refused(
            name.to_string(),
            format!("is among shared_tables and calls {function}, which tenants may not call"),
            "take it off shared_tables; or list the function in [tenancy] allow_functions, if it reads no tenant's rows".to_owned(),
        )),
        PolicyNote::SharedHasTenantChild { name, child } => Some(refused(
            name.to_string(),
            format!("is among shared_tables, and its child {child} is a tenant table"),
            format!("take {name} off shared_tables: with its child it holds rows of tenants"),
        )),
        PolicyNote::ConflictingParents { name } => Some(refused(
            name.to_string(),
            "and the tables that it inherits from are guarded by different columns or keys".to_owned(),
            "one column and key for all of them".to_owned(),
        )),
        PolicyNote::LooseColumn { name, column } => Some(refused(
            name.to_string(),
            format!("has a tenant column, {column}, whose collation takes different texts for equal"),
            format!("ALTER TABLE {name} ALTER COLUMN {column} TYPE text COLLATE \"C\""),
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
