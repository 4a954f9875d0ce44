//! Refusals that keep Postgres's semantics.
//!
//! With no transaction open and nothing outstanding, pgwarden answers by itself. Otherwise a statement that must fail
//! goes upstream in the refused one's place and its error is replaced: the transaction fails, the pipeline is skipped to
//! Sync and the order of replies is kept by Postgres itself.

use super::replies::{Fate, Kind, Run, Subject};
use super::{Batch, Flow, Intake, Machine, Wait};
use crate::base::PgError;
use crate::wire::backend::TransactionStatus;
use crate::wire::encode::{backend, frontend};

/// No grammar accepts it: Postgres answers 42601 before it looks at anything else.
pub(super) const MUST_FAIL: &str = "refused by pgwarden";

impl Machine {
    /// Nothing that the client sent is under way.
    fn quiet(&self) -> bool {
        self.tx == TransactionStatus::Idle && self.batch == Batch::Closed && self.replies.only_errands()
    }

    /// Refuses a Query (or FunctionCall, which ends in ReadyForQuery too).
    pub(super) fn refuse_query(&mut self, error: PgError) -> Flow {
        if self.fail_unsent() || self.quiet() {
            let status = self.tx;
            self.answer(|out| {
                backend::error_response(out, &error);
                backend::ready_for_query(out, status);
            });
            return Flow::Done;
        }
        if frontend::query(&mut self.to_server, MUST_FAIL).is_err() {
            return Flow::Stop(Wait::Closed);
        }
        self.sent_query();
        self.replies.push(Kind::Query(Run::new(Subject::None)), Fate::Refused(Box::new(error)));
        Flow::Done
    }

    /// Refuses a message of the extended protocol.
    pub(super) fn refuse_extended(&mut self, error: PgError) -> Flow {
        if self.fail_unsent() || self.quiet() {
            self.answer(|out| backend::error_response(out, &error));
            self.intake = Intake::Skipping;
            return Flow::Done;
        }
        if frontend::parse(&mut self.to_server, "", MUST_FAIL, &[]).is_err() {
            return Flow::Stop(Wait::Closed);
        }
        if let Some(link) = self.link.as_mut() {
            link.unnamed = None;
        }
        self.sent_extended();
        let kind = Kind::Parse { subject: Subject::None, undo: None, server: None };
        self.replies.push(kind, Fate::Refused(Box::new(error)));
        Flow::Done
    }
}
