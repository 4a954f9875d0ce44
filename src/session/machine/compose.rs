//! Texts of a session that switches tenants: each statement guarded for the tenant that it will run for.

use std::sync::Arc;

use super::acting::{Actor, Variable};
use super::ahead::Sharing;
use super::context::Hindrance;
use super::dropping::write_query;
use super::load::LoadProtocol;
use super::replies::{Kind, Run, Subject};
use super::route::{Needs, Route};
use super::switching::{Change, tenant_required};
use super::{Flow, Machine, Place, Wait};
use crate::base::{PgError, Refusal, RefusalKind, SqlState};
use crate::guard::context::{self, Form, Outline, Step, TransactionStep, Value};
use crate::guard::{Effect, Guarded, Protocol};
use crate::wire::backend::TransactionStatus;

/// A text that may be sent.
pub(super) struct Composed {
    pub(super) guarded: Guarded,
    /// What each statement does to the context.
    pub(super) changes: Vec<Change>,
    /// Who acts when it begins.
    pub(super) actor: Actor,
    /// A comment named the actor.
    pub(super) commented: bool,
    /// What the server must hold before.
    pub(super) needs: Needs,
    /// Where it goes.
    pub(super) place: Arc<Place>,
    /// The one statement of it, where its answer or its values depend on the moment.
    pub(super) step: Step,
}

/// Why a text is not sent.
pub(super) enum Obstacle {
    /// Something must come first.
    Wait(Wait),
    /// It is refused.
    Error(PgError),
}

impl Machine {
    /// A Query of a session that switches tenants.
    pub(super) fn on_switching_query(&mut self, sql: &str) -> Flow {
        let composed = match self.compose(Protocol::Simple, sql) {
            Ok(composed) => composed,
            Err(Obstacle::Wait(wait)) => return Flow::Stop(wait),
            Err(Obstacle::Error(error)) => return self.refuse_query(error),
        };
        if self.is_ping(&composed.guarded) {
            return self.answer_ping();
        }
        if self.runs_here(&composed.step) {
            return self.run_query_here(&composed.step, &composed.guarded);
        }
        let ready = self.settle_query(&composed.guarded).and_then(|()| self.ready(&composed.needs));
        match ready {
            Err(Hindrance::Wait(wait)) => Flow::Stop(wait),
            Err(Hindrance::Denied(error)) => self.refuse_query(error),
            Ok(()) => match self.composed_over_quota(&composed) {
                Some(error) => self.refuse_query(error),
                None => self.send_composed(composed),
            },
        }
    }

    fn send_composed(&mut self, composed: Composed) -> Flow {
        let Composed { guarded, changes, step, .. } = composed;
        match Self::load_of(&guarded, LoadProtocol::Simple) {
            Ok(None) => {}
            Ok(Some(load)) => return self.start_load(load),
            Err(error) => return self.refuse_query(error),
        }
        let tag = self.discard_here(&guarded).or_else(|| self.deallocation(&guarded));
        let tags = self.deallocations(&guarded);
        if let Err(error) = write_query(&mut self.to_server, &guarded, tag, &tags) {
            return self.refuse_query(error.to_pg());
        }
        self.sent_query();
        self.surcharge(&guarded);
        let unnamed = self.statements.remove("");
        self.note_effects(&guarded);
        self.note_changes_sent(&changes);
        self.wait_for_context();
        self.wait_for_names(&guarded);
        let tag = tag.or(tag_of(&step));
        let run = Run { unnamed, tag, tags, changes, ..Run::new(Subject::Script(Box::new(guarded))) };
        self.replies.forward(Kind::Query(run));
        Flow::Done
    }

    /// Reads and guards a text. Where it is about the context, what is outstanding must have come: it is planned for what
    /// holds when it runs.
    pub(super) fn compose(&mut self, protocol: Protocol<'_>, sql: &str) -> Result<Composed, Obstacle> {
        let outline = context::outline(&self.place.guard.policy(), sql);
        if outline.is_some() && protocol == Protocol::Simple {
            self.settle().map_err(Obstacle::Wait)?;
        }
        let named = self.named_in_comment(sql)?;
        let actor = named.clone().unwrap_or_else(|| self.asked());
        match outline {
            None => self.compose_plain(protocol, sql, actor, named.is_some()),
            Some(outline) => self.compose_outline(protocol, sql, outline, actor, named),
        }
    }

    fn named_in_comment(&self, sql: &str) -> Result<Option<Actor>, Obstacle> {
        let Some(switching) = self.switching.as_ref() else { return Ok(None) };
        match context::comment(sql) {
            Some(name) => switching.resolve(name).map(Some).map_err(Obstacle::Error),
            None => Ok(None),
        }
    }

    fn compose_plain(
        &mut self,
        protocol: Protocol<'_>,
        sql: &str,
        actor: Actor,
        commented: bool,
    ) -> Result<Composed, Obstacle> {
        let place = self.place_for(&actor);
        let guarded = self.admit_for(&place, protocol, Sharing::ByShape, sql, &actor)?;
        let needs = Needs::All(actor.clone());
        Ok(Composed { guarded, changes: Vec::new(), actor, commented, needs, place, step: Step::None })
    }

    fn compose_outline(
        &mut self,
        protocol: Protocol<'_>,
        sql: &str,
        outline: Outline,
        actor: Actor,
        named: Option<Actor>,
    ) -> Result<Composed, Obstacle> {
        let commented = named.is_some();
        let mut course = self.switching.as_ref().map(|it| it.asked.clone()).unwrap_or_else(|| Variable::new(None));
        let fixed = self.in_transaction().then(|| Arc::clone(&self.place));
        let mut route = Route::new(fixed);
        let (mut parts, mut changes) = (Vec::new(), Vec::new());
        let single = outline.len() == 1;
        let mut held = self.switching.as_ref().map(|it| it.ties.clone()).unwrap_or_default();
        let mut only = Step::None;
        for (text, step) in outline {
            let current = named.clone().unwrap_or_else(|| course.value().clone());
            let change = self.change_of(&step, &current)?;
            if protocol == Protocol::Simple {
                held.follow(&step, &current, &change).map_err(Obstacle::Error)?;
            }
            let place = self.route(&mut route, &step, &current, &change)?;
            // A single statement is the whole text, with the types of its parameters.
            let text = if single { sql } else { text.as_str() };
            let guarded = self.guard_step(&place, protocol, text, &step, &current, commented)?;
            self.run_course(&mut course, &change);
            parts.push(guarded);
            changes.push(change);
            if single {
                only = step;
            }
        }
        if !single && changes.iter().any(|it| matches!(it, Change::Switch { .. })) && parts.iter().any(ties) {
            return Err(Obstacle::Error(
                PgError::error(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "a text that names the tenant cannot hold this statement",
                )
                .hint("Send PREPARE, a cursor WITH HOLD and the like on their own."),
            ));
        }
        let guarded = if single { parts.pop() } else { None }.unwrap_or_else(|| context::concat(parts));
        let switches = changes.iter().any(|it| matches!(it, Change::Switch { .. }));
        let (place, needs) = self.needs(route, &actor, switches)?;
        Ok(Composed { guarded, changes, actor, commented, needs, place, step: only })
    }

    fn guard_step(
        &mut self,
        place: &Arc<Place>,
        protocol: Protocol<'_>,
        text: &str,
        step: &Step,
        current: &Actor,
        commented: bool,
    ) -> Result<Guarded, Obstacle> {
        let policy = place.guard.policy();
        let refused = |refusal: Refusal| Obstacle::Error(*refusal.error);
        match step {
            Step::Switch { .. } if commented => Err(Obstacle::Error(PgError::error(
                SqlState::FEATURE_NOT_SUPPORTED,
                "the tenant is named by a comment and by a statement",
            ))),
            Step::Switch { value: Value::Param, scope, form } => match protocol {
                Protocol::Simple => {
                    Err(Obstacle::Error(PgError::error(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1")))
                }
                Protocol::Extended { .. } => context::switch(&policy, *scope, form, None, "").map_err(refused),
            },
            Step::Switch { value, scope, form } => {
                let name = match value {
                    Value::Text(name) => name.as_str(),
                    Value::Param | Value::Default => "",
                };
                let key = self.key_of(name)?;
                context::switch(&policy, *scope, form, Some(name), &key).map_err(refused)
            }
            Step::Show(form) => context::show(&policy, form, &name_of(current)).map_err(refused),
            Step::Begin(_) | Step::Transaction(_) | Step::Clear => {
                self.admit_for(place, protocol, Sharing::Whole, text, &None)
            }
            Step::None | Step::Cursor => self.admit_for(place, protocol, Sharing::Whole, text, current),
        }
    }

    /// The value of the server's setting for a tenant of this name.
    fn key_of(&self, name: &str) -> Result<String, Obstacle> {
        let Some(switching) = self.switching.as_ref() else { return Ok(String::new()) };
        let actor = switching.resolve(name).map_err(Obstacle::Error)?;
        let key = actor.as_ref().and_then(|acting| acting.keys.default.as_deref());
        Ok(key.unwrap_or_default().to_owned())
    }

    fn change_of(&self, step: &Step, current: &Actor) -> Result<Change, Obstacle> {
        let Some(switching) = self.switching.as_ref() else { return Ok(Change::None) };
        Ok(match step {
            Step::None | Step::Begin(_) | Step::Show(_) => Change::None,
            Step::Switch { value, scope, .. } => {
                let to = match value {
                    Value::Text(name) => switching.resolve(name).map_err(Obstacle::Error)?,
                    // Known at Bind.
                    Value::Param | Value::Default => None,
                };
                Change::Switch { to, scope: *scope }
            }
            Step::Transaction(step) => Change::Transaction(step.clone()),
            Step::Clear => Change::Clear,
            Step::Cursor => Change::Cursor(current.clone()),
        })
    }

    /// What holds behind a statement of the text, if it ends well.
    fn run_course(&self, course: &mut Variable<Actor>, change: &Change) {
        match change {
            Change::None | Change::Cursor(_) => {}
            Change::Switch { to, scope } => course.set(to.clone(), *scope),
            Change::Transaction(TransactionStep::Commit { .. }) if self.tx == TransactionStatus::Failed => {
                course.roll_back()
            }
            Change::Transaction(step) => course.step(step),
            Change::Clear => course.set(None, context::Scope::Session),
        }
    }
}

/// Whether something of it stays on the server connection.
fn ties(guarded: &Guarded) -> bool {
    guarded.plans().iter().flat_map(|plan| &plan.effects).any(|effect| matches!(effect, Effect::Pin(_)))
}

/// 28000 as a refusal.
pub(super) fn no_tenant(setting: &str) -> Refusal {
    Refusal { kind: RefusalKind::ForeignTenant, error: Box::new(tenant_required(setting)) }
}

/// SHOW is answered by a SELECT.
pub(super) fn tag_of(step: &Step) -> Option<&'static str> {
    matches!(step, Step::Show(Form::Command)).then_some("SHOW")
}

pub(super) fn name_of(actor: &Actor) -> String {
    actor.as_ref().map(|acting| acting.name.to_string()).unwrap_or_default()
}
