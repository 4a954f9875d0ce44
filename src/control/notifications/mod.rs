//! Notifications of one database for any number of sessions: one connection of the control plane listens for all of them.
//!
//! A channel is in force before whoever asked for it is told so: nothing that is notified from then on is missed. When the
//! connection is lost, what is notified meanwhile is lost with it, as on any connection; so those that listened are told, and
//! ask again.

mod inbox;
mod listener;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use deadpool_postgres::ClientWrapper;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Notification};

use self::inbox::{Inbox, Over};
pub use self::listener::{Joining, Listener};
use super::connection::open;
use super::error::ControlError;
use crate::base::{PgError, Severity, SqlState};
use crate::config::Upstream;
use crate::sql::quote_identifier;

/// A connection that nobody listens on is kept for so long.
const LINGER: Duration = Duration::from_secs(60);
/// Whether the connection still lives is looked at so often.
const CHECK: Duration = Duration::from_secs(30);
/// LISTENs and UNLISTENs that are sent at once.
const AT_ONCE: usize = 500;

/// Who listens to a database's channels.
#[derive(Debug)]
pub struct Notifications {
    upstream: ArcSwap<Upstream>,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    channels: HashMap<Arc<str>, Channel>,
    /// A task has the connection, or makes one.
    runs: bool,
    /// The connection is for another place than the sessions are by now.
    moved: bool,
}

#[derive(Debug, Default)]
struct Channel {
    /// The server has confirmed LISTEN.
    in_force: bool,
    inboxes: Vec<Arc<Inbox>>,
    waiting: Vec<oneshot::Sender<Result<(), PgError>>>,
}

impl Notifications {
    /// Of this database; nobody listens yet.
    pub fn new(upstream: Arc<Upstream>) -> Arc<Self> {
        Arc::new(Self { upstream: ArcSwap::new(upstream), state: Mutex::default(), wake: Notify::new() })
    }

    /// The configuration says otherwise how it is reached. If that is `elsewhere`, those that listen hear nothing more.
    pub fn reload(&self, upstream: Arc<Upstream>, elsewhere: bool) {
        self.upstream.store(upstream);
        if elsewhere {
            self.state.lock().moved = true;
            self.wake.notify_one();
        }
    }

    /// A session's own ear.
    pub fn listener(self: &Arc<Self>) -> Listener {
        Listener::new(self)
    }

    /// Has the task look what is to be done; there is one from now on.
    fn rouse(self: &Arc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.runs, true) {
            state.moved = false;
            tokio::spawn(Arc::clone(self).run());
        }
        self.wake.notify_one();
    }

    async fn run(self: Arc<Self>) {
        let upstream = self.upstream.load_full();
        let outcome = match self.connect(&upstream).await {
            Ok(client) => self.serve(&client, &upstream).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(upstream = %upstream.name, database = %upstream.database, %error, "notifications are not heard any more");
            self.lose(&refusal(&error));
        }
    }

    async fn connect(self: &Arc<Self>, upstream: &Upstream) -> Result<ClientWrapper, ControlError> {
        let (client, mut connection) = open(upstream, "pgwarden notifications").await?;
        let heard = Arc::downgrade(self);
        let connection = tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                if let (AsyncMessage::Notification(notification), Some(heard)) = (message, heard.upgrade()) {
                    heard.pass_on(notification);
                }
            }
            if let Some(heard) = heard.upgrade() {
                heard.wake.notify_one();
            }
        });
        Ok(ClientWrapper::new(client, connection))
    }

    /// Listens as sessions want, until nobody has wanted anything for a while.
    async fn serve(&self, client: &ClientWrapper, upstream: &Upstream) -> Result<(), ControlError> {
        let run = async |sql: &str| match timeout(upstream.connect_timeout, client.batch_execute(sql)).await {
            Ok(outcome) => outcome.map_err(ControlError::from),
            Err(_) => Err(ControlError::Timeout(upstream.connect_timeout)),
        };
        run("SET default_transaction_read_only = on").await?;
        loop {
            let changes = self.changes();
            if !changes.is_empty() {
                run(&changes.sql()).await?;
                self.confirm(&changes);
                continue;
            }
            let (wanted, moved) = {
                let state = self.state.lock();
                (!state.channels.is_empty(), state.moved)
            };
            if client.is_closed() || moved {
                return Err(ControlError::Lost);
            }
            let roused = timeout(if wanted { CHECK } else { LINGER }, self.wake.notified()).await.is_ok();
            if roused {
                continue;
            }
            if !wanted && self.rests() {
                return Ok(());
            }
            run("").await?;
        }
    }

    /// Whether still nobody wants anything: then the task ends.
    fn rests(&self) -> bool {
        let mut state = self.state.lock();
        state.runs = !state.channels.is_empty();
        !state.runs
    }

    fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        for (name, channel) in &mut self.state.lock().channels {
            if changes.start.len() + changes.stop.len() == AT_ONCE {
                break;
            }
            match (channel.in_force, channel.inboxes.is_empty()) {
                (false, false) => changes.start.push(Arc::clone(name)),
                (true, true) => {
                    // Who comes meanwhile must wait for the next LISTEN.
                    channel.in_force = false;
                    changes.stop.push(Arc::clone(name));
                }
                (true, false) => {}
                // Nobody is left who wanted it.
                (false, true) => changes.stop.push(Arc::clone(name)),
            }
        }
        changes
    }

    fn confirm(&self, changes: &Changes) {
        let mut state = self.state.lock();
        for name in &changes.start {
            if let Some(channel) = state.channels.get_mut(name) {
                channel.in_force = true;
                for waiting in channel.waiting.drain(..) {
                    let _ = waiting.send(Ok(()));
                }
            }
        }
        for name in &changes.stop {
            if state.channels.get(name).is_some_and(|channel| channel.inboxes.is_empty()) {
                state.channels.remove(name);
            }
        }
    }

    fn pass_on(&self, notification: Notification) {
        let notification = Arc::new(notification);
        let state = self.state.lock();
        for inbox in state.channels.get(notification.channel()).into_iter().flat_map(|channel| &channel.inboxes) {
            inbox.put(&notification);
        }
    }

    /// Nothing is heard any more.
    fn lose(&self, error: &PgError) {
        let mut state = self.state.lock();
        state.runs = false;
        for (_, channel) in state.channels.drain() {
            for waiting in channel.waiting {
                let _ = waiting.send(Err(error.clone()));
            }
            for inbox in channel.inboxes.iter().filter(|_| channel.in_force) {
                inbox.end(Over::Lost);
            }
        }
    }
}

/// What is to be told to the server.
#[derive(Debug, Default)]
struct Changes {
    start: Vec<Arc<str>>,
    stop: Vec<Arc<str>>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.start.is_empty() && self.stop.is_empty()
    }

    fn sql(&self) -> String {
        let each = |verb: &str, names: &[Arc<str>]| -> String {
            names.iter().map(|name| format!("{verb} {}; ", quote_identifier(name))).collect()
        };
        each("UNLISTEN", &self.stop) + &each("LISTEN", &self.start)
    }
}

fn refusal(error: &ControlError) -> PgError {
    match error {
        ControlError::Postgres(error) => error.as_db_error().map_or_else(unheard, |db| {
            let code = <[u8; 5]>::try_from(db.code().code().as_bytes()).map_or(SqlState::INTERNAL_ERROR, SqlState);
            PgError { severity: Severity::Error, ..PgError::error(code, db.message().to_owned()) }
        }),
        ControlError::Target(_)
        | ControlError::Connect(_)
        | ControlError::Timeout(_)
        | ControlError::Lost
        | ControlError::Busy(_) => unheard(),
    }
}

fn unheard() -> PgError {
    PgError::error(SqlState::CONNECTION_FAILURE, "the server could not be listened to")
}
