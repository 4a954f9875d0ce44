//! Messages that an upstream sends, as borrowed views.

mod auth;
mod report;

pub use auth::{Authentication, Mechanisms, NegotiateProtocolVersion};
pub use report::{FieldChange, Report, code, rewrite_report};

use bytes::{BufMut, BytesMut};

use super::encode::{frame, put_count};
use super::error::{WireError, utf8};
use super::reader::{Codes, Oids, Reader};
use crate::base::Oid;

/// Status byte of ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    /// `I`: no transaction.
    Idle,
    /// `T`: in a transaction.
    Active,
    /// `E`: in a failed transaction.
    Failed,
}

impl TransactionStatus {
    /// The protocol's byte.
    pub fn code(self) -> u8 {
        match self {
            TransactionStatus::Idle => b'I',
            TransactionStatus::Active => b'T',
            TransactionStatus::Failed => b'E',
        }
    }

    /// Reads the body of ReadyForQuery.
    ///
    /// # Errors
    /// If it is not one known byte.
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("ReadyForQuery", body);
        let status = reader.u8()?;
        reader.end()?;
        match status {
            b'I' => Ok(TransactionStatus::Idle),
            b'T' => Ok(TransactionStatus::Active),
            b'E' => Ok(TransactionStatus::Failed),
            other => Err(WireError::BadValue { message: "ReadyForQuery", field: "status", value: other.into() }),
        }
    }
}

/// `S`: a setting that the server reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterStatus<'a> {
    /// Name of the setting.
    pub name: &'a str,
    /// Its value now.
    pub value: &'a str,
}

impl<'a> ParameterStatus<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// If it is not two terminated UTF-8 texts.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("ParameterStatus", body);
        let status = ParameterStatus { name: reader.text()?, value: reader.text()? };
        reader.end()?;
        Ok(status)
    }
}

/// `K`: what a CancelRequest for this connection must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendKeyData<'a> {
    /// Process id.
    pub pid: u32,
    /// Secret: 4 bytes before protocol 3.2, 4 to 256 since.
    pub key: &'a [u8],
}

impl<'a> BackendKeyData<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// If the key has fewer than 4 or more than 256 bytes.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("BackendKeyData", body);
        let pid = reader.u32()?;
        let key = reader.rest();
        if (4..=256).contains(&key.len()) {
            Ok(Self { pid, key })
        } else {
            Err(WireError::BadValue {
                message: "BackendKeyData",
                field: "key length",
                value: i64::try_from(key.len()).unwrap_or(i64::MAX),
            })
        }
    }
}

/// Reads the types of a ParameterDescription.
///
/// # Errors
/// If the body is not well-formed.
pub fn parameter_description(body: &[u8]) -> Result<Oids<'_>, WireError> {
    let mut reader = Reader::new("ParameterDescription", body);
    let types = Oids::read(&mut reader)?;
    reader.end()?;
    Ok(types)
}

/// Writes a ParameterDescription without its last `count` types: those of parameters that the client does not know of.
///
/// # Errors
/// If the body is not well-formed or has fewer types. `out` is as before.
pub fn drop_last_params(out: &mut BytesMut, body: &[u8], count: usize) -> Result<(), WireError> {
    let types = parameter_description(body)?;
    let kept = types.len().checked_sub(count).ok_or(WireError::Truncated("ParameterDescription"))?;
    frame(out, b't', |out| {
        put_count(out, kept)?;
        types.iter().take(kept).for_each(|oid| out.put_u32(oid));
        Ok(())
    })
}

/// `C`: a statement ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandComplete<'a> {
    /// Command tag, for instance `INSERT 0 5`.
    pub tag: &'a str,
}

impl<'a> CommandComplete<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// If it is not one terminated UTF-8 text.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("CommandComplete", body);
        let bytes = reader.cstr()?;
        reader.end()?;
        Ok(Self { tag: utf8("CommandComplete", bytes)? })
    }

    /// The number of rows in the tag, if it has one.
    pub fn rows(&self) -> Option<u64> {
        self.tag.rsplit(' ').next()?.parse().ok()
    }
}

/// `G`, `H` or `W`: a COPY begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyResponse<'a> {
    /// The overall format: binary, or else text (csv included).
    pub binary: bool,
    /// Formats of the columns.
    pub columns: Codes<'a>,
}

impl<'a> CopyResponse<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// If it is not well-formed.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("CopyResponse", body);
        let format = reader.u8()?;
        let columns = Codes::read(&mut reader)?;
        reader.end()?;
        let binary = match format {
            0 => false,
            1 => true,
            other => {
                return Err(WireError::BadValue { message: "CopyResponse", field: "format", value: other.into() });
            }
        };
        Ok(Self { binary, columns })
    }
}

/// A column of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The table that it is of; 0: of none.
    pub table: Oid,
    /// Which of its columns.
    pub attribute: i16,
    /// Format code of its values.
    pub format: u16,
}

/// `T`: the columns of the rows to come. Only what a session does that is observed needs them.
///
/// # Errors
/// If the body is not well-formed.
pub fn row_description(body: &[u8]) -> Result<Vec<Field>, WireError> {
    let mut reader = Reader::new("RowDescription", body);
    let count = reader.u16()?;
    // Not more than the body can hold: each column has 19 bytes at least.
    let mut fields = Vec::with_capacity(usize::from(count).min(body.len() / 19));
    for _ in 0..count {
        reader.cstr()?;
        let (table, attribute) = (reader.u32()?, reader.u16()?.cast_signed());
        // Type, its size and its modifier.
        reader.take(10)?;
        fields.push(Field { table, attribute, format: reader.u16()? });
    }
    reader.end()?;
    Ok(fields)
}

/// `D`: the values of one row. Rows of clients are read where a session is observed only; this is for what pgwarden itself asks.
///
/// # Errors
/// If the body is not well-formed.
pub fn data_row(body: &[u8]) -> Result<Vec<Option<&[u8]>>, WireError> {
    let mut reader = Reader::new("DataRow", body);
    let count = reader.u16()?;
    // Not more than the body can hold: each value has a length of four bytes.
    let mut values = Vec::with_capacity(usize::from(count).min(body.len() / 4));
    for _ in 0..count {
        values.push(reader.value()?);
    }
    reader.end()?;
    Ok(values)
}
