//! One established connection to an upstream, and what is known of its state.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use rand::RngExt;
use tokio::runtime::{self, Handle};

use super::applied::AppliedSettings;
use super::cancel::CancelTarget;
use super::cap::Permit;
use super::inner::Inner;
use super::prepared::PreparedSet;
use super::queue::Party;
use super::sequences::SequenceMemory;
use super::socket::{self, Probe};
use crate::wire::backend::TransactionStatus;
use crate::wire::conn::Conn;

/// A connection that came back more recently than this is handed out if the runtime that watches its socket has not heard of
/// anything; after a longer time the system is asked.
const WATCHED_FOR: Duration = Duration::from_millis(100);

/// A freshly authenticated connection, as a [`Connector`](super::Connector) makes it: ReadyForQuery `I` was read.
#[derive(Debug)]
pub struct Connection {
    /// The socket, TLS included, with what was read beyond the first ReadyForQuery (normally nothing).
    pub conn: Conn,
    /// ParameterStatus values, by the name that the upstream gives them.
    pub parameters: BTreeMap<String, String>,
    /// Where and with which key its statements are cancelled.
    pub cancel: Arc<CancelTarget>,
}

/// A server connection as the console lists it.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// Its number.
    pub id: u64,
    /// Process id of the backend.
    pub process_id: u32,
    /// When it was opened.
    pub since: SystemTime,
    /// Where it goes.
    pub address: String,
    /// No client has it.
    pub idle: bool,
}

/// What a server connection did since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerCounters {
    /// How often it was given to a client.
    pub checkouts: u64,
    /// How often it was reset with DISCARD ALL.
    pub resets: u64,
}

/// An owned server connection. Whoever holds it does the I/O on `conn`, keeps the public fields true, and gives it back
/// with [`Server::release`]. Dropping it instead closes the connection and frees its place in the pool.
///
/// Its state is boxed: a session that waits for a connection has room for one in several of its futures, and idle sessions
/// are many.
#[derive(Debug)]
pub struct Server {
    state: Box<ServerParts>,
}

/// What is known of a server connection: settings and prepared statements.
#[derive(Debug)]
pub struct KnownState {
    /// ParameterStatus values, by the name that the upstream gives them; whoever reads a ParameterStatus updates it.
    pub parameters: BTreeMap<String, String>,
    /// What of a client's context was applied.
    pub applied: AppliedSettings,
    /// Shared statements prepared on it.
    pub prepared: PreparedSet,
    /// Whose numbers it remembers.
    pub sequences: SequenceMemory,
    /// It holds state of a client that only DISCARD ALL removes (it was pinned, or in session mode): reset before the next client.
    pub needs_reset: bool,
}

impl KnownState {
    /// Of a connection that has just been opened.
    pub fn new(parameters: BTreeMap<String, String>, prepared: PreparedSet) -> Self {
        Self {
            parameters,
            applied: AppliedSettings::default(),
            prepared,
            sequences: SequenceMemory::Empty,
            needs_reset: false,
        }
    }
}

/// What a [`Server`] is made of.
#[derive(Debug)]
pub struct ServerParts {
    /// The socket, TLS included, and its buffers: clean only when both are empty.
    pub conn: Conn,
    /// What is known of it. Whoever holds the connection may take that along, and gives it back with the connection.
    pub known: Option<Box<KnownState>>,
    /// Status byte of the last ReadyForQuery.
    pub tx: TransactionStatus,
    /// Replies that are still to come: it is clean only at 0. Whoever sends counts.
    pub pending: usize,
    /// What it did so far.
    pub counters: ServerCounters,
    broken: bool,
    cancel: Arc<CancelTarget>,
    created: Instant,
    expires: Option<Instant>,
    last_used: Instant,
    /// The runtime that watches the socket.
    home: runtime::Id,
    id: u64,
    generation: u64,
    // Last: the place is freed after the socket is closed.
    slot: Slot,
}

/// A place in a pool, and with it one of the global cap's permits. Freed when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    inner: Weak<Inner>,
    /// Who has it, if that is counted.
    party: Option<Party>,
    permit: Option<Permit>,
    /// Number of the connection in it, once there is one.
    server: Option<u64>,
}

impl Slot {
    pub(super) fn new(inner: &Arc<Inner>, permit: Permit) -> Self {
        Self { inner: Arc::downgrade(inner), party: None, permit: Some(permit), server: None }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let permit = self.permit.take();
        if let Some(inner) = self.inner.upgrade() {
            inner.slot_freed(permit, self.server, self.party.take());
        }
    }
}

/// Life of the process: one number per server connection, for logs and the console.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Server {
    pub(super) fn new(
        connection: Connection,
        slot: Slot,
        max_prepared: usize,
        lifetime: Duration,
        generation: u64,
    ) -> Self {
        let now = Instant::now();
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let mut slot = slot;
        slot.server = Some(id);
        let state = ServerParts {
            conn: connection.conn,
            known: Some(Box::new(KnownState::new(connection.parameters, PreparedSet::new(max_prepared)))),
            tx: TransactionStatus::Idle,
            pending: 0,
            counters: ServerCounters::default(),
            broken: false,
            cancel: connection.cancel,
            created: now,
            expires: expiry(now, lifetime),
            last_used: now,
            home: Handle::current().id(),
            id,
            generation,
            slot,
        };
        Self { state: Box::new(state) }
    }

    /// Number of this connection in the life of the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn facts(&self, address: String) -> ServerFacts {
        ServerFacts { id: self.id, process_id: self.process_id(), since: SystemTime::now(), address, idle: false }
    }

    /// Process id of the backend, as its BackendKeyData gave it.
    pub fn process_id(&self) -> u32 {
        self.cancel.process_id()
    }

    /// Where and with which key its statements are cancelled.
    pub fn cancel_target(&self) -> &Arc<CancelTarget> {
        &self.cancel
    }

    /// When it was opened.
    pub fn created(&self) -> Instant {
        self.created
    }

    /// When it last came back to the pool.
    pub fn last_used(&self) -> Instant {
        self.last_used
    }

    /// The upstream's version as `server_version_num` would print it (150004 for 15.4), 0 if it cannot be read.
    pub fn version_num(&self) -> u32 {
        self.known.as_ref().and_then(|known| known.parameters.get("server_version")).map_or(0, |text| version_num(text))
    }

    /// Marks the connection as unusable (an I/O error, a protocol error): it will be closed, not reused.
    pub fn poison(&mut self) {
        self.broken = true;
    }

    /// Whether DISCARD ALL must come before another client has it.
    pub(super) fn needs_reset(&self) -> bool {
        self.known.as_ref().is_none_or(|known| known.needs_reset)
    }

    /// Whether the next client could use it as it is.
    pub fn is_clean(&self) -> bool {
        !self.broken
            && self.known.is_some()
            && self.pending == 0
            && self.tx == TransactionStatus::Idle
            && self.conn.inbox.is_empty()
            && self.conn.outbox.is_empty()
    }

    /// Gives the connection back. A clean one goes to the first that waits or becomes idle; one that `needs_reset` or has a
    /// cancel request under way does so a little later; any other is closed, and what still runs on it is cancelled.
    pub fn release(self) {
        match self.slot.inner.upgrade() {
            Some(inner) => inner.take_back(self),
            None => drop(self),
        }
    }

    /// Of the pool's targets, which one it goes to.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.broken
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    pub(super) fn touch(&mut self, now: Instant) {
        self.last_used = now;
    }

    /// It came back a moment ago: [`Server::glance`] is enough.
    pub(super) fn is_watched(&self, now: Instant) -> bool {
        now.duration_since(self.last_used) < WATCHED_FOR
    }

    /// The runtime that watches the socket.
    pub(super) fn home(&self) -> runtime::Id {
        self.home
    }

    /// Lets the socket be watched by the runtime `here`, within which this is called. Returns whether it can be used.
    pub(super) fn move_to(&mut self, here: runtime::Id) -> bool {
        if self.home != here {
            self.broken |= self.conn.stream.move_here().is_err();
            self.home = here;
        }
        !self.broken
    }

    /// It goes to a party whose connections are counted.
    pub(super) fn set_party(&mut self, party: &Party) {
        self.slot.party = Some(party.clone());
    }

    /// It comes back: from whom, if that is counted.
    pub(super) fn take_party(&mut self) -> Option<Party> {
        self.slot.party.take()
    }

    pub(super) fn inner(&self) -> Option<Arc<Inner>> {
        self.slot.inner.upgrade()
    }

    /// Takes the permit for another connection; the place itself is freed when `self` is dropped.
    pub(super) fn take_permit(&mut self) -> Option<Permit> {
        self.slot.permit.take()
    }

    /// [`Server::probe`] as the runtime knows it: a socket closed this moment may be missed.
    pub(super) fn glance(&self) -> Probe {
        socket::glance(&self.conn.stream)
    }

    /// Looks at the socket without waiting.
    pub(super) fn probe(&self) -> Probe {
        socket::probe(&self.conn.stream)
    }
}

impl Deref for Server {
    type Target = ServerParts;

    fn deref(&self) -> &ServerParts {
        &self.state
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut ServerParts {
        &mut self.state
    }
}

impl Drop for ServerParts {
    fn drop(&mut self) {
        if !self.broken {
            socket::say_goodbye(&mut self.conn.stream);
        }
    }
}

/// The lifetime, shortened by up to a tenth so that connections opened together do not end together. Zero: no end.
fn expiry(now: Instant, lifetime: Duration) -> Option<Instant> {
    if lifetime.is_zero() {
        return None;
    }
    let jitter = rand::rng().random_range(0.9..=1.0);
    now.checked_add(lifetime.mul_f64(jitter))
}

/// `15.4 (Debian 15.4-1)` is 150004, `18beta1` is 180000.
fn version_num(text: &str) -> u32 {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse::<u32>().unwrap_or(0));
    let major = numbers.next().unwrap_or(0);
    let has_minor = text.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('.');
    let minor = if has_minor { numbers.next().unwrap_or(0) } else { 0 };
    major.saturating_mul(10_000).saturating_add(minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version_num("15.4 (Debian 15.4-1.pgdg120+1)"), 150_004);
        assert_eq!(version_num("18beta1"), 180_000);
        assert_eq!(version_num("16"), 160_000);
        assert_eq!(version_num("x"), 0);
    }

    #[test]
    fn lifetimes_have_jitter() {
        let now = Instant::now();
        let lifetime = Duration::from_secs(1000);
        let ends: Vec<_> = (0..20).filter_map(|_| expiry(now, lifetime)).collect();
        assert!(ends.iter().all(|end| (900..=1000).contains(&end.duration_since(now).as_secs())));
        assert!(ends.windows(2).any(|pair| pair[0] != pair[1]));
        assert_eq!(expiry(now, Duration::ZERO), None);
    }
}
