//! The rules of the shared layout, and where tenants come from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Access, KeyName, QualifiedName, UpstreamName, Witness};
use crate::config::tenant_settings::TenantSetting;

/// Which tables are whose, and how a client's tenant is found.
#[derive(Clone, Debug)]
pub struct Tenancy {
    /// Where tenants live that name no upstream.
    pub upstream: UpstreamName,
    /// The tenant column: tables that have it are tenant tables.
    pub column: String,
    /// The sealed setting, `app.tenant_id`.
    pub setting: String,
    /// Where a client may name its tenant. All that do must agree.
    pub identify: Vec<Source>,
    /// Host names below which each tenant has its own, lower case.
    pub domains: Vec<String>,
    /// Tables readable by all, written by none.
    pub shared_tables: Vec<QualifiedName>,
    /// `ON CONFLICT (email)` means the unique index of the tenant column and `email`, where that is the only one.
    pub complete_conflict_targets: bool,
    /// Functions outside `pg_catalog` that tenants may call.
    pub allow_functions: Vec<QualifiedName>,
    /// Functions that sessions call before they act for a tenant, and then no more.
    pub without_tenant: Vec<QualifiedName>,
    /// Settings that tenants may make something of, or not, whatever the rules say; single names come before prefixes.
    pub settings: Vec<TenantSetting>,
    /// How often each upstream's catalog is read anew.
    pub catalog_refresh: Duration,
    /// What is decided by a catalog was seen in the database no longer ago than this.
    pub catalog_max_age: Duration,
    /// What becomes of what a second grammar says of a statement that is about to be sent.
    pub witness: Witness,
    /// Where tenants live that are not listed, if any may.
    pub pattern: Option<Pattern>,
    /// The pinned search path of the shared layout; without it, the upstream role's own.
    pub search_path: Option<Vec<String>>,
    /// Schemas that stand behind the tenant's own in the schema layout; without it, those that hold extensions alone.
    pub common_schemas: Option<Vec<String>>,
    /// Tables whose column or key differs, and views, materialised views and foreign tables that tenants may read.
    pub tables: BTreeMap<QualifiedName, TableOverride>,
    /// Tables of pgwarden's own: no tenant's, whatever columns they have.
    pub own_tables: Vec<QualifiedName>,
}

/// A name with the tenant's in it: `t_{name}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    before: Box<str>,
    after: Box<str>,
}

impl Template {
    const PLACE: &'static str = "{name}";

    /// Reads a template: `{name}` once, no other braces, no control characters.
    pub fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.split_once(Self::PLACE)?;
        let plain = |part: &str| !part.contains(|c: char| matches!(c, '{' | '}') || c.is_control());
        (plain(before) && plain(after)).then(|| Self { before: before.into(), after: after.into() })
    }

    /// With the name in its place.
    pub fn fill(&self, name: &str) -> String {
        [&self.before, name, &self.after].concat()
    }

    /// Whether it is nothing but the name.
    pub fn is_bare(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// The name in a text that was made of it.
    pub fn name_in<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.strip_prefix(&*self.before)?.strip_suffix(&*self.after)
    }
}

/// What a tenant that is not listed has of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternLayout {
    /// A key.
    Shared,
    /// A schema, and perhaps a role.
    Schema {
        /// The schema.
        schema: Template,
        /// The role.
        role: Option<Template>,
    },
    /// A database on the pattern's upstream.
    Database {
        /// The database.
        database: Template,
    },
}

/// `[tenancy.pattern]`: where a tenant lives that is not listed. Only logins that may act for all tenants come by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Where they live.
    pub upstream: UpstreamName,
    /// What they have of their own.
    pub layout: PatternLayout,
    /// Their key.
    pub key: Option<Template>,
}

/// `[tenants_from]`: a table of tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantsFrom {
    /// Where it is.
    pub upstream: UpstreamName,
    /// The query that gives them.
    pub query: String,
    /// NOTIFY on it: something changed.
    pub channel: Option<String>,
    /// It is read anew after this time anyway.
    pub interval: Duration,
    /// How `pgwarden tenant` writes it.
    pub writes: TenantWrites,
}

/// `[moves]`: tenants move to other places while they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moves {
    /// A proxy that cannot say for so long that it is there refuses the tenants that could be moved meanwhile.
    pub lease: Duration,
}

/// The columns of pgwarden's own table of tenants.
pub const OWN_TABLE_COLUMNS: [&str; 14] = [
    "name",
    "key",
    "keys",
    "layout",
    "schema",
    "role",
    "upstream",
    "database",
    "suspended",
    "allow_from",
    "limits",
    "weight",
    "pool",
    "quota",
];

/// How `pgwarden tenant` writes the table of tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantWrites {
    /// It is pgwarden's own.
    Own(QualifiedName),
    /// `[tenants_from.write]`: statements for a table of the user's.
    Statements {
        /// `$1`: the row as JSON.
        create: Option<String>,
        /// `$1`: name, `$2`: whether it is suspended.
        suspend: Option<String>,
        /// `$1`: the row as JSON, with its new place.
        moved: Option<String>,
        /// `$1`: name.
        delete: Option<String>,
    },
}

impl TenantWrites {
    /// Whether anything of it is written by pgwarden.
    pub fn any(&self) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Statements { create, suspend, moved, delete } => {
                [create, suspend, moved, delete].iter().any(|it| it.is_some())
            }
        }
    }
}

/// An entry of `[tenancy.tables]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableOverride {
    /// Rows of tenants.
    Tenant {
        /// The tenant column; without it, `Tenancy::column`.
        column: Option<String>,
        /// Which of a tenant's keys stands in it.
        key: KeyName,
        /// Rows whose tenant column is NULL are read by all.
        null_is_shared: bool,
        /// What tenants may do with their own rows.
        access: Access,
    },
    /// Rows of whom the rows are that a foreign key leads to.
    Through {
        /// The column of the foreign key.
        column: String,
        /// What tenants may do with their own rows.
        access: Access,
    },
    /// Rows of all tenants together.
    Shared(Access),
}

impl TableOverride {
    /// The tenants' key by name that it asks for.
    pub fn key(&self) -> Option<&Arc<str>> {
        match self {
            Self::Tenant { key, .. } => key.as_ref(),
            Self::Through { .. } | Self::Shared(_) => None,
        }
    }
}
/// A place where a client may name its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `user=app@acme`, `user=app.acme`
    User,
    /// `database=acme`, `database=acme/appdb`
    Database,
    /// `options=-c pgwarden.tenant=acme`
    Option,
    /// The host name in the TLS handshake, `acme.db.example.com`.
    Sni,
    /// The client's certificate.
    Certificate,
}
