//! Keeps the usage table: writes what sessions have counted, reads what all proxies have written.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use time::{Date, OffsetDateTime, Time};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::account::Account;
use super::backlog::Backlog;
use super::counts::Counts;
use super::period::{Period, today};
use super::registry::UsageRegistry;
use super::store::{Store, StoreError};
use crate::config::{PeriodLength, QuotaConfig, WhenUnknown};
use crate::tenant::SharedRegistry;

/// The use of new tenants is looked up at once, but not more often than this.
const PROMPT: Duration = Duration::from_millis(500);
/// At the end, the last batch is tried for so long.
const LAST_TRY: Duration = Duration::from_secs(10);
/// And as often as this.
const LAST_PAUSE: Duration = Duration::from_millis(250);

/// The task that keeps the usage table.
#[derive(Debug)]
pub struct UsageWriter {
    stop: watch::Sender<bool>,
    first: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl UsageWriter {
    /// Starts keeping the usage of a ledger. Must be called within a tokio runtime.
    pub fn spawn(ledger: Arc<UsageRegistry>, registry: SharedRegistry, config: &QuotaConfig) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (tried, first) = watch::channel(false);
        let work = Work {
            store: Store::new(config),
            writer: writer(),
            backlog: Backlog::new(today()),
            interval: config.flush_interval,
            period: Period::containing(config.period, today()),
            length: config.period,
            when_unknown: config.when_unknown,
            ledger,
            registry,
            away: false,
            tidied: false,
        };
        Self { stop, first, task: tokio::spawn(work.run(tried, stopped)) }
    }

    /// Waits until the table has been read, or could not be: at most `time`.
    pub async fn started(&mut self, time: Duration) {
        // It ends at its stop only, which is not now.
        let _ended = tokio::time::timeout(time, self.first.wait_for(|tried| *tried)).await;
    }

    /// Writes what is left and ends. Call it when all sessions have ended.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            error!(%error, "the keeper of usage ended by a defect of pgwarden");
        }
    }
}

/// A name for this run of this process that no other one has.
fn writer() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

struct Work {
    store: Store,
    writer: String,
    backlog: Backlog,
    interval: Duration,
    length: PeriodLength,
    /// The period of the last round.
    period: Period,
    when_unknown: WhenUnknown,
    ledger: Arc<UsageRegistry>,
    registry: SharedRegistry,
    /// The last exchange with the table failed.
    away: bool,
    tidied: bool,
}

impl Work {
    async fn run(mut self, tried: watch::Sender<bool>, mut stop: watch::Receiver<bool>) {
        loop {
            let began = Instant::now();
            self.round().await;
            tried.send_replace(true);
            let pause = self.interval.min(until_midnight(OffsetDateTime::now_utc()));
            let next = async {
                if tokio::time::timeout(pause, self.ledger.fresh.notified()).await.is_ok() {
                    tokio::time::sleep_until(began + PROMPT.min(pause)).await;
                }
            };
            // Closed: whoever could stop it is gone.
            let stopped = async { stop.wait_for(|stop| *stop).await.map(drop) };
            tokio::select! {
                () = next => {}
                _ = stopped => break,
            }
        }
        self.finish().await;
    }

    /// One look at the accounts and one exchange with the table.
    async fn round(&mut self) {
        let day = today();
        let accounts = self.take_in(day);
        let outcome = self.exchange(&accounts, day).await;
        if outcome.is_err() {
            for account in &accounts {
                self.renew(account, day, None);
            }
        }
        self.note(outcome);
    }

    fn take_in(&mut self, day: Date) -> Vec<Arc<Account>> {
        let accounts = self.ledger.accounts();
        if self.backlog.take_in(&accounts, day) {
            let period = Period::containing(self.length, day);
            if std::mem::replace(&mut self.period, period) != period {
                self.ledger.forget();
            }
            accounts.iter().for_each(|account| account.turn(day));
        }
        accounts
    }

    async fn exchange(&mut self, accounts: &[Arc<Account>], day: Date) -> Result<(), StoreError> {
        let days = (self.period.start(), self.period.end());
        while let Some(batch) = self.backlog.batch() {
            self.store.write(&self.writer, batch).await?;
            self.backlog.written();
        }
        if !self.tidied {
            self.store.tidy().await?;
            self.tidied = true;
        }
        if !self.ledger.has_learnt() {
            let used = self.store.used(days, None).await?;
            self.ledger.learn(used);
        }
        let watched: Vec<_> = accounts.iter().filter(|account| self.concerns(account)).collect();
        let names: Vec<_> = watched.iter().filter_map(|account| account.tenant()).map(|name| name.as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let used = self.store.used(days, Some(&names)).await?;
        for account in watched {
            let Some(tenant) = account.tenant() else { continue };
            let used = used.get(tenant).copied().unwrap_or_default();
            self.renew(account, day, Some(&used));
        }
        Ok(())
    }

    /// Whether the account's use is to be read: its tenant has a quota, and sessions, or nobody knows its use yet.
    fn concerns(&self, account: &Arc<Account>) -> bool {
        let Some(tenant) = account.tenant() else { return false };
        let registry = self.registry.load();
        let has_quota = self.ledger.has_quota(registry.tenant(tenant.as_str()).map(|tenant| &**tenant));
        // The ledger holds it, and our list of accounts.
        let in_use = Arc::strong_count(account) > 2;
        has_quota && (in_use || !account.is_known()) || account.is_watched() && !has_quota
    }

    /// The account's quota as the registry has it now; and its use, if it was read.
    fn renew(&self, account: &Account, day: Date, used: Option<&Counts>) {
        let Some(tenant) = account.tenant() else { return };
        let known = used.map(|used| (*used, self.backlog.seen(tenant)));
        let registry = self.registry.load();
        self.ledger.apply_quota(account, registry.tenant(tenant.as_str()).map(|tenant| &**tenant), day, known);
    }

    /// Says once that the table is away, and once that it is back.
    fn note(&mut self, outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) if self.away => {
                self.away = false;
                info!("the usage table is back: what was counted meanwhile has been written");
            }
            Ok(()) => {}
            Err(error) if self.away => tracing::debug!(%error, "the usage table is still away"),
            Err(error) => {
                self.away = true;
                let unknown = match self.when_unknown {
                    WhenUnknown::Refuse => "tenants with a hard quota whose use is not known are refused",
                    WhenUnknown::Allow => "tenants whose use is not known are let through",
                };
                warn!(%error, "the usage table cannot be used: counting goes on in memory, and quotas hold as last known; {unknown}");
            }
        }
    }

    /// The last batch: tried for a while, then logged, so that it can be entered by hand.
    async fn finish(&mut self) {
        let end = Instant::now() + LAST_TRY;
        loop {
            let day = today();
            self.take_in(day);
            let outcome = match tokio::time::timeout_at(end, self.write_all()).await {
                Ok(outcome) => outcome,
                Err(_) => Err(StoreError::Timeout(LAST_TRY)),
            };
            match outcome {
                Ok(()) => return,
                Err(error) if Instant::now() + LAST_PAUSE >= end => return self.lose(&error),
                Err(_) => tokio::time::sleep(LAST_PAUSE).await,
            }
        }
    }

    async fn write_all(&mut self) -> Result<(), StoreError> {
        while let Some(batch) = self.backlog.batch() {
            self.store.write(&self.writer, batch).await?;
            self.backlog.written();
        }
        Ok(())
    }

    fn lose(&self, error: &StoreError) {
        error!(%error, "the usage table cannot be written: the lines that follow are not in it");
        for ((tenant, day), counts) in self.backlog.left() {
            let Counts { transactions, statements, rows_read, rows_written, bytes_in, bytes_out, busy_micros } =
                *counts;
            error!(
                %tenant, %day, transactions, statements, rows_read, rows_written, bytes_in, bytes_out, busy_us = busy_micros,
                "usage that was not written"
            );
        }
    }
}

/// How long the day still lasts.
fn until_midnight(now: OffsetDateTime) -> Duration {
    let Some(tomorrow) = now.date().next_day() else { return Duration::MAX };
    let left = tomorrow.with_time(Time::MIDNIGHT).assume_utc() - now;
    // Timers are not exact: rather a little later than a little earlier, which would be a round for nothing.
    Duration::try_from(left).unwrap_or_default() + Duration::from_millis(2)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_day_ends_at_midnight() {
        let left = |now| until_midnight(now).as_millis();
        assert_eq!(left(datetime!(2026-11-25 23:59:59 UTC)), 1_002);
        assert_eq!(left(datetime!(2026-12-31 0:00 UTC)), 86_400_002);
        assert_ne!(writer(), writer());
    }
}
