//! What happens to a connection between two clients: reset, late words of the upstream, cancelling what was left running.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use super::Connector;
use super::cancel::CANCEL_TIMEOUT;
use super::inner::Inner;
use super::sequences::SequenceMemory;
use super::server::Server;
use super::socket::Probe;
use crate::connect::ConnectError;
use crate::wire::backend::{ParameterStatus, Report, TransactionStatus, code};
use crate::wire::encode::frontend;
use crate::wire::frame::UpstreamLimits;

/// A reset may take so long; then the connection is closed.
const RESET_TIMEOUT: Duration = Duration::from_secs(10);
/// What still runs when a connection is closed may take so long to end; then the connection is dropped as it is.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses between the cancel requests of a connection that is being closed: twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// What an idle connection has begun to say must be complete within this time.
const LISTEN_TIMEOUT: Duration = Duration::from_millis(100);

/// A connection that cannot be reused: closes it. What still runs on it is cancelled first, since Postgres notices a closed
/// connection only when it next writes to it.
pub(super) fn discard(inner: &Arc<Inner>, mut server: Server) {
    if server.is_poisoned() || server.pending == 0 {
        drop(server);
        return;
    }
    let connector = Arc::clone(&inner.shared.connector);
    inner.shared.runtime.spawn(async move {
        if tokio::time::timeout(END_TIMEOUT, end(&mut server, connector.as_ref())).await.is_err() {
            warn!(server = server.id(), pid = server.process_id(), "a statement goes on although it was cancelled");
        }
    });
}

/// Says that nothing more will come, and sends cancel requests until the upstream has closed the connection. One request is
/// not enough: it may reach a backend that has not read its statement yet, and ignores it; or several statements were sent,
/// of which it ends one.
async fn end(server: &mut Server, connector: &dyn Connector) {
    let mut pause = FIRST_PAUSE;
    loop {
        server.cancel_target().shot().send(connector).await;
        // Waits where the upstream reads nothing; what it says must be read all the same, or it never will.
        let _ = tokio::time::timeout(FIRST_PAUSE, server.conn.close()).await;
        if tokio::time::timeout(pause, closed(server)).await.is_ok() {
            return;
        }
        pause = LAST_PAUSE.min(pause * 2);
    }
}

/// Drops what the upstream says until it closes the connection.
async fn closed(server: &mut Server) {
    while server.conn.fill().await.is_ok() {
        server.conn.inbox.clear();
    }
}

/// Waits for cancel requests on their way, resets the connection if it needs it, and gives it to the next client.
pub(super) fn reset_then_give(inner: &Arc<Inner>, mut server: Server) {
    let owner = Arc::clone(inner);
    inner.shared.runtime.spawn(async move {
        if tokio::time::timeout(CANCEL_TIMEOUT, server.cancel_target().wait_idle()).await.is_err() {
            return;
        }
        if server.needs_reset() {
            match tokio::time::timeout(RESET_TIMEOUT, reset(&mut server)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    debug!(pool = %owner.key, server = server.id(), %error, "reset failed, closing");
                    server.poison();
                }
                Err(_) => server.poison(),
            }
        }
        if server.is_clean() && !server.needs_reset() {
            owner.take_back(server);
        }
    });
}

/// Hears what an idle connection has to say, then gives it to the next client.
pub(super) fn listen_then_give(inner: &Arc<Inner>, mut server: Server) {
    let owner = Arc::clone(inner);
    inner.shared.runtime.spawn(async move {
        if listen(&mut server).await.is_ok() {
            owner.give(server);
        }
    });
}

/// `DISCARD ALL`: settings return to those of the startup packet; prepared statements, cursors, temporary tables, advisory
/// locks and LISTENs go.
async fn reset(server: &mut Server) -> Result<(), ConnectError> {
    frontend::query(&mut server.conn.outbox, "DISCARD ALL")?;
    server.conn.flush().await.map_err(ConnectError::Broken)?;
    loop {
        let frame = server.conn.next_frame(&UpstreamLimits).await?;
        match frame.tag() {
            b'Z' => {
                let status = TransactionStatus::read(frame.body())?;
                if status != TransactionStatus::Idle {
                    return Err(ConnectError::Protocol("still in a transaction after DISCARD ALL".to_owned()));
                }
                if let Some(known) = server.known.as_mut() {
                    known.applied.clear();
                    known.prepared.clear();
                    known.sequences = SequenceMemory::Empty;
                    known.needs_reset = false;
                }
                server.counters.resets += 1;
                return Ok(());
            }
            b'E' => return Err(refusal(frame.body())),
            b'C' | b'N' | b'A' => {}
            b'S' => note_parameter(server, frame.body())?,
            other => return Err(unexpected(other)),
        }
    }
}

/// Reads what came while the connection was idle. ParameterStatus (the server's configuration was reloaded) and notices are
/// harmless; anything else, above all a FATAL, ends the connection.
pub(super) async fn listen(server: &mut Server) -> Result<(), ConnectError> {
    let outcome = tokio::time::timeout(LISTEN_TIMEOUT, hear(server)).await.unwrap_or(Err(ConnectError::Timeout));
    if outcome.is_err() {
        server.poison();
    }
    outcome
}

async fn hear(server: &mut Server) -> Result<(), ConnectError> {
    loop {
        let frame = server.conn.next_frame(&UpstreamLimits).await?;
        match frame.tag() {
            b'S' => note_parameter(server, frame.body())?,
            b'N' => {}
            b'E' => return Err(refusal(frame.body())),
            other => return Err(unexpected(other)),
        }
        if server.conn.inbox.is_empty() && server.probe() == Probe::Quiet {
            return Ok(());
        }
    }
}

fn note_parameter(server: &mut Server, body: &[u8]) -> Result<(), ConnectError> {
    let status = ParameterStatus::read(body)?;
    if let Some(known) = server.known.as_mut() {
        known.parameters.insert(status.name.to_owned(), status.value.to_owned());
    }
    Ok(())
}

/// The error that an ErrorResponse of the upstream stands for.
fn refusal(body: &[u8]) -> ConnectError {
    match Report::read(body) {
        Ok(report) => ConnectError::Upstream(crate::connect::UpstreamError {
            code: report.sqlstate().unwrap_or(crate::base::SqlState::INTERNAL_ERROR),
            message: report.log_text(code::MESSAGE).into_owned(),
        }),
        Err(error) => error.into(),
    }
}

/// A message that must not come now.
fn unexpected(tag: u8) -> ConnectError {
    ConnectError::Protocol(format!("message {:?} was not expected", char::from(tag)))
}
