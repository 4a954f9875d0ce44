//! Bytes between a socket and a [`Session`]'s buffers.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use super::End;
use crate::session::protocol::Session;
use crate::wire::stream::Stream;

/// Bytes read at once. One buffer per thread: an idle session holds none.
const SCRATCH: usize = 32 << 10;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Waits for something while the client is still listened to.
pub(super) async fn listening<T>(
    client: &mut Stream,
    awaits: &mut bool,
    unflushed: &mut bool,
    session: &mut Session,
    waiting: impl Future<Output = T>,
) -> Result<T, End> {
    let mut waiting = pin!(waiting);
    poll_fn(|cx| {
        if let Poll::Ready(got) = waiting.as_mut().poll(cx) {
            return Poll::Ready(Ok(got));
        }
        match listen(client, awaits, unflushed, session, cx) {
            Some(end) => Poll::Ready(Err(end)),
            None => Poll::Pending,
        }
    })
    .await
}

/// Serves the client's side alone. Returns how the session ended, if it did.
pub(super) fn listen(
    client: &mut Stream,
    awaits: &mut bool,
    unflushed: &mut bool,
    session: &mut Session,
    cx: &mut Context<'_>,
) -> Option<End> {
    if !session.client.out.is_empty() {
        if let Err(error) = write_out(client, &mut session.client.out, cx) {
            return Some(End::ClientGone(Some(error)));
        }
        *unflushed = true;
    }
    if *unflushed {
        match Pin::new(&mut *client).poll_flush(cx) {
            Poll::Ready(Ok(())) => *unflushed = false,
            Poll::Ready(Err(error)) => return Some(End::ClientGone(Some(error))),
            Poll::Pending => {}
        }
    }
    while session.wants_client() {
        match read_some(client, awaits, cx, |bytes| session.client_bytes(bytes)) {
            Ok(Some(())) => {}
            Ok(None) => return None,
            Err(Gone::Eof) => return Some(End::ClientGone(None)),
            Err(Gone::Error(error)) => return Some(End::ClientGone(Some(error))),
        }
    }
    None
}

/// Why nothing more can be read.
pub(super) enum Gone {
    Eof,
    Error(io::Error),
}

/// Reads once into the thread's buffer and hands it over; `None` if there is nothing to be read now. While the runtime
/// knows that the task `awaits` the socket and has heard of nothing, it is not asked again: a task that waits for two
/// sockets is woken by one of them.
pub(super) fn read_some<T>(
    socket: &mut Stream,
    awaits: &mut bool,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> T,
) -> Result<Option<T>, Gone> {
    if *awaits && socket.is_quiet() {
        return Ok(None);
    }
    READ_BUFFER.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        match Pin::new(socket).poll_read(cx, &mut buffer) {
            Poll::Pending => {
                // Without budget the runtime has not looked at the socket.
                *awaits = coop::has_budget_remaining();
                Ok(None)
            }
            Poll::Ready(Err(error)) => Err(Gone::Error(error)),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Err(Gone::Eof),
            Poll::Ready(Ok(())) => {
                *awaits = false;
                Ok(Some(take(buffer.filled())))
            }
        }
    })
}

/// Writes as much as the socket takes now.
pub(super) fn write_out(
    socket: &mut (impl AsyncWrite + Unpin),
    bytes: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Result<(), io::Error> {
    while !bytes.is_empty() {
        match Pin::new(&mut *socket).poll_write(cx, bytes) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => bytes.advance(count),
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    Ok(())
}
