//! What a statement is decided by was seen in its database no longer ago than it may be; and what was prepared is decided
//! again once that has changed.

use std::sync::Arc;

use super::not_ready::NotReady;
use super::{Backend, Session, Wait};
use crate::base::{Mode, PgError, Refusal, RefusalKind, SqlState};

impl Backend {
    /// Whether it is the catalog that tells whose rows a statement means. Elsewhere the database itself keeps tenants apart,
    /// or the client may see them all.
    pub(super) fn goes_by_catalog(&self) -> bool {
        match self.mode {
            Mode::Shared | Mode::Schema(_) => true,
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

    /// SQL's PREPARE keeps a statement on the server, which reads its names again when they change. What it was decided by is then
    /// not what it means.
    pub(super) fn outlives_its_decision(&self, backend: &Backend, sql: &str) -> Option<Refusal> {
        self.prepared.decided.filter(|epoch| backend.goes_by_catalog() && *epoch != backend.guard.epoch())?;
        let executes = sql.as_bytes().windows(7).any(|it| it.eq_ignore_ascii_case(b"execute"));
        executes.then(|| {
            let message = "the database has changed since the statement was prepared";
            Refusal::new(RefusalKind::Statement, SqlState::FEATURE_NOT_SUPPORTED, message)
                .hint("DEALLOCATE ALL, then PREPARE it again.")
        })
    }
}
