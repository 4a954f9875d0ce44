//! A server connection does not hold the prepared statements that were noted: something dropped or kept them out of sight
//! (a function that runs SQL), or a change of the schema made the plan of one useless.
//!
//! From then on each is closed before it is prepared anew, and the connection is reset before another client has it. Where
//! nothing of the failed batch has run and nothing of it was answered, the client does not hear of it: the batch is gone
//! through again. In a transaction block it does, as the error has ended that.

use bytes::BytesMut;

use super::copy::CopyStream;
use super::current_message::CurrentMessage;
use super::replies::{Disposition, InternalQuery, Kind};
use super::statements::ServerStatement;
use super::{Batch, Hold, Intake, Session};
use crate::base::SqlState;
use crate::wire::backend::{Report, TransactionStatus, code};
use crate::wire::encode::frontend;
use crate::wire::spare;

/// Longer batches are not gone through again.
const LONGEST: usize = 64 << 10;
/// 0A000 says much else; the routine's name is not translated.
const STALE: (&str, &str) = ("RevalidateCachedQuery", "cached plan must not change result type");

/// The client's messages of the current batch, as long as nothing of it was answered.
#[derive(Debug, Default)]
pub(super) struct BatchReplay {
    kept: BytesMut,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing is kept.
    #[default]
    Off,
    /// Messages of the batch are kept.
    Keeping,
    /// The batch is gone through for the second time: not for a third.
    Second,
}

impl BatchReplay {
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.kept
    }

    fn forget(&mut self) {
        self.kept.clear();
        self.state = State::Off;
    }

    /// Something of the batch was answered, or is about to be.
    #[inline]
    pub(super) fn answered(&mut self) {
        if self.state == State::Keeping {
            self.forget();
        }
    }
}

impl Session {
    /// A message of the client was dealt with; `began` tells whether nothing was open or outstanding before.
    #[inline]
    pub(super) fn keep_for_again(&mut self, tag: u8, frame: &[u8], began: bool) {
        match tag {
            b'P' | b'B' | b'D' if began && self.replay.state != State::Second => {
                self.replay.kept.clear();
                self.replay.state = if self.server.batch == Batch::Open { State::Keeping } else { State::Off };
            }
            b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'S' => {}
            _ => return self.replay.answered(),
        }
        if self.replay.state != State::Keeping {
            return;
        }
        if self.replay.kept.len() + frame.len() > LONGEST {
            return self.replay.forget();
        }
        spare::fill(&mut self.replay.kept);
        self.replay.kept.extend_from_slice(frame);
    }

    /// Whether an error shows that what is noted of the server's prepared statements is wrong, or may be. It is not relied
    /// upon from now on.
    pub(super) fn doubts(&mut self, report: &Report<'_>) -> bool {
        let Some(expected) = self.server.replies.head() else { return false };
        let state = report.sqlstate();
        let is = |code: &[u8; 5]| state == Some(SqlState(*code));
        let (doubtful, again) = match &expected.kind {
            Kind::Bind { statement, .. } | Kind::DescribeStatement(statement) => {
                let shared = matches!(statement.server, ServerStatement::Shared(_));
                let doubtful = shared && (is(b"26000") || is(b"0A000") && is_stale(report));
                (doubtful, doubtful)
            }
            Kind::Parse { server: Some(_), .. } => (is(b"42P05"), is(b"42P05")),
            // It failed before it began, or nobody knows how far it came.
            Kind::Query(run) | Kind::Execute(run) => {
                let there = run.plan().is_some_and(|plan| plan.drops_statements()) && run.tag_now().is_none();
                (there && !is(b"25001") && !is(b"25P02"), false)
            }
            Kind::Parse { server: None, .. }
            | Kind::OwnBind
            | Kind::DescribePortal(_)
            | Kind::Close(_)
            | Kind::Sync
            | Kind::Loaded
            | Kind::Local { .. } => (false, false),
        };
        if let Some(link) = self.server.link.as_mut().filter(|_| doubtful) {
            link.doubt();
            // Statements of the other sessions and connections are as stale.
            if is(b"0A000") {
                self.context.backend.catalog.changed();
            }
        }
        again
    }

    /// Goes through the batch at the head again, if the client cannot tell. What failed is not told then.
    pub(super) fn run_again(&mut self) -> bool {
        if self.replay.state != State::Keeping
            || self.server.tx != TransactionStatus::Idle
            || self.client.intake != Intake::Open
            || !self.server.replies.is_one_batch()
            || self.client.dropping > 0
            || self.copy.part.left > 0
        {
            return false;
        }
        self.statement_ended();
        self.copy.stream = CopyStream::None;
        self.skip_to_sync();
        self.client.intake = Intake::Open;
        match self.server.replies.head() {
            Some(sync) => sync.disposition = Disposition::Swallow(InternalQuery::BatchReplay),
            None => {
                frontend::sync(&mut self.server.out);
                self.server.batch = Batch::Closed;
                self.server.discarding = false;
                self.server.replies.push(Kind::Sync, Disposition::Swallow(InternalQuery::BatchReplay));
            }
        }
        self.server.hold = Hold::Drain;
        self.replay.state = State::Second;
        true
    }

    /// The server has left the failed batch.
    pub(super) fn go_through_again(&mut self) {
        let mut input = std::mem::take(&mut self.replay.kept);
        input.extend_from_slice(&self.client.input);
        self.client.input = input;
        self.client.incomplete = 0;
        self.current = CurrentMessage::default();
    }

    /// ReadyForQuery has gone to the client.
    #[inline]
    pub(super) fn batch_is_over(&mut self) {
        if self.replay.state != State::Off {
            self.replay.forget();
        }
    }
}

fn is_stale(report: &Report<'_>) -> bool {
    let (routine, message) = STALE;
    report.log_text(code::ROUTINE) == routine || report.log_text(code::MESSAGE) == message
}
