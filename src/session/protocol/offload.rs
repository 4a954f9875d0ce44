//! Long texts are planned beside the worker: while the megabytes of one client are read, the worker's others go on.
//!
//! The message stays where it is ([`Wait::Read`](super::Wait::Read)) and is gone on with once its texts have been read.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Backend, Session};
use crate::base::{Oid, Refusal};
use crate::guard::{Names, Policy, Protocol, Script};

/// Bytes of a text. Shorter ones are planned where they come in, within a few milliseconds.
pub(super) const LONG_TEXT: usize = 8 << 10;

/// Bytes of a text. Longer ones may take seconds: those of a few milliseconds do not stand in line behind them.
const HUGE_TEXT: usize = 128 << 10;

/// Which plans are asked for: such as texts of one shape share, or a text's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    ByShape,
    Whole,
}

/// A text to be planned.
struct Question {
    backend: Arc<Backend>,
    param_types: Option<Box<[Oid]>>,
    sharing: Sharing,
    names: Names,
    sql: Box<str>,
}

impl Question {
    fn new(backend: &Arc<Backend>, names: Names, protocol: Protocol<'_>, sharing: Sharing, sql: &str) -> Self {
        let param_types = match protocol {
            Protocol::Simple => None,
            Protocol::Extended { param_types } => Some(param_types.into()),
        };
        Self { backend: Arc::clone(backend), param_types, sharing, names, sql: sql.into() }
    }

    fn protocol(&self) -> Protocol<'_> {
        self.param_types.as_deref().map_or(Protocol::Simple, |param_types| Protocol::Extended { param_types })
    }

    fn is(&self, backend: &Arc<Backend>, names: Names, protocol: Protocol<'_>, sharing: Sharing, sql: &str) -> bool {
        Arc::ptr_eq(&self.backend, backend)
            && self.protocol() == protocol
            && self.sharing == sharing
            && self.names == names
            && *self.sql == *sql
    }
}

/// A long text that waits for being planned.
pub struct PlanRequest(Question);

/// A long text, and what the guard said of it.
pub struct Read {
    question: Question,
    policy: Arc<Policy>,
    outcome: Result<Arc<Script>, Refusal>,
}

impl PlanRequest {
    /// Plans it: seconds for megabytes.
    pub(super) fn run(self) -> Read {
        let Self(question) = self;
        let policy = question.backend.guard.policy();
        let outcome = question.backend.plan(question.names, question.protocol(), question.sharing, &question.sql);
        Read { question, policy, outcome }
    }
}

/// Threads for long texts: not many, so that workers are left processors, and since what is made of a long text takes many
/// times its memory.
#[derive(Clone, Debug)]
pub struct PlannerPool {
    long: Arc<Semaphore>,
    huge: Arc<Semaphore>,
}

impl PlannerPool {
    /// So many (at least one) may be read at the same time, and as many of those that take longest.
    pub fn new(count: usize) -> Self {
        let turns = || Arc::new(Semaphore::new(count.max(1)));
        Self { long: turns(), huge: turns() }
    }

    /// Reads a text when it is its turn. None if that failed without an answer.
    pub async fn read(&self, reading: PlanRequest) -> Option<Read> {
        let turns = if reading.0.sql.len() < HUGE_TEXT { &self.long } else { &self.huge };
        let turn = Arc::clone(turns).acquire_owned().await.ok()?;
        let read = tokio::task::spawn_blocking(move || {
            let read = reading.run();
            drop(turn);
            read
        });
        read.await.inspect_err(|error| tracing::error!(%error, "a statement could not be read")).ok()
    }
}

/// Long texts of the message at hand that were planned.
#[derive(Default)]
pub(super) struct OffloadedPlans(Vec<Read>);

impl Backend {
    /// Asks its guard.
    fn plan(&self, names: Names, protocol: Protocol<'_>, sharing: Sharing, sql: &str) -> Result<Arc<Script>, Refusal> {
        match (protocol, sharing) {
            (Protocol::Simple, Sharing::Whole) => self.guard.plan_whole(names, &self.mode, sql),
            (Protocol::Simple, Sharing::ByShape) | (Protocol::Extended { .. }, _) => {
                self.guard.plan_in(names, &self.mode, protocol, sql)
            }
        }
    }

    /// What its guard has said before.
    fn remembered(&self, names: Names, protocol: Protocol<'_>, sharing: Sharing, sql: &str) -> Option<Arc<Script>> {
        match sharing {
            Sharing::ByShape => self.guard.remembered(names, &self.mode, protocol, sql),
            Sharing::Whole => self.guard.remembered_whole(names, &self.mode, protocol, sql),
        }
    }
}

impl OffloadedPlans {
    /// What a place's guard says of a text.
    ///
    /// # Errors
    /// The text, where it is long and must be planned elsewhere first.
    pub(super) fn plan(
        this: Option<&Self>,
        backend: &Arc<Backend>,
        names: Names,
        protocol: Protocol<'_>,
        sharing: Sharing,
        sql: &str,
    ) -> Result<Result<Arc<Script>, Refusal>, PlanRequest> {
        if sql.len() < LONG_TEXT {
            return Ok(backend.plan(names, protocol, sharing, sql));
        }
        let policy = backend.guard.policy();
        let read = this.map(|ahead| ahead.0.as_slice()).unwrap_or_default();
        read.iter()
            .find(|read| read.question.is(backend, names, protocol, sharing, sql) && Arc::ptr_eq(&read.policy, &policy))
            .map(|read| read.outcome.clone())
            .or_else(|| backend.remembered(names, protocol, sharing, sql).map(Ok))
            .ok_or_else(|| PlanRequest(Question::new(backend, names, protocol, sharing, sql)))
    }
}

impl Session {
    /// Who plans long texts.
    pub fn planners(&self) -> PlannerPool {
        self.env.planners.clone()
    }

    /// A long text was planned: the message at hand is gone on with.
    pub fn have_read(&mut self, read: Read) {
        self.current.texts.get_or_insert_default().0.push(read);
    }
}
