//! Texts that name the tenant on their way: each statement guarded for the tenant that it will run for.

use std::sync::Arc;

use super::not_ready::NotReady;
use super::offload::Sharing;
use super::plan::Planned;
use super::route::Route;
use super::switching::{Change, tenant_required};
use super::tenant_context::{CurrentTenant, Variable};
use super::{Backend, Session};
use crate::base::{PgError, Refusal, RefusalKind, SqlState};
use crate::guard::context::{self, Form, Outline, Step, TransactionStep, Value};
use crate::guard::{Effect, Guarded, Protocol};
use crate::wire::backend::TransactionStatus;

impl Session {
    pub(super) fn plan_outline(
        &mut self,
        protocol: Protocol<'_>,
        sql: &str,
        outline: Outline,
        actor: CurrentTenant,
        named: Option<CurrentTenant>,
    ) -> Result<Planned, NotReady> {
        let commented = named.is_some();
        let mut course =
            self.context.switching.as_ref().map(|it| it.asked.clone()).unwrap_or_else(|| Variable::new(None));
        let fixed = self.in_transaction().then(|| Arc::clone(&self.context.backend));
        let mut route = Route::new(fixed);
        let (mut parts, mut changes) = (Vec::new(), Vec::new());
        let single = outline.len() == 1;
        let mut held = self.context.switching.as_ref().map(|it| it.ties.clone()).unwrap_or_default();
        let mut only = Step::None;
        let mut epoch = 0;
        for (text, step) in outline {
            let current = named.clone().unwrap_or_else(|| course.value().clone());
            let change = self.change_of(&step, &current)?;
            if protocol == Protocol::Simple {
                held.follow(&step, &current, &change)?;
            }
            let backend = self.route(&mut route, &step, &current, &change)?;
            // A single statement is the whole text, with the types of its parameters.
            let text = if single { sql } else { text.as_str() };
            let (guarded, decided) = self.guard_step(&backend, protocol, text, &step, &current, commented)?;
            epoch = decided.unwrap_or(epoch);
            self.run_course(&mut course, &change);
            parts.push(guarded);
            changes.push(change);
            if single {
                only = step;
            }
        }
        if !single && changes.iter().any(|it| matches!(it, Change::Switch { .. })) && parts.iter().any(ties) {
            return Err(NotReady::Refuse(
                PgError::error(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "a text that names the tenant cannot hold this statement",
                )
                .hint("Send PREPARE, a cursor WITH HOLD and the like on their own."),
            ));
        }
        let guarded = if single { parts.pop() } else { None }.unwrap_or_else(|| context::concat(parts));
        let switches = changes.iter().any(|it| matches!(it, Change::Switch { .. }));
        let (backend, needs) = self.needs(route, &actor, switches)?;
        Ok(Planned { guarded, changes, actor, commented, needs, backend, step: only, epoch })
    }

    /// One statement of a text, and the epoch of the policy that decided it, where one did.
    fn guard_step(
        &mut self,
        backend: &Arc<Backend>,
        protocol: Protocol<'_>,
        text: &str,
        step: &Step,
        current: &CurrentTenant,
        commented: bool,
    ) -> Result<(Guarded, Option<u64>), NotReady> {
        let policy = backend.guard.policy();
        let refused = |refusal: Refusal| NotReady::Refuse(*refusal.error);
        let guard = |session: &mut Self, actor: &CurrentTenant| {
            let (guarded, epoch) = session.admit(backend, protocol, Sharing::Whole, text, actor)?;
            Ok((guarded, Some(epoch)))
        };
        match step {
            Step::Switch { .. } if commented => Err(NotReady::Refuse(PgError::error(
                SqlState::FEATURE_NOT_SUPPORTED,
                "the tenant is named by a comment and by a statement",
            ))),
            Step::Switch { value: Value::Param, scope, form } => match protocol {
                Protocol::Simple => {
                    Err(NotReady::Refuse(PgError::error(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1")))
                }
                Protocol::Extended { .. } => {
                    Ok((context::switch(&policy, *scope, form, None, "").map_err(refused)?, None))
                }
            },
            Step::Switch { value, scope, form } => {
                let name = match value {
                    Value::Text(name) => name.as_str(),
                    Value::Param | Value::Default => "",
                };
                let key = self.key_of(name)?;
                Ok((context::switch(&policy, *scope, form, Some(name), &key).map_err(refused)?, None))
            }
            Step::Show(form) => Ok((context::show(&policy, form, &name_of(current)).map_err(refused)?, None)),
            Step::Begin(_) | Step::Transaction(_) | Step::Clear => guard(self, &None),
            Step::None | Step::Cursor => guard(self, current),
        }
    }

    /// The value of the server's setting for a tenant of this name.
    fn key_of(&self, name: &str) -> Result<String, NotReady> {
        let Some(switching) = self.context.switching.as_ref() else { return Ok(String::new()) };
        let actor = switching.resolve(name)?;
        let key = actor.as_ref().and_then(|acting| acting.keys.default.as_deref());
        Ok(key.unwrap_or_default().to_owned())
    }

    fn change_of(&self, step: &Step, current: &CurrentTenant) -> Result<Change, NotReady> {
        if self.context.switching.is_none() {
            return Ok(Change::None);
        }
        Ok(match step {
            Step::None | Step::Begin(_) | Step::Show(_) => Change::None,
            Step::Switch { value, scope, .. } => {
                let to = match value {
                    Value::Text(name) => self.resolve_named(name)?,
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
    fn run_course(&self, course: &mut Variable<CurrentTenant>, change: &Change) {
        match change {
            Change::None | Change::Cursor(_) => {}
            Change::Switch { to, scope } => course.set(to.clone(), *scope),
            Change::Transaction(TransactionStep::Commit { .. }) if self.server.tx == TransactionStatus::Failed => {
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
    Refusal {
        kind: RefusalKind::ForeignTenant,
        object: Some(setting.into()),
        error: Box::new(tenant_required(setting)),
    }
}

/// SHOW is answered by a SELECT.
pub(super) fn tag_of(step: &Step) -> Option<&'static str> {
    matches!(step, Step::Show(Form::Command)).then_some("SHOW")
}

pub(super) fn name_of(actor: &CurrentTenant) -> String {
    actor.as_ref().map(|acting| acting.name.to_string()).unwrap_or_default()
}
