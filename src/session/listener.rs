//! Accepting clients: one task each, a limit on their number, an orderly end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tracing::{Instrument, debug, error, info, warn};

use super::directory::{Order, Seat, Taken};
use super::gateway::Gateway;
use super::login::{LoginError, Session, log_in};
use super::relay::Relay;
use super::upstream::PoolSource;
use crate::observe::SessionSpan;
use crate::pgerror::{PgError, SqlState};
use crate::wire::encode::backend;
use crate::wire::stream::{Keepalive, Stream};
use crate::workers::{Placement, Workers};

/// Clients that may wait to be accepted.
const BACKLOG: u32 = 1_024;
/// After an error that more accepting would only repeat (no file descriptors), so long a pause is made.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// After the grace period, sessions get so long to say goodbye.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Sockets on which clients are accepted.
pub struct Listener {
    sockets: Vec<TcpListener>,
    sessions: Arc<Sessions>,
}

/// Boxed: moved about, it would be part of the session's future more than once.
type ClientRelay = Relay<PoolSource>;

/// What the sessions of a process share besides the gateway.
struct Sessions {
    gateway: Arc<Gateway>,
    /// One permit per client.
    places: Arc<Semaphore>,
    max: u32,
    workers: Arc<Workers>,
}

impl Listener {
    /// Binds the addresses; clients will be served on `workers`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What the system says of the first address that cannot be bound.
    pub fn bind(addresses: &[SocketAddr], gateway: Arc<Gateway>, workers: Arc<Workers>) -> io::Result<Self> {
        let sockets = addresses.iter().map(|address| bind_one(*address)).collect::<io::Result<Vec<_>>>()?;
        let max = u32::try_from(gateway.max_connections).unwrap_or(u32::MAX).min(1 << 28);
        let sessions = Sessions { gateway, places: Arc::new(Semaphore::new(max as usize)), max, workers };
        Ok(Self { sockets, sessions: Arc::new(sessions) })
    }

    /// The addresses, with the ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Serves clients until `shutdown` is ready; then accepts no more, ends sessions as their transactions end, and after
    /// `grace` ends those that are left.
    pub async fn serve(self, shutdown: impl Future<Output = ()>, grace: Duration) {
        let Self { sockets, sessions } = self;
        let mut accepting = JoinSet::new();
        for socket in sockets {
            accepting.spawn(accept_loop(socket, Arc::clone(&sessions)));
        }
        shutdown.await;
        accepting.shutdown().await;
        sessions.end(grace).await;
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept_loop(socket: TcpListener, sessions: Arc<Sessions>) {
    loop {
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
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else {
            turn_away(&client);
            return;
        };
        let place = Place {
            seat: self.gateway.directory.take_seat(Some(peer)),
            placement: self.workers.place(),
            _permit: permit,
        };
        let worker = place.placement.runtime().clone();
        let registered = {
            let _entered = worker.enter();
            client.into_std().and_then(TcpStream::from_std)
        };
        match registered {
            Ok(client) => drop(worker.spawn(Arc::clone(self).run(client, peer, place))),
            Err(error) => debug!(%error, "client gone"),
        }
    }

    async fn run(self: Arc<Self>, client: TcpStream, peer: SocketAddr, place: Place) {
        let seat = place.seat.seat();
        let span = SessionSpan::new(seat.id(), Some(peer));
        // The future of a login is large and short-lived: it must not be part of every idle session.
        let opening = Box::pin(self.open(client, peer, seat, &span).instrument(span.span()));
        // From here on the span is entered only where something is logged: entering it at every poll costs more than
        // what the session does then.
        let Some(mut relay) = opening.await else { return };
        relay.run(&span).await;
    }

    /// Logs a client in, unless pgwarden stops meanwhile.
    async fn open(
        &self,
        client: TcpStream,
        peer: SocketAddr,
        seat: &Arc<Seat>,
        span: &SessionSpan,
    ) -> Option<Box<ClientRelay>> {
        if let Err(error) = Keepalive::default().apply(&client) {
            debug!(%error, "client gone");
            return None;
        }
        let session = tokio::select! {
            session = log_in(&self.gateway, Stream::from(client), peer, seat, span) => session,
            () = seat.stopped() => return None,
        };
        match session {
            Ok(session) => {
                let Session { conn, machine, source } = session?;
                return Some(Box::new(Relay::new(conn.stream, machine, source, Arc::clone(seat))));
            }
            Err(LoginError::Gone(why)) => debug!(why, "no session"),
            Err(LoginError::Refused(why)) => info!(why, "client refused"),
            Err(LoginError::Timeout) => info!("login timed out"),
        }
        None
    }

    async fn end(&self, grace: Duration) {
        self.gateway.directory.tell_all(Order::Drain);
        if tokio::time::timeout(grace, self.places.acquire_many(self.max)).await.is_ok() {
            return;
        }
        let left = self.max as usize - self.places.available_permits();
        warn!(sessions = left, "the grace period is over: ending sessions in mid-transaction");
        self.gateway.directory.tell_all(Order::Now);
        if tokio::time::timeout(LAST_WORDS, self.places.acquire_many(self.max)).await.is_err() {
            warn!("some sessions did not end in time");
        }
    }
}

/// What a client takes up, free again when its task has ended, in whatever way.
struct Place {
    seat: Taken,
    placement: Placement,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(
                session = self.seat.seat().id().0,
                "a session ended by a defect of pgwarden; others are not concerned"
            );
        }
    }
}

/// Too many clients. Told without waiting for what the client wants: `E` is an answer to an SSLRequest, too.
fn turn_away(client: &TcpStream) {
    let mut out = BytesMut::new();
    let error = PgError::fatal(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already");
    backend::error_response(&mut out, &error);
    if let Err(error) = client.try_write(&out) {
        debug!(%error, "a client could not be told that there are too many");
    }
}
