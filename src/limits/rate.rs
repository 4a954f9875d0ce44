//! Statements per second: the generic cell rate algorithm (ITU-T I.371) in one atomic.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
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
    /// Of a rate that proxies share: what was taken and is not yet accounted for to the others, in nanoseconds as `due` has
    /// it. Less than nothing: more was given back than taken.
    owed: AtomicI64,
    /// How much may be owed.
    credit: AtomicI64,
}

/// How many statements a proxy may take before it has accounted for them: an eighth of the burst, but no more than a tenth
/// of a second brings and no less than a hundredth brings, so that an answer is there in time.
fn lease(per_second: u32, burst: u32) -> u32 {
    (burst / 8).min(per_second / 10).max(per_second / 100).max(1)
}

impl Rate {
    /// Sets the rate; what was taken stays counted.
    pub fn set(&self, per_second: u32, burst: u32) {
        let interval = SECOND.checked_div(u64::from(per_second)).unwrap_or(0);
        self.interval.store(interval, Ordering::Relaxed);
        self.tolerance.store(interval.saturating_mul(u64::from(burst.max(1) - 1)), Ordering::Relaxed);
        let credit = interval.saturating_mul(u64::from(lease(per_second, burst)));
        self.credit.store(i64::try_from(credit).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// What `count` statements cost.
    pub fn cost(&self, count: u64) -> i64 {
        i64::try_from(self.interval.load(Ordering::Relaxed).saturating_mul(count)).unwrap_or(i64::MAX)
    }

    /// Notes what is owed to other proxies; whether nothing was until now.
    pub fn owe(&self, cost: i64) -> bool {
        self.owed.fetch_add(cost, Ordering::Relaxed) == 0
    }

    /// Whether so much is owed that nothing more may be taken before it is accounted for.
    pub fn is_pressed(&self) -> bool {
        self.owed.load(Ordering::Relaxed) >= self.credit.load(Ordering::Relaxed)
    }

    /// What is owed is accounted for now. Returns it.
    pub fn settle(&self) -> i64 {
        self.owed.swap(0, Ordering::Relaxed)
    }

    /// How far ahead of an even rate statements are, as far as is known here.
    pub fn ahead(&self, now: u64) -> u64 {
        self.due.load(Ordering::Relaxed).saturating_sub(now)
    }

    /// All proxies together were so far ahead of an even rate at the time `at`.
    pub fn learn(&self, ahead: u64, at: u64) {
        let owed = u64::try_from(self.owed.load(Ordering::Relaxed)).unwrap_or(0);
        self.due.fetch_max(at.saturating_add(ahead).saturating_add(owed), Ordering::Relaxed);
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
    fn what_others_take_counts_and_what_is_owed_is_bounded() {
        let (mine, theirs) = (rate(100, 16), rate(100, 16));
        assert_eq!(lease(100, 16), 2);
        for rate in [&mine, &theirs] {
            assert!((0..2).all(|_| rate.take(0, 0) == Ok(0) && !rate.is_pressed() && rate.owe(rate.cost(1)) | true));
            assert!(rate.is_pressed());
        }
        // Whoever keeps count adds up: four statements of ten milliseconds.
        let all = mine.settle() + theirs.settle();
        assert_eq!(all, 40_000_000);
        mine.owe(mine.cost(1));
        mine.learn(all.unsigned_abs(), 0);
        assert_eq!((mine.ahead(0), mine.is_pressed()), (50_000_000, false));
        // Nobody is set back by an answer that is old.
        mine.learn(0, 0);
        assert_eq!(mine.ahead(0), 50_000_000);
        // A turn that was given back.
        theirs.refund();
        assert!(theirs.owe(-theirs.cost(1)));
        assert_eq!(theirs.settle(), -10_000_000);
        assert_eq!([lease(1, 1), lease(1_000, 10), lease(1_000, 100_000), lease(10, 80)], [1, 10, 100, 1]);
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
