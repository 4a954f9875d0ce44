//! Why an operation on a tenant could not be done, and what to do about it.

use std::path::PathBuf;

use tokio_postgres::error::SqlState;

use crate::base::UpstreamName;
use crate::checks::tenants::TableError;
use crate::config::Upstream;
use crate::control::ControlError;

/// Why an operation on a tenant could not be done. For operators: it may name hosts, roles and keys.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// Nobody of that name.
    #[error("no tenant \"{0}\"")]
    NoTenant(String),
    /// The configuration has no `[upstream.*.admin]`.
    #[error("upstream \"{0}\" has no admin role")]
    NoAdmin(UpstreamName),
    /// A table of pgwarden's own is not there.
    #[error("a table of pgwarden's own is missing: {0}")]
    NoTable(ControlError),
    /// Somebody is at it.
    #[error("another operation on tenant \"{tenant}\" is under way: {what}")]
    Busy {
        /// Whose.
        tenant: String,
        /// What it is, as far as it is known.
        what: String,
    },
    /// A server refused or broke off.
    #[error("{place}: {error}{}", detail(.error))]
    Server {
        /// Which.
        place: String,
        /// What it said.
        error: ControlError,
    },
    /// The table of tenants cannot be read.
    #[error("[tenants_from]: {0}")]
    Tenants(#[from] TableError),
    /// The catalog of an upstream cannot be read.
    #[error("{place}: {error}")]
    Catalog {
        /// Which.
        place: String,
        /// Why.
        error: crate::catalog::LoadError,
    },
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A migration.
    #[error("{file}{}: {error}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Migration {
        /// Which.
        file: String,
        /// Where in it, if the server says.
        line: Option<usize>,
        /// Why.
        error: Box<LifecycleError>,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// It must not be done as things are.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What to do.
        hint: String,
    },
}

/// The server's detail.
fn detail(error: &ControlError) -> String {
    let db = match error {
        ControlError::Postgres(error) => error.as_db_error(),
        _ => None,
    };
    db.and_then(|db| db.detail()).map(|detail| format!(" ({detail})")).unwrap_or_default()
}

impl LifecycleError {
    /// It must not be done as things are.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), hint: hint.into() }
    }

    /// What happened at an upstream.
    pub fn at<E: Into<ControlError>>(place: &Upstream) -> impl Fn(E) -> Self + use<'_, E> {
        |error| Self::Server { place: place_of(place), error: error.into() }
    }

    /// What happened to a file.
    pub fn file(path: &std::path::Path) -> impl Fn(std::io::Error) -> Self + use<'_> {
        |error| Self::File { path: path.to_owned(), error }
    }

    /// The server's code, if a server refused.
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Server { error: ControlError::Postgres(error), .. } => error.code(),
            Self::Migration { error, .. } => error.code(),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoTenant(_) => "pgwarden tenant list names those that there are",
            Self::NoAdmin(upstream) if upstream.as_str().starts_with("tenant/") => {
                "a tenant's upstream in the file has its own: upstream = { url = \"...\", admin = { user = \"...\" } }; a row with a url \
                 has that of its upstream, if both are at one place"
            }
            Self::NoAdmin(upstream) => {
                return Some(format!(
                    "[upstream.{upstream}.admin] with user and password_env: a role that may do what is asked here, other than the pool's"
                ));
            }
            Self::NoTable(_) => "make it with: pgwarden tenant init (or let its owner run what --ddl prints)",
            Self::Busy { .. } => "wait for its end; the lock goes with the process that holds it, however that ends",
            Self::Interrupted => "run it again: it finishes what was begun, or finds nothing begun",
            Self::Refused { hint, .. } => hint,
            Self::Server { .. } => return self.code().and_then(hint_of),
            Self::Migration { error, .. } => match self.code() {
                Some(code) if *code == SqlState::ACTIVE_SQL_TRANSACTION => {
                    "a file whose first line is -- pgwarden: no-transaction is run without a transaction"
                }
                Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                    "it ran with the rights of who owns the place: that role needs the right, or say --role"
                }
                Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE => {
                    "somebody held a lock each time: try again later, or with more --retries or a longer --lock-timeout"
                }
                _ => return error.hint(),
            },
            Self::Tenants(_) | Self::Catalog { .. } | Self::File { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

fn hint_of(code: &SqlState) -> Option<String> {
    let hint = match code {
        it if *it == SqlState::INSUFFICIENT_PRIVILEGE => {
            "the role of [upstream.*.admin] needs the right to do this: it makes roles (CREATEROLE) and databases (CREATEDB), \
             and reads and writes tenants' tables past row-level security (their owner's rights, or BYPASSRLS)"
        }
        it if *it == SqlState::LOCK_NOT_AVAILABLE => {
            "somebody else has it locked: try again when their transaction has ended"
        }
        it if *it == SqlState::OBJECT_IN_USE => "others are connected to it: end their sessions, and try again",
        it if *it == SqlState::DISK_FULL => "nothing was left half done: make room, and try again",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// A database as errors and reports name it.
pub fn place_of(upstream: &Upstream) -> String {
    format!("database \"{}\" at {}", upstream.database, upstream.address)
}
