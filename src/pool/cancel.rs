//! Cancel requests: a client's key leads to the server connection that it holds at this moment, and to no other.
//!
//! A server connection is not given to the next client while a cancel request for it is on its way: the upstream closes
//! the connection of a cancel request only after it has signalled the backend, and a backend that is idle ignores the signal.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;
use rand::Rng;
use subtle::ConstantTimeEq;
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::queue::Party;
use super::{Connector, Pool, Server};
use crate::base::{PgError, SqlState};
use crate::config::Share;
use crate::connect::ServerTarget;

/// A cancel request may take so long; then its server connection is closed instead of reused.
pub(super) const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);
/// So many cancel requests may be on their way to one server connection at a time; more add nothing. A client that floods
/// pgwarden with them must not open connections to the upstream without limit.
const MAX_SHOTS: usize = 2;
/// Length of the secret for clients of protocol 3.0 and 3.1, in bytes.
const SHORT_SECRET: usize = 4;
/// Length of the secret for clients of protocol 3.2 and later, in bytes (as Postgres 18).
const LONG_SECRET: usize = 32;

/// Where a cancel request for one server connection goes, and what it must carry.
#[derive(Debug)]
pub struct CancelTarget {
    target: Arc<ServerTarget>,
    peer: Option<SocketAddr>,
    pid: u32,
    secret: Secret,
    in_flight: AtomicUsize,
    quiet: Notify,
}

/// A cancel key's secret part, never printed.
struct Secret(Box<[u8]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl CancelTarget {
    /// Of a new server connection. `peer` is the address that a host name was resolved to: a name with several addresses
    /// may stand for several servers.
    pub fn new(target: Arc<ServerTarget>, peer: Option<SocketAddr>, pid: u32, secret: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            target,
            peer,
            pid,
            secret: Secret(secret.into()),
            in_flight: AtomicUsize::new(0),
            quiet: Notify::new(),
        })
    }

    /// Where it connects to.
    pub fn target(&self) -> &Arc<ServerTarget> {
        &self.target
    }

    /// The address that the host name was resolved to (none for Unix sockets).
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Process id of the backend.
    pub fn process_id(&self) -> u32 {
        self.pid
    }

    /// The backend's secret: for the cancel request only.
    pub fn secret(&self) -> &[u8] {
        &self.secret.0
    }

    /// Whether a cancel request is on its way.
    pub fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    /// Waits until no cancel request is on its way.
    pub(super) async fn wait_idle(&self) {
        loop {
            let mut bell = pin!(self.quiet.notified());
            bell.as_mut().enable();
            if !self.is_busy() {
                return;
            }
            bell.await;
        }
    }

    pub(super) fn shot(self: &Arc<Self>) -> Shot {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Shot(Arc::clone(self))
    }
}

/// A cancel request on its way; while it lives, its server connection is reserved.
pub(super) struct Shot(Arc<CancelTarget>);

impl Shot {
    /// Sends the request and waits until the upstream has closed the connection. Errors are logged, not returned: nobody
    /// tells a client what became of its cancel request.
    pub(super) async fn send(self, connector: &dyn Connector) {
        let sent = tokio::time::timeout(CANCEL_TIMEOUT, connector.cancel(Arc::clone(&self.0))).await;
        let upstream = &self.0.target.upstream;
        match sent {
            Ok(Ok(())) => debug!(%upstream, pid = self.0.pid, "cancel request sent"),
            Ok(Err(error)) => warn!(%upstream, %error, "cancel request not delivered"),
            Err(_) => warn!(%upstream, "cancel request timed out"),
        }
    }
}

impl Drop for Shot {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.quiet.notify_waiters();
        }
    }
}

/// All clients by the process id that pgwarden gave them in BackendKeyData.
#[derive(Debug)]
pub struct CancelRegistry {
    connector: Arc<dyn Connector>,
    clients: DashMap<u32, Arc<ClientSlot>, foldhash::fast::RandomState>,
}

#[derive(Debug)]
struct ClientSlot {
    secret: Secret,
    held: Mutex<Held>,
    wake: Notify,
}

/// What a client holds now.
#[derive(Debug)]
enum Held {
    Nothing,
    /// It waits for a server connection.
    Waiting,
    /// It waited, and a cancel request came.
    Cancelled,
    Server(Arc<CancelTarget>),
}

impl CancelRegistry {
    /// An empty registry; requests go out through `connector`.
    pub fn new(connector: Arc<dyn Connector>) -> Arc<Self> {
        Arc::new(Self { connector, clients: DashMap::default() })
    }

    /// Makes a random key for a new client: 32 bytes of secret if it speaks protocol 3.2 or later, else 4.
    pub fn register(self: &Arc<Self>, long_key: bool) -> ClientKey {
        let mut secret = vec![0; if long_key { LONG_SECRET } else { SHORT_SECRET }];
        rand::rng().fill_bytes(&mut secret);
        let slot = Arc::new(ClientSlot {
            secret: Secret(secret.into()),
            held: Mutex::new(Held::Nothing),
            wake: Notify::new(),
        });
        let pid = loop {
            // Positive as a signed number too: some clients print it so.
            let pid = rand::rng().next_u32() >> 1;
            if pid == 0 {
                continue;
            }
            if let Entry::Vacant(free) = self.clients.entry(pid) {
                free.insert(Arc::clone(&slot));
                break pid;
            }
        };
        ClientKey { registry: Arc::downgrade(self), pid, slot }
    }

    /// Number of registered clients.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether no client is registered.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Acts on a CancelRequest: cancels what the client with that key runs or waits for now, else does nothing. Returns when
    /// the upstream has acted; close the requester's connection then, so that its client library knows. The requester is
    /// told nothing in any case.
    pub fn cancel(&self, pid: u32, secret: &[u8]) -> impl Future<Output = ()> + Send + 'static + use<> {
        let slot = self.clients.get(&pid).map(|slot| Arc::clone(&slot));
        let shot = slot.filter(|slot| slot.secret.0.ct_eq(secret).into()).and_then(|slot| slot.aim());
        let connector = Arc::clone(&self.connector);
        async move {
            if let Some(shot) = shot {
                shot.send(connector.as_ref()).await;
            }
        }
    }
}

impl ClientSlot {
    /// Decides, and reserves the server connection, while its client cannot let it go.
    fn aim(&self) -> Option<Shot> {
        let mut held = self.held.lock();
        match &*held {
            Held::Nothing | Held::Cancelled => None,
            Held::Server(server) if server.in_flight.load(Ordering::Acquire) < MAX_SHOTS => Some(server.shot()),
            Held::Server(_) => None,
            Held::Waiting => {
                *held = Held::Cancelled;
                self.wake.notify_one();
                None
            }
        }
    }
}

/// A client's cancel key, and what it leads to. The key dies with this value.
#[derive(Debug)]
pub struct ClientKey {
    registry: Weak<CancelRegistry>,
    pid: u32,
    slot: Arc<ClientSlot>,
}

impl ClientKey {
    /// Process id for BackendKeyData.
    pub fn process_id(&self) -> u32 {
        self.pid
    }

    /// Secret for BackendKeyData: 4 or 32 bytes.
    pub fn secret(&self) -> &[u8] {
        &self.slot.secret.0
    }

    /// [`Pool::checkout`] for this client: from here on its cancel key leads to the connection, and while it waits a cancel
    /// request ends the wait.
    ///
    /// # Errors
    /// As [`Pool::checkout`]; `57014` if cancelled while waiting.
    pub async fn checkout(&self, pool: &Pool, party: &Party, share: impl Into<Share>) -> Result<Server, PgError> {
        *self.slot.held.lock() = Held::Waiting;
        let outcome = self.unless_cancelled(pool.checkout(party, share)).await;
        self.hold(outcome)
    }

    /// [`Pool::try_checkout`] for this client.
    pub fn try_checkout(&self, pool: &Pool, party: &Party, share: impl Into<Share>) -> Option<Server> {
        let server = pool.try_checkout(party, share)?;
        *self.slot.held.lock() = Held::Server(Arc::clone(server.cancel_target()));
        Some(server)
    }

    /// Waits for something else: while it waits a cancel request ends the wait, unless the client holds a server connection.
    ///
    /// # Errors
    /// Those of `waiting`; `57014` if cancelled.
    pub async fn wait<T>(&self, waiting: impl Future<Output = Result<T, PgError>>) -> Result<T, PgError> {
        {
            let mut held = self.slot.held.lock();
            if matches!(*held, Held::Nothing) {
                *held = Held::Waiting;
            }
        }
        let outcome = self.unless_cancelled(waiting).await;
        let mut held = self.slot.held.lock();
        match &*held {
            Held::Waiting => *held = Held::Nothing,
            Held::Cancelled => {
                *held = Held::Nothing;
                return Err(cancelled());
            }
            Held::Nothing | Held::Server(_) => {}
        }
        outcome
    }

    async fn unless_cancelled<T>(&self, waiting: impl Future<Output = Result<T, PgError>>) -> Result<T, PgError> {
        let mut waiting = pin!(waiting);
        loop {
            tokio::select! {
                biased;
                outcome = &mut waiting => return outcome,
                () = self.slot.wake.notified() => {
                    // A ring may be left over from an earlier wait.
                    if matches!(*self.slot.held.lock(), Held::Cancelled) {
                        return Err(cancelled());
                    }
                }
            }
        }
    }

    /// As if this client had sent a CancelRequest.
    pub fn cancel(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let request = self.registry.upgrade().map(|registry| registry.cancel(self.pid, self.secret()));
        async move {
            if let Some(request) = request {
                request.await;
            }
        }
    }

    /// The wait is over. A cancel request that came at the last moment still counts.
    fn hold(&self, outcome: Result<Server, PgError>) -> Result<Server, PgError> {
        let mut held = self.slot.held.lock();
        let too_late = matches!(*held, Held::Cancelled);
        match outcome {
            Ok(server) if !too_late => {
                *held = Held::Server(Arc::clone(server.cancel_target()));
                Ok(server)
            }
            Ok(server) => {
                *held = Held::Nothing;
                drop(held);
                server.release();
                Err(cancelled())
            }
            Err(error) => {
                *held = Held::Nothing;
                Err(error)
            }
        }
    }

    /// [`Server::release`] for this client: its cancel key leads nowhere from here on.
    pub fn release(&self, server: Server) {
        self.let_go();
        server.release();
    }

    /// The client's cancel key leads nowhere from here on: before a [`Server`] is dropped or released by itself.
    pub fn let_go(&self) {
        *self.slot.held.lock() = Held::Nothing;
    }
}

fn cancelled() -> PgError {
    PgError::error(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}

impl Drop for ClientKey {
    fn drop(&mut self) {
        self.let_go();
        if let Some(registry) = self.registry.upgrade() {
            registry.clients.remove(&self.pid);
        }
    }
}
