//! Logs and the audit trail. Neither ever holds a secret, or a literal of a client's statement.

pub mod audit;
mod init;
pub mod refusals;
mod span;

pub use init::{InitError, init, set_level};
pub use span::{SessionSpan, record_tenant};
