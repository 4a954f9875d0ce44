//! What one tenant has used since the process started, and what that means for its statements.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;
use time::Date;

use super::counts::Counts;
use super::watch::{Crossing, QuotaState, Terms, Watch};
use crate::base::{PgError, TenantName};
use crate::config::{MEASURES, Quota};
use crate::observe::audit;

/// A tenant's totals. Sessions of all threads add to them.
#[derive(Debug)]
pub struct Account {
    tenant: Option<TenantName>,
    totals: [AtomicU64; MEASURES],
    /// Totals from which on the quota is to be looked at.
    trips: [AtomicU64; MEASURES],
    standing: AtomicU8,
    watch: Mutex<Option<Watch>>,
    relies_on_sequences: AtomicBool,
}

impl Account {
    /// An account that nothing was added to. `None`: of sessions that act for no tenant.
    pub fn new(tenant: Option<TenantName>) -> Self {
        Self {
            tenant,
            totals: Default::default(),
            trips: [const { AtomicU64::new(u64::MAX) }; MEASURES],
            standing: AtomicU8::new(QuotaState::Fine as u8),
            watch: Mutex::new(None),
            relies_on_sequences: AtomicBool::new(false),
        }
    }

    /// A session of the tenant asked what it drew from sequences: all keep their server connections for it.
    pub fn rely_on_sequences(&self) {
        self.relies_on_sequences.store(true, Ordering::Relaxed);
    }

    /// Whether a session asked so.
    pub fn relies_on_sequences(&self) -> bool {
        self.relies_on_sequences.load(Ordering::Relaxed)
    }

    /// Whose it is; `None` for that of operators and of sessions that act for nobody.
    pub fn tenant(&self) -> Option<&TenantName> {
        self.tenant.as_ref()
    }

    /// Adds to the totals.
    pub fn add(&self, counts: &Counts) {
        let mut tripped = false;
        for ((total, trip), count) in self.totals.iter().zip(&self.trips).zip(counts.values()) {
            if count != 0 {
                let now = total.fetch_add(count, Ordering::Relaxed).wrapping_add(count);
                tripped |= now >= trip.load(Ordering::Relaxed);
            }
        }
        if tripped && let Some(watch) = self.watch.lock().as_mut() {
            self.review(watch);
        }
    }

    /// The totals now. Each number is exact; a transaction that ends meanwhile may be in some of them only.
    pub fn totals(&self) -> Counts {
        Counts::from_values(self.totals.each_ref().map(|total| total.load(Ordering::Relaxed)))
    }

    /// What its use means for statements that come now.
    pub fn standing(&self) -> QuotaState {
        QuotaState::from_u8(self.standing.load(Ordering::Relaxed))
    }

    /// Why statements are refused; `None` if they are not any more.
    pub fn refusal(&self) -> Option<PgError> {
        let watch = self.watch.lock();
        watch.as_ref()?.refusal(self.tenant.as_ref()?, &self.totals())
    }

    /// What clients are warned of, if it is something new to one that has seen `seen`.
    pub fn warning(&self, seen: &mut u32) -> Option<PgError> {
        let watch = self.watch.lock();
        let watch = watch.as_ref()?;
        if std::mem::replace(seen, watch.warnings()) == watch.warnings() {
            return None;
        }
        watch.warning(self.tenant.as_ref()?, &self.totals())
    }

    /// Gives it this quota. `known`: what all proxies together have used in the period, and what the totals here were then.
    pub(super) fn set_quota(&self, quota: &Arc<Quota>, terms: Terms, today: Date, known: Option<(Counts, Counts)>) {
        let mut place = self.watch.lock();
        if place.is_none() && quota.is_empty() {
            return;
        }
        let watch = place.get_or_insert_with(|| Watch::new(Arc::clone(quota), terms, today));
        watch.set_quota(quota);
        if let Some((used, totals)) = known {
            watch.know(&used, &totals);
        }
        self.review(watch);
    }

    /// Whether its use is bounded.
    pub fn has_quota(&self) -> bool {
        self.watch.lock().as_ref().is_some_and(Watch::bounds)
    }

    /// Whether it has, or had, a quota.
    pub(super) fn is_watched(&self) -> bool {
        self.watch.lock().is_some()
    }

    /// Whether its period's use is known, as far as it matters.
    pub(super) fn is_known(&self) -> bool {
        self.watch.lock().as_ref().is_none_or(Watch::knows)
    }

    /// Another day: perhaps another period.
    pub(super) fn turn(&self, today: Date) {
        if let Some(watch) = self.watch.lock().as_mut() {
            watch.turn(today, &self.totals());
            self.review(watch);
        }
    }

    /// Looks at use and quota.
    fn review(&self, watch: &mut Watch) {
        let review = watch.review(&self.totals());
        for (trip, next) in self.trips.iter().zip(review.trips) {
            trip.store(next, Ordering::Relaxed);
        }
        self.standing.store(review.standing as u8, Ordering::Relaxed);
        for crossing in &review.crossings {
            self.tell(crossing);
        }
    }

    fn tell(&self, crossing: &Crossing) {
        let Some(tenant) = &self.tenant else { return };
        let Crossing { measure, hard, used, bound, period } = *crossing;
        audit::quota(tenant, measure.title(), hard, measure.amount(used), measure.amount(bound), &period);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PeriodLength;
    use crate::config::{Bounds, WhenUnknown};

    #[test]
    fn what_is_added_adds_up() {
        let account = Account::new(None);
        let counts = Counts { transactions: 1, statements: 2, rows_read: 3, rows_written: 4, ..Counts::default() };
        account.add(&counts);
        account.add(&Counts { bytes_in: 5, bytes_out: 6, busy_micros: 7, ..counts });
        let want = Counts {
            transactions: 2,
            statements: 4,
            rows_read: 6,
            rows_written: 8,
            bytes_in: 5,
            bytes_out: 6,
            busy_micros: 7,
        };
        assert_eq!(account.totals(), want);
        assert_eq!(Counts::from_values(want.values()), want);
    }

    #[test]
    fn a_quota_is_noticed_by_whoever_uses_it_up() {
        let account = Account::new(Some(TenantName::new("acme")));
        account.add(&Counts { rows_read: 7, ..Counts::default() });
        let mut quota = Quota::default();
        quota.bounds[2] = Bounds { soft: Some(20), hard: Some(30) };
        let terms = Terms { period: PeriodLength::Day, when_unknown: WhenUnknown::Refuse };
        let (quota, today) = (Arc::new(quota), crate::usage::today());
        account.set_quota(&quota, terms, today, None);
        assert_eq!(account.standing(), QuotaState::WritesRefused, "not known");
        assert_eq!(account.refusal().unwrap().code.as_str(), "57P03");
        let known = (Counts { rows_read: 7, ..Counts::default() }, account.totals());
        account.set_quota(&quota, terms, today, Some(known));
        assert_eq!(account.standing(), QuotaState::Fine);
        assert!(account.refusal().is_none());
        let mut seen = 0;
        assert!(account.warning(&mut seen).is_none());
        account.add(&Counts { rows_read: 13, ..Counts::default() });
        assert_eq!(account.standing(), QuotaState::Warned);
        assert!(account.warning(&mut seen).is_some());
        assert!(account.warning(&mut seen).is_none(), "once");
        account.add(&Counts { rows_read: 10, ..Counts::default() });
        assert_eq!(account.standing(), QuotaState::WritesRefused);
    }
}
