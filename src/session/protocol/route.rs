//! Where the statements of one text go, in a session whose tenants live in several places.

use std::sync::Arc;

use super::moving::crossing;
use super::not_ready::NotReady;
use super::switching::Change;
use super::tenant_context::CurrentTenant;
use super::{Backend, Session};
use crate::guard::context::Step;

/// What a text needs of the server connection.
pub(super) enum Needs {
    /// Nothing: it means the same whoever is acted for.
    Nothing,
    /// The settings of this actor.
    Settings(CurrentTenant),
    /// The same, and nothing that was made for another one: it runs something.
    All(CurrentTenant),
}

/// Where the statements of one text go.
pub(super) struct Route {
    /// What has run already ties the rest to it.
    fixed: Option<Arc<Backend>>,
    /// Where those go that the text has named since.
    headed: Option<CurrentTenant>,
    /// Something runs.
    runs: bool,
}

impl Route {
    /// Of a text that begins now; `fixed` within a transaction.
    pub(super) fn new(fixed: Option<Arc<Backend>>) -> Self {
        Self { fixed, headed: None, runs: false }
    }

    /// A tenant is named.
    fn heads_for(&mut self, to: &CurrentTenant) -> Result<(), NotReady> {
        let Some(acting) = to else { return Ok(()) };
        match &self.fixed {
            Some(fixed) if !fixed.is(&acting.backend) => Err(NotReady::Refuse(crossing())),
            Some(_) => {
                self.headed.get_or_insert_with(|| to.clone());
                Ok(())
            }
            None => {
                self.headed = Some(to.clone());
                Ok(())
            }
        }
    }

    /// A statement runs for an actor whose place this is.
    fn runs_in(&mut self, backend: Arc<Backend>, actor: &CurrentTenant) -> Result<Arc<Backend>, NotReady> {
        self.runs = true;
        match &self.fixed {
            Some(fixed) if actor.is_some() && !fixed.is(&backend) => Err(NotReady::Refuse(crossing())),
            Some(fixed) => Ok(Arc::clone(fixed)),
            None => {
                self.fixed = Some(Arc::clone(&backend));
                Ok(backend)
            }
        }
    }
}

impl Session {
    /// The server connection is as a text needs it, or will be when it comes to what is sent next.
    pub(super) fn ready(&mut self, needs: &Needs) -> Result<(), NotReady> {
        match needs {
            Needs::Nothing => self.ready_as_is(),
            Needs::Settings(actor) => self.seat(actor),
            Needs::All(actor) => self.ready_to_run(actor),
        }
    }

    /// Where a statement of a text goes.
    pub(super) fn route(
        &self,
        route: &mut Route,
        step: &Step,
        current: &CurrentTenant,
        change: &Change,
    ) -> Result<Arc<Backend>, NotReady> {
        match (step, change) {
            (Step::Switch { .. }, Change::Switch { to, .. }) => {
                route.heads_for(to)?;
                Ok(self.backend_for(to))
            }
            (Step::None | Step::Cursor, _) => route.runs_in(self.backend_for(current), current),
            // DISCARD ALL is for what the session holds, wherever that is.
            (Step::Switch { .. } | Step::Begin(_) | Step::Transaction(_) | Step::Show(_) | Step::Clear, _) => {
                Ok(Arc::clone(&self.context.backend))
            }
        }
    }

    /// Where a text goes, and what it needs there.
    pub(super) fn needs(
        &self,
        route: Route,
        actor: &CurrentTenant,
        switches: bool,
    ) -> Result<(Arc<Backend>, Needs), NotReady> {
        let Route { fixed, headed, runs } = route;
        if !runs && !switches {
            return Ok((Arc::clone(&self.context.backend), Needs::Nothing));
        }
        let own = self.backend_for(actor);
        let headed = headed.or_else(|| fixed.is_none().then(|| None));
        let backend =
            fixed.or_else(|| headed.as_ref().map(|to| self.backend_for(to))).unwrap_or_else(|| Arc::clone(&own));
        // The settings of the place hold from the start.
        let begins = match headed {
            _ if own.is(&backend) => actor.clone(),
            Some(to) if self.backend_for(&to).is(&backend) => to,
            Some(_) | None => return Err(NotReady::Refuse(crossing())),
        };
        Ok((backend, if runs { Needs::All(begins) } else { Needs::Settings(begins) }))
    }
}
