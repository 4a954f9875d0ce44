//! The way of a client's text through the guard. What comes out is the only thing that can be sent.

use std::sync::Arc;

use super::not_ready::NotReady;
use super::offload::{OffloadedPlans, Sharing};
use super::outline::no_tenant;
use super::switching::keys_of;
use super::tenant_context::CurrentTenant;
use super::{Backend, Batch, Hold, Session, Wait};
use crate::base::{Mode, PgError, Refusal, RefusalKind, SqlState};
use crate::guard::{Effect, Guarded, Listening, PinReason, Plan, Protocol, Script, StatementKind};

impl Session {
    /// Asks a place's guard on behalf of an actor, and tells the epoch of the policy that decided. A statement that is put together
    /// with others shares no plan by shape.
    pub(super) fn admit(
        &mut self,
        backend: &Arc<Backend>,
        protocol: Protocol<'_>,
        sharing: Sharing,
        sql: &str,
        actor: &CurrentTenant,
    ) -> Result<(Guarded, u64), NotReady> {
        if !is_blank(sql) {
            self.check_catalog(backend)?;
        }
        self.renew_keys()?;
        let epoch = backend.guard.epoch();
        if let Some(refusal) = self.outlives_its_decision(backend, sql) {
            return Err(NotReady::Refuse(*refusal.error));
        }
        let plan = OffloadedPlans::plan(self.current.texts.as_deref(), backend, self.names(), protocol, sharing, sql)
            .map_err(|reading| Wait::Read(Box::new(reading)))?;
        match plan.and_then(|script| self.bind_for(backend, &script, actor, sql)) {
            Ok(guarded) => {
                if let Some(refusal) = self.outlives_its_path(backend, &guarded) {
                    return Err(NotReady::Refuse(*refusal.error));
                }
                self.tell_objections(&guarded, sql);
                self.observe_text(backend, protocol, sql);
                Ok((guarded, epoch))
            }
            Err(refusal) if self.may_be_new(&refusal) => Err(Wait::Refresh(Arc::clone(backend)).into()),
            Err(refusal) => {
                self.env.observer.refused(&refusal, sql);
                Err(NotReady::Refuse(*refusal.error))
            }
        }
    }

    /// A script with an actor's keys. For nobody, only what is harmless.
    fn bind_for(
        &self,
        backend: &Backend,
        script: &Arc<Script>,
        actor: &CurrentTenant,
        sql: &str,
    ) -> Result<Guarded, Refusal> {
        if let Some(reading) = &self.context.reading {
            return script.bind(reading.keys()?);
        }
        if self.context.switching.is_none() {
            return script.bind(&self.env.keys);
        }
        if actor.is_some() {
            return script.bind(&keys_of(actor));
        }
        if !script.statements.iter().all(|plan| is_harmless(backend, plan)) {
            return Err(no_tenant(&backend.guard.policy().setting));
        }
        let guarded = script.bind_for_nobody()?;
        if script.looks_up() {
            self.env.observer.looked_up(sql);
        }
        Ok(guarded)
    }

    /// What the witness has against statements that are sent.
    fn tell_objections(&self, guarded: &Guarded, sql: &str) {
        for objection in guarded.plans().iter().filter_map(|plan| plan.objection.as_deref()) {
            self.env.observer.objected(objection, sql);
        }
    }

    /// The guard of a place that was not needed before knows nothing yet; that of a bound session's own did its best at login.
    pub(super) fn check_catalog(&self, backend: &Arc<Backend>) -> Result<(), NotReady> {
        if (self.context.switching.is_none() && !self.has_moved()) || backend.guard.epoch() > 0 {
            return self.check_age(backend);
        }
        if !self.current.refreshed {
            return Err(Wait::Refresh(Arc::clone(backend)).into());
        }
        Err(NotReady::Refuse(PgError::error(
            SqlState::CONNECTION_FAILURE,
            "the tenant's database cannot be reached: its catalog could not be read",
        )))
    }

    fn may_be_new(&self, refusal: &Refusal) -> bool {
        !self.current.refreshed && refusal.kind == RefusalKind::Undefined
    }

    /// The catalog was read anew (or need not be): the current message is looked at again.
    pub fn refreshed(&mut self) {
        self.current.refreshed = true;
        self.current.texts = None;
    }

    /// Notes what a statement that is sent now, and was decided by the policy of this epoch, does to the session. What is only known afterwards is asked for then.
    pub(super) fn record_effects(&mut self, guarded: &Guarded, epoch: u64) {
        self.record_draws(guarded);
        self.record_locks(guarded);
        self.record_temporary(guarded);
        self.record_each(guarded.plans().iter().flat_map(|plan| &plan.effects), epoch);
    }

    pub(super) fn record_each<'e>(&mut self, effects: impl Iterator<Item = &'e Effect>, epoch: u64) {
        for effect in effects {
            match effect {
                Effect::Setting(name) => {
                    self.note_unguarded(name);
                    let waits = self.context.settings.touch(name);
                    self.hold_if(waits);
                }
                Effect::ResetAll => {
                    let waits = self.context.settings.touch_all();
                    self.hold_if(waits);
                }
                Effect::ResetOwn => {
                    self.context.settings.reset_sent();
                    self.hold_if(true);
                }
                Effect::DiscardAll => {
                    let open = self.server.batch == Batch::Open;
                    self.server.discarding |= open && (self.context.switching.is_some() || self.context.settings.any());
                    self.hold_if(true);
                }
                Effect::Pin(reason) => {
                    self.pin_to(*reason);
                    match reason {
                        PinReason::Prepare => self.record_prepared(epoch),
                        PinReason::Seed => self.server.spend(),
                        PinReason::Listen
                        | PinReason::HoldCursor
                        | PinReason::TempObject
                        | PinReason::AdvisoryLock
                        | PinReason::Sequences
                        | PinReason::SessionState => {}
                    }
                    self.record_tie(*reason);
                }
                Effect::CatalogChanged => self.context.catalog_changed = true,
                // Names and locks are noted when the statement has ended well; what is known at Bind, by the portal.
                Effect::Deallocate(_)
                | Effect::SettingAtBind { .. }
                | Effect::Prepare(_)
                | Effect::Draws
                | Effect::MayDraw
                | Effect::AsksSequences
                | Effect::LooksUp
                | Effect::Locks(_)
                | Effect::Unlocks
                | Effect::MakesTemporary(_)
                | Effect::NamesTemporary
                | Effect::DropsTemporary
                | Effect::Listens(_) => {}
            }
        }
    }

    /// What the client sends next must see what this statement leaves, settings that are made up for included: it waits
    /// until nothing is outstanding. A batch of extended messages goes on to its Sync.
    pub(super) fn hold_if(&mut self, waits: bool) {
        if waits {
            self.server.hold = match self.server.batch {
                Batch::Closed => Hold::Drain,
                Batch::Open => Hold::AfterSync,
            };
        }
    }

    pub(super) fn pin_to(&mut self, reason: PinReason) {
        let held = match self.server.pin {
            super::Pin::No | super::Pin::Mode => false,
            // It goes when the locks are given back, or the temporary tables are gone: what else is there must not.
            super::Pin::Statement(PinReason::AdvisoryLock) => reason == PinReason::AdvisoryLock,
            super::Pin::Statement(PinReason::TempObject) => {
                matches!(reason, PinReason::TempObject | PinReason::AdvisoryLock)
            }
            super::Pin::Statement(_) => true,
        };
        if !held {
            self.env.observer.pinned(reason);
            self.server.pin = super::Pin::Statement(reason);
        }
    }

    /// Whether the session is an operator's, or observed: nothing is enforced.
    pub(super) fn is_operator(&self) -> bool {
        self.context.backend.mode == Mode::Operator
    }
}

/// Whether a statement may run for nobody. In the place of another layout than the shared one, what it defines would be in
/// the last tenant's hands: settings and the ends of transactions are all that is left.
pub(super) fn is_harmless(backend: &Backend, plan: &Plan) -> bool {
    if plan.needs_tenant || !plan.slots.is_empty() {
        return false;
    }
    match (&backend.mode, plan.kind) {
        (Mode::Shared, _) => true,
        (_, StatementKind::Empty | StatementKind::Select | StatementKind::Transaction) => true,
        (_, StatementKind::Utility) => {
            !plan.effects.is_empty()
                && plan.effects.iter().all(|effect| match effect {
                    Effect::Setting(_)
                    | Effect::ResetAll
                    | Effect::ResetOwn
                    | Effect::DiscardAll
                    | Effect::Deallocate(_)
                    | Effect::Listens(Listening::StopAll) => true,
                    Effect::Pin(_)
                    | Effect::SettingAtBind { .. }
                    | Effect::Prepare(_)
                    | Effect::CatalogChanged
                    | Effect::Draws
                    | Effect::MayDraw
                    | Effect::AsksSequences
                    | Effect::LooksUp
                    | Effect::Locks(_)
                    | Effect::Unlocks
                    | Effect::MakesTemporary(_)
                    | Effect::NamesTemporary
                    | Effect::DropsTemporary
                    | Effect::Listens(_) => false,
                })
        }
        (_, StatementKind::Dml | StatementKind::CopyOut | StatementKind::CopyIn) => false,
    }
}

/// It holds no statement, whatever the catalog says.
fn is_blank(sql: &str) -> bool {
    sql.bytes().all(|byte| byte == b';' || byte.is_ascii_whitespace())
}
