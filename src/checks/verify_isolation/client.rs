//! A client of the proxy that keeps everything it hears: rows, errors with all their fields, notices, notifications.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, SimpleQueryMessage};

use super::connection::Connection;
use super::copy::copy_from;
use crate::wire::backend::{Report, code};

/// So that an attack that gets through does not wait for others; refused is fine as well.
pub(super) const LOCK_TIMEOUT: &str = "SET lock_timeout = '3s'";
/// How long one statement may take.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// What one statement came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Values as text.
    pub rows: Vec<Vec<Option<String>>>,
    /// Rows that the last command reported.
    pub affected: u64,
    /// SQLSTATE and all fields of the error, if there was one.
    pub error: Option<SqlError>,
    /// Notices, notifications and COPY data.
    pub heard: Vec<String>,
}

/// An error of the server or the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// SQLSTATE; empty when the connection broke.
    pub code: String,
    /// The message.
    pub message: String,
    /// Detail, hint, context and names.
    pub more: String,
}

impl Answer {
    /// The only value of the only row.
    pub fn value(&self) -> Option<&str> {
        match self.rows.as_slice() {
            [row] => match row.as_slice() {
                [value] => value.as_deref(),
                _ => None,
            },
            _ => None,
        }
    }

    /// The connection broke.
    pub fn broken(message: String) -> Self {
        Self { error: Some(SqlError { code: String::new(), message, more: String::new() }), ..Self::default() }
    }

    /// There was no answer in time.
    pub fn late() -> Self {
        Self::broken(format!("no answer within {} s", STATEMENT_TIMEOUT.as_secs()))
    }

    fn failed(error: &tokio_postgres::Error) -> Self {
        let error = match error.as_db_error() {
            Some(db) => {
                let mut more = String::new();
                let fields =
                    [db.detail(), db.hint(), db.where_(), db.table(), db.column(), db.constraint(), db.datatype()];
                for field in fields.into_iter().flatten() {
                    // Writing to a String cannot fail.
                    let _ = writeln!(more, "{field}");
                }
                SqlError { code: db.code().code().to_owned(), message: db.message().to_owned(), more }
            }
            None => return Self::broken(error.to_string()),
        };
        Self { error: Some(error), ..Self::default() }
    }
}

impl SqlError {
    /// An ErrorResponse.
    pub fn read(report: &Report<'_>) -> Self {
        let told = [code::DETAIL, code::HINT, code::WHERE].map(|it| report.log_text(it).into_owned());
        let [code, message] = [code::SQLSTATE, code::MESSAGE].map(|it| report.log_text(it).into_owned());
        Self { code, message, more: told.join("\n") }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    client: Client,
    heard: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn connect(to: &Connection) -> Result<Self, String> {
        let (client, mut connection) = to.connect().await?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
            // An error of the connection shows in the client's next call.
            while let Some(Ok(message)) = messages.next().await {
                match message {
                    AsyncMessage::Notice(notice) => {
                        ears.lock().push(format!("{} {}", notice.message(), notice.detail().unwrap_or_default()))
                    }
                    AsyncMessage::Notification(it) => ears.lock().push(format!("{} {}", it.channel(), it.payload())),
                    _ => {}
                }
            }
        });
        Ok(Self { connection: to.clone(), client, heard, task })
    }

    /// Another session of the same client.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn another(&self) -> Result<Self, String> {
        Self::connect(&self.connection).await
    }

    /// Connects anew if the connection is gone.
    ///
    /// # Errors
    /// The server's answer.
    pub async fn revive(&mut self) -> Result<(), String> {
        if self.client.is_closed() {
            *self = Self::connect(&self.connection).await?;
            self.simple(LOCK_TIMEOUT).await;
        }
        Ok(())
    }

    /// What came by itself since the last answer.
    pub fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.lock())
    }

    /// One Query message, which may hold several statements.
    pub async fn simple(&self, sql: &str) -> Answer {
        let result = tokio::time::timeout(STATEMENT_TIMEOUT, self.client.simple_query(sql)).await;
        self.finish(result.map(|messages| messages.map(read_simple)))
    }

    /// Parse, Bind, Execute, with values as text; the columns must be of type text.
    pub async fn prepared(&self, sql: &str, values: &[String]) -> Answer {
        let run = async {
            let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|it| it as &(dyn ToSql + Sync)).collect();
            let rows = self.client.query(sql, &values).await?;
            let text = |row: &tokio_postgres::Row| {
                (0..row.len()).map(|at| row.try_get::<_, Option<String>>(at)).collect::<Result<Vec<_>, _>>()
            };
            let rows = rows.iter().map(text).collect::<Result<Vec<_>, _>>()?;
            Ok(Answer { affected: rows.len() as u64, rows, ..Answer::default() })
        };
        self.finish(tokio::time::timeout(STATEMENT_TIMEOUT, run).await)
    }

    /// COPY ... TO STDOUT. Each line counts as a row.
    pub async fn copy_out(&self, sql: &str) -> Answer {
        let run = async {
            let mut lines = Box::pin(self.client.copy_out(sql).await?);
            let mut answer = Answer::default();
            while let Some(piece) = lines.next().await {
                let line = String::from_utf8_lossy(&piece?).trim_end().to_owned();
                answer.rows.push(line.split('\t').map(|it| Some(it.to_owned())).collect());
                answer.affected += 1;
            }
            Ok(answer)
        };
        self.finish(tokio::time::timeout(STATEMENT_TIMEOUT, run).await)
    }

    /// COPY ... FROM STDIN with this data, on a connection and in a transaction of its own.
    pub async fn copy_in(&self, sql: &str, data: &str) -> Answer {
        copy_from(&self.connection, sql, data).await
    }

    fn finish(&self, result: Result<Result<Answer, tokio_postgres::Error>, tokio::time::error::Elapsed>) -> Answer {
        let mut answer = match result {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::failed(&error),
            Err(_) => Answer::late(),
        };
        answer.heard.append(&mut self.heard());
        answer
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn read_simple(messages: Vec<SimpleQueryMessage>) -> Answer {
    let mut answer = Answer::default();
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                answer.rows.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
            }
            SimpleQueryMessage::CommandComplete(count) => answer.affected = count,
            _ => {}
        }
    }
    answer
}
