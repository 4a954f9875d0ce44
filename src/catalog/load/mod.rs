//! Reading a catalog from its upstream: one connection, one snapshot, a handful of queries. Postgres 14 to 18.

mod assemble;
mod code;
mod mark;
mod queries;
mod row;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, Client, Connection, IsolationLevel, NoTls};

use self::mark::Looker;
pub use self::mark::Mark;
use super::known;
use super::model::Catalog;
use crate::base::{PgError, SqlState, UpstreamName};
use crate::config::Upstream;
use crate::pool::{ConnectError, ServerTarget, TargetError, UpstreamError, open_stream};
use crate::sql::quote_identifier;
use crate::wire::stream::{Keepalive, Stream};

/// For connecting, all queries and reading the answers. A catalog of 10,000 tables takes about a second.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// For one look at a catalog: milliseconds, tens of them with very many tables.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// The oldest server that the queries (and the guard's lists) are made for.
const OLDEST_SERVER: u32 = 130_000;

/// Why a catalog could not be read. For logs: it may name hosts and roles.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The upstream's TLS settings.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server refused, or broke off.
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// It took longer than it may.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Too old.
    #[error("Postgres {0} is too old: 13 is the oldest that pgwarden knows")]
    TooOld(u32),
    /// The server's answer makes no sense.
    #[error("unexpected {what} in {catalog}")]
    Unexpected {
        /// System catalog.
        catalog: &'static str,
        /// What was found.
        what: String,
    },
}

/// The server's own message, which tokio-postgres's `Display` leaves out.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}: {}", db.code().code(), db.message()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// Connects to an upstream as its own role and reads its catalog from one snapshot, or finds that an equal one is in use.
///
/// # Errors
/// As [`LoadError`] says.
pub async fn load(upstream: &Upstream) -> Result<Arc<Catalog>, LoadError> {
    load_marked(upstream).await.map(|(catalog, _)| catalog)
}

/// As [`load`], with the mark of what was read.
///
/// # Errors
/// As [`LoadError`] says.
pub async fn load_marked(upstream: &Upstream) -> Result<(Arc<Catalog>, Mark), LoadError> {
    tokio::time::timeout(LOAD_TIMEOUT, connect_and_read(upstream))
        .await
        .map_err(|_| LoadError::Timeout(LOAD_TIMEOUT))?
}

async fn connect_and_read(upstream: &Upstream) -> Result<(Arc<Catalog>, Mark), LoadError> {
    read(&mut connect(upstream).await?.client).await
}

/// The channel on which an event trigger tells of DDL, where the upstream has one.
pub const DDL_CHANNEL: &str = "pgwarden_ddl";

/// What makes a database tell of DDL at once. An event trigger is a superuser's to make, and in some managed services the
/// owner's.
pub const DDL_TRIGGER: &str = include_str!("ddl_trigger.sql");

/// Looks whether a catalog still is as it was read, over a connection of its own that stays open, and hears of DDL on it.
#[derive(Debug)]
pub struct Lookout {
    upstream: Arc<Upstream>,
    open: Option<(Listening, Looker)>,
}

impl Lookout {
    /// Connects when it is first asked.
    pub fn new(upstream: Arc<Upstream>) -> Self {
        Self { upstream, open: None }
    }

    /// Whether all is as it was at this mark. A connection that has broken meanwhile is replaced.
    ///
    /// # Errors
    /// As [`LoadError`] says.
    pub async fn is_unchanged(&mut self, since: &mut Mark) -> Result<bool, LoadError> {
        if let Some((control, looker)) = self.open.take()
            && let Ok(Ok(unchanged)) = timeout(LOOK_TIMEOUT, looker.is_unchanged(&control.client, since)).await
        {
            self.open = Some((control, looker));
            return Ok(unchanged);
        }
        let look = async {
            let control = hear(&self.upstream, "pgwarden catalog").await?;
            // One in recovery hears nothing. Looking is enough there.
            let _ = control.client.batch_execute(&listen_to(DDL_CHANNEL)).await;
            let looker = Looker::new(&control.client).await?;
            let unchanged = looker.is_unchanged(&control.client, since).await?;
            self.open = Some((control, looker));
            Ok(unchanged)
        };
        let limit = self.upstream.connect_timeout + LOOK_TIMEOUT;
        timeout(limit, look).await.map_err(|_| LoadError::Timeout(limit))?
    }

    /// Waits until something was told on the connection. Pends while there is none.
    pub async fn told(&mut self) {
        let heard = match self.open.as_mut() {
            Some((control, _)) => control.notified.recv().await,
            None => std::future::pending().await,
        };
        if heard.is_none() {
            // It has broken: the next look replaces it.
            self.open = None;
        }
    }
}

/// Connects to an upstream as its own role, for the control plane.
///
/// # Errors
/// As [`LoadError`] says.
pub async fn connect(upstream: &Upstream) -> Result<Control, LoadError> {
    connect_as(upstream, "pgwarden catalog").await
}

impl LoadError {
    /// What a client is told whose statement waits for the catalog of this upstream.
    pub fn to_client(&self, upstream: &UpstreamName) -> PgError {
        match self {
            LoadError::Connect(error) => error.to_client(upstream),
            LoadError::Timeout(_) => ConnectError::Timeout.to_client(upstream),
            LoadError::Postgres(error) => match error.as_db_error() {
                Some(db) => {
                    let code =
                        <[u8; 5]>::try_from(db.code().code().as_bytes()).map_or(SqlState::INTERNAL_ERROR, SqlState);
                    let error = UpstreamError { code, message: db.message().to_owned() };
                    ConnectError::Upstream(error).to_client(upstream)
                }
                None => ConnectError::Broken(std::io::ErrorKind::UnexpectedEof.into()).to_client(upstream),
            },
            LoadError::Target(_) | LoadError::TooOld(_) | LoadError::Unexpected { .. } => PgError::error(
                SqlState::CONNECTION_FAILURE,
                format!("the catalog of upstream \"{upstream}\" cannot be read"),
            ),
        }
    }
}

/// As [`connect`], under this `application_name`.
///
/// # Errors
/// As [`LoadError`] says.
pub async fn connect_as(upstream: &Upstream, application_name: &str) -> Result<Control, LoadError> {
    let (client, connection) = timeout(upstream.connect_timeout, open(upstream, application_name))
        .await
        .map_err(|_| LoadError::Timeout(upstream.connect_timeout))??;
    // Queries only move on while the connection is polled.
    Ok(Control { client, connection: tokio::spawn(connection) })
}

async fn open(
    upstream: &Upstream,
    application_name: &str,
) -> Result<(Client, Connection<Stream, NoTlsStream>), LoadError> {
    let target = ServerTarget::new(upstream)?;
    let stream = open_stream(&target, Keepalive::default()).await?;
    let mut config = tokio_postgres::Config::new();
    config.user(&upstream.user).dbname(&upstream.database).application_name(application_name);
    // TLS, if there is any, is on already.
    config.ssl_mode(tokio_postgres::config::SslMode::Disable);
    if let Some(password) = &upstream.password {
        config.password(password.expose());
    }
    Ok(config.connect_raw(stream, NoTls).await?)
}

/// A connection of the control plane; it ends when this is dropped.
#[derive(Debug)]
pub struct Control {
    /// Runs queries.
    pub client: Client,
    connection: JoinHandle<Result<(), tokio_postgres::Error>>,
}

impl Control {
    /// Whether it can still be used, as far as is known.
    pub fn is_open(&self) -> bool {
        !self.client.is_closed()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Why a listening connection could not be had.
pub type ListenError = LoadError;

/// A connection of the control plane that hears notifications; it ends when this is dropped.
#[derive(Debug)]
pub struct Listening {
    /// Runs queries.
    pub client: Client,
    /// One for each time that something was heard and not yet received; closed when the connection is.
    pub notified: mpsc::Receiver<()>,
    connection: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Connects to an upstream as its own role, read-only, and listens on a channel.
///
/// # Errors
/// As [`LoadError`] says.
pub async fn listen(upstream: &Upstream, channel: Option<&str>) -> Result<Listening, LoadError> {
    let listening = hear(upstream, "pgwarden tenants").await?;
    let mut sql = channel.map(listen_to).unwrap_or_default();
    sql.push_str("SET default_transaction_read_only = on; SET statement_timeout = '60s'");
    timeout(upstream.connect_timeout, listening.client.batch_execute(&sql))
        .await
        .map_err(|_| LoadError::Timeout(upstream.connect_timeout))??;
    Ok(listening)
}

fn listen_to(channel: &str) -> String {
    format!("LISTEN {}; ", quote_identifier(channel))
}

/// Connects to an upstream as its own role, for queries and notifications.
async fn hear(upstream: &Upstream, application_name: &str) -> Result<Listening, LoadError> {
    let (client, mut connection) = timeout(upstream.connect_timeout, open(upstream, application_name))
        .await
        .map_err(|_| LoadError::Timeout(upstream.connect_timeout))??;
    let (heard, notified) = mpsc::channel(1);
    let connection = tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(_) = message {
                // One that was not received yet stands for this one too.
                let _ = heard.try_send(());
            }
        }
    });
    Ok(Listening { client, notified, connection })
}

async fn read(client: &mut Client) -> Result<(Arc<Catalog>, Mark), LoadError> {
    let transaction =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let server = queries::server(&transaction).await?;
    if server.version < OLDEST_SERVER {
        return Err(LoadError::TooOld(server.version));
    }
    // From here on every name in the queries is the system's, and `format_type` qualifies all other types.
    transaction.batch_execute("SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = '30s'").await?;
    let mark = mark::mark(&transaction).await?;
    let digest = queries::digest(&transaction).await?;
    if let Some(known) = known::find(&digest, |known| server.says_the_same(known)) {
        transaction.commit().await?;
        return Ok((known, mark));
    }
    let raw = queries::Raw {
        schemas: queries::schemas(&transaction).await?,
        types: queries::types(&transaction).await?,
        relations: queries::relations(&transaction).await?,
        parents: queries::parents(&transaction).await?,
        policies: queries::policies(&transaction).await?,
        columns: queries::columns(&transaction).await?,
        functions: queries::functions(&transaction).await?,
        operators: queries::operators(&transaction).await?,
        casts: queries::casts(&transaction).await?,
        reads: code::reads(&transaction).await?,
        setters: code::setters(&transaction).await?,
        unbound_definers: code::unbound_definers(&transaction).await?,
    };
    transaction.commit().await?;
    Ok((known::keep(digest, assemble::assemble(server, raw)), mark))
}
