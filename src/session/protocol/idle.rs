//! Server connections that are offered before they are asked for, and those that a client has without doing anything.

use super::copy::CopyStream;
use super::{HIGH_WATER, Intake, ServerState, Session};

impl Session {
    /// Whether the next message is likely to need a server connection: so that it is there by then, and the message goes its
    /// way in one piece. A session that names its tenants as it goes may need one of another place.
    pub fn may_need_server(&self) -> bool {
        let runs = |tag: &u8| matches!(tag, b'Q' | b'P' | b'B' | b'D' | b'E');
        self.server.link.is_none()
            && self.context.switching.is_none()
            && self.client.intake == Intake::Open
            && self.copy.part.left == 0
            && self.client.dropping == 0
            && self.client.input.first().is_some_and(runs)
    }

    /// Offers a server connection of the session's place for what is pumped next.
    pub fn offer(&mut self, link: ServerState) {
        self.server.offered = Some(link);
    }

    /// The server connection that was offered, if it was not needed.
    pub fn not_needed(&mut self) -> Option<ServerState> {
        self.server.offered.take()
    }

    /// Whether a transaction waits for its client. Where replies are outstanding without a Sync, the server is asked for them first:
    /// what comes of it shows whether it runs something.
    pub fn waits_for_client(&mut self) -> bool {
        if self.server.link.is_none() || self.between_transactions() || !self.server.out.is_empty() {
            return false;
        }
        let streams = !matches!(self.copy.stream, CopyStream::None);
        if self.server.replies.is_empty() || streams || self.client.out.len() >= HIGH_WATER {
            return true;
        }
        self.server.ask_for_replies();
        false
    }
}
