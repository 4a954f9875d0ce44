//! The simple protocol: Query.

use super::admit::Admission;
use super::context::Hindrance;
use super::load::LoadProtocol;
use super::replies::{Kind, Run, Subject};
use super::{Batch, Flow, Hold, Machine, Wait};
use crate::guard::{Deallocate, Effect, Guarded, Protocol, StatementKind};
use crate::wire::backend::TransactionStatus;
use crate::wire::encode::{backend, frontend};

impl Machine {
    pub(super) fn on_query(&mut self, sql: &str) -> Flow {
        if self.switching.is_some() {
            return self.on_switching_query(sql);
        }
        match self.admit(Protocol::Simple, sql) {
            Admission::Unknown => Flow::Stop(Wait::Refresh),
            Admission::Later => Flow::Stop(Wait::Read),
            Admission::Refused(refusal) => self.refuse_query(*refusal.error),
            Admission::Passed(guarded) if self.is_ping(&guarded) => self.answer_ping(),
            Admission::Passed(guarded) => match self.over_quota(&guarded) {
                Some(error) => self.refuse_query(error),
                None => self.on_passed_query(guarded, sql),
            },
        }
    }

    fn on_passed_query(&mut self, guarded: Guarded, sql: &str) -> Flow {
        match self.ready_to_send() {
            Err(Hindrance::Wait(wait)) => self.postpone(guarded, wait),
            Err(Hindrance::Denied(error)) => self.refuse_query(error),
            Ok(()) => self.send_query(guarded, sql),
        }
    }

    /// An empty Query (drivers send them to see whether the connection lives) takes no server connection.
    pub(super) fn is_ping(&self, guarded: &Guarded) -> bool {
        guarded.plans().iter().all(|plan| plan.kind == StatementKind::Empty)
            && self.link.is_none()
            && self.replies.is_empty()
    }

    pub(super) fn answer_ping(&mut self) -> Flow {
        backend::empty_query_response(&mut self.to_client);
        self.answer_ready();
        Flow::Done
    }

    fn send_query(&mut self, guarded: Guarded, sql: &str) -> Flow {
        match Self::load_of(&guarded, LoadProtocol::Simple) {
            Ok(None) => {}
            Ok(Some(load)) => return self.start_load(load),
            Err(error) => return self.refuse_query(error),
        }
        let tag = self.deallocation(&guarded);
        let written = match tag {
            Some(_) => frontend::query(&mut self.to_server, ""),
            None => frontend::query_of(&mut self.to_server, |put| guarded.pieces(&mut |piece| put(piece))),
        };
        if let Err(error) = written {
            return self.refuse_query(error.to_pg());
        }
        if self.is_operator() {
            self.env.observer.operator_statement(sql);
        }
        self.sent_query();
        self.surcharge(&guarded);
        let unnamed = self.statements.remove("");
        self.note_effects(&guarded);
        let mut run = Run { unnamed, ..Run::new(Subject::Script(Box::new(guarded))) };
        run.tag = tag;
        self.replies.forward(Kind::Query(run));
        Flow::Done
    }

    /// A Query ends an open batch of extended messages, as Sync would, and drops the server's unnamed statement.
    pub(super) fn sent_query(&mut self) {
        self.batch = Batch::Closed;
        self.discarding = false;
        if self.hold == Hold::AfterSync {
            self.hold = Hold::Drain;
        }
        if let Some(link) = self.link.as_mut() {
            link.unnamed = None;
        }
    }

    /// DEALLOCATE of a protocol-level statement is carried out here (its server-side namesake is shared): the server gets
    /// an empty statement, so that order and transaction state stay its own. Gives the command tag.
    pub(super) fn deallocation(&self, guarded: &Guarded) -> Option<&'static str> {
        let [plan] = guarded.plans() else { return None };
        if self.tx == TransactionStatus::Failed {
            return None;
        }
        plan.effects.iter().find_map(|effect| match effect {
            Effect::Deallocate(Deallocate::All) if self.pin == super::Pin::No => Some("DEALLOCATE ALL"),
            Effect::Deallocate(Deallocate::Name(name)) if self.statements.get(name).is_some() => Some("DEALLOCATE"),
            _ => None,
        })
    }
}
