//! What can be wrong with a message, and how it is told to the client: in Postgres's own words.

use crate::base::{PgError, SqlState};

/// A message that does not follow the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A frame whose length field is below 4, the length of the field itself.
    #[error("length {length} of message {tag:#04x} is below 4")]
    BadLength {
        /// Tag byte of the frame.
        tag: u8,
        /// The length field.
        length: u32,
    },
    /// A frame longer than the limit for its kind. Nothing was allocated for it.
    #[error("message {tag:#04x} declares {length} bytes, the limit is {limit}")]
    TooLong {
        /// Tag byte of the frame.
        tag: u8,
        /// The length field.
        length: u64,
        /// The limit, counted as the length field is.
        limit: u64,
    },
    /// A tag that no message of this direction (or of this moment) has.
    #[error("unknown message type {0:#04x}")]
    UnknownTag(u8),
    /// The body ended before its fields did.
    #[error("{0}: the body ends before its fields do")]
    Truncated(&'static str),
    /// The body holds more than its fields.
    #[error("{0}: bytes follow the last field")]
    Trailing(&'static str),
    /// A string without its terminating NUL.
    #[error("{0}: a string is not terminated")]
    Unterminated(&'static str),
    /// A text that is not valid UTF-8. It is never repaired.
    #[error("{what}: invalid UTF-8, bytes {bytes:02x?}")]
    InvalidUtf8 {
        /// The message that it stands in.
        what: &'static str,
        /// The bytes at fault, at most four.
        bytes: Vec<u8>,
    },
    /// A field with a value that the protocol does not know.
    #[error("{message}: {field} has the unknown value {value}")]
    BadValue {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
    /// A Bind whose number of format codes is neither 0, nor 1, nor the number of its parameters.
    #[error("bind message has {formats} parameter formats but {params} parameters")]
    FormatCount {
        /// Number of format codes.
        formats: u16,
        /// Number of parameters.
        params: u16,
    },
    /// A Bind with another number of parameters than its statement has.
    #[error("bind message supplies {given} parameters, but prepared statement \"{statement}\" requires {required}")]
    ParamCount {
        /// Number of parameters in the message.
        given: u16,
        /// Number of parameters of the statement, as the client knows it.
        required: u16,
        /// The statement's name, as the client knows it.
        statement: String,
    },
    /// More parameters than the protocol can count.
    #[error("more than 65535 parameters")]
    TooManyParams,
    /// A string that is to be sent holds a NUL, which would end it early.
    #[error("{0}: a string to be sent holds a NUL byte")]
    EmbeddedNul(&'static str),
}

impl WireError {
    /// Whether the byte stream can no longer be followed (or trusted), so that the session must end.
    pub fn is_fatal(&self) -> bool {
        match self {
            WireError::BadLength { .. } | WireError::TooLong { .. } | WireError::UnknownTag(_) => true,
            WireError::Truncated(_)
            | WireError::Trailing(_)
            | WireError::Unterminated(_)
            | WireError::InvalidUtf8 { .. }
            | WireError::BadValue { .. }
            | WireError::FormatCount { .. }
            | WireError::ParamCount { .. }
            | WireError::TooManyParams
            | WireError::EmbeddedNul(_) => false,
        }
    }

    /// The error as Postgres would word it for the same message.
    pub fn to_pg(&self) -> PgError {
        let protocol = |text: String| PgError::error(SqlState::PROTOCOL_VIOLATION, text);
        match self {
            WireError::BadLength { .. } => PgError::fatal(SqlState::PROTOCOL_VIOLATION, "invalid message length"),
            WireError::TooLong { length, limit, .. } => {
                PgError::fatal(SqlState::PROTOCOL_VIOLATION, "invalid message length")
                    .detail(format!("The message declares {length} bytes, the limit is {limit}."))
            }
            WireError::UnknownTag(tag) => {
                PgError::fatal(SqlState::PROTOCOL_VIOLATION, format!("invalid frontend message type {tag}"))
            }
            WireError::Truncated(_) => protocol("insufficient data left in message".into()),
            WireError::Trailing(_) => protocol("invalid message format".into()),
            WireError::Unterminated(_) => protocol("invalid string in message".into()),
            WireError::InvalidUtf8 { bytes, .. } => PgError::error(
                SqlState::CHARACTER_NOT_IN_REPERTOIRE,
                format!("invalid byte sequence for encoding \"UTF8\":{}", hex(bytes)),
            ),
            WireError::BadValue { message, field, value } => {
                protocol(format!("invalid {field} {value} in {message} message"))
            }
            WireError::FormatCount { .. } | WireError::ParamCount { .. } => protocol(self.to_string()),
            WireError::TooManyParams => {
                PgError::error(SqlState::PROGRAM_LIMIT_EXCEEDED, "number of parameters exceeds the limit of 65535")
            }
            WireError::EmbeddedNul(_) => PgError::error(
                SqlState::CHARACTER_NOT_IN_REPERTOIRE,
                "invalid byte sequence for encoding \"UTF8\": 0x00",
            ),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!(" {byte:#04x}")).collect()
}

/// Text of a message, checked: never lossy.
///
/// # Errors
/// [`WireError::InvalidUtf8`] with the bytes that Postgres would name: as many as the leading byte announces.
pub fn utf8<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, WireError> {
    // The fast one only tells whether it is; where it is not, the standard one tells where.
    if let Ok(text) = simdutf8::basic::from_utf8(bytes) {
        return Ok(text);
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let rest = bytes.get(error.valid_up_to()..).unwrap_or_default();
        let announced = match rest.first() {
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf7) => 4,
            _ => 1,
        };
        WireError::InvalidUtf8 { what, bytes: rest.iter().take(announced).copied().collect() }
    })
}
