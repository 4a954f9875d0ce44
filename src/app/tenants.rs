//! Tenants from a table: read at start, on NOTIFY, and on an interval. While the table cannot be read, the tenants that are
//! known stay in force.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, info, warn};

use super::reload::Reloader;
use crate::config::{Config, TenantsFrom};
use crate::control::{ControlError, Listening, listen};
use crate::tenant::table::{ReadError, Row, read};

/// Notifications that come together lead to one load.
const GATHER: Duration = Duration::from_millis(50);
/// After a load nothing is loaded for this multiple of the time that it took, but no longer than the interval: a busy
/// channel must not keep the proxy busy.
const REST: u32 = 3;
/// The first pause after a failure; doubles up to the interval.
const RETRY: Duration = Duration::from_millis(500);

/// Why the table could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Listen(#[from] ControlError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the connection was lost")]
    Lost,
    #[error("upstream \"{0}\" is missing")]
    NoUpstream(String),
    #[error("the task that took the rows ended")]
    Interrupted,
}

/// How the source stands: for the console.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    /// When the last load succeeded.
    pub loaded: Option<SystemTime>,
    /// How long it took, with the swap.
    pub took: Duration,
    /// Why the last attempt failed, if it did.
    pub error: Option<String>,
}

/// Keeps the tenants of the table in force.
pub(super) struct TenantSource {
    reloader: Arc<Reloader>,
    changed: Notify,
    status: Mutex<Status>,
    /// Turns true when the table was read, or could not be, or there is none to read.
    tried: watch::Sender<bool>,
}

/// Why reading was left off.
enum Pause {
    /// The configuration is another.
    Changed,
}

impl TenantSource {
    /// Begins to read. Must be called within a tokio runtime.
    pub fn start(reloader: Arc<Reloader>) -> Arc<Self> {
        let (changed, status, tried) = (Notify::new(), Mutex::default(), watch::Sender::new(false));
        let source = Arc::new(Self { reloader, changed, status, tried });
        tokio::spawn(Arc::clone(&source).run());
        source
    }

    /// Waits for the first attempt at the table, so that no client is told that its tenant is unknown before anybody looked.
    pub async fn started(&self, limit: Duration) {
        let mut tried = self.tried.subscribe();
        if timeout(limit, tried.wait_for(|tried| *tried)).await.is_err() {
            warn!(
                ?limit,
                "the tenants' table has not been read in time: only the file's tenants are served until it is"
            );
        }
    }

    /// The configuration was replaced.
    pub fn config_changed(&self) {
        self.changed.notify_one();
    }

    /// What it tells of new rows.
    pub fn reloader(&self) -> &Reloader {
        &self.reloader
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.status.lock().clone()
    }

    async fn run(self: Arc<Self>) {
        let mut failures = 0_u32;
        loop {
            let config = self.reloader.config();
            let Some(from) = config.tenants_from.clone() else {
                *self.status.lock() = Status::default();
                self.tried.send_replace(true);
                self.changed.notified().await;
                continue;
            };
            match self.read_on(&config, &from, &mut failures).await {
                Ok(Pause::Changed) => failures = 0,
                Err(error) => {
                    self.note_failure(&from, &error, failures);
                    self.tried.send_replace(true);
                    failures = failures.saturating_add(1);
                    let pause = RETRY.saturating_mul(1 << failures.min(10)).min(from.interval.max(RETRY));
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.changed.notified() => failures = 0,
                    }
                }
            }
        }
    }

    fn note_failure(&self, from: &TenantsFrom, error: &SourceError, failures: u32) {
        let known = {
            let mut status = self.status.lock();
            status.error = Some(error.to_string());
            status.loaded.is_some()
        };
        let upstream = &from.upstream;
        match (failures, known) {
            (0, true) => {
                error!(%upstream, %error, "the tenants' table cannot be read: the tenants known so far stay in force")
            }
            (0, false) => {
                error!(%upstream, %error, "the tenants' table cannot be read: only the file's tenants are served until it can")
            }
            _ => debug!(%upstream, %error, "the tenants' table still cannot be read"),
        }
    }

    /// Reads the table again and again over one connection, until that fails or the configuration is another.
    async fn read_on(&self, config: &Config, from: &TenantsFrom, failures: &mut u32) -> Result<Pause, SourceError> {
        let upstream =
            config.upstreams.get(&from.upstream).ok_or_else(|| SourceError::NoUpstream(from.upstream.to_string()))?;
        let mut connection = listen(upstream, from.channel.as_deref()).await?;
        loop {
            let started = Instant::now();
            {
                let _turn = self.reloader.turn_to_load().await;
                let rows = read(&connection.client, &from.query).await?;
                self.take(from, rows, started, failures).await?;
            }
            sleep((started.elapsed() * REST).min(from.interval)).await;
            let pause = self.next(&mut connection, from.interval).await?;
            if let Some(pause) = pause {
                return Ok(pause);
            }
        }
    }

    /// Waits until there is reason to read the table.
    async fn next(&self, connection: &mut Listening, interval: Duration) -> Result<Option<Pause>, SourceError> {
        tokio::select! {
            () = self.changed.notified() => return Ok(Some(Pause::Changed)),
            () = sleep(interval) => {}
            told = connection.notified.recv() => {
                told.ok_or(SourceError::Lost)?;
                sleep(GATHER).await;
                // What came meanwhile is seen by the load that follows.
                while connection.notified.try_recv().is_ok() {}
            }
        }
        Ok(None)
    }

    async fn take(
        &self,
        from: &TenantsFrom,
        rows: Vec<Row>,
        started: Instant,
        failures: &mut u32,
    ) -> Result<(), SourceError> {
        let count = rows.len();
        let reloader = Arc::clone(&self.reloader);
        let done = tokio::task::spawn_blocking(move || reloader.take_rows(rows));
        let changed = done.await.map_err(|_| SourceError::Interrupted)?;
        let took = started.elapsed();
        let first = {
            let mut status = self.status.lock();
            let first = status.loaded.is_none();
            *status = Status { loaded: Some(SystemTime::now()), took, error: None };
            first
        };
        if *failures > 0 || first {
            info!(upstream = %from.upstream, rows = count, ?took, "tenants read from their table");
        }
        if let Some(change) = changed {
            if !first {
                info!(
                    tenants = change.tenants,
                    rejected = change.rejected,
                    sessions = change.concerned,
                    ?took,
                    "tenants changed"
                );
            }
            if change.rejected > 0 {
                warn!(rejected = change.rejected, "rows of the tenants' table are left out: SHOW REJECTED lists them");
            }
        }
        *failures = 0;
        self.tried.send_replace(true);
        Ok(())
    }
}
