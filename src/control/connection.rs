//! One connection of the control plane.

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Client, Connection, NoTls};

use super::error::ControlError;
use crate::config::Upstream;
use crate::connect::{ServerTarget, open_stream};
use crate::wire::stream::{Keepalive, Stream};

/// Connects to an upstream as its own role, under this `application_name`.
///
/// # Errors
/// As [`ControlError`] says.
pub async fn connect(upstream: &Upstream, application_name: &str) -> Result<Control, ControlError> {
    let (client, connection) = timeout(upstream.connect_timeout, open(upstream, application_name))
        .await
        .map_err(|_| ControlError::Timeout(upstream.connect_timeout))??;
    // Queries only move on while the connection is polled.
    Ok(Control { client, connection: tokio::spawn(connection) })
}

pub(super) async fn open(
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
