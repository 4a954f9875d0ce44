//! What a client is told that gets no server connection though the upstream is there.

use crate::base::{PgError, SqlState, UpstreamName};

/// Nothing became free in time (PgBouncer: `query_wait_timeout`).
pub(super) fn wait_timeout(upstream: &UpstreamName, waited: std::time::Duration) -> PgError {
    PgError::error(
        SqlState::TOO_MANY_CONNECTIONS,
        format!("no server connection of upstream \"{upstream}\" became free in {:.1} s", waited.as_secs_f64()),
    )
    .detail("query_wait_timeout: all server connections of the pool are in use.")
    .hint("Retry later, shorten transactions, or have the operator raise the pool's size.")
}

/// The pool was closed: pgwarden stops, or the upstream left the configuration.
pub(super) fn pool_closed(upstream: &UpstreamName) -> PgError {
    PgError::fatal(
        SqlState::ADMIN_SHUTDOWN,
        format!("connections to upstream \"{upstream}\" are being closed by the operator"),
    )
}
