//! What was counted but is not in the table yet.
//!
//! A batch that is being written stays as it is, under its number, until its outcome is known: written again, it is added
//! once. What is counted meanwhile waits for the next one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use time::Date;

use super::account::Account;
use super::counts::Counts;
use crate::base::TenantName;

/// Rows that are added to the table in one transaction, in the order of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub number: i64,
    pub rows: BTreeMap<(TenantName, Date), Counts>,
}

/// Bounded by the number of tenants, times the days that the table is away.
#[derive(Debug)]
pub(super) struct Backlog {
    /// The day that counts belong to until the next look at the accounts.
    day: Date,
    /// The totals that have been taken in.
    seen: HashMap<TenantName, Counts>,
    open: BTreeMap<(TenantName, Date), Counts>,
    batch: Option<Batch>,
    last: i64,
}

impl Backlog {
    pub fn new(today: Date) -> Self {
        Self { day: today, seen: HashMap::new(), open: BTreeMap::new(), batch: None, last: 0 }
    }

    /// Takes in what accounts have counted since the last time: it belongs to the day of that time, so it should be called
    /// as a day ends. Returns whether a new day has begun.
    pub fn take_in(&mut self, accounts: &[Arc<Account>], today: Date) -> bool {
        for account in accounts {
            let Some(tenant) = account.tenant() else { continue };
            let totals = account.totals();
            let seen = self.seen.entry(tenant.clone()).or_default();
            let new = totals.since(seen);
            if !new.is_zero() {
                *seen = totals;
                self.open.entry((tenant.clone(), self.day)).or_default().add(&new);
            }
        }
        std::mem::replace(&mut self.day, today) != today
    }

    /// The totals of an account that have been taken in.
    pub fn seen(&self, tenant: &TenantName) -> Counts {
        self.seen.get(tenant).copied().unwrap_or_default()
    }

    /// What is to be written next.
    pub fn batch(&mut self) -> Option<&Batch> {
        if self.batch.is_none() && !self.open.is_empty() {
            self.last += 1;
            self.batch = Some(Batch { number: self.last, rows: std::mem::take(&mut self.open) });
        }
        self.batch.as_ref()
    }

    /// The batch is in the table.
    pub fn written(&mut self) {
        self.batch = None;
    }

    /// All that is not known to be in the table.
    pub fn left(&self) -> impl Iterator<Item = (&(TenantName, Date), &Counts)> {
        self.batch.iter().flat_map(|batch| &batch.rows).chain(&self.open)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    const DAY: Date = date!(2026 - 11 - 30);
    const NEXT: Date = date!(2026 - 12 - 01);

    fn account(name: &str) -> Arc<Account> {
        Arc::new(Account::new(Some(TenantName::new(name))))
    }

    fn use_up(account: &Account, statements: u64) {
        account.add(&Counts { statements, ..Counts::default() });
    }

    fn rows(batch: &Batch) -> Vec<(String, u64)> {
        batch.rows.iter().map(|((tenant, day), counts)| (format!("{tenant} {day}"), counts.statements)).collect()
    }

    #[test]
    fn a_batch_stays_as_it_is_until_it_is_written() {
        let accounts = [account("b"), account("a"), account("idle")];
        let mut backlog = Backlog::new(DAY);
        assert_eq!(backlog.batch(), None);
        use_up(&accounts[0], 2);
        use_up(&accounts[1], 1);
        assert!(!backlog.take_in(&accounts, DAY));
        let first = backlog.batch().unwrap().clone();
        assert_eq!((first.number, rows(&first)), (1, vec![("a 2026-11-30".into(), 1), ("b 2026-11-30".into(), 2)]));
        use_up(&accounts[0], 5);
        backlog.take_in(&accounts, DAY);
        assert_eq!(backlog.batch(), Some(&first));
        assert_eq!(backlog.left().map(|(_, counts)| counts.statements).sum::<u64>(), 8);
        backlog.written();
        let second = backlog.batch().unwrap();
        assert_eq!((second.number, rows(second)), (2, vec![("b 2026-11-30".into(), 5)]));
        backlog.written();
        backlog.take_in(&accounts, DAY);
        assert_eq!(backlog.batch(), None);
        assert_eq!(backlog.seen(&TenantName::new("b")).statements, 7);
    }

    #[test]
    fn what_was_counted_before_midnight_belongs_to_the_day_that_ends() {
        let accounts = [account("a")];
        let mut backlog = Backlog::new(DAY);
        use_up(&accounts[0], 1);
        assert!(backlog.take_in(&accounts, NEXT));
        use_up(&accounts[0], 2);
        assert!(!backlog.take_in(&accounts, NEXT));
        // Both wait for one batch: the table was away.
        assert_eq!(rows(backlog.batch().unwrap()), [("a 2026-11-30".to_owned(), 1), ("a 2026-12-01".to_owned(), 2)]);
    }
}
