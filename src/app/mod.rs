//! Puts the rooms together: a configuration in, a running proxy out.

mod control;
mod gates;
mod keeper;
mod logins;
mod policies;
mod reload;
mod rules;
mod shown;
mod tenants;
mod upstreams;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::info;

use crate::config::{Config, Role};
use crate::console::metrics::{Endpoint, Sources};
use crate::console::{Console, Operations as _};
use crate::pool::{CancelRegistry, Connector, NetConnector, Pools};
use crate::session::workers::Workers;
use crate::session::{AccessError, Listener, SharedState, Upstreams as _};
use crate::usage::UsageWriter;
pub use control::Control;
use gates::{GateKeeper, GatesTable};
pub use policies::check_policies;
use reload::Reloader;
use rules::Rules;
use shown::{RegistryTable, RejectedTable};
use tenants::TenantSource;
use upstreams::OpenUpstreams;

/// At the start, clients wait for so long for the usage table to be read.
const USAGE_WAIT: Duration = Duration::from_secs(5);
/// And for so long for the tenants' table.
const TENANTS_WAIT: Duration = Duration::from_secs(10);

/// At the start, clients wait for so long for gates to be known.
const GATES_WAIT: Duration = Duration::from_secs(5);

/// So often it is said for whom nothing is enforced.
const REMIND: Duration = Duration::from_secs(600);

/// Why the proxy cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be bound.
    #[error("cannot listen on {addresses}: {source}")]
    Listen {
        /// What was to be bound.
        addresses: String,
        /// What the system says.
        source: io::Error,
    },
    /// Enforcement is `rls`, and policies would not keep tenants apart.
    #[error(
        "enforcement is \"rls\", but row-level security does not keep tenants apart:{0}\nMend it (`pgwarden rls generate` prints the \
         DDL for tables, `pgwarden rls check` looks again), or set enforcement = \"rewrite\" or \"rewrite+rls\"."
    )]
    Policies(String),
    /// Something that the configuration names cannot be used.
    #[error(transparent)]
    SharedState(#[from] AccessError),
    /// The system has no more threads or file descriptors.
    #[error("cannot start the threads that serve clients: {0}")]
    Workers(#[source] io::Error),
}

/// A proxy that has its sockets and is about to accept clients.
pub struct Proxy {
    listener: Listener,
    pools: Pools,
    control: Control,
    tenants: Arc<TenantSource>,
    keeper: Option<UsageWriter>,
    gates: Arc<GateKeeper>,
    /// Turns true when the server that counts for all proxies was reached, or could not be.
    counting: Option<watch::Receiver<bool>>,
    metrics: Option<Endpoint>,
    // Last: the runtimes that watch the server connections' sockets.
    _workers: Arc<Workers>,
}

impl Proxy {
    /// Binds the sockets and begins to read the catalogs. Upstreams that are down are logged and tried again; clients that
    /// come meanwhile are told. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What of the configuration cannot be used on this machine.
    pub fn start(config: Config) -> Result<Self, ServeError> {
        let connector: Arc<dyn Connector> = Arc::new(NetConnector::default());
        let pools = Pools::new(Arc::clone(&connector), config.pool.max_server_connections);
        let config = Arc::new(config);
        let upstreams = Arc::new(OpenUpstreams::new(Rules::new(Arc::clone(&config)), pools.clone()));
        upstreams.reap();
        // Its catalog is read before the first client asks for it.
        if let Some(main) = config.upstreams.get(&config.tenancy.upstream)
            && let Err(error) = upstreams.open(main, &main.database)
        {
            tracing::error!(upstream = %main.name, %error, "upstream cannot be used");
        }
        let shared = SharedState::new(&config, CancelRegistry::new(connector), Arc::clone(&upstreams) as _)?;
        let shared = Arc::new(shared);
        logins::watch(&shared);
        let reloader = Reloader::new(Arc::clone(&config), Arc::clone(&shared), upstreams, pools.clone());
        let reloader = Arc::new(reloader);
        let source = TenantSource::start(Arc::clone(&reloader));
        reloader.tell(&source);
        let gates = GateKeeper::start(Arc::clone(&reloader), Arc::clone(&shared));
        reloader.tell_gates(&gates);
        let control = Control::new(Arc::clone(&reloader), pools.clone(), Arc::clone(&gates));
        let console = Console::new(Arc::clone(&shared), pools.clone(), Arc::new(control.clone()))
            .show(RegistryTable(Arc::clone(&source)))
            .show(GatesTable)
            .show(RejectedTable(reloader));
        // The shared state is new: there is none yet.
        let _ = shared.console.set(Arc::new(console));
        let keeper = config
            .quota
            .as_ref()
            .map(|quota| UsageWriter::spawn(Arc::clone(&shared.ledger), Arc::clone(&shared.registry), quota));
        let counting = shared.limiters.shared_limiter().zip(config.shared_limits.as_ref());
        let counting = counting.map(|(shared_limiter, shared)| shared_limiter.keep(Arc::clone(shared)));
        let workers = Arc::new(Workers::start(config.listen.workers).map_err(ServeError::Workers)?);
        let bound = Listener::bind(
            &config.listen.addresses,
            config.listen.reuse_port,
            Arc::clone(&shared),
            Arc::clone(&workers),
        );
        let listener = bound.map_err(|source| {
            let addresses: Vec<_> = config.listen.addresses.iter().map(ToString::to_string).collect();
            ServeError::Listen { addresses: addresses.join(", "), source }
        })?;
        let metrics = start_metrics(&config, &shared, &pools, &control)?;
        Ok(Self { listener, pools, control, tenants: source, keeper, gates, counting, metrics, _workers: workers })
    }

    /// The addresses that clients can connect to, with the ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listener.addresses()
    }

    /// For signals: what can be asked of the proxy while it runs.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Serves until `shutdown` is ready or the control says so, then lets transactions end and closes what is left.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        self.tenants.started(TENANTS_WAIT).await;
        if let Some(keeper) = &mut self.keeper {
            // Clients wait to be accepted: what is left of their quotas should be known by then.
            keeper.started(USAGE_WAIT).await;
        }
        if let Some(counting) = &mut self.counting {
            // The task that tries ends with the process.
            let _ended = counting.wait_for(|tried| *tried).await;
        }
        self.gates.registered(GATES_WAIT).await;
        let addresses: Vec<_> = self.addresses().iter().map(ToString::to_string).collect();
        info!(addresses = addresses.join(", "), "pgwarden is ready");
        let control = self.control.clone();
        let reminding = tokio::spawn(async move {
            loop {
                warn_of_observed(&control.config());
                tokio::time::sleep(REMIND).await;
            }
        });
        if let Some(endpoint) = &self.metrics {
            info!(address = %endpoint.address(), "metrics are served");
        }
        let mut serving = std::pin::pin!(self.listener.serve(self.control.ending()));
        tokio::select! {
            () = &mut serving => {}
            () = shutdown => {
                self.control.stop();
                serving.await;
            }
        }
        reminding.abort();
        self.pools.close().await;
        if let Some(keeper) = self.keeper {
            keeper.stop().await;
        }
        self.gates.stop().await;
        info!("pgwarden has stopped");
    }
}

/// Says for which logins nothing is enforced.
fn warn_of_observed(config: &Config) {
    for login in config.logins.iter().filter(|login| login.role == Role::Observed) {
        tracing::warn!(
            login = %login.name,
            "login is OBSERVED: NOTHING is enforced for it, it reads and changes every tenant's rows (role = \"tenant\" guards it)"
        );
    }
}

fn start_metrics(
    config: &Config,
    shared: &Arc<SharedState>,
    pools: &Pools,
    control: &Control,
) -> Result<Option<Endpoint>, ServeError> {
    let Some(metrics) = &config.metrics else { return Ok(None) };
    let ending = control.ending();
    let draining = move || ending.borrow().is_some();
    let sources = Sources::new(Arc::clone(shared), pools.clone(), config, metrics.max_tenants, draining);
    let endpoint = Endpoint::start(metrics.address, Arc::new(sources))
        .map_err(|source| ServeError::Listen { addresses: metrics.address.to_string(), source })?;
    Ok(Some(endpoint))
}
