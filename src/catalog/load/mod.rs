//! Reading a catalog from its upstream: one connection, one snapshot, a handful of queries. Postgres 14 to 18.

mod assemble;
mod code;
mod mark;
mod queries;
mod row;
mod views;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, IsolationLevel};

use self::mark::Looker;
pub use self::mark::Mark;
use super::known;
use super::model::Catalog;
use crate::base::{PgError, SqlState, UpstreamName};
use crate::config::Upstream;
use crate::control::{ControlError, Listening, connect, hear, listen_to};

/// For connecting, all queries and reading the answers. A catalog of 10,000 tables takes about a second.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// For one look at a catalog: milliseconds, tens of them with very many tables.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// The oldest server that the queries (and the guard's lists) are made for.
const OLDEST_SERVER: u32 = 130_000;

/// Why a catalog could not be read. For logs: it may name hosts and roles.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The upstream could not be asked.
    #[error(transparent)]
    Control(#[from] ControlError),
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
        .map_err(|_| ControlError::Timeout(LOAD_TIMEOUT))?
}

async fn connect_and_read(upstream: &Upstream) -> Result<(Arc<Catalog>, Mark), LoadError> {
    // Always a new one: what roles and databases set, as search_path, holds for sessions that begin after it, and what such a
    // session sees is what is read here. One that is kept would go on with what was set when it began.
    let mut client = connect(upstream, "pgwarden catalog").await?;
    read(&mut client).await
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
        timeout(limit, look).await.map_err(|_| ControlError::Timeout(limit))?
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

impl From<tokio_postgres::Error> for LoadError {
    fn from(error: tokio_postgres::Error) -> Self {
        ControlError::from(error).into()
    }
}

impl LoadError {
    /// What a client is told whose statement waits for the catalog of this upstream.
    pub fn to_client(&self, upstream: &UpstreamName) -> PgError {
        let told = match self {
            LoadError::Control(error) => error.to_client(upstream),
            LoadError::TooOld(_) | LoadError::Unexpected { .. } => None,
        };
        told.unwrap_or_else(|| {
            let message = format!("the catalog of upstream \"{upstream}\" cannot be read");
            PgError::error(SqlState::CONNECTION_FAILURE, message)
        })
    }
}

async fn read(client: &mut Client) -> Result<(Arc<Catalog>, Mark), LoadError> {
    let transaction =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let server = queries::server(&transaction).await?;
    if server.version < OLDEST_SERVER {
        return Err(LoadError::TooOld(server.version));
    }
    // From here on every name in the queries is the system's, and `format_type` qualifies all other types. Constants in what is
    // printed are read the same in every session, as pg_dump sees to it.
    transaction
        .batch_execute(
            "SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = '30s'; SET LOCAL datestyle = ISO; \
             SET LOCAL intervalstyle = postgres; SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = hex",
        )
        .await?;
    let mark = mark::mark(&transaction).await?;
    let digest = queries::digest(&transaction).await?;
    if let Some(known) = known::find(&digest, |known| server.says_the_same(known)) {
        transaction.commit().await?;
        return Ok((known, mark));
    }
    let views = views::load(&transaction).await?;
    let raw = queries::Raw {
        schemas: queries::schemas(&transaction).await?,
        creators: code::pairs(&transaction, code::CREATORS).await?,
        memberships: code::pairs(&transaction, code::MEMBERSHIPS).await?,
        types: queries::types(&transaction).await?,
        relations: queries::relations(&transaction).await?,
        parents: queries::parents(&transaction).await?,
        foreign_keys: queries::foreign_keys(&transaction).await?,
        unique_keys: queries::unique_keys(&transaction).await?,
        policies: queries::policies(&transaction).await?,
        columns: queries::columns(&transaction).await?,
        functions: queries::functions(&transaction).await?,
        operators: queries::operators(&transaction).await?,
        casts: queries::casts(&transaction).await?,
        reads: code::reads(&transaction).await?,
        calls: code::calls(&transaction).await?,
        views: views.readable,
        setters: code::setters(&transaction).await?,
        unbound_definers: code::unbound_definers(&transaction).await?,
        setting_readers: code::setting_readers(&transaction).await?,
        modules: code::modules(&transaction).await?,
        code_words: code::code_words(&transaction).await?,
        temporary_makers: code::temporary_makers(&transaction).await?,
    };
    transaction.commit().await?;
    let catalog = assemble::assemble(server, raw);
    if views.locked {
        return Ok((Arc::new(catalog), Mark::passed()));
    }
    Ok((known::keep(digest, catalog), mark))
}
