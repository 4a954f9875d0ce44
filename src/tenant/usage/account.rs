//! What one tenant has used since the process started.

use std::sync::atomic::{AtomicU64, Ordering};

use super::counts::{Counts, MEASURES};
use crate::ids::TenantName;

/// A tenant's totals. Sessions of all threads add to them.
#[derive(Debug)]
pub struct Account {
    tenant: Option<TenantName>,
    totals: [AtomicU64; MEASURES],
}

impl Account {
    /// An account that nothing was added to. `None`: of sessions that act for no tenant.
    pub fn new(tenant: Option<TenantName>) -> Self {
        Self { tenant, totals: Default::default() }
    }

    /// Whose it is; `None` for that of operators without a tenant and of sessions that act for nobody.
    pub fn tenant(&self) -> Option<&TenantName> {
        self.tenant.as_ref()
    }

    /// Adds to the totals.
    pub fn add(&self, counts: &Counts) {
        for (total, count) in self.totals.iter().zip(counts.values()) {
            if count != 0 {
                total.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// The totals now. Each number is exact; a transaction that ends meanwhile may be in some of them only.
    pub fn totals(&self) -> Counts {
        Counts::from_values(self.totals.each_ref().map(|total| total.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
