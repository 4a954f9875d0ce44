//! Pools whose idle connections another pool may have, the one that was not used for the longest time first.
//!
//! Each pool stands here at most once, from when a connection of it became idle, with a time that is not later than when its
//! oldest idle connection was used last. Where that has been used since, the pool is put back with the true time when its turn
//! comes: a busy pool comes here once in a while and not at each use, and nobody ever looks at all pools.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use super::inner::Inner;
use super::server::Server;

/// The list.
#[derive(Debug, Default)]
pub(super) struct IdleList {
    heap: Mutex<BinaryHeap<Entry>>,
    /// Held by whoever takes from it: what one has in its hands must not be missed by another.
    taking: Mutex<()>,
}

#[derive(Debug)]
struct Entry {
    since: Reverse<Instant>,
    pool: Weak<Inner>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.since == other.since
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.since.cmp(&other.since)
    }
}

impl IdleList {
    /// A connection of the pool has become idle.
    pub fn note(&self, pool: &Arc<Inner>) {
        if pool.listed.load(Ordering::Acquire) || pool.listed.swap(true, Ordering::AcqRel) {
            return;
        }
        let since = pool.surplus_since().unwrap_or_else(Instant::now);
        self.heap.lock().push(Entry { since: Reverse(since), pool: Arc::downgrade(pool) });
    }

    /// Forgets pools that are gone.
    pub fn tidy(&self) {
        self.heap.lock().retain(|entry| entry.pool.strong_count() > 0);
    }

    /// Takes the connection that has been idle for the longest time in any pool but this one.
    pub fn take_oldest(&self, wanting: &Arc<Inner>) -> Option<Server> {
        let _turn = self.taking.lock();
        let mut own = None;
        let found = loop {
            let Some(entry) = self.heap.lock().pop() else { break None };
            let Some(pool) = entry.pool.upgrade() else { continue };
            if Arc::ptr_eq(&pool, wanting) {
                own = Some(entry);
                continue;
            }
            // From here on whoever comes back lists the pool again.
            pool.listed.store(false, Ordering::Release);
            match pool.surplus_since() {
                // Listed again when a connection becomes idle that may be taken.
                None => {}
                Some(since) if since > entry.since.0 => self.note(&pool),
                Some(_) => {
                    let server = pool.take_surplus();
                    if pool.surplus_since().is_some() {
                        self.note(&pool);
                    }
                    if server.is_some() {
                        break server;
                    }
                }
            }
        };
        if let Some(own) = own {
            self.heap.lock().push(own);
        }
        found
    }
}
