//! Where the statements of one text go, in a session whose tenants live in several places.

use std::sync::Arc;

use super::acting::Actor;
use super::moving::crossing;
use super::not_ready::NotReady;
use super::switching::Change;
use super::{Machine, Place};
use crate::guard::context::Step;

/// What a text needs of the server connection.
pub(super) enum Needs {
    /// Nothing: it means the same whoever is acted for.
    Nothing,
    /// The settings of this actor.
    Settings(Actor),
    /// The same, and nothing that was made for another one: it runs something.
    All(Actor),
}

/// Where the statements of one text go.
pub(super) struct Route {
    /// What has run already ties the rest to it.
    fixed: Option<Arc<Place>>,
    /// Where those go that the text has named since.
    headed: Option<Actor>,
    /// Something runs.
    runs: bool,
}

impl Route {
    /// Of a text that begins now; `fixed` within a transaction.
    pub(super) fn new(fixed: Option<Arc<Place>>) -> Self {
        Self { fixed, headed: None, runs: false }
    }

    /// A tenant is named.
    fn heads_for(&mut self, to: &Actor) -> Result<(), NotReady> {
        let Some(acting) = to else { return Ok(()) };
        match &self.fixed {
            Some(fixed) if !fixed.is(&acting.place) => Err(NotReady::Refuse(crossing())),
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
    fn runs_in(&mut self, place: Arc<Place>, actor: &Actor) -> Result<Arc<Place>, NotReady> {
        self.runs = true;
        match &self.fixed {
            Some(fixed) if actor.is_some() && !fixed.is(&place) => Err(NotReady::Refuse(crossing())),
            Some(fixed) => Ok(Arc::clone(fixed)),
            None => {
                self.fixed = Some(Arc::clone(&place));
                Ok(place)
            }
        }
    }
}

impl Machine {
    /// The server connection is as a text needs it, or will be when it comes to what is sent next.
    pub(super) fn ready(&mut self, needs: &Needs) -> Result<(), NotReady> {
        match needs {
            Needs::Nothing => self.ready_as_is(),
            Needs::Settings(actor) => self.ready_for(actor),
            Needs::All(actor) => self.ready_to_run(actor),
        }
    }

    /// Where a statement of a text goes.
    pub(super) fn route(
        &self,
        route: &mut Route,
        step: &Step,
        current: &Actor,
        change: &Change,
    ) -> Result<Arc<Place>, NotReady> {
        match (step, change) {
            (Step::Switch { .. }, Change::Switch { to, .. }) => {
                route.heads_for(to)?;
                Ok(self.place_for(to))
            }
            (Step::None | Step::Cursor, _) => route.runs_in(self.place_for(current), current),
            // DISCARD ALL is for what the session holds, wherever that is.
            (Step::Switch { .. } | Step::Begin(_) | Step::Transaction(_) | Step::Show(_) | Step::Clear, _) => {
                Ok(Arc::clone(&self.context.place))
            }
        }
    }

    /// Where a text goes, and what it needs there.
    pub(super) fn needs(&self, route: Route, actor: &Actor, switches: bool) -> Result<(Arc<Place>, Needs), NotReady> {
        let Route { fixed, headed, runs } = route;
        if !runs && !switches {
            return Ok((Arc::clone(&self.context.place), Needs::Nothing));
        }
        let own = self.place_for(actor);
        let headed = headed.or_else(|| fixed.is_none().then(|| None));
        let place = fixed.or_else(|| headed.as_ref().map(|to| self.place_for(to))).unwrap_or_else(|| Arc::clone(&own));
        // The settings of the place hold from the start.
        let begins = match headed {
            _ if own.is(&place) => actor.clone(),
            Some(to) if self.place_for(&to).is(&place) => to,
            Some(_) | None => return Err(NotReady::Refuse(crossing())),
        };
        Ok((place, if runs { Needs::All(begins) } else { Needs::Settings(begins) }))
    }
}
