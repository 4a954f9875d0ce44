//! The policy: the configuration's tenancy rules applied to one snapshot of the catalog. Immutable; a new one has a
//! new epoch, which empties the verdict cache.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::catalog::{Catalog, QualifiedName};
use crate::ids::Oid;

/// Name of a tenant's key: `None` is the default key, `Some("uuid")` one of `keys = { uuid = ... }`.
pub type KeyName = Option<Arc<str>>;

/// The server's setting that holds a tenant's key: `app.tenant_id`, and `app.tenant_id_uuid` for the key named `uuid`.
/// `None` for a key whose name cannot stand in the name of a setting.
pub fn key_setting(setting: &str, key: &KeyName) -> Option<String> {
    let setting = setting.to_ascii_lowercase();
    match key {
        None => Some(setting),
        Some(name) => name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            .then(|| format!("{setting}_{}", name.to_ascii_lowercase())),
    }
}

/// What keeps the tenants of the shared layout apart on an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// The guard puts the tenant's predicate into every statement.
    #[default]
    Rewrite,
    /// Row-level security does; the guard denies what it always denies, and leaves conditions as they are.
    Rls,
    /// Both.
    RewriteAndRls,
}

impl Enforcement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rewrite, Self::Rls, Self::RewriteAndRls];

    /// As the configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rewrite => "rewrite",
            Self::Rls => "rls",
            Self::RewriteAndRls => "rewrite+rls",
        }
    }

    /// Policies are counted on.
    pub fn uses_rls(self) -> bool {
        match self {
            Self::Rewrite => false,
            Self::Rls | Self::RewriteAndRls => true,
        }
    }
}

/// What becomes of what the witness says of a text: the reading by a second grammar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Witness {
    /// A statement in which it sees a tenant relation uncovered is refused.
    #[default]
    Enforce,
    /// It is sent, and audited.
    Report,
    /// It is not heard.
    Off,
}

impl Witness {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Enforce, Self::Report, Self::Off];

    /// As the configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Report => "report",
            Self::Off => "off",
        }
    }
}

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

/// How a tenant table is guarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantTable {
    /// The tenant column.
    pub column: String,
    /// Its type (of a domain: the base type), which the tenant's value is sent as.
    pub type_oid: Oid,
    /// That type as SQL text, schema-qualified: `pg_catalog.int4`.
    pub type_name: String,
    /// Which of the tenant's keys stands in it.
    pub key: KeyName,
    /// What keeps its rows apart.
    pub protection: Protection,
}

/// What a tenant may do with a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableRule {
    /// A tenant relation: only behind its predicate.
    Tenant(TenantTable),
    /// A shared table: read by all, written by none.
    Shared,
}

/// Where the statements of a session go, and so what is refused of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Shared layout: every tenant relation behind its predicate.
    Shared,
    /// Schema layout: the search path is pinned to this schema, other schemas are refused.
    Schema(Arc<str>),
    /// Database layout: only what leaves the database is refused.
    Database,
    /// An operator login: nothing is refused; effects on the session are still followed.
    Operator,
}

/// Bounds on one statement, before any tree is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardLimits {
    /// Bytes of one Query or Parse text.
    pub max_bytes: usize,
    /// Tokens in it.
    pub max_tokens: usize,
    /// Nesting of the parse tree.
    pub max_depth: usize,
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self { max_bytes: 4 << 20, max_tokens: 400_000, max_depth: 1_000 }
    }
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
    /// The pinned search path of the shared layout.
    pub search_path: Vec<String>,
    /// Functions outside `pg_catalog` that the operator allows, `schema.name`.
    pub allow_functions: HashSet<QualifiedName>,
    /// The sealed setting, `app.tenant_id`.
    pub setting: String,
    /// What keeps tenants of the shared layout apart.
    pub enforcement: Enforcement,
    /// What becomes of what the witness says.
    pub witness: Witness,
    /// Bounds on a statement.
    pub limits: GuardLimits,
}

impl Policy {
    /// A policy of an upstream whose catalog is not known yet: everything on a relation is refused.
    pub fn empty() -> Self {
        Self {
            epoch: 0,
            catalog: Arc::default(),
            tables: HashMap::new(),
            search_path: Vec::new(),
            allow_functions: HashSet::new(),
            setting: "app.tenant_id".to_owned(),
            enforcement: Enforcement::default(),
            witness: Witness::default(),
            limits: GuardLimits::default(),
        }
    }

    /// Whether the other policy says the same of every statement: all is equal but the epoch.
    pub fn rules_equal(&self, other: &Self) -> bool {
        // A policy of no catalog is none.
        let Self { epoch, catalog, tables, search_path, allow_functions, setting, enforcement, witness, limits } = self;
        (*epoch == 0) == (other.epoch == 0)
            && (Arc::ptr_eq(catalog, &other.catalog) || **catalog == *other.catalog)
            && *tables == other.tables
            && *search_path == other.search_path
            && *allow_functions == other.allow_functions
            && *setting == other.setting
            && *enforcement == other.enforcement
            && *witness == other.witness
            && *limits == other.limits
    }
}

/// A tenant's key values, as text in the input format of their types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantKeys {
    /// The `key`.
    pub default: Option<Arc<str>>,
    /// The `keys` by name.
    pub named: HashMap<Arc<str>, Arc<str>>,
}

impl TenantKeys {
    /// The value of a key, if the tenant has one of that name.
    pub fn get(&self, name: &KeyName) -> Option<&Arc<str>> {
        match name {
            None => self.default.as_ref(),
            Some(name) => self.named.get(name),
        }
    }
}
