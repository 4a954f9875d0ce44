//! The state of one pool, and the lock that keeps count of it.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use super::inner::{Inner, Reply};
use super::queue::{FairQueue, Waiter};
use super::server::{Server, ServerFacts};
use super::shares::Shares;
use crate::base::PgError;
use crate::config::Share;

/// How a waiter is reached.
#[derive(Debug)]
pub(super) struct Reach {
    send: oneshot::Sender<Reply>,
    /// The runtime that it is served on: a connection that is watched there already costs least.
    home: runtime::Id,
    /// What its party may have.
    share: Share,
}

impl Reach {
    /// Of a waiter that is served on this thread's runtime.
    pub(super) fn new(send: oneshot::Sender<Reply>, share: Share) -> Self {
        Self { send, home: Handle::current().id(), share }
    }

    /// Gives it back if the waiter is gone.
    pub(super) fn tell(self, reply: Reply) -> Result<(), Reply> {
        self.send.send(reply)
    }
}

#[derive(Debug)]
pub(super) struct State {
    /// The most recently used one is last, and goes out first.
    pub(super) idle: Vec<Server>,
    pub(super) waiters: FairQueue<Reach>,
    pub(super) shares: Shares,
    /// As in the pool's setup: read with the lock held anyway.
    pub(super) size: usize,
    /// Likewise.
    pub(super) generation: u64,
    /// Places taken: idle, in use, being opened, being reset.
    pub(super) open: usize,
    /// Of these, being opened.
    pub(super) connecting: usize,
    pub(super) phase: Phase,
    pub(super) failure: Option<Failure>,
    /// All that are established, by number.
    pub(super) servers: HashMap<u64, ServerFacts>,
    /// Connections handed to clients so far.
    pub(super) checkouts: u64,
    /// Counted among the pools that have connections or waiters.
    pub(super) demanding: bool,
}

/// What the operator wants of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// Clients wait, connections that come back are closed.
    Paused,
    /// For good: clients are refused, connections that come back are closed.
    Closed,
}

/// The last attempts to connect failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) retry_at: Instant,
    pub(super) pause: Duration,
    /// What clients are told.
    pub(super) error: PgError,
}

impl State {
    /// Whether anybody waits here or any connection is open.
    pub(super) fn is_demanding(&self) -> bool {
        self.open > 0 || !self.waiters.is_empty()
    }

    /// Connections that are open and usable.
    pub(super) fn established(&self) -> usize {
        self.open.saturating_sub(self.connecting)
    }

    /// The most recently used connection that this thread's runtime watches already, else the most recently used one.
    pub(super) fn take_idle(&mut self) -> Option<Server> {
        let here = Handle::current().id();
        match self.idle.iter().rposition(|server| server.home() == here) {
            Some(at) => Some(self.idle.remove(at)),
            None => self.idle.pop(),
        }
    }

    /// Whether a connection is too old to be used, or goes where connections no longer go.
    pub(super) fn is_over(&self, server: &Server, now: Instant) -> bool {
        server.is_expired(now) || server.generation() != self.generation
    }

    /// Connections that no client has, those that could be opened included.
    pub(super) fn free(&self) -> usize {
        self.size.saturating_sub(self.established().saturating_sub(self.idle.len()))
    }

    /// Somebody waits who may have one of `free` connections.
    pub(super) fn wanted(&self, free: usize) -> bool {
        if self.shares.is_empty() {
            !self.waiters.is_empty()
        } else {
            self.waiters.any(|it| self.shares.may_take(it, free))
        }
    }

    /// The next of those who may have a connection; it is counted as theirs.
    pub(super) fn next_waiter(&mut self, server: &mut Server, free: usize) -> Option<Waiter<Reach>> {
        let home = server.home();
        let near = |reach: &Reach| reach.home == home;
        if self.shares.counts_nobody() {
            return self.waiters.pop(near);
        }
        let Self { waiters, shares, .. } = self;
        let (party, waiter) = waiters.pop_of(|it| shares.may_take(it, free), near)?;
        if shares.take(&party, waiter.reach.share) {
            server.set_party(&party);
        }
        Some(waiter)
    }

    /// The failure because of which no connection is attempted now.
    pub(super) fn backing_off(&self, now: Instant) -> Option<&Failure> {
        self.failure.as_ref().filter(|failure| now < failure.retry_at)
    }
}

/// The state, locked. Whether the pool is one that wants or has connections is kept up to date however it is changed.
pub(super) struct Locked<'i> {
    pub(super) state: MutexGuard<'i, State>,
    pub(super) inner: &'i Inner,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let demanding = self.state.is_demanding();
        if std::mem::replace(&mut self.state.demanding, demanding) != demanding {
            self.inner.note_demand(demanding);
        }
    }
}
