//! Connections that others wait for while the sessions that have them do nothing.

use std::time::Instant;

use super::inner::Inner;
use super::server::Server;
use super::state::Phase;

impl Inner {
    /// Whether the session that has this connection, and does nothing with it, should end because others wait for one. As many are
    /// told so as wait: whoever is told ends.
    pub(super) fn claims(&self, server: &Server) -> bool {
        let waiting = {
            let state = self.lock();
            let full = state.open >= state.size.max(1) || self.shared.cap.starved() > 0;
            let free = state.free() + 1;
            if state.phase == Phase::Running && full && state.wanted(free) { state.waiters.len() } else { 0 }
        };
        {
            let mut ending = self.ending.lock();
            if ending.len() < waiting {
                ending.insert(server.id());
                return true;
            }
        }
        self.must_yield(server, Instant::now())
    }

    /// A connection has come back, or is gone.
    pub(super) fn note_end(&self, server: u64) {
        self.ending.lock().remove(&server);
    }
}
