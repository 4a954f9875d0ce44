//! The client's side: how much of it is read before its messages are whole.

use bytes::BytesMut;

use super::parts::ClientSide;
use super::{HIGH_WATER, Intake, Session};
use crate::session::buffers::OWN;

impl ClientSide {
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

    /// Whether half of a message is there.
    pub fn lacks_input(&self) -> bool {
        self.incomplete > 0
    }

    /// Bytes of it that may be held.
    fn room(&self) -> usize {
        if self.incomplete > self.granted { OWN } else { self.incomplete.max(OWN) }
    }

    /// What was granted is given back: for the little that is held a buffer of its own.
    pub fn give_room_back(&mut self) {
        self.granted = 0;
        self.input = BytesMut::from(&*self.input);
    }
}

impl Session {
    /// Whether the client should be read: its messages can be taken on, or there is room to keep them.
    pub fn wants_client(&self) -> bool {
        let client = &self.client;
        client.intake != Intake::Closed && client.input.len() < client.room() && self.server.out.len() < HIGH_WATER
    }

    /// Whether no more is held than what every client may send, and what one read adds.
    pub fn holds_its_own(&self) -> bool {
        self.client.input.len() + self.server.out.len() <= 2 * OWN
    }

    /// Whether what is held of the client, and what is to come of its message, is no more than every client may send.
    pub fn fits_its_own(&self) -> bool {
        self.client.incomplete <= OWN && self.client.input.len() + self.server.out.len() <= OWN
    }
}
