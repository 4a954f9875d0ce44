//! Writing messages into a buffer. A message that cannot be written leaves the buffer as it was.

pub mod backend;
pub mod frontend;

use bytes::{BufMut, BytesMut};

use super::error::WireError;
use super::frame::LARGE_LIMIT;

/// Writes one frame: tag, length, and what `body` writes.
///
/// # Errors
/// What `body` returns, or [`WireError::TooLong`] if the frame exceeds what Postgres accepts. `out` is as before.
pub fn frame(
    out: &mut BytesMut,
    tag: u8,
    body: impl FnOnce(&mut BytesMut) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let start = out.len();
    out.put_u8(tag);
    finish(out, start, tag, body)
}

/// As [`frame`], for the packets before authentication, which have no tag.
pub(super) fn untagged(
    out: &mut BytesMut,
    body: impl FnOnce(&mut BytesMut) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let start = out.len();
    finish(out, start, 0, body)
}

fn finish(
    out: &mut BytesMut,
    start: usize,
    tag: u8,
    body: impl FnOnce(&mut BytesMut) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let length_at = out.len();
    out.put_u32(0);
    let result = body(out).and_then(|()| {
        let length = out.len() - length_at;
        u32::try_from(length).ok().filter(|length| *length <= LARGE_LIMIT).ok_or(WireError::TooLong {
            tag,
            length: length as u64,
            limit: LARGE_LIMIT.into(),
        })
    });
    match (result, out.get_mut(length_at..length_at + 4)) {
        (Ok(length), Some(field)) => {
            field.copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        (Ok(_), None) => Err(WireError::Truncated("frame")),
        (Err(error), _) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// A message with a body that cannot fail: fixed and short.
pub(super) fn fixed(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.reserve(5 + body.len());
    out.put_u8(tag);
    // Bodies here are constants or a few bytes.
    out.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
    out.put_slice(body);
}

/// Writes a text and its terminating NUL.
///
/// # Errors
/// [`WireError::EmbeddedNul`]: the text would end early, and its rest would be read as the next field.
pub fn put_cstr(out: &mut BytesMut, message: &'static str, text: &str) -> Result<(), WireError> {
    put_cstr_bytes(out, message, text.as_bytes())
}

/// As [`put_cstr`], for a text in pieces, which `pieces` hands over one after the other.
///
/// # Errors
/// [`WireError::EmbeddedNul`].
pub fn put_cstr_of(
    out: &mut BytesMut,
    message: &'static str,
    pieces: impl FnOnce(&mut dyn FnMut(&str)),
) -> Result<(), WireError> {
    let start = out.len();
    pieces(&mut |piece| out.extend_from_slice(piece.as_bytes()));
    let has_nul = memchr::memchr(0, out.get(start..).unwrap_or_default()).is_some();
    out.put_u8(0);
    if has_nul { Err(WireError::EmbeddedNul(message)) } else { Ok(()) }
}

/// As [`put_cstr`], for bytes in any encoding.
///
/// # Errors
/// [`WireError::EmbeddedNul`].
pub fn put_cstr_bytes(out: &mut BytesMut, message: &'static str, bytes: &[u8]) -> Result<(), WireError> {
    if memchr::memchr(0, bytes).is_some() {
        return Err(WireError::EmbeddedNul(message));
    }
    out.put_slice(bytes);
    out.put_u8(0);
    Ok(())
}

/// Writes a value with its length before it; `None` is NULL.
///
/// # Errors
/// [`WireError::TooLong`] for a value that no frame can hold.
pub fn put_value(out: &mut BytesMut, value: Option<&[u8]>) -> Result<(), WireError> {
    match value {
        None => out.put_i32(-1),
        Some(value) => {
            let length = i32::try_from(value.len()).map_err(|_| WireError::TooLong {
                tag: 0,
                length: value.len() as u64,
                limit: LARGE_LIMIT.into(),
            })?;
            out.put_i32(length);
            out.put_slice(value);
        }
    }
    Ok(())
}

/// A count of 16 bits.
///
/// # Errors
/// [`WireError::TooManyParams`] above 65535.
pub(super) fn put_count(out: &mut BytesMut, count: usize) -> Result<(), WireError> {
    out.put_u16(u16::try_from(count).map_err(|_| WireError::TooManyParams)?);
    Ok(())
}
