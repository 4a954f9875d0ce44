//! The configuration as validated: every name in it resolves, every secret is read, every path is absolute or relative
//! to the working directory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::auth_query::AuthQuery;
use super::limits::{Limits, SharedLimits};
use super::quota::{MetricsConfig, Quota, QuotaConfig};
use super::tenant_settings::TenantSetting;
use crate::auth::{FailureRules, TokenRules};
use crate::base::{
    Access, AllowList, KeyName, LoginName, Mode, NamePattern, QualifiedName, Secret, TenantKeys, TenantName,
    UpstreamName,
};
pub use crate::base::{Enforcement, Witness};
pub use crate::wire::tls::TlsMode;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    /// `[listen]`
    pub listen: Listen,
    /// `[auth]`: how failed logins are answered.
    pub failures: FailureRules,
    /// `[jwt]`: which tokens are accepted.
    pub tokens: Option<TokenConfig>,
    /// `[upstream.*]`, and one more for each tenant with an upstream of its own written inline.
    pub upstreams: BTreeMap<UpstreamName, Arc<Upstream>>,
    /// `[pool]`: caps over all upstreams.
    pub pool: GlobalPool,
    /// `[tenancy]`
    pub tenancy: Tenancy,
    /// `[tenants_from]`
    pub tenants_from: Option<TenantsFrom>,
    /// `[moves]`; without it, the proxy takes no part in moves of tenants.
    pub moves: Option<Moves>,
    /// `[limits]`: what each tenant may take that has no limits of its own.
    pub limits: Limits,
    /// `[limits.login]`: the same for each login in a tenant.
    pub login_limits: Limits,
    /// `[limits.shared]`; without it, each proxy counts by itself.
    pub shared_limits: Option<Arc<SharedLimits>>,
    /// `[[login]]`
    pub logins: Vec<Arc<Login>>,
    /// `[auth_query]`: where more logins are looked up.
    pub auth_query: Option<Arc<AuthQuery>>,
    /// `[[tenant]]`
    pub tenants: Vec<Arc<Tenant>>,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: LogConfig,
    /// `[quota]`; without it, nothing of use is kept.
    pub quota: Option<Arc<QuotaConfig>>,
    /// `[metrics]`; without it, there are none.
    pub metrics: Option<MetricsConfig>,
    /// `[doctor] accept`
    pub doctor_accepts: Vec<Accepted>,
}

/// A finding of the doctor's that is as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Name of the check.
    pub check: String,
    /// What it is about.
    pub object: String,
    /// A part of what is so, where an object has several findings of a check.
    pub about: Option<String>,
    /// Why it does no harm.
    pub reason: String,
}

/// Where clients connect, and what is asked of them before they are known.
#[derive(Clone, Debug)]
pub struct Listen {
    /// At least one.
    pub addresses: Vec<SocketAddr>,
    /// TLS towards clients, if it is offered.
    pub tls: Option<ListenTls>,
    /// Logins may be observed.
    pub observe: bool,
    /// From accept to the end of authentication.
    pub login_timeout: Duration,
    /// After a request to stop, transactions may go on for so long.
    pub shutdown_timeout: Duration,
    /// Other processes may listen on the same addresses (`SO_REUSEPORT`): a new one beside an old one that stops.
    pub reuse_port: bool,
    /// A client that does nothing for longer outside of a transaction is disconnected. Zero: never.
    pub idle_timeout: Duration,
    /// Client connections at one time, all tenants together.
    pub max_connections: usize,
    /// Clients that are logging in at one time.
    pub max_logins: usize,
    /// Bytes that long messages of clients, all together, are held in.
    pub buffer_memory: usize,
    /// Threads that serve clients.
    pub workers: usize,
    /// Largest message that a client may send after authentication, in bytes.
    pub max_message_bytes: usize,
}

/// TLS towards clients. The files were readable when the configuration was loaded.
#[derive(Clone, Debug)]
pub struct ListenTls {
    /// PEM: certificate chain, leaf first.
    pub cert: PathBuf,
    /// PEM: private key.
    pub key: PathBuf,
    /// Refuse clients that do not use TLS.
    pub required: bool,
    /// Accept TLS without an SSLRequest (ALPN `postgresql`, Postgres 17 clients).
    pub direct: bool,
    /// Whether clients are asked for certificates.
    pub client_cert: ClientCert,
    /// PEM: the authorities of client certificates; there if clients are asked.
    pub client_ca: Option<PathBuf>,
    /// Which names of a client certificate are looked at.
    pub client_name: CertificateName,
    /// How login and tenant stand in them. Without any, a certificate names nobody.
    pub client_patterns: Vec<NamePattern>,
    /// `[[listen.tls.certificate]]`: further certificates, chosen by the host name that the client asks for (SNI).
    pub certificates: Vec<NamedCertificate>,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCert {
    /// They are not asked.
    None,
    /// They may.
    Request,
    /// They must.
    Require,
}

/// Which names of a client certificate count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of the subject.
    CommonName,
    /// The subject alternative names: DNS names, mail addresses, URIs.
    Alternative,
}

/// A certificate for some host names.
#[derive(Clone, Debug)]
pub struct NamedCertificate {
    /// Host names in lower case; the first label may be `*`.
    pub names: Vec<String>,
    /// PEM: certificate chain, leaf first.
    pub cert: PathBuf,
    /// PEM: private key.
    pub key: PathBuf,
}

/// Tokens of clients. The files were readable when the configuration was loaded.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// What is asked of them.
    pub rules: TokenRules,
    /// PEM files of public keys.
    pub public_keys: Vec<PathBuf>,
    /// A JWK set.
    pub jwks_file: Option<PathBuf>,
}

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP; the host is a name or an address (IPv6 without brackets).
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// The Unix socket itself, `<directory>/.s.PGSQL.<port>`.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// TLS towards an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    /// How much of it.
    pub mode: TlsMode,
    /// PEM file of trusted roots; without it, the system's.
    pub root_cert: Option<PathBuf>,
}

/// A real Postgres server and database.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name; for one written inline in a tenant, `tenant/<name of the tenant>`.
    pub name: UpstreamName,
    /// Where it listens.
    pub address: Address,
    /// The role that pgwarden connects as.
    pub user: String,
    /// The database.
    pub database: String,
    /// The role's password, if it needs one.
    pub password: Option<Secret>,
    /// TLS.
    pub tls: UpstreamTls,
    /// Server connections.
    pub pool: PoolSettings,
    /// Time for TCP, TLS and authentication together.
    pub connect_timeout: Duration,
    /// What keeps tenants of the shared layout apart there.
    pub enforcement: Enforcement,
    /// How subcommands log in that make, copy and delete tenants.
    pub admin: Option<Arc<UpstreamAdmin>>,
}

/// `[upstream.*.admin]`: the role for what the pool's role need not be allowed. Clients never come by it.
#[derive(Clone, Debug)]
pub struct UpstreamAdmin {
    /// Where it connects: past a pooler, perhaps.
    pub address: Address,
    /// The role.
    pub user: String,
    /// Its password.
    pub password: Option<Secret>,
    /// TLS.
    pub tls: UpstreamTls,
    /// The database that it is in while it makes or drops others.
    pub database: String,
}

impl Upstream {
    /// The same database as its admin role, if there is one.
    pub fn as_admin(&self) -> Option<Self> {
        let UpstreamAdmin { address, user, password, tls, database: _ } = UpstreamAdmin::clone(self.admin.as_ref()?);
        Some(Self { address, user, password, tls, ..self.clone() })
    }
}

/// When a server connection goes back to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// At the end of each transaction.
    Transaction,
    /// When the client leaves.
    Session,
}

/// Server connections of one upstream.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// When a connection is given back.
    pub mode: PoolMode,
    /// At most so many connections; at least 1.
    pub size: usize,
    /// So many are kept open when idle; at most `size`.
    pub min_idle: usize,
    /// A client waits so long for a connection, then gets an error.
    pub wait_timeout: Duration,
    /// An idle connection above `min_idle` is closed after this.
    pub idle_timeout: Duration,
    /// A connection is replaced after this, when it is idle.
    pub lifetime: Duration,
    /// Prepared statements kept on each server connection.
    pub max_prepared: usize,
    /// Of its connections, so many are kept for tenants that have none, where tenants share it; less than `size`.
    pub kept_for_others: usize,
    /// A transaction that waits so long for its client ends when others wait for its connection. Zero: it does not.
    pub contended_idle_timeout: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            mode: PoolMode::Transaction,
            size: 20,
            min_idle: 0,
            wait_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(600),
            lifetime: Duration::from_secs(3600),
            max_prepared: 500,
            kept_for_others: Self::kept_of(20),
            contended_idle_timeout: Duration::from_secs(10),
        }
    }
}

impl PoolSettings {
    /// What a pool of this size keeps for tenants that have none, if it is not configured: a tenth, but one at least. Of a single
    /// connection nothing can be kept.
    pub fn kept_of(size: usize) -> usize {
        size.div_ceil(10).min(size.saturating_sub(1))
    }
}

/// What a tenant has of its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Connections it is given a turn, where tenants wait for them.
    pub weight: u32,
    /// So many are kept for it, from its first statement on.
    pub min: usize,
    /// It never has more.
    pub max: Option<usize>,
    /// Other tenants have the same pool.
    pub in_common: bool,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 1, min: 0, max: None, in_common: false }
    }
}

impl From<u32> for Share {
    fn from(weight: u32) -> Self {
        Self { weight, ..Self::default() }
    }
}

impl Share {
    /// Whether it has a minimum or a maximum.
    pub fn is_bounded(&self) -> bool {
        self.min > 0 || self.max.is_some()
    }
}

/// Caps over all upstreams together.
#[derive(Clone, Debug)]
pub struct GlobalPool {
    /// Server connections of all pools together.
    pub max_server_connections: usize,
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

/// `[admin]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Operators that may use the console besides the logins of role `admin`.
    pub logins: BTreeSet<LoginName>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where audit events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSink {
    /// Among the other log lines, with target `pgwarden::audit`.
    Log,
    /// Appended to this file, JSON whatever the log's format.
    File(PathBuf),
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines are written.
    pub format: LogFormat,
    /// Filter in the syntax of `RUST_LOG`, which wins over it when set.
    pub level: String,
    /// Where audit events go.
    pub audit: AuditSink,
    /// The texts of refused statements stand in it, without their literals.
    pub statements: bool,
}
