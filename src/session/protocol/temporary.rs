//! Temporary tables of the client, where tenants share server connections: its server connection stays with it as long as there
//! is one, and goes back to the pool when the server has said that there is none.
//!
//! What the session may name is switched with the first that it makes ([`Names`]). Before that one the temporary schema is
//! emptied: functions and triggers of the database may have left something in it.

use super::not_ready::NotReady;
use super::replies::{Disposition, InternalQuery, Kind, Run, Subject};
use super::server_bytes::Broken;
use super::{Batch, Pin, Session, Wait};
use crate::base::{Mode, PgError, SqlState};
use crate::guard::{Effect, Guarded, Names, PinReason, Plan};
use crate::wire::backend::TransactionStatus;
use crate::wire::encode::frontend;

/// The most that one session may have, indexes included: each takes a lock when it is made or dropped, and the server's table of
/// locks has room for 6,400 in all by default.
const MAX_RELATIONS: u32 = 256;

const QUESTION: &str = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_class AS c \
                        WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()";

/// Temporary tables of one client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Temporary {
    /// It has made some, and the server has not said since that there is none.
    some: bool,
    /// At most so many relations are there.
    relations: u32,
    /// What is there may be less.
    in_doubt: bool,
}

impl Session {
    /// What a name may mean that the catalog does not have.
    pub(super) fn names(&self) -> Names {
        if self.context.temporary.some { Names::Temporary } else { Names::Catalog }
    }

    /// Before a text is sent that makes temporary tables.
    pub(super) fn settle_temporary(&mut self, guarded: &Guarded) -> Result<(), NotReady> {
        let wanted: u32 = guarded.plans().iter().map(|plan| made_by(plan)).sum();
        let Temporary { some, relations, .. } = self.context.temporary;
        if wanted == 0 || self.context.backend.mode != Mode::Shared {
            return Ok(());
        }
        if relations + wanted > MAX_RELATIONS {
            // What is under way may tell of fewer.
            self.server.settle()?;
            let message = format!("a session may have {MAX_RELATIONS} temporary tables and indexes at one time");
            return Err(PgError::error(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
                .hint("Drop some, or end the transaction in which they were dropped.")
                .into());
        }
        if some { Ok(()) } else { self.empty_temporary() }
    }

    fn empty_temporary(&mut self) -> Result<(), NotReady> {
        // What is under way may fail, and the transaction with it. Within a batch the server skips this too then.
        if self.server.batch == Batch::Closed && !self.server.replies.only_internal() {
            self.server.settle()?;
        }
        // A failed transaction makes nothing.
        if self.server.tx == TransactionStatus::Failed {
            return Ok(());
        }
        if self.send_own("DISCARD TEMP").is_err() {
            self.context_failed();
            return Err(NotReady::Wait(Wait::Closed));
        }
        Ok(())
    }

    /// Notes that a text was sent which makes temporary tables, or may drop some.
    pub(super) fn record_temporary(&mut self, guarded: &Guarded) {
        if self.context.backend.mode != Mode::Shared {
            return;
        }
        let temporary = &mut self.context.temporary;
        for plan in guarded.plans() {
            let made = made_by(plan);
            temporary.relations += made;
            temporary.some |= made > 0 && self.server.tx != TransactionStatus::Failed;
            temporary.in_doubt |= made > 0 || plan.effects.contains(&Effect::DropsTemporary);
        }
    }

    /// What the client had is gone: DISCARD ALL, or the server connection.
    pub(super) fn forget_temporary(&mut self) {
        self.context.temporary = Temporary::default();
    }

    /// A transaction has ended in which temporary tables were made or dropped: how many are there?
    pub(super) fn ask_for_temporary(&mut self) {
        if !self.context.temporary.in_doubt || self.server.link.is_none() {
            return;
        }
        if frontend::query(&mut self.server.out, QUESTION).is_ok() {
            self.context.temporary.in_doubt = false;
            self.server.forget_unnamed();
            let internal = InternalQuery::Temporary(None);
            self.server.replies.push(Kind::Query(Run::new(Subject::None)), Disposition::Swallow(internal));
        }
    }

    /// A row of the answer.
    pub(super) fn on_temporary_row(count: &mut Option<u32>, values: &[Option<&[u8]>]) -> Result<(), Broken> {
        Self::on_locks_row(count, values)
    }

    /// The answer is whole. Without one, all is as it was.
    pub(super) fn temporary_known(&mut self, count: Option<u32>) {
        let Some(count) = count else {
            self.context.temporary.in_doubt = true;
            return;
        };
        // A statement behind the question may have made one meanwhile.
        if self.context.temporary.in_doubt {
            return;
        }
        self.context.temporary.relations = count;
        if count > 0 {
            return;
        }
        self.forget_temporary();
        self.untie_temporary();
        if self.server.pin == Pin::Statement(PinReason::TempObject) {
            self.server.pin = self.pin_of_locks().unwrap_or_else(|| Pin::by(self.context.backend.pool_mode));
        }
    }
}

fn made_by(plan: &Plan) -> u32 {
    let made = plan.effects.iter().map(|effect| match effect {
        Effect::MakesTemporary(count) => u32::from(*count),
        _ => 0,
    });
    made.sum()
}
