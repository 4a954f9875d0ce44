//! The task of a source: loads and looks.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::debug;

use super::{CatalogSource, RefreshTimes};
use crate::catalog::load::{Lookout, Mark, load_marked};
use crate::config::Upstream;

/// The longest pause after failed loads.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// So many catalogs are read at a time: a process that meets hundreds of databases at once goes on serving.
static LOADS: Semaphore = Semaphore::const_new(16);

/// What the task of a source does next.
#[derive(Clone, Copy, Debug)]
enum Work {
    Load,
    Look,
}

/// What the task of a source keeps.
struct Reader {
    upstream: Arc<Upstream>,
    lookout: Lookout,
    /// Of what was read last.
    mark: Option<Mark>,
    /// Loads that failed in a row.
    failures: u32,
}

pub(super) async fn run(source: Weak<CatalogSource>, upstream: Arc<Upstream>) {
    let lookout = Lookout::new(Arc::clone(&upstream));
    let mut reader = Reader { upstream, lookout, mark: None, failures: 0 };
    let mut work = Work::Load;
    let mut due = Instant::now();
    loop {
        // The handle is let go of in between, so that the source can be dropped.
        let Some(handle) = source.upgrade() else { return };
        match work {
            Work::Look if reader.look(&handle).await => {}
            Work::Load | Work::Look => {
                reader.load(&handle).await;
                due = Instant::now() + pause(&handle.times, reader.failures);
                tokio::time::sleep(handle.times.min_gap).await;
            }
        }
        drop(handle);
        let Some(next) = next(&source, due, &mut reader.lookout).await else { return };
        work = next;
    }
}

/// Waits until something is asked for, or time is up. None when the source is gone: a pause of at most a second at a time
/// notices that.
async fn next(source: &Weak<CatalogSource>, due: Instant, lookout: &mut Lookout) -> Option<Work> {
    loop {
        let handle = source.upgrade()?;
        if handle.wanted.load(Ordering::Acquire) || Instant::now() >= due {
            return Some(Work::Load);
        }
        if handle.look.load(Ordering::Acquire) {
            return Some(Work::Look);
        }
        let step = due.saturating_duration_since(Instant::now()).min(Duration::from_secs(1));
        tokio::select! {
            () = tokio::time::sleep(step) => {}
            () = handle.wake.notified() => {}
            // Whoever told it: only what is seen counts, and not more often than a load may be.
            () = lookout.told() => {
                tokio::time::sleep(handle.times.min_gap).await;
                return Some(Work::Look);
            }
        }
    }
}

impl Reader {
    async fn load(&mut self, handle: &CatalogSource) {
        let begun = Instant::now();
        handle.wanted.store(false, Ordering::Release);
        handle.look.store(false, Ordering::Release);
        handle.state.send_modify(|s| {
            s.begun += 1;
            s.last = Some(begun);
        });
        // Only closed when the process ends, and then there is nothing to be read.
        let turn = LOADS.acquire().await;
        // Waiting for a turn does not make what is then read older.
        let seen = Instant::now();
        let result = load_marked(&self.upstream).await;
        drop(turn);
        let result = result.map(|(catalog, mark)| {
            self.mark = Some(mark);
            catalog
        });
        self.failures = handle.take(result, self.failures, seen);
    }

    /// Whether that is all: where something has changed, or nothing was read yet, it is read now.
    async fn look(&mut self, handle: &CatalogSource) -> bool {
        let Some(mark) = self.mark.as_mut() else { return false };
        let begun = Instant::now();
        handle.look.store(false, Ordering::Release);
        match self.lookout.is_unchanged(mark).await {
            Ok(unchanged) => {
                if unchanged {
                    handle.state.send_modify(|s| {
                        s.looks += 1;
                        s.seen = Some(begun);
                        s.blind = None;
                    });
                }
                unchanged
            }
            Err(error) => {
                debug!(upstream = %handle.name, %error, "the catalog cannot be looked at");
                let told = error.to_client(&handle.name);
                handle.state.send_modify(|s| {
                    s.looks += 1;
                    s.blind = Some(told);
                });
                // As many clients as ask, the upstream is not asked more often.
                tokio::time::sleep(handle.times.min_gap).await;
                true
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
