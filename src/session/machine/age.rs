//! What a statement is decided by was seen in its database no longer ago than it may be; and what was prepared is decided
//! again once that has changed.

use std::sync::Arc;

use super::admit::Admission;
use super::context::Hindrance;
use super::statements::Statement;
use super::{Flow, Machine, Place, Wait};
use crate::base::{Mode, PgError, Refusal, RefusalKind, SqlState};
use crate::guard::{Guarded, Protocol};

impl Place {
    /// Whether it is the catalog that tells whose rows a statement means. Elsewhere the database itself keeps tenants apart,
    /// or the client may see them all.
    pub(super) fn goes_by_catalog(&self) -> bool {
        match self.mode {
            Mode::Shared | Mode::Schema(_) => true,
            Mode::Database | Mode::Operator => false,
        }
    }
}

impl Machine {
    /// What is known of a place may be decided by, or has just been looked at for the current message.
    pub(super) fn check_age(&mut self, place: &Arc<Place>) -> Result<(), Hindrance> {
        if self.looked || !place.goes_by_catalog() || place.catalog.is_fresh() {
            return Ok(());
        }
        if let Some(error) = self.denied.take() {
            return Err(Hindrance::Denied(error));
        }
        self.asking = Some(Arc::clone(place));
        Err(Hindrance::Wait(Wait::Look))
    }

    /// As [`Machine::check_age`], of the session's own place.
    pub(super) fn check_own_age(&mut self) -> Result<(), Hindrance> {
        if self.looked || self.place.catalog.is_fresh() {
            return Ok(());
        }
        self.check_age(&Arc::clone(&self.place))
    }

    /// The database of [`Machine::asking`] was looked at: the current message is taken on, or fails.
    pub fn looked(&mut self, outcome: Result<(), PgError>) {
        self.asking = None;
        match outcome {
            Ok(()) => self.looked = true,
            Err(error) => self.deny(error),
        }
    }

    /// A prepared statement as it is to be sent now. Where the catalog or the configuration has changed since it was decided, its
    /// text is decided anew.
    pub(super) fn decided_now(&mut self, statement: Arc<Statement>) -> Result<Arc<Statement>, Flow> {
        self.check_own_age().map_err(|hindrance| self.hindered(hindrance))?;
        if statement.epoch == self.place.guard.epoch() {
            return Ok(statement);
        }
        let Some(text) = statement.origin.as_ref().map(|origin| Arc::clone(&origin.text)) else { return Ok(statement) };
        match self.admit(Protocol::Extended { param_types: &statement.declared }, &text) {
            Admission::Unknown => Err(Flow::Stop(Wait::Refresh)),
            Admission::Later => Err(Flow::Stop(Wait::Read)),
            Admission::Refused(refusal) => Err(self.refuse_extended(*refusal.error)),
            Admission::Passed(guarded) => {
                let place = Arc::clone(&self.place);
                Ok(self.renew(Statement::clone(&statement), guarded, place))
            }
        }
    }

    /// A statement of SQL's PREPARE was sent.
    pub(super) fn note_prepared(&mut self) {
        self.prepared_by.get_or_insert(self.decided);
    }

    /// SQL's PREPARE keeps a statement on the server, which reads its names again when they change. What it was decided by is then
    /// not what it means.
    pub(super) fn outlives_its_decision(&self, place: &Place, sql: &str) -> Option<Refusal> {
        self.prepared_by.filter(|epoch| place.goes_by_catalog() && *epoch != place.guard.epoch())?;
        let executes = sql.as_bytes().windows(7).any(|it| it.eq_ignore_ascii_case(b"execute"));
        executes.then(|| {
            let message = "the database has changed since the statement was prepared";
            Refusal::new(RefusalKind::Statement, SqlState::FEATURE_NOT_SUPPORTED, message)
                .hint("DEALLOCATE ALL, then PREPARE it again.")
        })
    }

    /// Keeps a verdict for when the message can be gone on with.
    pub(super) fn postpone(&mut self, guarded: Guarded, wait: Wait) -> Flow {
        self.admitted = Some((guarded, self.decided));
        Flow::Stop(wait)
    }
}
