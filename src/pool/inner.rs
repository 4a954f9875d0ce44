//! The state of one pool and its moves: take, queue, give, grow, fail, close.
//!
//! Rules that keep it sound:
//! * No lock is held across an await, and never two locks of pools at once.
//! * A [`Server`], [`Slot`](super::server::Slot) or permit is never dropped under the pool's lock: dropping it comes back here.
//! * Waiters and idle connections never exist together, except while the pool is paused, and where the waiters may have no
//!   more of the pool's connections ([`Shares`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::cap::NO_PLACE;
use super::pools::Shared;
use super::queue::{FairQueue, Party, Ticket};
use super::server::Server;
use super::shares::Shares;
use super::socket::Probe;
use super::state::{Locked, Phase, Reach, State};
use super::stats::Counters;
use super::{PoolKey, error, tidy};
use crate::base::PgError;
use crate::config::{PoolSettings, Share};
use crate::connect::ServerTarget;

/// When more pools want connections than the cap allows, a connection changes pools at its release after this time.
const TIME_SLICE: Duration = Duration::from_secs(1);

/// What a waiter is told.
pub(super) type Reply = Result<Handoff, PgError>;

/// One pool: what its handles, its connections and its tasks share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) key: PoolKey,
    setup: ArcSwap<Setup>,
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Counters,
    /// Rings when the last connection of a paused or closed pool is gone.
    pub(super) empty: Notify,
    state: Mutex<State>,
    /// The pool stands in the list of those with idle connections.
    pub(super) listed: AtomicBool,
    /// Its number in the line of pools that found the cap reached; belongs to the cap's lock.
    pub(super) place_in_line: AtomicU64,
    /// Connections whose sessions end because others wait for them; with the time, those that have ended.
    pub(super) ending: Mutex<HashMap<u64, Option<Instant>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.state.get_mut().demanding {
            self.note_demand(false);
        }
    }
}

/// Where connections go and how many there are; a reload replaces it.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) target: Arc<ServerTarget>,
    pub(super) settings: PoolSettings,
    /// Grows when connections go elsewhere: older ones are closed when they are idle.
    pub(super) generation: u64,
}

/// What a checkout finds.
pub(super) enum Taken<'a> {
    /// An idle connection, still to be looked at.
    Idle(Server),
    /// A place in the queue.
    Queued(Waiting<'a>),
}

/// A place in the queue; given up when dropped.
pub(super) struct Waiting<'a> {
    inner: &'a Arc<Inner>,
    party: &'a Party,
    ticket: Ticket,
    since: Instant,
    reply: oneshot::Receiver<Reply>,
}

/// A connection on its way to a waiter. If the waiter is gone when it arrives, it goes to the next one.
#[derive(Debug)]
pub(super) struct Handoff(Option<Server>);

impl Drop for Handoff {
    fn drop(&mut self) {
        if let Some(server) = self.0.take()
            && let Some(inner) = server.inner()
        {
            inner.give(server);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let nobody_waits = {
            let mut state = self.inner.lock();
            state.waiters.remove(self.party, self.ticket) && state.waiters.is_empty()
        };
        if nobody_waits {
            self.inner.shared.cap.forget(self.inner);
        }
    }
}

impl Waiting<'_> {
    /// Waits for a connection, an error, or the wait timeout (zero: no timeout).
    pub(super) async fn wait(mut self) -> Result<Server, PgError> {
        let limit = self.inner.setup().settings.wait_timeout;
        let outcome = if limit.is_zero() {
            Ok((&mut self.reply).await)
        } else {
            tokio::time::timeout(limit, &mut self.reply).await
        };
        self.inner.counters.waited(self.since.elapsed());
        let upstream = &self.inner.key.upstream;
        match outcome {
            Ok(Ok(Ok(mut handoff))) => handoff.0.take().ok_or_else(|| error::pool_closed(upstream)),
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) => Err(error::pool_closed(upstream)),
            Err(_) => {
                self.inner.counters.wait_timeout();
                Err(error::wait_timeout(upstream, limit))
            }
        }
    }
}

impl Inner {
    pub(super) fn new(key: PoolKey, target: ServerTarget, settings: PoolSettings, shared: Arc<Shared>) -> Arc<Self> {
        let (size, kept) = (settings.size, settings.kept_for_others);
        Arc::new(Self {
            key,
            setup: ArcSwap::from_pointee(Setup { target: Arc::new(target), settings, generation: 0 }),
            shared,
            counters: Counters::default(),
            empty: Notify::new(),
            state: Mutex::new(State {
                idle: Vec::new(),
                waiters: FairQueue::default(),
                shares: Shares::keeping(kept),
                size,
                generation: 0,
                open: 0,
                connecting: 0,
                phase: Phase::Running,
                failure: None,
                servers: HashMap::new(),
                checkouts: 0,
                demanding: false,
            }),
            listed: AtomicBool::new(false),
            place_in_line: AtomicU64::new(NO_PLACE),
            ending: Mutex::default(),
        })
    }

    /// The state. Never held across an await, nor while another pool's is locked.
    pub(super) fn lock(&self) -> Locked<'_> {
        Locked { state: self.state.lock(), inner: self }
    }

    pub(super) fn note_demand(&self, demanding: bool) {
        let count = &self.shared.demanding;
        if demanding {
            count.fetch_add(1, Ordering::Relaxed)
        } else {
            count.fetch_sub(1, Ordering::Relaxed)
        };
    }

    /// Where connections go and how many there are.
    pub(super) fn setup(&self) -> arc_swap::Guard<Arc<Setup>> {
        self.setup.load()
    }

    /// Another target and settings from now on. With `anew`, connections that there are now are closed as they become idle, and
    /// those that clients wait for are opened at once.
    pub(super) fn set_up(self: &Arc<Self>, target: Arc<ServerTarget>, settings: PoolSettings, anew: bool) {
        let closed = {
            let mut state = self.lock();
            let generation = self.setup().generation + u64::from(anew);
            let size = settings.size.max(1);
            (state.size, state.generation) = (settings.size, generation);
            state.shares.keep(settings.kept_for_others);
            self.setup.store(Arc::new(Setup { target, settings, generation }));
            if anew {
                state.failure = None;
            }
            let excess = if anew { state.idle.len() } else { state.open.saturating_sub(size).min(state.idle.len()) };
            // The least recently used ones come first.
            state.idle.drain(..excess).collect::<Vec<_>>()
        };
        drop(closed);
        // It may keep fewer than before.
        self.shared.idle.note(self);
        while self.grow() {}
    }

    /// Whether a connection is too old to be used, or goes where connections no longer go, or the pool was made smaller and
    /// has too many.
    fn is_surplus(&self, server: &Server, now: Instant) -> bool {
        let state = self.lock();
        state.is_over(server, now) || state.open > state.size.max(1)
    }

    /// The most recently used idle connection, or a place in the queue, or the error that an upstream that is down gives.
    pub(super) fn take_or_queue<'a>(self: &'a Arc<Self>, party: &'a Party, share: Share) -> Result<Taken<'a>, PgError> {
        let mut state = self.lock();
        if state.phase == Phase::Closed {
            return Err(error::pool_closed(&self.key.upstream));
        }
        if share.is_bounded() || !state.shares.is_empty() {
            state.shares.introduce(party, share);
        }
        if state.phase == Phase::Running {
            let free = state.free();
            let may = state.shares.is_empty() || state.shares.may_take(party, free);
            if may && let Some(mut server) = state.take_idle() {
                state.checkouts += 1;
                if state.shares.take(party, share) {
                    server.set_party(party);
                }
                return Ok(Taken::Idle(server));
            }
            if state.open == 0
                && let Some(failure) = state.backing_off(Instant::now())
            {
                return Err(failure.error.clone());
            }
        }
        let (send, reply) = oneshot::channel();
        let reach = Reach::new(send, share);
        let ticket = state.waiters.push(party, share.weight, reach);
        Ok(Taken::Queued(Waiting { inner: self, party, ticket, since: Instant::now(), reply }))
    }

    /// A connection that can be used as it is, without waiting: an idle one that came back a moment ago and of which the
    /// runtime that watches it has heard nothing since.
    pub(super) fn take_quiet(&self, party: &Party, share: Share) -> Option<Server> {
        let mut state = self.lock();
        if state.phase != Phase::Running || state.idle.is_empty() {
            return None;
        }
        if share.is_bounded() {
            state.shares.introduce(party, share);
        }
        let free = state.free();
        if !state.shares.may_take(party, free) {
            return None;
        }
        let now = Instant::now();
        let server = state.take_idle()?;
        if state.is_over(&server, now) || !server.is_watched(now) || server.glance() != Probe::Quiet {
            // It is the next one again: for those who have the time to look at it.
            state.idle.push(server);
            return None;
        }
        state.checkouts += 1;
        let counted = state.shares.take(party, share);
        drop(state);
        let mut server = server;
        if counted {
            server.set_party(party);
        }
        server.counters.checkouts += 1;
        Some(server)
    }

    /// Looks at a connection that was idle: one that the upstream closed meanwhile is never handed out.
    pub(super) async fn vet(&self, mut server: Server) -> Option<Server> {
        let now = Instant::now();
        if self.lock().is_over(&server, now) {
            return None;
        }
        match if server.is_watched(now) { server.glance() } else { server.probe() } {
            Probe::Quiet => {}
            Probe::Spoke => tidy::listen(&mut server).await.ok()?,
            Probe::Closed => {
                server.poison();
                return None;
            }
        }
        server.counters.checkouts += 1;
        Some(server)
    }

    /// A connection comes back from a client.
    pub(super) fn take_back(self: &Arc<Self>, mut server: Server) {
        self.note_end(server.id());
        if !server.is_clean() {
            tidy::discard(self, server);
            return;
        }
        if server.needs_reset() || server.cancel_target().is_busy() {
            tidy::reset_then_give(self, server);
            return;
        }
        let now = Instant::now();
        server.touch(now);
        if self.is_surplus(&server, now) || self.must_yield(&server, now) {
            drop(server);
        } else {
            self.give(server);
        }
    }

    /// Hands a clean connection to the waiter whose turn it is, else it becomes idle.
    pub(super) fn give(self: &Arc<Self>, mut server: Server) {
        loop {
            let (waiter, last) = {
                let mut state = self.lock();
                if let Some(party) = server.take_party() {
                    state.shares.give_back(&party);
                }
                if state.phase != Phase::Running {
                    drop(state);
                    drop(server);
                    return;
                }
                // It is nobody's now, but not among the idle ones.
                let free = state.free() + 1;
                let Some(waiter) = state.next_waiter(&mut server, free) else {
                    state.idle.push(server);
                    break;
                };
                state.checkouts += 1;
                (waiter, state.waiters.is_empty())
            };
            if last {
                self.shared.cap.forget(self);
            }
            server.counters.checkouts += 1;
            let Err(back) = waiter.reach.tell(Ok(Handoff(Some(server)))) else {
                return;
            };
            // The waiter left at this very moment: the next one.
            match back.ok().and_then(|mut handoff| handoff.0.take()) {
                Some(returned) => server = returned,
                None => return,
            }
        }
        // In this order: whoever stands in the line looks at the list afterwards.
        self.shared.idle.note(self);
        if self.shared.cap.starved() > 0 {
            self.shed();
        }
    }

    /// Another pool wants a connection and the cap is reached: gives up one that is idle here.
    fn shed(&self) {
        drop(self.take_surplus());
    }

    /// Takes the idle connection that was used least recently, if more than `min_idle` are open.
    pub(super) fn take_surplus(&self) -> Option<Server> {
        let mut state = self.lock();
        (state.open > self.setup().settings.min_idle && !state.idle.is_empty()).then(|| state.idle.remove(0))
    }

    /// When the connection that [`Inner::take_surplus`] would take was last used.
    pub(super) fn surplus_since(&self) -> Option<Instant> {
        let state = self.lock();
        if state.open <= self.setup().settings.min_idle {
            return None;
        }
        state.idle.first().map(Server::last_used)
    }

    /// Whether a connection that comes back must go to another pool although clients may wait here: the cap is reached,
    /// another pool waits, and this one has more than its share.
    pub(super) fn must_yield(&self, server: &Server, now: Instant) -> bool {
        if self.shared.cap.starved() == 0 {
            return false;
        }
        let share = self.shared.fair_share();
        let open = self.lock().open;
        if share == 0 { now.duration_since(server.created()) >= TIME_SLICE } else { open > share }
    }
}
