//! What each tenant uses: counted by its sessions, added up here, kept in a Postgres table, and bounded by quotas.
//!
//! A session counts in plain integers of its own and adds them to its tenant's [`Account`] at the end of a transaction. The
//! [`UsageRegistry`] has the accounts of all tenants; totals only ever grow while the process runs. A [`UsageWriter`] writes what was
//! added since the last time to a table, and reads what all proxies together have written there.

mod account;
mod backlog;
mod counts;
mod period;
mod registry;
mod sql;
mod store;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

pub use account::Account;
pub use counts::Counts;
pub use period::{Period, today};
pub use registry::UsageRegistry;
pub use store::{Entry, Store, StoreError};
pub use watch::QuotaState;
pub use writer::UsageWriter;
