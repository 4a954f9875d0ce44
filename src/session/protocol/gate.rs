//! Tenants' gates: nothing of a tenant begins while its gate is shut, and a session whose tenant lives elsewhere afterwards goes on
//! there.
//!
//! What the session does hangs on the last change of gates that it has dealt with ([`Session::dealt_with_gates`]), which happens
//! between its transactions alone: a transaction that began before a gate was shut goes on to its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::current_message::CurrentMessage;
use super::not_ready::NotReady;
use super::switching::Change;
use super::tenant_context::{CurrentTenant, Variable};
use super::{Backend, Batch, Pin, ServerState, Session, Wait};
use crate::base::{PgError, Severity, TenantKeys, TenantName};
use crate::guard::{PinReason, startup_setting};
use crate::tenant::{GateStanding, Gates, gate_unknown};
use crate::wire::backend::TransactionStatus;

/// A session before the gates.
pub(super) struct AtGate {
    gates: Arc<Gates>,
    /// Whose gate it is; `None`: the session names its tenants as it goes.
    tenant: Option<TenantName>,
    /// The last change that was dealt with.
    seen: u64,
    /// Its gate is shut as of that one, or any where it names its tenants.
    shut: bool,
    /// Its tenant has gone elsewhere since it connected.
    moved: bool,
}

impl AtGate {
    fn is_new(&self) -> bool {
        self.gates.number() != self.seen
    }
}

/// Where a tenant lives.
pub struct Home {
    /// Its place.
    pub backend: Arc<Backend>,
    /// Its keys.
    pub keys: TenantKeys,
    /// Settings that the server must have there.
    pub sealed: BTreeMap<String, String>,
}

impl Session {
    /// Gates concern the session: that of its tenant, or those of all that it may name.
    #[must_use]
    pub fn gated(mut self, gates: Arc<Gates>, tenant: Option<TenantName>) -> Self {
        self.context.gate = Some(Box::new(AtGate { gates, tenant, seen: 0, shut: false, moved: false }));
        self
    }

    /// Whether gates have changed since the session has dealt with them.
    #[inline]
    pub fn has_new_gates(&self) -> bool {
        self.context.gate.as_ref().is_some_and(|gate| gate.is_new())
    }

    /// The last change that it has dealt with.
    pub fn gates_seen(&self) -> u64 {
        self.context.gate.as_ref().map_or(0, |gate| gate.seen)
    }

    /// Whether the server knows of no transaction of the client's, and none is on its way there.
    pub fn rests_at_gate(&self) -> bool {
        self.starts() && self.copy.is_over()
    }

    /// Before a message that runs something.
    #[inline]
    pub(super) fn pass_gate(&mut self) -> Result<(), NotReady> {
        match &self.context.gate {
            Some(gate) if gate.shut || gate.is_new() => self.stop_at_gate(),
            Some(_) | None => Ok(()),
        }
    }

    fn stop_at_gate(&mut self) -> Result<(), NotReady> {
        if self.server.batch == Batch::Open {
            return Ok(());
        }
        if self.context.unsent.is_none() {
            // What is under way may end the transaction, or begin one.
            self.server.settle()?;
            if self.server.tx != TransactionStatus::Idle {
                return Ok(());
            }
        }
        let Some(gate) = self.context.gate.as_ref() else { return Ok(()) };
        if gate.is_new() {
            return Err(Wait::Gate.into());
        }
        match &gate.tenant {
            Some(tenant) => stand(tenant, gate.gates.standing(tenant)),
            // Its statements are looked at one by one.
            None => Ok(()),
        }
    }

    /// Before something is done for a tenant that the session names itself. What began before the gate was shut goes on.
    pub(super) fn pass_gate_of(&mut self, actor: &CurrentTenant) -> Result<(), NotReady> {
        let (Some(acting), Some(gate)) = (actor, self.context.gate.as_ref()) else { return Ok(()) };
        if !gate.shut {
            return Ok(());
        }
        match gate.gates.standing(&acting.name) {
            GateStanding::Shut(since) | GateStanding::Unknown(since) if since > gate.seen => Ok(()),
            standing => stand(&acting.name, standing),
        }
    }

    /// The same for all that a text names.
    pub(super) fn pass_gates_of(&mut self, changes: &[Change]) -> Result<(), NotReady> {
        for change in changes {
            if let Change::Switch { to, .. } = change {
                self.pass_gate_of(to)?;
            }
        }
        Ok(())
    }

    /// Whether the server connection that the session holds must go back now, or the session end: it is for a tenant whose gate is
    /// shut.
    pub fn must_let_go(&self) -> bool {
        let (Some(gate), true) = (self.context.gate.as_ref(), self.server.link.is_some()) else { return false };
        let seated = self.context.switching.as_ref().and_then(|it| it.seated().as_ref()).map(|it| &it.name);
        let tenant = gate.tenant.as_ref().or(seated);
        tenant.is_some_and(|tenant| gate.gates.standing(tenant) != GateStanding::Open)
    }

    /// Takes the server connection's state back because a gate was shut. Sequences that were drawn stay behind, other things that
    /// are on it do not let it go.
    pub fn detach_at_gate(&mut self) -> Option<ServerState> {
        if self.server.pin == Pin::Statement(PinReason::Sequences) {
            self.server.pin = Pin::by(self.context.backend.pool_mode);
        }
        self.detach_to_move()
    }

    /// Whether something is on the server connection that does not let it go.
    pub fn is_pinned(&self) -> bool {
        matches!(self.server.pin, Pin::Statement(_))
    }

    /// A change of gates was dealt with: the session is between transactions and holds no server connection of a tenant whose gate
    /// is shut.
    pub fn dealt_with_gates(&mut self, number: u64) {
        let Some(gate) = self.context.gate.as_mut() else { return };
        gate.seen = number;
        gate.shut = match &gate.tenant {
            Some(tenant) => gate.gates.standing(tenant) != GateStanding::Open,
            None => gate.gates.any(),
        };
    }

    /// Why a transaction that is open must not go on: nobody knows whether its tenant's gate is shut.
    pub fn is_out_of_touch(&self) -> Option<PgError> {
        let gate = self.context.gate.as_ref().filter(|gate| gate.is_new())?;
        let acting = self.acting().map(|acting| &acting.name);
        let tenant = gate.tenant.as_ref().or(acting)?;
        let unknown = matches!(gate.gates.standing(tenant), GateStanding::Unknown(_));
        unknown.then(|| gate_unknown(tenant, Severity::Fatal))
    }

    /// Whether the session's place may become another.
    pub(super) fn may_move(&self) -> bool {
        self.context.gate.as_ref().is_some_and(|gate| gate.gates.serve_moves())
    }

    /// Whether it has.
    pub(super) fn has_moved(&self) -> bool {
        self.context.gate.as_ref().is_some_and(|gate| gate.moved)
    }

    /// Whether all that the session has can go with it to another place. It has no server connection.
    pub fn can_travel(&self) -> bool {
        self.server.link.is_none() && self.context.channels.is_none() && self.prepared.statements.can_be_remade()
    }

    /// The session's tenant lives elsewhere now: what comes next goes there.
    pub fn relocate(&mut self, home: Home) {
        let Home { backend, keys, sealed } = home;
        self.env.keys = keys;
        self.server.pin = Pin::by(backend.pool_mode);
        self.context.settings.seal(sealed);
        let policy = backend.guard.policy();
        self.context.settings.withhold(|name, value| startup_setting(&policy, &backend.mode, name, value).is_err());
        self.context.backend = backend;
        self.outdate();
        if let Some(gate) = self.context.gate.as_mut() {
            gate.moved = true;
        }
    }

    /// The tenant that the session has named lives elsewhere now, and is acted for there.
    ///
    /// # Errors
    /// It may not be acted for any more, or its place cannot be used.
    pub fn follow_named(&mut self) -> Result<(), PgError> {
        let Some(name) = self.acting().map(|acting| acting.name.clone()) else { return Ok(()) };
        let Some(switching) = self.context.switching.as_mut() else { return Ok(()) };
        let actor = switching.resolve(name.as_str())?;
        switching.asked = Variable::new(actor);
        Ok(())
    }

    /// Whether it names its tenants as it goes.
    pub fn switches(&self) -> bool {
        self.context.switching.is_some()
    }

    /// What was decided for a tenant's old place is decided anew.
    pub fn outdate(&mut self) {
        self.prepared.statements.outdate();
        self.prepared.decided = None;
        let (turn, denied) = (self.current.turn, self.current.denied.take());
        self.current = CurrentMessage { turn, denied, ..CurrentMessage::default() };
    }
}

fn stand(tenant: &TenantName, standing: GateStanding) -> Result<(), NotReady> {
    match standing {
        GateStanding::Open => Ok(()),
        GateStanding::Shut(_) => Err(Wait::Gate.into()),
        GateStanding::Unknown(_) => Err(NotReady::Refuse(gate_unknown(tenant, Severity::Error))),
    }
}
