//! What a reply is for.

use std::sync::Arc;

use bytes::BytesMut;

use crate::base::PgError;
use crate::guard::{Guarded, Plan};
use crate::pool::StatementId;
use crate::session::protocol::load::LoadPart;
use crate::session::protocol::statements::{PortalUndo, Statement, Undo};
use crate::session::protocol::switching::Change;

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
    pub(super) number: u64,
}
