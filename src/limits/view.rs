//! The limits that hold for one statement, transaction or session by itself: the tightest of all meters.

use std::sync::Arc;
use std::time::Duration;

use super::limiter::{Kind, Limiter, Whose};
use crate::config::Limits;

/// A limit and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound<T> {
    /// The value.
    pub value: T,
    /// Which limit.
    pub kind: Kind,
    /// Whose.
    pub whose: Whose,
    /// Where it is counted that it was felt.
    meter: Option<MeterRef>,
}

#[derive(Clone, Debug)]
struct MeterRef(Arc<Limiter>);

impl PartialEq for MeterRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for MeterRef {}

impl<T> Bound<T> {
    /// The limit was exceeded.
    pub fn record_rejection(&self) {
        if let Some(MeterRef(meter)) = &self.meter {
            meter.rejected(self.kind);
        }
    }
}

/// All such limits; `None`: no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Of a transaction.
    pub transaction_time: Option<Bound<Duration>>,
    /// Of a statement.
    pub statement_time: Option<Bound<Duration>>,
    /// Of a pause within a transaction.
    pub idle_in_transaction_time: Option<Bound<Duration>>,
    /// Of a pause outside of transactions.
    pub idle_time: Option<Bound<Duration>>,
    /// Rows of a result.
    pub result_rows: Option<Bound<u64>>,
    /// Bytes of a result.
    pub result_bytes: Option<Bound<u64>>,
    /// Bytes of a statement.
    pub statement_bytes: Option<Bound<u64>>,
}

impl View {
    /// The tightest limits of these meters, and the listener's idle timeout (zero: none).
    pub(super) fn of<'m>(meters: impl Iterator<Item = &'m Arc<Limiter>>, idle: Duration) -> Self {
        let mut view = Self::default();
        let everybody = Bound { value: idle, kind: Kind::IdleTime, whose: Whose::Everybody, meter: None };
        tighten(&mut view.idle_time, everybody, Duration::ZERO);
        for meter in meters {
            let limits: &Limits = &meter.limits();
            let Self {
                transaction_time,
                statement_time,
                idle_in_transaction_time,
                idle_time,
                result_rows,
                result_bytes,
                statement_bytes,
            } = &mut view;
            for (place, value, kind) in [
                (transaction_time, limits.transaction_timeout, Kind::TransactionTime),
                (statement_time, limits.statement_timeout, Kind::StatementTime),
                (idle_in_transaction_time, limits.idle_in_transaction_timeout, Kind::IdleInTransactionTime),
                (idle_time, limits.idle_timeout, Kind::IdleTime),
            ] {
                tighten(place, bound(meter, kind, value.unwrap_or_default()), Duration::ZERO);
            }
            for (place, value, kind) in [
                (result_rows, limits.result_rows, Kind::ResultRows),
                (result_bytes, limits.result_bytes, Kind::ResultBytes),
                (statement_bytes, limits.statement_bytes, Kind::StatementBytes),
            ] {
                tighten(place, bound(meter, kind, value.unwrap_or_default()), 0);
            }
        }
        view
    }
}

fn bound<T>(meter: &Arc<Limiter>, kind: Kind, value: T) -> Bound<T> {
    Bound { value, kind, whose: meter.whose.clone(), meter: Some(MeterRef(Arc::clone(meter))) }
}

fn tighten<T: Ord>(place: &mut Option<Bound<T>>, bound: Bound<T>, none: T) {
    if bound.value > none && place.as_ref().is_none_or(|known| bound.value < known.value) {
        *place = Some(bound);
    }
}
