//! Why a server connection could not be had: a side for the log, a side for the client.

use std::io;

use crate::auth::UpstreamAuthError;
use crate::base::{PgError, SqlState, UpstreamName};
use crate::wire::conn::ConnError;
use crate::wire::error::WireError;

/// An error of the upstream itself, as it came in its ErrorResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamError {
    /// SQLSTATE.
    pub code: SqlState,
    /// Primary message.
    pub message: String,
}

/// Why connecting (or sending a cancel request) failed. `Display` is for the log: it may name hosts and roles, never secrets.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host name has no address.
    #[error("cannot resolve the host name: {0}")]
    Resolve(io::Error),
    /// The socket could not be opened.
    #[error("{0}")]
    Socket(io::Error),
    /// The connection broke while logging in.
    #[error("the connection broke during login: {0}")]
    Broken(io::Error),
    /// The whole of it took longer than the connect timeout.
    #[error("timed out")]
    Timeout,
    /// TLS could not be agreed on, or the certificate was not accepted.
    #[error("TLS: {0}")]
    Tls(String),
    /// Authentication cannot be done: no password, a method that is not spoken, a server that does not know the password either.
    #[error("authentication: {0}")]
    Auth(String),
    /// The upstream refused.
    #[error("the server says {}: {}", .0.code, .0.message)]
    Upstream(UpstreamError),
    /// What came back is not the Postgres protocol, or not what pgwarden relies on.
    #[error("unexpected answer: {0}")]
    Protocol(String),
}

impl From<UpstreamAuthError> for ConnectError {
    fn from(error: UpstreamAuthError) -> Self {
        match error {
            UpstreamAuthError::Conn(error) => error.into(),
            UpstreamAuthError::Server { code, message } => ConnectError::Upstream(UpstreamError { code, message }),
            UpstreamAuthError::NoPassword
            | UpstreamAuthError::Cleartext
            | UpstreamAuthError::Method(_)
            | UpstreamAuthError::Mechanism
            | UpstreamAuthError::NoBinding
            | UpstreamAuthError::Scram(_)
            | UpstreamAuthError::Challenge(_) => ConnectError::Auth(error.to_string()),
            UpstreamAuthError::Version(_) | UpstreamAuthError::Unexpected(_) => {
                ConnectError::Protocol(error.to_string())
            }
        }
    }
}

impl From<ConnError> for ConnectError {
    fn from(error: ConnError) -> Self {
        match error {
            ConnError::Io(error) => ConnectError::Broken(error),
            ConnError::Closed => ConnectError::Broken(io::ErrorKind::UnexpectedEof.into()),
            ConnError::Wire(error) => ConnectError::Protocol(error.to_string()),
        }
    }
}

impl From<WireError> for ConnectError {
    fn from(error: WireError) -> Self {
        ConnectError::Protocol(error.to_string())
    }
}

impl ConnectError {
    /// What a client is told. Names the upstream as the configuration does, never its host, role or password; an upstream's
    /// own words are passed on where they help and tell nothing of pgwarden's credentials.
    pub fn to_client(&self, upstream: &UpstreamName) -> PgError {
        let (code, why) = match self {
            ConnectError::Resolve(_) => (SqlState::CONNECTION_FAILURE, "its host name has no address"),
            ConnectError::Socket(error) => (SqlState::CONNECTION_FAILURE, socket_words(error.kind())),
            ConnectError::Broken(_) => (SqlState::CONNECTION_FAILURE, "it closed the connection"),
            ConnectError::Timeout => (SqlState::CONNECTION_FAILURE, "it did not answer in time"),
            ConnectError::Tls(_) => (SqlState::CONNECTION_FAILURE, "no secure connection"),
            ConnectError::Protocol(_) => (SqlState::CONNECTION_FAILURE, "unexpected answer"),
            ConnectError::Auth(_) => (SqlState::SYSTEM_ERROR, "it did not accept pgwarden's login"),
            ConnectError::Upstream(error) => return upstream_words(error, upstream),
        };
        PgError::error(code, format!("could not connect to upstream \"{upstream}\": {why}"))
    }
}

fn socket_words(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::NotFound => "no such socket",
        io::ErrorKind::TimedOut => "it did not answer in time",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "it cannot be reached",
        _ => "the socket could not be opened",
    }
}

/// Classes 53 (resources), 57P (shutting down, starting up) and 3D (no such database) say something to the client;
/// class 28 is about pgwarden's own credentials and must not look as if the client's were wrong.
fn upstream_words(error: &UpstreamError, upstream: &UpstreamName) -> PgError {
    let code = error.code.as_str();
    if code.starts_with("28") {
        let message = format!("could not connect to upstream \"{upstream}\": it did not accept pgwarden's login");
        return PgError::error(SqlState::SYSTEM_ERROR, message);
    }
    if code.starts_with("53") || code.starts_with("57P") || code.starts_with("3D") {
        let message = format!("could not connect to upstream \"{upstream}\": {}", error.message);
        return PgError::error(error.code, message);
    }
    let message = format!("could not connect to upstream \"{upstream}\": it refused the connection ({code})");
    PgError::error(SqlState::CONNECTION_FAILURE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_side(code: SqlState, message: &str) -> PgError {
        let error = ConnectError::Upstream(UpstreamError { code, message: message.to_owned() });
        error.to_client(&UpstreamName::new("main"))
    }

    #[test]
    fn our_own_credentials_are_not_the_clients_business() {
        let error = client_side(SqlState::INVALID_PASSWORD, "password authentication failed for user \"secret_role\"");
        assert_eq!(error.code, SqlState::SYSTEM_ERROR);
        assert!(!error.message.contains("secret_role"));
    }

    #[test]
    fn what_helps_is_passed_on() {
        let error = client_side(SqlState::CANNOT_CONNECT_NOW, "the database system is starting up");
        assert_eq!(error.code, SqlState::CANNOT_CONNECT_NOW);
        assert!(error.message.ends_with("the database system is starting up"));
        let error = client_side(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already");
        assert_eq!(error.code, SqlState::TOO_MANY_CONNECTIONS);
        let error = client_side(SqlState::INTERNAL_ERROR, "path /var/lib/x is broken");
        assert_eq!(error.code, SqlState::CONNECTION_FAILURE);
        assert!(!error.message.contains("/var/lib"));
    }

    #[test]
    fn a_refused_socket_is_a_connection_failure() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = ConnectError::Socket(refused).to_client(&UpstreamName::new("main"));
        assert_eq!(error.code, SqlState::CONNECTION_FAILURE);
        assert_eq!(error.message, "could not connect to upstream \"main\": connection refused");
    }
}
