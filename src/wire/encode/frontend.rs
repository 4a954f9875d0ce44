//! Messages that pgwarden sends to an upstream.

use bytes::{BufMut, BytesMut};

use super::{fixed, frame, put_count, put_cstr, put_cstr_bytes, put_cstr_of, put_value, untagged};
use crate::base::Oid;
use crate::wire::error::WireError;
use crate::wire::frontend::{ExtraParam, Format, FunctionCall, Target};

/// Code of an SSLRequest, in place of a version.
pub const SSL_REQUEST: u32 = (1234 << 16) | 5679;
/// Code of a GSSENCRequest.
pub const GSSENC_REQUEST: u32 = (1234 << 16) | 5680;
/// Code of a CancelRequest.
pub const CANCEL_REQUEST: u32 = (1234 << 16) | 5678;

/// SSLRequest.
pub fn ssl_request(out: &mut BytesMut) {
    out.put_u32(8);
    out.put_u32(SSL_REQUEST);
}

/// StartupMessage with this protocol version (major in the upper 16 bits).
///
/// # Errors
/// A NUL in a parameter.
pub fn startup<'a>(
    out: &mut BytesMut,
    version: u32,
    params: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), WireError> {
    untagged(out, |out| {
        out.put_u32(version);
        for (name, value) in params {
            put_cstr(out, "StartupMessage", name)?;
            put_cstr(out, "StartupMessage", value)?;
        }
        out.put_u8(0);
        Ok(())
    })
}

/// CancelRequest with the key as the server gave it (4 bytes before protocol 3.2, up to 256 since).
///
/// # Errors
/// A key that no frame can hold.
pub fn cancel_request(out: &mut BytesMut, pid: u32, key: &[u8]) -> Result<(), WireError> {
    untagged(out, |out| {
        out.put_u32(CANCEL_REQUEST);
        out.put_u32(pid);
        out.put_slice(key);
        Ok(())
    })
}

/// PasswordMessage: a password or an md5 response.
///
/// # Errors
/// A NUL in it.
pub fn password(out: &mut BytesMut, password: &[u8]) -> Result<(), WireError> {
    frame(out, b'p', |out| put_cstr_bytes(out, "PasswordMessage", password))
}

/// SASLInitialResponse.
///
/// # Errors
/// A NUL in the mechanism's name, or data that no frame can hold.
pub fn sasl_initial_response(out: &mut BytesMut, mechanism: &str, data: &[u8]) -> Result<(), WireError> {
    frame(out, b'p', |out| {
        put_cstr(out, "SASLInitialResponse", mechanism)?;
        put_value(out, Some(data))
    })
}

/// SASLResponse.
///
/// # Errors
/// Data that no frame can hold.
pub fn sasl_response(out: &mut BytesMut, data: &[u8]) -> Result<(), WireError> {
    frame(out, b'p', |out| {
        out.put_slice(data);
        Ok(())
    })
}

/// Query.
///
/// # Errors
/// A NUL in the text.
pub fn query(out: &mut BytesMut, sql: &str) -> Result<(), WireError> {
    frame(out, b'Q', |out| put_cstr(out, "Query", sql))
}

/// Query with a text in pieces, which `pieces` hands over one after the other.
///
/// # Errors
/// As [`query`].
pub fn query_of(out: &mut BytesMut, pieces: impl FnOnce(&mut dyn FnMut(&str))) -> Result<(), WireError> {
    frame(out, b'Q', |out| put_cstr_of(out, "Query", pieces))
}

/// Parse.
///
/// # Errors
/// A NUL in a text, or more than 65535 types.
pub fn parse(out: &mut BytesMut, name: &str, sql: &str, param_types: &[Oid]) -> Result<(), WireError> {
    frame(out, b'P', |out| {
        put_cstr(out, "Parse", name)?;
        put_cstr(out, "Parse", sql)?;
        put_count(out, param_types.len())?;
        param_types.iter().for_each(|oid| out.put_u32(*oid));
        Ok(())
    })
}

/// Bind with these parameters and one format for all result columns.
///
/// # Errors
/// A NUL in a name, or more than 65535 parameters.
pub fn bind(
    out: &mut BytesMut,
    portal: &str,
    statement: &str,
    params: &[ExtraParam<'_>],
    results: Format,
) -> Result<(), WireError> {
    frame(out, b'B', |out| {
        put_cstr(out, "Bind", portal)?;
        put_cstr(out, "Bind", statement)?;
        put_count(out, params.len())?;
        params.iter().for_each(|param| out.put_u16(param.format.code()));
        put_count(out, params.len())?;
        for param in params {
            put_value(out, param.value)?;
        }
        out.put_u16(1);
        out.put_u16(results.code());
        Ok(())
    })
}

/// Describe.
///
/// # Errors
/// A NUL in the name.
pub fn describe(out: &mut BytesMut, target: Target<'_>) -> Result<(), WireError> {
    put_target(out, b'D', "Describe", target)
}

/// Close.
///
/// # Errors
/// A NUL in the name.
pub fn close(out: &mut BytesMut, target: Target<'_>) -> Result<(), WireError> {
    put_target(out, b'C', "Close", target)
}

fn put_target(out: &mut BytesMut, tag: u8, message: &'static str, target: Target<'_>) -> Result<(), WireError> {
    let (kind, name) = match target {
        Target::Statement(name) => (b'S', name),
        Target::Portal(name) => (b'P', name),
    };
    frame(out, tag, |out| {
        out.put_u8(kind);
        put_cstr(out, message, name)
    })
}

/// Execute; `max_rows` 0: all.
///
/// # Errors
/// A NUL in the name.
pub fn execute(out: &mut BytesMut, portal: &str, max_rows: i32) -> Result<(), WireError> {
    frame(out, b'E', |out| {
        put_cstr(out, "Execute", portal)?;
        out.put_i32(max_rows);
        Ok(())
    })
}

/// FunctionCall.
///
/// # Errors
/// A call that no frame can hold.
pub fn function_call(out: &mut BytesMut, call: &FunctionCall<'_>) -> Result<(), WireError> {
    frame(out, b'F', |out| {
        out.put_slice(call.body);
        Ok(())
    })
}

/// Flush.
pub fn flush(out: &mut BytesMut) {
    fixed(out, b'H', &[]);
}

/// Sync.
pub fn sync(out: &mut BytesMut) {
    fixed(out, b'S', &[]);
}

/// Terminate.
pub fn terminate(out: &mut BytesMut) {
    fixed(out, b'X', &[]);
}

/// CopyData.
///
/// # Errors
/// Data that no frame can hold.
pub fn copy_data(out: &mut BytesMut, data: &[u8]) -> Result<(), WireError> {
    frame(out, b'd', |out| {
        out.put_slice(data);
        Ok(())
    })
}

/// CopyDone.
pub fn copy_done(out: &mut BytesMut) {
    fixed(out, b'c', &[]);
}

/// CopyFail.
///
/// # Errors
/// A NUL in the reason.
pub fn copy_fail(out: &mut BytesMut, reason: &str) -> Result<(), WireError> {
    frame(out, b'f', |out| put_cstr(out, "CopyFail", reason))
}
