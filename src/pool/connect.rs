//! Opening a connection: socket, TLS, startup, authentication, up to the first ReadyForQuery.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncReadExt;

use super::cancel::CancelTarget;
use super::server::Connection;
use super::{Boxed, Connector};
use crate::auth::{ChannelBindingMode, Credentials, start_session};
use crate::connect::{ConnectError, ServerTarget, dial};
use crate::wire::conn::Conn;
use crate::wire::encode::frontend;
use crate::wire::startup::ProtocolVersion;
use crate::wire::stream::Keepalive;

/// The connector for real upstreams.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetConnector {
    /// How dead upstreams are noticed on TCP.
    pub keepalive: Keepalive,
}

impl Connector for NetConnector {
    fn connect(&self, target: Arc<ServerTarget>) -> Boxed<Result<Connection, ConnectError>> {
        let keepalive = self.keepalive;
        Box::pin(async move {
            let (stream, peer) = dial(&target, None, keepalive).await?;
            log_in(Conn::new(stream), target, peer).await
        })
    }

    fn cancel(&self, server: Arc<CancelTarget>) -> Boxed<Result<(), ConnectError>> {
        let keepalive = self.keepalive;
        Box::pin(async move {
            if server.secret().is_empty() {
                // Some poolers give no key.
                return Err(ConnectError::Protocol("the upstream gave no cancel key".to_owned()));
            }
            let (stream, _) = dial(server.target(), server.peer(), keepalive).await?;
            let mut conn = Conn::new(stream);
            frontend::cancel_request(&mut conn.outbox, server.process_id(), server.secret())?;
            conn.flush().await.map_err(ConnectError::Broken)?;
            // Postgres answers nothing: it signals the backend, then closes. How it closes does not matter.
            let mut answer = [0; 64];
            while matches!(conn.stream.read(&mut answer).await, Ok(count) if count > 0) {}
            Ok(())
        })
    }
}

async fn log_in(
    mut conn: Conn,
    target: Arc<ServerTarget>,
    peer: Option<SocketAddr>,
) -> Result<Connection, ConnectError> {
    let version = if target.protocol_3_2 { ProtocolVersion::V3_2 } else { ProtocolVersion::V3_0 };
    let credentials = Credentials {
        user: &target.user,
        password: target.password.as_ref(),
        channel_binding: ChannelBindingMode::Prefer,
        allow_cleartext: false,
    };
    let session = start_session(&mut conn, version, &startup_params(&target), &credentials).await?;
    check_pinned(&session.parameters)?;
    let (pid, secret) = session.cancel_key.unwrap_or_default();
    let cancel = CancelTarget::new(target, peer, pid, &secret);
    Ok(Connection { conn, parameters: session.parameters, cancel })
}

/// What the guard relies on: it reads SQL as UTF-8 with standard strings.
const PINNED: [(&str, &str); 2] = [("client_encoding", "UTF8"), ("standard_conforming_strings", "on")];

/// Parameters of the startup packet but the role. What is pinned cannot be set otherwise.
fn startup_params(target: &ServerTarget) -> Vec<(&str, &str)> {
    // No application_name: a client that gives none has none, as on the server itself.
    let own = [("database", target.database.as_str())];
    let sealed = |name: &str| {
        let fixed = own.iter().chain(&PINNED).map(|(name, _)| *name);
        fixed.chain(["user", "options", "replication"]).any(|fixed| name.eq_ignore_ascii_case(fixed))
    };
    let chosen = target.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    own.into_iter().chain(PINNED).chain(chosen.filter(|(name, _)| !sealed(name))).collect()
}

/// A server that does not confirm what the guard relies on must not be used.
fn check_pinned(parameters: &BTreeMap<String, String>) -> Result<(), ConnectError> {
    for (name, wanted) in PINNED {
        let found = parameters.get(name).map_or("not reported", String::as_str);
        if found != wanted {
            return Err(ConnectError::Protocol(format!("{name} is {found} instead of {wanted}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pinned_cannot_be_set_otherwise() {
        let mut target = crate::pool::tests::target("main");
        target.settings = [("Client_Encoding", "SQL_ASCII"), ("search_path", "acme"), ("options", "-c x=y")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let params = startup_params(&target);
        assert!(params.contains(&("client_encoding", "UTF8")) && params.contains(&("search_path", "acme")));
        assert_eq!(params.len(), 4);
    }

    #[test]
    fn a_server_with_another_encoding_is_refused() {
        let mut parameters: BTreeMap<_, _> =
            PINNED.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        assert!(check_pinned(&parameters).is_ok());
        parameters.insert("client_encoding".to_owned(), "LATIN1".to_owned());
        assert!(check_pinned(&parameters).is_err());
        parameters.remove("client_encoding");
        assert!(check_pinned(&parameters).is_err());
    }
}
