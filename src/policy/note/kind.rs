//! What a note is about, and how bad that is.

use super::{NoteLevel, PolicyNote};
use crate::base::QualifiedName;

impl PolicyNote {
    /// Why tenants have no rule for a relation, as a hint for those who ask for it: nothing of another tenant stands in it.
    pub fn left_out(&self) -> Option<(&QualifiedName, String)> {
        match self {
            PolicyNote::NotATable { name, .. }
            | PolicyNote::MissingColumn { name, .. }
            | PolicyNote::LooseColumn { name, .. }
            | PolicyNote::LeadsNowhere { name, .. }
            | PolicyNote::InPrivateSchema { name, .. }
            | PolicyNote::SharedHasTenantChild { name, .. }
            | PolicyNote::SharedViewOfTenants { name, .. }
            | PolicyNote::SharedViewCalls { name, .. }
            | PolicyNote::ConflictingParents { name } => Some((name, format!("{self}."))),
            PolicyNote::SameKey { name, .. } => Some((
                name,
                format!("The keys of two tenants are the same value for {name}: pgwarden check names them."),
            )),
            PolicyNote::Unconfigured { name, through: Some(_) } => Some((name, format!("{self}."))),
            PolicyNote::MissingRelation { .. }
            | PolicyNote::MissingFunction { .. }
            | PolicyNote::UnwrittenCast { .. }
            | PolicyNote::MissingPathSchema { .. }
            | PolicyNote::MissingTenantSchema { .. }
            | PolicyNote::MissingCommonSchema { .. }
            | PolicyNote::CommonIsPrivate { .. }
            | PolicyNote::CommonIsWritable { .. }
            | PolicyNote::ExtensionOutOfReach { .. }
            | PolicyNote::PrivateSchemaInPath { .. }
            | PolicyNote::SharedHasColumn { .. }
            | PolicyNote::FunctionChangesTenant { .. }
            | PolicyNote::UnboundDefiner { .. }
            | PolicyNote::UnfitLookUp { .. }
            | PolicyNote::BadKey { .. }
            | PolicyNote::RoleAndPolicies { .. }
            | PolicyNote::NoRowSecurity { .. }
            | PolicyNote::UntestedServer { .. }
            | PolicyNote::Unconfigured { through: None, .. }
            | PolicyNote::UnlistedView { .. } => None,
        }
    }

    /// Whether it is about what the configuration itself says of relations and schemas, whoever the tenants are.
    pub fn is_of_rules(&self) -> bool {
        match self {
            PolicyNote::MissingRelation { .. }
            | PolicyNote::NotATable { .. }
            | PolicyNote::MissingColumn { .. }
            | PolicyNote::LooseColumn { .. }
            | PolicyNote::LeadsNowhere { .. }
            | PolicyNote::InPrivateSchema { .. }
            | PolicyNote::SharedHasColumn { .. }
            | PolicyNote::SharedHasTenantChild { .. }
            | PolicyNote::SharedViewOfTenants { .. }
            | PolicyNote::SharedViewCalls { .. }
            | PolicyNote::ConflictingParents { .. }
            | PolicyNote::MissingPathSchema { .. }
            | PolicyNote::MissingCommonSchema { .. }
            | PolicyNote::CommonIsPrivate { .. } => true,
            PolicyNote::MissingFunction { .. }
            | PolicyNote::UnwrittenCast { .. }
            | PolicyNote::MissingTenantSchema { .. }
            | PolicyNote::CommonIsWritable { .. }
            | PolicyNote::ExtensionOutOfReach { .. }
            | PolicyNote::PrivateSchemaInPath { .. }
            | PolicyNote::FunctionChangesTenant { .. }
            | PolicyNote::UnboundDefiner { .. }
            | PolicyNote::UnfitLookUp { .. }
            | PolicyNote::BadKey { .. }
            | PolicyNote::SameKey { .. }
            | PolicyNote::RoleAndPolicies { .. }
            | PolicyNote::NoRowSecurity { .. }
            | PolicyNote::UntestedServer { .. }
            | PolicyNote::Unconfigured { .. }
            | PolicyNote::UnlistedView { .. } => false,
        }
    }

    /// How bad it is.
    pub fn level(&self) -> NoteLevel {
        match self {
            PolicyNote::RoleAndPolicies { served: false, .. }
            | PolicyNote::NoRowSecurity { served: false, .. }
            | PolicyNote::MissingRelation { .. }
            | PolicyNote::NotATable { .. }
            | PolicyNote::MissingColumn { .. }
            | PolicyNote::LooseColumn { .. }
            | PolicyNote::LeadsNowhere { .. }
            | PolicyNote::MissingPathSchema { .. }
            | PolicyNote::MissingTenantSchema { .. }
            | PolicyNote::PrivateSchemaInPath { .. }
            | PolicyNote::MissingCommonSchema { .. }
            | PolicyNote::CommonIsPrivate { .. }
            | PolicyNote::CommonIsWritable { listed: true, .. }
            | PolicyNote::InPrivateSchema { .. }
            | PolicyNote::SharedHasColumn { .. }
            | PolicyNote::SharedHasTenantChild { .. }
            | PolicyNote::SharedViewOfTenants { .. }
            | PolicyNote::SharedViewCalls { .. }
            | PolicyNote::FunctionChangesTenant { served: false, .. }
            | PolicyNote::ConflictingParents { .. }
            | PolicyNote::UnfitLookUp { .. }
            | PolicyNote::BadKey { .. }
            | PolicyNote::SameKey { .. } => NoteLevel::Error,
            PolicyNote::RoleAndPolicies { served: true, .. }
            | PolicyNote::NoRowSecurity { served: true, .. }
            | PolicyNote::FunctionChangesTenant { served: true, .. }
            | PolicyNote::UnboundDefiner { .. }
            | PolicyNote::CommonIsWritable { listed: false, .. }
            | PolicyNote::ExtensionOutOfReach { .. }
            | PolicyNote::UntestedServer { .. }
            | PolicyNote::MissingFunction { .. }
            | PolicyNote::UnwrittenCast { .. }
            | PolicyNote::Unconfigured { .. }
            | PolicyNote::UnlistedView { .. } => NoteLevel::Warning,
        }
    }
}
