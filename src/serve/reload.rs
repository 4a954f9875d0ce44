//! A new configuration for a running proxy. It is read and checked as a whole, away from the sessions; then it is swapped in.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use super::check_policies;
use super::rules::Rules;
use super::upstreams::OpenUpstreams;
use crate::config::{Config, ConfigErrors, Loaded, load};
use crate::observe;
use crate::pool::Pools;
use crate::session::{Access, Gateway, GatewayError, Manners};
use crate::tenant::Registry;

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file is not accepted.
    #[error("the configuration is not accepted: {}", .0.errors.first().map(ToString::to_string).unwrap_or_default())]
    Config(ConfigErrors),
    /// Something that it names cannot be used.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// Policies that are to keep tenants apart do not.
    #[error("{0}")]
    Policies(String),
    /// The task that did it ended.
    #[error("the reload was interrupted")]
    Interrupted,
}

impl ReloadError {
    /// All that is wrong, a line each.
    pub fn lines(&self) -> Vec<String> {
        match self {
            ReloadError::Config(errors) => errors.errors.iter().map(ToString::to_string).collect(),
            ReloadError::Gateway(_) | ReloadError::Policies(_) | ReloadError::Interrupted => vec![self.to_string()],
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
    /// Tenants of the file.
    pub tenants: usize,
}

/// Swaps configurations.
pub(super) struct Reloader {
    path: PathBuf,
    gateway: Arc<Gateway>,
    upstreams: Arc<OpenUpstreams>,
    pools: Pools,
    /// That of everything but the sessions.
    runtime: Handle,
    /// One at a time. The configuration in force.
    current: Mutex<Arc<Config>>,
}

impl Reloader {
    /// Must be called within a tokio runtime.
    pub fn new(config: Arc<Config>, gateway: Arc<Gateway>, upstreams: Arc<OpenUpstreams>, pools: Pools) -> Self {
        let path = config.path.clone();
        Self { path, gateway, upstreams, pools, runtime: Handle::current(), current: Mutex::new(config) }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.current.lock())
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

    fn run(&self) -> Result<Reloaded, ReloadError> {
        let Loaded { config, warnings } = load(&self.path).map_err(ReloadError::Config)?;
        for warning in &warnings {
            warn!("{warning}");
        }
        let checked = self.runtime.block_on(check_policies(&config));
        checked.map_err(|error| ReloadError::Policies(error.to_string()))?;
        let mut current = self.current.lock();
        let (config, needs_restart) = keep_what_needs_a_restart(config, &current);
        let config = Arc::new(config);
        let registry = Arc::new(Registry::new(&config));
        let access = Arc::new(Access::new(&config)?);
        let rules = Rules::new(Arc::clone(&config));
        // Nothing can fail from here on.
        self.gateway.manners.store(Arc::new(Manners::new(&config)));
        self.gateway.access.store(access);
        self.pools.set_max_connections(config.pool.max_server_connections);
        self.upstreams.reload(rules);
        self.gateway.registry.store(registry);
        self.gateway.forget_greetings();
        let concerned = self.gateway.directory.registry_changed();
        if let Err(error) = observe::set_level(&config.log) {
            error!(%error, "log level");
        }
        let tenants = config.tenants.len();
        *current = config;
        Ok(Reloaded { needs_restart, concerned, tenants })
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
    if new.listen.max_connections != old.listen.max_connections {
        changed.push("listen.max_connections");
        new.listen.max_connections = old.listen.max_connections;
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
    (new, changed)
}
