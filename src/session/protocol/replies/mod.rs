//! The account of replies: for each message sent upstream, what its reply is for.
//!
//! Postgres answers in order, so one queue tells what every byte from the server belongs to, however much the client
//! pipelines and whatever pgwarden sends in between. After an error in the extended protocol the server skips to the
//! next Sync, and so does the queue: [`Replies::unwind`].

mod expected;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

pub use self::expected::{Closes, Disposition, Expected, InternalQuery, Kind, Run, SettingRow, Subject};
use super::load::LoadPart;
use super::statements::Statement;
use crate::guard::Guarded;
use crate::wire::backend::TransactionStatus;

/// All expected replies, oldest first.
#[derive(Debug)]
pub struct Replies {
    queue: VecDeque<Expected>,
    /// One that was pushed since the queue was last empty is about a COPY FROM STDIN.
    streams: bool,
    /// One that was pushed since then changed a name of the client's.
    names: bool,
    /// Messages sent that the server answers or, after an error, skips.
    sent: u64,
    /// How many of them had been sent with the Query or Sync that the last ReadyForQuery answered.
    settled: u64,
    /// The status that it told.
    status: TransactionStatus,
}

impl Default for Replies {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            streams: false,
            names: false,
            sent: 0,
            settled: 0,
            status: TransactionStatus::Idle,
        }
    }
}

/// Replies that a batch of extended messages usually has: the queue grows once.
const BATCH: usize = 8;
/// A longer queue is not kept for others.
const KEPT: usize = 4 * BATCH;

thread_local! {
    /// Of the last session on this thread that had nothing outstanding: idle ones hold none, and busy ones need not ask the allocator
    /// for each statement.
    static SPARE: RefCell<VecDeque<Expected>> = const { RefCell::new(VecDeque::new()) };
}

impl Replies {
    /// Expects a reply that goes to the client.
    pub fn forward(&mut self, kind: Kind) {
        self.push(kind, Disposition::Forward);
    }

    /// Expects a reply.
    pub fn push(&mut self, kind: Kind, disposition: Disposition) {
        if self.queue.is_empty() {
            (self.streams, self.names) = (false, false);
            if self.queue.capacity() == 0 {
                self.queue = SPARE.take();
                self.queue.reserve(BATCH);
            }
        }
        self.streams |= match (&kind, &disposition) {
            (_, Disposition::Swallow(InternalQuery::Load(_))) => true,
            (Kind::Query(run) | Kind::Execute(run), _) => copies_in(run),
            _ => false,
        };
        self.names |= match &kind {
            Kind::Local { undo, .. } => undo.is_some(),
            Kind::Parse { undo, .. } => undo.as_ref().is_some_and(|undo| !undo.name().is_empty()),
            _ => false,
        };
        // The others are no messages.
        self.sent += u64::from(!matches!(kind, Kind::Local { .. } | Kind::Loaded));
        self.queue.push_back(Expected { kind, disposition, number: self.sent });
    }

    /// The session has another server connection, which is at rest.
    pub fn start(&mut self) {
        (self.settled, self.status) = (self.sent, TransactionStatus::Idle);
    }

    /// ReadyForQuery has come: what it answers.
    pub fn ready(&mut self, status: TransactionStatus) -> Option<Expected> {
        let expected = self.pop()?;
        (self.settled, self.status) = (expected.number, status);
        Some(expected)
    }

    /// Whether the last ReadyForQuery answers the last message that was sent, and says that no transaction is open. What
    /// the server skips is never answered: then it is not so before another Sync has been sent and answered.
    pub fn settled(&self) -> bool {
        self.queue.is_empty() && self.settled == self.sent && self.status == TransactionStatus::Idle
    }

    /// The reply that comes next.
    pub fn head(&mut self) -> Option<&mut Expected> {
        self.queue.front_mut()
    }

    /// Takes the head off: its reply is complete.
    pub fn pop(&mut self) -> Option<Expected> {
        self.queue.pop_front()
    }

    /// Nothing is outstanding.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Gives back memory if nothing is outstanding.
    pub fn shrink(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > 0 {
            let queue = std::mem::take(&mut self.queue);
            if queue.capacity() <= KEPT {
                SPARE.set(queue);
            }
        }
    }

    /// What stands behind the last Sync is skipped if something of it fails, so that it may be too what comes next.
    pub fn may_be_skipped(&self) -> bool {
        self.queue
            .iter()
            .rev()
            .take_while(|e| !matches!(e.kind, Kind::Sync))
            .any(|e| !matches!(e.kind, Kind::Query(_) | Kind::Local { .. } | Kind::Loaded))
    }

    /// What a name stands for hangs on how a batch ends that is outstanding, and the next message is not part of. With
    /// `sent`, that of a Parse at the server counts too.
    pub fn is_name_open(&self, name: &str, sent: bool) -> bool {
        let of = |kind: &Kind| match kind {
            Kind::Local { undo: Some(undo), .. } => undo.name() == name,
            // Under a name of its own it is the server that says what has become of it.
            Kind::Parse { undo: Some(undo), server, .. } => {
                (sent || !name.is_empty() && server.is_none()) && undo.name() == name
            }
            _ => false,
        };
        self.names && self.hangs_on_a_sync(of)
    }

    /// A batch is outstanding that prepares something under a name on the server, and the next message is not part of: whether the
    /// server has it hangs on how that ends.
    pub fn may_have_failed_to_prepare(&self) -> bool {
        self.hangs_on_a_sync(|kind| matches!(kind, Kind::Parse { server: Some(_), .. }))
    }

    /// The same of the client's statement of this name.
    pub fn may_have_failed_to_parse(&self, name: &str) -> bool {
        self.hangs_on_a_sync(|kind| matches!(kind, Kind::Parse { undo: Some(undo), .. } if undo.name() == name))
    }

    fn hangs_on_a_sync(&self, of: impl Fn(&Kind) -> bool) -> bool {
        self.queue.iter().skip_while(|e| !of(&e.kind)).any(|e| matches!(e.kind, Kind::Sync))
    }

    /// Nothing is outstanding beyond the batch at the head, its Sync included.
    pub fn is_one_batch(&self) -> bool {
        let sync = self.queue.iter().position(|e| matches!(e.kind, Kind::Sync));
        sync.is_none_or(|at| at + 1 == self.queue.len())
    }

    /// How many are outstanding.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Nothing of the client's is outstanding.
    pub fn only_internal(&self) -> bool {
        self.queue
            .iter()
            .all(|e| matches!(e.disposition, Disposition::Swallow(_)) || matches!(e.kind, Kind::Local { .. }))
    }

    /// A COPY FROM STDIN is outstanding or runs: its stream follows.
    pub fn awaits_copy(&self) -> bool {
        self.streams
            && self.queue.iter().any(|e| match &e.kind {
                Kind::Query(run) | Kind::Execute(run) => copies_in(run),
                _ => false,
            })
    }

    /// A message is outstanding that is answered with ReadyForQuery.
    pub fn owe_ready_for_query(&self) -> bool {
        self.queue.iter().any(|e| matches!(e.kind, Kind::Query(_) | Kind::Sync))
    }

    /// A statement is outstanding that begins or ends a transaction, or a part of one.
    pub fn may_end_transaction(&self) -> bool {
        use crate::guard::StatementKind::Transaction;
        self.queue.iter().any(|e| match &e.kind {
            Kind::Query(run) | Kind::Execute(run) => {
                run.subject.guarded().is_some_and(|it| it.plans().iter().any(|plan| plan.kind == Transaction))
            }
            _ => false,
        })
    }

    /// A load has been announced to the server, and may begin.
    pub fn awaits_load(&self) -> bool {
        self.streams
            && self
                .queue
                .iter()
                .any(|e| matches!(e.disposition, Disposition::Swallow(InternalQuery::Load(LoadPart::Begin(_)))))
    }

    /// The extended protocol failed at the head: everything up to the next Sync is skipped by the server, Queries too, and
    /// taken out here, the newest first; the last one is the one that failed. Returns whether there is such a Sync.
    pub fn unwind(&mut self, mut undo: impl FnMut(Kind, bool)) -> bool {
        let sync = self.queue.iter().position(|e| matches!(e.kind, Kind::Sync));
        let rest = match sync {
            Some(at) => self.queue.split_off(at),
            None => VecDeque::new(),
        };
        let skipped = std::mem::replace(&mut self.queue, rest);
        for (backend, expected) in skipped.into_iter().enumerate().rev() {
            undo(expected.kind, backend == 0);
        }
        sync.is_some()
    }

    /// A Parse of the unnamed statement was undone: a Query behind it that is undone as well has dropped what was there before.
    pub fn unnamed_was(&mut self, parse: u64, before: &Option<Arc<Statement>>) {
        for expected in &mut self.queue {
            if let Kind::Query(run) = &mut expected.kind
                && run.unnamed.as_ref().is_some_and(|it| it.parse == parse)
            {
                run.unnamed.clone_from(before);
            }
        }
    }

    /// The reply at the head, which was taken off, failed in the client's eyes but not in the server's: what stands behind it
    /// up to the next Sync is swallowed, if it is nothing that the client would miss or that does anything; within a
    /// transaction block (`in_block`) nothing may stand behind the Sync either. Returns whether there is a Sync; `None` if the
    /// client cannot be told the truth.
    pub fn skip_harmless(&mut self, in_block: bool) -> Option<bool> {
        let sync = self.queue.iter().position(|e| matches!(e.kind, Kind::Sync));
        let end = sync.unwrap_or(self.queue.len());
        let harmless = |e: &Expected| {
            matches!(e.kind, Kind::Close(_) | Kind::DescribePortal(_) | Kind::DescribeStatement(_) | Kind::Local { .. })
                || matches!(e.disposition, Disposition::Swallow(InternalQuery::Prepared))
        };
        let rest = self.queue.len() - end;
        if !self.queue.iter().take(end).all(harmless) || (in_block && rest > 1) {
            return None;
        }
        for expected in self.queue.iter_mut().take(end) {
            match &mut expected.kind {
                Kind::Local { bytes, .. } => bytes.clear(),
                _ => expected.disposition = Disposition::Swallow(InternalQuery::Prepared),
            }
        }
        Some(sync.is_some())
    }
}

fn copies_in(run: &Run) -> bool {
    use crate::guard::StatementKind::CopyIn;
    let plans = run.subject.guarded().map_or(&[][..], Guarded::plans);
    plans.iter().skip(run.statement + usize::from(run.streamed)).any(|plan| plan.kind == CopyIn)
}
