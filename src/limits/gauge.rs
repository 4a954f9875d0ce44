//! How many of something there are at one time, with a line of those that wait for a place.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// A number of places, given in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// 0: no limit.
    max: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: u32,
    line: VecDeque<oneshot::Sender<Slot>>,
}

/// A place. Goes to the next in the line when dropped.
#[derive(Debug)]
pub(super) struct Slot(Option<Arc<Gauge>>);

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(gauge) = self.0.take() {
            gauge.state.lock().used -= 1;
            gauge.serve();
        }
    }
}

impl Gauge {
    /// Sets the number of places. Nobody loses one.
    pub fn set(self: &Arc<Self>, max: u32) {
        self.max.store(max, Ordering::Relaxed);
        self.serve();
    }

    /// Whether there is a limit.
    pub fn is_on(&self) -> bool {
        self.max.load(Ordering::Relaxed) > 0
    }

    fn has_room(&self, state: &State) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        max == 0 || state.used < max
    }

    /// Places taken now.
    pub fn used(&self) -> u32 {
        self.state.lock().used
    }

    /// Takes a place unless all are taken, or others stand in the line for one.
    pub fn try_take(self: &Arc<Self>) -> Option<Slot> {
        let mut state = self.state.lock();
        while state.line.front().is_some_and(oneshot::Sender::is_closed) {
            state.line.pop_front();
        }
        if !self.has_room(&state) || !state.line.is_empty() {
            return None;
        }
        state.used += 1;
        Some(Slot(Some(Arc::clone(self))))
    }

    /// Takes a place, if need be after a wait. `None`: there was none in time. The future may be dropped at any time.
    pub async fn take(self: &Arc<Self>, patience: Duration) -> Option<Slot> {
        if let Some(slot) = self.try_take() {
            return Some(slot);
        }
        let (send, place) = oneshot::channel();
        self.state.lock().line.push_back(send);
        // A place may have come free before this one stood in the line.
        self.serve();
        tokio::time::timeout(patience, place).await.ok()?.ok()
    }

    /// Gives free places to those who wait.
    fn serve(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state.lock();
                if !self.has_room(&state) {
                    return;
                }
                let Some(next) = state.line.pop_front() else { return };
                state.used += 1;
                next
            };
            if let Err(mut back) = next.send(Slot(Some(Arc::clone(self)))) {
                // It has gone: the place is still free. Dropping the slot as it is would come back here.
                back.0 = None;
                self.state.lock().used -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn gauge(max: u32) -> Arc<Gauge> {
        let gauge = Arc::new(Gauge::default());
        gauge.set(max);
        gauge
    }

    #[tokio::test]
    async fn places_go_in_the_order_of_arrival() {
        let gauge = gauge(1);
        let first = gauge.try_take().unwrap();
        assert!(gauge.try_take().is_none());
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for n in 0..4 {
            let (gauge, order) = (Arc::clone(&gauge), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let slot = gauge.take(LONG).await.unwrap();
                order.lock().push(n);
                tokio::task::yield_now().await;
                drop(slot);
            }));
            tokio::task::yield_now().await;
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock(), [0, 1, 2, 3]);
        assert_eq!(gauge.used(), 0);
    }

    #[tokio::test]
    async fn who_leaves_the_line_takes_no_place() {
        let gauge = gauge(1);
        let first = gauge.try_take().unwrap();
        let mut gone = Box::pin(gauge.take(LONG));
        assert!(futures_util::FutureExt::now_or_never(&mut gone).is_none());
        drop(gone);
        assert!(gauge.take(Duration::from_millis(1)).await.is_none());
        drop(first);
        assert!(gauge.try_take().is_some());
        assert_eq!(gauge.used(), 0);
    }

    #[tokio::test]
    async fn a_place_that_came_too_late_is_not_lost() {
        let gauge = gauge(1);
        let first = gauge.try_take().unwrap();
        let mut waiting = Box::pin(gauge.take(LONG));
        assert!(futures_util::FutureExt::now_or_never(&mut waiting).is_none());
        drop(first);
        // Given, but never fetched.
        assert_eq!(gauge.used(), 1);
        drop(waiting);
        assert_eq!(gauge.used(), 0);
    }

    #[tokio::test]
    async fn more_places_serve_those_who_wait() {
        let gauge = gauge(1);
        let first = gauge.try_take().unwrap();
        let mut waiting = Box::pin(gauge.take(LONG));
        assert!(futures_util::FutureExt::now_or_never(&mut waiting).is_none());
        gauge.set(2);
        let second = waiting.await.unwrap();
        assert_eq!(gauge.used(), 2);
        gauge.set(1);
        assert!(gauge.try_take().is_none());
        drop((first, second));
        gauge.set(0);
        let many: Vec<_> = (0..100).map(|_| gauge.try_take().unwrap()).collect();
        assert_eq!(gauge.used(), 100);
        drop(many);
    }
}
