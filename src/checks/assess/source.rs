//! Where statements come from.

use tokio_postgres::Client;

use super::log::{self, LogFormat};
use super::{Observed, Sent};
use crate::sql;

/// Why statements could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The log is none of the format.
    #[error("{0}")]
    Format(String),
    /// The text cannot be taken apart.
    #[error("the text cannot be taken apart into statements: {0}")]
    Statements(String),
    /// The extension is not there.
    #[error(
        "pg_stat_statements is not installed in this database: CREATE EXTENSION pg_stat_statements, and name it in shared_preload_libraries"
    )]
    NoExtension,
    /// The server refuses to tell.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
}

/// Adds the statements of a text, as psql would send them one by one.
///
/// # Errors
/// A token in it does not end.
pub fn from_sql(observed: &mut Observed, text: &str) -> Result<(), InputError> {
    for statement in sql::split(text).map_err(InputError::Statements)? {
        observed.add(statement, Sent::Query, 1);
    }
    Ok(())
}

/// Adds the statements that a log of Postgres tells of.
///
/// # Errors
/// It is none of that format.
pub fn from_log(observed: &mut Observed, text: &str, format: LogFormat) -> Result<(), InputError> {
    log::read(observed, text, format)
}

/// What the app's roles have run in this database; pgwarden's own looks and the catalog's are none of them.
const STATEMENTS: &str = "SELECT s.query, s.calls FROM {schema}.pg_stat_statements s
    JOIN pg_catalog.pg_database d ON d.oid = s.dbid
    WHERE d.datname = pg_catalog.current_database() AND s.query <> '<insufficient privilege>' AND s.toplevel
    ORDER BY s.calls DESC LIMIT 100000";

/// Adds the statements of `pg_stat_statements` of one database, with the number of their calls. Literals are parameters in
/// them.
///
/// # Errors
/// The extension is not there, or whatever the server answers.
pub async fn from_pg_stat_statements(observed: &mut Observed, client: &Client) -> Result<(), InputError> {
    let found = "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e
        JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'";
    let row = client.query_opt(found, &[]).await?.ok_or(InputError::NoExtension)?;
    let schema: String = row.try_get(0)?;
    for row in client.query(&STATEMENTS.replace("{schema}", &schema), &[]).await? {
        let (text, calls): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let sent = if text.contains('$') { Sent::Prepared } else { Sent::Query };
        observed.add(&text, sent, u64::try_from(calls).unwrap_or(0));
    }
    Ok(())
}
