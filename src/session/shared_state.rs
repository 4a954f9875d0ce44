//! What all sessions share: who may log in, where upstreams are, how clients are spoken to.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;

use super::buffers::Buffers;
use super::console::ConsoleHost;
use super::foreign_rows::ForeignRowsOf;
use super::login::{Access, AccessError};
use super::protocol::{PlannerPool, SharedStatements};
use super::registry::SessionRegistry;
use super::upstream::Upstreams;
use crate::auth::{MockKey, Throttle};
use crate::config::Config;
use crate::limits::{Limiters, SharedLimiter};
use crate::pool::{CancelRegistry, PoolKey};
use crate::tenant::{QueriedLogins, Registry, SharedRegistry};
use crate::usage::UsageRegistry;
use crate::wire::frame::{ClientLimits, LARGE_LIMIT};

/// Startup settings of which it is remembered what a server reports after them.
const GREETINGS: usize = 1_000;

/// What a server reports (ParameterStatus) after certain settings were applied, so that a client can be greeted without
/// a server connection. By the pool and its generation.
pub(super) type Greetings = Cache<(PoolKey, u64, Vec<(String, String)>), Arc<BTreeMap<String, String>>>;

/// Shared by all sessions.
pub struct SharedState {
    /// Tenants and logins; a reload replaces it.
    pub registry: SharedRegistry,
    /// Logins that sessions have of the auth query.
    pub queried: Arc<QueriedLogins>,
    /// All sessions.
    pub directory: Arc<SessionRegistry>,
    /// Certificates and credentials; a reload replaces them by `access.store(Arc::new(Access::new(&config)?))`. Sessions
    /// that are logging in go on with what they began with.
    pub access: ArcSwap<Access>,
    /// What a reload may change of how clients are met.
    pub manners: ArcSwap<Manners>,
    /// Client connections at one time.
    pub max_connections: usize,
    /// Clients that log in at one time.
    pub max_logins: usize,
    /// What long messages wait in.
    pub buffers: Arc<Buffers>,
    /// The sealed setting that carries the tenant's key.
    pub setting: String,
    /// Cancel keys.
    pub cancel: Arc<CancelRegistry>,
    /// Pools, guards and catalogs.
    pub upstreams: Arc<dyn Upstreams>,
    /// Ids of prepared statements.
    pub statements: Arc<SharedStatements>,
    /// Who plans long texts.
    pub planners: PlannerPool,
    /// For the exchange with unknown logins.
    pub mock: MockKey,
    /// Failed logins of late.
    pub throttle: Throttle,
    /// What tenants use.
    pub ledger: Arc<UsageRegistry>,
    /// The console, once there is one.
    pub console: OnceLock<Arc<dyn ConsoleHost>>,
    /// What tenants and logins take, and may take.
    pub limiters: Arc<Limiters>,
    pub(super) greetings: Greetings,
    /// Where observed sessions ask whose rows are touched.
    pub(super) foreign_rows: ForeignRowsOf,
}

impl SharedState {
    /// The state for this configuration. Reads the files of `[listen.tls]`.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub fn new(
        config: &Config,
        cancel: Arc<CancelRegistry>,
        upstreams: Arc<dyn Upstreams>,
    ) -> Result<Self, AccessError> {
        let queried = Arc::default();
        let registry = Registry::shared(config, &queried);
        let limiters =
            Limiters::new(config.listen.idle_timeout, config.shared_limits.as_deref().map(SharedLimiter::new));
        limiters.apply(&registry.load(), config.listen.idle_timeout);
        Ok(Self {
            directory: SessionRegistry::new(Arc::clone(&registry)),
            registry,
            queried,
            access: ArcSwap::from_pointee(Access::new(config)?),
            manners: ArcSwap::from_pointee(Manners::new(config)),
            max_connections: config.listen.max_connections,
            max_logins: config.listen.max_logins,
            buffers: Buffers::new(config.listen.buffer_memory),
            setting: config.tenancy.setting.clone(),
            cancel,
            upstreams,
            statements: Arc::default(),
            planners: PlannerPool::new(config.listen.workers / 2),
            mock: MockKey::random(),
            throttle: Throttle::default(),
            ledger: Arc::new(UsageRegistry::new(config.quota.as_deref())),
            console: OnceLock::new(),
            limiters,
            greetings: Cache::new(GREETINGS),
            foreign_rows: ForeignRowsOf::default(),
        })
    }
}

impl SharedState {
    /// What servers reported is asked anew: they may be others now.
    pub fn forget_greetings(&self) {
        self.greetings.clear();
    }
}

/// How clients are met.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Time from accept to the end of authentication.
    pub login_timeout: Duration,
    /// How long messages of clients may be.
    pub limits: ClientLimits,
}

impl Manners {
    /// As the configuration says.
    pub fn new(config: &Config) -> Self {
        Self { login_timeout: config.listen.login_timeout, limits: client_limits(config.listen.max_message_bytes) }
    }
}

fn client_limits(max_message_bytes: usize) -> ClientLimits {
    let limit = u32::try_from(max_message_bytes).unwrap_or(LARGE_LIMIT).min(LARGE_LIMIT);
    let usual = ClientLimits::default();
    ClientLimits { statement: usual.statement.min(limit), values: limit, copy_data: limit }
}
