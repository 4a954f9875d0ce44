//! Connections that others wait for while the sessions that have them do nothing.

use std::time::{Duration, Instant};

use super::inner::Inner;
use super::server::Server;
use super::state::Phase;

/// A connection that has come back is reset, or another is opened in its place, before somebody has it who waited: so long it
/// counts as one that will serve.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

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
            ending.retain(|_, end| end.is_none_or(|end| end.elapsed() < ON_ITS_WAY));
            if ending.len() < waiting {
                ending.insert(server.id(), None);
                return true;
            }
        }
        self.must_yield(server, Instant::now())
    }

    /// A connection has come back, or is gone.
    pub(super) fn note_end(&self, server: u64) {
        if let Some(end) = self.ending.lock().get_mut(&server) {
            *end = Some(Instant::now());
        }
    }
}
