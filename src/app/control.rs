//! What can be asked of a running proxy: by signals, and by the console.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::info;

use super::gates::GateKeeper;
use super::reload::{ReloadError, Reloaded, Reloader};
use crate::base::{PgError, SqlState, UpstreamName};
use crate::config::Config;
use crate::console::{Boxed, Operations, Shutdown};
use crate::pool::Pools;
use crate::session::Ending;

/// A handle on a running proxy.
#[derive(Clone)]
pub struct Control {
    reloader: Arc<Reloader>,
    pools: Pools,
    gates: Arc<GateKeeper>,
    ending: watch::Sender<Option<Ending>>,
}

impl Control {
    pub(super) fn new(reloader: Arc<Reloader>, pools: Pools, gates: Arc<GateKeeper>) -> Self {
        Self { reloader, pools, gates, ending: watch::Sender::new(None) }
    }

    /// Reads the configuration file again and puts it in force; what was wrong or done is logged.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        self.reloader.reload().await
    }

    /// Stops the proxy: no client is accepted any more, transactions may end. Asked for again, it ends at once.
    pub fn stop(&self) {
        let again = matches!(*self.ending.borrow(), Some(Ending::Drain(_) | Ending::Now));
        self.end(if again { Ending::Now } else { self.drain() });
    }

    fn drain(&self) -> Ending {
        Ending::Drain(self.reloader.config().listen.shutdown_timeout)
    }

    fn end(&self, ending: Ending) {
        match ending {
            Ending::WhenEmpty => info!("stopping when the last client has left"),
            Ending::Drain(_) => info!("stopping: transactions may end first"),
            Ending::Now => info!("stopping at once"),
        }
        self.ending.send_replace(Some(ending));
    }

    pub(super) fn ending(&self) -> watch::Receiver<Option<Ending>> {
        self.ending.subscribe()
    }

    fn known(&self, upstream: Option<&UpstreamName>) -> Result<(), PgError> {
        match upstream {
            Some(name) if !self.reloader.config().upstreams.contains_key(name) => {
                Err(PgError::error(SqlState::UNDEFINED_OBJECT, format!("no upstream \"{name}\""))
                    .hint("SHOW POOLS lists those that are in use."))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Operations for Control {
    fn config(&self) -> Arc<Config> {
        self.reloader.config()
    }

    fn reload(&self) -> Boxed<'_, Result<Vec<String>, PgError>> {
        Box::pin(async move {
            match Control::reload(self).await {
                Ok(done) if done.needs_restart.is_empty() => Ok(Vec::new()),
                Ok(done) => {
                    Ok(vec![format!("changed, but in force only after a restart: {}", done.needs_restart.join(", "))])
                }
                Err(error) => Err(PgError::error(
                    SqlState::CONFIG_FILE_ERROR,
                    "the configuration is not accepted: all stays as it was",
                )
                .detail(error.lines().join("\n"))),
            }
        })
    }

    fn pause<'a>(&'a self, upstream: Option<&'a UpstreamName>) -> Boxed<'a, Result<(), PgError>> {
        Box::pin(async move {
            self.known(upstream)?;
            self.pools.pause(upstream).await;
            Ok(())
        })
    }

    fn resume(&self, upstream: Option<&UpstreamName>) -> Result<(), PgError> {
        self.known(upstream)?;
        self.pools.resume(upstream);
        Ok(())
    }

    fn pause_tenant<'a>(&'a self, tenant: &'a str, time: Duration) -> Boxed<'a, Result<(), PgError>> {
        Box::pin(self.gates.pause(tenant, time))
    }

    fn resume_tenant<'a>(&'a self, tenant: &'a str) -> Boxed<'a, Result<(), PgError>> {
        Box::pin(self.gates.resume(tenant))
    }

    fn shut_down(&self, how: Shutdown) {
        self.end(match how {
            Shutdown::Drain => self.drain(),
            Shutdown::Now => Ending::Now,
            Shutdown::WaitForClients => Ending::WhenEmpty,
        });
    }
}
