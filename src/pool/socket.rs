//! Looking at a socket, and writing to it, without waiting.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Waker};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::AsyncWrite;

use crate::wire::encode::frontend;
use crate::wire::stream::Stream;

/// What a look at an idle connection's socket found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// Open, nothing to read.
    Quiet,
    /// The upstream said something while nobody asked.
    Spoke,
    /// Closed or broken.
    Closed,
}

/// Asks the runtime that watches the socket, and the system only if something came: costs nothing for a connection that is
/// used all the time. The runtime may learn of a closed socket a little later than the system.
pub(super) fn glance(stream: &Stream) -> Probe {
    if stream.is_quiet() { Probe::Quiet } else { probe(stream) }
}

/// Asks the system itself. The sockets are non-blocking.
pub(super) fn probe(stream: &Stream) -> Probe {
    let mut byte = [MaybeUninit::uninit()];
    let found = match stream {
        Stream::Unix(socket) => socket.get().map(|it| SockRef::from(it).peek(&mut byte)),
        Stream::Tcp(_) | Stream::TlsServer(_) | Stream::TlsClient(_) => {
            stream.tcp().map(|it| SockRef::from(it).peek(&mut byte))
        }
    };
    match found.unwrap_or(Ok(0)) {
        Ok(0) => Probe::Closed,
        Ok(_) => Probe::Spoke,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Probe::Quiet,
        Err(_) => Probe::Closed,
    }
}

/// Terminate, if the socket takes it at once: otherwise the upstream learns of the end from the closed socket.
pub(super) fn say_goodbye(stream: &mut Stream) {
    let mut out = BytesMut::new();
    frontend::terminate(&mut out);
    let mut context = Context::from_waker(Waker::noop());
    let mut stream = Pin::new(stream);
    if stream.as_mut().poll_write(&mut context, &out).is_ready() {
        let _ = stream.poll_flush(&mut context);
    }
}
