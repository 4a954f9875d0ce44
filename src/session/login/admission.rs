//! Clients that are logging in: not many at a time, and none for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One that has had this time may have to give way.
const FAIR_TIME: Duration = Duration::from_secs(1);
/// While all have not had it, new ones wait to be accepted.
const PAUSE: Duration = Duration::from_millis(10);

/// Those that are logging in, in the order of coming.
#[derive(Debug)]
pub(in crate::session) struct Logins {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    under_way: BTreeMap<u64, (Instant, Arc<Notify>)>,
}

/// A place among them, free when dropped.
#[derive(Debug)]
pub(in crate::session) struct LoginPlace {
    logins: Arc<Logins>,
    number: u64,
    gone: Arc<Notify>,
}

impl Drop for LoginPlace {
    fn drop(&mut self) {
        self.logins.state.lock().under_way.remove(&self.number);
    }
}

impl LoginPlace {
    /// Ends when the place is wanted for another.
    pub(in crate::session) async fn given_away(&self) {
        self.gone.notified().await;
    }
}

impl Logins {
    /// At most so many.
    pub(in crate::session) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: max.max(1), state: Mutex::default() })
    }

    /// Waits until there is room for one more: the one that has been there longest gives way, once it has had a fair time.
    pub(in crate::session) async fn room(&self) {
        while !self.make_room() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn make_room(&self) -> bool {
        let mut state = self.state.lock();
        if state.under_way.len() < self.max {
            return true;
        }
        let old = state.under_way.first_entry().filter(|first| first.get().0.elapsed() >= FAIR_TIME);
        if let Some(old) = old {
            old.remove().1.notify_one();
            return true;
        }
        false
    }

    /// One more.
    pub(in crate::session) fn enter(self: &Arc<Self>) -> LoginPlace {
        let gone = Arc::new(Notify::new());
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        state.under_way.insert(number, (Instant::now(), Arc::clone(&gone)));
        LoginPlace { logins: Arc::clone(self), number, gone }
    }
}
