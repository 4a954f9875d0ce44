//! What a client is told of a limit: SQLSTATE, whose limit it is and its value, and when to try again.

use std::time::Duration;

use super::limiter::{Kind, Limiter, Whose};
use super::view::Bound;
use crate::base::{PgError, SqlState};

/// No place for another connection.
pub(super) fn too_many_connections(meter: &Limiter) -> PgError {
    PgError::fatal(SqlState::TOO_MANY_CONNECTIONS, format!("too many connections for {}", meter.whose))
        .detail(told(Kind::Connections, &meter.whose, &meter.value(Kind::Connections).unwrap_or_default()))
        .hint("Try again when another of these connections has ended.")
}

/// No place for another transaction, after as long a wait.
pub(super) fn too_many_transactions(meter: &Limiter, waited: Duration) -> PgError {
    let hint = if waited.is_zero() {
        "Try again when another transaction has ended.".to_owned()
    } else {
        format!("No transaction ended within {waited:?}. Try again later.")
    };
    PgError::error(
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        format!("too many transactions at one time for {}", meter.whose),
    )
    .detail(told(Kind::Transactions, &meter.whose, &meter.value(Kind::Transactions).unwrap_or_default()))
    .hint(hint)
}

/// Too many statements; there is a turn again after `retry`.
pub(super) fn too_many_statements(meter: &Limiter, retry: Duration) -> PgError {
    // Rounded up: sooner would be too soon.
    let millis = retry.as_nanos().div_ceil(1_000_000);
    PgError::error(
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        format!("too many statements per second for {}", meter.whose),
    )
    .detail(told(Kind::Statements, &meter.whose, &meter.value(Kind::Statements).unwrap_or_default()))
    .hint(format!("Try again in {millis} ms."))
}

/// Nobody knows how many statements other proxies have let through.
pub(super) fn not_counted(meter: &Limiter) -> PgError {
    PgError::error(
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        format!("statements per second of {} cannot be counted", meter.whose),
    )
    .detail(format!(
        "{} It is shared by several proxies, and the server that counts for all of them cannot be reached.",
        told(Kind::Statements, &meter.whose, &meter.value(Kind::Statements).unwrap_or_default())
    ))
    .hint("Try again in 1 s.")
}

fn told(kind: Kind, whose: &Whose, value: &str) -> String {
    format!("The limit {} of {whose} is {value}.", kind.name())
}

impl Bound<Duration> {
    /// The error of a time that was exceeded, in Postgres's words and codes.
    pub fn error(&self) -> PgError {
        let error = match self.kind {
            Kind::TransactionTime => {
                PgError::fatal(SqlState::TRANSACTION_TIMEOUT, "terminating connection due to transaction timeout")
            }
            Kind::IdleInTransactionTime => PgError::fatal(
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                "terminating connection due to idle-in-transaction timeout",
            ),
            Kind::IdleTime => {
                PgError::fatal(SqlState::IDLE_SESSION_TIMEOUT, "terminating connection due to idle-session timeout")
            }
            _ => PgError::error(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout"),
        };
        error.detail(told(self.kind, &self.whose, &format!("{:?}", self.value)))
    }
}

impl Bound<u64> {
    /// The error of a size that was exceeded.
    pub fn error(&self) -> PgError {
        let (message, hint) = match self.kind {
            Kind::StatementBytes => ("statement is too long", "Send values as parameters, or in several statements."),
            _ => ("result is too large", "Ask for less at a time: LIMIT, or a cursor."),
        };
        PgError::error(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
            .detail(told(self.kind, &self.whose, &self.value.to_string()))
            .hint(hint)
    }
}
