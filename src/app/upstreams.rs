//! Upstreams that are in use: a pool, a guard and a catalog for each database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::runtime::Handle;
use tracing::{debug, error, info};

use super::keeper::{Hook, Keeper};
use super::rules::{Place, Rules, with_database};
use crate::base::{PgError, SqlState, TenantName};
use crate::config;
use crate::connect::ServerTarget;
use crate::control::Notifications;
use crate::guard::{Guard, Policy, plan_statements};
use crate::pool::{PoolKey, Pools};
use crate::session::{Upstream, Upstreams};

/// Opens upstreams when they are first asked for.
pub(super) struct OpenUpstreams {
    rules: Arc<ArcSwap<Rules>>,
    pools: Pools,
    /// Carries what upstreams do by themselves; sessions that open one run on workers.
    runtime: Handle,
    open: DashMap<Place, Open, foldhash::fast::RandomState>,
}

#[derive(Clone)]
struct Open {
    parts: Upstream,
    keeper: Arc<Keeper>,
}

impl Open {
    /// Whether a session has it: each holds what keeps its catalog fresh.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.parts.catalog) > 1
    }
}

/// How often it is looked for what nobody uses.
const REAP: Duration = Duration::from_secs(1);

impl OpenUpstreams {
    /// Must be called within a tokio runtime.
    pub fn new(rules: Rules, pools: Pools) -> Self {
        Self {
            rules: Arc::new(ArcSwap::from_pointee(rules)),
            pools,
            runtime: Handle::current(),
            open: DashMap::default(),
        }
    }

    /// Other rules from now on: pools go where they now should, guards get a new policy where it differs. What is no longer
    /// configured is closed as its sessions' transactions end.
    /// Without `all`, only tenants came or went.
    pub fn reload(&self, rules: Rules, all: bool) {
        self.rules.store(Arc::new(rules));
        let rules = self.rules.load_full();
        // Not under the map's locks: logins want them, and with very many tenants this takes a while.
        let open: Vec<_> = self.open.iter().map(|it| (it.key().clone(), it.value().clone())).collect();
        let mut gone = Vec::new();
        for (place, open) in open {
            let was = open.keeper.upstream();
            match rules.upstream_at(&place).filter(|now| now.user == was.user) {
                Some(now) if all || is_elsewhere(&now, &was) => self.adjust(&open, &now),
                Some(_) => open.keeper.reapply(),
                None => {
                    self.open.remove(&place);
                    gone.push(open.parts.pool.key().clone());
                }
            }
        }
        for key in gone {
            info!(pool = %key, "no longer configured: its connections are closed as transactions end");
            self.pools.remove(&key);
        }
    }

    /// From now on lets go of databases that no session has used for as long as their pools keep idle connections: pool, guard
    /// and catalog. They are opened again when they are asked for. That of the shared layout stays, and so does what is to keep
    /// connections open (`min_idle`). Must be called within a tokio runtime.
    pub fn reap(self: &Arc<Self>) {
        let upstreams = Arc::downgrade(self);
        self.runtime.spawn(async move {
            let mut clock = tokio::time::interval(REAP);
            let mut unused = HashMap::new();
            loop {
                clock.tick().await;
                let Some(upstreams) = upstreams.upgrade() else { return };
                upstreams.reap_unused(&mut unused);
            }
        });
    }

    /// `unused`: since when nobody has used them.
    fn reap_unused(&self, unused: &mut HashMap<Place, Instant>) {
        let now = Instant::now();
        let mut due = Vec::new();
        let mut still = HashMap::new();
        for it in &self.open {
            let (place, open) = it.pair();
            if open.is_used() || self.stays(place) {
                continue;
            }
            let settings = open.parts.pool.settings();
            let since = unused.get(place).copied().unwrap_or(now);
            if settings.min_idle > 0 || settings.idle_timeout.is_zero() {
                continue;
            }
            if now.duration_since(since) >= settings.idle_timeout {
                due.push(place.clone());
            } else {
                still.insert(place.clone(), since);
            }
        }
        *unused = still;
        for place in due {
            // While it is looked at and removed nobody can begin to use it: its shard is locked.
            if let Some((_, open)) = self.open.remove_if(&place, |_, open| !open.is_used()) {
                debug!(pool = %open.parts.pool.key(), "nobody has used it for a while: let go");
                self.pools.remove(open.parts.pool.key());
            }
        }
    }

    fn stays(&self, (upstream, database): &Place) -> bool {
        let config = &self.rules.load().config;
        let main = config.upstreams.get(&config.tenancy.upstream);
        main.is_some_and(|main| main.name == *upstream && main.database == *database)
    }

    /// Looks at the databases that are in use, and reads anew the catalogs of those that have changed. One that cannot be looked at is
    /// left as it is known.
    pub async fn look(&self) {
        let keepers: Vec<_> = self.open.iter().map(|open| Arc::clone(&open.keeper)).collect();
        let looks = keepers.into_iter().map(|keeper| keeper.look(Duration::ZERO));
        for failed in futures_util::future::join_all(looks).await.into_iter().filter_map(Result::err) {
            debug!(error = %failed, "a catalog could not be looked at before the reload");
        }
    }

    /// Tenants whose keys fit no column, and why.
    pub fn unfit(&self) -> Vec<(TenantName, String)> {
        let keepers: Vec<_> = self.open.iter().map(|open| Arc::clone(&open.keeper)).collect();
        keepers.iter().flat_map(|keeper| keeper.unfit()).collect()
    }

    fn adjust(&self, open: &Open, now: &Arc<config::Upstream>) {
        let target = match ServerTarget::new(now) {
            Ok(target) => target,
            Err(error) => {
                error!(upstream = %now.name, %error, "upstream cannot be used as it is configured now: it stays as it was");
                return;
            }
        };
        let elsewhere = open.parts.pool.target().address != target.address;
        let reconnect = open.parts.pool.reconfigure(target, now.pool.clone());
        if reconnect {
            info!(upstream = %now.name, "server connections are replaced as transactions end");
        }
        open.parts.notifications.reload(Arc::clone(now), elsewhere);
        open.keeper.reload(now, reconnect, elsewhere);
    }

    /// Lets go of an upstream's database that nobody can use.
    fn let_go(&self, place: &Place) {
        if let Some((_, open)) = self.open.remove(place) {
            self.pools.remove(open.parts.pool.key());
        }
    }

    fn make(&self, upstream: &Arc<config::Upstream>, database: &str) -> Result<Open, PgError> {
        let upstream = with_database(upstream, database);
        let target = ServerTarget::new(&upstream).map_err(|error| {
            error!(upstream = %upstream.name, %error, "upstream cannot be used");
            PgError::fatal(
                SqlState::CONNECTION_FAILURE,
                format!("upstream \"{}\" cannot be used as it is configured", upstream.name),
            )
        })?;
        let pool = self.pools.get(&PoolKey::of(&target), || (target, upstream.pool.clone()));
        let _entered = self.runtime.enter();
        let empty = Policy { enforcement: upstream.enforcement, ..Policy::empty() };
        let guard = Arc::new(Guard::new(Arc::new(empty), plan_statements));
        let notifications = Notifications::new(Arc::clone(&upstream));
        let keeper = Keeper::new(Arc::clone(&self.rules), Arc::clone(&guard), pool.clone(), upstream);
        let catalog = Arc::new(Hook(Arc::clone(&keeper)));
        Ok(Open { parts: Upstream { pool, guard, catalog, notifications }, keeper })
    }
}

impl Upstreams for OpenUpstreams {
    fn open(&self, upstream: &Arc<config::Upstream>, database: &str) -> Result<Upstream, PgError> {
        let key = (upstream.name.clone(), database.to_owned());
        if let Some(open) = self.open.get(&key) {
            return Ok(open.parts.clone());
        }
        match self.open.entry(key) {
            Entry::Occupied(open) => Ok(open.get().parts.clone()),
            // It is made once: whoever else wants it waits for the shard.
            Entry::Vacant(place) => {
                let made = self.make(upstream, database)?;
                Ok(place.insert(made).parts.clone())
            }
        }
    }

    fn forget(&self, upstream: &config::Upstream) {
        self.let_go(&(upstream.name.clone(), upstream.database.clone()));
    }
}

/// Whether another row of a tenants' table leads elsewhere.
fn is_elsewhere(now: &config::Upstream, was: &config::Upstream) -> bool {
    let password = |it: &config::Upstream| it.password.as_ref().map(|secret| secret.expose().to_owned());
    now.address != was.address || password(now) != password(was)
}
