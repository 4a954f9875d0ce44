//! The client's message at hand, and how far it has come.
//!
//! A message that has to wait stays at the front of the client's bytes; what was found out about it is kept here, so that
//! nothing is charged or planned twice, and is forgotten with it.

use tokio::time::Instant;

use super::offload::OffloadedPlans;
use super::plan::Planned;
use crate::base::PgError;

/// How far the message at hand has come.
#[derive(Default)]
pub(super) struct CurrentMessage {
    /// Whether the limit on statements lets it pass.
    pub(super) turn: Turn,
    /// What it waited for cannot be had.
    pub(super) denied: Option<PgError>,
    /// A catalog was read anew for it.
    pub(super) refreshed: bool,
    /// A database was looked at for it.
    pub(super) looked: bool,
    /// The server was asked whose rows it touches.
    pub(super) asked: bool,
    /// Its long texts, planned elsewhere.
    pub(super) texts: Option<Box<OffloadedPlans>>,
    /// What the guard made of it, with the epoch of the policy that it passed.
    pub(super) planned: Option<Box<Planned>>,
}

/// The turn of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// It was not asked for.
    #[default]
    NotAsked,
    /// It comes then, and was paid for.
    At(Instant),
    /// It can be asked for again then.
    AskAt(Instant),
    /// It is now.
    Come,
}
