//! What a statement is decided by was seen in its database no longer ago than it may be; and what was prepared is decided
//! again once that has changed.

use std::sync::Arc;

use super::not_ready::NotReady;
use super::sql_prepared::outlived;
use super::{Backend, Session, Wait};
use crate::base::{Mode, PgError, Refusal, RefusalKind, SqlState};
use crate::guard::{Guarded, Plan, StatementKind};

impl Backend {
    /// Whether it is the catalog that tells whose rows a statement means. Elsewhere the database itself keeps tenants apart,
    /// or the client may see them all.
    pub(super) fn goes_by_catalog(&self) -> bool {
        match self.mode {
            Mode::Shared | Mode::Reader | Mode::Schema(_) => true,
            Mode::Database | Mode::Operator => false,
        }
    }
}

impl Session {
    /// What is known of a place may be decided by, or has just been looked at for the current message.
    pub(super) fn check_age(&self, backend: &Arc<Backend>) -> Result<(), NotReady> {
        if self.current.looked || !backend.goes_by_catalog() || backend.catalog.is_fresh() {
            return Ok(());
        }
        Err(Wait::Look(Arc::clone(backend)).into())
    }

    /// The database that [`Wait::Look`] names was looked at: the message at hand is gone on with, or fails.
    pub fn looked(&mut self, outcome: Result<(), PgError>) {
        match outcome {
            Ok(()) => self.current.looked = true,
            Err(error) => self.deny(error),
        }
    }

    /// A statement of SQL's PREPARE was sent.
    pub(super) fn record_prepared(&mut self, epoch: u64) {
        self.prepared.decided.get_or_insert(epoch);
    }

    /// A transaction keeps the search path that it began with. A statement in it that is decided by the rules of another one would
    /// mean something else to the server.
    pub(super) fn outlives_its_path(&self, backend: &Backend, guarded: &Guarded) -> Option<Refusal> {
        let Mode::Schema(own) = &backend.mode else { return None };
        let runs_on = !self.starts() && self.context.backend.is(backend);
        let path = self.context.settings.sealed_path().filter(|_| runs_on)?;
        let names_nothing = |plan: &Arc<Plan>| matches!(plan.kind, StatementKind::Transaction | StatementKind::Empty);
        if guarded.plans().iter().all(names_nothing) {
            return None;
        }
        (*path != backend.guard.policy().schema_path(own)).then(|| {
            let message = "the schemas that tenants have in common have changed since the transaction began";
            Refusal::new(RefusalKind::Statement, SqlState::FEATURE_NOT_SUPPORTED, message)
                .hint("Roll the transaction back and run it again.")
        })
    }

    /// SQL's PREPARE keeps a statement on the server, which reads its names again when they change. What it was decided by is then
    /// not what it means.
    pub(super) fn outlives_its_decision(&self, backend: &Backend, sql: &str) -> Option<Refusal> {
        self.prepared.decided.filter(|epoch| backend.goes_by_catalog() && *epoch != backend.guard.epoch())?;
        let executes = sql.as_bytes().windows(7).any(|it| it.eq_ignore_ascii_case(b"execute"));
        executes.then(|| Refusal { kind: RefusalKind::Statement, object: None, error: Box::new(outlived()) })
    }
}
