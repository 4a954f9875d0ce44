//! What takes too long is found when the relay looks at the clock: once a turn of it, not per message.

use std::time::Duration;

use tokio::time::Instant;

use super::Metered;
use crate::base::Severity;
use crate::limits::Bound;
use crate::session::protocol::Session;
use crate::session::protocol::replies::{Disposition, InternalQuery};

/// Something took too long.
#[derive(Debug, PartialEq, Eq)]
pub enum Overdue {
    /// The statement that runs: a cancel request should go to the server.
    Statement,
    /// The session: it has been ended.
    Session,
}

/// What the session does, as the clock sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    InTransaction,
    Idle,
}

pub(super) struct Clock {
    phase: Phase,
    since: Instant,
    transaction: Option<Instant>,
    /// Statements and transactions that ended, and how many had when the clock was last looked at.
    ended: (u64, u64),
    seen: (u64, u64),
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Idle, since: Instant::now(), transaction: None, ended: (0, 0), seen: (0, 0) }
    }

    /// A statement ended, well or not.
    pub(super) fn statement_ended(&mut self) {
        self.ended.0 += 1;
    }
}

impl Session {
    /// When the clock should be looked at next; `None`: there is nothing to be watched. Called once a turn of the relay.
    pub fn deadline(&mut self) -> Option<Instant> {
        if !self.is_limited() {
            return None;
        }
        self.look_at_the_clock();
        self.first_due().map(|(at, _)| at)
    }

    fn look_at_the_clock(&mut self) {
        let phase = if !self.server.replies.is_empty() {
            Phase::Running
        } else if self.between_transactions() {
            Phase::Idle
        } else {
            Phase::InTransaction
        };
        let Some(allowance) = self.limits.allowance.as_ref() else { return };
        if phase == Phase::Idle && !allowance.is_armed() {
            self.limits.metered = None;
            return;
        }
        let metered = self.limits.metered.get_or_insert_with(|| Box::new(Metered::new(allowance)));
        if phase == Phase::Idle {
            metered.permit = None;
            let Metered { payer, view, .. } = &mut **metered;
            payer.view(view);
        }
        let clock = &mut metered.clock;
        if phase == clock.phase && clock.ended == clock.seen {
            return;
        }
        let now = Instant::now();
        if clock.ended.1 != clock.seen.1 || phase == Phase::Idle {
            clock.transaction = None;
        }
        if phase != Phase::Idle {
            clock.transaction.get_or_insert(now);
        }
        clock.phase = phase;
        clock.since = now;
        clock.seen = clock.ended;
    }

    /// A transaction ended.
    #[inline]
    pub(in crate::session::protocol) fn record_transaction_end(&mut self) {
        if let Some(metered) = self.limits.metered.as_mut() {
            metered.clock.ended.1 += 1;
        }
    }

    fn first_due(&self) -> Option<(Instant, &Bound<Duration>)> {
        let Metered { clock, view, overdue, .. } = &**self.limits.metered.as_ref()?;
        let pause = match clock.phase {
            Phase::Running => view.statement_time.as_ref().filter(|_| overdue.is_none()),
            Phase::InTransaction => view.idle_in_transaction_time.as_ref(),
            Phase::Idle => view.idle_time.as_ref(),
        };
        let due = |since: Instant, bound: &'_ Bound<Duration>| since.checked_add(bound.value);
        let pause = pause.and_then(|bound| Some((due(clock.since, bound)?, bound)));
        let transaction = clock.transaction.zip(view.transaction_time.as_ref());
        let transaction = transaction.and_then(|(since, bound)| Some((due(since, bound)?, bound)));
        pause.into_iter().chain(transaction).min_by_key(|(at, _)| *at)
    }

    /// Does what is due.
    pub fn overdue(&mut self) -> Option<Overdue> {
        self.look_at_the_clock();
        let (at, bound) = self.first_due()?;
        if at > Instant::now() {
            return None;
        }
        let bound = bound.clone();
        let error = bound.error();
        if error.severity == Severity::Fatal {
            bound.record_rejection();
            self.fail(&error);
            return Some(Overdue::Session);
        }
        // What was put before the statement in the extended protocol is answered with it at the earliest (the server holds its
        // replies back until Sync), and fails in its stead.
        let cancellable = match self.server.replies.head().map(|expected| &expected.disposition) {
            Some(Disposition::Forward | Disposition::Swallow(InternalQuery::Prepared | InternalQuery::Load(_))) => true,
            Some(Disposition::Swallow(_) | Disposition::Refused(_) | Disposition::Cut(_)) | None => false,
        };
        let metered = self.limits.metered.as_mut()?;
        if !cancellable {
            // Something of pgwarden's own, or something that fails by itself: its time is not the statement's.
            metered.clock.since = Instant::now();
            return None;
        }
        bound.record_rejection();
        metered.overdue = Some(error);
        metered.cancel = true;
        Some(Overdue::Statement)
    }

    /// Whether a cancel request should go to the server now. Says so once.
    pub fn wants_cancel(&mut self) -> bool {
        self.limits.metered.as_mut().is_some_and(|metered| std::mem::take(&mut metered.cancel))
    }
}
