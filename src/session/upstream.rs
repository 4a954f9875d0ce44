//! What a session has of an upstream: its pool, its guard, its catalog.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::login::{no_place, place, sealed_settings};
use super::protocol::{Backend, Home, ServerState};
use super::registry::SessionHandle;
use super::relay::{Condition, Source};
use crate::base::{Mode, PgError, SqlState, TenantName};
use crate::config::{self, Share, Tenant};
use crate::control::Notifications;
use crate::guard::Guard;
use crate::pool::{ClientKey, Party, Pool, Server};
use crate::tenant::{Registry, SharedRegistry, Target};
use crate::wire::backend::TransactionStatus;
use crate::wire::stream::Stream;

/// Finds what sessions need of an upstream.
pub trait Upstreams: Send + Sync {
    /// The parts of a database of an upstream.
    ///
    /// # Errors
    /// If the upstream cannot be used as it is configured.
    fn open(&self, upstream: &Arc<config::Upstream>, database: &str) -> Result<Upstream, PgError>;
    /// There is no such database: whatever was opened for it is let go of.
    fn forget(&self, upstream: &config::Upstream);
}

/// The parts of one upstream's database.
#[derive(Clone)]
pub struct Upstream {
    /// Its server connections.
    pub pool: Pool,
    /// Its guard.
    pub guard: Arc<Guard>,
    /// Keeps its catalog fresh.
    pub catalog: Arc<dyn CatalogHook>,
    /// What is notified there.
    pub notifications: Arc<Notifications>,
}

/// Keeps an upstream's catalog fresh.
pub trait CatalogHook: Send + Sync {
    /// DDL was carried out: the catalog should be read anew, soon and once.
    fn changed(&self);
    /// Whether what the guard goes by was seen in the database no longer ago than it may be.
    fn is_fresh(&self) -> bool;
    /// Looks at the database, reads the catalog anew if it has changed, and returns when the guard goes by it.
    ///
    /// # Errors
    /// What a client is told if that cannot be done.
    fn look(&self) -> Pin<Box<dyn Future<Output = Result<(), PgError>> + Send>>;
    /// A relation is unknown: reads the catalog anew, unless that was done a moment ago. Returns when the guard knows it.
    fn refresh(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    /// Why a tenant cannot be served here: its key is no value of a tenant column.
    fn objection(&self, tenant: &TenantName) -> Option<String>;
}

/// Server connections of a pool, for one client.
pub struct PoolSource {
    upstreams: Arc<dyn Upstreams>,
    pool: Pool,
    /// Where the pool is.
    place: Arc<Backend>,
    key: ClientKey,
    party: Party,
    /// What the party has of the pool.
    share: Share,
    /// The number of the registry that says so.
    said_by: u64,
    registry: SharedRegistry,
    handle: Arc<SessionHandle>,
}

impl PoolSource {
    /// Server connections for the client with this cancel key, which waits for them as `party`; what it has stands
    /// in its handle. They are from `place`, whose parts are given, until others are asked for.
    pub fn new(
        upstreams: Arc<dyn Upstreams>,
        upstream: &Upstream,
        place: Arc<Backend>,
        key: ClientKey,
        party: Party,
        registry: SharedRegistry,
        handle: Arc<SessionHandle>,
    ) -> Self {
        let (share, said_by) = share_of(&registry.load(), &party, &place);
        Self { upstreams, pool: upstream.pool.clone(), place, key, party, share, said_by, registry, handle }
    }

    /// The client's cancel key.
    pub fn key(&self) -> &ClientKey {
        &self.key
    }
}

/// A server connection, and what is known of it. One that has lost that is closed.
fn with_known(mut server: Server) -> Option<(Server, ServerState)> {
    let known = server.known.take()?;
    let state = ServerState::new(std::mem::take(&mut server.conn.inbox), known);
    Some((server, state))
}

fn share_of(registry: &Registry, party: &Party, place: &Backend) -> (Share, u64) {
    let tenant = party.as_ref().and_then(|name| registry.tenant(name.as_str()));
    let in_common = match place.mode {
        Mode::Shared | Mode::Reader | Mode::Schema(_) => true,
        Mode::Database | Mode::Operator => false,
    };
    (Share { in_common, ..tenant.map(|tenant| tenant.share).unwrap_or_default() }, registry.number())
}

impl Source for PoolSource {
    type Server = Server;

    async fn checkout(
        &mut self,
        place: Arc<Backend>,
        party: Option<TenantName>,
    ) -> Result<(Server, ServerState), PgError> {
        let moves = !Arc::ptr_eq(&self.place, &place);
        if moves {
            self.pool = self.upstreams.open(&place.upstream, &place.database)?.pool;
            self.place = place;
        }
        let registry = self.registry.load();
        let other = party.is_some() && self.party != party;
        if other {
            self.party = party;
        }
        if other || moves || self.said_by != registry.number() {
            (self.share, self.said_by) = share_of(&registry, &self.party, &self.place);
        }
        drop(registry);
        self.handle.note_waiting();
        let outcome = self.key.checkout(&self.pool, &self.party, self.share).await;
        match &outcome {
            Ok(server) => self.handle.note_active(server.id()),
            Err(_) => self.handle.note_idle(),
        }
        with_known(outcome?).ok_or_else(|| {
            PgError::fatal(SqlState::INTERNAL_ERROR, "a server connection was handed on without its state")
        })
    }

    fn try_checkout(&mut self, place: &Arc<Backend>, party: &Option<TenantName>) -> Option<(Server, ServerState)> {
        let same = Arc::ptr_eq(&self.place, place)
            && (party.is_none() || self.party == *party)
            && self.said_by == self.registry.load().number();
        let server = if same { self.key.try_checkout(&self.pool, &self.party, self.share)? } else { return None };
        self.handle.note_active(server.id());
        with_known(server)
    }

    async fn wait<T: Send>(&mut self, waiting: impl Future<Output = Result<T, PgError>> + Send) -> Result<T, PgError> {
        self.key.wait(waiting).await
    }

    async fn home(&mut self, tenant: &Arc<Tenant>) -> Result<Home, PgError> {
        let upstream = self.upstreams.open(&tenant.upstream, &tenant.upstream.database)?;
        if upstream.guard.policy().epoch == 0 {
            upstream.catalog.refresh().await;
        }
        if upstream.guard.policy().epoch == 0 || upstream.catalog.objection(&tenant.name).is_some() {
            let message = format!("tenant \"{}\" cannot be served where it lives now", tenant.name);
            return Err(PgError::fatal(SqlState::CONNECTION_FAILURE, message).hint("Connect again."));
        }
        let backend = place(&Target::Tenant(Arc::clone(tenant)), &upstream).ok_or_else(no_place)?;
        let sealed = sealed_settings(tenant, &upstream.guard, &upstream.guard.policy().setting);
        Ok(Home { backend, keys: tenant.keys.clone(), sealed })
    }

    fn idle_limit(&self) -> Duration {
        self.pool.contended_idle_timeout()
    }

    fn claims(&self, server: &Server) -> bool {
        self.pool.claims(server)
    }

    fn cancel(&mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(self.key.cancel())
    }

    fn release(&mut self, mut server: Server, link: ServerState, condition: Condition) {
        server.conn.inbox = link.input;
        server.known = Some(link.known);
        match condition {
            // What an observed client has left on it nobody knows: its statements were not held to anything.
            _ if self.place.observed => server.poison(),
            Condition::Clean => {}
            Condition::Abandoned => {
                server.tx = TransactionStatus::Active;
                server.pending = 1;
            }
            Condition::Broken => server.poison(),
        }
        self.key.release(server);
        self.handle.note_idle();
    }

    fn socket(server: &mut Server) -> &mut Stream {
        &mut server.conn.stream
    }
}
