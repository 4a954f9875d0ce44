//! The meters of one login in one tenant, as its sessions use them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::gauge::Slot;
use super::limiter::{Kind, Limiter, Turn};
use super::view::View;
use super::{errors, rate};
use crate::base::PgError;

/// An answer of the server that counts for all proxies takes less, mostly.
const SETTLING: Duration = Duration::from_millis(1);

/// What became of a statement that asked for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// It may run.
    Go,
    /// It may run after this time.
    Wait(Duration),
    /// It has no turn yet, and is to ask again after this time.
    Again(Duration),
    /// It may not.
    Rejected(PgError),
}

/// Places in all meters for a connection or a transaction. Given back when dropped.
#[derive(Debug, Default)]
pub struct Permit {
    _slots: [Option<Slot>; 2],
}

/// Whom a session is counted for. The default limits nothing.
#[derive(Debug, Default)]
pub struct Allowance {
    /// The login's first: what it may not have must not be taken from its tenant.
    pub(super) meters: [Option<Arc<Limiter>>; 2],
    armed: AtomicBool,
    /// The sessions act for tenants that they name as they go: any tenant's limits may come to hold.
    unbound: bool,
    view: ArcSwap<View>,
}

impl Allowance {
    pub(super) fn new(login: Option<Arc<Limiter>>, tenant: Option<Arc<Limiter>>, unbound: bool) -> Self {
        Self { meters: [login, tenant], armed: AtomicBool::new(false), unbound, view: ArcSwap::default() }
    }

    pub(super) fn meters(&self) -> impl Iterator<Item = &Arc<Limiter>> {
        self.meters.iter().flatten()
    }

    /// The limits of a meter or of the listener (`idle`) have changed; `any`: somebody has limits.
    pub(super) fn update(&self, idle: Duration, any: bool) {
        self.view.store(Arc::new(View::of(self.meters(), idle)));
        let on = !idle.is_zero() || (self.unbound && any) || self.meters().any(|meter| meter.is_on());
        self.armed.store(on, Ordering::Release);
    }

    /// Whether anything is limited: all that a session without limits looks at.
    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    /// The limits of single statements, transactions and sessions; `known` is what the caller has of them.
    pub fn view(&self, known: &mut Arc<View>) {
        let now = self.view.load();
        if !Arc::ptr_eq(&now, known) {
            *known = Arc::clone(&now);
        }
    }

    /// A connection begins.
    ///
    /// # Errors
    /// 53300, FATAL.
    pub fn connect(&self) -> Result<Permit, PgError> {
        let mut slots = [None, None];
        for (meter, slot) in self.meters.iter().zip(&mut slots) {
            let Some(meter) = meter else { continue };
            *slot = Some(meter.connections.try_take().ok_or_else(|| {
                meter.rejected(Kind::Connections);
                errors::too_many_connections(meter)
            })?);
        }
        Ok(Permit { _slots: slots })
    }

    /// A statement is to run.
    pub fn charge(&self) -> Charge {
        if self.meters().all(|meter| !meter.rate.is_on()) {
            return Charge::Go;
        }
        let now = rate::now();
        let mut longest = 0;
        for (at, meter) in self.meters().enumerate() {
            let error = match meter.turn(now) {
                Turn::Now => continue,
                Turn::After(wait) => {
                    meter.waited(Kind::Statements);
                    longest = longest.max(wait);
                    continue;
                }
                Turn::Never(retry) => Some(errors::too_many_statements(meter, Duration::from_nanos(retry))),
                Turn::Unknown => Some(errors::not_counted(meter)),
                Turn::Unsettled => None,
            };
            self.meters().take(at).for_each(Limiter::refund);
            return error.map_or(Charge::Again(SETTLING), |error| {
                meter.rejected(Kind::Statements);
                Charge::Rejected(error)
            });
        }
        if longest == 0 { Charge::Go } else { Charge::Wait(Duration::from_nanos(longest)) }
    }

    /// So many statements run in any case: behind one that was charged, or to end a transaction.
    pub fn debit(&self, count: usize) {
        let now = rate::now();
        self.meters().for_each(|meter| meter.debit(count as u64, now));
    }

    /// A transaction begins: a place for it at once, if there is one. `None`: [`Allowance::permit`] waits for it.
    ///
    /// # Errors
    /// 53400 if nobody waits.
    pub fn try_permit(&self) -> Result<Option<Permit>, PgError> {
        let mut slots = [None, None];
        for (meter, slot) in self.meters.iter().zip(&mut slots) {
            let Some(meter) = meter.as_ref().filter(|meter| meter.transactions.is_on()) else { continue };
            *slot = meter.transactions.try_take();
            if slot.is_none() {
                if meter.patience() == 0 {
                    meter.rejected(Kind::Transactions);
                    return Err(errors::too_many_transactions(meter, Duration::ZERO));
                }
                return Ok(None);
            }
        }
        Ok(Some(Permit { _slots: slots }))
    }

    /// Waits for a transaction's place, in the order of arrival. The future may be dropped at any time.
    ///
    /// # Errors
    /// 53400 after the longest wait.
    pub async fn permit(&self) -> Result<Permit, PgError> {
        let mut slots = [None, None];
        for (meter, slot) in self.meters.iter().zip(&mut slots) {
            let Some(meter) = meter.as_ref().filter(|meter| meter.transactions.is_on()) else { continue };
            *slot = meter.transactions.try_take();
            if slot.is_some() {
                continue;
            }
            let patience = Duration::from_nanos(meter.patience());
            meter.waited(Kind::Transactions);
            *slot = Some(meter.transactions.take(patience).await.ok_or_else(|| {
                meter.rejected(Kind::Transactions);
                errors::too_many_transactions(meter, patience)
            })?);
        }
        Ok(Permit { _slots: slots })
    }
}
