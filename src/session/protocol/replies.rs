//! The account of replies: for each message sent upstream, what its reply is for.
//!
//! Postgres answers in order, so one queue tells what every byte from the server belongs to, however much the client
//! pipelines and whatever pgwarden sends in between. After an error in the extended protocol the server skips to the
//! next Sync, and so does the queue: [`Replies::unwind`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use super::load::LoadPart;
use super::statements::{PortalUndo, Statement, Undo};
use super::switching::Change;
use bytes::BytesMut;

use crate::base::PgError;
use crate::guard::{Guarded, Plan};
use crate::pool::StatementId;
use crate::wire::backend::TransactionStatus;

/// What becomes of a reply.
#[derive(Debug)]
pub enum Disposition {
    /// It goes to the client.
    Forward,
    /// It was pgwarden's own message: nothing of the reply goes to the client.
    Swallow(InternalQuery),
    /// The client's message was refused, and one that must fail went out in its place: the failure is reported as this.
    Refused(Box<PgError>),
    /// The result was cut off, as the client is told at its end. It may end well for the server.
    Cut(Box<PgError>),
}

/// Why pgwarden sent a message of its own.
#[derive(Debug)]
pub enum InternalQuery {
    /// Settings of the client were applied; they hold once the reply has come.
    Context(Vec<(String, Option<String>)>),
    /// The outcome of settings that the client's transaction touched is asked for.
    Outcome(Vec<SettingRow>),
    /// How many advisory locks the session holds is asked for.
    Locks(Option<u32>),
    /// The question how many temporary relations there are, and the answer.
    Temporary(Option<u32>),
    /// Which marks of LISTEN and UNLISTEN are there is asked for, and they are removed.
    Channels(Vec<String>),
    /// Rows of a COPY that the server does not take as one.
    Load(LoadPart),
    /// A prepared statement that this server lacks, or one more than it may hold.
    Prepared,
    /// A transaction that the client was told of before it began.
    Begin,
    /// A statement that must fail: what the client was told has failed its transaction.
    Fail,
    /// What ends a batch that is gone through again.
    BatchReplay,
    /// What ends the part of a batch that stands before and with DISCARD ALL.
    Split,
    /// A transaction block fails whose last result was cut off. ReadyForQuery goes to the client.
    Spoil,
}

/// A row of the outcome query.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingRow {
    /// Lower-case name, as it was asked for.
    pub name: String,
    /// The value, if the setting exists.
    pub value: Option<String>,
    /// Nobody has set it in the session, or it was RESET.
    pub is_default: bool,
}

/// What runs: needed for COPY, errors and effects.
#[derive(Debug)]
pub enum Subject {
    /// The statements of a Query.
    Script(Box<Guarded>),
    /// A prepared statement.
    Statement(Arc<Statement>),
    /// Nothing of the client's.
    None,
}

impl Subject {
    /// The guarded statements, if it is the client's.
    pub fn guarded(&self) -> Option<&Guarded> {
        match self {
            Subject::Script(guarded) => Some(guarded),
            Subject::Statement(statement) => Some(&statement.guarded),
            Subject::None => None,
        }
    }
}

/// A run of a Query or Execute.
#[derive(Debug)]
pub struct Run {
    /// What runs.
    pub subject: Subject,
    /// Command tag that an empty statement is answered with: the statement was carried out by pgwarden.
    pub tag: Option<&'static str>,
    /// The same by statement, where several were sent and something stands in for some of them; else empty.
    pub tags: Box<[Option<&'static str>]>,
    /// Index of the statement that runs now (a Query may have several).
    pub statement: usize,
    /// The COPY stream that it reads has ended.
    pub streamed: bool,
    /// An ErrorResponse came.
    pub failed: bool,
    /// What each statement does to the tenant context; empty: nothing.
    pub changes: Vec<Change>,
    /// It goes on where an earlier Execute of the portal stopped.
    pub resumes: bool,
    /// The client's unnamed statement, which a Query drops.
    pub unnamed: Option<Arc<Statement>>,
}

impl Run {
    /// A run from its first statement.
    pub fn new(subject: Subject) -> Self {
        Self {
            subject,
            tag: None,
            tags: Box::default(),
            statement: 0,
            streamed: false,
            failed: false,
            changes: Vec::new(),
            resumes: false,
            unnamed: None,
        }
    }

    /// Command tag of the statement that runs now, if pgwarden carries it out.
    pub fn tag_now(&self) -> Option<&'static str> {
        self.tag.or_else(|| self.tags.get(self.statement).copied().flatten())
    }

    /// The plan of the statement that runs now.
    pub fn plan(&self) -> Option<&Arc<Plan>> {
        self.subject.guarded()?.plans().get(self.statement)
    }
}

/// The message that the reply belongs to.
#[derive(Debug)]
pub enum Kind {
    /// Query: all up to ReadyForQuery.
    Query(Run),
    /// Parse: ParseComplete.
    Parse {
        /// The statement, if it is the client's.
        subject: Subject,
        /// How to take the client's name back if it fails.
        undo: Option<Undo>,
        /// The server-side statement that does not exist if it fails.
        server: Option<StatementId>,
    },
    /// Bind: BindComplete.
    Bind {
        /// What is bound.
        statement: Arc<Statement>,
        /// The portals as they were before.
        undo: PortalUndo,
    },
    /// Bind of a statement of pgwarden's own.
    OwnBind,
    /// Describe of a statement: ParameterDescription, then RowDescription or NoData.
    DescribeStatement(Arc<Statement>),
    /// Describe of a portal, and what it runs, where the session is observed: RowDescription or NoData.
    DescribePortal(Option<Arc<Statement>>),
    /// Execute: up to CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute(Run),
    /// Close: CloseComplete.
    Close(Closes),
    /// Sync: ReadyForQuery.
    Sync,
    /// No message at all: all rows of a load were sent, and what stands before says whether the server took them.
    Loaded,
    /// No message at all: bytes of ours that follow on what stands before.
    Local {
        /// The bytes.
        bytes: BytesMut,
        /// What was done for the client, which had not been if the server skips what stands before.
        undo: Option<Undo>,
    },
}

/// What a Close is about.
#[derive(Debug)]
pub enum Closes {
    /// The client's portal.
    Portal(PortalUndo),
    /// A shared statement, for another one to take its place.
    Evicted(StatementId),
    /// A statement of SQL's PREPARE.
    BySql(Arc<Statement>),
    /// Something that need not exist.
    Own,
}

/// One expected reply.
#[derive(Debug)]
pub struct Expected {
    /// Whose it is.
    pub kind: Kind,
    /// What becomes of it.
    pub disposition: Disposition,
    /// How many messages had been sent with the one that it answers.
    number: u64,
}

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
