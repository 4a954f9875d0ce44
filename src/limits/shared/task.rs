//! The task that accounts for what meters owe.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::server::{Debt, MOST, Server, ServerError};
use super::{SharedLimiter, Standing};
use crate::config::SharedLimits;

/// What is owed in this time is accounted for together.
const GATHER: Duration = Duration::from_millis(2);
/// A server that nothing is asked of is looked after so often.
const LOOK: Duration = Duration::from_secs(1);
/// Between attempts to reach a server that is away.
const RETRY: Duration = Duration::from_millis(500);

impl SharedLimiter {
    /// Starts to count at the server, as long as the process lives. Must be called within a tokio runtime. What is returned
    /// turns true once the server was reached, or could not be.
    pub fn keep(self: &Arc<Self>, config: Arc<SharedLimits>) -> watch::Receiver<bool> {
        let (tried, first) = watch::channel(false);
        let shared_limiter = Arc::clone(self);
        tokio::spawn(async move { shared_limiter.run(&config, &tried).await });
        first
    }

    async fn run(&self, config: &SharedLimits, tried: &watch::Sender<bool>) {
        let mut said = false;
        loop {
            let error = match Server::connect(config).await {
                Ok(mut server) => {
                    self.counting.store(true, Ordering::Relaxed);
                    tried.send_replace(true);
                    info!(server = self.address, "limits are shared: the server counts for all proxies");
                    said = false;
                    self.count_at(&mut server).await
                }
                Err(error) => error,
            };
            self.note_absence(&error, &mut said);
            tried.send_replace(true);
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Counts until the server is away. Returns why.
    async fn count_at(&self, server: &mut Server) -> ServerError {
        loop {
            // A round without debts shows whether the server is there.
            let owing = tokio::time::timeout(LOOK, self.owing.notified()).await.is_ok();
            if owing {
                tokio::time::sleep(GATHER).await;
            }
            if let Err(error) = self.round(server).await {
                return error;
            }
        }
    }

    /// What was on its way when the server went away is not counted again: that is less than a lease.
    async fn round(&self, server: &mut Server) -> Result<(), ServerError> {
        let debtors = std::mem::take(&mut *self.debtors.lock());
        if debtors.is_empty() {
            return server.account(&[]).await;
        }
        let debts: Vec<_> = debtors.into_iter().map(|meter| Debt { cost: meter.rate.settle(), meter }).collect();
        for part in debts.chunks(MOST) {
            server.account(part).await?;
        }
        Ok(())
    }

    /// Says once that the server is away, and what holds now.
    fn note_absence(&self, error: &ServerError, said: &mut bool) {
        self.counting.store(false, Ordering::Relaxed);
        if std::mem::replace(said, true) {
            debug!(server = self.address, %error, "the server that counts for all proxies is still away");
            return;
        }
        self.absences.fetch_add(1, Ordering::Relaxed);
        let holds = match self.standing() {
            Standing::AwayRefuse => "statements of those who have such a limit are refused",
            Standing::Counting | Standing::AwayLocal => "each proxy holds the whole limit by itself",
        };
        warn!(server = self.address, %error, "limits are not shared: the server that counts for all proxies is away; {holds}");
    }
}
