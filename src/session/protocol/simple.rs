//! The simple protocol: Query.

use super::channels::{stand_in, with_tags_of_marks};
use super::dropping::write_query;
use super::load::LoadProtocol;
use super::not_ready::NotReady;
use super::outline::tag_of;
use super::plan::Planned;
use super::replies::{Kind, Run, Subject};
use super::switching::Change;
use super::{Batch, Hold, Session};
use crate::guard::Protocol;
use crate::wire::encode::backend;

impl Session {
    /// The stages of a Query: plan, what need not be sent, quota, the server connection and its context, send.
    pub(super) fn on_query(&mut self, sql: &str) -> Result<(), NotReady> {
        let planned = self.plan(Protocol::Simple, sql)?;
        if self.is_ping(&planned.guarded) {
            backend::empty_query_response(&mut self.client.out);
            self.answer_ready();
            return Ok(());
        }
        if self.runs_here(&planned.step) {
            self.run_here(&planned.step, &planned.guarded);
            self.answer_ready();
            return Ok(());
        }
        self.check_new_names(&planned.guarded)?;
        if let Some(error) = self.over_quota(&planned) {
            return Err(error.into());
        }
        let ready = self
            .pass_gates_of(&planned.changes)
            .and_then(|()| self.settle_query(&planned.guarded))
            .and_then(|()| self.settle_channels(&planned.guarded, Protocol::Simple))
            .and_then(|()| self.ready(&planned.needs));
        let switches = planned.changes.iter().any(|change| matches!(change, Change::Switch { .. }));
        let ready = ready
            .and_then(|()| self.settle_locks(&planned.guarded))
            .and_then(|()| self.settle_temporary(&planned.guarded))
            .and_then(|()| self.settle_sequences(&planned.guarded, switches))
            .and_then(|()| Ok(self.ask_whose()?));
        if let Err(not_ready) = ready {
            self.keep_plan(planned);
            return Err(not_ready);
        }
        self.send_query(planned, sql)
    }

    fn send_query(&mut self, planned: Planned, sql: &str) -> Result<(), NotReady> {
        let Planned { guarded, changes, step, epoch, .. } = planned;
        if let Some(load) = Self::load_of(&guarded, LoadProtocol::Simple)? {
            self.record_draws(&guarded);
            return self.start_load(load);
        }
        let tag = self.discard_here(&guarded).or_else(|| self.deallocation(&guarded));
        let tags = self.deallocations(&guarded);
        let nothing = self.undoes_nothing(&guarded);
        write_query(&mut self.server.out, &guarded, tag, &tags, |i| nothing.then(|| stand_in(&guarded, i)).flatten())
            .map_err(|error| error.to_pg())?;
        if self.is_operator() {
            self.env.observer.operator_statement(sql);
        }
        let in_batch = self.server.batch == Batch::Open && !self.server.replies.is_empty();
        self.server.sent_query();
        self.surcharge(&guarded);
        let unnamed = self.prepared.statements.remove("");
        self.record_effects(&guarded, epoch);
        let (tag, tags) = if nothing {
            (tag, tags)
        } else {
            self.record_channels(&guarded);
            with_tags_of_marks(&guarded, tag, tags)
        };
        self.record_changes_sent(&changes);
        self.wait_for_context();
        self.wait_for_names(&guarded);
        if in_batch && unnamed.is_some() {
            // Behind an error in the batch the server skips the Query, and the unnamed statement stays.
            self.server.hold = Hold::Drain;
        }
        let tag = tag.or(tag_of(&step));
        let run = Run { unnamed, tag, tags, changes, ..Run::new(Subject::Script(Box::new(guarded))) };
        self.server.replies.forward(Kind::Query(run));
        Ok(())
    }
}
