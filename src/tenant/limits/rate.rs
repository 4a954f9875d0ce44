//! Statements per second: the generic cell rate algorithm (ITU-T I.371) in one atomic.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SECOND: u64 = 1_000_000_000;

/// Nanoseconds since the process first asked.
pub(super) fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    nanos(START.get_or_init(Instant::now).elapsed())
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A rate with a burst. Whoever must wait has its turn reserved: turns are in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// Nanoseconds between statements in the long run; 0: no limit.
    interval: AtomicU64,
    /// How far ahead of that statements may be.
    tolerance: AtomicU64,
    /// When the next statement would be due if they came evenly.
    due: AtomicU64,
}

impl Rate {
    /// Sets the rate; what was taken stays counted.
    pub fn set(&self, per_second: u32, burst: u32) {
        let interval = SECOND.checked_div(u64::from(per_second)).unwrap_or(0);
        self.interval.store(interval, Ordering::Relaxed);
        self.tolerance.store(interval.saturating_mul(u64::from(burst.max(1) - 1)), Ordering::Relaxed);
    }

    /// Whether there is a limit.
    pub fn is_on(&self) -> bool {
        self.interval.load(Ordering::Relaxed) > 0
    }

    /// Takes a turn at the time `now`.
    ///
    /// # Errors
    /// Nanoseconds until there is one, if that is longer than `patience`; else how long to wait for it.
    pub fn take(&self, now: u64, patience: u64) -> Result<u64, u64> {
        let interval = self.interval.load(Ordering::Relaxed);
        if interval == 0 {
            return Ok(0);
        }
        let tolerance = self.tolerance.load(Ordering::Relaxed);
        let mut due = self.due.load(Ordering::Relaxed);
        loop {
            let start = due.max(now);
            let wait = start.saturating_sub(tolerance).saturating_sub(now);
            if wait > patience {
                return Err(wait);
            }
            let next = start.saturating_add(interval);
            match self.due.compare_exchange_weak(due, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(wait),
                Err(other) => due = other,
            }
        }
    }

    /// Counts statements that run in any case: those behind them wait the longer.
    pub fn debit(&self, count: u64, now: u64) {
        let cost = self.interval.load(Ordering::Relaxed).saturating_mul(count);
        let later = |due: u64| (cost > 0).then(|| due.max(now).saturating_add(cost));
        // Nothing to be counted is no failure.
        let _ = self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// Gives a turn back.
    pub fn refund(&self) {
        self.due.fetch_sub(self.interval.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Statements of the burst that are taken now.
    pub fn used(&self, now: u64) -> u64 {
        let interval = self.interval.load(Ordering::Relaxed).max(1);
        self.due.load(Ordering::Relaxed).saturating_sub(now).div_ceil(interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        let rate = Rate::default();
        rate.set(per_second, burst);
        rate
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = rate(10, 3);
        assert_eq!([(); 3].map(|()| rate.take(1_000, 0)), [Ok(0); 3]);
        assert_eq!(rate.take(1_000, 0), Err(SECOND / 10));
        assert_eq!(rate.used(1_000), 3);
        assert_eq!(rate.take(1_000 + SECOND / 10, 0), Ok(0));
        // After a pause the burst is there again, and no more than that.
        let later = 60 * SECOND;
        assert_eq!([(); 3].map(|()| rate.take(later, 0)), [Ok(0); 3]);
        assert!(rate.take(later, 0).is_err());
    }

    #[test]
    fn who_waits_has_a_turn_of_its_own() {
        let rate = rate(10, 1);
        let waits = [(); 4].map(|()| rate.take(0, SECOND));
        assert_eq!(waits, [Ok(0), Ok(SECOND / 10), Ok(2 * SECOND / 10), Ok(3 * SECOND / 10)]);
        // Nobody waits longer than it would: the turn is not taken then.
        assert_eq!(rate.take(0, SECOND / 10), Err(4 * SECOND / 10));
        assert_eq!(rate.take(0, SECOND), Ok(4 * SECOND / 10));
    }

    #[test]
    fn debts_are_paid_by_those_behind() {
        let rate = rate(10, 1);
        assert_eq!(rate.take(0, 0), Ok(0));
        rate.debit(9, 0);
        assert_eq!(rate.take(0, 0), Err(SECOND));
        rate.refund();
        assert_eq!(rate.take(0, 0), Err(9 * SECOND / 10));
    }

    #[test]
    fn no_limit_and_a_new_one() {
        let rate = Rate::default();
        assert!(!rate.is_on());
        assert!((0..10_000).all(|_| rate.take(5, 0) == Ok(0)));
        rate.set(1, 1);
        assert_eq!((rate.take(5, 0), rate.take(5, 0)), (Ok(0), Err(SECOND)));
        rate.set(0, 1);
        assert_eq!(rate.take(5, 0), Ok(0));
    }
}
