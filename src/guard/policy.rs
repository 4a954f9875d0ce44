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
            limits: GuardLimits::default(),
        }
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
