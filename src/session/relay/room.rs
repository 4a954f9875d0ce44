//! Room for a message of the client that is longer than what every client may send.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::{Relay, Source};
use crate::base::{PgError, SqlState};
use crate::session::buffers::Grant;

/// Once its time is up, it is looked so often whether others wait.
const AGAIN: Duration = Duration::from_secs(1);

/// What a session has of the memory that all share.
#[derive(Default)]
pub(super) enum Room {
    /// What every client has.
    #[default]
    Own,
    /// It waits for more; the client is not read.
    Asked(Pin<Box<dyn Future<Output = Option<Grant>> + Send>>),
    /// It has enough for its message.
    Granted(Grant),
}

impl<S: Source> Relay<S> {
    /// Asks for room where a message needs more, and gives it back where none does.
    pub(super) fn mind_room(&mut self) {
        let holds_its_own = self.session.holds_its_own();
        match (self.session.client.needs_room(), &self.room) {
            // A longer one behind it: nobody waits for more while it keeps what others wait for.
            (Some(_), Room::Granted(_)) if holds_its_own => {
                self.session.client.give_room_back();
                self.room = Room::Own;
                self.mind_room();
            }
            (Some(bytes), Room::Own) => {
                self.room = Room::Asked(Box::pin(std::sync::Arc::clone(&self.buffers).grant(bytes)));
            }
            (None, Room::Granted(_)) if self.session.fits_its_own() => {
                self.session.client.grant_room(0);
                self.room = Room::Own;
            }
            _ => {}
        }
    }

    /// Whether the room has just been granted.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> bool {
        let Room::Asked(asked) = &mut self.room else { return false };
        match asked.as_mut().poll(cx) {
            Poll::Pending => false,
            Poll::Ready(Some(grant)) => {
                self.session.client.grant_room(grant.bytes());
                self.room = Room::Granted(grant);
                true
            }
            Poll::Ready(None) => {
                self.room = Room::Own;
                true
            }
        }
    }

    /// When the message should be whole.
    pub(super) fn room_until(&self) -> Option<Instant> {
        match &self.room {
            Room::Granted(grant) => Some(grant.until),
            Room::Own | Room::Asked(_) => None,
        }
    }

    /// The time is up: whether the session ends for those who wait.
    pub(super) fn overstays(&mut self) -> bool {
        let Room::Granted(grant) = &mut self.room else { return false };
        let now = Instant::now();
        if now < grant.until {
            return false;
        }
        grant.until = now + AGAIN;
        if !self.session.client.lacks_input() || !self.buffers.is_short() {
            return false;
        }
        let error =
            PgError::fatal(SqlState::OUT_OF_MEMORY, "terminating connection: its message did not arrive in time");
        let error = error
            .detail("Others waited for the memory that was kept for it.")
            .hint("Send shorter messages, or have the operator raise buffer_memory.");
        self.session.fail(&error);
        true
    }
}
