//! The pools by what they connect to, and their handles.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::Connector;
use super::cap::{Cap, Permit};
use super::idle::IdleList;
use super::inner::{Inner, Taken};
use super::queue::Party;
use super::server::{Server, ServerFacts};
use super::stats::PoolStats;
use crate::base::{PgError, UpstreamName};
use crate::config::{PoolSettings, Share};
use crate::connect::ServerTarget;

/// How often pools are tidied up.
const TICK: Duration = Duration::from_secs(1);

/// What the connections of one pool have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// Upstream, as the configuration names it.
    pub upstream: UpstreamName,
    /// Role that pgwarden logs in as.
    pub user: Arc<str>,
    /// Database.
    pub database: Arc<str>,
}

impl PoolKey {
    /// That of the pool for a target.
    pub fn of(target: &ServerTarget) -> Self {
        Self {
            upstream: target.upstream.clone(),
            user: target.user.as_str().into(),
            database: target.database.as_str().into(),
        }
    }
}

impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.upstream, self.user, self.database)
    }
}

/// What all pools share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) connector: Arc<dyn Connector>,
    pub(super) runtime: Handle,
    pub(super) cap: Arc<Cap>,
    /// Nothing is decided by a look at all of them: the cap on their connections is counted in `cap`.
    pools: DashMap<PoolKey, Arc<Inner>, foldhash::fast::RandomState>,
    paused: Mutex<Paused>,
    /// Pools with idle connections that another may have.
    pub(super) idle: IdleList,
    /// Pools that have connections or waiters.
    pub(super) demanding: AtomicUsize,
}

/// What the operator paused: pools that are made meanwhile are paused too.
#[derive(Debug, Default)]
struct Paused {
    all: bool,
    upstreams: HashSet<UpstreamName>,
}

impl Shared {
    fn all(&self) -> Vec<Arc<Inner>> {
        self.pools.iter().map(|inner| Arc::clone(&inner)).collect()
    }

    /// The right to open a connection, if need be by closing one that is idle in another pool. Without one the pool is told
    /// when one becomes free.
    pub(super) fn permit_for(&self, inner: &Arc<Inner>) -> Option<Permit> {
        if let Some(permit) = self.cap.acquire().or_else(|| self.evict(inner)) {
            return Some(permit);
        }
        if let Some(permit) = self.cap.acquire_or_queue(inner) {
            return Some(permit);
        }
        // A connection that became idle before the pool stood in the line was not given up for it: look once more.
        let permit = self.evict(inner)?;
        self.cap.forget(inner);
        Some(permit)
    }

    /// Closes the connection that has been idle for the longest time in another pool, and takes its permit.
    fn evict(&self, wanting: &Arc<Inner>) -> Option<Permit> {
        let mut server = self.idle.take_oldest(wanting)?;
        server.take_permit()
    }

    /// Connections that each pool may hold when all that want some share the cap; 0 if there are more pools than that.
    pub(super) fn fair_share(&self) -> usize {
        self.cap.max() / self.demanding.load(Ordering::Relaxed).max(1)
    }
}

/// All pools of the process. Pools are made on demand, tidied up in the background, and forgotten when unused. They live
/// until [`Pools::close`], even if every handle is dropped.
#[derive(Clone, Debug)]
pub struct Pools {
    shared: Arc<Shared>,
}

impl Pools {
    /// No pools yet; `max_connections` caps the server connections of all together. Starts the background task, so it must
    /// be called within a tokio runtime, which then runs all that pools do by themselves.
    pub fn new(connector: Arc<dyn Connector>, max_connections: usize) -> Self {
        let shared = Arc::new(Shared {
            connector,
            runtime: Handle::current(),
            cap: Cap::new(max_connections, Handle::current()),
            pools: DashMap::default(),
            paused: Mutex::default(),
            idle: IdleList::default(),
            demanding: AtomicUsize::new(0),
        });
        let weak = Arc::downgrade(&shared);
        shared.runtime.spawn(async move {
            let mut clock = tokio::time::interval(TICK);
            clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                let Some(shared) = weak.upgrade() else { return };
                Pools { shared }.tick();
            }
        });
        Self { shared }
    }

    /// The pool for `key`, made by `make` if there is none. `make` must not ask for pools itself.
    pub fn get(&self, key: &PoolKey, make: impl FnOnce() -> (ServerTarget, PoolSettings)) -> Pool {
        if let Some(inner) = self.shared.pools.get(key) {
            return Pool { inner: Arc::clone(&inner) };
        }
        let inner = self.shared.pools.entry(key.clone()).or_insert_with(|| {
            let (target, settings) = make();
            let inner = Inner::new(key.clone(), target, settings, Arc::clone(&self.shared));
            // With the shard locked: a pause is seen here, or finds the pool.
            let paused = self.shared.paused.lock();
            if paused.all || paused.upstreams.contains(&key.upstream) {
                inner.pause();
            }
            inner
        });
        Pool { inner: Arc::clone(&inner) }
    }

    /// All pools.
    pub fn all(&self) -> Vec<Pool> {
        self.shared.all().into_iter().map(|inner| Pool { inner }).collect()
    }

    /// Numbers of all pools, in the order of their keys' text.
    pub fn stats(&self) -> Vec<PoolStats> {
        let mut stats: Vec<_> = self.shared.all().iter().map(|inner| inner.stats()).collect();
        stats.sort_by_cached_key(|stats| stats.key.to_string());
        stats
    }

    /// Server connections of all pools, open or being opened, and the cap on them.
    pub fn connections(&self) -> (usize, usize) {
        (self.shared.cap.used(), self.shared.cap.max())
    }

    /// Lets clients of an upstream (of all) wait from now on, and returns when its server connections have come back and are
    /// closed.
    pub async fn pause(&self, upstream: Option<&UpstreamName>) {
        {
            let mut paused = self.shared.paused.lock();
            match upstream {
                Some(name) => {
                    paused.upstreams.insert(name.clone());
                }
                None => paused.all = true,
            }
        }
        let concerned = self.of(upstream);
        concerned.iter().for_each(|inner| inner.pause());
        for inner in concerned {
            inner.emptied().await;
        }
    }

    /// Ends a pause.
    pub fn resume(&self, upstream: Option<&UpstreamName>) {
        {
            let mut paused = self.shared.paused.lock();
            match upstream {
                Some(name) => {
                    paused.upstreams.remove(name);
                }
                None => *paused = Paused::default(),
            }
        }
        self.of(upstream).iter().for_each(|inner| inner.resume());
    }

    fn of(&self, upstream: Option<&UpstreamName>) -> Vec<Arc<Inner>> {
        let concerns = |inner: &Arc<Inner>| upstream.is_none_or(|name| inner.key.upstream == *name);
        self.shared.all().into_iter().filter(concerns).collect()
    }

    /// Another cap on the server connections of all pools together. What is open above it is not closed for it.
    pub fn set_max_connections(&self, max: usize) {
        self.shared.cap.set_max(max);
    }

    /// Takes a pool out and closes it: sessions that still have it are refused, a new one can be made for the key (with the
    /// settings of a new configuration). Connections in use are closed when they come back.
    pub fn remove(&self, key: &PoolKey) {
        if let Some((_, inner)) = self.shared.pools.remove(key) {
            inner.close();
        }
    }

    /// Closes all pools, and returns when no server connection is left: the end of a graceful stop. Connections in use are
    /// waited for.
    pub async fn close(&self) {
        let mut removed = Vec::new();
        self.shared.pools.retain(|_, inner| {
            removed.push(Arc::clone(inner));
            false
        });
        removed.iter().for_each(|inner| inner.close());
        for inner in removed {
            inner.emptied().await;
        }
    }

    /// Housekeeping of all pools; forgets those that have no connection, no waiter and no handle.
    fn tick(&self) {
        for inner in self.shared.all() {
            inner.tick();
        }
        let mut unused = Vec::new();
        self.shared.pools.retain(|_, inner| {
            // With the shard locked nobody can get a new handle from here; a handle elsewhere is counted.
            let keep = Arc::strong_count(inner) > 1 || inner.is_demanding() || inner.setup().settings.min_idle > 0;
            if !keep {
                unused.push(Arc::clone(inner));
            }
            keep
        });
        drop(unused);
        self.shared.idle.tidy();
    }
}

/// A handle on one pool: cheap to clone, one per session.
#[derive(Clone, Debug)]
pub struct Pool {
    inner: Arc<Inner>,
}

impl Pool {
    /// What its connections have in common.
    pub fn key(&self) -> &PoolKey {
        &self.inner.key
    }

    /// Where its connections go.
    pub fn target(&self) -> Arc<ServerTarget> {
        Arc::clone(&self.inner.setup().target)
    }

    /// Its settings. The pool mode in them is the session's matter.
    pub fn settings(&self) -> PoolSettings {
        self.inner.setup().settings.clone()
    }

    /// Other settings from now on, and another target: connections to the old one end as their transactions do. Returns
    /// whether the target is another.
    pub fn reconfigure(&self, target: ServerTarget, settings: PoolSettings) -> bool {
        let now = self.target();
        let elsewhere = !now.leads_to_the_same(&target);
        self.inner.set_up(if elsewhere { Arc::new(target) } else { now }, settings, elsewhere);
        elsewhere
    }

    /// Connections that there are now end as their transactions do: what new ones begin with has changed.
    pub fn renew(&self) {
        self.inner.set_up(self.target(), self.settings(), true);
    }

    /// How often connections began to go elsewhere, or to begin otherwise.
    pub fn generation(&self) -> u64 {
        self.inner.setup().generation
    }

    /// What [`Pool::checkout`] would give at once, if it is sure to: an idle connection that was in use a moment ago.
    pub fn try_checkout(&self, party: &Party, share: impl Into<Share>) -> Option<Server> {
        let mut server = self.inner.take_quiet(party, share.into())?;
        server.move_to(Handle::current().id()).then_some(server)
    }

    /// Takes a clean server connection for `party`: one that is idle, else the next that becomes free or is opened, in fair
    /// turns among the parties that wait, by weight, within what each may have of the pool (`share`). The future may be dropped at any time.
    ///
    /// # Errors
    /// `53300` when none became free within the wait timeout; what [`ConnectError::to_client`](crate::connect::ConnectError::to_client)
    /// says while the upstream cannot be reached; `57P01` when the pool is closed.
    pub async fn checkout(&self, party: &Party, share: impl Into<Share>) -> Result<Server, PgError> {
        let share = share.into();
        loop {
            let mut server = match self.inner.take_or_queue(party, share)? {
                Taken::Idle(server) => match self.inner.vet(server).await {
                    Some(server) => server,
                    None => continue,
                },
                Taken::Queued(waiting) => {
                    self.inner.grow();
                    waiting.wait().await?
                }
            };
            if server.move_to(Handle::current().id()) {
                return Ok(server);
            }
        }
    }

    /// Whether the session that has this connection of the pool, and does nothing with it, must end because others wait for one.
    pub fn claims(&self, server: &Server) -> bool {
        self.inner.claims(server)
    }

    /// A transaction that waits longer for its client is asked whether [`Pool::claims`] its connection. Zero: none is.
    pub fn contended_idle_timeout(&self) -> Duration {
        self.inner.setup().settings.contended_idle_timeout
    }

    /// Lets clients wait from now on, and returns when all server connections have come back and are closed.
    pub async fn pause(&self) {
        self.inner.pause();
        self.inner.emptied().await;
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.inner.resume();
    }

    /// Closes the connections that are idle. Whoever asks for one gets a new one.
    pub fn close_idle(&self) {
        self.inner.close_idle();
    }

    /// All established connections.
    pub fn servers(&self) -> Vec<ServerFacts> {
        self.inner.servers()
    }

    /// Numbers of this moment.
    pub fn stats(&self) -> PoolStats {
        self.inner.stats()
    }
}
