//! A transaction that waits for its client while others wait for its server connection.

use std::time::Duration;

use tokio::time::Instant;

use super::{Relay, Source};
use crate::base::{PgError, SqlState};

/// Once the time is up, it is looked so often whether others wait.
const AGAIN: Duration = Duration::from_secs(1);

impl<S: Source> Relay<S> {
    /// When to look whether others wait for the server connection that a transaction has. Each byte that comes or goes puts it off.
    pub(super) fn look_at_others(&mut self) -> Option<Instant> {
        if self.server.is_none() || self.session.between_transactions() {
            self.look = None;
            return None;
        }
        if self.look.is_none() {
            let limit = self.source.idle_limit();
            self.look = if limit.is_zero() { None } else { Instant::now().checked_add(limit) };
        }
        self.look
    }

    /// The time is up: whether the session ends for others.
    pub(super) fn gives_way(&mut self) -> bool {
        let (Some(look), Some(server)) = (self.look, self.server.as_ref()) else { return false };
        let now = Instant::now();
        if now < look {
            return false;
        }
        self.look = Some(now + AGAIN);
        if !self.session.waits_for_client() || !self.source.claims(server) {
            return false;
        }
        let error = PgError::fatal(
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            "terminating connection due to idle-in-transaction timeout",
        );
        let error = error
            .detail("Others waited for the server connection that the transaction had.")
            .hint("End transactions soon, or have the operator raise contended_idle_timeout or the pool's size.");
        self.session.fail(&error);
        true
    }
}
