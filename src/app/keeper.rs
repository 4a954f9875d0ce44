//! Gives an upstream's guard the policy of the newest catalog and the newest rules.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::{error, warn};

use super::rules::Rules;
use crate::base::{PgError, TenantName, UpstreamName};
use crate::catalog::{Catalog, CatalogSource, Known, RefreshTimes};
use crate::config::{self, Layout};
use crate::guard::{Guard, Policy};
use crate::policy::{NoteLevel, PolicyInput, PolicyNote, build_policy, derives_shared, usage_table};
use crate::pool::Pool;
use crate::session::CatalogHook;
use crate::sql::StatementLimits;

/// So many findings are logged at once.
const MAX_SAID: usize = 100;

/// Gives a guard its policy.
pub(super) struct Keeper {
    rules: Arc<ArcSwap<Rules>>,
    guard: Arc<Guard>,
    pool: Pool,
    runtime: Handle,
    epoch: AtomicU64,
    source: Mutex<Source>,
    /// One policy is made at a time.
    making: Mutex<()>,
    /// What the policy in force was made of, and what was said of it. Not locked while one is made: logins look here.
    last: Mutex<Last>,
    age: Age,
}

/// When the policy in force was last known to be made of what the upstream contains, and how long ago that may be: read for
/// each statement.
struct Age {
    origin: Instant,
    /// Nanoseconds from `origin`; 0: never.
    seen: AtomicU64,
    /// Nanoseconds.
    max: AtomicU64,
}

impl Age {
    fn new(max: Duration) -> Self {
        Self { origin: Instant::now(), seen: AtomicU64::new(0), max: AtomicU64::new(nanos(max)) }
    }

    fn max(&self) -> Duration {
        Duration::from_nanos(self.max.load(Ordering::Relaxed))
    }

    fn set_max(&self, max: Duration) {
        self.max.store(nanos(max), Ordering::Relaxed);
    }

    fn note(&self, seen: Instant) {
        self.seen.fetch_max(nanos(seen.saturating_duration_since(self.origin)).max(1), Ordering::AcqRel);
    }

    fn forget(&self) {
        self.seen.store(0, Ordering::Release);
    }

    /// Nanoseconds; none if nothing was ever seen.
    fn get(&self) -> Option<u64> {
        let seen = self.seen.load(Ordering::Acquire);
        (seen > 0).then(|| nanos(self.origin.elapsed()).saturating_sub(seen))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

struct Source {
    upstream: Arc<config::Upstream>,
    catalogs: Arc<CatalogSource>,
    /// The task that waits for its catalogs.
    following: Option<AbortHandle>,
}

#[derive(Default)]
struct Last {
    catalog: Option<Arc<Catalog>>,
    rules: Option<Arc<Rules>>,
    notes: Arc<Vec<PolicyNote>>,
    /// Tenants whose keys fit no column, and why.
    unfit: HashMap<TenantName, String>,
}

impl Keeper {
    /// Begins to read the catalog. Must be called within a tokio runtime.
    pub fn new(
        rules: Arc<ArcSwap<Rules>>,
        guard: Arc<Guard>,
        pool: Pool,
        upstream: Arc<config::Upstream>,
    ) -> Arc<Self> {
        let catalogs = read_catalogs(&rules.load(), &upstream);
        let max_age = rules.load().config.tenancy.catalog_max_age;
        let keeper = Arc::new(Self {
            rules,
            guard,
            pool,
            runtime: Handle::current(),
            epoch: AtomicU64::new(0),
            source: Mutex::new(Source { upstream, catalogs, following: None }),
            making: Mutex::default(),
            last: Mutex::default(),
            age: Age::new(max_age),
        });
        keeper.follow();
        keeper
    }

    /// The upstream as it is configured.
    pub fn upstream(&self) -> Arc<config::Upstream> {
        Arc::clone(&self.source.lock().upstream)
    }

    /// Tenants whose keys fit no column, and why.
    pub fn unfit(&self) -> Vec<(TenantName, String)> {
        self.last.lock().unfit.iter().map(|(name, why)| (name.clone(), why.clone())).collect()
    }

    fn catalogs(&self) -> Arc<CatalogSource> {
        Arc::clone(&self.source.lock().catalogs)
    }

    /// The configuration was replaced. With `reconnect` the catalog is read over other connections from now on; `elsewhere`:
    /// it is another server's, and nothing that is known of the old one holds.
    pub fn reload(self: &Arc<Self>, upstream: &Arc<config::Upstream>, reconnect: bool, elsewhere: bool) {
        let interval = |rules: &Option<Arc<Rules>>| rules.as_ref().map(|it| it.config.tenancy.catalog_refresh);
        let refreshes = interval(&self.last.lock().rules) != interval(&Some(self.rules.load_full()));
        self.age.set_max(self.rules.load().config.tenancy.catalog_max_age);
        {
            // What another server contains is not applied in between.
            let _turn = self.making.lock();
            let mut source = self.source.lock();
            if source.upstream.enforcement != upstream.enforcement {
                // Policies may have been made for it a moment ago.
                source.catalogs.notice_ddl();
            }
            source.upstream = Arc::clone(upstream);
            if reconnect || refreshes {
                let _within = self.runtime.enter();
                source.catalogs = read_catalogs(&self.rules.load(), upstream);
            }
            if elsewhere {
                self.age.forget();
                *self.last.lock() = Last::default();
                self.guard.set_policy(Arc::new(Policy { enforcement: upstream.enforcement, ..Policy::empty() }));
            }
        }
        if reconnect || refreshes {
            self.follow();
        }
        if !elsewhere {
            self.reapply();
        }
    }

    /// Applies the rules of this moment to the catalog that is known.
    pub fn reapply(&self) {
        let _turn = self.making.lock();
        let known = self.catalogs().known();
        let catalog = known.map(|known| known.catalog).or_else(|| self.last.lock().catalog.clone());
        if let Some(catalog) = catalog {
            self.apply(&catalog);
        }
    }

    /// Looks at the database, and reads the catalog anew if that has changed.
    ///
    /// # Errors
    /// What a client is told if that cannot be done.
    pub async fn look(self: Arc<Self>, max_age: Duration) -> Result<(), PgError> {
        self.catalogs().look(max_age).await?;
        self.catch_up().await;
        Ok(())
    }

    /// Applies what is known now.
    fn apply_known(&self) {
        let _turn = self.making.lock();
        if let Some(Known { catalog, seen }) = self.catalogs().known() {
            self.apply(&catalog);
            self.age.note(seen);
        }
    }

    /// Puts what is known in force, and the time of it.
    async fn catch_up(self: Arc<Self>) {
        let Some(Known { catalog, seen }) = self.catalogs().known() else { return };
        let in_force = self.last.lock().catalog.as_ref().is_some_and(|last| Arc::ptr_eq(last, &catalog));
        if in_force {
            self.age.note(seen);
            return;
        }
        // With very many tenants it takes a while.
        if tokio::task::spawn_blocking(move || self.apply_known()).await.is_err() {
            error!("a policy could not be made: the one in force stays");
        }
    }

    /// Whether the policy in force is made of what was seen no longer ago than it may be. Asks for another look in time.
    fn is_fresh(&self) -> bool {
        let (age, max) = (self.age.get(), self.age.max.load(Ordering::Relaxed));
        match age {
            None => false,
            Some(age) => {
                if age >= max / 4 * 3 {
                    self.catalogs().look_soon();
                }
                age <= max
            }
        }
    }

    /// Called with `making` locked.
    fn apply(&self, catalog: &Arc<Catalog>) {
        let rules = self.rules.load_full();
        let said = {
            let last = self.last.lock();
            let same_rules = last.rules.as_ref().is_some_and(|known| Arc::ptr_eq(known, &rules));
            if same_rules && last.catalog.as_ref().is_some_and(|known| Arc::ptr_eq(known, catalog)) {
                return;
            }
            Arc::clone(&last.notes)
        };
        let upstream = self.upstream();
        let input = PolicyInput {
            tenancy: &rules.config.tenancy,
            tenants: rules.tenants_of(&upstream),
            derives_shared: derives_shared(&rules.config, &upstream.name),
            enforcement: upstream.enforcement,
            usage_table: usage_table(&rules.config, &upstream.name),
            limits: StatementLimits::default(),
        };
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        if input.tenants.iter().any(|tenant| !matches!(tenant.layout, Layout::Database)) {
            // The connection over which it hears of DDL opens with the first look.
            self.catalogs().look_soon();
        }
        let (policy, notes) = build_policy(&input, Arc::clone(catalog), epoch);
        say(&upstream.name, &said, &notes);
        // Where it says the same, the verdicts that it gave stay cached.
        if !self.guard.policy().rules_equal(&policy) {
            self.guard.set_policy(Arc::new(policy));
        }
        let unfit = notes.iter().filter_map(unfit).collect();
        let notes = Arc::new(notes);
        let begins_otherwise = |known: &Arc<Catalog>| known.role.defaults != catalog.role.defaults;
        if self.last.lock().catalog.as_ref().is_some_and(begins_otherwise) {
            self.pool.renew();
        }
        *self.last.lock() = Last { catalog: Some(Arc::clone(catalog)), rules: Some(rules), notes, unfit };
    }

    /// Applies each new catalog of the source, until there is another source or the keeper is gone.
    fn follow(self: &Arc<Self>) {
        let keeper = Arc::downgrade(self);
        let catalogs = self.catalogs();
        let task = self.runtime.spawn(async move {
            let mut seen = None;
            loop {
                let known = catalogs.seen_after(seen).await;
                let Some(keeper) = keeper.upgrade() else { return };
                if !Arc::ptr_eq(&keeper.catalogs(), &catalogs) {
                    return;
                }
                keeper.catch_up().await;
                seen = Some(known.seen);
            }
        });
        let earlier = self.source.lock().following.replace(task.abort_handle());
        if let Some(earlier) = earlier {
            earlier.abort();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(following) = &self.source.get_mut().following {
            following.abort();
        }
    }
}

fn unfit(note: &PolicyNote) -> Option<(TenantName, String)> {
    match note {
        PolicyNote::BadKey { tenant, .. } => Some((tenant.clone(), note.to_string())),
        _ => None,
    }
}

/// Logs what was not said before.
fn say(upstream: &UpstreamName, before: &[PolicyNote], now: &[PolicyNote]) {
    let before: HashSet<_> = before.iter().collect();
    let new: Vec<_> = now.iter().filter(|note| !before.contains(note)).collect();
    for note in new.iter().take(MAX_SAID) {
        match note.level() {
            NoteLevel::Error => error!(%upstream, "{note}"),
            NoteLevel::Warning => warn!(%upstream, "{note}"),
        }
    }
    if new.len() > MAX_SAID {
        error!(%upstream, "and {} more of the kind", new.len() - MAX_SAID);
    }
}

fn read_catalogs(rules: &Rules, upstream: &Arc<config::Upstream>) -> Arc<CatalogSource> {
    CatalogSource::spawn(Arc::clone(upstream), RefreshTimes::every(rules.config.tenancy.catalog_refresh))
}

/// What sessions have of a keeper.
pub(super) struct Hook(pub Arc<Keeper>);

impl CatalogHook for Hook {
    fn objection(&self, tenant: &TenantName) -> Option<String> {
        self.0.last.lock().unfit.get(tenant).cloned()
    }

    fn changed(&self) {
        self.0.catalogs().notice_ddl();
    }

    fn refresh(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let keeper = Arc::clone(&self.0);
        Box::pin(async move {
            let seen = Arc::clone(&keeper.guard.policy().catalog);
            if keeper.catalogs().refresh_for_unknown(&seen).await.is_some() {
                keeper.catch_up().await;
            }
        })
    }

    fn is_fresh(&self) -> bool {
        self.0.is_fresh()
    }

    fn look(&self) -> Pin<Box<dyn Future<Output = Result<(), PgError>> + Send>> {
        let keeper = Arc::clone(&self.0);
        let max_age = keeper.age.max();
        Box::pin(keeper.look(max_age))
    }
}
