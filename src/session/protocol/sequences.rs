//! `lastval` and `currval`: what this client drew, or an error; never what another drew on the server connection.
//!
//! The server remembers; pgwarden knows whose memory that is ([`SequenceMemory`]), and empties it before a statement that
//! draws where it is another's. A client that has asked once keeps its server connection from then on when it draws, and so do
//! the other sessions of its tenant: what they drew is there in their next transaction.

use super::not_ready::NotReady;
use super::replies::{Disposition, InternalQuery, Kind, Run, Subject};
use super::{Batch, Session, Wait};
use crate::base::{Mode, PgError, SqlState};
use crate::guard::{Effect, Guarded, PinReason, Plan, StatementKind};
use crate::pool::{Drawn, SequenceMemory};
use crate::wire::backend::TransactionStatus;
use crate::wire::encode::frontend;

impl Session {
    /// Before a text is sent, which changes the tenant if `switches`: the memory is emptied if it is another's and the text
    /// draws, and asked only if it is the client's own.
    pub(super) fn settle_sequences(&mut self, guarded: &Guarded, switches: bool) -> Result<(), NotReady> {
        let has = |effect: &Effect| guarded.plans().iter().any(|plan| plan.effects.contains(effect));
        let (draws, asks) = (has(&Effect::Draws), has(&Effect::AsksSequences));
        let drawn = self.context.drawn;
        // Who drew nothing is told so by the server.
        if draws || asks && drawn == Drawn::Nothing {
            self.empty_sequences()?;
        }
        if !asks {
            return Ok(());
        }
        let memory = self.server.link.as_ref().map_or(SequenceMemory::Mixed, |link| link.known.sequences);
        let told = memory.is_of(drawn) || (memory == SequenceMemory::Empty && (draws || drawn == Drawn::Nothing));
        self.stats.account().rely_on_sequences();
        if told && !switches {
            if memory != SequenceMemory::Empty || draws {
                self.keep_sequences();
            }
            return Ok(());
        }
        Err(undefined(drawn).into())
    }

    fn empty_sequences(&mut self) -> Result<(), NotReady> {
        let drawn = self.context.drawn;
        let Some(link) = self.server.link.as_ref() else { return Ok(()) };
        let own = link.known.sequences == SequenceMemory::Empty || link.known.sequences.is_of(drawn);
        // Within a batch nothing can be sent between; a failed transaction runs nothing.
        if own || self.server.batch == Batch::Open {
            return Ok(());
        }
        if self.server.tx == TransactionStatus::Active && !self.server.replies.only_internal() {
            self.server.settle()?;
        }
        if self.server.tx == TransactionStatus::Failed {
            return Ok(());
        }
        if frontend::query(&mut self.server.out, "DISCARD SEQUENCES").is_err() {
            self.context_failed();
            return Err(NotReady::Wait(Wait::Closed));
        }
        self.server.forget_unnamed();
        let internal = InternalQuery::Context(Vec::new());
        self.server.replies.push(Kind::Query(Run::new(Subject::None)), Disposition::Swallow(internal));
        if let Some(link) = self.server.link.as_mut() {
            link.known.sequences = SequenceMemory::Empty;
        }
        Ok(())
    }

    /// Notes that a text was sent which draws, or may.
    pub(super) fn record_draws(&mut self, guarded: &Guarded) {
        if !guarded.plans().iter().any(|plan| self.may_draw(plan)) {
            return;
        }
        if let Some(link) = self.server.link.as_mut() {
            link.known.sequences.draw(&mut self.context.drawn);
        }
        let seen = guarded.plans().iter().any(|plan| plan.effects.contains(&Effect::Draws));
        if seen && self.stats.account().relies_on_sequences() {
            self.keep_sequences();
        }
    }

    /// For all that is known: policies and functions that tenants may call are not looked into, nor are views, nor what an
    /// operator runs, or a tenant in a schema or database of its own.
    fn may_draw(&self, plan: &Plan) -> bool {
        let looked_into = || match self.context.backend.mode {
            Mode::Shared => {
                let policy = self.context.backend.guard.policy();
                !policy.enforcement.uses_rls() && policy.allow_functions.is_empty()
            }
            // It may call nothing that was not looked into.
            Mode::Reader => true,
            Mode::Schema(_) | Mode::Database | Mode::Operator => false,
        };
        let draws = plan.effects.iter().any(|effect| matches!(effect, Effect::Draws | Effect::MayDraw));
        match plan.kind {
            StatementKind::Empty | StatementKind::Transaction => draws,
            StatementKind::Select | StatementKind::CopyOut => draws || plan.writes || !looked_into(),
            StatementKind::Dml | StatementKind::CopyIn | StatementKind::Utility => draws || plan.writes,
        }
    }

    /// What was drawn is to be there in the next transaction. A session that goes from place to place holds none.
    fn keep_sequences(&mut self) {
        if self.context.switching.is_none() {
            self.pin_to(PinReason::Sequences);
        }
    }

    /// What was drawn is nobody's any more: the session acts for another tenant, or has discarded all.
    pub(super) fn forget_sequences(&mut self) {
        self.context.drawn = Drawn::Nothing;
    }
}

fn undefined(drawn: Drawn) -> PgError {
    let message = "the value last drawn from a sequence is not yet defined in this session";
    let error = PgError::error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message);
    match drawn {
        Drawn::Nothing => error,
        Drawn::At(_) | Drawn::Lost => error
            .detail("It was drawn on a server connection that is another client's now.")
            .hint("From now on sessions of this tenant keep theirs. Ask in the transaction that draws, or use INSERT ... RETURNING."),
    }
}
