//! Connections that ask the query.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::row::{Row, Shape, ShapeError};
use crate::config::AuthQuery;
use crate::control::{Control, ControlError, connect};

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
    idle: Mutex<Vec<Link>>,
    places: Semaphore,
    failed: Mutex<Option<Instant>>,
}

impl Links {
    pub fn new(query: &AuthQuery) -> Self {
        Self { idle: Mutex::default(), places: Semaphore::new(query.connections), failed: Mutex::default() }
    }

    /// Whether the last one who asked failed.
    pub fn are_away(&self) -> bool {
        self.failed.lock().is_some()
    }

    /// Asks for a name.
    pub async fn ask(&self, query: &AuthQuery, name: &str) -> Result<Rows, QueryError> {
        self.rest()?;
        // Never closed.
        let _place = self.places.acquire().await;
        self.rest()?;
        let outcome = timeout(query.timeout, self.exchange(query, name)).await;
        let outcome = outcome.unwrap_or(Err(QueryError::Timeout(query.timeout)));
        *self.failed.lock() = outcome.is_err().then(Instant::now);
        outcome
    }

    fn rest(&self) -> Result<(), QueryError> {
        match *self.failed.lock() {
            Some(at) if at.elapsed() < REST => Err(QueryError::Resting),
            Some(_) | None => Ok(()),
        }
    }

    async fn exchange(&self, query: &AuthQuery, name: &str) -> Result<Rows, QueryError> {
        let idle = self.idle.lock().pop();
        if let Some(link) = idle.filter(|link| link.control.is_open()) {
            // It may have been lost unnoticed, or its statement may be of yesterday.
            if let Ok(rows) = link.ask(name).await {
                self.put_back(link, &rows);
                return Ok(rows);
            }
        }
        let link = Link::open(query).await?;
        let rows = link.ask(name).await?;
        self.put_back(link, &rows);
        Ok(rows)
    }

    fn put_back(&self, link: Link, rows: &Rows) {
        match rows {
            Rows::None | Rows::One(_) => self.idle.lock().push(link),
            // Who knows how many there are to come.
            Rows::More => {}
        }
    }
}

/// A connection with the query prepared.
pub(super) struct Link {
    control: Control,
    statement: Statement,
    shape: Shape,
}

impl Link {
    /// Connects, and looks whether the query can be used.
    pub async fn open(query: &AuthQuery) -> Result<Self, QueryError> {
        let control = connect(&query.upstream, "pgwarden logins").await?;
        let client = &control.client;
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
        Ok(Self { control, statement, shape })
    }

    async fn ask(&self, name: &str) -> Result<Rows, QueryError> {
        let rows = self.control.client.query_raw(&self.statement, [name]).await?;
        let mut rows = std::pin::pin!(rows);
        let Some(row) = rows.try_next().await? else { return Ok(Rows::None) };
        if rows.try_next().await?.is_some() {
            return Ok(Rows::More);
        }
        Ok(Rows::One(Box::new(self.shape.read(&row)?)))
    }
}
