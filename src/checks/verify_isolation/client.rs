//! A client of the proxy that keeps everything it hears: rows, errors with all their fields, notices, notifications.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, SimpleQueryMessage};

use super::connection::Connection;

/// How long one statement may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

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
            None => SqlError { code: String::new(), message: error.to_string(), more: String::new() },
        };
        Self { error: Some(error), ..Self::default() }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
    client: Client,
    heard: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
    /// A COPY FROM failed before its stream: tokio-postgres sends one Sync too many then, and takes the answer to it for the
    /// end of the connection.
    stale: AtomicBool,
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
        Ok(Self { connection: to.clone(), client, heard, task, stale: AtomicBool::new(false) })
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
        if self.client.is_closed() || self.stale.load(Ordering::Relaxed) {
            *self = Self::connect(&self.connection).await?;
        }
        Ok(())
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

    /// COPY ... FROM STDIN with this data.
    pub async fn copy_in(&self, sql: &str, data: &str) -> Answer {
        let run = async {
            let mut sink = Box::pin(self.client.copy_in::<_, bytes::Bytes>(sql).await?);
            sink.send(bytes::Bytes::copy_from_slice(data.as_bytes())).await?;
            let affected = sink.as_mut().finish().await?;
            Ok(Answer { affected, ..Answer::default() })
        };
        let answer = self.finish(tokio::time::timeout(STATEMENT_TIMEOUT, run).await);
        self.stale.fetch_or(answer.error.is_some(), Ordering::Relaxed);
        answer
    }

    fn finish(&self, result: Result<Result<Answer, tokio_postgres::Error>, tokio::time::error::Elapsed>) -> Answer {
        let mut answer = match result {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::failed(&error),
            Err(_) => {
                let message = format!("no answer within {} s", STATEMENT_TIMEOUT.as_secs());
                Answer {
                    error: Some(SqlError { code: String::new(), message, more: String::new() }),
                    ..Answer::default()
                }
            }
        };
        answer.heard.append(&mut self.heard.lock());
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
