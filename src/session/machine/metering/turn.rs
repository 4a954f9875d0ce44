//! Each statement asks for its turn, each transaction for a place.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Metered, Pending};
use crate::base::PgError;
use crate::guard::{Guarded, Protocol, StatementKind};
use crate::limits::{Allowance, Charge, Permit};
use crate::session::machine::ahead::LONG_TEXT;
use crate::session::machine::context::Hindrance;
use crate::session::machine::{Flow, Machine, Wait};
use crate::wire::backend::TransactionStatus;
use crate::wire::frame::ClientLimits;
use crate::wire::frontend::FrontendMessage;

/// What may stand around a statement's text in its message, in bytes.
const ROOM: u32 = 4 << 10;

/// The turn of a message.
enum Turn {
    Now,
    Later,
    Never(PgError),
}

impl Machine {
    /// Longest messages, the limit on statements included.
    pub(in crate::session::machine) fn message_limits(&self) -> ClientLimits {
        let bound = self.metered.as_ref().and_then(|metered| metered.view.statement_bytes.as_ref());
        let Some(bound) = bound else { return self.env.limits };
        // Room for what stands around the text: names, parameter types.
        let longest = u32::try_from(bound.value).unwrap_or(u32::MAX).saturating_add(ROOM);
        ClientLimits { statement: self.env.limits.statement.min(longest), ..self.env.limits }
    }

    /// The error of a statement that is longer than the tenant's limit, if that is what it is.
    pub(in crate::session::machine) fn statement_too_long(&self, length: usize) -> Option<PgError> {
        let bound = self.metered.as_ref()?.view.statement_bytes.as_ref()?;
        (length as u64 > bound.value).then(|| {
            bound.note_rejection();
            bound.error()
        })
    }

    /// Asks for the turn of a message that is a statement or part of one. `None`: it may be dealt with.
    pub(in crate::session::machine) fn toll(&mut self, message: &FrontendMessage<'_>) -> Option<Flow> {
        let (tag, text) = match message {
            FrontendMessage::Query(sql) => (b'Q', sql.len()),
            FrontendMessage::Parse(parse) => (b'P', parse.sql.len()),
            FrontendMessage::Bind(_) => (b'B', 0),
            FrontendMessage::Execute(_) => (b'E', 0),
            FrontendMessage::FunctionCall => (b'F', 0),
            _ => return None,
        };
        let payer = self.payer(message)?;
        let metered = self.metered.get_or_insert_with(|| Box::new(Metered::new(&payer)));
        metered.payer = payer;
        let Metered { payer, view, .. } = &mut **metered;
        payer.view(view);
        match self.turn(tag, message) {
            Turn::Now => {
                let error = self.statement_too_long(text)?;
                Some(self.turn_away(tag, error))
            }
            Turn::Later => Some(self.wait_for_turn()),
            Turn::Never(error) => Some(self.turn_away(tag, error)),
        }
    }

    /// Whose limits the message is held to.
    fn payer(&self, message: &FrontendMessage<'_>) -> Option<Arc<Allowance>> {
        let own = self.allowance.as_ref()?;
        let Some(switching) = self.switching.as_ref() else { return Some(Arc::clone(own)) };
        let sql = match message {
            FrontendMessage::Query(sql) => sql,
            FrontendMessage::Parse(parse) => parse.sql,
            _ => "",
        };
        let actor = switching.named_in(sql).unwrap_or_else(|| self.asked());
        Some(actor.map_or_else(|| Arc::clone(own), |acting| Arc::clone(&acting.allowance)))
    }

    fn turn(&mut self, tag: u8, message: &FrontendMessage<'_>) -> Turn {
        let Some(metered) = self.metered.as_mut() else { return Turn::Now };
        if let Some(turn) = metered.turn {
            if let Some(error) = self.denied.take() {
                // Cancelled while it waited.
                metered.turn = None;
                return Turn::Never(error);
            }
            if Instant::now() < turn {
                return Turn::Later;
            }
            metered.turn = None;
        }
        if metered.paid {
            return Turn::Now;
        }
        if !metered.costs(tag) {
            metered.pay(tag);
            return Turn::Now;
        }
        match metered.payer.charge() {
            Charge::Go => {
                metered.pay(tag);
                Turn::Now
            }
            Charge::Wait(time) => {
                metered.pay(tag);
                metered.turn = Some(Instant::now() + time);
                Turn::Later
            }
            Charge::Again(time) => {
                metered.turn = Some(Instant::now() + time);
                Turn::Later
            }
            Charge::Rejected(_) if self.ends_transaction(message) => {
                // Refused, it would keep the transaction and its server connection.
                if let Some(metered) = self.metered.as_mut() {
                    metered.payer.debit(1);
                    metered.pay(tag);
                }
                Turn::Now
            }
            Charge::Rejected(error) => Turn::Never(error),
        }
    }

    /// Whether the message ends a transaction that is open.
    fn ends_transaction(&self, message: &FrontendMessage<'_>) -> bool {
        if self.tx == TransactionStatus::Idle {
            return false;
        }
        let ends = |guarded: &Guarded| guarded.plans().iter().all(|plan| plan.kind == StatementKind::Transaction);
        let text_ends = |protocol, sql: &str| {
            if sql.len() >= LONG_TEXT {
                return false;
            }
            let plan = self.place.guard.plan(&self.place.mode, protocol, sql);
            plan.is_ok_and(|script| script.statements.iter().all(|plan| plan.kind == StatementKind::Transaction))
        };
        match message {
            FrontendMessage::Query(sql) => text_ends(Protocol::Simple, sql),
            FrontendMessage::Parse(parse) => text_ends(Protocol::Extended { param_types: &[] }, parse.sql),
            FrontendMessage::Bind(bind) => self.statements.get(bind.statement).is_some_and(|it| ends(&it.guarded)),
            FrontendMessage::Execute(execute) => {
                self.portals.get(execute.portal).is_some_and(|portal| ends(&portal.statement.guarded))
            }
            _ => false,
        }
    }

    /// The message waits: for what is outstanding first, so that the relay waits for nothing else then.
    fn wait_for_turn(&mut self) -> Flow {
        if self.replies.is_empty() {
            return Flow::Stop(Wait::Limit);
        }
        self.ask_for_replies();
        Flow::Stop(Wait::Replies)
    }

    fn turn_away(&mut self, tag: u8, error: PgError) -> Flow {
        match tag {
            b'Q' | b'F' => self.refuse_query(error),
            _ => self.refuse_extended(error),
        }
    }

    /// A message was dealt with: the next one pays for itself.
    #[inline]
    pub(in crate::session::machine) fn toll_paid(&mut self) {
        if let Some(metered) = self.metered.as_mut() {
            metered.paid = false;
        }
    }

    /// A Query holds further statements than the one that was paid for.
    pub(in crate::session::machine) fn surcharge(&mut self, guarded: &Guarded) {
        if let Some(metered) = self.metered.as_mut() {
            metered.payer.debit(guarded.plans().len().saturating_sub(1));
        }
    }

    /// A transaction begins: it needs a place before it gets a server connection.
    pub(in crate::session::machine) fn take_permit(&mut self) -> Result<(), Hindrance> {
        let Some(metered) = self.metered.as_mut().filter(|metered| metered.permit.is_none()) else { return Ok(()) };
        match metered.payer.try_permit() {
            Ok(Some(permit)) => {
                metered.permit = Some(permit);
                Ok(())
            }
            Ok(None) => {
                metered.wants_permit = true;
                Err(Hindrance::Wait(Wait::Limit))
            }
            Err(error) => Err(Hindrance::Denied(error)),
        }
    }

    /// What [`Wait::Limit`] is for.
    pub fn pending(&mut self) -> Option<Pending> {
        let metered = self.metered.as_mut()?;
        if std::mem::take(&mut metered.wants_permit) {
            return Some(Pending::Permit(Arc::clone(&metered.payer)));
        }
        metered.turn.map(Pending::Turn)
    }

    /// The transaction has its place.
    pub fn permitted(&mut self, permit: Permit) {
        if let Some(metered) = self.metered.as_mut() {
            metered.permit = Some(permit);
        }
    }
}
