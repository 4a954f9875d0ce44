//! What a client is told when it is in: the settings of the server that reports them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::LoginError;
use super::opening::Opening;
use crate::base::{PgError, SqlState};
use crate::pool::Server;
use crate::session::relay::{Condition, Source};
use crate::session::shared_state::SharedState;
use crate::session::upstream::{PoolSource, Upstream};
use crate::wire::backend::{ParameterStatus, Report, TransactionStatus, code};
use crate::wire::conn::{Conn, ConnError};
use crate::wire::encode::{backend, frontend};
use crate::wire::frame::UpstreamLimits;

/// AuthenticationOk (behind what the exchange left to be said), ParameterStatus, BackendKeyData, ReadyForQuery.
pub(super) async fn greet(
    conn: &mut Conn,
    reported: &BTreeMap<String, String>,
    source: &PoolSource,
) -> Result<(), LoginError> {
    let out = &mut conn.outbox;
    backend::authentication_ok(out);
    for (name, value) in reported {
        backend::parameter_status(out, name, value).map_err(ConnError::from)?;
    }
    backend::backend_key_data(out, source.key().process_id(), source.key().secret()).map_err(ConnError::from)?;
    backend::ready_for_query(out, TransactionStatus::Idle);
    Ok(conn.flush().await?)
}

/// What a server reports once it has the session's settings. Remembered, so that most clients are greeted without one.
pub(super) async fn reported_settings(
    shared: &SharedState,
    upstream: &Upstream,
    opening: &Opening,
    source: &mut PoolSource,
) -> Result<Arc<BTreeMap<String, String>>, PgError> {
    // Its value is what is reported, whatever the server: it need not be asked for.
    let (own, asked): (Vec<_>, Vec<_>) =
        opening.startup.clone().into_iter().partition(|(name, value)| name == "application_name" && is_plain(value));
    let decisive = opening
        .sealed
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "role" | "search_path" | "default_transaction_read_only"));
    let decisive = decisive.map(|(name, value)| (name.clone(), value.clone()));
    let (pool, generation) = (upstream.pool.key(), upstream.pool.generation());
    let key = (pool.clone(), generation, asked.into_iter().chain(decisive).collect::<Vec<_>>());
    let own_key = (pool.clone(), generation, own.iter().chain(&key.2).cloned().collect::<Vec<_>>());
    if let Some(reported) = shared.greetings.get(&own_key) {
        return Ok(reported);
    }
    let reported = match shared.greetings.get(&key) {
        Some(reported) => reported,
        None => {
            let reported = Arc::new(ask_server(opening, source).await?);
            shared.greetings.insert(key, Arc::clone(&reported));
            reported
        }
    };
    if own.is_empty() {
        return Ok(reported);
    }
    let mut reported = BTreeMap::clone(&reported);
    reported.extend(own);
    let reported = Arc::new(reported);
    shared.greetings.insert(own_key, Arc::clone(&reported));
    Ok(reported)
}

/// Postgres replaces other bytes and cuts at 63.
pub(super) fn is_plain(name: &str) -> bool {
    name.len() < 64 && name.bytes().all(|byte| (32..127).contains(&byte))
}

async fn ask_server(opening: &Opening, source: &mut PoolSource) -> Result<BTreeMap<String, String>, PgError> {
    let (mut server, mut link) = source.checkout(Arc::clone(&opening.place), None).await?;
    let outcome = match opening.settings().difference(&mut link.known.applied) {
        None => Ok(()),
        Some(difference) => apply(&mut server, &mut link.known.parameters, &difference.sql).await.map(|()| {
            difference.changes.into_iter().for_each(|(name, value)| link.known.applied.set(name, value));
        }),
    };
    let reported = link.known.parameters.clone();
    let condition = match &outcome {
        Ok(()) => Condition::Clean,
        // The settings may hold in part.
        Err(_) => Condition::Broken,
    };
    source.release(server, link, condition);
    outcome.map(|()| reported)
}

/// Runs a Query of ours to its end.
async fn apply(server: &mut Server, parameters: &mut BTreeMap<String, String>, sql: &str) -> Result<(), PgError> {
    let lost =
        |error: ConnError| PgError::fatal(SqlState::CONNECTION_FAILURE, format!("server connection lost: {error}"));
    frontend::query(&mut server.conn.outbox, sql).map_err(|error| error.to_pg())?;
    server.conn.flush().await.map_err(|error| lost(error.into()))?;
    let mut failure = None;
    loop {
        let frame = server.conn.next_frame(&UpstreamLimits).await.map_err(lost)?;
        match frame.tag() {
            b'S' => {
                let status = ParameterStatus::read(frame.body()).map_err(|error| lost(error.into()))?;
                parameters.insert(status.name.to_owned(), status.value.to_owned());
            }
            b'E' => failure = Some(told(frame.body())),
            b'Z' => {
                let status = TransactionStatus::read(frame.body()).map_err(|error| lost(error.into()))?;
                return match failure {
                    Some(failure) => Err(failure),
                    None if status == TransactionStatus::Idle => Ok(()),
                    None => {
                        Err(PgError::fatal(SqlState::INTERNAL_ERROR, "a transaction is open on the server connection"))
                    }
                };
            }
            _ => {}
        }
    }
}

/// The server's words on a setting, as Postgres says them at login.
fn told(body: &[u8]) -> PgError {
    match Report::read(body) {
        Ok(report) => PgError::fatal(
            report.sqlstate().unwrap_or(SqlState::INTERNAL_ERROR),
            report.log_text(code::MESSAGE).into_owned(),
        ),
        Err(error) => error.to_pg(),
    }
}
