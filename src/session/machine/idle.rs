//! Whether a server connection is held by a client that does nothing.

use super::copy::CopyStream;
use super::{HIGH_WATER, Machine};

impl Machine {
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
