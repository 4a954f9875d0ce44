//! Connections that hear notifications.

use deadpool_postgres::ClientWrapper;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::AsyncMessage;

use super::connection::open;
use super::error::ControlError;
use crate::config::Upstream;
use crate::sql::quote_identifier;

/// A connection of the control plane that hears notifications; it ends when this is dropped.
#[derive(Debug)]
pub struct Listening {
    /// Runs queries.
    pub client: ClientWrapper,
    /// One for each time that something was heard and not yet received; closed when the connection is.
    pub notified: mpsc::Receiver<()>,
}

/// Connects to an upstream as its own role, read-only, and listens on a channel.
///
/// # Errors
/// As [`ControlError`] says.
pub async fn listen(upstream: &Upstream, channel: Option<&str>) -> Result<Listening, ControlError> {
    let listening = hear(upstream, "pgwarden tenants").await?;
    let mut sql = channel.map(listen_to).unwrap_or_default();
    sql.push_str("SET default_transaction_read_only = on; SET statement_timeout = '60s'");
    timeout(upstream.connect_timeout, listening.client.batch_execute(&sql))
        .await
        .map_err(|_| ControlError::Timeout(upstream.connect_timeout))??;
    Ok(listening)
}

/// The statement that listens on a channel, and a semicolon.
pub fn listen_to(channel: &str) -> String {
    format!("LISTEN {}; ", quote_identifier(channel))
}

/// Connects to an upstream as its own role, for queries and notifications.
///
/// # Errors
/// As [`ControlError`] says.
pub async fn hear(upstream: &Upstream, application_name: &str) -> Result<Listening, ControlError> {
    let (client, mut connection) = open(upstream, application_name).await?;
    let (heard, notified) = mpsc::channel(1);
    let connection = tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(_) = message {
                // One that was not received yet stands for this one too.
                let _ = heard.try_send(());
            }
        }
    });
    Ok(Listening { client: ClientWrapper::new(client, connection), notified })
}
