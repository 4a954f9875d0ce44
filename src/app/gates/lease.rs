//! The lease: how long others rely on this proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, warn};

use super::{GateKeeper, Part, RETRY};
use crate::app::tenants::SourceError;
use crate::control::connect;

/// Up to when it is held, by this machine's clock.
#[derive(Debug, Default)]
pub(super) struct Lease {
    until: watch::Sender<Option<Instant>>,
    losses: AtomicU64,
}

impl Lease {
    /// Whether others rely on the proxy, and it on itself.
    pub fn is_held(&self) -> bool {
        self.until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// How often it was lost.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }

    fn renewed(&self, until: Instant) {
        self.until.send_replace(Some(until));
    }
}

impl GateKeeper {
    /// Says again and again that the proxy is there.
    pub(super) async fn hold_lease(self: Arc<Self>) {
        let mut configured = self.configured.subscribe();
        let mut failing = false;
        loop {
            configured.borrow_and_update();
            let Some(part) = self.part() else {
                self.lease.until.send_replace(None);
                // It lives as long as this does.
                let _ = configured.changed().await;
                continue;
            };
            match self.renew(&part, &mut configured, &mut failing).await {
                Ok(()) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        warn!(upstream = %part.upstream.name, %error, "the proxy cannot say that it is there");
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    async fn renew(
        &self,
        part: &Part,
        configured: &mut watch::Receiver<u64>,
        failing: &mut bool,
    ) -> Result<(), SourceError> {
        let addresses: Vec<_> = part.config.listen.addresses.iter().map(ToString::to_string).collect();
        let addresses = addresses.join(", ");
        let client = connect(&part.upstream, "pgwarden lease").await?;
        let lease = part.moves.lease;
        let settings = format!("SET statement_timeout = {}", part.beat().as_millis());
        part.within(client.batch_execute(&settings)).await?;
        let mut registered = false;
        loop {
            // What runs when it is lost needs time to end: a fifth of it.
            let until = Instant::now() + lease / 5 * 4;
            registered = registered && part.within(part.tables.renew(&client, &self.proxy, lease)).await?;
            if !registered {
                let until_then = Instant::now() + lease / 5 * 4;
                part.within(part.tables.register(&client, &self.proxy, lease, &addresses)).await?;
                registered = true;
                self.lease.renewed(until_then);
            } else {
                self.lease.renewed(until);
            }
            *failing = false;
            if self.gates().are_unknown() {
                self.wake.notify_one();
            }
            tokio::select! {
                () = sleep(part.beat()) => {}
                _ = configured.changed() => return Ok(()),
            }
        }
    }

    /// Refuses tenants when the lease has run out.
    pub(super) async fn watch_lease(self: Arc<Self>) {
        let mut held = self.lease.until.subscribe();
        loop {
            let until = *held.borrow_and_update();
            let Some(until) = until else {
                let _ = held.changed().await;
                continue;
            };
            tokio::select! {
                () = sleep_until(until) => {
                    self.lease.losses.fetch_add(1, Ordering::SeqCst);
                    self.lose();
                    error!("the proxy has lost touch with the table of tenants: its tenants are refused until it is read again");
                    let _ = held.changed().await;
                }
                _ = held.changed() => {}
            }
        }
    }
}
