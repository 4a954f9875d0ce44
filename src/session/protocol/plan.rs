//! The plan of a client's text: what the guard makes of it, for whom it runs, and where.
//!
//! A session that is bound to one tenant is one whose context never changes: its texts take the same way, without a look at
//! what they do to the context.

use std::sync::Arc;

use super::not_ready::NotReady;
use super::offload::Sharing;
use super::route::Needs;
use super::switching::Change;
use super::tenant_context::{CurrentTenant, same};
use super::{Backend, Session};
use crate::base::PgError;
use crate::guard::context::{self, Step};
use crate::guard::{Guarded, Protocol, StatementKind};

/// A text that may be sent.
pub(super) struct Planned {
    pub(super) guarded: Guarded,
    /// What each statement does to the context; empty: nothing.
    pub(super) changes: Vec<Change>,
    /// Who acts when it begins.
    pub(super) actor: CurrentTenant,
    /// A comment named the actor.
    pub(super) commented: bool,
    /// What the server must hold before.
    pub(super) needs: Needs,
    /// Where it goes.
    pub(super) backend: Arc<Backend>,
    /// The one statement of it, where its answer or its values depend on the moment.
    pub(super) step: Step,
    /// The epoch of the policy that it passed.
    pub(super) epoch: u64,
}

impl Session {
    /// Reads and guards a text. Where it is about the context, what is outstanding must have come: it is planned for what
    /// holds when it runs.
    pub(super) fn plan(&mut self, protocol: Protocol<'_>, sql: &str) -> Result<Planned, NotReady> {
        if let Some(planned) = self.planned_before()? {
            return Ok(planned);
        }
        if self.context.switching.is_none() {
            let backend = Arc::clone(&self.context.backend);
            return self.plan_plain(backend, protocol, sql, None, false);
        }
        let outline = context::outline(&self.context.backend.guard.policy(), sql, &|path| self.named_by_path(path));
        if outline.is_some() && protocol == Protocol::Simple {
            self.server.settle()?;
        }
        let named = self.named_in_comment(sql)?;
        let actor = named.clone().unwrap_or_else(|| self.asked());
        match outline {
            None => self.plan_plain(self.backend_for(&actor), protocol, sql, actor, named.is_some()),
            Some(outline) => self.plan_outline(protocol, sql, outline, actor, named),
        }
    }

    /// The plan that the message at hand was given before it had to wait, if it still holds: the policy is the same, and so is
    /// who acts.
    fn planned_before(&mut self) -> Result<Option<Planned>, NotReady> {
        let Some(planned) = self.current.planned.take() else { return Ok(None) };
        let holds = !planned.commented
            && same(&planned.actor, &self.asked())
            && planned.backend.is(&self.backend_for(&planned.actor))
            && planned.epoch == planned.backend.guard.epoch();
        if !holds {
            return Ok(None);
        }
        if let Err(not_ready) = self.check_age(&planned.backend) {
            self.current.planned = Some(planned);
            return Err(not_ready);
        }
        Ok(Some(*planned))
    }

    /// Keeps a plan for when the message at hand can be gone on with.
    pub(super) fn keep_plan(&mut self, planned: Planned) {
        // What a text does to the context is planned for the moment at which it is sent.
        // So is one of a reader, for the tenants that there are then.
        if planned.changes.is_empty() && self.context.reading.is_none() {
            self.current.planned = Some(Box::new(planned));
        }
    }

    fn named_in_comment(&self, sql: &str) -> Result<Option<CurrentTenant>, PgError> {
        let named = context::comment(sql).filter(|_| self.context.switching.is_some());
        named.map(|name| self.resolve_named(name)).transpose()
    }

    fn plan_plain(
        &mut self,
        backend: Arc<Backend>,
        protocol: Protocol<'_>,
        sql: &str,
        actor: CurrentTenant,
        commented: bool,
    ) -> Result<Planned, NotReady> {
        let (guarded, epoch) = self.admit(&backend, protocol, Sharing::ByShape, sql, &actor)?;
        let needs = Needs::All(actor.clone());
        Ok(Planned { guarded, changes: Vec::new(), actor, commented, needs, backend, step: Step::None, epoch })
    }

    /// An empty Query (drivers send them to see whether the connection lives) takes no server connection.
    pub(super) fn is_ping(&self, guarded: &Guarded) -> bool {
        self.server.link.is_none()
            && self.server.replies.is_empty()
            && guarded.plans().iter().all(|plan| plan.kind == StatementKind::Empty)
    }
}
