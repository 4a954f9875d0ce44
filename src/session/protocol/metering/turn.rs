//! Each statement asks for its turn, each transaction for a place.

use std::sync::Arc;

use tokio::time::Instant;

use super::Metered;
use crate::base::PgError;
use crate::guard::{Guarded, Protocol, StatementKind};
use crate::limits::{Allowance, Charge, Permit};
use crate::session::protocol::current_message::Turn;
use crate::session::protocol::not_ready::NotReady;
use crate::session::protocol::offload::LONG_TEXT;
use crate::session::protocol::{Session, Wait};
use crate::wire::backend::TransactionStatus;
use crate::wire::frame::ClientLimits;
use crate::wire::frontend::FrontendMessage;

/// What may stand around a statement's text in its message, in bytes.
const ROOM: u32 = 4 << 10;

impl Session {
    /// Longest messages, the limit on statements included.
    pub(in crate::session::protocol) fn message_limits(&self) -> ClientLimits {
        let bound = self.limits.metered.as_ref().and_then(|metered| metered.view.statement_bytes.as_ref());
        let Some(bound) = bound else { return self.env.limits };
        // Room for what stands around the text: names, parameter types.
        let longest = u32::try_from(bound.value).unwrap_or(u32::MAX).saturating_add(ROOM);
        ClientLimits { statement: self.env.limits.statement.min(longest), ..self.env.limits }
    }

    /// The error of a statement that is longer than the tenant's limit, if that is what it is.
    pub(in crate::session::protocol) fn statement_too_long(&self, length: usize) -> Option<PgError> {
        let bound = self.limits.metered.as_ref()?.view.statement_bytes.as_ref()?;
        (length as u64 > bound.value).then(|| {
            bound.record_rejection();
            bound.error()
        })
    }

    /// Asks for the turn of a message that is a statement or part of one.
    pub(in crate::session::protocol) fn take_turn(
        &mut self,
        tag: u8,
        message: &FrontendMessage<'_>,
    ) -> Result<(), NotReady> {
        let text = match message {
            FrontendMessage::Query(sql) => sql.len(),
            FrontendMessage::Parse(parse) => parse.sql.len(),
            FrontendMessage::Bind(_) | FrontendMessage::Execute(_) | FrontendMessage::FunctionCall(_) => 0,
            _ => return Ok(()),
        };
        let Some(payer) = self.payer(message) else { return Ok(()) };
        let metered = self.limits.metered.get_or_insert_with(|| Box::new(Metered::new(&payer)));
        metered.payer = payer;
        let Metered { payer, view, .. } = &mut **metered;
        payer.view(view);
        self.charge(tag, message)?;
        self.statement_too_long(text).map_or(Ok(()), |error| Err(error.into()))
    }

    /// Whose limits the message is held to.
    fn payer(&self, message: &FrontendMessage<'_>) -> Option<Arc<Allowance>> {
        let own = self.limits.allowance.as_ref()?;
        let Some(switching) = self.context.switching.as_ref() else { return Some(Arc::clone(own)) };
        let sql = match message {
            FrontendMessage::Query(sql) => sql,
            FrontendMessage::Parse(parse) => parse.sql,
            _ => "",
        };
        let actor = switching.named_in(sql).unwrap_or_else(|| self.asked());
        Some(actor.map_or_else(|| Arc::clone(own), |acting| Arc::clone(&acting.allowance)))
    }

    /// Charges the message, unless it was charged, and has it wait for its turn.
    fn charge(&mut self, tag: u8, message: &FrontendMessage<'_>) -> Result<(), NotReady> {
        let Some(metered) = self.limits.metered.as_mut() else { return Ok(()) };
        match self.current.turn {
            Turn::Come => return Ok(()),
            Turn::At(at) | Turn::AskAt(at) if Instant::now() < at => return Err(self.wait_for_turn(at)),
            Turn::At(_) => {
                self.current.turn = Turn::Come;
                return Ok(());
            }
            Turn::NotAsked | Turn::AskAt(_) => {}
        }
        self.current.turn = Turn::Come;
        if !metered.costs(tag) {
            metered.pay(tag);
            return Ok(());
        }
        match metered.payer.charge() {
            Charge::Go => {
                metered.pay(tag);
                Ok(())
            }
            Charge::Wait(time) => {
                metered.pay(tag);
                let at = Instant::now() + time;
                self.current.turn = Turn::At(at);
                Err(self.wait_for_turn(at))
            }
            Charge::Again(time) => {
                let at = Instant::now() + time;
                self.current.turn = Turn::AskAt(at);
                Err(self.wait_for_turn(at))
            }
            Charge::Rejected(_) if self.ends_transaction(message) => {
                // Refused, it would keep the transaction and its server connection.
                if let Some(metered) = self.limits.metered.as_mut() {
                    metered.payer.debit(1);
                    metered.pay(tag);
                }
                Ok(())
            }
            Charge::Rejected(error) => Err(error.into()),
        }
    }

    /// Whether the message ends a transaction that is open.
    fn ends_transaction(&self, message: &FrontendMessage<'_>) -> bool {
        if self.server.tx == TransactionStatus::Idle {
            return false;
        }
        let ends = |guarded: &Guarded| guarded.plans().iter().all(|plan| plan.kind == StatementKind::Transaction);
        let text_ends = |protocol, sql: &str| {
            if sql.len() >= LONG_TEXT {
                return false;
            }
            let plan = self.context.backend.guard.plan(&self.context.backend.mode, protocol, sql);
            plan.is_ok_and(|script| script.statements.iter().all(|plan| plan.kind == StatementKind::Transaction))
        };
        match message {
            FrontendMessage::Query(sql) => text_ends(Protocol::Simple, sql),
            FrontendMessage::Parse(parse) => text_ends(Protocol::Extended { param_types: &[] }, parse.sql),
            FrontendMessage::Bind(bind) => {
                self.prepared.statements.get(bind.statement).is_some_and(|it| ends(&it.guarded))
            }
            FrontendMessage::Execute(execute) => {
                self.prepared.portals.get(execute.portal).is_some_and(|portal| ends(&portal.statement.guarded))
            }
            _ => false,
        }
    }

    /// The message waits: for what is outstanding first, so that the relay waits for nothing else then.
    fn wait_for_turn(&mut self, at: Instant) -> NotReady {
        if self.server.replies.is_empty() {
            return Wait::Turn(at).into();
        }
        self.server.ask_for_replies();
        Wait::Replies.into()
    }

    /// A Query holds further statements than the one that was paid for.
    pub(in crate::session::protocol) fn surcharge(&mut self, guarded: &Guarded) {
        if let Some(metered) = self.limits.metered.as_mut() {
            metered.payer.debit(guarded.plans().len().saturating_sub(1));
        }
    }

    /// A transaction begins: it needs a place before it gets a server connection.
    pub(in crate::session::protocol) fn take_permit(&mut self) -> Result<(), NotReady> {
        let Some(metered) = self.limits.metered.as_mut().filter(|metered| metered.permit.is_none()) else {
            return Ok(());
        };
        match metered.payer.try_permit() {
            Ok(Some(permit)) => {
                metered.permit = Some(permit);
                Ok(())
            }
            Ok(None) => Err(Wait::Permit(Arc::clone(&metered.payer)).into()),
            Err(error) => Err(NotReady::Refuse(error)),
        }
    }

    /// The transaction has its place.
    pub fn permitted(&mut self, permit: Permit) {
        if let Some(metered) = self.limits.metered.as_mut() {
            metered.permit = Some(permit);
        }
    }
}
