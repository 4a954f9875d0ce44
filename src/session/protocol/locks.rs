//! Advisory locks of the client: how many it may hold, and when it holds none any more.
//!
//! The table of locks is of a fixed size, and all sessions of the server share it. A session counts what it may hold at most;
//! what it holds of the session's own it asks the server for once some may have been given back, and its server connection
//! goes back to the pool when that is nothing.

use super::not_ready::NotReady;
use super::replies::{Disposition, InternalQuery, Kind, Run, Subject};
use super::server_bytes::Broken;
use super::{Pin, Session};
use crate::base::{PgError, SqlState};
use crate::guard::{Effect, Guarded, PinReason, Plan};
use crate::wire::encode::frontend;

/// The most that one session may hold. By default a server has room for 6,400 in all.
const MAX_LOCKS: u32 = 256;

const QUESTION: &str = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks AS l \
                        WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' \
                        AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()";

/// Locks of one client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Locks {
    /// At most so many are held beyond the transaction.
    held: u32,
    /// At most so many go with the transaction.
    passing: u32,
    /// Some of the session's own are held, or were.
    of_session: bool,
    /// What is held may be less.
    in_doubt: bool,
}

impl Session {
    /// Before a text is sent that takes locks.
    pub(super) fn settle_locks(&mut self, guarded: &Guarded) -> Result<(), NotReady> {
        let wanted: u32 = guarded.plans().iter().map(|plan| taken_by(plan)).sum();
        let Locks { held, passing, .. } = self.context.locks;
        if wanted == 0 || held + passing + wanted <= MAX_LOCKS || !self.context.backend.mode.is_shared() {
            return Ok(());
        }
        // What is under way may tell of fewer.
        self.server.settle()?;
        let message = format!("a session may hold {MAX_LOCKS} advisory locks at one time");
        Err(PgError::error(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
            .hint("Give some back: end the transaction, or SELECT pg_advisory_unlock_all().")
            .into())
    }

    /// Notes that a text was sent which takes locks or gives some back.
    pub(super) fn record_locks(&mut self, guarded: &Guarded) {
        let locks = &mut self.context.locks;
        for plan in guarded.plans() {
            let of_session = plan.effects.contains(&Effect::Pin(PinReason::AdvisoryLock));
            *if of_session { &mut locks.held } else { &mut locks.passing } += taken_by(plan);
            locks.of_session |= of_session;
            // One that was not to be had is not held.
            locks.in_doubt |= of_session || plan.effects.contains(&Effect::Unlocks);
        }
    }

    /// What the client held is gone: DISCARD ALL.
    pub(super) fn forget_locks(&mut self) {
        self.context.locks = Locks::default();
    }

    /// How the server connection stays with the client for its locks.
    pub(super) fn pin_of_locks(&self) -> Option<Pin> {
        self.context.locks.of_session.then_some(Pin::Statement(PinReason::AdvisoryLock))
    }

    /// A transaction has ended, and locks of the session's own may have been given back: how many are there?
    pub(super) fn ask_for_locks(&mut self) {
        let locks = &mut self.context.locks;
        locks.passing = 0;
        if !locks.of_session {
            locks.in_doubt = false;
            return;
        }
        if !std::mem::take(&mut locks.in_doubt) || self.server.link.is_none() {
            return;
        }
        if frontend::query(&mut self.server.out, QUESTION).is_ok() {
            self.server.forget_unnamed();
            let internal = InternalQuery::Locks(None);
            self.server.replies.push(Kind::Query(Run::new(Subject::None)), Disposition::Swallow(internal));
        }
    }

    /// A row of the answer.
    pub(super) fn on_locks_row(held: &mut Option<u32>, values: &[Option<&[u8]>]) -> Result<(), Broken> {
        let count = values.first().copied().flatten().and_then(|text| std::str::from_utf8(text).ok());
        *held = Some(count.and_then(|text| text.parse().ok()).ok_or_else(|| Broken::unexpected(b'D'))?);
        Ok(())
    }

    /// The answer is whole. Without one, all is as it was.
    pub(super) fn locks_known(&mut self, held: Option<u32>) {
        let Some(held) = held else { return };
        self.context.locks.held = held;
        // A statement behind the question may have taken one meanwhile.
        if held > 0 || self.context.locks.in_doubt {
            return;
        }
        self.forget_locks();
        if self.server.pin == Pin::Statement(PinReason::AdvisoryLock) {
            self.server.pin = Pin::by(self.context.backend.pool_mode);
        }
    }
}

fn taken_by(plan: &Plan) -> u32 {
    let taken = plan.effects.iter().map(|effect| match effect {
        Effect::Locks(count) => u32::from(*count),
        _ => 0,
    });
    taken.sum()
}
