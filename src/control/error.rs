//! Why the control plane could not do something: for logs and operators, and a side for clients that wait for it.

use std::time::Duration;

use crate::base::{PgError, SqlState, UpstreamName};
use crate::connect::{ConnectError, TargetError, UpstreamError};

/// Why an upstream could not be asked. For logs: it may name hosts and roles.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
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
    /// The connection was closed.
    #[error("the connection was lost")]
    Lost,
    /// All connections of a pool were in use for as long as one may be waited for.
    #[error("no connection became free within {0:?}")]
    Busy(Duration),
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

impl ControlError {
    /// What a client is told that waits for this upstream; `None` for what concerns the operator alone.
    pub fn to_client(&self, upstream: &UpstreamName) -> Option<PgError> {
        Some(match self {
            ControlError::Connect(error) => error.to_client(upstream),
            ControlError::Timeout(_) | ControlError::Busy(_) => ConnectError::Timeout.to_client(upstream),
            ControlError::Postgres(error) => match error.as_db_error() {
                Some(db) => {
                    let code =
                        <[u8; 5]>::try_from(db.code().code().as_bytes()).map_or(SqlState::INTERNAL_ERROR, SqlState);
                    let error = UpstreamError { code, message: db.message().to_owned() };
                    ConnectError::Upstream(error).to_client(upstream)
                }
                None => lost(upstream),
            },
            ControlError::Lost => lost(upstream),
            ControlError::Target(_) => return None,
        })
    }
}

fn lost(upstream: &UpstreamName) -> PgError {
    ConnectError::Broken(std::io::ErrorKind::UnexpectedEof.into()).to_client(upstream)
}
