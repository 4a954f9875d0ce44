//! A socket, with or without TLS, as one type.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::socket::Socket;
use super::tls::end_point_hash;

/// A connection to a client or to an upstream. TLS states are boxed: most connections of a pool have none.
#[derive(Debug)]
pub enum Stream {
    /// TCP without TLS.
    Tcp(Socket<TcpStream>),
    /// A Unix-domain socket.
    Unix(Socket<UnixStream>),
    /// TLS towards a client.
    TlsServer(Box<tokio_rustls::server::TlsStream<Socket<TcpStream>>>),
    /// TLS towards an upstream.
    TlsClient(Box<tokio_rustls::client::TlsStream<Socket<TcpStream>>>),
}

/// How dead peers are noticed. `None` leaves what the system does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle time before the first probe.
    pub idle: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
    /// Probes without an answer before the connection is dropped.
    pub retries: Option<u32>,
    /// How long sent data may stay unacknowledged (`TCP_USER_TIMEOUT`, Linux only).
    pub user_timeout: Option<Duration>,
}

impl Keepalive {
    /// Sets TCP_NODELAY (messages are batched here already) and the probes.
    ///
    /// # Errors
    /// What the system says.
    pub fn apply(&self, socket: &TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let mut keepalive = TcpKeepalive::new();
        if let Some(idle) = self.idle {
            keepalive = keepalive.with_time(idle);
        }
        if let Some(interval) = self.interval {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(retries) = self.retries {
            keepalive = keepalive.with_retries(retries);
        }
        let socket = SockRef::from(socket);
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(target_os = "linux")]
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        Ok(())
    }
}

impl Stream {
    /// The TCP socket beneath, if there is one.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Stream::Tcp(socket) => socket.get(),
            Stream::Unix(_) => None,
            Stream::TlsServer(tls) => tls.get_ref().0.get(),
            Stream::TlsClient(tls) => tls.get_ref().0.get(),
        }
    }

    /// Registers the socket with the runtime within which this is called: its readiness is then noticed by, and its tasks
    /// are woken on, the thread that uses it.
    ///
    /// # Errors
    /// What the system says; the stream cannot be used any more then.
    pub fn move_here(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(socket) => socket.move_here(),
            Stream::Unix(socket) => socket.move_here(),
            Stream::TlsServer(tls) => tls.get_mut().0.move_here(),
            Stream::TlsClient(tls) => tls.get_mut().0.move_here(),
        }
    }

    /// Whether the runtime that watches the socket has heard of nothing to read since a read that found nothing: asks
    /// nobody, costs next to nothing. It may learn of something a little later than the system.
    pub fn is_quiet(&self) -> bool {
        let heard = match self {
            Stream::Unix(socket) => socket.get().map(|it| it.try_io(Interest::READABLE, || Ok(()))),
            Stream::Tcp(_) | Stream::TlsServer(_) | Stream::TlsClient(_) => {
                self.tcp().map(|it| it.try_io(Interest::READABLE, || Ok(())))
            }
        };
        heard.is_some_and(|heard| heard.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock))
    }

    /// Whether TLS is on.
    pub fn is_encrypted(&self) -> bool {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => false,
            Stream::TlsServer(_) | Stream::TlsClient(_) => true,
        }
    }

    /// Whether nobody on a network can read what is sent: TLS, a Unix socket, or the loopback interface.
    pub fn is_private(&self) -> bool {
        match self {
            Stream::Tcp(socket) => socket
                .get()
                .and_then(|it| it.peer_addr().ok())
                .is_some_and(|peer| peer.ip().to_canonical().is_loopback()),
            Stream::Unix(_) | Stream::TlsServer(_) | Stream::TlsClient(_) => true,
        }
    }

    /// The host name that a client asked for in its TLS handshake.
    pub fn sni(&self) -> Option<&str> {
        match self {
            Stream::TlsServer(tls) => tls.get_ref().1.server_name(),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::TlsClient(_) => None,
        }
    }

    /// The certificate that a client showed, and an authority of ours signed.
    pub fn client_certificate(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Stream::TlsServer(tls) => tls.get_ref().1.peer_certificates()?.first(),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::TlsClient(_) => None,
        }
    }

    /// Channel binding data of an upstream's certificate (`tls-server-end-point`, RFC 5929). `None` without TLS, or if
    /// its signature has no hash of its own (Ed25519). Towards clients see `ServerTls::end_point`.
    pub fn upstream_end_point(&self) -> Option<Vec<u8>> {
        match self {
            Stream::TlsClient(tls) => end_point_hash(tls.get_ref().1.peer_certificates()?.first()?),
            Stream::Tcp(_) | Stream::Unix(_) | Stream::TlsServer(_) => None,
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Stream::Tcp(Socket::new(socket))
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Self {
        Stream::Unix(Socket::new(socket))
    }
}

macro_rules! on_each {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Tcp(io) => {
                let $io = Pin::new(io);
                $call
            }
            Stream::Unix(io) => {
                let $io = Pin::new(io);
                $call
            }
            Stream::TlsServer(io) => {
                let $io = Pin::new(io.as_mut());
                $call
            }
            Stream::TlsClient(io) => {
                let $io = Pin::new(io.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_each!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_each!(self, io => io.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, io => io.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_each!(self, io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(io) => io.is_write_vectored(),
            Stream::Unix(io) => io.is_write_vectored(),
            Stream::TlsServer(io) => io.is_write_vectored(),
            Stream::TlsClient(io) => io.is_write_vectored(),
        }
    }
}
