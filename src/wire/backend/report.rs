//! ErrorResponse and NoticeResponse: reading their fields, and passing them on with fields changed.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use crate::base::SqlState;
use crate::wire::encode::{frame, put_cstr_bytes};
use crate::wire::error::WireError;
use crate::wire::reader::Reader;

/// Codes of fields ("Error and Notice Message Fields" in Postgres's manual).
pub mod code {
    /// Severity in the server's language.
    pub const SEVERITY: u8 = b'S';
    /// Severity, never translated.
    pub const SEVERITY_PLAIN: u8 = b'V';
    /// SQLSTATE.
    pub const SQLSTATE: u8 = b'C';
    /// Primary message.
    pub const MESSAGE: u8 = b'M';
    /// Detail.
    pub const DETAIL: u8 = b'D';
    /// Hint.
    pub const HINT: u8 = b'H';
    /// Position in the client's text.
    pub const POSITION: u8 = b'P';
    /// Position in an internally made query.
    pub const INTERNAL_POSITION: u8 = b'p';
    /// Internally made query.
    pub const INTERNAL_QUERY: u8 = b'q';
    /// Where: the call stack.
    pub const WHERE: u8 = b'W';
    /// The server's routine.
    pub const ROUTINE: u8 = b'R';
}

/// The fields of an ErrorResponse or NoticeResponse. Values are bytes: before a server knows the client's encoding, they
/// may be in any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    fields: &'a [u8],
}

impl<'a> Report<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// If a field is not terminated, or the list is not.
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new("ErrorResponse", body);
        while reader.u8()? != 0 {
            reader.cstr()?;
        }
        reader.end()?;
        Ok(Self { fields: body })
    }

    /// All fields in order: code and value.
    pub fn fields(&self) -> impl Iterator<Item = (u8, &'a [u8])> + 'a {
        let mut reader = Reader::new("ErrorResponse", self.fields);
        std::iter::from_fn(move || {
            let code = reader.u8().ok().filter(|code| *code != 0)?;
            Some((code, reader.cstr().ok()?))
        })
    }

    /// The value of the first field with this code.
    pub fn field(&self, code: u8) -> Option<&'a [u8]> {
        self.fields().find_map(|(found, value)| (found == code).then_some(value))
    }

    /// The value as text for a log: what is not UTF-8 is replaced.
    pub fn log_text(&self, code: u8) -> Cow<'a, str> {
        String::from_utf8_lossy(self.field(code).unwrap_or_default())
    }

    /// SQLSTATE; `None` if it is missing or not five bytes.
    pub fn sqlstate(&self) -> Option<SqlState> {
        let code = self.field(code::SQLSTATE)?;
        code.try_into().ok().map(SqlState)
    }

    /// Whether the session ends: severity FATAL or PANIC.
    pub fn is_fatal(&self) -> bool {
        let severity = self.field(code::SEVERITY_PLAIN).or_else(|| self.field(code::SEVERITY));
        matches!(severity, Some(b"FATAL" | b"PANIC"))
    }
}

/// What becomes of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldChange {
    /// It stays.
    Keep,
    /// It goes.
    Drop,
    /// It gets this value.
    Replace(String),
}

/// What every report has, and what stands for it where a server left it out: clients rely on these fields.
const REQUIRED: [(u8, &str); 4] = [
    (code::SEVERITY, "ERROR"),
    (code::SEVERITY_PLAIN, "ERROR"),
    (code::SQLSTATE, "XX000"),
    (code::MESSAGE, "the server gave no message"),
];

/// Writes a report (`tag`: `E` or `N`) with fields kept, dropped or replaced, and one added. An error that lacks what every
/// error has gets it.
///
/// # Errors
/// A NUL in a new value. `out` is as before.
pub fn rewrite_report(
    out: &mut BytesMut,
    tag: u8,
    report: &Report<'_>,
    added: Option<(u8, &str)>,
    mut change: impl FnMut(u8, &[u8]) -> FieldChange,
) -> Result<(), WireError> {
    frame(out, tag, |out| {
        let mut missing = REQUIRED.map(|(code, text)| (tag == b'E').then_some((code, text)));
        for (code, value) in report.fields() {
            if tag == b'E' && code == code::SQLSTATE && report.sqlstate().is_none() {
                continue;
            }
            missing.iter_mut().for_each(|field| *field = field.filter(|(required, _)| *required != code));
            let value = match change(code, value) {
                FieldChange::Keep => Cow::Borrowed(value),
                FieldChange::Drop => continue,
                FieldChange::Replace(text) => Cow::Owned(text.into_bytes()),
            };
            out.put_u8(code);
            put_cstr_bytes(out, "ErrorResponse", &value)?;
        }
        for (code, text) in missing.into_iter().flatten().chain(added) {
            out.put_u8(code);
            put_cstr_bytes(out, "ErrorResponse", text.as_bytes())?;
        }
        out.put_u8(0);
        Ok(())
    })
}
