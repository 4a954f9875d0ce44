//! Upstreams that are in use: a pool, a guard and a catalog for each database.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tracing::{error, warn};

use crate::catalog::{Catalog, CatalogSource, RefreshTimes};
use crate::config::{self, Config, Tenant};
use crate::guard::{Enforcement, Guard, GuardLimits, Policy, plan_statements};
use crate::ids::UpstreamName;
use crate::pgerror::{PgError, SqlState};
use crate::pool::{Pools, ServerTarget};
use crate::session::{CatalogHook, Upstream, Upstreams};
use crate::tenant::policy::{NoteLevel, PolicyInput, PolicyNote, build_policy, tenants_of};

/// Opens upstreams when they are first asked for.
pub(super) struct OpenUpstreams {
    config: Arc<Config>,
    pools: Pools,
    /// Carries what upstreams do by themselves; sessions that open one run on workers.
    runtime: Handle,
    open: RwLock<HashMap<(UpstreamName, String), Upstream>>,
}

impl OpenUpstreams {
    /// Must be called within a tokio runtime.
    pub fn new(config: Config, pools: Pools) -> Self {
        Self { config: Arc::new(config), pools, runtime: Handle::current(), open: RwLock::default() }
    }

    fn make(&self, upstream: &Arc<config::Upstream>, database: &str) -> Result<Upstream, PgError> {
        let upstream = if upstream.database == database {
            Arc::clone(upstream)
        } else {
            Arc::new(config::Upstream { database: database.to_owned(), ..config::Upstream::clone(upstream) })
        };
        let target = ServerTarget::new(&upstream).map_err(|error| {
            error!(upstream = %upstream.name, %error, "upstream cannot be used");
            PgError::fatal(
                SqlState::CONNECTION_FAILURE,
                format!("upstream \"{}\" cannot be used as it is configured", upstream.name),
            )
        })?;
        let pool = self.pools.get(&target.pool_key(), || (target, upstream.pool.clone()));
        let _entered = self.runtime.enter();
        let guard = Arc::new(Guard::new(
            Arc::new(Policy { enforcement: upstream.enforcement, ..Policy::empty() }),
            plan_statements,
        ));
        let source =
            CatalogSource::spawn(Arc::clone(&upstream), RefreshTimes::every(self.config.tenancy.catalog_refresh));
        let tenants = tenants_of(&self.config, &upstream.name);
        let keeper = Arc::new(Keeper {
            config: Arc::clone(&self.config),
            tenants,
            enforcement: upstream.enforcement,
            guard: Arc::clone(&guard),
            source,
            epoch: AtomicU64::new(0),
            last: Mutex::default(),
        });
        tokio::spawn(follow(Arc::downgrade(&keeper)));
        Ok(Upstream { pool, guard, catalog: Arc::new(Hook(keeper)) })
    }
}

impl Upstreams for OpenUpstreams {
    fn open(&self, upstream: &Arc<config::Upstream>, database: &str) -> Result<Upstream, PgError> {
        let key = (upstream.name.clone(), database.to_owned());
        if let Some(open) = self.open.read().get(&key) {
            return Ok(open.clone());
        }
        let mut all = self.open.write();
        if let Some(open) = all.get(&key) {
            return Ok(open.clone());
        }
        let made = self.make(upstream, database)?;
        all.insert(key, made.clone());
        Ok(made)
    }
}

/// Gives a guard the policy of the newest catalog.
struct Keeper {
    config: Arc<Config>,
    tenants: Vec<Arc<Tenant>>,
    enforcement: Enforcement,
    guard: Arc<Guard>,
    source: Arc<CatalogSource>,
    epoch: AtomicU64,
    /// The catalog whose policy is in force, and what was said of it.
    last: Mutex<(Option<Arc<Catalog>>, Vec<PolicyNote>)>,
}

impl Keeper {
    fn apply(&self, catalog: &Arc<Catalog>) {
        let mut last = self.last.lock();
        if last.0.as_ref().is_some_and(|known| Arc::ptr_eq(known, catalog)) {
            return;
        }
        let input = PolicyInput {
            tenancy: &self.config.tenancy,
            tenants: &self.tenants,
            enforcement: self.enforcement,
            limits: GuardLimits::default(),
        };
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        let (policy, notes) = build_policy(&input, Arc::clone(catalog), epoch);
        // Said once, not at every refresh.
        for note in notes.iter().filter(|note| !last.1.contains(note)) {
            let upstream = self.source.name();
            match note.level() {
                NoteLevel::Error => error!(%upstream, "{note}"),
                NoteLevel::Warning => warn!(%upstream, "{note}"),
            }
        }
        self.guard.set_policy(Arc::new(policy));
        *last = (Some(Arc::clone(catalog)), notes);
    }
}

/// Applies each new catalog, until the keeper is gone.
async fn follow(keeper: Weak<Keeper>) {
    let mut seen = None;
    loop {
        let Some(source) = keeper.upgrade().map(|k| Arc::clone(&k.source)) else { return };
        let catalog = source.changed_from(seen.as_ref()).await;
        drop(source);
        let Some(keeper) = keeper.upgrade() else { return };
        keeper.apply(&catalog);
        seen = Some(catalog);
    }
}

/// What sessions have of a keeper.
struct Hook(Arc<Keeper>);

impl CatalogHook for Hook {
    fn changed(&self) {
        self.0.source.notice_ddl();
    }

    fn refresh(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let keeper = Arc::clone(&self.0);
        Box::pin(async move {
            let seen = Arc::clone(&keeper.guard.policy().catalog);
            if let Some(catalog) = keeper.source.refresh_for_unknown(&seen).await {
                keeper.apply(&catalog);
            }
        })
    }
}
