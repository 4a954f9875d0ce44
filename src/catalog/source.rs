//! A catalog kept fresh: on an interval, after DDL, and when a statement names a relation that is not known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::load::{LoadError, load};
use super::model::Catalog;
use crate::config::Upstream;
use crate::ids::UpstreamName;

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

/// The longest pause after failed loads.
const MAX_RETRY: Duration = Duration::from_secs(30);
/// A statement waits so long for a reload that it asked for, then goes by what is known.
const WAIT: Duration = Duration::from_secs(10);

/// So many catalogs are read at a time: a process that meets hundreds of databases at once goes on serving.
static LOADS: Semaphore = Semaphore::const_new(16);

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
}

/// The catalog of one upstream. Its task ends when it is dropped.
#[derive(Debug)]
pub struct CatalogSource {
    name: UpstreamName,
    times: RefreshTimes,
    state: watch::Sender<State>,
    wake: Notify,
    wanted: AtomicBool,
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
        });
        tokio::spawn(run(Arc::downgrade(&source), upstream));
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

    /// Reads the catalog anew and waits for it (at most 10 s). Callers share one load, which begins after each of them asked.
    ///
    /// # Errors
    /// Why that load failed.
    pub async fn refresh(&self) -> Result<Arc<Catalog>, Arc<str>> {
        let mut watcher = self.state.subscribe();
        let begun = watcher.borrow().begun;
        self.notice_ddl();
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

async fn run(source: std::sync::Weak<CatalogSource>, upstream: Arc<Upstream>) {
    let mut failures = 0_u32;
    loop {
        let Some(handle) = source.upgrade() else { return };
        handle.wanted.store(false, Ordering::Release);
        handle.state.send_modify(|s| {
            s.begun += 1;
            s.last = Some(Instant::now());
        });
        // Only closed when the process ends, and then there is nothing to be read.
        let turn = LOADS.acquire().await;
        let result = load(&upstream).await;
        drop(turn);
        failures = handle.take(result, failures);
        let pause = pause(&handle.times, failures);
        let min_gap = handle.times.min_gap;
        tokio::time::sleep(min_gap).await;
        // Asked for since the load began, or asked for now, or time is up. The handle is let go of in between, so that the
        // source can be dropped; a pause of at most a second at a time notices that.
        drop(handle);
        let until = Instant::now() + pause.saturating_sub(min_gap);
        while Instant::now() < until {
            let Some(handle) = source.upgrade() else { return };
            let step = (until - Instant::now()).min(Duration::from_secs(1));
            if handle.wanted.load(Ordering::Acquire) || tokio::time::timeout(step, handle.wake.notified()).await.is_ok()
            {
                break;
            }
        }
    }
}

/// How long until the next load.
fn pause(times: &RefreshTimes, failures: u32) -> Duration {
    match failures {
        0 => times.interval,
        n => times.retry.saturating_mul(1 << (n - 1).min(16)).min(MAX_RETRY).min(times.interval.max(times.retry)),
    }
}

impl CatalogSource {
    /// Publishes the outcome of a load; returns how many failed in a row.
    fn take(&self, result: Result<Arc<Catalog>, LoadError>, failures: u32) -> u32 {
        match result {
            Ok(catalog) => {
                if failures > 0 {
                    info!(upstream = %self.name, "upstream is back: its catalog has been read");
                }
                self.publish(catalog);
                0
            }
            Err(error) => {
                if failures == 0 {
                    warn!(upstream = %self.name, %error, "the catalog cannot be read; trying again until it can");
                } else {
                    debug!(upstream = %self.name, %error, "the catalog still cannot be read");
                }
                self.state.send_modify(|s| {
                    s.ended = s.begun;
                    s.error = Some(error.to_string().into());
                });
                failures.saturating_add(1)
            }
        }
    }

    /// An unchanged catalog stays the one that it was: its verdicts stay cached.
    fn publish(&self, catalog: Arc<Catalog>) {
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
            if new.is_some() {
                s.catalog = new;
            }
        });
    }
}
