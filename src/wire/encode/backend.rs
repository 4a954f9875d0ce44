//! Messages that pgwarden sends to a client.

use bytes::{BufMut, BytesMut};

use super::{fixed, frame, put_count, put_cstr, put_value};
use crate::base::{Oid, PgError};
use crate::wire::backend::TransactionStatus;
use crate::wire::error::WireError;
use crate::wire::frontend::Format;

/// AuthenticationOk.
pub fn authentication_ok(out: &mut BytesMut) {
    fixed(out, b'R', &0u32.to_be_bytes());
}

/// AuthenticationCleartextPassword.
pub fn authentication_cleartext(out: &mut BytesMut) {
    fixed(out, b'R', &3u32.to_be_bytes());
}

/// AuthenticationMD5Password.
pub fn authentication_md5(out: &mut BytesMut, salt: [u8; 4]) {
    let [a, b, c, d] = salt;
    fixed(out, b'R', &[0, 0, 0, 5, a, b, c, d]);
}

/// AuthenticationSASL with these mechanisms, best first.
///
/// # Errors
/// A NUL in a name.
pub fn authentication_sasl(out: &mut BytesMut, mechanisms: &[&str]) -> Result<(), WireError> {
    frame(out, b'R', |out| {
        out.put_u32(10);
        for mechanism in mechanisms {
            put_cstr(out, "AuthenticationSASL", mechanism)?;
        }
        out.put_u8(0);
        Ok(())
    })
}

/// AuthenticationSASLContinue.
///
/// # Errors
/// Data that no frame can hold.
pub fn authentication_sasl_continue(out: &mut BytesMut, data: &[u8]) -> Result<(), WireError> {
    sasl_data(out, 11, data)
}

/// AuthenticationSASLFinal.
///
/// # Errors
/// Data that no frame can hold.
pub fn authentication_sasl_final(out: &mut BytesMut, data: &[u8]) -> Result<(), WireError> {
    sasl_data(out, 12, data)
}

fn sasl_data(out: &mut BytesMut, code: u32, data: &[u8]) -> Result<(), WireError> {
    frame(out, b'R', |out| {
        out.put_u32(code);
        out.put_slice(data);
        Ok(())
    })
}

/// NegotiateProtocolVersion: the version spoken from now on (all 32 bits) and the options that are not known.
///
/// # Errors
/// A NUL in an option.
pub fn negotiate_protocol_version(
    out: &mut BytesMut,
    version: u32,
    unknown_options: &[String],
) -> Result<(), WireError> {
    frame(out, b'v', |out| {
        out.put_u32(version);
        // The startup packet that they came in has at most 10,000 bytes.
        out.put_u32(u32::try_from(unknown_options.len()).unwrap_or(u32::MAX));
        unknown_options.iter().try_for_each(|option| put_cstr(out, "NegotiateProtocolVersion", option))
    })
}

/// ParameterStatus.
///
/// # Errors
/// A NUL in a text.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) -> Result<(), WireError> {
    frame(out, b'S', |out| {
        put_cstr(out, "ParameterStatus", name)?;
        put_cstr(out, "ParameterStatus", value)
    })
}

/// NotificationResponse.
///
/// # Errors
/// A NUL in a text.
pub fn notification_response(out: &mut BytesMut, pid: i32, channel: &str, payload: &str) -> Result<(), WireError> {
    frame(out, b'A', |out| {
        out.put_i32(pid);
        put_cstr(out, "NotificationResponse", channel)?;
        put_cstr(out, "NotificationResponse", payload)
    })
}

/// BackendKeyData. Protocol 3.0 has keys of 4 bytes, 3.2 of up to 256.
///
/// # Errors
/// A key that no frame can hold.
pub fn backend_key_data(out: &mut BytesMut, pid: u32, key: &[u8]) -> Result<(), WireError> {
    frame(out, b'K', |out| {
        out.put_u32(pid);
        out.put_slice(key);
        Ok(())
    })
}

/// ReadyForQuery.
pub fn ready_for_query(out: &mut BytesMut, status: TransactionStatus) {
    fixed(out, b'Z', &[status.code()]);
}

/// ParseComplete.
pub fn parse_complete(out: &mut BytesMut) {
    fixed(out, b'1', &[]);
}

/// BindComplete.
pub fn bind_complete(out: &mut BytesMut) {
    fixed(out, b'2', &[]);
}

/// CloseComplete.
pub fn close_complete(out: &mut BytesMut) {
    fixed(out, b'3', &[]);
}

/// NoData.
pub fn no_data(out: &mut BytesMut) {
    fixed(out, b'n', &[]);
}

/// PortalSuspended.
pub fn portal_suspended(out: &mut BytesMut) {
    fixed(out, b's', &[]);
}

/// EmptyQueryResponse.
pub fn empty_query_response(out: &mut BytesMut) {
    fixed(out, b'I', &[]);
}

/// CommandComplete, for instance `SELECT 1`.
///
/// # Errors
/// A NUL in the tag.
pub fn command_complete(out: &mut BytesMut, tag: &str) -> Result<(), WireError> {
    frame(out, b'C', |out| put_cstr(out, "CommandComplete", tag))
}

/// ParameterDescription.
///
/// # Errors
/// More than 65535 types.
pub fn parameter_description(out: &mut BytesMut, types: &[Oid]) -> Result<(), WireError> {
    frame(out, b't', |out| {
        put_count(out, types.len())?;
        types.iter().for_each(|oid| out.put_u32(*oid));
        Ok(())
    })
}

/// A column of a result that pgwarden itself makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    /// Name.
    pub name: &'a str,
    /// Type.
    pub type_oid: Oid,
    /// Size of the type in bytes; negative for a variable one (`pg_type.typlen`).
    pub type_size: i16,
    /// How its values are written.
    pub format: Format,
}

impl<'a> Column<'a> {
    /// A column of type `text`, written as text.
    pub fn text(name: &'a str) -> Self {
        Self { name, type_oid: 25, type_size: -1, format: Format::Text }
    }
}

/// RowDescription.
///
/// # Errors
/// A NUL in a name, or more than 65535 columns.
pub fn row_description(out: &mut BytesMut, columns: &[Column<'_>]) -> Result<(), WireError> {
    frame(out, b'T', |out| {
        put_count(out, columns.len())?;
        for column in columns {
            put_cstr(out, "RowDescription", column.name)?;
            // No table and no column of one.
            out.put_u32(0);
            out.put_u16(0);
            out.put_u32(column.type_oid);
            out.put_i16(column.type_size);
            out.put_i32(-1);
            out.put_u16(column.format.code());
        }
        Ok(())
    })
}

/// DataRow; `None` is NULL.
///
/// # Errors
/// More than 65535 values, or values that no frame can hold.
pub fn data_row(out: &mut BytesMut, values: &[Option<&[u8]>]) -> Result<(), WireError> {
    frame(out, b'D', |out| {
        put_count(out, values.len())?;
        values.iter().try_for_each(|value| put_value(out, *value))
    })
}

/// ErrorResponse. NUL bytes in texts are left out: an error must always get through.
pub fn error_response(out: &mut BytesMut, error: &PgError) {
    put_report(out, b'E', error.severity.as_str(), error);
}

/// NoticeResponse with severity WARNING or NOTICE; the error's own severity is not looked at.
pub fn notice_response(out: &mut BytesMut, severity: &'static str, notice: &PgError) {
    put_report(out, b'N', severity, notice);
}

fn put_report(out: &mut BytesMut, tag: u8, severity: &str, report: &PgError) {
    let position = report.position.map(|position| position.to_string());
    let fields = [
        (b'S', Some(severity)),
        (b'V', Some(severity)),
        (b'C', Some(report.code.as_str())),
        (b'M', Some(report.message.as_ref())),
        (b'D', report.detail.as_deref()),
        (b'H', report.hint.as_deref()),
        (b'P', position.as_deref()),
    ];
    let written = frame(out, tag, |out| {
        for (code, value) in fields {
            if let Some(value) = value {
                out.put_u8(code);
                out.extend(value.bytes().filter(|byte| *byte != 0));
                out.put_u8(0);
            }
        }
        out.put_u8(0);
        Ok(())
    });
    // Only a text near 1 GiB gets here, and none is made; the client must still hear of an error.
    if written.is_err() {
        fixed(out, tag, b"SERROR\0VERROR\0CXX000\0Merror too long to report\0\0");
    }
}

/// CopyInResponse: the overall format and those of the columns.
///
/// # Errors
/// More than 65535 columns.
pub fn copy_in_response(out: &mut BytesMut, format: Format, columns: &[Format]) -> Result<(), WireError> {
    copy_response(out, b'G', format, columns)
}

/// CopyOutResponse: the overall format and those of the columns.
///
/// # Errors
/// More than 65535 columns.
pub fn copy_out_response(out: &mut BytesMut, format: Format, columns: &[Format]) -> Result<(), WireError> {
    copy_response(out, b'H', format, columns)
}

fn copy_response(out: &mut BytesMut, tag: u8, format: Format, columns: &[Format]) -> Result<(), WireError> {
    frame(out, tag, |out| {
        out.put_u8(match format {
            Format::Text => 0,
            Format::Binary => 1,
        });
        put_count(out, columns.len())?;
        columns.iter().for_each(|format| out.put_u16(format.code()));
        Ok(())
    })
}

/// CopyData.
///
/// # Errors
/// Data that no frame can hold.
pub fn copy_data(out: &mut BytesMut, data: &[u8]) -> Result<(), WireError> {
    super::frontend::copy_data(out, data)
}

/// CopyDone.
pub fn copy_done(out: &mut BytesMut) {
    fixed(out, b'c', &[]);
}
