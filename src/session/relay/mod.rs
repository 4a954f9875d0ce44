//! One task, both sockets: what they say goes into the [`Session`], what it puts into its buffers goes out.
//!
//! PlanRequest goes on while writing, so that no pipeline can deadlock; the side whose peer does not take its bytes is not
//! read. What one read brought is dealt with before anything is written: one recv and one send per direction and batch.

mod exchange;
mod gate;
mod room;
mod sockets;
mod waits;
mod yielding;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};
use tracing::Instrument as _;

use self::room::Room;
use super::buffers::Buffers;
use super::protocol::{Backend, Home, Overdue, ServerState, Session, TenantContext, Wait};
use super::registry::{Acts, Order, SessionHandle};
use crate::base::{PgError, SqlState, TenantName};
use crate::config::Tenant;
use crate::observe::SessionSpan;
use crate::wire::stream::Stream;

/// A client gets so long to take its last bytes.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where server connections come from.
pub trait Source: Send {
    /// A server connection.
    type Server: Send;

    /// Gets a server connection of a place and what is known of its state. `party` waits for it, if it is not the same for
    /// all of the session.
    fn checkout(
        &mut self,
        backend: Arc<Backend>,
        party: Option<TenantName>,
    ) -> impl Future<Output = Result<(Self::Server, ServerState), PgError>> + Send;
    /// What [`Source::checkout`] would give without waiting, if that is sure.
    fn try_checkout(
        &mut self,
        backend: &Arc<Backend>,
        party: &Option<TenantName>,
    ) -> Option<(Self::Server, ServerState)>;
    /// Waits for something else than a server connection; a cancel request ends the wait if the client holds none.
    fn wait<T: Send>(
        &mut self,
        waiting: impl Future<Output = Result<T, PgError>> + Send,
    ) -> impl Future<Output = Result<T, PgError>> + Send;
    /// Where a tenant lives.
    fn home(&mut self, tenant: &Arc<Tenant>) -> impl Future<Output = Result<Home, PgError>> + Send;
    /// Cancels what runs on the server connection that the client holds. Ends when the server has acted on it.
    fn cancel(&mut self) -> JoinHandle<()>;
    /// A transaction that waits longer for its client ends where [`Source::claims`] says so. Zero: it does not.
    fn idle_limit(&self) -> Duration;
    /// Whether the session must end because others wait for its server connection.
    fn claims(&self, server: &Self::Server) -> bool;
    /// Gives it back.
    fn release(&mut self, server: Self::Server, link: ServerState, condition: Condition);
    /// Its socket.
    fn socket(server: &mut Self::Server) -> &mut Stream;
}

/// In which condition a server connection is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing runs on it, nothing is outstanding.
    Clean,
    /// A transaction is open or replies are outstanding: only the pool can make something of it.
    Abandoned,
    /// It is closed, or not to be trusted.
    Broken,
}

/// How a session ended: for the log.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The client said goodbye, or was told to go.
    #[error("closed")]
    Closed,
    /// The client's connection closed or broke.
    #[error("client gone{}", .0.as_ref().map(|error| format!(": {error}")).unwrap_or_default())]
    ClientGone(Option<io::Error>),
    /// The server's connection closed, broke or came out of step.
    #[error("server connection lost: {0}")]
    ServerLost(String),
    /// pgwarden or an operator wanted it so, or what the session was admitted for was withdrawn.
    #[error("told to end: {0}")]
    Told(String),
    /// A limit in time ended it.
    #[error("timeout")]
    TimedOut,
}

/// What ended a wait for the sockets.
enum Event {
    /// Bytes came or went: look again.
    Progress,
    /// The process wants something of its sessions.
    Bell(Order),
    ClientGone(Option<io::Error>),
    ServerLost(String),
    /// The clock should be looked at.
    Alarm,
}

/// A client's connection, its session, and the server connection that it has at the moment.
pub struct Relay<S: Source> {
    client: Stream,
    /// A read found nothing: the task is woken when something comes.
    awaits_client: bool,
    awaits_server: bool,
    unflushed: bool,
    server_unflushed: bool,
    source: S,
    server: Option<S::Server>,
    session: Session,
    handle: Arc<SessionHandle>,
    /// What the registry knows of it.
    acts: Acts,
    heard: Order,
    /// The last change of gates that woke it.
    gates_looked_at: u64,
    /// It has had a server connection.
    served: bool,
    /// Rings no later than the machine's next deadline. Left as it is when the deadline moves on: it is set anew only when it
    /// has rung, so that a statement costs no timer.
    alarm: Option<Pin<Box<Sleep>>>,
    /// A cancel request is on its way: nothing more is sent to the server, which could be hit by it.
    cancelling: Option<JoinHandle<()>>,
    /// When it is to be looked whether others wait for the server connection, if nothing comes or goes until then.
    look: Option<Instant>,
    buffers: Arc<Buffers>,
    room: Room,
}

impl<S: Source> Relay<S> {
    /// A relay for a greeted client; what was read of it beyond its login is in the machine already.
    pub fn new(client: Stream, session: Session, source: S, handle: Arc<SessionHandle>, buffers: Arc<Buffers>) -> Self {
        let heard = Order::Run;
        Self {
            client,
            awaits_client: false,
            awaits_server: false,
            unflushed: false,
            server_unflushed: false,
            source,
            server: None,
            session,
            handle,
            acts: Acts::default(),
            heard,
            gates_looked_at: 0,
            served: false,
            alarm: None,
            cancelling: None,
            look: None,
            buffers,
            room: Room::default(),
        }
    }

    /// Serves the client until one side ends it. The server connection has been given back afterwards. What is logged at the
    /// end stands in `span`.
    pub async fn run(&mut self, span: &SessionSpan) {
        let end = self.serve().await;
        let broken = matches!(end, End::ServerLost(_));
        self.give_back(broken);
        let farewell = Box::pin(self.farewell().instrument(span.span()));
        farewell.await;
        span.span().in_scope(|| tracing::debug!(%end, "session ends"));
    }

    async fn serve(&mut self) -> End {
        loop {
            let mut gates = self.session.gates_seen();
            if self.session.has_new_gates() {
                gates = match Box::pin(self.mind_gates()).await {
                    Ok(number) => number,
                    Err(end) => return end,
                };
            }
            let cancelling = self.cancelling.is_some() && self.server.is_some();
            match if cancelling { Wait::Replies } else { self.pump() } {
                Wait::Closed => return End::Closed,
                Wait::Input | Wait::Replies => {}
                Wait::Elsewhere if !self.release_to_move() => {}
                Wait::Elsewhere => continue,
                Wait::Gate if self.handle.gates().number_now() != gates => continue,
                // It is not at rest yet.
                Wait::Gate if self.session.has_new_gates() && self.session.rests_at_gate() => {}
                Wait::Gate => match Box::pin(self.wait_at_gate(gates)).await {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                wait => match self.provide(wait).await {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
            }
            self.release_if_done();
            self.note_acts();
            if let Some(end) = self.obey().await {
                return end;
            }
            self.mind_room();
            self.mind_limits();
            match poll_fn(|cx| self.poll_exchange(cx)).await {
                Event::Progress => self.look = None,
                Event::Bell(order) => self.heard = order,
                Event::ClientGone(error) => return End::ClientGone(error),
                Event::ServerLost(why) => return self.server_lost(why),
                Event::Alarm => {
                    if self.rung() {
                        return End::TimedOut;
                    }
                }
            }
        }
    }

    /// Has the machine deal with the client's messages, with a server connection at hand if one is free and likely to be needed.
    fn pump(&mut self) -> Wait {
        if !self.session.may_need_server() || self.heard_check() {
            return self.session.pump();
        }
        let Some((server, link)) = self.source.try_checkout(self.session.backend(), &self.session.party()) else {
            return self.session.pump();
        };
        self.session.offer(link);
        let wait = self.session.pump();
        match self.session.not_needed() {
            None => self.acquired(server),
            Some(link) => self.source.release(server, link, Condition::Clean),
        }
        wait
    }

    /// What the session's limits in time need: a cancel request, an alarm.
    fn mind_limits(&mut self) {
        if self.session.wants_cancel() && self.cancelling.is_none() && self.server.is_some() {
            self.cancelling = Some(self.source.cancel());
        }
        let held = self.look_at_others();
        let Some(at) = self.session.deadline().into_iter().chain(held).chain(self.room_until()).min() else { return };
        match &mut self.alarm {
            Some(alarm) if alarm.deadline() <= at => {}
            Some(alarm) => alarm.as_mut().reset(at),
            None => self.alarm = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }

    /// Whether the session ends now.
    fn rung(&mut self) -> bool {
        self.alarm = None;
        self.session.overdue() == Some(Overdue::Session) || self.gives_way() || self.overstays()
    }

    /// Tells the registry whom the session acts for, if that is another now.
    fn note_acts(&mut self) {
        let (set, works) = (self.session.acting(), self.session.works_for());
        let same =
            |known: &Option<TenantName>, now: Option<&Arc<TenantContext>>| known.as_ref() == now.map(|it| &it.name);
        if same(&self.acts.set, set) && same(&self.acts.works, works) {
            return;
        }
        let name = |acting: &Arc<TenantContext>| acting.name.clone();
        self.acts = Acts { set: set.map(name), works: works.map(name) };
        self.handle.note_acts(&self.acts);
    }

    /// What the process wants, done if it is time for it.
    async fn obey(&mut self) -> Option<End> {
        match self.handle.order() {
            Order::Run => None,
            Order::Check if self.session.idle() => Box::pin(self.recheck()).await,
            Order::Drain if self.served && self.session.idle() => Some(self.told(&SessionHandle::farewell())),
            Order::Leave if self.session.idle() => Some(self.told(&SessionHandle::farewell())),
            Order::Check | Order::Drain | Order::Leave => None,
            Order::Now => Some(self.told(&SessionHandle::farewell())),
        }
    }

    /// Whether gates have changed since the session was last woken by that.
    fn gates_are_new(&mut self) -> bool {
        let number = self.session.has_new_gates().then(|| self.handle.gates().number_now());
        number.is_some_and(|number| std::mem::replace(&mut self.gates_looked_at, number) != number)
    }

    fn heard_check(&self) -> bool {
        self.handle.order() == Order::Check && self.session.between_transactions()
    }

    fn told(&mut self, error: &PgError) -> End {
        self.session.fail(error);
        End::Told(error.message.to_string())
    }

    fn server_lost(&mut self, why: String) -> End {
        let message = "server closed the connection unexpectedly";
        self.session.fail(&PgError::fatal(SqlState::CONNECTION_FAILURE, message));
        End::ServerLost(why)
    }
}

impl<S: Source> Relay<S> {
    fn release_if_done(&mut self) {
        if let Some(link) = self.session.detach_if_done() {
            self.release(link);
        }
        if self.session.idle() {
            self.session.shrink();
        }
    }

    /// Gives the server connection back because the session goes elsewhere, if all has been sent and read.
    fn release_to_move(&mut self) -> bool {
        self.session.detach_to_move().map(|link| self.release(link)).is_some()
    }

    /// Gives a server connection back that is at rest.
    fn release(&mut self, link: ServerState) {
        let condition = if link.poisoned || link.spent { Condition::Broken } else { Condition::Clean };
        if let Some(server) = self.server.take() {
            self.source.release(server, link, condition);
        }
    }

    /// The session ends: gives the server connection back in whatever condition it is.
    fn give_back(&mut self, broken: bool) {
        let Some(server) = self.server.take() else { return };
        let Some((link, clean)) = self.session.detach() else { return };
        let condition = match (broken || link.poisoned, clean) {
            (true, _) => Condition::Broken,
            (false, true) if link.spent => Condition::Broken,
            (false, true) => Condition::Clean,
            (false, false) => Condition::Abandoned,
        };
        self.source.release(server, link, condition);
    }

    /// Lets the client take what is left for it, but not for ever.
    async fn farewell(&mut self) {
        use tokio::io::AsyncWriteExt;
        let Self { client, session, .. } = self;
        let goodbye = async {
            client.write_all_buf(&mut session.client.out).await?;
            client.shutdown().await
        };
        match tokio::time::timeout(FAREWELL, goodbye).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the client did not take its last bytes"),
            Err(_) => tracing::debug!("the client did not take its last bytes in time"),
        }
    }
}
