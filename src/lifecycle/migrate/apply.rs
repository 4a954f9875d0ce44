//! Files of migrations run in one place.

use std::time::{Duration, Instant};

use deadpool_postgres::ClientWrapper;
use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::types::ToSql;

use super::applied;
use super::files::{Migration, line_at};
use super::login::Login;
use super::pending::Pending;
use super::stop::Stop;
use crate::base::QualifiedName;
use crate::control::{self, ControlError};
use crate::lifecycle::error::LifecycleError;

/// The class of the advisory locks on places, `pgwm`: the other half is a hash of the table's schema.
const LOCKS: i32 = 0x7067_776d;

/// How long a migration may wait for locks, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// `lock_timeout`: who waits for a lock makes all others wait that come after it.
    pub lock_timeout: Duration,
    /// It is tried so many times again.
    pub retries: u32,
    /// After a pause.
    pub pause: Duration,
    /// `statement_timeout`; zero: none.
    pub statement_timeout: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(2),
            retries: 5,
            pause: Duration::from_secs(1),
            statement_timeout: Duration::ZERO,
        }
    }
}

impl Patience {
    /// As the server has them.
    pub(super) fn settings(&self) -> [(&'static str, u128); 2] {
        [("lock_timeout", self.lock_timeout.as_millis()), ("statement_timeout", self.statement_timeout.as_millis())]
    }
}

/// A session that migrations run in.
pub(super) struct Session<'a> {
    client: ClientWrapper,
    login: &'a Login,
    stop: Stop,
    patience: Patience,
    table: QualifiedName,
    by: &'a str,
    tell: &'a (dyn Fn(&str) + Send + Sync),
    /// Has the server see that this process was killed, where it can: it ends then what it was doing.
    watch: &'static str,
}

const WATCH: &str = "SET client_connection_check_interval = '2s'; ";

impl<'a> Session<'a> {
    /// Logs in, and takes the lock on the place: another run waits, or gives up.
    pub async fn open(
        login: &'a Login,
        table: QualifiedName,
        patience: Patience,
        stop: Stop,
        by: &'a str,
        tell: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Result<Self, LifecycleError> {
        let client = control::connect(&login.at, "pgwarden migrate").await.map_err(LifecycleError::at(&login.at))?;
        let watch = if client.batch_execute(WATCH).await.is_ok() { WATCH } else { "" };
        let session = Self { client, login, stop, patience, table, by, tell, watch };
        session.run(&session.pinned()).await?;
        session.lock().await?;
        Ok(session)
    }

    fn pinned(&self) -> String {
        let settings = self.patience.settings().map(|(name, value)| format!("SET {name} = {value}; "));
        self.login.pinned(&format!("{}{}", settings.concat(), self.watch))
    }

    async fn lock(&self) -> Result<(), LifecycleError> {
        let sql = "SELECT pg_catalog.pg_try_advisory_lock($1, pg_catalog.hashtext($2))";
        for attempt in 0..=self.patience.retries {
            if attempt > 0 {
                self.stop.pause(self.patience.pause).await?;
            }
            let rows =
                self.client.query(sql, &[&LOCKS, &self.table.schema]).await.map_err(|error| self.failed(error))?;
            if rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
                return Ok(());
            }
        }
        Err(LifecycleError::refused(
            "another run of migrations is under way there",
            "wait for its end; the lock goes with the process that holds it, however that ends",
        ))
    }

    fn failed(&self, error: tokio_postgres::Error) -> LifecycleError {
        LifecycleError::at(&self.login.at)(error)
    }

    /// Runs statements; when the run is to stop, the server is told to cancel them.
    async fn run(&self, sql: &str) -> Result<(), LifecycleError> {
        tokio::select! {
            done = self.client.batch_execute(sql) => done.map_err(|error| self.failed(error)),
            () = self.stop.raised() => {
                if let Err(error) = control::cancel(&self.login.at, &self.client.cancel_token()).await {
                    tracing::debug!(%error, "not cancelled");
                }
                Err(LifecycleError::Interrupted)
            }
        }
    }

    /// Makes the table, if it is not there.
    pub async fn make_table(&self) -> Result<(), LifecycleError> {
        let sql = applied::definition(&self.table);
        self.patiently(&self.table.to_string(), || self.run(&sql)).await
    }

    /// Runs what is left of a migration, and writes it down.
    pub async fn migrate(&self, pending: Pending<'_>) -> Result<(), LifecycleError> {
        let migration = pending.migration;
        (self.tell)(&migration.file);
        let started = Instant::now();
        let Some(statements) = &migration.statements else {
            return self.patiently(&migration.file, || self.in_transaction(migration, started)).await;
        };
        for (at, statement) in statements.iter().enumerate().skip(pending.from) {
            self.patiently(&migration.file, || self.alone(migration, statement)).await?;
            let done = (at + 1 < statements.len()).then_some(at + 1);
            let checksum = done.map_or_else(|| migration.checksum.clone(), |done| migration.checksum_of(done));
            self.write(migration, &checksum, done, started).await?;
        }
        if statements.is_empty() {
            self.write(migration, &migration.checksum, None, started).await?;
        }
        Ok(())
    }

    /// Does it again as long as others hold locks that it needs.
    async fn patiently<F>(&self, what: &str, act: impl Fn() -> F) -> Result<(), LifecycleError>
    where
        F: Future<Output = Result<(), LifecycleError>>,
    {
        let mut attempt = 0;
        loop {
            let Err(error) = act().await else { return Ok(()) };
            let waits = error
                .code()
                .is_some_and(|code| *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::T_R_DEADLOCK_DETECTED);
            if !waits || attempt == self.patience.retries {
                return Err(error);
            }
            attempt += 1;
            (self.tell)(&format!("{what}: somebody holds a lock, pause {attempt} of {}", self.patience.retries));
            self.stop.pause(self.patience.pause).await?;
        }
    }

    /// Either all of it and its row in the table, or nothing.
    async fn in_transaction(&self, migration: &Migration, started: Instant) -> Result<(), LifecycleError> {
        self.run(&format!("{}BEGIN", self.pinned())).await?;
        let done = async {
            self.run(&migration.text).await.map_err(|error| in_file(migration, &migration.text, error))?;
            self.write(migration, &migration.checksum, None, started).await?;
            self.run("COMMIT").await.map_err(|error| in_file(migration, "", error))
        };
        let done = done.await;
        if done.as_ref().is_err_and(|error| !matches!(error, LifecycleError::Interrupted)) {
            // The first error says more. A connection that is lost has ended its transaction.
            let _ = self.client.batch_execute("ROLLBACK").await;
        }
        done
    }

    async fn alone(&self, migration: &Migration, statement: &str) -> Result<(), LifecycleError> {
        self.run(&self.pinned()).await?;
        self.run(statement).await.map_err(|error| {
            // The server counts from the statement's start.
            let before = migration.text.find(statement).and_then(|at| migration.text.get(..at));
            let skipped = before.map_or(0, |before| before.matches('\n').count());
            match in_file(migration, statement, error) {
                LifecycleError::Migration { file, line, error } => {
                    LifecycleError::Migration { file, line: Some(line.unwrap_or(1) + skipped), error }
                }
                other => other,
            }
        })
    }

    async fn write(
        &self,
        migration: &Migration,
        checksum: &str,
        statements: Option<usize>,
        started: Instant,
    ) -> Result<(), LifecycleError> {
        // As who owns the table, whomever the file became.
        self.run(&self.pinned()).await?;
        let (version, took) = (migration.version.to_string(), i64::try_from(started.elapsed().as_millis()));
        let (took, statements) = (took.unwrap_or(i64::MAX), statements.and_then(|count| i32::try_from(count).ok()));
        let with = env!("CARGO_PKG_VERSION");
        let values: [&(dyn ToSql + Sync); 7] =
            [&version, &migration.file, &checksum, &statements, &took, &self.by, &with];
        self.client.execute(&applied::upsert(&self.table), &values).await.map(drop).map_err(|error| self.failed(error))
    }
}

/// An error with the file and line that it is of.
fn in_file(migration: &Migration, text: &str, error: LifecycleError) -> LifecycleError {
    let position = match &error {
        LifecycleError::Server { error: ControlError::Postgres(error), .. } => {
            error.as_db_error().and_then(|db| db.position())
        }
        LifecycleError::Interrupted => return error,
        _ => None,
    };
    let line = match position {
        Some(ErrorPosition::Original(at)) if !text.is_empty() => Some(line_at(text, *at)),
        Some(ErrorPosition::Original(_) | ErrorPosition::Internal { .. }) | None => None,
    };
    LifecycleError::Migration { file: migration.file.clone(), line, error: Box::new(error) }
}
