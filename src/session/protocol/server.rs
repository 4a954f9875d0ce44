//! The server's side: what sending does to it.

use super::not_ready::{NotReady, Wait};
use super::parts::ServerSide;
use super::{Batch, Hold};
use crate::wire::encode::frontend;

impl ServerSide {
    /// An extended message was written.
    pub(super) fn sent_extended(&mut self) {
        self.batch = Batch::Open;
        self.sent += 1;
    }

    /// A Query was written. It ends an open batch of extended messages, as Sync would, and drops the unnamed statement.
    pub(super) fn sent_query(&mut self) {
        self.sent_sync();
        self.forget_unnamed();
    }

    /// A Sync was written, or what ends a batch as it does.
    pub(super) fn sent_sync(&mut self) {
        self.batch = Batch::Closed;
        self.discarding = false;
        if self.hold == Hold::AfterSync {
            self.hold = Hold::Drain;
        }
    }

    /// The unnamed statement is none of the client's any more.
    pub(super) fn forget_unnamed(&mut self) {
        if let Some(link) = self.link.as_mut() {
            link.unnamed = None;
        }
    }

    /// What the connection holds is not known any more: it must not reach another client.
    pub(super) fn poison(&mut self) {
        if let Some(link) = self.link.as_mut() {
            link.poisoned = true;
        }
    }

    /// The connection holds what nothing removes: it is closed once this client is done with it.
    pub(super) fn spend(&mut self) {
        if let Some(link) = self.link.as_mut() {
            link.spent = true;
        }
    }

    /// Makes a server send what it holds back, once for all replies that are outstanding now.
    pub(super) fn ask_for_replies(&mut self) {
        if self.batch == Batch::Open && self.flushed != self.sent {
            self.flush();
        }
    }

    /// Sends Flush.
    pub(super) fn flush(&mut self) {
        frontend::flush(&mut self.out);
        self.flushed = self.sent;
    }

    /// What is outstanding must come first.
    pub(super) fn settle(&mut self) -> Result<(), NotReady> {
        if self.replies.is_empty() {
            return Ok(());
        }
        self.hold = Hold::Drain;
        self.ask_for_replies();
        Err(Wait::Replies.into())
    }
}
