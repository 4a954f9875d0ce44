//! Rewrites a COPY FROM STDIN stream: text, csv, binary, in constant memory.
//!
//! Rows are found exactly as the server finds them; the tenant column is appended to each, or compared in each. Bytes go
//! out as they come in, but the end of a row only after its tenant value was found right: after a refusal the caller must
//! end the COPY with CopyFail, never with CopyDone.

mod binary;
mod delimited;
mod field;
mod reader;

use binary::Binary;
use delimited::Delimited;
pub(super) use field::unescape;
pub(super) use reader::{Dialect, Reader, Rows};

use super::value::TenantValue;
use super::{CopyFormat, CopyIn};
use crate::base::{Oid, Refusal, RefusalKind, SqlState};

/// A value of the tenant column longer than this (and four times the tenant's own) is not the tenant's.
const CAPTURE_BYTES: usize = 256;

/// One COPY FROM STDIN stream on its way to the server.
#[derive(Debug)]
pub struct CopyRewriter {
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    Delimited(Box<Delimited>),
    Binary(Box<Binary>),
}

impl CopyRewriter {
    /// A rewriter for one stream. `value` is the tenant's key in text form, `type_oid` the tenant column's type.
    ///
    /// # Errors
    /// 42501 if the value is none of that type; 0A000 for a binary stream of a type whose binary format is not known here,
    /// and for separators that leave rows ambiguous.
    pub fn new(copy: &CopyIn, value: &str, type_oid: Oid) -> Result<Self, Refusal> {
        let own = Own::new(value, type_oid)?;
        let stream = match &copy.format {
            CopyFormat::Binary => Stream::Binary(Box::new(Binary::new(copy, own)?)),
            CopyFormat::Text { .. } | CopyFormat::Csv { .. } => Stream::Delimited(Box::new(Delimited::new(copy, own)?)),
        };
        Ok(Self { stream })
    }

    /// Rewrites the payload of one CopyData message (or any part of the stream) and adds the result to `out`.
    ///
    /// # Errors
    /// 42501 for a row of another tenant, 22P04 for a malformed stream.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        match &mut self.stream {
            Stream::Delimited(stream) => stream.push(data, out),
            Stream::Binary(stream) => stream.push(data, out),
        }
    }

    /// The client's CopyDone: completes a last line without a line end.
    ///
    /// # Errors
    /// As [`CopyRewriter::push`].
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match &mut self.stream {
            Stream::Delimited(stream) => stream.finish(out),
            Stream::Binary(_) => Ok(()),
        }
    }
}

/// The tenant's own value.
#[derive(Debug)]
struct Own {
    text: String,
    value: TenantValue,
    type_oid: Oid,
}

impl Own {
    fn new(text: &str, type_oid: Oid) -> Result<Self, Refusal> {
        let value = TenantValue::from_text(type_oid, text).ok_or_else(|| {
            Refusal::new(
                RefusalKind::Relation,
                SqlState::INSUFFICIENT_PRIVILEGE,
                "the tenant's key is no value of the tenant column's type",
            )
        })?;
        Ok(Self { text: text.to_owned(), value, type_oid })
    }

    /// How many bytes of a field are kept for the comparison.
    fn capture_limit(&self) -> usize {
        CAPTURE_BYTES.max(self.text.len().saturating_mul(4))
    }

    fn equals_text(&self, bytes: &[u8]) -> bool {
        std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| TenantValue::from_text(self.type_oid, text))
            .is_some_and(|given| given == self.value)
    }

    fn equals_binary(&self, bytes: &[u8]) -> bool {
        TenantValue::from_binary(self.type_oid, bytes).is_some_and(|given| given == self.value)
    }
}

fn foreign_row() -> Refusal {
    Refusal::new(
        RefusalKind::ForeignTenant,
        SqlState::INSUFFICIENT_PRIVILEGE,
        "a row of the COPY data belongs to another tenant",
    )
    .hint("Leave the tenant column out of the column list, or send the tenant's own key in every row.")
    .about("COPY")
}

fn malformed(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(RefusalKind::Syntax, SqlState::BAD_COPY_FILE_FORMAT, message)
}

fn unsupported(message: &'static str) -> Refusal {
    Refusal::new(RefusalKind::Unsupported, SqlState::FEATURE_NOT_SUPPORTED, message)
}

#[cfg(test)]
mod tests;
