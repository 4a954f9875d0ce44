//! A tenant's use against its quota.

use std::sync::Arc;

use time::Date;

use super::counts::Counts;
use super::period::Period;
use crate::base::{PgError, SqlState, TenantName};
use crate::config::{Bounds, MEASURES, Measure, PeriodLength, Quota, Refuses, WhenUnknown};

/// What a tenant's use means for its statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum QuotaState {
    /// Nothing.
    #[default]
    Fine = 0,
    /// Clients are warned.
    Warned = 1,
    /// Statements that write are refused.
    WritesRefused = 2,
    /// All statements are refused.
    AllRefused = 3,
}

impl QuotaState {
    pub(super) fn from_u8(value: u8) -> Self {
        match value {
            0 => QuotaState::Fine,
            1 => QuotaState::Warned,
            2 => QuotaState::WritesRefused,
            // Unknown values do not come about; they would refuse.
            _ => QuotaState::AllRefused,
        }
    }
}

/// How quotas are meant, for all tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a quota lasts.
    pub period: PeriodLength,
    /// What holds while use is not known.
    pub when_unknown: WhenUnknown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    #[default]
    Nothing,
    Soft,
    Hard,
}

/// A bound that has just been reached: for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Of which measure.
    pub measure: Measure,
    /// It is the hard one.
    pub hard: bool,
    /// How much has been used.
    pub used: u64,
    /// The bound.
    pub bound: u64,
    /// In which period.
    pub period: Period,
}

/// What came of looking at use and quota.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Review {
    pub standing: QuotaState,
    /// Totals from which on it is to be looked again.
    pub trips: [u64; MEASURES],
    pub crossings: Vec<Crossing>,
}

/// A tenant that has a quota.
#[derive(Debug)]
pub(super) struct Watch {
    quota: Arc<Quota>,
    terms: Terms,
    period: Period,
    /// What is to be added to the process's totals (modulo 2^64) to get what was used in the period, by all proxies as far
    /// as is known here. `None`: nobody knows.
    offset: Option<[u64; MEASURES]>,
    reached: [Reached; MEASURES],
    /// Grows with each soft bound that is reached.
    warnings: u32,
}

impl Watch {
    pub fn new(quota: Arc<Quota>, terms: Terms, today: Date) -> Self {
        let period = Period::containing(terms.period, today);
        Self { quota, terms, period, offset: None, reached: Default::default(), warnings: 0 }
    }

    pub fn set_quota(&mut self, quota: &Arc<Quota>) {
        if !Arc::ptr_eq(&self.quota, quota) {
            self.quota = Arc::clone(quota);
        }
    }

    /// The period's use, where the process's totals were `totals`.
    pub fn know(&mut self, used: &Counts, totals: &Counts) {
        let mut offset = used.values();
        for (offset, total) in offset.iter_mut().zip(totals.values()) {
            *offset = offset.wrapping_sub(total);
        }
        self.offset = Some(offset);
    }

    /// Whether it bounds anything.
    pub fn bounds(&self) -> bool {
        !self.quota.is_empty()
    }

    /// Whether the period's use is known.
    pub fn knows(&self) -> bool {
        self.offset.is_some()
    }

    /// Begins the period of `today`, if it is another one; it has seen no use so far.
    pub fn turn(&mut self, today: Date, totals: &Counts) {
        let period = Period::containing(self.terms.period, today);
        if period != self.period {
            self.period = period;
            self.reached = Default::default();
            self.know(&Counts::default(), totals);
        }
    }

    fn used(&self, totals: &Counts) -> [u64; MEASURES] {
        let mut used = totals.values();
        for (used, offset) in used.iter_mut().zip(self.offset.unwrap_or_default()) {
            *used = used.wrapping_add(offset);
        }
        used
    }

    pub fn review(&mut self, totals: &Counts) -> Review {
        let mut review = Review { standing: QuotaState::Fine, trips: [u64::MAX; MEASURES], crossings: Vec::new() };
        if self.offset.is_none() {
            if self.terms.when_unknown == WhenUnknown::Refuse && self.quota.has_hard() {
                review.standing = self.refused();
            }
            return review;
        }
        let used = self.used(totals);
        let states = self.reached.iter_mut().zip(&mut review.trips).zip(self.quota.bounds());
        for (((reached, trip), (measure, bounds)), (used, total)) in states.zip(used.into_iter().zip(totals.values())) {
            let (now, bound, next) = reach(bounds, used);
            if now > *reached
                && let Some(bound) = bound
            {
                let crossing = Crossing { measure, hard: now == Reached::Hard, used, bound, period: self.period };
                review.crossings.push(crossing);
                self.warnings = self.warnings.wrapping_add(1);
            }
            *reached = now;
            if let Some(next) = next {
                *trip = total.saturating_add(next.saturating_sub(used));
            }
        }
        review.standing = match self.reached.iter().max() {
            Some(Reached::Hard) => self.refused(),
            Some(Reached::Soft) => QuotaState::Warned,
            Some(Reached::Nothing) | None => QuotaState::Fine,
        };
        review
    }

    fn refused(&self) -> QuotaState {
        match self.quota.refuses {
            Refuses::Writes => QuotaState::WritesRefused,
            Refuses::All => QuotaState::AllRefused,
        }
    }

    /// A number that is another one whenever there is something new to warn of.
    pub fn warnings(&self) -> u32 {
        self.warnings
    }

    /// Why statements are refused now; `None` if they are not.
    pub fn refusal(&self, tenant: &TenantName, totals: &Counts) -> Option<PgError> {
        if self.offset.is_none() {
            let error =
                PgError::error(SqlState::CANNOT_CONNECT_NOW, format!("the usage of tenant \"{tenant}\" is not known"));
            return Some(
                error
                    .detail("It has a quota, and the table that tells what is left of it cannot be read.")
                    .hint("Try again later."),
            );
        }
        let (measure, used, hard) = self.first(totals, |bounds| bounds.hard)?;
        let what = match self.quota.refuses {
            Refuses::Writes => "until then statements that only read may run",
            Refuses::All => "until then no statement may run",
        };
        let error = PgError::error(
            SqlState::CONFIGURATION_LIMIT_EXCEEDED,
            format!("quota of tenant \"{tenant}\" is used up: {}", measure.title()),
        );
        Some(
            error
                .detail(format!("Quota {}: used {used}, limit {hard}, in {}.", measure.title(), self.period))
                .hint(format!("The period ends at {} 00:00 UTC; {what}.", self.period.end())),
        )
    }

    /// What clients are warned of; `None`: nothing.
    pub fn warning(&self, tenant: &TenantName, totals: &Counts) -> Option<PgError> {
        let (measure, used, soft) = self.first(totals, |bounds| bounds.soft)?;
        let limit = self.quota.bounds().find(|(it, _)| *it == measure).and_then(|(_, bounds)| bounds.hard);
        let limit = limit.map(|hard| format!(", limit {}", measure.amount(hard))).unwrap_or_default();
        let warning = PgError::error(
            SqlState::WARNING,
            format!("quota of tenant \"{tenant}\" is nearly used up: {}", measure.title()),
        );
        Some(
            warning
                .detail(format!(
                    "Quota {}: used {used}, warning from {soft}{limit}, in {}.",
                    measure.title(),
                    self.period
                ))
                .hint(format!("The period ends at {} 00:00 UTC.", self.period.end())),
        )
    }

    /// The first measure of which so much was used, with both amounts as they are told.
    fn first(&self, totals: &Counts, bound: impl Fn(Bounds) -> Option<u64>) -> Option<(Measure, String, String)> {
        self.quota.bounds().zip(self.used(totals)).find_map(|((measure, bounds), used)| {
            let bound = bound(bounds).filter(|bound| used >= *bound)?;
            Some((measure, measure.amount(used), measure.amount(bound)))
        })
    }
}

/// How far use has come, which bound that is, and which one is next.
fn reach(bounds: Bounds, used: u64) -> (Reached, Option<u64>, Option<u64>) {
    match bounds {
        Bounds { hard: Some(hard), .. } if used >= hard => (Reached::Hard, Some(hard), None),
        Bounds { soft: Some(soft), hard } if used >= soft => (Reached::Soft, Some(soft), hard),
        Bounds { soft, hard } => (Reached::Nothing, None, soft.or(hard)),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    const TODAY: Date = date!(2026 - 11 - 25);

    fn watch(soft: Option<u64>, hard: Option<u64>, when_unknown: WhenUnknown) -> Watch {
        let mut quota = Quota { refuses: Refuses::Writes, ..Quota::default() };
        quota.bounds[1] = Bounds { soft, hard };
        Watch::new(Arc::new(quota), Terms { period: PeriodLength::Month, when_unknown }, TODAY)
    }

    fn statements(statements: u64) -> Counts {
        Counts { statements, ..Counts::default() }
    }

    #[test]
    fn use_passes_its_bounds() {
        let mut watch = watch(Some(80), Some(100), WhenUnknown::Allow);
        // 50 were used elsewhere and here when 20 of them had been used here.
        watch.know(&statements(50), &statements(20));
        let review = watch.review(&statements(25));
        assert_eq!((review.standing, review.trips[1]), (QuotaState::Fine, 50));
        assert!(watch.refusal(&TenantName::new("a"), &statements(25)).is_none());
        let review = watch.review(&statements(50));
        assert_eq!((review.standing, review.trips[1], review.crossings.len()), (QuotaState::Warned, 70, 1));
        assert_eq!(watch.review(&statements(51)).crossings, [], "told once");
        let warning = watch.warning(&TenantName::new("a"), &statements(51)).unwrap();
        assert_eq!(warning.detail.unwrap(), "Quota statements: used 81, warning from 80, limit 100, in 2026-11.");
        let review = watch.review(&statements(70));
        assert_eq!((review.standing, review.trips[1]), (QuotaState::WritesRefused, u64::MAX));
        assert!(review.crossings[0].hard);
        let error = watch.refusal(&TenantName::new("a"), &statements(70)).unwrap();
        assert_eq!(error.code, SqlState::CONFIGURATION_LIMIT_EXCEEDED);
        assert_eq!(error.detail.unwrap(), "Quota statements: used 100, limit 100, in 2026-11.");
        assert_eq!(
            error.hint.unwrap(),
            "The period ends at 2026-12-01 00:00 UTC; until then statements that only read may run."
        );
        // The next period begins with nothing.
        watch.turn(date!(2026 - 11 - 30), &statements(71));
        assert_eq!(watch.review(&statements(71)).standing, QuotaState::WritesRefused);
        watch.turn(date!(2026 - 12 - 01), &statements(71));
        let review = watch.review(&statements(72));
        assert_eq!((review.standing, review.trips[1]), (QuotaState::Fine, 151));
        // A new quota counts from what was used.
        watch.set_quota(&Arc::new(Quota::default()));
        assert_eq!(watch.review(&statements(500)).standing, QuotaState::Fine);
    }

    #[test]
    fn what_nobody_knows_is_refused_or_allowed() {
        let review = watch(None, Some(1), WhenUnknown::Refuse).review(&statements(0));
        assert_eq!(review.standing, QuotaState::WritesRefused);
        let review = watch(None, Some(1), WhenUnknown::Allow).review(&statements(0));
        assert_eq!(review.standing, QuotaState::Fine);
        // Without a hard bound there is nothing to refuse.
        let review = watch(Some(1), None, WhenUnknown::Refuse).review(&statements(0));
        assert_eq!(review.standing, QuotaState::Fine);
    }

    #[test]
    fn totals_of_a_period_may_be_less_than_those_of_the_process() {
        let mut watch = watch(None, Some(100), WhenUnknown::Refuse);
        watch.know(&statements(10), &statements(1_000));
        assert_eq!(watch.review(&statements(1_000)).trips[1], 1_090);
        assert_eq!(watch.review(&statements(1_089)).standing, QuotaState::Fine);
        assert_eq!(watch.review(&statements(1_090)).standing, QuotaState::WritesRefused);
    }
}
