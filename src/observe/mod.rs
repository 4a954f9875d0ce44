//! Logs and the audit trail. Neither ever holds a secret, or a literal of a client's statement.

pub mod audit;
mod init;
pub mod refusals;
mod span;

#[cfg(feature = "demo")]
pub use init::InitError;
pub use init::{init, set_level};
pub use span::{SessionSpan, record_tenant};
