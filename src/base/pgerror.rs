//! Errors as Postgres's clients see them: SQLSTATE, message, detail, hint, position.

use std::borrow::Cow;
use std::fmt;

/// A SQLSTATE, the five-character error code ("PostgreSQL Error Codes", appendix A of its manual).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub [u8; 5]);

macro_rules! sqlstates {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl SqlState {
            $($(#[$doc])* pub const $name: SqlState = SqlState(*$code);)*
        }
    };
}

sqlstates! {
    /// successful_completion
    SUCCESS = b"00000";
    /// warning
    WARNING = b"01000";
    /// protocol_violation
    PROTOCOL_VIOLATION = b"08P01";
    /// connection_failure
    CONNECTION_FAILURE = b"08006";
    /// sqlserver_rejected_establishment_of_sqlconnection
    CONNECTION_REJECTED = b"08004";
    /// feature_not_supported
    FEATURE_NOT_SUPPORTED = b"0A000";
    /// character_not_in_repertoire
    CHARACTER_NOT_IN_REPERTOIRE = b"22021";
    /// invalid_text_representation
    INVALID_TEXT_REPRESENTATION = b"22P02";
    /// foreign_key_violation
    FOREIGN_KEY_VIOLATION = b"23503";
    /// unique_violation
    UNIQUE_VIOLATION = b"23505";
    /// bad_copy_file_format
    BAD_COPY_FILE_FORMAT = b"22P04";
    /// invalid_parameter_value
    INVALID_PARAMETER_VALUE = b"22023";
    /// active_sql_transaction
    ACTIVE_SQL_TRANSACTION = b"25001";
    /// in_failed_sql_transaction
    IN_FAILED_SQL_TRANSACTION = b"25P02";
    /// read_only_sql_transaction
    READ_ONLY_SQL_TRANSACTION = b"25006";
    /// idle_in_transaction_session_timeout
    IDLE_IN_TRANSACTION_SESSION_TIMEOUT = b"25P03";
    /// transaction_timeout (Postgres 17)
    TRANSACTION_TIMEOUT = b"25P04";
    /// invalid_sql_statement_name
    INVALID_SQL_STATEMENT_NAME = b"26000";
    /// invalid_authorization_specification
    INVALID_AUTHORIZATION = b"28000";
    /// invalid_password
    INVALID_PASSWORD = b"28P01";
    /// invalid_catalog_name
    INVALID_CATALOG_NAME = b"3D000";
    /// invalid_cursor_name
    INVALID_CURSOR_NAME = b"34000";
    /// object_not_in_prerequisite_state
    OBJECT_NOT_IN_PREREQUISITE_STATE = b"55000";
    /// syntax_error
    SYNTAX_ERROR = b"42601";
    /// insufficient_privilege
    INSUFFICIENT_PRIVILEGE = b"42501";
    /// undefined_column
    UNDEFINED_COLUMN = b"42703";
    /// undefined_function
    UNDEFINED_FUNCTION = b"42883";
    /// undefined_object
    UNDEFINED_OBJECT = b"42704";
    /// undefined_table
    UNDEFINED_TABLE = b"42P01";
    /// undefined_parameter
    UNDEFINED_PARAMETER = b"42P02";
    /// duplicate_prepared_statement
    DUPLICATE_PREPARED_STATEMENT = b"42P05";
    /// out_of_memory
    OUT_OF_MEMORY = b"53200";
    /// too_many_connections
    TOO_MANY_CONNECTIONS = b"53300";
    /// config_file_error
    CONFIG_FILE_ERROR = b"F0000";
    /// configuration_limit_exceeded
    CONFIGURATION_LIMIT_EXCEEDED = b"53400";
    /// program_limit_exceeded
    PROGRAM_LIMIT_EXCEEDED = b"54000";
    /// statement_too_complex
    STATEMENT_TOO_COMPLEX = b"54001";
    /// query_canceled
    QUERY_CANCELED = b"57014";
    /// admin_shutdown
    ADMIN_SHUTDOWN = b"57P01";
    /// idle_session_timeout
    IDLE_SESSION_TIMEOUT = b"57P05";
    /// cannot_connect_now
    CANNOT_CONNECT_NOW = b"57P03";
    /// system_error
    SYSTEM_ERROR = b"58000";
    /// internal_error
    INTERNAL_ERROR = b"XX000";
}

impl SqlState {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `S`/`V` fields of an ErrorResponse: what becomes of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed, the session lives on.
    Error,
    /// The session ends.
    Fatal,
}

impl Severity {
    /// The untranslated severity, for the `S` and `V` fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        }
    }
}

/// An error as it is sent to a client. What is only for the log is logged where the error is made, never put in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgError {
    /// Whether the session survives.
    pub severity: Severity,
    /// SQLSTATE.
    pub code: SqlState,
    /// Primary message, one line.
    pub message: Cow<'static, str>,
    /// What exactly, if it helps.
    pub detail: Option<Cow<'static, str>>,
    /// What to do next.
    pub hint: Option<Cow<'static, str>>,
    /// Position in the client's text, in characters from 1.
    pub position: Option<u32>,
}

impl PgError {
    /// An `ERROR`: the statement fails, the session lives on.
    pub fn error(code: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), detail: None, hint: None, position: None }
    }

    /// A `FATAL`: the session ends after it.
    pub fn fatal(code: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Fatal, ..Self::error(code, message) }
    }

    /// Adds a detail.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a position in the client's text, in characters from 1.
    pub fn position(mut self, position: u32) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for PgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity.as_str(), self.code, self.message)
    }
}

impl std::error::Error for PgError {}
