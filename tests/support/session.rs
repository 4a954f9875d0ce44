//! A client that speaks the protocol by hand: full control over every byte, nothing hidden by a driver.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use super::message;
use super::reply::{Cursor, Reply};

/// What a test waits for an answer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where to connect, and as whom.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub port: u16,
    pub user: String,
    pub password: String,
    pub database: String,
    /// Further startup parameters.
    pub startup: Vec<(String, String)>,
}

impl Endpoint {
    pub fn new(port: u16, user: &str, password: &str, database: &str) -> Self {
        let [user, password, database] = [user, password, database].map(str::to_owned);
        Self { port, user, password, database, startup: Vec::new() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.startup.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Connects and authenticates.
    #[track_caller]
    pub fn connect(&self) -> Session {
        let (session, reply) = self.try_connect();
        reply.ok();
        session
    }

    /// Connects; the reply holds what came until the first ReadyForQuery, or the error.
    #[track_caller]
    pub fn try_connect(&self) -> (Session, Reply) {
        self.try_connect_over(open(self.port))
    }

    /// As [`Endpoint::try_connect`] over a connection that has done its TLS handshake.
    pub fn try_connect_over(&self, stream: impl Stream + 'static) -> (Session, Reply) {
        let mut session = Session::over(stream);
        let mut params = vec![("user", self.user.as_str()), ("database", self.database.as_str())];
        params.extend(self.startup.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        session.login(self, &message::startup(196_608, &params));
        let reply = session.collect(1);
        (session, reply)
    }

    /// A URL for drivers.
    pub fn url(&self) -> String {
        let Self { port, user, password, database, .. } = self;
        format!("postgresql://{}:{password}@127.0.0.1:{port}/{database}", user.replace('@', "%40"))
    }
}

/// A TCP connection to 127.0.0.1.
#[track_caller]
pub fn open(port: u16) -> TcpStream {
    let address = ("127.0.0.1", port).to_socket_addrs().unwrap().next().unwrap();
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("connection refused");
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// TCP or TLS.
pub trait Stream: Read + Write + Send {
    fn set_patience(&self, patience: Duration);
}

impl Stream for TcpStream {
    fn set_patience(&self, patience: Duration) {
        self.set_read_timeout(Some(patience.max(Duration::from_millis(1)))).unwrap();
    }
}

impl Stream for rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    fn set_patience(&self, patience: Duration) {
        self.sock.set_patience(patience);
    }
}

/// Why no message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    TimedOut,
}

/// The answer to CopyInResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyIn {
    /// These rows, in small pieces, and CopyDone.
    Data(Vec<u8>),
    /// CopyFail.
    Fail,
    /// None: the test sends what it wants.
    Nothing,
}

pub struct Session {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    user: String,
    password: String,
    scram: Option<ScramSha256>,
    /// Process id and key for CancelRequest.
    pub cancel_key: Option<(u32, Vec<u8>)>,
    /// What is sent when the server asks for COPY data.
    pub copy_in: CopyIn,
}

impl Session {
    /// A connection on which nothing was sent yet.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            received: Vec::new(),
            user: String::new(),
            password: String::new(),
            scram: None,
            cancel_key: None,
            copy_in: CopyIn::Fail,
        }
    }

    /// Sends a startup packet; from now on authentication requests are answered for that user.
    pub fn login(&mut self, end: &Endpoint, startup: &[u8]) {
        self.user.clone_from(&end.user);
        self.password.clone_from(&end.password);
        self.send(startup);
    }

    /// Sends bytes. A connection that the other side has closed shows in the next read.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// Simple protocol, one Query.
    pub fn simple(&mut self, sql: impl AsRef<[u8]>) -> Reply {
        self.send(&message::query(sql));
        self.collect(1)
    }

    /// Simple protocol with data for COPY FROM STDIN.
    pub fn copy(&mut self, sql: &str, data: &[u8]) -> Reply {
        self.copy_in = CopyIn::Data(data.to_vec());
        let reply = self.simple(sql);
        self.copy_in = CopyIn::Fail;
        reply
    }

    /// Extended protocol, unnamed statement and portal, values in text format.
    pub fn extended(&mut self, sql: &str, values: &[Option<&str>]) -> Reply {
        self.send(&[message::extended(sql, values), message::sync()].concat());
        self.collect(1)
    }

    /// Sends messages and reads until that many ReadyForQuery came.
    pub fn exchange(&mut self, messages: &[Vec<u8>], ready: usize) -> Reply {
        self.send(&messages.concat());
        self.collect(ready)
    }

    /// Reads until that many ReadyForQuery came.
    pub fn collect(&mut self, ready: usize) -> Reply {
        self.collect_within(ready, PATIENCE)
    }

    /// Reads until that many ReadyForQuery came, or the time is over. COPY and authentication requests are answered.
    pub fn collect_within(&mut self, ready: usize, patience: Duration) -> Reply {
        let mut reply = Reply::default();
        let started = Instant::now();
        while reply.states.len() < ready {
            match self.message(started + patience) {
                Err(End::Closed) => reply.closed = true,
                Err(End::TimedOut) => reply.timed_out = true,
                Ok((tag, body)) => {
                    reply.add(tag, &body);
                    self.answer(tag, &body);
                    continue;
                }
            }
            break;
        }
        reply.elapsed = started.elapsed();
        reply
    }

    /// The next message.
    pub fn message(&mut self, deadline: Instant) -> Result<(u8, Vec<u8>), End> {
        loop {
            if let Some((head, _)) = self.received.split_first_chunk::<5>() {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                assert!(length >= 4, "a frame of length {length} came from the server");
                if self.received.len() > length {
                    let rest = self.received.split_off(length + 1);
                    let frame = std::mem::replace(&mut self.received, rest);
                    return Ok((frame[0], frame[5..].to_vec()));
                }
            }
            self.read(deadline)?;
        }
    }

    /// One byte outside any frame: the answer to SSLRequest.
    pub fn byte(&mut self) -> Result<u8, End> {
        while self.received.is_empty() {
            self.read(Instant::now() + PATIENCE)?;
        }
        Ok(self.received.remove(0))
    }

    fn read(&mut self, deadline: Instant) -> Result<(), End> {
        let left = deadline.checked_duration_since(Instant::now()).ok_or(End::TimedOut)?;
        self.stream.set_patience(left);
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(End::Closed),
            Ok(n) => {
                self.received.extend(&chunk[..n]);
                Ok(())
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(End::TimedOut),
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(End::Closed),
            },
        }
    }

    fn answer(&mut self, tag: u8, body: &[u8]) {
        match tag {
            b'R' => self.authenticate(body),
            b'K' => {
                let mut body = Cursor(body);
                self.cancel_key = Some((body.u32(), body.0.to_vec()));
            }
            b'G' | b'W' => {
                let answer = match &self.copy_in {
                    CopyIn::Data(data) => {
                        // Chunks that end in mid-row: whoever reads rows must put them together.
                        let chunks: Vec<_> = data.chunks(7).map(message::copy_data).collect();
                        [chunks.concat(), message::copy_done()].concat()
                    }
                    CopyIn::Fail => message::copy_fail("no data"),
                    CopyIn::Nothing => return,
                };
                self.send(&answer);
            }
            _ => {}
        }
    }

    fn authenticate(&mut self, body: &[u8]) {
        let mut body = Cursor(body);
        let answer = match body.u32() {
            3 => [self.password.as_bytes(), b"\0"].concat(),
            5 => {
                let salt = body.0[..4].try_into().unwrap();
                [md5_hash(self.user.as_bytes(), self.password.as_bytes(), salt).as_bytes(), b"\0"].concat()
            }
            10 => {
                let scram = ScramSha256::new(self.password.as_bytes(), ChannelBinding::unsupported());
                let first = scram.message().to_vec();
                self.scram = Some(scram);
                let length = (first.len() as u32).to_be_bytes();
                [b"SCRAM-SHA-256\0".as_slice(), &length, &first].concat()
            }
            11 => {
                let Some(scram) = self.scram.as_mut() else { return };
                if scram.update(body.0).is_err() {
                    return;
                }
                scram.message().to_vec()
            }
            _ => return,
        };
        self.send(&message::frame(b'p', &answer));
    }

    /// Terminate and close.
    pub fn quit(mut self) {
        self.send(&message::terminate());
    }
}

/// Sends a CancelRequest and waits until the other side has closed: then it was handled.
pub fn cancel(port: u16, pid: u32, key: &[u8]) {
    let mut stream = open(port);
    stream.write_all(&message::cancel(pid, key)).unwrap();
    stream.set_patience(PATIENCE);
    let _ = stream.read(&mut [0; 1]);
}

/// TLS as a client that trusts only these roots.
pub fn tls_client(roots: rustls::RootCertStore, alpn: &[&[u8]]) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
    Arc::new(config)
}
