//! A gate that is shut: when nothing of its tenant is under way; and one that opens.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::GateKeeper;
use crate::base::TenantName;
use crate::config::Layout;
use crate::session::SessionHandle;
use crate::tenant::Gate;

/// Sessions are asked so often whether they have dealt with a gate, besides when they tell.
const ASK: Duration = Duration::from_millis(5);
/// Sessions that have not followed their tenant within this time end.
const FOLLOW: Duration = Duration::from_secs(10);

impl GateKeeper {
    /// Shuts a gate, and begins to wait for what the tenant has under way.
    pub(super) fn shut(self: &Arc<Self>, tenant: &TenantName, gate: Gate) {
        let reason = Arc::clone(&gate.reason);
        let Some(since) = self.gates().shut(tenant, gate) else { return };
        info!(%tenant, %reason, "gate shut: transactions end, new ones wait");
        let sessions = self.shared.directory.gated_with(tenant);
        self.ring(sessions.iter());
        let (keeper, tenant) = (Arc::clone(self), tenant.clone());
        tokio::spawn(async move { keeper.drain(tenant, since, sessions).await });
    }

    async fn drain(self: Arc<Self>, tenant: TenantName, since: u64, sessions: Vec<Arc<SessionHandle>>) {
        let begun = Instant::now();
        let stands = || self.gates().get(&tenant).is_some_and(|it| it.since == since);
        if !self.have_seen(&sessions, since, stands).await {
            return;
        }
        let registry = self.shared.registry.load_full();
        if let Some(listed) = registry.tenant(tenant.as_str()).filter(|it| it.layout == Layout::Database)
            && let Ok(place) = self.shared.upstreams.open(&listed.upstream, &listed.upstream.database)
        {
            place.pool.close_idle();
        }
        self.gates().set_drained(&tenant, since);
        info!(%tenant, took = ?begun.elapsed(), "nothing of the tenant is under way");
        self.wake.notify_one();
    }

    /// Waits until sessions have dealt with a change of gates, or are gone, as long as something `stands`. Returns whether they have.
    async fn have_seen(&self, sessions: &[Arc<SessionHandle>], number: u64, stands: impl Fn() -> bool) -> bool {
        for session in sessions {
            while !session.has_seen_gates(number) && self.shared.directory.get(session.id()).is_some() {
                if !stands() {
                    return false;
                }
                tokio::select! {
                    () = self.gates().a_session_has_dealt_with_it() => {}
                    () = sleep(ASK) => {}
                }
            }
        }
        stands()
    }

    /// Opens gates: sessions go on where their tenants live now.
    pub(super) fn open(self: &Arc<Self>, tenants: &[TenantName]) {
        if tenants.is_empty() {
            return;
        }
        let (number, moved) = self.gates().open(tenants);
        let sessions: Vec<_> = tenants.iter().flat_map(|tenant| self.shared.directory.gated_with(tenant)).collect();
        self.ring(sessions.iter());
        for tenant in tenants {
            info!(%tenant, moved, "gate open");
        }
        if moved {
            let keeper = Arc::clone(self);
            tokio::spawn(async move {
                let end = Instant::now() + FOLLOW;
                if !keeper.have_seen(&sessions, number, || Instant::now() < end).await {
                    warn!("some sessions did not follow their tenants in time: they end");
                }
                keeper.gates().forget_moves(number);
                keeper.shared.directory.registry_changed();
            });
        }
    }
}
