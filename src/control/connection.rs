//! One connection of the control plane.

use deadpool_postgres::ClientWrapper;
use tokio::time::timeout;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{CancelToken, Client, Connection, NoTls};

use super::error::ControlError;
use crate::config::Upstream;
use crate::connect::{ServerTarget, open_stream};
use crate::wire::stream::{Keepalive, Stream};

/// Connects to an upstream as its own role, under this `application_name`. The connection ends when what is returned is
/// dropped.
///
/// # Errors
/// As [`ControlError`] says.
pub async fn connect(upstream: &Upstream, application_name: &str) -> Result<ClientWrapper, ControlError> {
    let (client, connection) = open(upstream, application_name).await?;
    // Queries only move on while the connection is polled. Its error shows in the client's next call.
    Ok(ClientWrapper::new(client, tokio::spawn(async move { drop(connection.await) })))
}

/// Connects; what is returned second must be polled.
pub(super) async fn open(
    upstream: &Upstream,
    application_name: &str,
) -> Result<(Client, Connection<Stream, NoTlsStream>), ControlError> {
    timeout(upstream.connect_timeout, dial(upstream, application_name))
        .await
        .map_err(|_| ControlError::Timeout(upstream.connect_timeout))?
}

/// Asks the server to cancel what a connection to this upstream is doing.
///
/// # Errors
/// As [`ControlError`] says. Whether anything was cancelled is not told.
pub async fn cancel(upstream: &Upstream, token: &CancelToken) -> Result<(), ControlError> {
    let cancelled = async {
        let stream = open_stream(&ServerTarget::new(upstream)?, Keepalive::default()).await?;
        // TLS, if there is any, is on already.
        Ok(token.cancel_query_raw(stream, NoTls).await?)
    };
    timeout(upstream.connect_timeout, cancelled).await.map_err(|_| ControlError::Timeout(upstream.connect_timeout))?
}

async fn dial(
    upstream: &Upstream,
    application_name: &str,
) -> Result<(Client, Connection<Stream, NoTlsStream>), ControlError> {
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
