//! What a session knows of the server connection that it has.

use std::collections::BTreeMap;

use bytes::BytesMut;

use super::statements::ServerStatement;
use crate::pool::PreparedSet;

/// State of a server connection, taken from it at checkout and given back at release.
#[derive(Debug)]
pub struct ServerState {
    /// Server bytes not yet dealt with.
    pub input: BytesMut,
    /// Settings beyond the defaults, by lower-case name.
    pub applied: BTreeMap<String, String>,
    /// Shared statements prepared on it.
    pub prepared: PreparedSet,
    /// ParameterStatus values.
    pub parameters: BTreeMap<String, String>,
    /// It holds state that only DISCARD ALL removes.
    pub needs_reset: bool,
    /// Its state is not known any more: it must be closed.
    pub poisoned: bool,
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
    pub fn new(
        input: BytesMut,
        applied: BTreeMap<String, String>,
        prepared: PreparedSet,
        parameters: BTreeMap<String, String>,
    ) -> Self {
        Self { input, applied, prepared, parameters, needs_reset: false, poisoned: false, unnamed: None, passing: None }
    }

    /// The server reported a setting.
    pub(super) fn set_parameter(&mut self, name: &str, value: &str) {
        match self.parameters.get_mut(name) {
            Some(known) => value.clone_into(known),
            None => {
                self.parameters.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// The server does not hold the prepared statements that were noted: it is reset before another client has it.
    pub(super) fn doubt(&mut self) {
        self.prepared.doubt();
        self.needs_reset = true;
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
