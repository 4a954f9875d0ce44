//! The simple protocol: Query.

use super::admit::Admission;
use super::context::Hindrance;
use super::dropping::write_query;
use super::load::LoadProtocol;
use super::replies::{Kind, Run, Subject};
use super::{Batch, Flow, Hold, Machine, Wait};
use crate::guard::{Guarded, Protocol, StatementKind};
use crate::wire::encode::backend;

impl Machine {
    pub(super) fn on_query(&mut self, sql: &str) -> Flow {
        if self.switching.is_some() {
            return self.on_switching_query(sql);
        }
        if !is_blank(sql)
            && let Err(hindrance) = self.check_own_age()
        {
            return match hindrance {
                Hindrance::Wait(wait) => Flow::Stop(wait),
                Hindrance::Denied(error) => self.refuse_query(error),
            };
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
        let ready = self.settle_query(&guarded).and_then(|()| self.ready_to_send());
        match ready {
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
        let tag = self.discard_here(&guarded).or_else(|| self.deallocation(&guarded));
        let tags = self.deallocations(&guarded);
        if let Err(error) = write_query(&mut self.to_server, &guarded, tag, &tags) {
            return self.refuse_query(error.to_pg());
        }
        if self.is_operator() {
            self.env.observer.operator_statement(sql);
        }
        self.sent_query();
        self.surcharge(&guarded);
        let unnamed = self.statements.remove("");
        self.note_effects(&guarded);
        self.wait_for_names(&guarded);
        let run = Run { unnamed, tag, tags, ..Run::new(Subject::Script(Box::new(guarded))) };
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
}

/// It holds no statement, whatever the catalog says.
fn is_blank(sql: &str) -> bool {
    sql.bytes().all(|byte| byte == b';' || byte.is_ascii_whitespace())
}
