//! The span that all log lines of a session stand in.

use std::net::SocketAddr;

use tracing::Span;
use tracing::field::{Empty, display};

use crate::ids::{SessionId, TenantName};

/// Names from a startup packet are cut to this many characters in logs.
const MAX_NAME: usize = 128;

/// A session's span: its id from the start, its login and tenant once they are known.
#[derive(Clone, Debug)]
pub struct SessionSpan(Span);

impl SessionSpan {
    /// The span of a fresh connection; `peer` is `None` on a Unix socket.
    pub fn new(id: SessionId, peer: Option<SocketAddr>) -> Self {
        // Of the highest level, so that no level of the log takes the context from the lines that remain.
        // What is known is given at once: each record later writes all fields anew.
        Self(tracing::error_span!("session", id = id.0, peer = peer.map(display), login = Empty, tenant = Empty))
    }

    /// The login that the client claims, as it sent it: escaped and cut.
    pub fn record_login(&self, login: &str) {
        self.0.record("login", display(loggable(login)));
    }

    /// The tenant that the session acts for.
    pub fn record_tenant(&self, tenant: &TenantName) {
        self.0.record("tenant", display(tenant));
    }

    /// For `tracing::Instrument`.
    pub fn span(&self) -> Span {
        self.0.clone()
    }
}

/// Text from a client as it may stand in a log: one line, no control characters, not long.
pub(super) fn loggable(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_NAME).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_NAME).is_some() {
        cut.push_str("...");
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_forge_lines() {
        assert_eq!(loggable("app"), "app");
        assert_eq!(loggable("a\nERROR \u{1b}[31m"), "a\\nERROR \\u{1b}[31m");
        assert_eq!(loggable(&"x".repeat(1000)).len(), 131);
    }
}
