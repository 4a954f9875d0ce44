//! What each tenant uses: counted by its sessions, added up here.
//!
//! A session counts in plain integers of its own and adds them to its tenant's [`Account`] at the end of a transaction. The
//! [`Ledger`] has the accounts of all tenants; totals only ever grow while the process runs.

mod account;
mod counts;
mod ledger;

pub use account::Account;
pub use counts::{Counts, MEASURES, Measure};
pub use ledger::Ledger;
