//! What drops prepared statements: DEALLOCATE and DISCARD ALL.
//!
//! A client's named statements are shared ones on the server, so those that it drops are dropped here: on a connection that
//! does not stay with the client nothing of its own is left to drop there. What does reach the server is followed statement
//! by statement, since it is not undone with its transaction; and nothing is sent behind it before its reply has come.

use std::sync::Arc;

use bytes::BytesMut;

use super::not_ready::NotReady;
use super::replies::{Disposition, InternalQuery, Kind};
use super::statements::Statement;
use super::{Batch, Hold, Pin, Session};
use crate::guard::{Deallocate, Effect, Guarded, Plan};
use crate::pool::SequenceMemory;
use crate::wire::backend::TransactionStatus;
use crate::wire::encode::frontend;
use crate::wire::error::WireError;

/// Stands in for a statement among others that is carried out here: it changes nothing, is answered like it, and fails where
/// it would.
const NOTHING: &str = "SET escape_string_warning FROM CURRENT";

/// Writes a Query; `tag` and `tags` are those of what is carried out here.
/// `instead` gives what else stands in for a statement.
pub(super) fn write_query(
    out: &mut BytesMut,
    guarded: &Guarded,
    tag: Option<&str>,
    tags: &[Option<&str>],
    instead: impl Fn(usize) -> Option<&'static str>,
) -> Result<(), WireError> {
    if tag.is_some() {
        return frontend::query(out, "");
    }
    let instead = |i: usize| tags.get(i).copied().flatten().map(|_| NOTHING).or_else(|| instead(i));
    frontend::query_of(out, |put| guarded.pieces(&mut |piece| put(piece), instead))
}

impl Session {
    /// Which names there are to drop depends on what is outstanding: that must come first.
    pub(super) fn settle_names(&mut self, guarded: &Guarded) -> Result<(), NotReady> {
        if !drops_names(guarded) {
            return Ok(());
        }
        self.server.settle()
    }

    /// What a name stands for must be known; `sent` as for [`Replies::is_name_open`](super::replies::Replies::is_name_open).
    pub(super) fn settle_name(&mut self, name: &str, sent: bool) -> Result<(), NotReady> {
        if self.server.replies.is_name_open(name, sent) { self.server.settle() } else { Ok(()) }
    }

    /// The same for a Query, in whose place DISCARD ALL depends on the transaction too.
    pub(super) fn settle_query(&mut self, guarded: &Guarded) -> Result<(), NotReady> {
        if !drops(guarded) {
            return Ok(());
        }
        self.server.settle()
    }

    /// What drops prepared statements or makes one was sent: nothing follows before its reply.
    pub(super) fn wait_for_names(&mut self, guarded: &Guarded) {
        let gives =
            guarded.plans().iter().flat_map(|plan| &plan.effects).any(|effect| matches!(effect, Effect::Prepare(_)));
        // What follows DISCARD ALL in a batch waits anyway, and what comes behind its Sync too.
        if (gives || drops(guarded)) && !self.server.discarding {
            self.server.hold = Hold::Drain;
        }
    }

    /// The command tag of a text that is carried out here. The server gets an empty statement, so that the order of replies
    /// stays its own.
    pub(super) fn deallocation(&self, guarded: &Guarded) -> Option<&'static str> {
        let [plan] = guarded.plans() else { return None };
        if self.server.tx == TransactionStatus::Failed {
            None
        } else {
            self.deallocation_of(plan, self.server.pin != Pin::No)
        }
    }

    /// The same for the statements of a text of several; empty if there is none.
    pub(super) fn deallocations(&self, guarded: &Guarded) -> Box<[Option<&'static str>]> {
        if guarded.plans().len() < 2 || !drops(guarded) {
            return Box::default();
        }
        let pins = |plan: &Arc<Plan>| plan.effects.iter().any(|effect| matches!(effect, Effect::Pin(_)));
        let stays = self.server.pin != Pin::No || guarded.plans().iter().any(pins);
        guarded.plans().iter().map(|plan| self.deallocation_of(plan, stays)).collect()
    }

    /// `stays`: the connection is the client's, and may hold what it has prepared in SQL.
    fn deallocation_of(&self, plan: &Plan, stays: bool) -> Option<&'static str> {
        plan.effects.iter().find_map(|effect| match effect {
            Effect::Deallocate(Deallocate::All) if !stays => Some("DEALLOCATE ALL"),
            Effect::Deallocate(Deallocate::Name(name)) if self.prepared.statements.get(name).is_some() => {
                Some("DEALLOCATE")
            }
            _ => None,
        })
    }

    /// DISCARD ALL where nothing of the client's is on the server but settings, which are followed: the next client would
    /// miss the shared statements. Within a transaction it is the server's to refuse.
    pub(super) fn discard_here(&self, guarded: &Guarded) -> Option<&'static str> {
        let [plan] = guarded.plans() else { return None };
        let free = self.server.pin == Pin::No
            && !self.is_operator()
            && self.server.tx == TransactionStatus::Idle
            && self.server.batch == Batch::Closed;
        (free && plan.effects.contains(&Effect::DiscardAll)).then_some("DISCARD ALL")
    }

    /// DISCARD ALL went out in the open batch. Settings cannot be applied within one, and those of the server itself may be
    /// another tenant's. But DISCARD ALL stands alone in its transaction, and has committed: what follows it is as well a batch
    /// of its own.
    pub(super) fn split_batch(&mut self) -> Result<(), NotReady> {
        self.server.settle()?;
        frontend::sync(&mut self.server.out);
        self.server.sent_sync();
        self.server.replies.push(Kind::Sync, Disposition::Swallow(InternalQuery::Split));
        self.server.settle()
    }

    /// A prepared statement that drops others, as things stand now.
    pub(super) fn dropping_now(&mut self, statement: Arc<Statement>) -> Result<Arc<Statement>, NotReady> {
        self.settle_names(&statement.guarded)?;
        let tag = self.deallocation(&statement.guarded);
        if tag == statement.tag {
            return Ok(statement);
        }
        let mut now = Statement { tag, ..Statement::clone(&statement) };
        self.name_on_server(&mut now);
        Ok(self.prepared.statements.supersede(&statement, now))
    }

    /// A statement has ended well: what it dropped is gone, whatever becomes of its transaction.
    pub(super) fn record_dropped(&mut self) {
        let Some(expected) = self.server.replies.head() else { return };
        let (Kind::Query(run) | Kind::Execute(run)) = &expected.kind else { return };
        let Some(plan) = run.plan().filter(|plan| plan.drops_statements()).cloned() else { return };
        let here = run.tag_now().is_some();
        for effect in &plan.effects {
            if let Effect::Deallocate(what) = effect {
                self.deallocated(what, here);
            } else if *effect == Effect::DiscardAll {
                self.discarded(here);
            }
        }
    }

    fn deallocated(&mut self, what: &Deallocate, here: bool) {
        match what {
            Deallocate::Name(name) if here => drop(self.prepared.statements.remove(name)),
            Deallocate::Name(name) => drop(self.prepared.by_sql.remove(&**name)),
            Deallocate::All => {
                self.prepared.statements.clear_named();
                self.prepared.by_sql.clear();
                self.prepared.decided = None;
                if let Some(link) = self.server.link.as_mut().filter(|_| !here) {
                    link.known.prepared.clear();
                }
            }
        }
    }

    fn discarded(&mut self, here: bool) {
        self.prepared.decided = None;
        self.prepared.statements.clear_named();
        self.prepared.by_sql.clear();
        self.context.settings.discard();
        self.forget_sequences();
        self.forget_locks();
        self.forget_temporary();
        self.forget_channels();
        self.untie();
        self.server.pin = Pin::by(self.context.backend.pool_mode);
        if let Some(link) = self.server.link.as_mut().filter(|_| !here) {
            link.known.prepared.clear();
            link.known.applied.clear();
            link.known.sequences = SequenceMemory::Empty;
            link.known.needs_reset = false;
        }
    }
}

/// Whether it names prepared statements to be dropped.
pub(super) fn drops_names(guarded: &Guarded) -> bool {
    let mut effects = guarded.plans().iter().flat_map(|plan| &plan.effects);
    effects.any(|effect| matches!(effect, Effect::Deallocate(_)))
}

fn drops(guarded: &Guarded) -> bool {
    guarded.plans().iter().any(|plan| plan.drops_statements())
}
