//! What the guard makes of a statement.

use std::sync::Arc;

use super::channels::{ChannelName, Listening};
use crate::base::{Arity, KeyName, Oid, QualifiedName};

/// How the statement arrived, which decides how the tenant's value is put into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol<'a> {
    /// A Query message: the value becomes a literal.
    Simple,
    /// A Parse message with these parameter types (0: unspecified): the value becomes parameter `$n+1`.
    Extended {
        /// Parameter type OIDs of the Parse message.
        param_types: &'a [Oid],
    },
}

/// A value that the guard injects: one per tenant key and column type that the statement touches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantSlot {
    /// Which of the tenant's keys.
    pub key: KeyName,
    /// Whether it is one, or an array of several tenants'.
    pub arity: Arity,
    /// Type of the parameter, or of what the array is of.
    pub type_oid: Oid,
    /// The type as schema-qualified SQL text, for the literal's cast.
    pub type_name: Arc<str>,
}

impl TenantSlot {
    /// The type of the parameter. That of an array is left to the server: it is of what it is compared with.
    pub fn param_type(&self) -> Oid {
        match self.arity {
            Arity::One => self.type_oid,
            Arity::Several => 0,
        }
    }
}

/// A piece of the final text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is.
    Text(Arc<str>),
    /// The value of `Plan::slots[i]`: a literal (simple protocol). In the extended protocol the text holds `$n` already.
    Slot(usize),
    /// Literal number `i` of the client's text, where plans are shared by texts that differ in it.
    Literal(usize),
    /// An identifier: what a name of the client's for a channel stands for.
    Channel {
        /// Slot with the tenant's key.
        slot: usize,
        /// What of the channel.
        kind: ChannelName,
        /// The name as the client wrote it.
        name: Arc<str>,
    },
}

/// A value in the client's statement that must be the tenant's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantCheck {
    /// A literal in the text, to be compared when the plan is bound to a tenant.
    Literal {
        /// Slot whose value it must equal.
        slot: usize,
        /// The literal's text.
        value: Arc<str>,
    },
    /// The same for literal number `literal` of the client's text, where plans are shared by texts that differ in it.
    Lifted {
        /// Slot whose value it must equal.
        slot: usize,
        /// Which literal.
        literal: usize,
    },
    /// A parameter of the client (from 1), to be compared at Bind, in text or binary format.
    Param {
        /// Slot whose value it must equal.
        slot: usize,
        /// Number of the client's parameter, from 1.
        number: u16,
    },
}

/// The statement's kind, as far as the session must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// Nothing but white space and comments.
    Empty,
    /// SELECT, VALUES, TABLE.
    Select,
    /// INSERT, UPDATE, DELETE, MERGE.
    Dml,
    /// BEGIN, COMMIT, SAVEPOINT ...
    Transaction,
    /// COPY ... TO STDOUT.
    CopyOut,
    /// COPY ... FROM STDIN.
    CopyIn,
    /// Everything else.
    Utility,
}

impl StatementKind {
    /// Whether a statement of the kind may write, for all that the kind tells.
    fn may_write(self) -> bool {
        match self {
            StatementKind::Empty | StatementKind::Select | StatementKind::Transaction | StatementKind::CopyOut => false,
            StatementKind::Dml | StatementKind::CopyIn | StatementKind::Utility => true,
        }
    }
}

/// Why a server connection must stay with its client beyond the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinReason {
    /// SQL-level PREPARE.
    Prepare,
    /// LISTEN.
    Listen,
    /// DECLARE ... WITH HOLD.
    HoldCursor,
    /// CREATE TEMP TABLE and its kin.
    TempObject,
    /// pg_advisory_lock and its kin.
    AdvisoryLock,
    /// SET seed, setseed(): the state of random(), which nothing puts back, so that the connection is closed in the end.
    Seed,
    /// What was drawn from sequences is asked for by lastval or currval.
    Sequences,
    /// Anything else that lives in the server's session (LOAD, DO ...), or a statement that the grammar cannot read (operator).
    SessionState,
}

/// Prefix of the names that clients give to prepared statements in SQL: never a name of the proxy's own.
pub const SQL_PREPARED_PREFIX: &str = "client_";

/// The setting that stands for RESET ALL on the server until its transaction has ended: undone with it, and nobody else's to set.
pub const RESET_MARK: &str = "pgwarden.reset_all";

/// What DEALLOCATE names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deallocate {
    /// `DEALLOCATE ALL`
    All,
    /// `DEALLOCATE name`: the name as the client wrote it (case folded as Postgres does).
    Name(String),
}

/// A text that a call is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundText {
    /// A literal.
    Text(String),
    /// The client's parameter of this number, from 1: Bind carries it.
    Param(u16),
}

impl BoundText {
    /// Of a parameter.
    pub(super) fn number(&self) -> Option<u16> {
        match self {
            Self::Text(_) => None,
            Self::Param(number) => Some(*number),
        }
    }
}

/// What a statement does to the session, for the session to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// SET, SET LOCAL, RESET, set_config of this setting (lower case). The session asks the server for the outcome.
    Setting(String),
    /// set_config whose name or value Bind carries: what it sets, and whether it may, is known then. A value that is computed is
    /// none.
    SettingAtBind {
        /// Of the setting.
        name: BoundText,
        /// For it.
        value: Option<BoundText>,
    },
    /// RESET ALL.
    ResetAll,
    /// RESET ALL of a tenant: its settings go back to what it connected with. The text that is sent leaves the server's
    /// alone, since RESET ALL would undo the sealed ones for the rest of the transaction.
    ResetOwn,
    /// The server connection must stay with the client.
    Pin(PinReason),
    /// The server connection may be given back: DISCARD ALL, UNLISTEN *, DEALLOCATE ALL do so when the session says so.
    DiscardAll,
    /// PREPARE: the name, as the client wrote it, is taken once the statement has ended well.
    Prepare(String),
    /// A protocol-level prepared statement of that name is to be dropped in the session, else the statement is forwarded.
    Deallocate(Deallocate),
    /// DDL: the catalog is to be read again.
    CatalogChanged,
    /// It takes so many advisory locks.
    Locks(u16),
    /// It gives advisory locks back.
    Unlocks,
    /// LISTEN or UNLISTEN where channels are each tenant's own: its mark is put on the server connection.
    Listens(Listening),
    /// It draws from a sequence.
    Draws,
    /// It runs what may draw from one, and is not looked into.
    MayDraw,
    /// `lastval` or `currval`: it asks what was drawn last.
    AsksSequences,
    /// It calls a function that is only for sessions that act for no tenant.
    LooksUp,
    /// It makes temporary tables, with their indexes so many relations.
    MakesTemporary(u16),
    /// It names a temporary table: the same text means another one in another session.
    NamesTemporary,
    /// It may drop temporary tables.
    DropsTemporary,
}

/// A statement that passed the guard: tenant-independent, cached.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Kind.
    pub kind: StatementKind,
    /// Final text. Extended protocol: one piece.
    pub pieces: Vec<Piece>,
    /// The text differs from the client's: error positions must be mapped or dropped.
    pub rewritten: bool,
    /// It touches data, or may: it is not sent for a session that acts for no tenant yet.
    pub needs_tenant: bool,
    /// Injected values: in the extended protocol, parameters `client_params + 1 ..`.
    pub slots: Vec<TenantSlot>,
    /// The injected values stand in the text as literals in the extended protocol too: PREPARE, EXECUTE and COPY take no
    /// parameters from Bind.
    pub inline_slots: bool,
    /// Number of the client's parameters (the greater of those declared and those used).
    pub client_params: u16,
    /// Values that must be the tenant's own.
    pub checks: Vec<TenantCheck>,
    /// What it does to the session.
    pub effects: Vec<Effect>,
    /// For COPY FROM STDIN into a tenant table: how the stream is rewritten.
    pub copy_in: Option<CopyIn>,
    /// It writes, or may for all that its text tells (what functions do is not seen).
    pub writes: bool,
    /// For `explain`: why each part is as it is, one line each.
    pub notes: Vec<String>,
    /// What the witness has against it, where that is reported only.
    pub objection: Option<Arc<str>>,
}

impl Plan {
    /// Whether it drops prepared statements.
    pub fn drops_statements(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Deallocate(_) | Effect::DiscardAll))
    }

    /// Whether it sets what is known at Bind only.
    pub fn sets_at_bind(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::SettingAtBind { .. }))
    }

    /// Whether it calls a function that is for sessions that act for no tenant.
    pub fn looks_up(&self) -> bool {
        self.effects.contains(&Effect::LooksUp)
    }

    /// Whether it means something in this session that it means in no other.
    pub fn is_of_session(&self) -> bool {
        self.effects.contains(&Effect::NamesTemporary)
    }

    /// Whether it makes temporary tables that the session can name from then on.
    pub(super) fn makes_temporary(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::MakesTemporary(_)))
    }

    /// A text that goes out as it is, and does nothing to the session.
    pub(super) fn verbatim(kind: StatementKind, sql: &str) -> Self {
        Self {
            kind,
            pieces: vec![Piece::Text(sql.into())],
            rewritten: false,
            needs_tenant: false,
            slots: vec![],
            inline_slots: false,
            client_params: 0,
            checks: vec![],
            effects: vec![],
            copy_in: None,
            writes: kind.may_write(),
            notes: vec![],
            objection: None,
        }
    }
}

/// Format of a COPY stream, as far as its rows must be found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// `FORMAT text`
    Text {
        /// DELIMITER, one byte.
        delimiter: u8,
        /// NULL string.
        null: String,
        /// HEADER: the first line is no row.
        header: bool,
    },
    /// `FORMAT csv`
    Csv {
        /// DELIMITER, one byte.
        delimiter: u8,
        /// QUOTE, one byte.
        quote: u8,
        /// ESCAPE, one byte.
        escape: u8,
        /// NULL string.
        null: String,
        /// HEADER: the first line is no row.
        header: bool,
    },
    /// `FORMAT binary`
    Binary,
}

/// How a COPY FROM STDIN stream becomes the tenant's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyIn {
    /// The stream's format.
    pub format: CopyFormat,
    /// Columns that the client sends in each row.
    pub client_columns: usize,
    /// What happens to the tenant column.
    pub tenant: CopyTenant,
    /// Slot with the tenant's value.
    pub slot: usize,
    /// How the rows get into the table.
    pub by: CopyBy,
}

/// How the rows of a COPY stream get into their table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyBy {
    /// The server's own COPY takes the rewritten stream.
    Copy,
    /// INSERTs: the server takes no COPY FROM into a table with row-level security.
    Insert(Arc<CopyTarget>),
}

impl CopyIn {
    /// What the rows are inserted into, if they are.
    pub fn target(&self) -> Option<&Arc<CopyTarget>> {
        match &self.by {
            CopyBy::Copy => None,
            CopyBy::Insert(target) => Some(target),
        }
    }
}

/// What a COPY stream is inserted into, and how its fields are read besides its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyTarget {
    /// The table.
    pub table: QualifiedName,
    /// Columns of each row of the rewritten stream: those that the client sends, and the tenant's if it does not.
    pub columns: Vec<String>,
    /// The header must name the client's columns (HEADER MATCH).
    pub header_matches: bool,
    /// By column: FORCE_NULL (an empty or NULL field is NULL even in quotes).
    pub force_null: Vec<bool>,
    /// By column: FORCE_NOT_NULL (no field is NULL).
    pub force_not_null: Vec<bool>,
}

/// Where the tenant column stands in a COPY stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyTenant {
    /// The client does not send it: it is appended as the last column of each row.
    Append,
    /// The client sends it as this column (from 0): each row must hold the tenant's own value.
    Check(usize),
}

impl std::fmt::Display for PinReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PinReason::Prepare => "PREPARE",
            PinReason::Listen => "LISTEN",
            PinReason::HoldCursor => "a cursor WITH HOLD",
            PinReason::TempObject => "a temporary object",
            PinReason::AdvisoryLock => "an advisory lock",
            PinReason::Seed => "the seed of random()",
            PinReason::Sequences => "what was drawn from sequences",
            PinReason::SessionState => "session state",
        })
    }
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Effect::Setting(name) => write!(f, "sets {name}, for this client on any server connection"),
            Effect::SettingAtBind { name: BoundText::Text(name), .. } => {
                write!(f, "sets {name}, to a value that is judged when it is bound")
            }
            Effect::SettingAtBind { name: BoundText::Param(number), .. } => {
                write!(f, "sets what ${number} names, which is judged when it is bound")
            }
            Effect::ResetOwn => f.write_str("resets this client's settings, but for the sealed ones"),
            Effect::ResetAll => f.write_str("resets all settings of this client"),
            Effect::Pin(reason) => write!(f, "keeps its server connection to this client ({reason})"),
            Effect::DiscardAll => f.write_str("discards the session's state"),
            Effect::Deallocate(Deallocate::All) => f.write_str("drops all prepared statements of this client"),
            Effect::Deallocate(Deallocate::Name(name)) => {
                write!(f, "drops the prepared statement \"{name}\" of this client")
            }
            Effect::Prepare(name) => write!(f, "makes the prepared statement \"{name}\" of this client"),
            Effect::CatalogChanged => f.write_str("changes the schema: the catalog is read again"),
            Effect::Locks(count) => write!(f, "takes advisory locks: {count}"),
            Effect::Unlocks => f.write_str("gives advisory locks back"),
            Effect::Listens(Listening::Start(channel)) => write!(f, "listens on the tenant's channel \"{channel}\""),
            Effect::Listens(Listening::Stop(channel)) => {
                write!(f, "listens no more on the tenant's channel \"{channel}\"")
            }
            Effect::Listens(Listening::StopAll) => f.write_str("listens on no channel any more"),
            Effect::Draws => f.write_str("draws from a sequence"),
            Effect::MayDraw => f.write_str("runs what may draw from a sequence"),
            Effect::LooksUp => f.write_str("calls a function for sessions that act for no tenant"),
            Effect::MakesTemporary(count) => write!(f, "makes temporary relations: {count}"),
            Effect::NamesTemporary => f.write_str("names a temporary table of this session"),
            Effect::DropsTemporary => f.write_str("may drop temporary tables"),
            Effect::AsksSequences => f.write_str("asks what this client drew from a sequence last"),
        }
    }
}
