//! What all sessions share: who may log in, where upstreams are, how clients are spoken to.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;

use super::directory::Directory;
use super::machine::SharedStatements;
use super::upstream::Upstreams;
use crate::auth::{Md5Verifier, Method, MockKey, ScramVerifier, Secret, StoredPassword};
use crate::config::{Config, ListenTls, LoginAuth};
use crate::ids::LoginName;
use crate::pool::{CancelRegistry, PoolKey};
use crate::tenant::usage::Ledger;
use crate::tenant::{Registry, SharedRegistry};
use crate::wire::frame::{ClientLimits, LARGE_LIMIT};
use crate::wire::tls::{Identity, ServerTls, TlsConfigError};

/// Startup settings of which it is remembered what a server reports after them.
const GREETINGS: usize = 1_000;

/// Why the configuration cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A file of `[listen.tls]`.
    #[error("cannot read {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The certificate or its key.
    #[error("TLS certificate: {0}")]
    Tls(#[from] TlsConfigError),
    /// A login's password.
    #[error("login \"{0}\": its stored password cannot be read")]
    Password(LoginName),
}

/// How the logins of a configuration prove themselves.
#[derive(Debug)]
pub struct Credentials {
    by_login: HashMap<LoginName, Credential>,
}

/// How one login proves itself.
#[derive(Debug)]
pub enum Credential {
    /// With a password.
    Password(Method, StoredPassword),
    /// Not at all, from a loopback address.
    Trust,
}

impl Credentials {
    /// Reads the stored passwords. For those in plain text this takes some milliseconds each.
    ///
    /// # Errors
    /// A password that is none.
    pub fn new(config: &Config) -> Result<Self, GatewayError> {
        let mut by_login = HashMap::new();
        for login in &config.logins {
            let credential = Credential::new(&login.auth).ok_or_else(|| GatewayError::Password(login.name.clone()))?;
            by_login.insert(login.name.clone(), credential);
        }
        Ok(Self { by_login })
    }

    /// How this login proves itself; `None` if there is no such login.
    pub fn get(&self, login: &str) -> Option<&Credential> {
        self.by_login.get(login)
    }
}

impl Credential {
    fn new(auth: &LoginAuth) -> Option<Self> {
        Some(match auth {
            LoginAuth::ScramVerifier(secret) => {
                Credential::Password(Method::Scram, StoredPassword::Scram(secret.expose().parse().ok()?))
            }
            LoginAuth::ScramPlain(secret) => {
                let verifier = ScramVerifier::from_password(secret.expose());
                Credential::Password(Method::Scram, StoredPassword::Scram(verifier))
            }
            LoginAuth::Md5Hash(secret) => {
                Credential::Password(Method::Md5, StoredPassword::Md5(Md5Verifier::parse(secret.expose())?))
            }
            LoginAuth::Md5Plain(secret) => {
                Credential::Password(Method::Md5, StoredPassword::Plain(Secret::new(secret.expose())))
            }
            LoginAuth::Trust => Credential::Trust,
        })
    }
}

/// What a server reports (ParameterStatus) after certain settings were applied, so that a client can be greeted without
/// a server connection.
pub(super) type Greetings = Cache<(PoolKey, Vec<(String, String)>), Arc<BTreeMap<String, String>>>;

/// Shared by all sessions.
pub struct Gateway {
    /// Tenants and logins; a reload replaces it.
    pub registry: SharedRegistry,
    /// All sessions.
    pub directory: Arc<Directory>,
    /// How logins prove themselves; a reload replaces it.
    pub credentials: ArcSwap<Credentials>,
    /// TLS towards clients.
    pub tls: Option<ServerTls>,
    /// Clients without TLS are refused.
    pub tls_required: bool,
    /// Time from accept to the end of authentication.
    pub login_timeout: Duration,
    /// Client connections at one time.
    pub max_connections: usize,
    /// How long messages of clients may be.
    pub limits: ClientLimits,
    /// The sealed setting that carries the tenant's key.
    pub setting: String,
    /// Cancel keys.
    pub cancel: Arc<CancelRegistry>,
    /// Pools, guards and catalogs.
    pub upstreams: Arc<dyn Upstreams>,
    /// Ids of prepared statements.
    pub statements: Arc<SharedStatements>,
    /// For the exchange with unknown logins.
    pub mock: MockKey,
    /// What tenants use.
    pub ledger: Arc<Ledger>,
    pub(super) greetings: Greetings,
}

impl Gateway {
    /// A gateway for this configuration. Reads the files of `[listen.tls]`.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub fn new(
        config: &Config,
        cancel: Arc<CancelRegistry>,
        upstreams: Arc<dyn Upstreams>,
    ) -> Result<Self, GatewayError> {
        let tls = config.listen.tls.as_ref().map(server_tls).transpose()?;
        let registry = Registry::shared(config);
        Ok(Self {
            directory: Directory::new(Arc::clone(&registry)),
            registry,
            credentials: ArcSwap::from_pointee(Credentials::new(config)?),
            tls,
            tls_required: config.listen.tls.as_ref().is_some_and(|tls| tls.required),
            login_timeout: config.listen.login_timeout,
            max_connections: config.listen.max_connections,
            limits: client_limits(config.listen.max_message_bytes),
            setting: config.tenancy.setting.clone(),
            cancel,
            upstreams,
            statements: Arc::default(),
            mock: MockKey::random(),
            ledger: Arc::default(),
            greetings: Cache::new(GREETINGS),
        })
    }
}

fn server_tls(tls: &ListenTls) -> Result<ServerTls, GatewayError> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|error| GatewayError::File { path: path.clone(), error });
    let identity = Identity::from_pem(&read(&tls.cert)?, &read(&tls.key)?)?;
    Ok(ServerTls::new(identity, HashMap::new())?)
}

fn client_limits(max_message_bytes: usize) -> ClientLimits {
    let limit = u32::try_from(max_message_bytes).unwrap_or(LARGE_LIMIT).min(LARGE_LIMIT);
    let usual = ClientLimits::default();
    ClientLimits { statement: usual.statement.min(limit), values: limit, copy_data: limit }
}
