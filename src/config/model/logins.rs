//! Who may log in, and the tenants.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Share, Upstream};
use crate::base::{AllowList, LoginName, Mode, Secret, TenantKeys, TenantName, UpstreamName};
use crate::config::limits::Limits;
use crate::config::quota::Quota;

/// What a login is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Acts for tenants, guarded.
    Tenant,
    /// Uses the console of pgwarden, and nothing else.
    Admin,
    /// Acts for tenants, and nothing is enforced: what the guard would do is only told of.
    Observed,
    /// Reads rows of all of its tenants at once, guarded, in the shared layout. Writes nothing.
    Reader {
        /// Where they live.
        upstream: UpstreamName,
    },
    /// Unguarded, always audited.
    Operator {
        /// Where it works when it names no tenant.
        upstream: UpstreamName,
        /// Its database there; without it, the upstream's own.
        database: Option<String>,
    },
}

/// The tenants that a login may act for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantScope {
    /// `"*"`
    All,
    /// These.
    Only(BTreeSet<TenantName>),
}

impl TenantScope {
    /// Whether the login may act for that tenant.
    pub fn contains(&self, tenant: &TenantName) -> bool {
        match self {
            TenantScope::All => true,
            TenantScope::Only(names) => names.contains(tenant),
        }
    }
}

/// How a login proves itself, with what is stored for it.
#[derive(Clone, Debug)]
pub enum LoginAuth {
    /// SCRAM-SHA-256 with a stored verifier, `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
    ScramVerifier(Secret),
    /// SCRAM-SHA-256 with the password in plain text: a verifier is derived when the registry is built.
    ScramPlain(Secret),
    /// md5 with a stored hash, `md5` and 32 hex digits (of password and login name).
    Md5Hash(Secret),
    /// md5 with the password in plain text.
    Md5Plain(Secret),
    /// The client's certificate names the login.
    Certificate,
    /// A token as password.
    Token,
    /// A token by OAUTHBEARER.
    OAuth,
    /// A password whose verifier the auth query gives. Not for logins of the file.
    Queried,
    /// No proof. Only for clients from loopback addresses: the session must check the peer.
    Trust,
}

/// A credential of a client.
#[derive(Clone, Debug)]
pub struct Login {
    /// Its name.
    pub name: LoginName,
    /// How it proves itself.
    pub auth: LoginAuth,
    /// Whom it may act for.
    pub tenants: TenantScope,
    /// What it is for.
    pub role: Role,
    /// From where it may be used; `None`: from anywhere.
    pub allow_from: Option<AllowList>,
    /// What it may take in each of its tenants, defaults included.
    pub limits: Limits,
}

/// Where a tenant's data lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// In the same tables as others', told apart by the tenant column.
    Shared,
    /// In a schema of its own.
    Schema {
        /// The schema.
        schema: Arc<str>,
        /// A role that sessions of this tenant run as (SET ROLE).
        role: Option<Arc<str>>,
    },
    /// In a database of its own.
    Database,
}

impl Layout {
    /// How the guard treats statements of this layout.
    pub fn mode(&self) -> Mode {
        match self {
            Layout::Shared => Mode::Shared,
            Layout::Schema { schema, .. } => Mode::Schema(Arc::clone(schema)),
            Layout::Database => Mode::Database,
        }
    }
}

/// One customer of the app.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its name.
    pub name: TenantName,
    /// Where its data lives.
    pub layout: Layout,
    /// Its values of the tenant columns.
    pub keys: TenantKeys,
    /// Its upstream.
    pub upstream: Arc<Upstream>,
    /// Refused at login, for now.
    pub suspended: bool,
    /// From where it may be acted for; `None`: from anywhere.
    pub allow_from: Option<AllowList>,
    /// What it may take, defaults included.
    pub limits: Limits,
    /// What it has of its pool.
    pub share: Share,
    /// Its quota; without one, that of `[quota]`.
    pub quota: Option<Arc<Quota>>,
}
