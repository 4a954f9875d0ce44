//! What a session knows of the server connection that it has.

use bytes::BytesMut;

use super::statements::ServerStatement;
use crate::pool::KnownState;

/// State of a server connection, taken from it at checkout and given back at release.
#[derive(Debug)]
pub struct ServerState {
    /// Server bytes not yet dealt with.
    pub input: BytesMut,
    /// Its settings and prepared statements.
    pub known: Box<KnownState>,
    /// Its state is not known any more: it must be closed.
    pub poisoned: bool,
    /// It holds what nothing removes: no other client may have it.
    pub spent: bool,
    /// The unnamed statement, if it is one of this client's.
    pub(super) unnamed: Option<ServerStatement>,
    /// A message that is passed on, or dropped, in parts.
    pub(super) passing: Option<Passing>,
}

/// The rest of a message that is not held in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passing {
    pub tag: u8,
    pub left: usize,
    pub forward: bool,
}

impl ServerState {
    /// A connection in this state.
    pub fn new(input: BytesMut, known: Box<KnownState>) -> Self {
        Self { input, known, poisoned: false, spent: false, unnamed: None, passing: None }
    }

    /// The server reported a setting.
    pub(super) fn set_parameter(&mut self, name: &str, value: &str) {
        match self.known.parameters.get_mut(name) {
            Some(known) => value.clone_into(known),
            None => {
                self.known.parameters.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// The server does not hold the prepared statements that were noted: it is reset before another client has it.
    pub(super) fn doubt(&mut self) {
        self.known.prepared.doubt();
        self.known.needs_reset = true;
    }

    /// No half of a message was read.
    pub fn at_boundary(&self) -> bool {
        self.input.is_empty() && self.passing.is_none()
    }

    /// The client has received the head of a message but not all of it.
    pub fn in_forwarded_message(&self) -> bool {
        self.passing.is_some_and(|passing| passing.forward)
    }
}
