//! A new configuration for a running proxy. It is read and checked as a whole, away from the sessions; then it is swapped in.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use super::gates::GateKeeper;
use super::rules::Rules;
use super::tenants::TenantSource;
use super::upstreams::OpenUpstreams;
use super::{check_policies, warn_of_observed};
use crate::base::TenantName;
use crate::catalog::{self, Catalog};
use crate::checks::policy_of;
use crate::config::{Config, ConfigErrors, Layout, Loaded, QuotaConfig, Tenant, Upstream, load};
use crate::observe;
use crate::policy::{PolicyNote, tenants_of};
use crate::pool::Pools;
use crate::session::{Access, AccessError, Manners, SharedState};
use crate::tenant::Registry;
use crate::tenant::table::{Rejected, Row, merge};

/// So many rows are complained of at once.
const MAX_SAID: usize = 100;

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file is not accepted.
    #[error("the configuration is not accepted: {}", .0.errors.first().map(ToString::to_string).unwrap_or_default())]
    Config(ConfigErrors),
    /// Something that it names cannot be used.
    #[error(transparent)]
    SharedState(#[from] AccessError),
    /// Policies that are to keep tenants apart do not.
    #[error("{0}")]
    Policies(String),
    /// Its rules do not fit what the upstreams contain, a line each.
    #[error("{}", .0.first().map(String::as_str).unwrap_or_default())]
    Rules(Vec<String>),
    /// The task that did it ended.
    #[error("the reload was interrupted")]
    Interrupted,
}

impl ReloadError {
    /// All that is wrong, a line each.
    pub fn lines(&self) -> Vec<String> {
        match self {
            ReloadError::Config(errors) => errors.errors.iter().map(ToString::to_string).collect(),
            ReloadError::Rules(lines) => lines.clone(),
            ReloadError::SharedState(_) | ReloadError::Policies(_) | ReloadError::Interrupted => vec![self.to_string()],
        }
    }
}

/// What a reload did.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// Keys that were changed, but need a restart.
    pub needs_restart: Vec<&'static str>,
    /// Sessions that may have to end.
    pub concerned: usize,
    /// Tenants that there are now, those of the table included.
    pub tenants: usize,
}

/// Swaps configurations.
pub(super) struct Reloader {
    path: PathBuf,
    shared: Arc<SharedState>,
    upstreams: Arc<OpenUpstreams>,
    pools: Pools,
    /// That of everything but the sessions.
    runtime: Handle,
    /// One at a time. The configuration in force.
    state: Mutex<State>,
    /// The configuration in force, with the tenants of the table.
    effective: ArcSwap<Config>,
    source: OnceLock<Weak<TenantSource>>,
    gates: OnceLock<Weak<GateKeeper>>,
    /// Held from when rows of the table are read until they are in force: what was read first must not come last.
    loading: tokio::sync::Mutex<()>,
}

/// What the configuration in force was made of.
struct State {
    file: Arc<Config>,
    rows: Vec<Row>,
    rejected: Arc<Vec<Rejected>>,
}

/// What other rows did.
pub(super) struct RowsTaken {
    pub tenants: usize,
    pub rejected: usize,
    pub concerned: usize,
}

impl Reloader {
    /// Must be called within a tokio runtime.
    pub fn new(config: Arc<Config>, shared: Arc<SharedState>, upstreams: Arc<OpenUpstreams>, pools: Pools) -> Self {
        let path = config.path.clone();
        Self {
            path,
            shared,
            upstreams,
            pools,
            runtime: Handle::current(),
            effective: ArcSwap::new(Arc::clone(&config)),
            state: Mutex::new(State { file: config, rows: Vec::new(), rejected: Arc::default() }),
            source: OnceLock::new(),
            gates: OnceLock::new(),
            loading: tokio::sync::Mutex::default(),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.effective.load_full()
    }

    /// Told of new configurations from now on.
    pub fn tell(&self, source: &Arc<TenantSource>) {
        // There is one.
        let _ = self.source.set(Arc::downgrade(source));
    }

    /// Told of new configurations from now on.
    pub fn tell_gates(&self, keeper: &Arc<GateKeeper>) {
        // There is one.
        let _ = self.gates.set(Arc::downgrade(keeper));
    }

    /// One at a time reads the table and puts it in force.
    pub async fn turn_to_load(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.loading.lock().await
    }

    /// The tenants of the file itself.
    pub fn tenants_of_file(&self) -> HashSet<TenantName> {
        self.state.lock().file.tenants.iter().map(|tenant| tenant.name.clone()).collect()
    }

    /// Rows that are left out, and tenants whose keys fit no column.
    pub fn rejected(&self) -> Vec<Rejected> {
        let rejected = Arc::clone(&self.state.lock().rejected);
        let unfit = self.upstreams.unfit().into_iter().map(|(name, why)| Rejected { name: name.to_string(), why });
        rejected.iter().cloned().chain(unfit).collect()
    }

    /// Tenants of the file, and rows that are left out.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.file.tenants.len(), state.rejected.len())
    }

    /// The rows of the tenants' table. `None`: they are those that are known.
    pub fn take_rows(&self, rows: Vec<Row>) -> Option<RowsTaken> {
        let mut state = self.state.lock();
        if state.rows == rows {
            return None;
        }
        state.rows = rows;
        let concerned = self.put_in_force(&mut state, None);
        Some(RowsTaken { tenants: self.config().tenants.len(), rejected: state.rejected.len(), concerned })
    }

    /// Swaps in what the state says: the rules of the guards first, then who may have a session, then the sessions that are
    /// there are looked at. Returns how many of them it may concern.
    fn put_in_force(&self, state: &mut State, access: Option<Access>) -> usize {
        let rows = if state.file.tenants_from.is_some() { state.rows.as_slice() } else { &[] };
        let merged = merge(&state.file, rows);
        say(&state.rejected, &merged.rejected);
        state.rejected = Arc::new(merged.rejected);
        let config = Arc::new(Config { tenants: merged.tenants, ..Config::clone(&state.file) });
        let registry = Arc::new(Registry::beside(&config, &self.shared.queried));
        self.upstreams.reload(Rules::new(Arc::clone(&config)), access.is_some());
        if let Some(access) = access {
            self.shared.access.store(Arc::new(access));
        }
        self.shared.limiters.apply(&registry, config.listen.idle_timeout);
        self.shared.registry.store(registry);
        self.effective.store(config);
        self.shared.forget_greetings();
        self.shared.directory.registry_changed()
    }

    /// Reads the file again and puts it in force. What was wrong or done is logged.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub async fn reload(self: &Arc<Self>) -> Result<Reloaded, ReloadError> {
        let reloader = Arc::clone(self);
        let task = self.runtime.spawn_blocking(move || reloader.run());
        let outcome = task.await.unwrap_or(Err(ReloadError::Interrupted));
        match &outcome {
            Ok(done) => {
                if !done.needs_restart.is_empty() {
                    warn!(keys = done.needs_restart.join(", "), "changed, but in force only after a restart");
                }
                info!(tenants = done.tenants, sessions = done.concerned, "configuration reloaded");
                warn_of_observed(&self.config());
            }
            Err(error) => {
                for line in error.lines() {
                    error!("{line}");
                }
                error!("configuration not reloaded: all stays as it was");
            }
        }
        outcome
    }

    /// Whether the rules of a new configuration fit what the upstreams contain at this moment. What of the old one did not fit
    /// either is no reason to go on with that. An upstream that cannot be reached is left for later.
    ///
    /// # Errors
    /// What `pgwarden check` would say of it.
    async fn check_rules(&self, config: &Config) -> Result<(), ReloadError> {
        let (old, new) = {
            let state = self.state.lock();
            (beside_rows(&state.file, &state.rows), beside_rows(config, &state.rows))
        };
        let mut lines = Vec::new();
        for upstream in new.upstreams.values() {
            let is_for_many = |tenant: &Arc<Tenant>| tenant.layout != Layout::Database;
            let serves =
                upstream.name == new.tenancy.upstream || tenants_of(&new, &upstream.name).iter().any(is_for_many);
            let catalog = if serves { catalog::load(upstream).await.ok() } else { None };
            let Some(catalog) = catalog else { continue };
            let known = misfits(&old, upstream, &catalog);
            let now = misfits(&new, upstream, &catalog);
            lines.extend(now.difference(&known).map(|note| format!("upstream \"{}\": {note}", upstream.name)));
        }
        lines.sort();
        if lines.is_empty() { Ok(()) } else { Err(ReloadError::Rules(lines)) }
    }

    fn run(&self) -> Result<Reloaded, ReloadError> {
        let Loaded { config, warnings } = load(&self.path).map_err(ReloadError::Config)?;
        for warning in &warnings {
            warn!("{warning}");
        }
        let checked = self.runtime.block_on(check_policies(&config));
        checked.map_err(|error| ReloadError::Policies(error.to_string()))?;
        self.runtime.block_on(self.check_rules(&config))?;
        // What was made since the catalogs were read last is there.
        self.runtime.block_on(self.upstreams.look());
        let mut state = self.state.lock();
        let (config, needs_restart) = keep_what_needs_a_restart(config, &state.file);
        let config = Arc::new(config);
        let access = Access::new(&config)?;
        // Nothing can fail from here on.
        self.shared.manners.store(Arc::new(Manners::new(&config)));
        self.pools.set_max_connections(config.pool.max_server_connections);
        state.file = Arc::clone(&config);
        let concerned = self.put_in_force(&mut state, Some(access));
        drop(state);
        if let Some(source) = self.source.get().and_then(Weak::upgrade) {
            source.config_changed();
        }
        if let Some(gates) = self.gates.get().and_then(Weak::upgrade) {
            gates.config_changed();
        }
        let (shared, idle) = (Arc::clone(&self.shared), config.listen.idle_timeout);
        self.runtime.spawn(async move {
            shared.refresh_logins().await;
            shared.limiters.apply(&shared.registry.load(), idle);
        });
        if let Err(error) = observe::set_level(&config.log) {
            error!(%error, "log level");
        }
        let tenants = self.config().tenants.len();
        Ok(Reloaded { needs_restart, concerned, tenants })
    }
}

/// A configuration of the file with the tenants of the table's rows.
fn beside_rows(file: &Config, rows: &[Row]) -> Config {
    let rows = if file.tenants_from.is_some() { rows } else { &[] };
    Config { tenants: merge(file, rows).tenants, ..file.clone() }
}

/// What of a configuration's rules for tables and schemas does not fit a catalog.
fn misfits(config: &Config, upstream: &Upstream, catalog: &Arc<Catalog>) -> HashSet<PolicyNote> {
    let (_, notes) = policy_of(config, upstream, Arc::clone(catalog));
    notes.into_iter().filter(PolicyNote::is_of_rules).collect()
}

/// Logs what was not said before.
fn say(before: &[Rejected], now: &[Rejected]) {
    let before: HashSet<_> = before.iter().collect();
    let new: Vec<_> = now.iter().filter(|it| !before.contains(it)).collect();
    for Rejected { name, why } in new.iter().take(MAX_SAID) {
        error!(tenant = name, why, "a row of the tenants' table is left out");
    }
    if new.len() > MAX_SAID {
        error!("and {} more rows: SHOW REJECTED lists them", new.len() - MAX_SAID);
    }
}

/// What cannot change while the process runs stays as it was; the keys that were changed.
fn keep_what_needs_a_restart(mut new: Config, old: &Config) -> (Config, Vec<&'static str>) {
    let mut changed = Vec::new();
    if new.listen.addresses != old.listen.addresses {
        changed.push("listen.address");
        new.listen.addresses.clone_from(&old.listen.addresses);
    }
    if new.listen.reuse_port != old.listen.reuse_port {
        changed.push("listen.reuse_port");
        new.listen.reuse_port = old.listen.reuse_port;
    }
    if new.listen.workers != old.listen.workers {
        changed.push("listen.workers");
        new.listen.workers = old.listen.workers;
    }
    if new.listen.max_connections != old.listen.max_connections {
        changed.push("listen.max_connections");
        new.listen.max_connections = old.listen.max_connections;
    }
    if new.listen.max_logins != old.listen.max_logins {
        changed.push("listen.max_logins");
        new.listen.max_logins = old.listen.max_logins;
    }
    if new.listen.buffer_memory != old.listen.buffer_memory {
        changed.push("listen.buffer_memory");
        new.listen.buffer_memory = old.listen.buffer_memory;
    }
    if new.shared_limits != old.shared_limits {
        changed.push("limits.shared");
        new.shared_limits.clone_from(&old.shared_limits);
    }
    if new.tenancy.setting != old.tenancy.setting {
        changed.push("tenancy.setting");
        new.tenancy.setting.clone_from(&old.tenancy.setting);
    }
    if new.log.format != old.log.format {
        changed.push("log.format");
        new.log.format = old.log.format;
    }
    if new.log.audit != old.log.audit {
        changed.push("log.audit");
        new.log.audit.clone_from(&old.log.audit);
    }
    if !same_quota(new.quota.as_deref(), old.quota.as_deref()) {
        changed.push("quota");
        new.quota.clone_from(&old.quota);
    }
    if new.metrics != old.metrics {
        changed.push("metrics");
        new.metrics.clone_from(&old.metrics);
    }
    (new, changed)
}

fn same_quota(one: Option<&QuotaConfig>, other: Option<&QuotaConfig>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_none() && other.is_none() };
    let QuotaConfig { upstream, table, flush_interval, period, when_unknown, default } = one;
    *table == other.table
        && *flush_interval == other.flush_interval
        && *period == other.period
        && *when_unknown == other.when_unknown
        && *default == other.default
        && same_connection(upstream, &other.upstream)
}

/// Whether connections that are made by one are made by the other.
fn same_connection(one: &Upstream, other: &Upstream) -> bool {
    let Upstream {
        name: _,
        address,
        user,
        database,
        password,
        tls,
        pool: _,
        connect_timeout,
        enforcement: _,
        admin: _,
    } = one;
    *address == other.address
        && *user == other.user
        && *database == other.database
        && *password == other.password
        && tls.mode == other.tls.mode
        && tls.root_cert == other.tls.root_cert
        && *connect_timeout == other.connect_timeout
}
