//! Reads the rows.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{Row, Shape, ShapeError};

/// A load may take so long.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// More rows are not taken.
const MAX_ROWS: usize = 2_000_000;

/// Why the rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The server refused the query, or the connection was lost.
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The query gives other columns.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// It takes too long.
    #[error("no answer within {LOAD_TIMEOUT:?}")]
    Timeout,
    /// It gives too much.
    #[error("the query gives more than {MAX_ROWS} rows")]
    TooMany,
}

fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}: {}", db.code().code(), db.message()),
        None => error.to_string(),
    }
}

/// All rows that `query` gives.
///
/// # Errors
/// As [`ReadError`] says.
pub async fn read(client: &Client, query: &str) -> Result<Vec<Row>, ReadError> {
    timeout(LOAD_TIMEOUT, rows(client, query)).await.map_err(|_| ReadError::Timeout)?
}

async fn rows(client: &Client, query: &str) -> Result<Vec<Row>, ReadError> {
    let mut messages = std::pin::pin!(client.simple_query_raw(query).await?);
    let mut shape = None;
    let mut rows = Vec::new();
    while let Some(message) = messages.try_next().await? {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                shape = Some(Shape::new(columns.iter().map(|column| column.name()))?);
            }
            SimpleQueryMessage::Row(row) => {
                let Some(shape) = &shape else { continue };
                if rows.len() >= MAX_ROWS {
                    return Err(ReadError::TooMany);
                }
                rows.push(shape.row(|i| row.get(i)));
                // Whoever else runs on this thread has a turn.
                if rows.len() % 1_000 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
    }
    Ok(rows)
}
