//! The first packets of a connection, before any tag: requests for encryption, cancel requests, startup.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::AsyncWriteExt;

use super::conn::{Conn, ConnError};
use super::encode;
use super::encode::frontend::{CANCEL_REQUEST, GSSENC_REQUEST, SSL_REQUEST};
use super::error::{WireError, utf8};
use super::frame::STARTUP_LIMIT;
use super::options::parse_options;
use super::reader::Reader;
use super::stream::Stream;
use super::tls::{ALPN, ServerTls};
use crate::base::{PgError, Severity, SqlState};

/// First byte of a TLS handshake record; no startup packet begins so, as its length would be beyond the limit.
const TLS_HANDSHAKE: u8 = 0x16;

/// A protocol version: major in the upper 16 bits, minor in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion(pub u32);

impl ProtocolVersion {
    /// 3.0, of Postgres 7.4 to 17.
    pub const V3_0: Self = Self(3 << 16);
    /// 3.2, of Postgres 18: cancel keys of up to 256 bytes.
    pub const V3_2: Self = Self((3 << 16) | 2);

    /// Major number.
    pub fn major(self) -> u32 {
        self.0 >> 16
    }

    /// Minor number.
    pub fn minor(self) -> u32 {
        self.0 & 0xffff
    }

    /// Whether cancel keys may be longer than 4 bytes.
    pub fn has_long_cancel_keys(self) -> bool {
        self >= Self::V3_2
    }
}

/// CancelRequest: somebody wants a statement of another connection stopped.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelRequest {
    /// Process id, as in BackendKeyData.
    pub pid: u32,
    /// Secret key, 4 to 256 bytes. To be compared in constant time.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for CancelRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelRequest").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// StartupMessage: who wants to work with which database, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartupMessage {
    /// The version that the client asked for.
    pub requested: ProtocolVersion,
    /// `user`, never empty.
    pub user: String,
    /// `database`; where it is missing or empty, Postgres takes the user's name.
    pub database: Option<String>,
    /// Settings in `options`, in order. Postgres applies them before `settings`.
    pub options: Vec<(String, String)>,
    /// All other parameters, in order: settings of the session (`application_name`, `client_encoding` ...).
    pub settings: Vec<(String, String)>,
    /// Protocol options (`_pq_.`): none is known.
    pub unknown_options: Vec<String>,
}

impl StartupMessage {
    /// The version that is spoken: the client's, but at most 3.2.
    pub fn version(&self) -> ProtocolVersion {
        self.requested.min(ProtocolVersion::V3_2)
    }

    /// Writes NegotiateProtocolVersion if the client must be told of something that is not known here. It goes before
    /// the first authentication message.
    ///
    /// # Errors
    /// None in practice: the options came from terminated strings.
    pub fn negotiate(&self, out: &mut BytesMut) -> Result<(), WireError> {
        if self.requested <= ProtocolVersion::V3_2 && self.unknown_options.is_empty() {
            return Ok(());
        }
        encode::backend::negotiate_protocol_version(out, self.version().0, &self.unknown_options)
    }

    fn read(requested: ProtocolVersion, body: &[u8]) -> Result<Self, PgError> {
        let mut message = StartupMessage {
            requested,
            user: String::new(),
            database: None,
            options: Vec::new(),
            settings: Vec::new(),
            unknown_options: Vec::new(),
        };
        let mut seen: Vec<&str> = Vec::new();
        let mut reader = Reader::new("StartupMessage", body);
        loop {
            let name = text(reader.cstr().map_err(|_| layout())?)?;
            if name.is_empty() {
                break;
            }
            let value = text(reader.cstr().map_err(|_| layout())?)?;
            // Postgres lets the last one win, and so does a session with settings. Of who and where, whoever looks at the
            // first one would be deceived.
            if matches!(name, "user" | "database" | "options") {
                if seen.contains(&name) {
                    return Err(fatal(format!("duplicate startup parameter \"{name}\"")));
                }
                seen.push(name);
            }
            message.set(name, value)?;
        }
        reader.end().map_err(|_| layout())?;
        if message.user.is_empty() {
            return Err(PgError::fatal(
                SqlState::INVALID_AUTHORIZATION,
                "no PostgreSQL user name specified in startup packet",
            ));
        }
        Ok(message)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), PgError> {
        match name {
            "user" => value.clone_into(&mut self.user),
            "database" => self.database = Some(value.to_owned()).filter(|name| !name.is_empty()),
            "options" => {
                self.options =
                    parse_options(value).map_err(|error| PgError::fatal(SqlState::SYNTAX_ERROR, error.to_string()))?;
            }
            "replication" => refuse_replication(value)?,
            name if name.starts_with("_pq_.") => self.unknown_options.push(name.to_owned()),
            name => self.settings.push((name.to_owned(), value.to_owned())),
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Result<&str, PgError> {
    utf8("StartupMessage", bytes).map_err(|error| PgError { severity: Severity::Fatal, ..error.to_pg() })
}

fn fatal(message: impl Into<std::borrow::Cow<'static, str>>) -> PgError {
    PgError::fatal(SqlState::PROTOCOL_VIOLATION, message)
}

fn layout() -> PgError {
    fatal("invalid startup packet layout: expected terminator as last byte")
}

/// `replication=database` or a true value asks for the replication protocol; a false value asks for nothing.
fn refuse_replication(value: &str) -> Result<(), PgError> {
    let value = value.to_ascii_lowercase();
    let is_false = match value.as_str() {
        "" => false,
        "0" => true,
        // Postgres takes any unambiguous beginning of a word.
        value => "false".starts_with(value) || "no".starts_with(value) || (value.len() > 1 && "off".starts_with(value)),
    };
    if is_false {
        return Ok(());
    }
    Err(PgError::fatal(SqlState::FEATURE_NOT_SUPPORTED, "replication connections are not supported")
        .hint("Connect to the Postgres server itself for replication."))
}

/// Why a first packet is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Whoever sent it does not speak the protocol: as with Postgres, the connection is closed without a word.
    NoPacket(&'static str),
    /// The client is told.
    Refused(PgError),
}

impl From<PgError> for Misfit {
    fn from(error: PgError) -> Self {
        Misfit::Refused(error)
    }
}

/// A packet of the untagged kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstPacket {
    /// SSLRequest.
    Ssl,
    /// GSSENCRequest.
    Gss,
    /// CancelRequest.
    Cancel(CancelRequest),
    /// StartupMessage.
    Startup(Box<StartupMessage>),
}

impl FirstPacket {
    /// Takes the first packet out of `buffer`; `None` if it is not complete yet.
    ///
    /// # Errors
    /// What to tell the client before closing, or that it is no client. Nothing was allocated for a wrong length.
    pub fn take(buffer: &mut BytesMut) -> Result<Option<Self>, Misfit> {
        let Some(length) = buffer.first_chunk::<4>().copied().map(u32::from_be_bytes) else {
            return Ok(None);
        };
        if !(8..=STARTUP_LIMIT).contains(&length) {
            return Err(Misfit::NoPacket("invalid length of startup packet"));
        }
        // At most 10,000.
        let length = length as usize;
        if buffer.len() < length {
            return Ok(None);
        }
        let mut packet = buffer.split_to(length);
        packet.advance(4);
        let code = packet.get_u32();
        Self::read(code, &packet).map(Some)
    }

    fn read(code: u32, body: &[u8]) -> Result<Self, Misfit> {
        match (code, body) {
            (SSL_REQUEST, []) => return Ok(FirstPacket::Ssl),
            (GSSENC_REQUEST, []) => return Ok(FirstPacket::Gss),
            (SSL_REQUEST | GSSENC_REQUEST, _) => return Err(Misfit::NoPacket("invalid length of startup packet")),
            _ => {}
        }
        if code == CANCEL_REQUEST {
            let mut reader = Reader::new("CancelRequest", body);
            let pid = reader.u32();
            let key = reader.rest();
            return match pid {
                Ok(pid) if (4..=256).contains(&key.len()) => {
                    Ok(FirstPacket::Cancel(CancelRequest { pid, key: key.to_vec() }))
                }
                _ => Err(Misfit::NoPacket("invalid length of query cancel packet")),
            };
        }
        let version = ProtocolVersion(code);
        if version.major() != 3 {
            let unsupported = format!(
                "unsupported frontend protocol {}.{}: server supports 3.0 to 3.2",
                version.major(),
                version.minor()
            );
            return Err(PgError::fatal(SqlState::FEATURE_NOT_SUPPORTED, unsupported).into());
        }
        Ok(FirstPacket::Startup(Box::new(StartupMessage::read(version, body)?)))
    }
}

/// What a client wants, once encryption is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A session.
    Session(Box<StartupMessage>),
    /// A statement of another connection stopped. There is no answer to this; the connection is closed after it.
    Cancel(CancelRequest),
}

/// Why no session came about. Where the client could be told, it has been.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The client closed the connection before it said anything: a port scan or a health check.
    #[error("the client closed the connection before its first packet")]
    Silent,
    /// What the client sent is no packet of the protocol.
    #[error("{0}")]
    NoPacket(&'static str),
    /// The socket failed, or the client went away.
    #[error(transparent)]
    Conn(#[from] ConnError),
    /// The TLS handshake failed.
    #[error("TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// The client was refused with this error.
    #[error("{0}")]
    Refused(PgError),
}

impl From<Misfit> for StartupError {
    fn from(misfit: Misfit) -> Self {
        match misfit {
            Misfit::NoPacket(why) => StartupError::NoPacket(why),
            Misfit::Refused(error) => StartupError::Refused(error),
        }
    }
}

/// Settles encryption with a new client and reads what it wants. A refused client has been told so.
/// The caller limits the time that this may take; dropping the future closes the connection.
///
/// # Errors
/// As [`StartupError`] says.
pub async fn accept(stream: Stream, tls: Option<&ServerTls>) -> Result<(Conn, Wish), StartupError> {
    let (mut conn, mut asked) = begin(stream, tls).await?;
    loop {
        match next_packet(&mut conn).await {
            Ok(FirstPacket::Startup(message)) => return Ok((conn, Wish::Session(message))),
            Ok(FirstPacket::Cancel(request)) => return Ok((conn, Wish::Cancel(request))),
            Ok(FirstPacket::Ssl) if !asked.ssl => {
                (conn, asked) = answer_ssl(conn, tls, asked).await?;
            }
            Ok(FirstPacket::Gss) if !asked.gss => {
                asked.gss = true;
                conn = nothing_behind(conn, "GSSAPI encryption").await?;
                answer(&mut conn, b'N').await?;
            }
            Ok(FirstPacket::Ssl | FirstPacket::Gss) => {
                let error = fatal("encryption was requested twice on one connection");
                return Err(refused(conn, error).await);
            }
            Err(StartupError::Refused(error)) => return Err(refused(conn, error).await),
            Err(other) => return Err(other),
        }
    }
}

/// Which kinds of encryption can no longer be asked for.
#[derive(Clone, Copy, Default)]
struct Asked {
    ssl: bool,
    gss: bool,
}

impl Asked {
    const ALL: Self = Self { ssl: true, gss: true };
}

/// Looks at the first byte of a TCP connection: direct TLS begins with a handshake and not with a request for it.
async fn begin(stream: Stream, tls: Option<&ServerTls>) -> Result<(Conn, Asked), StartupError> {
    let (socket, tls) = match (stream, tls) {
        (Stream::Tcp(socket), Some(tls)) if tls.takes_direct() => (socket, tls),
        (stream, _) => return Ok((Conn::new(stream), Asked::default())),
    };
    let mut first = [0; 1];
    match socket.peek(&mut first).await.map_err(ConnError::from)? {
        0 => Err(StartupError::Silent),
        _ if first == [TLS_HANDSHAKE] => {
            let stream = tls.accept(socket).await.map_err(StartupError::Tls)?;
            // Without ALPN, another protocol's client could be made to speak to us (ALPACA); rustls itself has refused
            // a client whose ALPN names another protocol.
            let spoken = stream.get_ref().1.alpn_protocol() == Some(ALPN);
            let conn = Conn::new(Stream::TlsServer(Box::new(stream)));
            if spoken {
                return Ok((conn, Asked::ALL));
            }
            let error = fatal("direct TLS connection without the ALPN protocol \"postgresql\"");
            Err(refused(conn, error).await)
        }
        _ => Ok((Conn::new(Stream::Tcp(socket)), Asked::default())),
    }
}

async fn next_packet(conn: &mut Conn) -> Result<FirstPacket, StartupError> {
    loop {
        if let Some(packet) = FirstPacket::take(&mut conn.inbox)? {
            return Ok(packet);
        }
        match conn.fill().await {
            Err(ConnError::Closed) if conn.inbox.is_empty() => return Err(StartupError::Silent),
            other => other?,
        }
    }
}

/// Answers an SSLRequest: the handshake, or `N` where there is no certificate (or no network to protect from).
async fn answer_ssl(conn: Conn, tls: Option<&ServerTls>, asked: Asked) -> Result<(Conn, Asked), StartupError> {
    let mut conn = nothing_behind(conn, "SSL").await?;
    match (conn.stream, tls) {
        (Stream::Tcp(mut socket), Some(tls)) => {
            socket.write_all(b"S").await.map_err(ConnError::from)?;
            let stream = tls.accept(socket).await.map_err(StartupError::Tls)?;
            let conn = Conn::new(Stream::TlsServer(Box::new(stream)));
            Ok((conn, Asked::ALL))
        }
        (stream, _) => {
            conn = Conn::new(stream);
            answer(&mut conn, b'N').await?;
            Ok((conn, Asked { ssl: true, ..asked }))
        }
    }
}

async fn answer(conn: &mut Conn, byte: u8) -> Result<(), ConnError> {
    conn.outbox.put_u8(byte);
    Ok(conn.flush().await?)
}

/// Bytes behind a request for encryption came unencrypted: somebody on the way may have put them there, to have them
/// taken for the client's own once TLS is on (the class of CVE-2021-23214).
async fn nothing_behind(conn: Conn, what: &str) -> Result<Conn, StartupError> {
    if conn.inbox.is_empty() {
        return Ok(conn);
    }
    let error = fatal(format!("received unencrypted data after {what} request"))
        .detail("This is an error in the client software, or somebody is tampering with the connection.");
    Err(refused(conn, error).await)
}

async fn refused(mut conn: Conn, error: PgError) -> StartupError {
    conn.refuse(&error).await;
    StartupError::Refused(error)
}
