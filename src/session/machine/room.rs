//! How much of the client is read before its messages are whole.

use super::{HIGH_WATER, Intake, Machine};
use crate::session::buffers::OWN;

impl Machine {
    /// Whether the client should be read: its messages can be taken on, or there is room to keep them.
    pub fn wants_client(&self) -> bool {
        let room = self.incomplete.min(self.granted).max(OWN);
        self.intake != Intake::Closed && self.input.len() < room && self.to_server.len() < HIGH_WATER
    }

    /// The length of a message that needs more room than there is.
    pub fn needs_room(&self) -> Option<usize> {
        (self.incomplete > OWN && self.incomplete > self.granted).then_some(self.incomplete)
    }

    /// There is room for a message of this length.
    pub fn grant_room(&mut self, bytes: usize) {
        self.granted = bytes;
        // At once: growing step by step, it would be there several times.
        self.input.reserve(bytes.saturating_sub(self.input.len()));
    }

    /// Whether what is held of the client, and what is to come of its message, is no more than every client may send.
    pub fn fits_its_own(&self) -> bool {
        self.incomplete <= OWN && self.input.len() + self.to_server.len() <= OWN
    }

    /// Whether half of a message is there.
    pub fn lacks_input(&self) -> bool {
        self.incomplete > 0
    }
}
