//! What a session is in the middle of. All that hangs on it is derived here: from the last ReadyForQuery, from the replies
//! that are outstanding, from what was sent since, and from the streams under way.
//!
//! A client that pipelines is ahead of its server: [`Intake`] says how its messages are taken, which is another thing than
//! what the server does meanwhile.

use super::parts::ServerSide;
use super::{Batch, Intake, ServerState, Session};
use crate::wire::backend::TransactionStatus;

impl ServerSide {
    /// Neither a transaction nor a batch of extended messages is open.
    fn none_open(&self) -> bool {
        self.tx == TransactionStatus::Idle && self.batch == Batch::Closed
    }

    /// The same, and nothing is outstanding.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.none_open() && self.replies.is_empty()
    }

    /// Nothing that the client sent is under way: at most messages of pgwarden's own.
    pub(super) fn is_quiet(&self) -> bool {
        self.none_open() && self.replies.only_internal()
    }

    /// Whether the last message sent has been answered, and the connection has been heard out.
    fn is_settled(&self) -> bool {
        self.replies.settled() && self.out.is_empty() && self.link.as_ref().is_some_and(ServerState::at_boundary)
    }
}

impl Session {
    /// Nothing runs, nothing is outstanding, no implicit transaction is open.
    pub fn between_transactions(&self) -> bool {
        self.server.is_idle() && self.copy.is_over()
    }

    /// Between transactions, and no half of a message is there: the moment to end a session politely.
    pub fn idle(&self) -> bool {
        let client = &self.client;
        self.between_transactions() && client.input.is_empty() && client.dropping == 0 && client.intake == Intake::Open
    }

    /// Nothing of a transaction was sent: the connection's settings can be made the session's.
    pub(super) fn starts(&self) -> bool {
        let unsent = self.context.unsent.is_some() && self.server.batch == Batch::Closed;
        (unsent || self.server.none_open()) && self.server.replies.is_empty()
    }

    /// Whether the server has been sent something that belongs to one transaction with what comes next.
    pub(super) fn in_transaction(&self) -> bool {
        self.context.unsent.is_none() && !self.server.none_open()
    }

    /// Whether the server connection is proved to be at rest. Nothing else decides that one may be handed on: ReadyForQuery
    /// has answered the last message that was sent and told that no transaction is open, the server has been sent all that is
    /// for it and has been heard out, no half of a message or COPY stream is on its way in either direction,
    /// and no LISTEN is left on it.
    pub(super) fn server_rests(&self) -> bool {
        self.starts() && self.server.is_settled() && self.copy.is_over() && self.is_unmarked()
    }
}
