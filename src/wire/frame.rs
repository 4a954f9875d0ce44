//! Finding frames in a byte buffer: tag, length, body. Lengths are checked before anything is allocated.
//!
//! A message that must be read is taken whole ([`take_frame`]); a message that is only passed on (DataRow, CopyData) is
//! announced by its [`Head`] and then forwarded as it comes in ([`take_body_part`]), so that it is never held in memory.

use bytes::BytesMut;

use super::error::WireError;

/// Largest startup packet, length field included: what Postgres allows (`MAX_STARTUP_PACKET_LENGTH`).
pub const STARTUP_LIMIT: u32 = 10_000;
/// Largest password, SASLInitialResponse or SASLResponse message, length field included.
pub const PASSWORD_LIMIT: u32 = 2_048;
/// Largest message of those that carry at most a name: Postgres's `PQ_SMALL_MESSAGE_LIMIT`.
pub const SMALL_LIMIT: u32 = 10_000;
/// Largest message of all: Postgres's `PQ_LARGE_MESSAGE_LIMIT`.
pub const LARGE_LIMIT: u32 = 0x3fff_fffe;
/// Largest message of an upstream that is held in memory (errors, notices, parameters); all others are passed on in parts.
pub const UPSTREAM_HELD_LIMIT: u32 = 1 << 20;

/// The first five bytes of a frame, with a length that is within limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Tag byte: the kind of message.
    pub tag: u8,
    /// Length of the body, without tag and length field.
    pub body: u32,
}

impl Head {
    /// Bytes of tag and length field.
    pub const LEN: usize = 5;

    /// Length of the whole frame: tag, length field, body.
    pub fn frame_len(self) -> usize {
        // A usize has at least 32 bits on every platform that tokio runs on, and the limits keep `body` below 2^30.
        Self::LEN + self.body as usize
    }
}

/// How long a message may be, by its tag.
pub trait Limits {
    /// The largest length field that a message with this tag may have.
    ///
    /// # Errors
    /// [`WireError::UnknownTag`] if no such message may come now.
    fn limit(&self, tag: u8) -> Result<u32, WireError>;
}

/// The same limit for every tag: for a moment in which one kind of message is expected.
#[derive(Clone, Copy, Debug)]
pub struct AnyTag(pub u32);

impl Limits for AnyTag {
    fn limit(&self, _tag: u8) -> Result<u32, WireError> {
        Ok(self.0)
    }
}

/// Before authentication: nothing but password messages, with at most this length field, and Terminate.
#[derive(Clone, Copy, Debug)]
pub struct LoginLimits(pub u32);

impl Limits for LoginLimits {
    fn limit(&self, tag: u8) -> Result<u32, WireError> {
        match tag {
            b'p' => Ok(self.0),
            b'X' => Ok(4),
            _ => Err(WireError::UnknownTag(tag)),
        }
    }
}

/// What a client may send after authentication.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Query and Parse: SQL text.
    pub statement: u32,
    /// Bind and FunctionCall: values. They are held in memory.
    pub values: u32,
    /// CopyData: passed on in parts.
    pub copy_data: u32,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { statement: 16 << 20, values: 256 << 20, copy_data: LARGE_LIMIT }
    }
}

impl Limits for ClientLimits {
    fn limit(&self, tag: u8) -> Result<u32, WireError> {
        match tag {
            b'Q' | b'P' => Ok(self.statement),
            b'B' | b'F' => Ok(self.values),
            b'd' => Ok(self.copy_data),
            b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' => Ok(SMALL_LIMIT),
            _ => Err(WireError::UnknownTag(tag)),
        }
    }
}

/// What an upstream may send: rows and COPY data of any size, all else small enough to be held.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamLimits;

impl Limits for UpstreamLimits {
    fn limit(&self, tag: u8) -> Result<u32, WireError> {
        match tag {
            // DataRow, CopyData, RowDescription, FunctionCallResponse: only passed on.
            b'D' | b'd' | b'T' | b'V' => Ok(LARGE_LIMIT),
            b'E' | b'N' | b'A' | b'S' | b'R' | b'K' | b'v' | b'Z' | b'C' | b't' | b'G' | b'H' | b'W' | b'1' | b'2'
            | b'3' | b'I' | b'n' | b's' | b'c' => Ok(UPSTREAM_HELD_LIMIT),
            _ => Err(WireError::UnknownTag(tag)),
        }
    }
}

/// The head of the frame at the start of `buffer`, or `None` if fewer than five bytes are there.
///
/// # Errors
/// A length below 4, above the limit for the tag, or a tag that may not come now: the session must end.
pub fn peek_head(buffer: &[u8], limits: &impl Limits) -> Result<Option<Head>, WireError> {
    let Some([tag, length @ ..]) = buffer.first_chunk::<{ Head::LEN }>() else {
        // A wrong tag is told at once: its sender may never send a fifth byte.
        return match buffer.first() {
            Some(tag) => limits.limit(*tag).map(|_| None),
            None => Ok(None),
        };
    };
    let (tag, length) = (*tag, u32::from_be_bytes(*length));
    let limit = limits.limit(tag)?;
    let body = length.checked_sub(4).ok_or(WireError::BadLength { tag, length })?;
    if length > limit {
        return Err(WireError::TooLong { tag, length: length.into(), limit: limit.into() });
    }
    Ok(Some(Head { tag, body }))
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    bytes: BytesMut,
}

impl Frame {
    /// Tag byte.
    pub fn tag(&self) -> u8 {
        self.bytes.first().copied().unwrap_or_default()
    }

    /// Body, without tag and length field.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(Head::LEN..).unwrap_or_default()
    }

    /// The frame as it came: tag, length field, body.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The frame as it came, owned.
    pub fn into_bytes(self) -> BytesMut {
        self.bytes
    }
}

/// Takes the first frame out of `buffer` without copying it, or `None` if it is not complete yet.
///
/// # Errors
/// As [`peek_head`].
pub fn take_frame(buffer: &mut BytesMut, limits: &impl Limits) -> Result<Option<Frame>, WireError> {
    match peek_head(buffer, limits)? {
        Some(head) if buffer.len() >= head.frame_len() => Ok(Some(Frame { bytes: buffer.split_to(head.frame_len()) })),
        _ => Ok(None),
    }
}

/// Takes what has arrived of a frame that is passed on in parts. `left` is what is still missing of it (at first
/// [`Head::frame_len`]) and shrinks by what is returned; the frame is over at 0.
pub fn take_body_part(buffer: &mut BytesMut, left: &mut usize) -> BytesMut {
    let count = buffer.len().min(*left);
    *left -= count;
    buffer.split_to(count)
}
