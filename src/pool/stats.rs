//! Numbers of a pool, for the console and the metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::PoolKey;
use crate::base::PgError;

/// Counters that are kept outside the pool's lock.
#[derive(Debug, Default)]
pub(super) struct Counters {
    connects: AtomicU64,
    connect_failures: AtomicU64,
    waits: AtomicU64,
    wait_timeouts: AtomicU64,
    wait_micros: AtomicU64,
    max_wait_micros: AtomicU64,
}

impl Counters {
    pub(super) fn connected(&self) {
        self.connects.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn connect_failed(&self) {
        self.connect_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn wait_timeout(&self) {
        self.wait_timeouts.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody waited so long, with whatever outcome.
    pub(super) fn waited(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.wait_micros.fetch_add(micros, Ordering::Relaxed);
        self.max_wait_micros.fetch_max(micros, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self, key: PoolKey, size: usize) -> PoolStats {
        PoolStats {
            key,
            size,
            active: 0,
            idle: 0,
            connecting: 0,
            waiting: 0,
            longest_wait: Duration::ZERO,
            paused: false,
            checkouts: 0,
            connects: self.connects.load(Ordering::Relaxed),
            connect_failures: self.connect_failures.load(Ordering::Relaxed),
            waits: self.waits.load(Ordering::Relaxed),
            wait_timeouts: self.wait_timeouts.load(Ordering::Relaxed),
            total_wait: Duration::from_micros(self.wait_micros.load(Ordering::Relaxed)),
            max_wait: Duration::from_micros(self.max_wait_micros.load(Ordering::Relaxed)),
            last_error: None,
        }
    }
}

/// A pool at one moment. Counters count from the pool's creation.
#[derive(Clone, Debug)]
pub struct PoolStats {
    /// Which pool.
    pub key: PoolKey,
    /// At most so many connections.
    pub size: usize,
    /// Connections with a client, or being reset after one.
    pub active: usize,
    /// Connections that wait for a client.
    pub idle: usize,
    /// Connections being opened.
    pub connecting: usize,
    /// Clients that wait for a connection.
    pub waiting: usize,
    /// How long the longest waiting of them has waited.
    pub longest_wait: Duration,
    /// The operator paused it.
    pub paused: bool,
    /// Connections handed to clients.
    pub checkouts: u64,
    /// Connections opened.
    pub connects: u64,
    /// Connections that could not be opened.
    pub connect_failures: u64,
    /// Checkouts that had to wait.
    pub waits: u64,
    /// Of these, ended by the wait timeout.
    pub wait_timeouts: u64,
    /// Time waited, all together.
    pub total_wait: Duration,
    /// Longest time that a client waited.
    pub max_wait: Duration,
    /// What clients are told while the upstream cannot be reached.
    pub last_error: Option<PgError>,
}
