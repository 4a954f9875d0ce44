//! The gates of tenants. While a tenant's gate is shut, what it has under way ends, and nothing new of it begins; when it opens, the
//! tenant may live elsewhere.
//!
//! Each change has a number. A session compares it with the last one that it has dealt with, which is all that gates cost while
//! none is shut, and deals with a new one between its transactions: so whoever shut a gate knows, once all sessions of the tenant
//! have dealt with that, that nothing is under way and nothing will be.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::registry::SharedRegistry;
use super::standing::same_home;
use crate::base::{PgError, Severity, SqlState, TenantName};
use crate::config::Tenant;

/// A gate that is shut.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Which shutting of it this is, where all proxies know of it; `None`: this proxy alone.
    pub epoch: Option<i64>,
    /// Why it is shut.
    pub reason: Arc<str>,
    /// When it opens anyway.
    pub deadline: Instant,
    /// Whether its sessions may go on elsewhere.
    pub travel: bool,
}

/// How a tenant's gate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateStanding {
    /// Nothing keeps it.
    Open,
    /// It is shut since the change of this number.
    Shut(u64),
    /// Nobody knows how it stands, since the change of this number: the tenant is refused.
    Unknown(u64),
}

/// What becomes of a session whose tenant lives elsewhere now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It waits: the gate is shut.
    Waits,
    /// It goes on there.
    Goes,
    /// It ends: the place is another, and no gate was shut, or what the session has does not travel.
    Ends,
}

#[derive(Debug)]
struct Shut {
    gate: Gate,
    since: u64,
    /// Since when it was never seen open, under whatever epochs.
    first: u64,
    /// Where the tenant lived then.
    from: Option<Arc<Tenant>>,
    drained: bool,
}

/// A tenant that went elsewhere behind its gate, while there are sessions that have not followed.
#[derive(Debug)]
struct Moved {
    /// Where sessions may be that have not followed: a tenant may go on before all of them have.
    from: Vec<Arc<Tenant>>,
    to: Arc<Tenant>,
    travel: bool,
    /// By the change of this number.
    since: u64,
}

impl Moved {
    fn was_in(&self, home: &Tenant) -> bool {
        self.from.iter().any(|from| same_home(from, home))
    }
}

#[derive(Debug, Default)]
struct State {
    shut: HashMap<TenantName, Shut>,
    moved: HashMap<TenantName, Moved>,
    /// Since when nobody knows what is shut, and who is concerned by that: all listed tenants but these.
    unknown: Option<(u64, HashSet<TenantName>)>,
}

/// The gates of all tenants.
#[derive(Debug)]
pub struct Gates {
    registry: SharedRegistry,
    /// The number of the last change.
    number: AtomicU64,
    /// Tenants may live elsewhere when their gates open.
    serve_moves: AtomicBool,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    dealt_with: Notify,
}

/// A gate for whom it concerns: for the console.
#[derive(Clone, Debug)]
pub struct GateView {
    /// Whose.
    pub tenant: TenantName,
    /// The gate.
    pub gate: Gate,
    /// Since the change of this number.
    pub since: u64,
    /// Nothing of the tenant is under way.
    pub drained: bool,
}

impl Gates {
    /// All open.
    pub fn new(registry: SharedRegistry) -> Arc<Self> {
        Arc::new(Self {
            registry,
            number: AtomicU64::new(0),
            serve_moves: AtomicBool::new(false),
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            dealt_with: Notify::new(),
        })
    }

    /// The number of the last change, which may be a moment old: whoever goes by an older one has not dealt with the next.
    #[inline]
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// The number of the last change: what stood before it is seen.
    pub fn number_now(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Whether tenants may live elsewhere when their gates open.
    pub fn serve_moves(&self) -> bool {
        self.serve_moves.load(Ordering::Relaxed)
    }

    /// Says so.
    pub fn set_serve_moves(&self, serve: bool) {
        self.serve_moves.store(serve, Ordering::Relaxed);
    }

    /// Ready when there is another change than this one.
    pub async fn changed_since(&self, number: u64) {
        // The sender lives as long as this does.
        let _ = self.changes.subscribe().wait_for(|it| *it != number).await;
    }

    /// How a tenant's gate stands.
    pub fn standing(&self, tenant: &TenantName) -> GateStanding {
        let state = self.state.lock();
        if let Some((since, spared)) = &state.unknown
            && !spared.contains(tenant)
            && self.registry.load().is_listed(tenant.as_str())
        {
            return GateStanding::Unknown(*since);
        }
        state.shut.get(tenant).map_or(GateStanding::Open, |shut| GateStanding::Shut(shut.first))
    }

    /// Whether any gate is shut, or nobody knows.
    pub fn any(&self) -> bool {
        let state = self.state.lock();
        !state.shut.is_empty() || state.unknown.is_some()
    }

    /// Whether nobody knows how gates stand.
    pub fn are_unknown(&self) -> bool {
        self.state.lock().unknown.is_some()
    }

    /// Whether a tenant has gone elsewhere, and not all of its sessions have followed.
    pub fn any_moved(&self) -> bool {
        !self.state.lock().moved.is_empty()
    }

    /// What becomes of a session of a tenant that was here and is there now.
    pub fn passage(&self, was: &Tenant, now: &Tenant) -> Passage {
        let state = self.state.lock();
        if state.shut.contains_key(&was.name) {
            return Passage::Waits;
        }
        match state.moved.get(&was.name) {
            Some(moved) if moved.travel && moved.was_in(was) && same_home(&moved.to, now) => Passage::Goes,
            Some(_) | None => Passage::Ends,
        }
    }

    /// As [`Gates::passage`], for a session that knows of its tenant what it acts by.
    pub fn passage_of(&self, tenant: &TenantName) -> Passage {
        let state = self.state.lock();
        match (state.shut.contains_key(tenant), state.moved.get(tenant)) {
            (true, _) => Passage::Waits,
            (false, Some(moved)) if moved.travel => Passage::Goes,
            (false, _) => Passage::Ends,
        }
    }

    /// Shuts a gate. One that is shut already stays so, under another epoch where that is another. Returns the change's number if
    /// it is one.
    pub fn shut(&self, tenant: &TenantName, gate: Gate) -> Option<u64> {
        let mut state = self.state.lock();
        if let Some(shut) = state.shut.get_mut(tenant)
            && shut.gate.epoch == gate.epoch
        {
            shut.gate = gate;
            return None;
        }
        let since = self.number_now() + 1;
        // Sessions are still where they were when it was shut first.
        let before = state.shut.remove(tenant);
        let first = before.as_ref().map_or(since, |shut| shut.first);
        let from = before.and_then(|shut| shut.from).or_else(|| self.registry.load().tenant(tenant.as_str()).cloned());
        state.shut.insert(tenant.clone(), Shut { gate, since, first, from, drained: false });
        self.record_change(since);
        Some(since)
    }

    /// All sessions of the tenant have dealt with the change of this number.
    pub fn set_drained(&self, tenant: &TenantName, since: u64) {
        if let Some(shut) = self.state.lock().shut.get_mut(tenant).filter(|shut| shut.since == since) {
            shut.drained = true;
        }
    }

    /// Opens gates: sessions go on where the registry has their tenants now. Returns the change's number, and whether any of these
    /// lives elsewhere.
    pub fn open(&self, tenants: &[TenantName]) -> (u64, bool) {
        let mut state = self.state.lock();
        let since = self.number_now() + 1;
        let mut moves = false;
        for tenant in tenants {
            let Some(shut) = state.shut.remove(tenant) else { continue };
            let now = self.registry.load().tenant(tenant.as_str()).cloned();
            let (Some(from), Some(to)) = (shut.from, now) else { continue };
            // Whoever was still on the way goes on from where he is.
            let before = state.moved.remove(tenant).filter(|moved| moved.travel && same_home(&moved.to, &from));
            let mut from = vec![from];
            from.extend(before.into_iter().flat_map(|moved| moved.from));
            if from.iter().any(|from| !same_home(from, &to)) {
                moves = true;
                state.moved.insert(tenant.clone(), Moved { from, to, travel: shut.gate.travel, since });
            }
        }
        self.record_change(since);
        (since, moves)
    }

    /// All sessions that there were have followed what moved by the change of this number, or had the time. Behind a gate that was
    /// shut again nobody follows: who stands there goes on when that opens.
    pub fn forget_moves(&self, since: u64) {
        let State { shut, moved, .. } = &mut *self.state.lock();
        moved.retain(|tenant, moved| moved.since != since || shut.contains_key(tenant));
    }

    /// Nobody knows any more which gates are shut: all listed tenants but these are refused.
    pub fn lose(&self, spared: HashSet<TenantName>) {
        let mut state = self.state.lock();
        if state.unknown.is_none() {
            let since = self.number_now() + 1;
            state.unknown = Some((since, spared));
            self.record_change(since);
        }
    }

    /// It is known again. Returns whether it was not.
    pub fn regain(&self) -> bool {
        let mut state = self.state.lock();
        let was = state.unknown.take().is_some();
        if was {
            self.record_change(self.number_now() + 1);
        }
        was
    }

    /// The gates that are shut.
    pub fn view(&self) -> Vec<GateView> {
        let state = self.state.lock();
        let mut all: Vec<_> = state
            .shut
            .iter()
            .map(|(tenant, shut)| GateView {
                tenant: tenant.clone(),
                gate: shut.gate.clone(),
                since: shut.since,
                drained: shut.drained,
            })
            .collect();
        all.sort_unstable_by(|one, other| one.tenant.cmp(&other.tenant));
        all
    }

    /// One of them.
    pub fn get(&self, tenant: &TenantName) -> Option<GateView> {
        self.view().into_iter().find(|it| it.tenant == *tenant)
    }

    /// A session has dealt with a change.
    pub fn record_dealt_with(&self) {
        self.dealt_with.notify_one();
    }

    /// Ready when a session has dealt with a change.
    pub async fn a_session_has_dealt_with_it(&self) {
        self.dealt_with.notified().await;
    }

    /// With the state locked: who sees the number finds the state.
    fn record_change(&self, number: u64) {
        self.number.store(number, Ordering::Release);
        self.changes.send_replace(number);
    }
}

/// What a client of a tenant is told while nobody knows how its gate stands.
pub fn gate_unknown(tenant: &TenantName, severity: Severity) -> PgError {
    let error = PgError::error(
        SqlState::CANNOT_CONNECT_NOW,
        format!(
            "tenant \"{tenant}\" cannot be served at the moment: pgwarden has lost touch with the database that holds the table of tenants"
        ),
    );
    let error =
        error.hint("Try again: it is served as soon as that database answers, or by another pgwarden that reaches it.");
    PgError { severity, ..error }
}
