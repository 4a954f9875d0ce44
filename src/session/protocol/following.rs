//! Prepared statements are for whoever is acted for when they are bound, and as the catalog is then.

use std::sync::Arc;

use super::admit::is_harmless;
use super::not_ready::NotReady;
use super::offload::Sharing;
use super::outline::{name_of, no_tenant};
use super::statements::{OUTDATED, Statement};
use super::switching::{Change, keys_of};
use super::tenant_context::{CurrentTenant, same};
use super::ties::Ties;
use super::{Backend, Session};
use crate::base::{PgError, Refusal, SqlState};
use crate::guard::context::{self, Step, Value};
use crate::guard::{Guarded, Protocol};
use crate::wire::frontend::Bind;

impl Session {
    /// A portal was bound. By its name SQL finds it too (FETCH), for whoever is acted for then.
    pub(super) fn record_portal(&mut self, name: &str, statement: &Statement) {
        if let (false, Step::None | Step::Cursor, Some(switching)) =
            (name.is_empty(), &statement.step, self.context.switching.as_mut())
        {
            switching.ties.open(&statement.actor);
        }
    }

    /// A portal runs for whom it was bound, or not at all.
    ///
    /// # Errors
    /// 25001 where another tenant is acted for by now.
    pub(super) fn check_portal(&self, statement: &Statement) -> Result<(), PgError> {
        let runs = matches!(statement.step, Step::None | Step::Cursor) && !statement.commented;
        let mut bound = Ties::default();
        bound.open(&statement.actor);
        if runs { bound.admit(&self.asked()) } else { Ok(()) }
    }

    /// A server connection is there for a statement, with the settings of whoever it is for.
    pub(super) fn ready_for_statement(&mut self, statement: &Statement, runs: bool) -> Result<(), NotReady> {
        match (&statement.step, &statement.change) {
            _ if self.context.switching.is_none() => self.ready_to_send(),
            (Step::None | Step::Cursor, _) if runs => self.ready_to_run(&statement.actor),
            (Step::None | Step::Cursor, _) => self.ready_for(&statement.actor),
            (Step::Switch { .. }, Change::Switch { to, .. }) => self.ready_to_switch(to),
            (Step::Switch { .. } | Step::Begin(_) | Step::Transaction(_) | Step::Clear | Step::Show(_), _) => {
                self.ready_as_is()
            }
        }
    }

    /// The statement as it is for who is acted for now, where it was prepared for somebody else, or where the catalog or the
    /// configuration has changed since.
    pub(super) fn up_to_date(&mut self, statement: Arc<Statement>) -> Result<Arc<Statement>, NotReady> {
        let statement = if statement.epoch == OUTDATED { self.named_anew(statement)? } else { statement };
        let now = if statement.commented { statement.actor.clone() } else { self.asked() };
        let runs = matches!(statement.step, Step::None | Step::Cursor);
        if self.context.switching.is_none() && statement.epoch == self.context.backend.guard.epoch() {
            // The usual case. Its context never changes.
            self.check_age(&self.context.backend)?;
            return self.with_keys_now(statement);
        }
        let backend = self.backend_for(&now);
        if runs {
            self.check_catalog(&backend)?;
        }
        let Some(origin) = statement.origin.as_ref() else { return Ok(statement) };
        let stays = origin.backend.is(&backend);
        let holds = !runs || statement.epoch == backend.guard.epoch();
        if stays && holds && same(&statement.actor, &now) {
            return Ok(statement);
        }
        let refused = |refusal: Refusal| NotReady::Refuse(*refusal.error);
        let (guarded, epoch) = match &statement.step {
            Step::Switch { .. } | Step::Begin(_) | Step::Transaction(_) | Step::Clear => return Ok(statement),
            Step::Show(form) => {
                let shown = context::show(&backend.guard.policy(), form, &name_of(&now)).map_err(refused)?;
                (shown, statement.epoch)
            }
            Step::None | Step::Cursor if stays && holds => {
                self.check_need(&backend, &statement.guarded, &now).map_err(refused)?;
                (statement.guarded.rebind(&keys_of(&now)).map_err(refused)?, statement.epoch)
            }
            Step::None | Step::Cursor => {
                let text = Arc::clone(&origin.text);
                let protocol = Protocol::Extended { param_types: &statement.declared };
                self.admit(&backend, protocol, Sharing::ByShape, &text, &now)?
            }
        };
        let renewed = Statement { actor: now, epoch, ..Statement::clone(&statement) };
        Ok(self.renew(renewed, guarded, backend))
    }

    /// A statement that names a tenant itself, for that tenant as it is now.
    fn named_anew(&mut self, statement: Arc<Statement>) -> Result<Arc<Statement>, PgError> {
        let name = |actor: &CurrentTenant| actor.as_ref().map(|acting| acting.name.clone());
        if let (true, Some(name)) = (statement.commented, name(&statement.actor)) {
            let actor = self.resolve_named(name.as_str())?;
            return Ok(self
                .prepared
                .statements
                .supersede(&statement, Statement { actor, ..Statement::clone(&statement) }));
        }
        let (Step::Switch { value: Value::Text(_), scope, form }, Change::Switch { to, .. }) =
            (&statement.step, &statement.change)
        else {
            return Ok(statement);
        };
        let Some(name) = name(to) else { return Ok(statement) };
        let to = self.resolve_named(name.as_str())?;
        let key = to.as_ref().and_then(|acting| acting.keys.default.as_deref()).unwrap_or_default();
        let policy = self.context.backend.guard.policy();
        let guarded = context::switch(&policy, *scope, form, Some(name.as_str()), key).map_err(|it| *it.error)?;
        let change = Change::Switch { to, scope: *scope };
        let mut renewed = Statement { guarded, change, ..Statement::clone(&statement) };
        self.name_on_server(&mut renewed);
        Ok(self.prepared.statements.supersede(&statement, renewed))
    }

    /// Replaces a statement of the client by what it means now.
    pub(super) fn renew(&mut self, mut renewed: Statement, guarded: Guarded, backend: Arc<Backend>) -> Arc<Statement> {
        let same_name = guarded.plain_text() == renewed.shared_text()
            && renewed.origin.as_ref().is_none_or(|origin| origin.backend.planning_context == backend.planning_context);
        renewed.guarded = guarded;
        if matches!(renewed.change, Change::Cursor(_)) {
            renewed.change = Change::Cursor(renewed.actor.clone());
        }
        if let Some(origin) = renewed.origin.as_mut() {
            origin.backend = backend;
        }
        if !same_name {
            self.name_on_server(&mut renewed);
        }
        self.prepared.statements.replace(renewed)
    }

    fn check_need(&self, backend: &Backend, guarded: &Guarded, actor: &CurrentTenant) -> Result<(), Refusal> {
        let harmless = guarded.plans().iter().all(|plan| is_harmless(backend, plan));
        if actor.is_some() || harmless { Ok(()) } else { Err(no_tenant(&backend.guard.policy().setting)) }
    }

    /// A statement that takes the tenant's name as its parameter, with that of this Bind.
    pub(super) fn with_named_tenant(
        &self,
        statement: Arc<Statement>,
        bind: &Bind<'_>,
    ) -> Result<Arc<Statement>, PgError> {
        let (Step::Switch { value: Value::Param, scope, form }, Some(_)) =
            (&statement.step, self.context.switching.as_ref())
        else {
            return Ok(statement);
        };
        let given = bind.params.iter().next().flatten().unwrap_or_default();
        let name = std::str::from_utf8(given).map_err(|_| {
            PgError::error(SqlState::CHARACTER_NOT_IN_REPERTOIRE, "the tenant's name is not valid UTF-8")
        })?;
        let to = self.resolve_named(name)?;
        let key = to.as_ref().and_then(|acting| acting.keys.default.as_deref()).unwrap_or_default();
        let guarded =
            context::switch(&self.context.backend.guard.policy(), *scope, form, None, key).map_err(|it| *it.error)?;
        let change = Change::Switch { to, scope: *scope };
        Ok(Arc::new(Statement { guarded, change, ..Statement::clone(&statement) }))
    }
}
