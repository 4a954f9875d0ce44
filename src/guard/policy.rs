//! The policy: the configuration's tenancy rules applied to one snapshot of the catalog. Immutable; a new one has a
//! new epoch, which empties the verdict cache.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::SettingRules;
use crate::base::{Access, Enforcement, KeyName, Oid, QualifiedName, Witness};
use crate::catalog::{Catalog, Relation};
use crate::sql::{StatementLimits, quote_identifier};

/// What keeps the rows of one tenant relation apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// The guard's predicate.
    Predicate,
    /// The server's policies: statements on it are not rewritten.
    Policies,
    /// Policies should, but do not. No statement of a tenant touches it.
    Missing(Arc<str>),
}

/// A foreign key that says whose a row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    /// The table that it leads to.
    pub parent: QualifiedName,
    /// The column there.
    pub key: String,
    /// How that table is guarded.
    pub rule: TenantTable,
    /// The table that it is of.
    pub child: String,
    /// The key's name.
    pub constraint: String,
    /// The type of its column (of a domain: the base type) as SQL text.
    pub type_name: String,
}

/// How a tenant table is guarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantTable {
    /// The tenant column; of a table that belongs through a foreign key, the key's column.
    pub column: String,
    /// Its type (of a domain: the base type), which the tenant's value is sent as.
    pub type_oid: Oid,
    /// That type as SQL text, schema-qualified: `pg_catalog.int4`.
    pub type_name: String,
    /// Which of the tenant's keys stands in it.
    pub key: KeyName,
    /// Rows whose tenant column is NULL are read by all, and written by none. Of a table that belongs through a foreign key: those
    /// that lead to such a row.
    pub null_is_shared: bool,
    /// It has no tenant column: a row is whose the row is that this leads to. Type and key above are those of the column at the
    /// end of the way.
    pub through: Option<Arc<Through>>,
    /// What tenants may do with their own rows.
    pub access: Access,
    /// What keeps its rows apart.
    pub protection: Protection,
}

/// What a tenant may do with a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableRule {
    /// A tenant relation: only behind its predicate.
    Tenant(TenantTable),
    /// A shared table: read by all, and what else they may do with it.
    Shared(Access),
}

impl TenantTable {
    /// The tenant column is there, and tells of each row that a tenant reads whether it is its own.
    pub fn tells_own_rows(&self) -> bool {
        self.through.is_none() && !self.null_is_shared
    }
}

impl TableRule {
    /// The column and the key of a table that belongs through a foreign key.
    pub fn through(&self) -> Option<(&str, &Through)> {
        match self {
            Self::Tenant(table) => Some((&table.column, table.through.as_deref()?)),
            Self::Shared(_) => None,
        }
    }
}

/// What a view stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewQuery {
    /// A SELECT. What is not the system's has its schema before its name.
    pub text: String,
    /// Relations of the system's that it names without a schema.
    pub bare: Vec<String>,
}

/// The rules of one upstream.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Grows with every change of catalog or configuration.
    pub epoch: u64,
    /// What the upstream contains.
    pub catalog: Arc<Catalog>,
    /// Relations that tenants may touch in the shared layout. Partitions and inheritance children of tenant tables are in it.
    pub tables: HashMap<QualifiedName, TableRule>,
    /// Why relations that somebody might expect among them are not: for hints.
    pub left_out: HashMap<QualifiedName, Arc<str>>,
    /// Views that stand for their queries: to name one is to write it out.
    pub views: HashMap<QualifiedName, ViewQuery>,
    /// The pinned search path of the shared layout.
    pub search_path: Vec<String>,
    /// Schemas that stand behind the tenant's own in the schema layout, in the order of its search path.
    pub common_schemas: Vec<String>,
    /// The tenant column is added to `ON CONFLICT (columns)` where only that names a unique index.
    pub complete_conflict_targets: bool,
    /// Functions outside `pg_catalog` that the operator allows, `schema.name`.
    pub allow_functions: HashSet<QualifiedName>,
    /// Functions for sessions that act for no tenant: what tells whose a log-in is.
    pub without_tenant: HashSet<QualifiedName>,
    /// The sealed setting, `app.tenant_id`.
    pub setting: String,
    /// What tenants may make of other settings.
    pub settings: SettingRules,
    /// What keeps tenants of the shared layout apart.
    pub enforcement: Enforcement,
    /// What becomes of what the witness says.
    pub witness: Witness,
    /// Bounds on a statement.
    pub limits: StatementLimits,
    /// What a name means that the catalog does not have.
    pub names: Names,
}

/// What a name means that no relation of the catalog has, to a session of the shared layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Names {
    /// Nothing: a typing error stays one.
    #[default]
    Catalog,
    /// A temporary table: the session has made some.
    Temporary,
}

impl Policy {
    /// A policy of an upstream whose catalog is not known yet: everything on a relation is refused.
    pub fn empty() -> Self {
        Self {
            epoch: 0,
            catalog: Arc::default(),
            tables: HashMap::new(),
            left_out: HashMap::new(),
            views: HashMap::new(),
            search_path: Vec::new(),
            common_schemas: Vec::new(),
            complete_conflict_targets: false,
            allow_functions: HashSet::new(),
            without_tenant: HashSet::new(),
            setting: "app.tenant_id".to_owned(),
            settings: SettingRules::default(),
            enforcement: Enforcement::default(),
            witness: Witness::default(),
            limits: StatementLimits::default(),
            names: Names::Catalog,
        }
    }

    /// The same rules for a session that has temporary tables.
    pub(super) fn with_temporary(&self) -> Self {
        Self { names: Names::Temporary, ..self.clone() }
    }

    /// Whether the operator lets somebody call a function of this name, in whatever schema: the planner may put the query that it is
    /// made of in its place.
    pub(crate) fn is_listed_function(&self, name: &str) -> bool {
        self.allow_functions.iter().chain(&self.without_tenant).any(|listed| listed.name == name)
    }

    /// The search path of a tenant with this schema, as the value of the setting.
    pub fn schema_path(&self, own: &str) -> String {
        let mut path = quote_identifier(own);
        for schema in &self.common_schemas {
            path.push_str(", ");
            path.push_str(&quote_identifier(schema));
        }
        path
    }

    /// The relations that common schemas have by this name. A tenant's own of that name is sent with its schema: whether it is
    /// there, only the server knows until the catalog is read again.
    pub(crate) fn in_common(&self, name: &str) -> impl Iterator<Item = &Relation> {
        self.common_schemas.iter().filter_map(move |schema| self.catalog.relation(schema, name))
    }

    /// Whether a relation or type of a common schema has this name.
    pub(crate) fn is_held_in_common(&self, name: &str) -> bool {
        let types = || self.catalog.types.values().filter(|it| self.common_schemas.contains(&it.name.schema));
        self.in_common(name).next().is_some()
            || (!self.common_schemas.is_empty() && types().any(|it| it.name.name == name))
    }

    /// Whether a relation of a common schema has this name that tenants may not know.
    pub(crate) fn is_hidden_in_common(&self, name: &str) -> bool {
        self.in_common(name).any(|relation| !self.is_shared(relation))
    }

    /// What tenants may do with the relation that a bare name means in the common schemas; with any of several, since the server
    /// passes by those that the role may not use.
    pub(crate) fn access_in_common(&self, name: &str) -> Option<Access> {
        let access = |relation: &Relation| match self.tables.get(&relation.name) {
            Some(TableRule::Shared(access)) => Some(*access),
            Some(TableRule::Tenant(_)) | None => None,
        };
        let all: Option<Vec<Access>> = self.in_common(name).map(access).collect();
        all?.into_iter().min()
    }

    /// Whether all tenants may read a relation.
    pub(crate) fn is_shared(&self, relation: &Relation) -> bool {
        matches!(self.tables.get(&relation.name), Some(TableRule::Shared(_)))
    }

    /// Whether the other policy says the same of every statement: all is equal but the epoch.
    pub fn rules_equal(&self, other: &Self) -> bool {
        // A policy of no catalog is none.
        let Self {
            epoch,
            catalog,
            tables,
            left_out,
            views,
            search_path,
            common_schemas,
            complete_conflict_targets,
            allow_functions,
            without_tenant,
            setting,
            settings,
            enforcement,
            witness,
            limits,
            names,
        } = self;
        (*epoch == 0) == (other.epoch == 0)
            && (Arc::ptr_eq(catalog, &other.catalog) || **catalog == *other.catalog)
            && *tables == other.tables
            && *left_out == other.left_out
            && *views == other.views
            && *search_path == other.search_path
            && *common_schemas == other.common_schemas
            && *complete_conflict_targets == other.complete_conflict_targets
            && *allow_functions == other.allow_functions
            && *without_tenant == other.without_tenant
            && *setting == other.setting
            && *settings == other.settings
            && *enforcement == other.enforcement
            && *witness == other.witness
            && *limits == other.limits
            && *names == other.names
    }
}
