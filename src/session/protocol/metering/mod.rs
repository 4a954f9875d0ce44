//! Limits on what the session sends and is sent: each statement asks for its turn, each transaction for a place, results
//! are counted, and what takes too long is found when the relay looks at the clock.
//!
//! A session without limits looks at one flag a message. The clock is read once a turn of the relay, not per message.

mod clock;
mod result;
mod turn;

use std::sync::Arc;

pub use self::clock::Overdue;

use self::clock::Clock;
use super::Session;
use crate::base::PgError;
use crate::limits::{Allowance, Permit, View};

/// What a metered session keeps; one without limits has none of it.
pub(super) struct Metered {
    view: Arc<View>,
    /// Who pays for the current statement: the session's own, or that of the tenant that it acts for.
    payer: Arc<Allowance>,
    /// Statements that were paid for at Parse, and at Bind: Parse, Bind and Execute of one are one.
    parsed: u64,
    bound: u64,
    /// The transaction's place.
    permit: Option<Permit>,
    /// Of the result that comes now.
    rows: u64,
    bytes: u64,
    /// The statement at the head was cancelled for this.
    overdue: Option<PgError>,
    /// A cancel request should go to the server.
    cancel: bool,
    /// A result was cut off whose statement did not fail: its transaction has to.
    spoil: bool,
    clock: Clock,
}

impl Metered {
    fn new(payer: &Arc<Allowance>) -> Self {
        let mut view = Arc::default();
        payer.view(&mut view);
        Self {
            view,
            payer: Arc::clone(payer),
            parsed: 0,
            bound: 0,
            permit: None,
            rows: 0,
            bytes: 0,
            overdue: None,
            cancel: false,
            spoil: false,
            clock: Clock::new(),
        }
    }

    /// Whether a message must be paid for; if not, it was paid for with an earlier one.
    fn costs(&mut self, tag: u8) -> bool {
        let credit = match tag {
            b'B' => &mut self.parsed,
            b'E' => &mut self.bound,
            _ => return true,
        };
        let costs = *credit == 0;
        *credit = credit.saturating_sub(1);
        costs
    }

    /// The message has had its turn; what that pays for besides.
    fn pay(&mut self, tag: u8) {
        match tag {
            b'P' => self.parsed += 1,
            b'B' => self.bound += 1,
            _ => {}
        }
    }
}

impl Session {
    /// Makes this a session that is held to these limits, with its place among the connections.
    #[must_use]
    pub fn limited(mut self, allowance: Arc<Allowance>, connection: Permit) -> Self {
        if allowance.is_armed() {
            self.limits.metered = Some(Box::new(Metered::new(&allowance)));
        }
        self.limits.allowance = Some(allowance);
        self.limits.connection = connection;
        self
    }

    /// Whether limits hold at this moment, which a reload may change.
    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        self.limits.allowance.as_ref().is_some_and(|allowance| allowance.is_armed()) || self.limits.metered.is_some()
    }
}
