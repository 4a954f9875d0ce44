//! Rates that several proxies hold together, counted by a Redis or Valkey server.
//!
//! No statement waits for the server. Each proxy knows how far ahead of an even rate all of them together are, as of the last
//! answer, and takes turns by that; what it takes it owes. A task accounts for what is owed every few milliseconds, for all
//! meters at once, and learns what the others have taken. Who owes as much as it may (its lease) waits for that, so that the
//! proxies together can be ahead of the limit by a lease each at most, for a moment: the count itself misses nothing, and the
//! turns behind are the later for it. A proxy whose clients are quiet holds nothing.

mod server;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::limiter::Limiter;
use crate::config::{SharedLimits, WhenAway};

/// What holds at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The server counts.
    Counting,
    /// It is away: each proxy holds the whole limit by itself.
    AwayLocal,
    /// It is away: what has a limit is refused.
    AwayRefuse,
}

impl Standing {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Counting => "counting",
            Standing::AwayLocal => "away: local",
            Standing::AwayRefuse => "away: refused",
        }
    }
}

/// Where meters leave what they owe.
#[derive(Debug)]
pub struct SharedLimiter {
    when_away: WhenAway,
    /// Of the server, for people.
    address: String,
    counting: AtomicBool,
    /// How often the server went away, or was from the start.
    absences: AtomicU64,
    debtors: Mutex<Vec<Arc<Limiter>>>,
    owing: Notify,
}

impl SharedLimiter {
    /// Nobody counts yet: see [`SharedLimiter::keep`].
    pub fn new(config: &SharedLimits) -> Arc<Self> {
        Arc::new(Self {
            when_away: config.when_away,
            address: config.address.clone(),
            counting: AtomicBool::new(false),
            absences: AtomicU64::new(0),
            debtors: Mutex::default(),
            owing: Notify::new(),
        })
    }

    /// What holds now.
    pub fn standing(&self) -> Standing {
        match (self.is_counting(), self.when_away) {
            (true, _) => Standing::Counting,
            (false, WhenAway::Local) => Standing::AwayLocal,
            (false, WhenAway::Refuse) => Standing::AwayRefuse,
        }
    }

    /// Whether the server is there.
    pub fn is_counting(&self) -> bool {
        self.counting.load(Ordering::Relaxed)
    }

    /// How often the server was found away.
    pub fn absences(&self) -> u64 {
        self.absences.load(Ordering::Relaxed)
    }

    /// The meter owes something.
    pub(super) fn enlist(&self, meter: &Arc<Limiter>) {
        self.debtors.lock().push(Arc::clone(meter));
        self.owing.notify_one();
    }
}
