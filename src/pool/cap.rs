//! The cap on server connections over all pools.
//!
//! Not touched when an idle connection is reused: only opening and closing connections come here.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::inner::Inner;
use tokio::runtime::Handle;

/// Counts the server connections of all pools, and lists the pools that want one and found none.
#[derive(Debug)]
pub(super) struct Cap {
    runtime: Handle,
    max: AtomicUsize,
    state: Mutex<State>,
    /// Length of `State::starved`, readable without the lock.
    starved: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// By the number drawn when it was put there, which the pool knows too ([`Inner::place_in_line`]): each is found without
    /// looking at the others, of which there may be very many.
    starved: BTreeMap<u64, Weak<Inner>>,
    last_number: u64,
}

/// The place in the line of a pool that stands in none.
pub(super) const NO_PLACE: u64 = 0;

thread_local! {
    /// A permit is being offered to the pools that wait for one.
    static OFFERING: Cell<bool> = const { Cell::new(false) };
}

/// The right to hold one server connection open. Freed when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    cap: Arc<Cap>,
}

impl Cap {
    /// At most `max` connections (at least one). What is freed is offered to others on `runtime`.
    pub(super) fn new(max: usize, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            max: AtomicUsize::new(max.max(1)),
            state: Mutex::default(),
            starved: AtomicUsize::new(0),
        })
    }

    /// The cap itself.
    pub(super) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Another cap from now on. What is open above it is not closed for it, but not replaced either.
    pub(super) fn set_max(&self, max: usize) {
        let raised = max > self.max.swap(max.max(1), Ordering::Relaxed);
        let waiting = if raised { self.state.lock().starved.len() } else { 0 };
        for _ in 0..waiting {
            let Some(inner) = self.next_starved() else { return };
            while inner.grow() {}
        }
    }

    /// Connections that are open or being opened.
    pub(super) fn used(&self) -> usize {
        self.state.lock().used
    }

    /// Number of pools that want a connection and found none.
    pub(super) fn starved(&self) -> usize {
        self.starved.load(Ordering::SeqCst)
    }

    /// Takes a permit if one is free.
    pub(super) fn acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.state.lock();
        self.take(&mut state)
    }

    /// Takes a permit, or puts the pool in the line of those that are told when one becomes free.
    pub(super) fn acquire_or_queue(self: &Arc<Self>, inner: &Arc<Inner>) -> Option<Permit> {
        let mut state = self.state.lock();
        if let Some(permit) = self.take(&mut state) {
            return Some(permit);
        }
        if inner.place_in_line.load(Ordering::Relaxed) == NO_PLACE {
            state.last_number += 1;
            let number = state.last_number;
            inner.place_in_line.store(number, Ordering::Relaxed);
            state.starved.insert(number, Arc::downgrade(inner));
            self.starved.store(state.starved.len(), Ordering::SeqCst);
        }
        None
    }

    fn take(self: &Arc<Self>, state: &mut State) -> Option<Permit> {
        if state.used >= self.max() {
            return None;
        }
        state.used += 1;
        Some(Permit { cap: Arc::clone(self) })
    }

    /// Takes the pool that waits longest out of the line.
    pub(super) fn next_starved(&self) -> Option<Arc<Inner>> {
        let mut state = self.state.lock();
        let mut found = None;
        while let Some((_, weak)) = state.starved.pop_first() {
            found = weak.upgrade();
            if let Some(inner) = &found {
                inner.place_in_line.store(NO_PLACE, Ordering::Relaxed);
                break;
            }
        }
        self.starved.store(state.starved.len(), Ordering::SeqCst);
        found
    }

    /// Takes a pool out of the line: it no longer wants a connection.
    pub(super) fn forget(&self, inner: &Inner) {
        if self.starved() == 0 {
            return;
        }
        let mut state = self.state.lock();
        let number = inner.place_in_line.swap(NO_PLACE, Ordering::Relaxed);
        state.starved.remove(&number);
        self.starved.store(state.starved.len(), Ordering::SeqCst);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.cap.state.lock();
            state.used = state.used.saturating_sub(1);
            state.starved.len()
        };
        if waiting == 0 {
            return;
        }
        // What a pool does with it may free a permit again, and so on through all pools: not on one stack.
        if OFFERING.replace(true) {
            let cap = Arc::clone(&self.cap);
            drop(self.cap.runtime.spawn(async move { cap.offer(waiting) }));
        } else {
            self.cap.offer(waiting);
            OFFERING.set(false);
        }
    }
}

impl Cap {
    /// A permit is free. Each pool in the line is asked once: one that still cannot have a connection puts itself in the line
    /// again.
    fn offer(&self, waiting: usize) {
        for _ in 0..waiting {
            let Some(inner) = self.next_starved() else {
                return;
            };
            if inner.grow() {
                return;
            }
        }
    }
}
