//! A socket that can change the runtime that watches it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A TCP or Unix socket, registered with one runtime at a time. Empty only after a failed move.
#[derive(Debug)]
pub struct Socket<S>(Option<S>);

/// What can be registered with another runtime.
pub trait Movable: Sized {
    /// Takes the socket from its runtime and registers it with the one within which this is called.
    ///
    /// # Errors
    /// What the system says.
    fn moved_here(self) -> io::Result<Self>;
}

impl Movable for TcpStream {
    fn moved_here(self) -> io::Result<Self> {
        Self::from_std(self.into_std()?)
    }
}

impl Movable for UnixStream {
    fn moved_here(self) -> io::Result<Self> {
        Self::from_std(self.into_std()?)
    }
}

impl<S> Socket<S> {
    /// Of a socket that is registered with a runtime.
    pub fn new(socket: S) -> Self {
        Self(Some(socket))
    }

    /// The socket, unless a move has failed.
    pub fn get(&self) -> Option<&S> {
        self.0.as_ref()
    }
}

impl<S: Movable> Socket<S> {
    /// Registers it with the runtime within which this is called.
    ///
    /// # Errors
    /// What the system says; reading and writing fail from then on.
    pub fn move_here(&mut self) -> io::Result<()> {
        let socket = self.0.take().ok_or(io::ErrorKind::NotConnected)?;
        self.0 = Some(socket.moved_here()?);
        Ok(())
    }
}

impl Socket<TcpStream> {
    /// Waits for bytes and looks at them without taking them.
    ///
    /// # Errors
    /// What the system says.
    pub async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.as_ref().ok_or(io::ErrorKind::NotConnected)?.peek(bytes).await
    }
}

impl<S: Unpin> Socket<S> {
    fn pinned(self: Pin<&mut Self>) -> io::Result<Pin<&mut S>> {
        self.get_mut().0.as_mut().map(Pin::new).ok_or(io::ErrorKind::NotConnected.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.pinned()?.poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.pinned()?.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pinned()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.as_ref().is_some_and(S::is_write_vectored)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_socket_outlives_the_runtime_that_it_came_from() {
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        let (first, second) = (runtime(), runtime());
        let (mut here, there) = first.block_on(async {
            let (here, there) = UnixStream::pair().unwrap();
            (Socket::new(here), there.into_std().unwrap())
        });
        second.block_on(async { here.move_here().unwrap() });
        drop(first);
        second.block_on(async {
            let mut there = UnixStream::from_std(there).unwrap();
            let mut word = [0; 2];
            let (read, wrote) = tokio::join!(here.read_exact(&mut word), there.write_all(b"hi"));
            wrote.unwrap();
            read.unwrap();
            assert_eq!(&word, b"hi");
        });
    }
}
