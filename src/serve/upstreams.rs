//! Upstreams that are in use: a pool, a guard and a catalog for each database.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tracing::{error, info};

use super::keeper::{Hook, Keeper};
use super::rules::Rules;
use crate::config::{self, Role};
use crate::guard::{Guard, Policy, plan_statements};
use crate::ids::UpstreamName;
use crate::pgerror::{PgError, SqlState};
use crate::pool::{Pools, ServerTarget};
use crate::session::{Upstream, Upstreams};

/// Opens upstreams when they are first asked for.
pub(super) struct OpenUpstreams {
    rules: Arc<ArcSwap<Rules>>,
    pools: Pools,
    /// Carries what upstreams do by themselves; sessions that open one run on workers.
    runtime: Handle,
    open: RwLock<HashMap<Place, Open>>,
}

/// An upstream and a database there.
type Place = (UpstreamName, String);

struct Open {
    parts: Upstream,
    keeper: Arc<Keeper>,
}

impl OpenUpstreams {
    /// Must be called within a tokio runtime.
    pub fn new(rules: Rules, pools: Pools) -> Self {
        Self {
            rules: Arc::new(ArcSwap::from_pointee(rules)),
            pools,
            runtime: Handle::current(),
            open: RwLock::default(),
        }
    }

    /// Other rules from now on: pools go where they now should, guards get a new policy where it differs. What is no longer
    /// configured is closed as its sessions' transactions end.
    pub fn reload(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
        let rules = self.rules.load();
        let mut gone = Vec::new();
        self.open.write().retain(|place, open| {
            let keep = wanted(&rules, place, &open.keeper.upstream());
            if let Some(now) = &keep {
                self.adjust(open, now);
            } else {
                gone.push(open.parts.pool.key().clone());
            }
            keep.is_some()
        });
        for key in gone {
            info!(pool = %key, "no longer configured: its connections are closed as transactions end");
            self.pools.remove(&key);
        }
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
        open.keeper.reload(now, reconnect, elsewhere);
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
        let pool = self.pools.get(&target.pool_key(), || (target, upstream.pool.clone()));
        let _entered = self.runtime.enter();
        let empty = Policy { enforcement: upstream.enforcement, ..Policy::empty() };
        let guard = Arc::new(Guard::new(Arc::new(empty), plan_statements));
        let keeper = Keeper::new(Arc::clone(&self.rules), Arc::clone(&guard), upstream);
        Ok(Open { parts: Upstream { pool, guard, catalog: Arc::new(Hook(Arc::clone(&keeper))) }, keeper })
    }
}

impl Upstreams for OpenUpstreams {
    fn open(&self, upstream: &Arc<config::Upstream>, database: &str) -> Result<Upstream, PgError> {
        let key = (upstream.name.clone(), database.to_owned());
        if let Some(open) = self.open.read().get(&key) {
            return Ok(open.parts.clone());
        }
        let mut all = self.open.write();
        if let Some(open) = all.get(&key) {
            return Ok(open.parts.clone());
        }
        let made = self.make(upstream, database)?;
        let parts = made.parts.clone();
        all.insert(key, made);
        Ok(parts)
    }
}

fn with_database(upstream: &Arc<config::Upstream>, database: &str) -> Arc<config::Upstream> {
    if upstream.database == database {
        return Arc::clone(upstream);
    }
    Arc::new(config::Upstream { database: database.to_owned(), ..config::Upstream::clone(upstream) })
}

/// What an open upstream should be now; `None` if nothing leads to it any more, or only another role.
fn wanted(rules: &Rules, (name, database): &Place, was: &config::Upstream) -> Option<Arc<config::Upstream>> {
    let now = rules.config.upstreams.get(name).filter(|now| now.user == was.user)?;
    let operators = rules.config.logins.iter().any(|login| match &login.role {
        Role::Operator { upstream, database: Some(own) } => upstream == name && own == database,
        Role::Operator { database: None, .. } | Role::Tenant | Role::Admin => false,
    });
    (now.database == *database || operators).then(|| with_database(now, database))
}
