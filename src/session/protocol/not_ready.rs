//! Why a client's message cannot be taken on now: it waits for something, or is refused.

use std::mem::discriminant;
use std::sync::Arc;

use tokio::time::Instant;

use super::offload::PlanRequest;
use super::{Asking, Backend};
use crate::base::PgError;
use crate::control::Joining;
use crate::limits::Allowance;

/// What is to come before client messages can be taken on.
pub enum Wait {
    /// More bytes of the client.
    Input,
    /// A server connection: [`Session::attach`](super::Session::attach).
    Server,
    /// A server connection of another place: first [`Session::detach_to_move`](super::Session::detach_to_move).
    Elsewhere,
    /// Outstanding replies.
    Replies,
    /// A place's catalog, read anew: [`Session::refreshed`](super::Session::refreshed).
    Refresh(Arc<Backend>),
    /// A look at a place's database: [`Session::looked`](super::Session::looked).
    Look(Arc<Backend>),
    /// Whose rows are touched by what an observed session sends: [`Session::answered`](super::Session::answered).
    Rows(Box<Asking>),
    /// The plan of a long text: [`Session::have_read`](super::Session::have_read).
    Read(Box<PlanRequest>),
    /// The time at which the message has its turn. Nothing is outstanding.
    Turn(Instant),
    /// One of a tenant's transactions: [`Session::permitted`](super::Session::permitted). Nothing is outstanding.
    Permit(Arc<Allowance>),
    /// A channel that is to be heard: [`Session::hears`](super::Session::hears). Nothing is outstanding.
    Listen(Box<Joining>),
    /// A tenant's gate. Nothing of the tenant is under way.
    Gate,
    /// Nothing: the session is over. What is in the buffers is to be written, then all is closed.
    Closed,
}

impl PartialEq for Wait {
    /// Whether the same kind of thing is waited for.
    fn eq(&self, other: &Self) -> bool {
        discriminant(self) == discriminant(other)
    }
}

impl std::fmt::Debug for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Wait::Input => "Input",
            Wait::Server => "Server",
            Wait::Elsewhere => "Elsewhere",
            Wait::Replies => "Replies",
            Wait::Refresh(_) => "Refresh",
            Wait::Look(_) => "Look",
            Wait::Rows(_) => "Rows",
            Wait::Read(_) => "Read",
            Wait::Turn(_) => "Turn",
            Wait::Permit(_) => "Permit",
            Wait::Listen(_) => "Listen",
            Wait::Gate => "Gate",
            Wait::Closed => "Closed",
        })
    }
}

/// Why a message is not dealt with.
#[derive(Debug)]
pub(super) enum NotReady {
    /// It stays where it is, and is gone on with when this has come.
    Wait(Wait),
    /// It fails.
    Refuse(PgError),
}

impl From<Wait> for NotReady {
    fn from(wait: Wait) -> Self {
        NotReady::Wait(wait)
    }
}

impl From<PgError> for NotReady {
    fn from(error: PgError) -> Self {
        NotReady::Refuse(error)
    }
}
