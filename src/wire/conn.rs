//! A stream with its buffers, for the conversation before and while a session is set up: one message at a time.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::encode;
use super::error::WireError;
use super::frame::{Frame, Limits, take_frame};
use super::stream::Stream;
use crate::base::PgError;

/// Bytes asked for in one read.
const READ_STEP: usize = 4096;

/// Why a conversation could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ConnError {
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer sent something that is no message.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl ConnError {
    /// What to tell the peer, if it can still listen. The session ends in any case.
    pub fn to_pg(&self) -> Option<PgError> {
        match self {
            ConnError::Io(_) | ConnError::Closed => None,
            ConnError::Wire(error) => {
                let error = error.to_pg();
                Some(PgError { severity: crate::base::Severity::Fatal, ..error })
            }
        }
    }
}

/// A stream with what has been read from it and not used, and what is to be written to it.
#[derive(Debug)]
pub struct Conn {
    /// The socket.
    pub stream: Stream,
    /// Received, not used yet.
    pub inbox: BytesMut,
    /// To be sent with the next [`Conn::flush`].
    pub outbox: BytesMut,
}

impl Conn {
    /// Wraps a stream; nothing is allocated until something is read or written.
    pub fn new(stream: impl Into<Stream>) -> Self {
        Self { stream: stream.into(), inbox: BytesMut::new(), outbox: BytesMut::new() }
    }

    /// Reads what there is into `inbox`. Cancel-safe: nothing read is lost.
    ///
    /// # Errors
    /// [`ConnError::Closed`] at the end of the stream, or what the socket says.
    pub async fn fill(&mut self) -> Result<(), ConnError> {
        self.inbox.reserve(READ_STEP);
        match self.stream.read_buf(&mut self.inbox).await? {
            0 => Err(ConnError::Closed),
            _ => Ok(()),
        }
    }

    /// The next whole message, within `limits`. Memory grows with the bytes that arrive, not with the length that is
    /// declared. Cancel-safe.
    ///
    /// # Errors
    /// As [`ConnError`] says.
    pub async fn next_frame(&mut self, limits: &impl Limits) -> Result<Frame, ConnError> {
        loop {
            if let Some(frame) = take_frame(&mut self.inbox, limits)? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// Sends `outbox`. Cancel-safe: what was sent is no longer in it.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all_buf(&mut self.outbox).await?;
        self.stream.flush().await
    }

    /// Tells the peer why, and closes. That the peer may be gone already does not matter here.
    pub async fn refuse(&mut self, error: &PgError) {
        encode::backend::error_response(&mut self.outbox, error);
        if self.flush().await.is_ok() {
            self.close().await;
        }
    }

    /// Closes the sending side, in TLS with its own farewell.
    pub async fn close(&mut self) {
        // A peer that is gone cannot be told so.
        let _ = self.stream.shutdown().await;
    }
}
