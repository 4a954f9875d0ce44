//! What on a server connection was made for one tenant and would serve another: cursors, portals, prepared statements of SQL,
//! temporary objects. While it is there, nothing is run for anybody else.

use super::switching::Change;
use super::tenant_context::{CurrentTenant, same};
use crate::base::{PgError, SqlState};
use crate::guard::context::{Step, TransactionStep};

/// Something that was made for an actor.
#[derive(Clone, Debug)]
struct Tie {
    actor: CurrentTenant,
    stays: Stays,
}

/// How long something stays on the server connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stays {
    /// Up to the end of the transaction.
    InTransaction,
    /// As long as there are temporary tables.
    Temporary,
    /// Until the session discards it.
    InSession,
}

/// The one that all else was made for as well.
#[derive(Clone, Debug, Default)]
pub(super) struct Ties(Option<Tie>);

impl Ties {
    /// Something stays beyond the transaction. Nobody's data can be in what was made for nobody.
    pub(super) fn keep(&mut self, actor: &CurrentTenant, stays: Stays) {
        if actor.is_some() {
            let stays = self.0.as_ref().map_or(stays, |tie| tie.stays.max(stays));
            self.0 = Some(Tie { actor: actor.clone(), stays });
        }
    }

    /// Something stays up to the end of the transaction.
    pub(super) fn open(&mut self, actor: &CurrentTenant) {
        if actor.is_some() {
            self.0.get_or_insert_with(|| Tie { actor: actor.clone(), stays: Stays::InTransaction });
        }
    }

    /// The transaction has ended.
    pub(super) fn transaction_ended(&mut self) {
        self.0.take_if(|tie| tie.stays == Stays::InTransaction);
    }

    /// No temporary table is left.
    pub(super) fn temporary_gone(&mut self) {
        self.0.take_if(|tie| tie.stays == Stays::Temporary);
    }

    /// Nothing is left of anybody.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// Whether something may be run for an actor.
    ///
    /// # Errors
    /// 25001 where something is there that was made for another.
    pub(super) fn admit(&self, actor: &CurrentTenant) -> Result<(), PgError> {
        if self.0.as_ref().is_none_or(|tie| same(&tie.actor, actor)) {
            return Ok(());
        }
        Err(PgError::error(
            SqlState::ACTIVE_SQL_TRANSACTION,
            "cannot act for another tenant while the session holds what was made for the last one",
        )
        .hint("A cursor goes with its transaction; prepared statements (PREPARE), cursors WITH HOLD and temporary objects with DISCARD ALL."))
    }

    /// One statement of a text after the other, each for who is acted for then.
    ///
    /// # Errors
    /// As [`Ties::admit`].
    pub(super) fn follow(&mut self, step: &Step, current: &CurrentTenant, change: &Change) -> Result<(), PgError> {
        match step {
            Step::None | Step::Cursor => self.admit(current)?,
            Step::Switch { .. } | Step::Show(_) | Step::Begin(_) | Step::Transaction(_) | Step::Clear => {}
        }
        match change {
            Change::Cursor(actor) => self.open(actor),
            Change::Transaction(TransactionStep::Commit { .. } | TransactionStep::Rollback { .. }) => {
                self.transaction_ended();
            }
            Change::None | Change::Switch { .. } | Change::Clear => {}
            Change::Transaction(
                TransactionStep::Savepoint(_) | TransactionStep::Release(_) | TransactionStep::RollbackTo(_),
            ) => {}
        }
        Ok(())
    }
}
