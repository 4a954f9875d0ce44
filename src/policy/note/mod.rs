//! What an operator should know of the rules.

mod kind;

use crate::base::{QualifiedName, TenantName};

/// How bad it is. Errors come first in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteLevel {
    /// Something that was configured does not work: what it is about is refused.
    Error,
    /// Probably not meant.
    Warning,
}

/// A finding about the tenancy rules and the catalog that they are applied to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PolicyNote {
    /// Named in the configuration, not there.
    #[error("{list} names {name}, which does not exist")]
    MissingRelation {
        /// `shared_tables` or `[tenancy.tables]`
        list: &'static str,
        /// The name.
        name: QualifiedName,
    },
    /// Not something that can be read from.
    #[error("{list} names {name}, which is no table, view or foreign table")]
    NotATable {
        /// `shared_tables` or `[tenancy.tables]`
        list: &'static str,
        /// The name.
        name: QualifiedName,
    },
    /// The tenant column is not there.
    #[error("[tenancy.tables] {name} has no column \"{column}\"")]
    MissingColumn {
        /// The table.
        name: QualifiedName,
        /// The column.
        column: String,
    },
    /// The keys of two tenants may be equal there.
    #[error(
        "the tenant column \"{column}\" of {name} has a collation that takes different texts for equal (it is not deterministic), as the \
         keys of two tenants may be: it is refused"
    )]
    LooseColumn {
        /// The table.
        name: QualifiedName,
        /// The column.
        column: String,
    },
    /// No foreign key leads from it to a tenant table.
    #[error(
        "[tenancy.tables] {name} has no foreign key of \"{column}\" alone that leads to a tenant table (one without inheritance children, \
         or one that belongs through a foreign key itself): it is refused"
    )]
    LeadsNowhere {
        /// The table.
        name: QualifiedName,
        /// The column.
        column: String,
    },
    /// In `allow_functions`, not there.
    #[error("allow_functions names {name}, which does not exist")]
    MissingFunction {
        /// The name.
        name: QualifiedName,
    },
    /// A cast that Postgres uses where none is written, by a function that tenants may not call.
    #[error(
        "the cast to {target} calls {function} where no cast is written, and no rule for functions sees it: \
         make it a cast that is written (CREATE CAST without AS IMPLICIT or AS ASSIGNMENT)"
    )]
    UnwrittenCast {
        /// The type.
        target: QualifiedName,
        /// The function.
        function: QualifiedName,
    },
    /// A schema of the pinned search path does not exist.
    #[error("search_path names schema \"{schema}\", which does not exist")]
    MissingPathSchema {
        /// The schema.
        schema: String,
    },
    /// A tenant's schema does not exist.
    #[error("schema \"{schema}\" of tenant \"{tenant}\" does not exist")]
    MissingTenantSchema {
        /// The tenant.
        tenant: TenantName,
        /// The schema.
        schema: String,
    },
    /// In `common_schemas`, not there.
    #[error("common_schemas names schema \"{schema}\", which does not exist")]
    MissingCommonSchema {
        /// The schema.
        schema: String,
    },
    /// In `common_schemas`, and a tenant's own.
    #[error("common_schemas names schema \"{schema}\", which belongs to tenant \"{tenant}\" alone")]
    CommonIsPrivate {
        /// The schema.
        schema: String,
        /// The tenant.
        tenant: TenantName,
    },
    /// A tenant could make something in a common schema that all others would meet.
    #[error(
        "schema \"{schema}\" is not put behind the tenants' own: {role} may create in it. Give it an owner that no tenant acts as, and \
         REVOKE CREATE ON SCHEMA \"{schema}\" from the others"
    )]
    CommonIsWritable {
        /// The schema.
        schema: String,
        /// A role that tenants act as.
        role: String,
        /// It stands in `common_schemas`.
        listed: bool,
    },
    /// An extension lies where tenants of the schema layout do not find it.
    #[error(
        "extension {extension} lies in schema \"{schema}\" beside other things, so tenants of the schema layout do not have its functions \
         and operators: list the schema in common_schemas, or move the extension (ALTER EXTENSION ... SET SCHEMA)"
    )]
    ExtensionOutOfReach {
        /// The extension.
        extension: String,
        /// The schema.
        schema: String,
    },
    /// A tenant's own schema stands in the search path of the shared layout.
    #[error("schema \"{schema}\" belongs to tenant \"{tenant}\" alone, but the shared layout's search path names it")]
    PrivateSchemaInPath {
        /// The tenant.
        tenant: TenantName,
        /// The schema.
        schema: String,
    },
    /// Listed, but in a schema that is one tenant's own.
    #[error("{list} names {name}, which lies in a tenant's own schema")]
    InPrivateSchema {
        /// `shared_tables` or `[tenancy.tables]`
        list: &'static str,
        /// The name.
        name: QualifiedName,
    },
    /// Listed as shared, but rows in it belong to tenants.
    #[error("{name} is listed as shared, and has the tenant column: it stays a tenant table")]
    SharedHasColumn {
        /// The table.
        name: QualifiedName,
    },
    /// To read the parent is to read the child.
    #[error("shared_tables names {name}, but its child {child} is a tenant table: it is refused")]
    SharedHasTenantChild {
        /// The parent.
        name: QualifiedName,
        /// The child.
        child: QualifiedName,
    },
    /// To read the view is to read the table: it runs with its owner's rights, and no predicate can be put into it.
    #[error("shared_tables names {name}, a view that reads the tenant table {table}: it is refused")]
    SharedViewOfTenants {
        /// The view.
        name: QualifiedName,
        /// A table that it reads.
        table: QualifiedName,
    },
    /// What the function reads, pgwarden does not see.
    #[error("shared_tables names {name}, a view that calls {function}, which tenants may not call: it is refused")]
    SharedViewCalls {
        /// The view.
        name: QualifiedName,
        /// The function.
        function: QualifiedName,
    },
    /// A listed function changes the setting that policies read.
    #[error(
        "allow_functions names {name}, which sets or resets the tenant's setting, or one whose name is computed: policies would take it for \
         another tenant{}",
        if *served { "" } else { "; it is refused" }
    )]
    FunctionChangesTenant {
        /// The function.
        name: QualifiedName,
        /// It may be called all the same: the guard rewrites too.
        served: bool,
    },
    /// A listed function runs as a role whom no policy binds.
    #[error(
        "allow_functions names {name}, which is SECURITY DEFINER and whose owner no policy binds: it reads every tenant's rows"
    )]
    UnboundDefiner {
        /// The function.
        name: QualifiedName,
    },
    /// In `without_tenant`, and not taken.
    #[error("without_tenant names {name}, which {why}: it is refused")]
    UnfitLookUp {
        /// The function.
        name: QualifiedName,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Its parents are guarded by different columns or keys.
    #[error("{name} and the tables it inherits from are guarded differently: it is refused")]
    ConflictingParents {
        /// The child.
        name: QualifiedName,
    },
    /// A tenant's key does not fit a column.
    #[error("tenant \"{tenant}\" has no usable {key} for {name}: {reason}")]
    BadKey {
        /// The tenant.
        tenant: TenantName,
        /// Which key.
        key: String,
        /// One table that needs it.
        name: QualifiedName,
        /// Missing, or not a value of the column's type.
        reason: String,
    },
    /// Two tenants' keys are the same value of the column's type.
    #[error(
        "{key} of tenants \"{first}\" and \"{second}\" is the same value for {name}: tables guarded by it are refused"
    )]
    SameKey {
        /// Which key.
        key: String,
        /// A tenant.
        first: TenantName,
        /// Another.
        second: TenantName,
        /// One table that is guarded by it.
        name: QualifiedName,
    },
    /// Policies would not bind the upstream's role.
    #[error("row-level security does not hold here: {missing}{}", consequence(*served))]
    RoleAndPolicies {
        /// Why, and what mends it.
        missing: String,
        /// Tenant tables are served all the same: the guard rewrites too.
        served: bool,
    },
    /// A tenant table's policies do not keep tenants apart.
    #[error("row-level security on {name} is incomplete: {missing}{}", consequence(*served))]
    NoRowSecurity {
        /// The table.
        name: QualifiedName,
        /// What is missing.
        missing: String,
        /// It is served all the same: the guard rewrites too.
        served: bool,
    },
    /// A server that is newer than any that pgwarden was tested with.
    #[error(
        "Postgres {major} is newer than {}, the last that pgwarden was tested with: SQL that it has added is refused where tenants share \
         tables or a database, and forwarded unread in a database of a tenant's own",
        crate::guard::NEWEST_TESTED
    )]
    UntestedServer {
        /// Its major version.
        major: u32,
    },
    /// Neither tenant table nor shared.
    #[error("{name} has no tenant column and is not listed: refused for tenants{}", proposed(name, through.as_deref()))]
    Unconfigured {
        /// The relation.
        name: QualifiedName,
        /// A column that leads to a tenant table.
        through: Option<String>,
    },
    /// A view or its like that exposes the tenant column, but is not listed.
    #[error("{name} is a view or foreign table and is not listed in [tenancy.tables]: refused for tenants")]
    UnlistedView {
        /// The relation.
        name: QualifiedName,
    },
}

fn proposed(name: &QualifiedName, through: Option<&str>) -> String {
    through.map_or_else(String::new, |column| {
        format!(
            " (it could belong through its foreign key: \"{name}\" = {{ through = \"{column}\" }} in [tenancy.tables])"
        )
    })
}

fn consequence(served: bool) -> &'static str {
    match served {
        true => " (statements are rewritten all the same; `pgwarden rls generate` prints the DDL)",
        false => "; tenants are refused until it is mended (`pgwarden rls generate` prints the DDL)",
    }
}
