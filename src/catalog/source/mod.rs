//! A catalog kept fresh: on an interval, after DDL, when a statement names a relation that is not known, and when a statement
//! is to be decided on what was looked at too long ago ([`CatalogSource::look`]).

mod reader;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::load::LoadError;
use super::model::Catalog;
use crate::base::{PgError, SqlState, UpstreamName};
use crate::config::Upstream;

/// When a catalog is read anew.
#[derive(Clone, Copy, Debug)]
pub struct RefreshTimes {
    /// From one load to the next when nothing asks for it.
    pub interval: Duration,
    /// From one load to the next at least, whoever asks.
    pub min_gap: Duration,
    /// A catalog younger than this is not read anew for an unknown name: clients could ask for that as often as they like.
    pub unknown_gap: Duration,
    /// After a failed load: the first pause, doubled up to `interval` (at most 30 s).
    pub retry: Duration,
}

impl RefreshTimes {
    /// The usual times around a configured interval.
    pub fn every(interval: Duration) -> Self {
        Self {
            interval,
            min_gap: Duration::from_millis(100),
            unknown_gap: Duration::from_secs(5),
            retry: Duration::from_millis(250),
        }
    }
}

/// A statement waits so long for a reload that it asked for, then goes by what is known.
const WAIT: Duration = Duration::from_secs(10);

/// What watchers see.
#[derive(Clone, Debug, Default)]
struct State {
    /// The newest catalog; `None` until the first load succeeded.
    catalog: Option<Arc<Catalog>>,
    /// Loads begun, failed ones included.
    begun: u64,
    /// Loads ended.
    ended: u64,
    /// When the last load began.
    last: Option<Instant>,
    /// Why the last load failed, if it did.
    error: Option<Arc<str>>,
    /// When the last look began that found the catalog to be the upstream's; a load is one.
    seen: Option<Instant>,
    /// Looks and loads ended.
    looks: u64,
    /// What clients are told while the last look failed.
    blind: Option<PgError>,
}

/// A catalog, and when it was last known to be the upstream's.
#[derive(Clone, Debug)]
pub struct Known {
    /// What the upstream contained.
    pub catalog: Arc<Catalog>,
    /// When it was looked at.
    pub seen: Instant,
}

impl State {
    fn known(&self) -> Option<Known> {
        Some(Known { catalog: Arc::clone(self.catalog.as_ref()?), seen: self.seen? })
    }
}

/// The catalog of one upstream. Its task ends when it is dropped.
#[derive(Debug)]
pub struct CatalogSource {
    name: UpstreamName,
    times: RefreshTimes,
    state: watch::Sender<State>,
    wake: Notify,
    /// A load is asked for.
    wanted: AtomicBool,
    /// A look is asked for.
    look: AtomicBool,
}

impl CatalogSource {
    /// Starts loading, and goes on until the last clone of the returned handle is gone. An upstream that is down is tried
    /// again and again; it is logged once, and once more when it is back.
    pub fn spawn(upstream: Arc<Upstream>, times: RefreshTimes) -> Arc<Self> {
        let source = Arc::new(Self {
            name: upstream.name.clone(),
            times,
            state: watch::Sender::new(State::default()),
            wake: Notify::new(),
            wanted: AtomicBool::new(false),
            look: AtomicBool::new(false),
        });
        tokio::spawn(reader::run(Arc::downgrade(&source), upstream));
        source
    }

    /// The upstream's name.
    pub fn name(&self) -> &UpstreamName {
        &self.name
    }

    /// The newest catalog, if there ever was one.
    pub fn current(&self) -> Option<Arc<Catalog>> {
        self.state.borrow().catalog.clone()
    }

    /// Why the last load failed, if it did. For operators.
    pub fn error(&self) -> Option<Arc<str>> {
        self.state.borrow().error.clone()
    }

    /// DDL went through: read the catalog anew soon. Does not wait.
    pub fn notice_ddl(&self) {
        self.wanted.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// What is known now.
    pub fn known(&self) -> Option<Known> {
        self.state.borrow().known()
    }

    /// Looks soon whether the catalog still is as it was read. Does not wait.
    pub fn look_soon(&self) {
        if !self.look.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Waits until the catalog is known to be the upstream's at a moment after this call, or not longer than `max_age` ago;
    /// where it has changed, until it has been read anew.
    ///
    /// # Errors
    /// What a client is told if that cannot be found out.
    pub async fn look(&self, max_age: Duration) -> Result<(), PgError> {
        let asked = Instant::now();
        let mut watcher = self.state.subscribe();
        let before = watcher.borrow().looks;
        let seen = |state: &State| state.seen.is_some_and(|seen| seen >= asked || seen.elapsed() <= max_age);
        self.look_soon();
        let settled = watcher.wait_for(|state| seen(state) || (state.looks > before && state.blind.is_some()));
        match tokio::time::timeout(WAIT, settled).await {
            Ok(Ok(state)) if seen(&state) => Ok(()),
            Ok(Ok(state)) => Err(state.blind.clone().unwrap_or_else(|| self.blind())),
            Ok(Err(_)) | Err(_) => Err(self.blind()),
        }
    }

    fn blind(&self) -> PgError {
        let message = format!("the catalog of upstream \"{}\" could not be looked at in time", self.name);
        PgError::error(SqlState::CONNECTION_FAILURE, message)
    }

    /// What is known, once it was looked at later than at `seen`. Pends while it is not.
    pub async fn seen_after(&self, seen: Option<Instant>) -> Known {
        let mut watcher = self.state.subscribe();
        loop {
            // The sender lives in `self`: waiting cannot fail.
            if let Ok(state) = watcher.wait_for(|state| state.seen > seen && state.catalog.is_some()).await
                && let Some(known) = state.known()
            {
                return known;
            }
        }
    }

    /// The first catalog, or the next one that differs from `seen`. Pends while there is none.
    pub async fn changed_from(&self, seen: Option<&Arc<Catalog>>) -> Arc<Catalog> {
        let mut watcher = self.state.subscribe();
        let differs = |state: &State| match (&state.catalog, seen) {
            (Some(new), Some(old)) => !Arc::ptr_eq(new, old),
            (new, None) => new.is_some(),
            (None, Some(_)) => false,
        };
        loop {
            // The sender lives in `self`: waiting cannot fail.
            if let Ok(state) = watcher.wait_for(differs).await
                && let Some(catalog) = &state.catalog
            {
                return Arc::clone(catalog);
            }
        }
    }

    /// Reads the catalog anew and waits for it (at most 10 s). Callers share one load, which begins after each of them asked;
    /// while none has succeeded, one that is under way is waited for instead: there is nothing yet that could be outdated.
    ///
    /// # Errors
    /// Why that load failed.
    pub async fn refresh(&self) -> Result<Arc<Catalog>, Arc<str>> {
        let mut watcher = self.state.subscribe();
        let (begun, first) = {
            let state = watcher.borrow();
            let first = state.catalog.is_none() && state.begun > state.ended;
            (if first { state.ended } else { state.begun }, first)
        };
        if !first {
            self.notice_ddl();
        }
        let state = match tokio::time::timeout(WAIT, watcher.wait_for(|s| s.ended > begun)).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) | Err(_) => return Err("the catalog could not be read in time".into()),
        };
        match (state.error, state.catalog) {
            (None, Some(catalog)) => Ok(catalog),
            (Some(error), _) => Err(error),
            (None, None) => Err("the catalog has not been read".into()),
        }
    }

    /// A statement names something unknown: reads the catalog anew, if DDL is known to have happened or what is known is
    /// not quite young. Returns the catalog if it is another than `seen`: then the statement is worth another look.
    pub async fn refresh_for_unknown(&self, seen: &Arc<Catalog>) -> Option<Arc<Catalog>> {
        let young = self.state.borrow().last.is_some_and(|last| last.elapsed() < self.times.unknown_gap);
        let newest = if young && !self.wanted.load(Ordering::Acquire) {
            // A load may be under way, or may have ended since the statement was looked at.
            self.settled().await
        } else {
            self.refresh().await.ok().or_else(|| self.current())
        };
        newest.filter(|catalog| !Arc::ptr_eq(catalog, seen))
    }

    async fn settled(&self) -> Option<Arc<Catalog>> {
        let mut watcher = self.state.subscribe();
        let settled = watcher.wait_for(|s| s.begun == s.ended);
        let state = tokio::time::timeout(WAIT, settled).await.ok()?.ok()?;
        state.catalog.clone()
    }
}

impl CatalogSource {
    /// Publishes the outcome of a load; returns how many failed in a row.
    fn take(&self, result: Result<Arc<Catalog>, LoadError>, failures: u32, seen: Instant) -> u32 {
        match result {
            Ok(catalog) => {
                if failures > 0 {
                    info!(upstream = %self.name, "upstream is back: its catalog has been read");
                }
                self.publish(catalog, seen);
                0
            }
            Err(error) => {
                if failures == 0 {
                    warn!(upstream = %self.name, %error, "the catalog cannot be read; trying again until it can");
                } else {
                    debug!(upstream = %self.name, %error, "the catalog still cannot be read");
                }
                let told = error.to_client(&self.name);
                self.state.send_modify(|s| {
                    s.ended = s.begun;
                    s.error = Some(error.to_string().into());
                    s.looks += 1;
                    s.blind = Some(told);
                });
                failures.saturating_add(1)
            }
        }
    }

    /// An unchanged catalog stays the one that it was: its verdicts stay cached.
    fn publish(&self, catalog: Arc<Catalog>, seen: Instant) {
        let same = self.current().is_some_and(|old| Arc::ptr_eq(&old, &catalog) || *old == *catalog);
        if !same {
            debug!(
                upstream = %self.name,
                relations = catalog.relations.len(),
                functions = catalog.functions.len(),
                "catalog read"
            );
        }
        let new = (!same).then_some(catalog);
        self.state.send_modify(|s| {
            s.ended = s.begun;
            s.error = None;
            s.seen = Some(seen);
            s.looks += 1;
            s.blind = None;
            if new.is_some() {
                s.catalog = new;
            }
        });
    }
}
