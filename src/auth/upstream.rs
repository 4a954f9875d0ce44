//! Opening a session with an upstream: startup, authentication, and what the server says of itself.

use std::collections::BTreeMap;

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use super::scram::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};
use crate::base::{PgError, Secret, SqlState};
use crate::wire::backend::{
    Authentication, BackendKeyData, Mechanisms, NegotiateProtocolVersion, ParameterStatus, Report, TransactionStatus,
    code,
};
use crate::wire::conn::{Conn, ConnError};
use crate::wire::encode::frontend as encode;
use crate::wire::error::WireError;
use crate::wire::frame::{Frame, UpstreamLimits};
use crate::wire::startup::ProtocolVersion;

/// `channel_binding` of libpq.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBindingMode {
    /// Never.
    Disable,
    /// Where the server offers it.
    #[default]
    Prefer,
    /// Always, or no session.
    Require,
}

/// How pgwarden proves itself to an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// User.
    pub user: &'a str,
    /// Password, if there is one.
    pub password: Option<&'a Secret>,
    /// Whether to bind SCRAM to the TLS connection.
    pub channel_binding: ChannelBindingMode,
    /// Whether the password may cross a network in the clear, if the server asks for that.
    pub allow_cleartext: bool,
}

/// A session that the server has opened.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamSession {
    /// The version that is spoken.
    pub version: ProtocolVersion,
    /// What the server reported with ParameterStatus.
    pub parameters: BTreeMap<String, String>,
    /// Process id and key for CancelRequest; some poolers give none.
    pub cancel_key: Option<(u32, Vec<u8>)>,
}

impl std::fmt::Debug for UpstreamSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamSession")
            .field("version", &self.version)
            .field("parameters", &self.parameters)
            .field("pid", &self.cancel_key.as_ref().map(|(pid, _)| pid))
            .finish_non_exhaustive()
    }
}

/// Why an upstream did not open a session. Display is for the log.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamAuthError {
    /// The socket failed, or the server broke the protocol.
    #[error(transparent)]
    Conn(#[from] ConnError),
    /// The server refused.
    #[error("the server refused the connection: {code} {message}")]
    Server {
        /// SQLSTATE, `XX000` if the server gave none.
        code: SqlState,
        /// Its message.
        message: String,
    },
    /// The server asks for a password, and none is configured.
    #[error("the server asks for a password and none is configured")]
    NoPassword,
    /// The server asks for the password in the clear on an unencrypted connection.
    #[error("the server asks for the password in the clear on an unencrypted connection")]
    Cleartext,
    /// The server asks for something that is not supported (GSSAPI, SSPI, Kerberos ...).
    #[error("the server asks for authentication method {0}, which is not supported")]
    Method(u32),
    /// None of the SASL mechanisms that the server offers is known.
    #[error("none of the server's SASL mechanisms is supported")]
    Mechanism,
    /// Channel binding is required, and the server does without.
    #[error("channel binding is required, but the server did not authenticate with it")]
    NoBinding,
    /// The SCRAM exchange failed: the server does not know the password either, or broke the rules.
    #[error("SCRAM failed: {0}")]
    Scram(std::io::Error),
    /// The server's challenge asks for more (or less) than one that knows the password would.
    #[error("the server's SCRAM challenge is not accepted: {0}")]
    Challenge(&'static str),
    /// The server speaks another version than any that was asked for.
    #[error("the server wants to speak protocol version {}.{}", .0.major(), .0.minor())]
    Version(ProtocolVersion),
    /// A message that has no place here.
    #[error("unexpected message {0:#04x} during login")]
    Unexpected(u8),
}

impl From<WireError> for UpstreamAuthError {
    fn from(error: WireError) -> Self {
        UpstreamAuthError::Conn(error.into())
    }
}

impl From<std::io::Error> for UpstreamAuthError {
    fn from(error: std::io::Error) -> Self {
        UpstreamAuthError::Conn(error.into())
    }
}

impl UpstreamAuthError {
    /// What a client is told that waits for this upstream. Only what the server says of its own state gets through;
    /// that pgwarden's credentials are wrong is for the log.
    pub fn to_pg(&self) -> PgError {
        match self {
            UpstreamAuthError::Server { code, message }
                if matches!(&code.0, [b'5', b'3', ..] | b"57P03" | b"57P01" | b"3D000") =>
            {
                PgError::fatal(*code, message.clone())
            }
            _ => PgError::fatal(SqlState::CONNECTION_FAILURE, "could not open a session with the database server"),
        }
    }
}

/// Sends the startup packet, authenticates, and reads up to the first ReadyForQuery. `params` are those of the startup
/// packet without `user`. The caller limits the time.
///
/// # Errors
/// As [`UpstreamAuthError`] says.
pub async fn start_session(
    conn: &mut Conn,
    version: ProtocolVersion,
    params: &[(&str, &str)],
    credentials: &Credentials<'_>,
) -> Result<UpstreamSession, UpstreamAuthError> {
    let user = std::iter::once(("user", credentials.user));
    encode::startup(&mut conn.outbox, version.0, user.chain(params.iter().copied()))?;
    conn.flush().await?;
    let mut session = UpstreamSession { version, parameters: BTreeMap::new(), cancel_key: None };
    authenticate(conn, credentials, &mut session).await?;
    loop {
        let frame = next(conn).await?;
        match frame.tag() {
            b'S' => {
                let status = ParameterStatus::read(frame.body())?;
                session.parameters.insert(status.name.to_owned(), status.value.to_owned());
            }
            b'K' => {
                let data = BackendKeyData::read(frame.body())?;
                session.cancel_key = Some((data.pid, data.key.to_vec()));
            }
            b'Z' => {
                TransactionStatus::read(frame.body())?;
                return Ok(session);
            }
            other => return Err(UpstreamAuthError::Unexpected(other)),
        }
    }
}

/// The next message that is neither an error, which ends the login, nor a notice.
async fn next(conn: &mut Conn) -> Result<Frame, UpstreamAuthError> {
    loop {
        let frame = conn.next_frame(&UpstreamLimits).await?;
        match frame.tag() {
            b'N' => {}
            b'E' => {
                let report = Report::read(frame.body())?;
                return Err(UpstreamAuthError::Server {
                    code: report.sqlstate().unwrap_or(SqlState::INTERNAL_ERROR),
                    message: report.log_text(code::MESSAGE).into_owned(),
                });
            }
            _ => return Ok(frame),
        }
    }
}

/// Up to AuthenticationOk.
async fn authenticate(
    conn: &mut Conn,
    credentials: &Credentials<'_>,
    session: &mut UpstreamSession,
) -> Result<(), UpstreamAuthError> {
    let mut bound = false;
    loop {
        let frame = next(conn).await?;
        if frame.tag() == b'v' {
            session.version = negotiated(frame.body(), session.version)?;
            continue;
        }
        if frame.tag() != b'R' {
            return Err(UpstreamAuthError::Unexpected(frame.tag()));
        }
        match Authentication::read(frame.body())? {
            Authentication::Ok if credentials.channel_binding == ChannelBindingMode::Require && !bound => {
                return Err(UpstreamAuthError::NoBinding);
            }
            Authentication::Ok => return Ok(()),
            Authentication::CleartextPassword => {
                if !conn.stream.is_private() && !credentials.allow_cleartext {
                    return Err(UpstreamAuthError::Cleartext);
                }
                encode::password(&mut conn.outbox, password(credentials)?.as_bytes())?;
            }
            Authentication::Md5Password { salt } => {
                let password = password(credentials)?.as_bytes();
                let response = md5_hash(credentials.user.as_bytes(), password, salt);
                encode::password(&mut conn.outbox, response.as_bytes())?;
            }
            Authentication::Sasl(offered) => {
                bound = scram(conn, &offered, credentials).await?;
                continue;
            }
            Authentication::SaslContinue(_) | Authentication::SaslFinal(_) => {
                return Err(UpstreamAuthError::Unexpected(b'R'));
            }
            Authentication::Unsupported(method) => return Err(UpstreamAuthError::Method(method)),
        }
        conn.flush().await?;
    }
}

fn negotiated(body: &[u8], requested: ProtocolVersion) -> Result<ProtocolVersion, UpstreamAuthError> {
    let version = ProtocolVersion(NegotiateProtocolVersion::read(body)?.version);
    if version.major() == 3 && version <= requested { Ok(version) } else { Err(UpstreamAuthError::Version(version)) }
}

fn password<'a>(credentials: &Credentials<'a>) -> Result<&'a str, UpstreamAuthError> {
    credentials.password.map(Secret::expose).ok_or(UpstreamAuthError::NoPassword)
}

/// The whole SCRAM exchange up to AuthenticationSASLFinal; returns whether it was bound to the TLS connection.
async fn scram(
    conn: &mut Conn,
    offered: &Mechanisms<'_>,
    credentials: &Credentials<'_>,
) -> Result<bool, UpstreamAuthError> {
    let password = password(credentials)?;
    let (mechanism, binding) = choose(conn, offered, credentials.channel_binding)?;
    let mut client = ScramSha256::new(password.as_bytes(), binding);
    encode::sasl_initial_response(&mut conn.outbox, mechanism, client.message())?;
    conn.flush().await?;

    let frame = next(conn).await?;
    match sasl_step(&frame)? {
        Authentication::SaslContinue(data) => {
            check_challenge(data).map_err(UpstreamAuthError::Challenge)?;
            client.update(data).map_err(UpstreamAuthError::Scram)?;
        }
        _ => return Err(UpstreamAuthError::Unexpected(frame.tag())),
    }
    encode::sasl_response(&mut conn.outbox, client.message())?;
    conn.flush().await?;

    let frame = next(conn).await?;
    match sasl_step(&frame)? {
        Authentication::SaslFinal(data) => {
            client.finish(data).map_err(UpstreamAuthError::Scram)?;
        }
        _ => return Err(UpstreamAuthError::Unexpected(frame.tag())),
    }
    Ok(mechanism == SCRAM_SHA_256_PLUS)
}

/// Longest challenge that is answered; Postgres's own have less than 100 bytes.
const MAX_CHALLENGE: usize = 4_096;
/// Most iterations that are done before the server has shown that it knows the password: 24 times Postgres's default.
const MAX_ITERATIONS: u32 = 100_000;

/// The bounds of a challenge; its form is for whoever answers it.
fn check_challenge(challenge: &[u8]) -> Result<(), &'static str> {
    if challenge.len() > MAX_CHALLENGE {
        return Err("it is too long");
    }
    let text = std::str::from_utf8(challenge).map_err(|_| "it is not text")?;
    let iterations = text.rsplit_once(",i=").and_then(|(_, count)| count.parse::<u32>().ok());
    match iterations {
        None => Err("it has no iteration count"),
        Some(0) => Err("its iteration count is 0"),
        Some(1..=MAX_ITERATIONS) => Ok(()),
        Some(_) => Err("its iteration count is above 100000"),
    }
}

fn sasl_step(frame: &Frame) -> Result<Authentication<'_>, UpstreamAuthError> {
    match frame.tag() {
        b'R' => Ok(Authentication::read(frame.body())?),
        other => Err(UpstreamAuthError::Unexpected(other)),
    }
}

fn choose(
    conn: &Conn,
    offered: &Mechanisms<'_>,
    mode: ChannelBindingMode,
) -> Result<(&'static str, ChannelBinding), UpstreamAuthError> {
    let end_point = match mode {
        ChannelBindingMode::Disable => None,
        ChannelBindingMode::Prefer | ChannelBindingMode::Require => conn.stream.upstream_end_point(),
    };
    match end_point {
        Some(data) if offered.offers(SCRAM_SHA_256_PLUS) => {
            Ok((SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(data)))
        }
        _ if mode == ChannelBindingMode::Require => Err(UpstreamAuthError::NoBinding),
        _ if !offered.offers(SCRAM_SHA_256) => Err(UpstreamAuthError::Mechanism),
        // "We could, but the server did not offer it": a server that did offer it sees that somebody removed the offer.
        Some(_) => Ok((SCRAM_SHA_256, ChannelBinding::unrequested())),
        None => Ok((SCRAM_SHA_256, ChannelBinding::unsupported())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_bounded() {
        assert_eq!(check_challenge(b"r=abc,s=QUFB,i=4096"), Ok(()));
        assert_eq!(check_challenge(b"r=abc,s=QUFB,i=100000"), Ok(()));
        for count in ["0", "100001", "2000000000", "4294967296", "-1", "", "4096,x=1"] {
            assert!(check_challenge(format!("r=abc,s=QUFB,i={count}").as_bytes()).is_err(), "{count}");
        }
        assert!(check_challenge(b"r=abc,s=QUFB").is_err());
        assert!(check_challenge(format!("r={},s=QUFB,i=4096", "x".repeat(5_000)).as_bytes()).is_err());
    }
}
