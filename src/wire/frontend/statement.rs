//! Parse, Describe, Close and Execute.

use bytes::{BufMut, BytesMut};

use crate::base::Oid;
use crate::wire::encode::{frame, put_cstr};
use crate::wire::error::WireError;
use crate::wire::reader::{Oids, Reader};

/// `P`: a statement to be prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    /// Name of the prepared statement; empty for the unnamed one.
    pub name: &'a str,
    /// SQL text.
    pub sql: &'a str,
    /// Types of the first parameters; 0 stands for unspecified.
    pub param_types: Oids<'a>,
}

impl<'a> Parse<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// If it is not well-formed, or its texts are not UTF-8.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("Parse", body);
        let parse = Parse { name: reader.text()?, sql: reader.text()?, param_types: Oids::read(&mut reader)? };
        reader.end()?;
        Ok(parse)
    }
}

/// What Describe and Close name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `S`: a prepared statement.
    Statement(&'a str),
    /// `P`: a portal.
    Portal(&'a str),
}

impl<'a> Target<'a> {
    pub(super) fn read(message: &'static str, body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(message, body);
        let kind = reader.u8()?;
        let name = reader.text()?;
        reader.end()?;
        match kind {
            b'S' => Ok(Target::Statement(name)),
            b'P' => Ok(Target::Portal(name)),
            other => Err(WireError::BadValue { message, field: "subtype", value: other.into() }),
        }
    }
}

/// `E`: run a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execute<'a> {
    /// Name of the portal; empty for the unnamed one.
    pub portal: &'a str,
    /// Rows to return before suspending; 0 or less: all.
    pub max_rows: i32,
}

impl<'a> Execute<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// If it is not well-formed, or the name is not UTF-8.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("Execute", body);
        let execute = Execute { portal: reader.text()?, max_rows: reader.i32()? };
        reader.end()?;
        Ok(execute)
    }
}

/// Writes a Parse with another name and text, and with types for parameters `client_params + 1 ..` behind the client's.
/// Parameters whose type the client left out are written as unspecified (0).
///
/// # Errors
/// A NUL in `name` or `sql`, more than 65535 parameters, or `declared` longer than `client_params` (the appended types
/// would then belong to other parameters). `out` is as before.
pub fn parse_with_extra(
    out: &mut BytesMut,
    name: &str,
    sql: &str,
    declared: impl ExactSizeIterator<Item = Oid>,
    client_params: u16,
    extra: &[Oid],
) -> Result<(), WireError> {
    let given = declared.len();
    let missing = usize::from(client_params).checked_sub(given).ok_or(WireError::TooManyParams)?;
    // Without appended types the client's list goes as it came.
    let padding = if extra.is_empty() { 0 } else { missing };
    let count = u16::try_from(given + padding + extra.len()).map_err(|_| WireError::TooManyParams)?;
    frame(out, b'P', |out| {
        put_cstr(out, "Parse", name)?;
        put_cstr(out, "Parse", sql)?;
        out.put_u16(count);
        declared.chain(std::iter::repeat_n(0, padding)).chain(extra.iter().copied()).for_each(|oid| out.put_u32(oid));
        Ok(())
    })
}
