//! Results that are larger than they may be: cut off, cancelled, and told as failed.

use crate::base::{PgError, Severity, SqlState};
use crate::guard::{Guarded, StatementKind};
use crate::limits::Bound;
use crate::session::protocol::replies::{Disposition, InternalQuery, Kind, Run, Subject};
use crate::session::protocol::{Batch, Intake, Session, refuse};
use crate::wire::backend::TransactionStatus;
use crate::wire::encode::{backend, frontend};

impl Session {
    /// Rows and bytes that the result at the head may still have.
    #[inline]
    pub(in crate::session::protocol) fn budget(&self) -> (u64, u64) {
        self.limits.metered.as_ref().map_or((u64::MAX, u64::MAX), |metered| {
            let left = |bound: &Option<Bound<u64>>, used: u64| {
                bound.as_ref().map_or(u64::MAX, |bound| bound.value.saturating_sub(used))
            };
            (left(&metered.view.result_rows, metered.rows), left(&metered.view.result_bytes, metered.bytes))
        })
    }

    /// So much of the budget was used.
    #[inline]
    pub(in crate::session::protocol) fn spend(&mut self, rows: u64, bytes: u64) {
        if let Some(metered) = self.limits.metered.as_mut() {
            metered.rows += rows;
            metered.bytes += bytes;
        }
    }

    /// The next row is beyond the limit: from here on nothing of the result goes to the client, and the statement is
    /// cancelled, unless it has ended by then.
    pub(in crate::session::protocol) fn cut_off(&mut self) {
        let (rows, _) = self.budget();
        let Some(metered) = self.limits.metered.as_mut() else { return };
        let bound = if rows == 0 { &metered.view.result_rows } else { &metered.view.result_bytes };
        let Some(bound) = bound else { return };
        let Some(expected) = self.server.replies.head() else { return };
        expected.disposition = Disposition::Cut(Box::new(bound.error()));
        bound.record_rejection();
        metered.cancel = true;
    }

    /// A statement ended, well or not.
    #[inline]
    pub(in crate::session::protocol) fn statement_ended(&mut self) {
        let Some(metered) = self.limits.metered.as_mut() else { return };
        metered.clock.statement_ended();
        (metered.rows, metered.bytes) = (0, 0);
        metered.overdue = None;
        metered.cancel = false;
    }

    /// What the client is told of an error instead, if the server was asked for it because of a limit.
    pub(in crate::session::protocol) fn reason_of_cancel(&mut self, code: Option<SqlState>) -> Option<PgError> {
        let overdue = self.limits.metered.as_mut()?.overdue.take();
        overdue.filter(|_| code == Some(SqlState::QUERY_CANCELED))
    }

    /// A Query whose result was cut off did not fail: the client is told that it did.
    pub(in crate::session::protocol) fn tell_of_cut(&mut self, run: &Run, error: PgError) {
        let committed = self.server.tx == TransactionStatus::Idle && writes(run);
        backend::error_response(&mut self.client.out, &carried_out(error, committed));
        if let Some(metered) = self.limits.metered.as_mut() {
            metered.spoil = true;
        }
    }

    /// As [`Session::tell_of_cut`], for an Execute: the rest of its batch must be what the client takes it for, skipped.
    pub(in crate::session::protocol) fn cut_batch(&mut self, run: &Run, error: PgError) {
        let in_block = self.server.tx != TransactionStatus::Idle;
        let Some(synced) = self.server.replies.skip_harmless(in_block) else {
            // What stands behind was carried out, or will be: the client could not know.
            let error = PgError { severity: Severity::Fatal, ..error };
            self.fail(&error.hint("The connection ends: statements stood behind it in the pipeline."));
            return;
        };
        self.tell_of_cut(run, error);
        if !synced && self.server.batch == Batch::Open && self.client.intake == Intake::Open {
            self.client.intake = Intake::Skipping;
        }
    }

    /// ReadyForQuery of a message whose result was cut off: its transaction block must have failed. Returns whether that is
    /// still to be seen to; ReadyForQuery goes to the client then.
    pub(in crate::session::protocol) fn spoils(&mut self, status: TransactionStatus) -> bool {
        let spoil = self.limits.metered.as_mut().is_some_and(|metered| std::mem::take(&mut metered.spoil));
        if !spoil || status != TransactionStatus::Active {
            return false;
        }
        if !self.server.replies.is_empty() || frontend::query(&mut self.server.out, refuse::MUST_FAIL).is_err() {
            self.fail(&PgError::fatal(SqlState::PROGRAM_LIMIT_EXCEEDED, "result is too large within a pipeline"));
            return true;
        }
        self.server.sent_query();
        self.server.replies.push(Kind::Query(Run::new(Subject::None)), Disposition::Swallow(InternalQuery::Spoil));
        true
    }
}

fn writes(run: &Run) -> bool {
    let plans = run.subject.guarded().map_or(&[][..], Guarded::plans);
    plans.iter().any(|plan| matches!(plan.kind, StatementKind::Dml | StatementKind::Utility | StatementKind::CopyIn))
}

fn carried_out(error: PgError, committed: bool) -> PgError {
    if !committed {
        return error;
    }
    error.hint("The statement was carried out, only its result was cut off. Ask for less of it with RETURNING.")
}
