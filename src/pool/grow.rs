//! How a pool opens connections, what it does when that fails, and how it is paused, closed and tidied up.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::cap::Permit;
use super::inner::Inner;
use super::queue::Party;
use super::server::{Connection, Server, ServerFacts, Slot};
use super::socket::Probe;
use super::state::{Failure, Phase};
use super::stats::PoolStats;
use super::{error, tidy};
use crate::connect::ConnectError;

/// So many connections of one pool are opened at the same time, so that a burst of clients does not stampede the upstream.
const PARALLEL_CONNECTS: usize = 4;
/// Pause after the first failed connect; doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Longest pause between attempts: an upstream that came back is found within this time.
const BACKOFF_LAST: Duration = Duration::from_secs(2);

/// A connection that is being opened. Dropped before its time (the process stops), it has failed: the pool does not try
/// again at once.
struct Opening {
    inner: Arc<Inner>,
    slot: Option<Slot>,
}

impl Opening {
    fn succeed(mut self, connection: Connection, generation: u64) {
        if let Some(slot) = self.slot.take() {
            self.inner.opened(connection, slot, generation);
        }
    }

    fn fail(mut self, error: &ConnectError) {
        if let Some(slot) = self.slot.take() {
            self.inner.failed(error, slot);
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.inner.failed(&ConnectError::Protocol("the connecting task ended".to_owned()), slot);
        }
    }
}

impl Inner {
    /// Opens one more connection in the background if clients wait and there is room. Returns whether it does.
    pub(super) fn grow(self: &Arc<Self>) -> bool {
        self.grow_with(None)
    }

    fn grow_with(self: &Arc<Self>, permit: Option<Permit>) -> bool {
        if !self.reserve() {
            return false;
        }
        match permit.or_else(|| self.shared.permit_for(self)) {
            Some(permit) => {
                self.open(permit);
                true
            }
            None => {
                self.unreserve();
                false
            }
        }
    }

    /// Takes a place for a connection to be opened, if one is wanted.
    fn reserve(&self) -> bool {
        let setup = self.setup();
        let mut state = self.lock();
        let missing = setup.settings.min_idle.saturating_sub(state.established());
        let free = state.free();
        let go = state.phase == Phase::Running
            && (missing > 0 || state.wanted(free))
            && state.connecting < state.waiters.len().max(missing).min(PARALLEL_CONNECTS)
            && state.open < setup.settings.size.max(1)
            && state.backing_off(Instant::now()).is_none();
        if go {
            state.open += 1;
            state.connecting += 1;
        }
        go
    }

    fn unreserve(&self) {
        let gone = {
            let mut state = self.lock();
            state.open = state.open.saturating_sub(1);
            state.connecting = state.connecting.saturating_sub(1);
            state.open == 0
        };
        if gone {
            self.empty.notify_waiters();
        }
    }

    /// Opens a connection in a task of its own: a client that leaves does not stop it.
    fn open(self: &Arc<Self>, permit: Permit) {
        let opening = Opening { inner: Arc::clone(self), slot: Some(Slot::new(self, permit)) };
        let setup = self.setup();
        let (limit, generation) = (setup.target.connect_timeout, setup.generation);
        let connect = self.shared.connector.connect(Arc::clone(&setup.target));
        // A task within the task: should the connector panic, the place is given back all the same.
        let connect = self.shared.runtime.spawn(tokio::time::timeout(limit, connect));
        self.shared.runtime.spawn(async move {
            match connect.await {
                Ok(Ok(Ok(connection))) => opening.succeed(connection, generation),
                Ok(Ok(Err(error))) => opening.fail(&error),
                Ok(Err(_)) => opening.fail(&ConnectError::Timeout),
                // Dropped, it fails.
                Err(_) => {}
            }
        });
    }

    fn opened(self: &Arc<Self>, connection: Connection, slot: Slot, generation: u64) {
        let recovered = {
            let mut state = self.lock();
            state.connecting = state.connecting.saturating_sub(1);
            state.failure.take().is_some()
        };
        self.counters.connected();
        if recovered {
            info!(pool = %self.key, "upstream can be reached again");
        }
        let (max_prepared, lifetime) = {
            let setup = self.setup();
            (setup.settings.max_prepared, setup.settings.lifetime)
        };
        let server = Server::new(connection, slot, max_prepared, lifetime, generation);
        debug!(pool = %self.key, server = server.id(), pid = server.process_id(), "server connection opened");
        self.lock().servers.insert(server.id(), server.facts(self.setup().target.address.to_string()));
        if generation == self.setup().generation {
            self.give(server);
        } else {
            // The pool went elsewhere while it was being opened.
            drop(server);
        }
        self.grow();
    }

    fn failed(&self, error: &ConnectError, slot: Slot) {
        self.counters.connect_failed();
        let news = {
            let now = Instant::now();
            let mut state = self.lock();
            state.connecting = state.connecting.saturating_sub(1);
            // Attempts made at the same time count as one.
            let news = state.backing_off(now).is_none();
            if news {
                let pause = state.failure.as_ref().map_or(BACKOFF_FIRST, |last| (last.pause * 2).min(BACKOFF_LAST));
                state.failure =
                    Some(Failure { retry_at: now + pause, pause, error: error.to_client(&self.key.upstream) });
            }
            news
        };
        if news {
            warn!(pool = %self.key, address = %self.setup().target.address, %error, "cannot connect to upstream");
        }
        // Frees the place, which tells the waiters if this was their last hope.
        drop(slot);
    }

    /// A place became free: a connection was closed, or could not be opened.
    pub(super) fn slot_freed(self: &Arc<Self>, permit: Option<Permit>, server: Option<u64>, party: Option<Party>) {
        if let Some(server) = server {
            self.note_end(server);
        }
        let (hopeless, empty) = {
            let mut state = self.lock();
            if let Some(server) = server {
                state.servers.remove(&server);
            }
            state.open = state.open.saturating_sub(1);
            if let Some(party) = party {
                state.shares.give_back(&party);
            }
            let error = match state.backing_off(Instant::now()) {
                Some(failure) if state.open == 0 => Some(failure.error.clone()),
                Some(_) | None => None,
            };
            let hopeless = error.map(|error| (state.waiters.drain(), error));
            (hopeless, state.open == 0)
        };
        if let Some((waiters, error)) = hopeless {
            self.shared.cap.forget(self);
            for waiter in waiters {
                // A waiter that left needs no error.
                let _ = waiter.reach.tell(Err(error.clone()));
            }
        }
        if empty {
            self.empty.notify_waiters();
        }
        self.serve_from_idle();
        if self.shared.cap.starved() == 0 {
            self.grow_with(permit);
        } else {
            // The others first: they were there before.
            drop(permit);
            self.grow();
        }
    }

    /// A waiter that was passed over may have a connection now, and one is idle.
    fn serve_from_idle(self: &Arc<Self>) {
        let server = {
            let mut state = self.lock();
            let free = state.free();
            let serve = !state.idle.is_empty() && state.phase == Phase::Running && state.wanted(free);
            if serve { state.idle.pop() } else { None }
        };
        if let Some(server) = server {
            self.give(server);
        }
    }

    /// Whether anybody waits here or any connection is open.
    pub(super) fn is_demanding(&self) -> bool {
        self.lock().is_demanding()
    }

    /// Lets clients wait and closes connections as they come back.
    pub(super) fn pause(&self) {
        self.enter(Phase::Paused);
    }

    /// Closes what is idle.
    pub(super) fn close_idle(&self) {
        let idle = std::mem::take(&mut self.lock().idle);
        drop(idle);
    }

    /// Refuses clients for good and closes connections as they come back.
    pub(super) fn close(&self) {
        self.enter(Phase::Closed);
    }

    fn enter(&self, phase: Phase) {
        let (idle, waiters) = {
            let mut state = self.lock();
            if state.phase == Phase::Closed {
                return;
            }
            state.phase = phase;
            let waiters = if phase == Phase::Closed { state.waiters.drain() } else { Vec::new() };
            (std::mem::take(&mut state.idle), waiters)
        };
        drop(idle);
        self.shared.cap.forget(self);
        for waiter in waiters {
            let _ = waiter.reach.tell(Err(error::pool_closed(&self.key.upstream)));
        }
    }

    /// Serves again after a pause.
    pub(super) fn resume(self: &Arc<Self>) {
        {
            let mut state = self.lock();
            if state.phase != Phase::Paused {
                return;
            }
            state.phase = Phase::Running;
            state.failure = None;
        }
        while self.grow() {}
    }

    /// Waits until no connection is open.
    pub(super) async fn emptied(&self) {
        loop {
            let mut bell = std::pin::pin!(self.empty.notified());
            // From here on no ring is missed, so that the look below cannot be too early.
            bell.as_mut().enable();
            if self.lock().open == 0 {
                return;
            }
            bell.await;
        }
    }

    /// Housekeeping, about once a second: closes what is dead, too old or idle for too long, opens what is missing.
    pub(super) fn tick(self: &Arc<Self>) {
        let now = Instant::now();
        let setup = self.setup();
        let idle_timeout = setup.settings.idle_timeout;
        let (gone, spoke) = {
            let mut state = self.lock();
            let mut surplus = state.open.saturating_sub(setup.settings.min_idle);
            let (mut keep, mut gone, mut spoke) = (Vec::new(), Vec::new(), Vec::new());
            for server in std::mem::take(&mut state.idle) {
                let stale = !idle_timeout.is_zero() && now.duration_since(server.last_used()) >= idle_timeout;
                match server.probe() {
                    Probe::Closed => gone.push(server),
                    Probe::Quiet | Probe::Spoke if state.is_over(&server, now) => gone.push(server),
                    Probe::Quiet | Probe::Spoke if stale && surplus > 0 => {
                        surplus -= 1;
                        gone.push(server);
                    }
                    Probe::Spoke => spoke.push(server),
                    Probe::Quiet => keep.push(server),
                }
            }
            state.idle = keep;
            (gone, spoke)
        };
        drop(gone);
        for server in spoke {
            tidy::listen_then_give(self, server);
        }
        while self.grow() {}
    }

    /// All established connections.
    pub(super) fn servers(&self) -> Vec<ServerFacts> {
        let state = self.lock();
        let idle: HashSet<_> = state.idle.iter().map(Server::id).collect();
        state.servers.values().map(|it| ServerFacts { idle: idle.contains(&it.id), ..it.clone() }).collect()
    }

    /// A snapshot for the console and the metrics.
    pub(super) fn stats(&self) -> PoolStats {
        let mut stats = self.counters.snapshot(self.key.clone(), self.setup().settings.size);
        let state = self.lock();
        stats.idle = state.idle.len();
        stats.connecting = state.connecting;
        stats.active = state.established().saturating_sub(state.idle.len());
        stats.waiting = state.waiters.len();
        stats.longest_wait = state.waiters.oldest().map_or(Duration::ZERO, |since| since.elapsed());
        stats.checkouts = state.checkouts;
        stats.paused = state.phase == Phase::Paused;
        stats.last_error = state.failure.as_ref().map(|failure| failure.error.clone());
        stats
    }
}
