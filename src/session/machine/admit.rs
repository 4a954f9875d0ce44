//! The way of a client's text through the guard. What comes out is the only thing that can be sent.

use std::sync::Arc;

use super::acting::Actor;
use super::compose::no_tenant;
use super::switching::keys_of;
use super::{Batch, Hold, Machine, Wait};
use crate::guard::{Effect, Guarded, Mode, Protocol, Refusal, RefusalKind, Script};

/// What the guard made of a text.
pub(super) enum Admission {
    /// It may be sent.
    Passed(Guarded),
    /// It may not.
    Refused(Refusal),
    /// It names something that is unknown: the catalog should be looked at anew before that is the last word.
    Unknown,
}

impl Machine {
    /// Asks the guard, unless it was asked for this very message before.
    pub(super) fn admit(&mut self, protocol: Protocol<'_>, sql: &str) -> Admission {
        if let Some(guarded) = self.admitted.take() {
            return Admission::Passed(guarded);
        }
        let plan = self.env.guard.plan(&self.env.mode, protocol, sql);
        match plan.and_then(|script| script.bind(&self.env.keys)) {
            Ok(guarded) => Admission::Passed(guarded),
            Err(refusal) if self.may_be_new(&refusal) => Admission::Unknown,
            Err(refusal) => {
                self.env.observer.refused(&refusal, sql);
                Admission::Refused(refusal)
            }
        }
    }

    /// Asks the guard on behalf of an actor.
    pub(super) fn admit_for(&mut self, protocol: Protocol<'_>, sql: &str, actor: &Actor) -> Admission {
        let plan = self.env.guard.plan(&self.env.mode, protocol, sql);
        self.bound_for(plan, sql, actor)
    }

    /// As [`Machine::admit_for`], for a statement that is put together with others.
    pub(super) fn admit_whole(&mut self, protocol: Protocol<'_>, sql: &str, actor: &Actor) -> Admission {
        let plan = match protocol {
            Protocol::Simple => self.env.guard.plan_whole(&self.env.mode, sql),
            Protocol::Extended { .. } => self.env.guard.plan(&self.env.mode, protocol, sql),
        };
        self.bound_for(plan, sql, actor)
    }

    fn bound_for(&mut self, plan: Result<Arc<Script>, Refusal>, sql: &str, actor: &Actor) -> Admission {
        let bound = plan.and_then(|script| {
            let needs = script.statements.iter().any(|plan| plan.needs_tenant || !plan.slots.is_empty());
            if needs && actor.is_none() {
                return Err(no_tenant(&self.env.guard.policy().setting));
            }
            script.bind(&keys_of(actor))
        });
        match bound {
            Ok(guarded) => Admission::Passed(guarded),
            Err(refusal) if self.may_be_new(&refusal) => Admission::Unknown,
            Err(refusal) => {
                self.env.observer.refused(&refusal, sql);
                Admission::Refused(refusal)
            }
        }
    }

    fn may_be_new(&self, refusal: &Refusal) -> bool {
        !self.refreshed && refusal.kind == RefusalKind::Undefined
    }

    /// The catalog was read anew (or need not be): the current message is looked at again.
    pub fn refreshed(&mut self) {
        self.refreshed = true;
    }

    /// Keeps a verdict for when the message can be gone on with.
    pub(super) fn postpone(&mut self, guarded: Guarded, wait: Wait) -> super::Flow {
        self.admitted = Some(guarded);
        super::Flow::Stop(wait)
    }

    /// Notes what a statement that is sent now does to the session. What is only known afterwards is asked for then.
    pub(super) fn note_effects(&mut self, guarded: &Guarded) {
        for effect in guarded.plans().iter().flat_map(|plan| &plan.effects) {
            match effect {
                Effect::Setting(name) => {
                    let waits = self.settings.touch(name);
                    self.hold_if(waits);
                }
                Effect::ResetAll => {
                    let waits = self.settings.touch_all();
                    self.hold_if(waits);
                }
                Effect::ResetOwn => {
                    // What stands in the place of RESET ALL.
                    self.settings.touch("application_name");
                    self.hold_if(true);
                }
                Effect::DiscardAll => self.hold_if(true),
                Effect::Pin(reason) => {
                    self.pin_to(*reason);
                    self.note_tie(*reason);
                }
                Effect::CatalogChanged => self.catalog_changed = true,
                Effect::Deallocate(_) => {}
            }
        }
    }

    /// What the client sends next must see what this statement leaves, settings that are made up for included: it waits
    /// until nothing is outstanding. A batch of extended messages goes on to its Sync.
    fn hold_if(&mut self, waits: bool) {
        if waits {
            self.hold = match self.batch {
                Batch::Closed => Hold::Drain,
                Batch::Open => Hold::AfterSync,
            };
        }
    }

    fn pin_to(&mut self, reason: crate::guard::PinReason) {
        if self.pin == super::Pin::No {
            self.env.observer.pinned(reason);
            self.pin = super::Pin::Statement(reason);
        }
    }

    /// Whether the session is an operator's.
    pub(super) fn is_operator(&self) -> bool {
        self.env.mode == Mode::Operator
    }
}
