//! Accepting clients: one task each, a limit on their number, an orderly end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{Instrument, debug, error, info, warn};

use super::login::{Admitted, LoggedIn, LoginError, LoginPlace, Logins, log_in};
use super::registry::{Order, SessionHandle, Taken};
use super::relay::Relay;
use super::shared_state::SharedState;
use super::upstream::PoolSource;
use crate::base::{PgError, SqlState};
use crate::observe::SessionSpan;
use crate::session::workers::{Placement, Workers};
use crate::wire::encode::backend;
use crate::wire::stream::{Keepalive, Stream};

/// Clients that may wait to be accepted.
const BACKLOG: u32 = 1_024;
/// After an error that more accepting would only repeat (no file descriptors), so long a pause is made.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// While it stops, clients that have just come get so long for their first transaction.
const FIRST_TRANSACTION: Duration = Duration::from_secs(2);
/// After the grace period, sessions get so long to say goodbye.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Of clients in whatever state there are never more.
const PRESENT_MAX: u32 = 1 << 28;

/// Sockets on which clients are accepted.
pub struct Listener {
    sockets: Vec<TcpListener>,
    sessions: Arc<Sessions>,
}

/// How serving ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// When the last client has left.
    WhenEmpty,
    /// Sessions end as their transactions do; those that are left after this time end then.
    Drain(Duration),
    /// All sessions end now.
    Now,
}

/// Boxed: moved about, it would be part of the session's future more than once.
type ClientRelay = Relay<PoolSource>;

/// What the sessions of a process share besides the shared state.
struct Sessions {
    shared: Arc<SharedState>,
    /// One permit for each client that is there, in whatever state.
    present: Arc<Semaphore>,
    /// One permit for each client that has logged in.
    places: Arc<Semaphore>,
    logins: Arc<Logins>,
    workers: Arc<Workers>,
}

impl Listener {
    /// Binds the addresses; clients will be served on `workers`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What the system says of the first address that cannot be bound.
    pub fn bind(
        addresses: &[SocketAddr],
        reuse_port: bool,
        shared: Arc<SharedState>,
        workers: Arc<Workers>,
    ) -> io::Result<Self> {
        let sockets = addresses.iter().map(|address| bind_one(*address, reuse_port)).collect::<io::Result<Vec<_>>>()?;
        let max = u32::try_from(shared.max_connections).unwrap_or(u32::MAX).min(1 << 28);
        let sessions = Sessions {
            present: Arc::new(Semaphore::new(PRESENT_MAX as usize)),
            places: Arc::new(Semaphore::new(max as usize)),
            logins: Logins::new(shared.max_logins),
            shared,
            workers,
        };
        Ok(Self { sockets, sessions: Arc::new(sessions) })
    }

    /// The addresses, with the ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Serves clients until it is to end; then accepts no more, and ends sessions as it is told. A later word that is more
    /// urgent is heard.
    pub async fn serve(self, mut ending: watch::Receiver<Option<Ending>>) {
        let Self { sockets, sessions } = self;
        let mut accepting = JoinSet::new();
        for socket in sockets {
            accepting.spawn(accept_until(socket, Arc::clone(&sessions), ending.clone()));
        }
        // Whoever could end it is gone: it ends.
        let how = ending.wait_for(Option::is_some).await.map_or(Some(Ending::Now), |how| *how);
        while accepting.join_next().await.is_some() {}
        sessions.end(how.unwrap_or(Ending::Now), ending).await;
    }
}

fn bind_one(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(reuse_port)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts clients until it is to end. Those that wait to be accepted at that moment are not lost: closing the socket would
/// reset their connections.
async fn accept_until(socket: TcpListener, sessions: Arc<Sessions>, mut ending: watch::Receiver<Option<Ending>>) {
    tokio::select! {
        () = accept_loop(&socket, &sessions) => {}
        _ = ending.wait_for(Option::is_some) => {}
    }
    while let Some(Ok((client, peer))) = socket.accept().now_or_never() {
        sessions.admit(client, peer);
    }
}

async fn accept_loop(socket: &TcpListener, sessions: &Arc<Sessions>) {
    loop {
        sessions.logins.room().await;
        match socket.accept().await {
            Ok((client, peer)) => sessions.admit(client, peer),
            Err(error) if concerns_one_client(&error) => debug!(%error, "client gone before it was accepted"),
            Err(error) => {
                warn!(%error, "cannot accept clients");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl Sessions {
    fn admit(self: &Arc<Self>, client: TcpStream, peer: SocketAddr) {
        let present = Arc::clone(&self.present).try_acquire_owned();
        let (Ok(present), true) = (present, self.places.available_permits() > 0) else {
            turn_away(&client);
            return;
        };
        let place = Presence {
            handle: self.shared.directory.register(Some(peer)),
            placement: self.workers.place(),
            _present: present,
        };
        let login = self.logins.enter();
        let worker = place.placement.runtime().clone();
        let registered = {
            let _entered = worker.enter();
            client.into_std().and_then(TcpStream::from_std)
        };
        match registered {
            Ok(client) => drop(worker.spawn(Arc::clone(self).run(client, peer, place, login))),
            Err(error) => debug!(%error, "client gone"),
        }
    }

    async fn run(self: Arc<Self>, client: TcpStream, peer: SocketAddr, place: Presence, login: LoginPlace) {
        let handle = place.handle.handle();
        let span = SessionSpan::new(handle.id(), Some(peer));
        // The future of a login is large and short-lived: it must not be part of every idle session.
        let opening = Box::pin(self.open(client, peer, handle, &span, login).instrument(span.span()));
        // From here on the span is entered only where something is logged: entering it at every poll costs more than
        // what the session does then.
        let Some((mut relay, _place)) = opening.await else { return };
        relay.run(&span).await;
    }

    /// Logs a client in, unless pgwarden stops meanwhile.
    async fn open(
        &self,
        client: TcpStream,
        peer: SocketAddr,
        handle: &Arc<SessionHandle>,
        span: &SessionSpan,
        login: LoginPlace,
    ) -> Option<(Box<ClientRelay>, OwnedSemaphorePermit)> {
        if let Err(error) = Keepalive::default().apply(&client) {
            debug!(%error, "client gone");
            return None;
        }
        let session = tokio::select! {
            session = log_in(&self.shared, Stream::from(client), peer, handle, span) => session,
            () = handle.told(Order::Leave) => return None,
            () = login.given_away() => {
                info!("too many clients are logging in: the one that has been at it longest gives way");
                return None;
            }
        };
        drop(login);
        let place = Arc::clone(&self.places).try_acquire_owned();
        match session {
            Ok(None) => return None,
            Ok(Some(admitted)) if place.is_err() => admitted.turn_away().await,
            Ok(Some(Admitted::Console(session))) => {
                if let Some(console) = self.shared.console.get() {
                    console.serve(session).await;
                }
            }
            Ok(Some(Admitted::LoggedIn(session))) => {
                let LoggedIn { conn, session, source } = *session;
                let buffers = Arc::clone(&self.shared.buffers);
                let relay = Relay::new(conn.stream, session, source, Arc::clone(handle), buffers);
                return Some((Box::new(relay), place.ok()?));
            }
            Err(LoginError::Gone(why)) => debug!(why, "no session"),
            Err(LoginError::Refused(why)) => info!(why, "client refused"),
            Err(LoginError::Timeout) => info!("login timed out"),
        }
        None
    }

    async fn end(&self, mut how: Ending, mut ending: watch::Receiver<Option<Ending>>) {
        let mut order = Order::Drain;
        loop {
            let since = *ending.borrow_and_update();
            if since == Some(Ending::Now) {
                how = Ending::Now;
            }
            let limit = match how {
                Ending::WhenEmpty => None,
                Ending::Drain(grace) => {
                    self.shared.directory.tell_all(order);
                    Some(if order == Order::Drain { grace.min(FIRST_TRANSACTION) } else { grace })
                }
                Ending::Now => {
                    self.shared.directory.tell_all(Order::Now);
                    Some(LAST_WORDS)
                }
            };
            tokio::select! {
                _ = self.present.acquire_many(PRESENT_MAX) => return,
                () = sleep_for(limit) => {}
                Ok(later) = ending.wait_for(|it| *it != since) => {
                    how = later.unwrap_or(how);
                    continue;
                }
            }
            if let (Ending::Drain(grace), Order::Drain) = (how, order) {
                order = Order::Leave;
                how = Ending::Drain(grace.saturating_sub(FIRST_TRANSACTION));
                continue;
            }
            if how == Ending::Now {
                warn!("some sessions did not end in time");
                return;
            }
            let left = PRESENT_MAX as usize - self.present.available_permits();
            warn!(sessions = left, "the grace period is over: ending sessions in mid-transaction");
            how = Ending::Now;
        }
    }
}

/// Never ready without a limit.
async fn sleep_for(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// What a client takes up, free again when its task has ended, in whatever way.
struct Presence {
    handle: Taken,
    placement: Placement,
    _present: OwnedSemaphorePermit,
}

impl Drop for Presence {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(
                session = self.handle.handle().id().0,
                "a session ended by a defect of pgwarden; others are not concerned"
            );
        }
    }
}

/// Too many clients. Told without waiting for what the client wants: `E` is an answer to an SSLRequest, too.
fn turn_away(client: &TcpStream) {
    let mut out = BytesMut::new();
    backend::error_response(&mut out, &too_many());
    if let Err(error) = client.try_write(&out) {
        debug!(%error, "a client could not be told that there are too many");
    }
}

fn too_many() -> PgError {
    PgError::fatal(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
}

impl Admitted {
    /// All places were taken while it logged in. It has been greeted, so this is an answer to what it sends.
    async fn turn_away(self) {
        let mut conn = match self {
            Admitted::LoggedIn(session) => session.conn,
            Admitted::Console(session) => session.conn,
        };
        conn.refuse(&too_many()).await;
    }
}
