//! Clients of the console: greeted here, served by whoever holds the console.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::registry::SessionHandle;
use crate::base::PgError;
use crate::config::Login;
use crate::pool::ClientKey;
use crate::wire::backend::TransactionStatus;
use crate::wire::conn::{Conn, ConnError};
use crate::wire::encode::backend;

/// A client of the console.
pub struct ConsoleSession {
    /// Its connection.
    pub conn: Conn,
    /// Who it is.
    pub login: Arc<Login>,
    /// Its place in the registry: when to stop.
    pub handle: Arc<SessionHandle>,
}

/// Serves clients of the console.
pub trait ConsoleHost: Send + Sync {
    /// Serves a greeted client until it leaves or is told to go.
    fn serve(&self, session: ConsoleSession) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// What drivers want to know of a server before they speak to it.
const PARAMETERS: [(&str, &str); 7] = [
    ("server_version", concat!("15.0 (pgwarden ", env!("CARGO_PKG_VERSION"), ")")),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
];

/// AuthenticationOk, ParameterStatus, BackendKeyData, a warning if there is one, ReadyForQuery.
pub(super) async fn greet(conn: &mut Conn, key: &ClientKey, warning: Option<&PgError>) -> Result<(), ConnError> {
    let out = &mut conn.outbox;
    backend::authentication_ok(out);
    for (name, value) in PARAMETERS {
        backend::parameter_status(out, name, value)?;
    }
    backend::backend_key_data(out, key.process_id(), key.secret())?;
    if let Some(warning) = warning {
        backend::notice_response(out, "WARNING", warning);
    }
    backend::ready_for_query(out, TransactionStatus::Idle);
    Ok(conn.flush().await?)
}
