//! Connections that ask the query.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::ClientWrapper;
use futures_util::TryStreamExt as _;
use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::row::{Row, Shape, ShapeError};
use crate::config::AuthQuery;
use crate::control::{Connecting, ControlError, Lease, Pool, PoolLimits, connect};

/// After a failure nobody asks for so long: whoever comes meanwhile need not wait for the next one.
const REST: Duration = Duration::from_secs(1);

/// Relations of the query that have the tenant column, or cannot be found by their names.
const TENANTS_TABLES: &str = "SELECT n FROM unnest($1::text[]) n \
    LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(n) \
    WHERE c.oid IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_attribute a \
        WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attname OPERATOR(pg_catalog.=) $2::text \
        AND NOT a.attisdropped) LIMIT 1";

/// Why a login could not be looked up. For logs: it may name hosts and roles.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// No connection, or the server refused or broke off.
    #[error(transparent)]
    Upstream(#[from] ControlError),
    /// The query's columns are not what they should be.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// `$1` is no text.
    #[error("$1 of the query is of type {0}: it must be a text")]
    Parameter(String),
    /// Tenants could make themselves logins.
    #[error(
        "the query reads {0}, which has the tenant column and is the tenants' own: they could make logins of their own there"
    )]
    TenantsTable(String),
    /// It took longer than it may.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It failed a moment ago.
    #[error("it failed a moment ago")]
    Resting,
}

impl From<tokio_postgres::Error> for QueryError {
    fn from(error: tokio_postgres::Error) -> Self {
        QueryError::Upstream(ControlError::Postgres(error))
    }
}

/// Rows of one name.
#[derive(Debug)]
pub(super) enum Rows {
    None,
    One(Box<Row>),
    /// There is no telling which of them is meant.
    More,
}

/// The connections of one query.
pub(super) struct Links {
    pool: Pool<Asking>,
    timeout: Duration,
}

impl Links {
    pub fn new(query: &Arc<AuthQuery>) -> Self {
        let limits = PoolLimits::new(query.connections, query.timeout);
        let asking = Asking { query: Arc::clone(query), failed: Mutex::default() };
        Self { pool: Pool::new(asking, limits), timeout: query.timeout }
    }

    /// Whether the last one who asked failed.
    pub fn are_away(&self) -> bool {
        self.pool.connecting().failed.lock().is_some()
    }

    /// Asks for a name.
    pub async fn ask(&self, name: &str) -> Result<Rows, QueryError> {
        let asking = self.pool.connecting();
        asking.rest()?;
        let mut link = self.pool.get().await?;
        asking.rest()?;
        let outcome = timeout(self.timeout, self.exchange(&mut link, name)).await;
        let outcome = asking.record(outcome.unwrap_or(Err(QueryError::Timeout(self.timeout))));
        match outcome {
            Ok(Rows::None | Rows::One(_)) => link.put_back(),
            // Who knows how many there are to come.
            Ok(Rows::More) | Err(_) => {}
        }
        outcome
    }

    async fn exchange(&self, link: &mut Lease<Asking>, name: &str) -> Result<Rows, QueryError> {
        match link.ask(name).await {
            // It may have been lost unnoticed, or its statement may be of yesterday.
            Err(_) if !link.is_new() => {
                self.pool.renew(link).await?;
                link.ask(name).await
            }
            outcome => outcome,
        }
    }
}

/// Makes connections for the query, unless it failed a moment ago.
struct Asking {
    query: Arc<AuthQuery>,
    failed: Mutex<Option<Instant>>,
}

impl Asking {
    fn rest(&self) -> Result<(), QueryError> {
        match *self.failed.lock() {
            Some(at) if at.elapsed() < REST => Err(QueryError::Resting),
            Some(_) | None => Ok(()),
        }
    }

    /// What came of asking: a failure makes all rest.
    fn record<T>(&self, outcome: Result<T, QueryError>) -> Result<T, QueryError> {
        match &outcome {
            Ok(_) => *self.failed.lock() = None,
            // It was not asked.
            Err(QueryError::Resting) => {}
            Err(_) => *self.failed.lock() = Some(Instant::now()),
        }
        outcome
    }
}

impl Connecting for Asking {
    type Connection = Link;
    type Error = QueryError;

    async fn connect(&self) -> Result<Link, QueryError> {
        self.rest()?;
        let limit = self.query.timeout;
        let outcome = timeout(limit, Link::open(&self.query)).await.unwrap_or(Err(QueryError::Timeout(limit)));
        // Before the next one in the line has the place.
        if outcome.is_err() { self.record(outcome) } else { outcome }
    }
}

/// A connection with the query prepared.
pub(super) struct Link {
    client: ClientWrapper,
    statement: Statement,
    shape: Shape,
}

impl Borrow<ClientWrapper> for Link {
    fn borrow(&self) -> &ClientWrapper {
        &self.client
    }
}

impl Link {
    /// Connects, and looks whether the query can be used.
    pub async fn open(query: &AuthQuery) -> Result<Self, QueryError> {
        let client = connect(&query.upstream, "pgwarden logins").await?;
        let timeout = query.timeout.as_millis();
        client
            .batch_execute(&format!("SET default_transaction_read_only = on; SET statement_timeout = {timeout}"))
            .await?;
        let statement = client.prepare(&query.query).await?;
        if let Some(other) = statement.params().iter().find(|found| !<&str as ToSql>::accepts(found)) {
            return Err(QueryError::Parameter(other.to_string()));
        }
        let columns = statement.columns().iter().map(|column| (column.name(), column.type_()));
        let shape = Shape::new(columns, query.tenants.is_some())?;
        if let Some(column) = &query.tenant_column
            && let Some(row) = client.query_opt(TENANTS_TABLES, &[&query.relations, column]).await?
        {
            return Err(QueryError::TenantsTable(row.try_get(0)?));
        }
        Ok(Self { client, statement, shape })
    }

    async fn ask(&self, name: &str) -> Result<Rows, QueryError> {
        let rows = self.client.query_raw(&self.statement, [name]).await?;
        let mut rows = std::pin::pin!(rows);
        let Some(row) = rows.try_next().await? else { return Ok(Rows::None) };
        if rows.try_next().await?.is_some() {
            return Ok(Rows::More);
        }
        Ok(Rows::One(Box::new(self.shape.read(&row)?)))
    }
}
