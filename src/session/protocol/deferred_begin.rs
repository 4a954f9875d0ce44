//! A transaction of which the server knows nothing yet.
//!
//! Where it will run shows only with the statement behind BEGIN, which often names the tenant. So BEGIN is answered here,
//! and sent with that statement; a transaction in which nothing else stands takes no server connection at all.

use std::sync::Arc;

use bytes::BytesMut;

use super::not_ready::NotReady;
use super::refuse::MUST_FAIL;
use super::replies::{Disposition, InternalQuery, Kind, Run, Subject};
use super::statements::{Portal, Statement};
use super::{Hold, Session, Wait};
use crate::base::oid::TEXT;
use crate::base::{PgError, SqlState};
use crate::guard::Guarded;
use crate::guard::context::{Form, Step, TransactionStep, Value};
use crate::wire::backend::TransactionStatus;
use crate::wire::encode::{backend, frontend};
use crate::wire::frontend::{Bind, Format};

/// What is to be sent before the transaction's first statement.
pub(super) struct DeferredBegin {
    begin: String,
    /// Something in it was refused: it can only be rolled back.
    pub(super) failed: bool,
}

impl Session {
    /// Whether this statement is carried out here, as things stand.
    pub(super) fn runs_here(&self, step: &Step) -> bool {
        match step {
            Step::Begin(_) => self.context.switching.is_some() && self.starts() && self.context.unsent.is_none(),
            Step::Transaction(
                TransactionStep::Commit { chain: false } | TransactionStep::Rollback { chain: false },
            ) => self.context.unsent.is_some(),
            _ => false,
        }
    }

    /// Whether a statement can be answered for here before it is bound: it runs here, or where it will run is only known
    /// then.
    pub(super) fn waits_for_bind(&self, step: &Step) -> bool {
        self.runs_here(step) || (matches!(step, Step::Switch { value: Value::Param, .. }) && !self.in_transaction())
    }

    /// BEGIN, or the end of what it began.
    pub(super) fn run_here(&mut self, step: &Step, guarded: &Guarded) {
        match step {
            Step::Begin(tag) => {
                self.context.unsent = Some(DeferredBegin { begin: guarded.text().into_owned(), failed: false });
                self.server.tx = TransactionStatus::Active;
                self.complete(tag);
            }
            Step::Transaction(end) => {
                let failed = self.context.unsent.take().is_none_or(|unsent| unsent.failed);
                self.server.tx = TransactionStatus::Idle;
                let end = if failed { &TransactionStep::Rollback { chain: false } } else { end };
                if let Some(switching) = self.context.switching.as_mut() {
                    switching.step(end);
                }
                self.prepared.portals.clear();
                self.complete(if matches!(end, TransactionStep::Rollback { .. }) { "ROLLBACK" } else { "COMMIT" });
            }
            _ => {}
        }
    }

    fn complete(&mut self, tag: &'static str) {
        // A fixed text can be written.
        self.answer(|out| {
            let _ = backend::command_complete(out, tag);
        });
    }

    /// Sends what stands before the first statement.
    pub(super) fn send_unsent(&mut self) -> Result<(), NotReady> {
        let Some(unsent) = self.context.unsent.take() else { return Ok(()) };
        if frontend::query(&mut self.server.out, &unsent.begin).is_err() {
            self.context_failed();
            return Err(NotReady::Wait(Wait::Closed));
        }
        self.server.sent_query();
        self.push_internal(InternalQuery::Begin);
        if unsent.failed {
            if frontend::query(&mut self.server.out, MUST_FAIL).is_err() {
                self.context_failed();
                return Err(NotReady::Wait(Wait::Closed));
            }
            self.push_internal(InternalQuery::Fail);
        }
        // With options it may fail: nothing may run outside of it then.
        if unsent.begin.split_whitespace().count() > 2 {
            self.server.hold = Hold::Drain;
            return Err(NotReady::Wait(Wait::Replies));
        }
        Ok(())
    }

    fn push_internal(&mut self, internal: InternalQuery) {
        self.server.replies.push(Kind::Query(Run::new(Subject::None)), Disposition::Swallow(internal));
    }

    /// An error of pgwarden's own in a transaction that was not sent: it fails like one that was.
    pub(super) fn fail_unsent(&mut self) -> bool {
        let Some(unsent) = self.context.unsent.as_mut() else { return false };
        unsent.failed = true;
        self.server.tx = TransactionStatus::Failed;
        true
    }

    /// What Describe says of a statement that the server has not seen.
    pub(super) fn describe_here(&mut self, step: &Step) -> bool {
        let Step::Switch { form, .. } = step else {
            self.answer(|out| {
                let _ = backend::parameter_description(out, &[]);
                backend::no_data(out);
            });
            return true;
        };
        let Form::Function(column) = form else { return false };
        let mut described = BytesMut::new();
        let written = backend::parameter_description(&mut described, &[TEXT])
            .and_then(|()| backend::row_description(&mut described, &[backend::Column::text(column)]));
        if written.is_ok() {
            self.answer(|out| out.extend_from_slice(&described));
        }
        written.is_ok()
    }

    /// Whether the statement runs here: then its portal is noted and answered for.
    pub(super) fn binds_here(&mut self, bind: &Bind<'_>) -> bool {
        let statement = self.prepared.statements.get(bind.statement).cloned();
        let statement = statement.filter(|it| self.runs_here(&it.step) && bind.params.count() == 0);
        let Some(switching) = self.context.switching.as_mut() else { return false };
        if let Some(statement) = statement {
            switching.bound_here.insert(bind.portal.into());
            self.prepared.portals.insert(bind.portal, Portal { statement, begun: false, sets: Box::default() });
            self.answer(backend::bind_complete);
            return true;
        }
        switching.bound_here.remove(bind.portal);
        false
    }

    /// The statement of a portal that was bound here and runs here. One that has become the server's business since is
    /// bound there.
    pub(super) fn portal_here(&mut self, portal: &str) -> Result<Option<Arc<Statement>>, NotReady> {
        if !self.context.switching.as_ref().is_some_and(|it| it.bound_here.contains(portal)) {
            return Ok(None);
        }
        let Some(statement) = self.prepared.portals.get(portal).map(|it| Arc::clone(&it.statement)) else {
            return Ok(None);
        };
        if self.runs_here(&statement.step) {
            return Ok(Some(statement));
        }
        self.bind_there(portal, &statement)?;
        if let Some(switching) = self.context.switching.as_mut() {
            switching.bound_here.remove(portal);
        }
        Ok(None)
    }

    /// Binds a portal on the server that was bound here.
    fn bind_there(&mut self, portal: &str, statement: &Arc<Statement>) -> Result<(), NotReady> {
        self.ready_for_statement(statement, false)?;
        let written = frontend::parse(&mut self.server.out, "", &statement.text(), &[])
            .and_then(|()| frontend::bind(&mut self.server.out, portal, "", &[], Format::Text));
        if let Err(error) = written {
            return Err(NotReady::Refuse(error.to_pg()));
        }
        self.server.forget_unnamed();
        self.server.sent_extended();
        let parse = Kind::Parse { subject: Subject::None, undo: None, server: None };
        for kind in [parse, Kind::OwnBind] {
            self.server.replies.push(kind, Disposition::Swallow(InternalQuery::Prepared));
        }
        Ok(())
    }

    /// BEGIN was sent and answered.
    pub(super) fn begun(&mut self, failed: bool) {
        if failed {
            self.server.poison();
            self.fail(&PgError::fatal(SqlState::CONNECTION_FAILURE, "the transaction could not be begun"));
        }
    }
}
