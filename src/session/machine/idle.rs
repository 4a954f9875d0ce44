//! Server connections that are offered before they are asked for, and those that a client has without doing anything.

use super::copy::CopyStream;
use super::{HIGH_WATER, Intake, Link, Machine};

impl Machine {
    /// Whether the next message is likely to need a server connection: so that it is there by then, and the message goes its
    /// way in one piece. A session that names its tenants as it goes may need one of another place.
    pub fn may_need_server(&self) -> bool {
        let runs = |tag: &u8| matches!(tag, b'Q' | b'P' | b'B' | b'D' | b'E');
        self.link.is_none()
            && self.switching.is_none()
            && self.intake == Intake::Open
            && self.copy_part.left == 0
            && self.dropping == 0
            && self.input.first().is_some_and(runs)
    }

    /// Offers a server connection of the session's place for what is pumped next.
    pub fn offer(&mut self, link: Link) {
        self.offered = Some(link);
    }

    /// The server connection that was offered, if it was not needed.
    pub fn not_needed(&mut self) -> Option<Link> {
        self.offered.take()
    }

    /// Whether a transaction waits for its client. Where replies are outstanding without a Sync, the server is asked for them first:
    /// what comes of it shows whether it runs something.
    pub fn waits_for_client(&mut self) -> bool {
        if self.link.is_none() || self.between_transactions() || !self.to_server.is_empty() {
            return false;
        }
        let streams = !matches!(self.copying, CopyStream::None);
        if self.replies.is_empty() || streams || self.to_client.len() >= HIGH_WATER {
            return true;
        }
        self.ask_for_replies();
        false
    }
}
