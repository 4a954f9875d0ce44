//! What a session is made of: each part owns its state.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::BytesMut;
use foldhash::fast::RandomState;

use super::channels::Channels;
use super::copy::{CopyPart, CopyStream};
use super::deferred_begin::DeferredBegin;
use super::gate::AtGate;
use super::load::Load;
use super::locks::Locks;
use super::metering::Metered;
use super::reading::Reading;
use super::replies::Replies;
use super::settings::Settings;
use super::statements::{Portals, Statement, Statements};
use super::switching::Switching;
use super::temporary::Temporary;
use super::unguarded::UnguardedNotice;
use super::{Backend, Batch, Hold, Intake, Pin, ServerState};
use crate::limits::{Allowance, Permit};
use crate::pool::Drawn;
use crate::wire::backend::TransactionStatus;

/// The client's side: its bytes, and how its messages are taken.
pub struct ClientSide {
    /// Bytes for the client.
    pub out: BytesMut,
    /// Its bytes that are not dealt with yet.
    pub(super) input: BytesMut,
    /// Length of the message at their start, if it is not complete: it is read on, however long.
    pub(super) incomplete: usize,
    /// For a message of this length there is room.
    pub(super) granted: usize,
    /// Bytes of a message that was too long, still to be dropped.
    pub(super) dropping: usize,
    pub(super) intake: Intake,
    /// ParameterStatus values as the client knows them.
    pub(super) reported: Arc<BTreeMap<String, String>>,
}

/// The server's side: the connection while there is one, what was sent on it, and what is still to come.
pub struct ServerSide {
    /// Bytes for the server.
    pub out: BytesMut,
    pub(super) link: Option<ServerState>,
    /// A server connection that the messages of one round may have: see [`Session::offer`](super::Session::offer).
    pub(super) offered: Option<ServerState>,
    pub(super) replies: Replies,
    /// Why the connection stays with its client.
    pub(super) pin: Pin,
    pub(super) tx: TransactionStatus,
    /// A statement that begins or ends a transaction has run since `tx` was told.
    pub(super) tx_left: bool,
    pub(super) batch: Batch,
    /// DISCARD ALL went out in the open batch: the rest of it would run under the server's own settings, see
    /// [`Session::split_batch`](super::Session::split_batch).
    pub(super) discarding: bool,
    pub(super) hold: Hold,
    /// Number of extended messages sent, and what it was when a Flush of our own was.
    pub(super) sent: u64,
    pub(super) flushed: u64,
}

/// A COPY FROM STDIN.
pub(super) struct CopyIn {
    pub(super) stream: CopyStream,
    /// The CopyData message that comes in.
    pub(super) part: CopyPart,
    /// A COPY whose rows go out as INSERTs.
    pub(super) load: Option<Box<Load>>,
}

/// What the client has prepared and bound.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) statements: Statements,
    pub(super) portals: Portals,
    /// What SQL's PREPARE has made that may be there.
    pub(super) by_sql: HashMap<Box<str>, Arc<Statement>, RandomState>,
    /// The epoch by which the first statement of SQL's PREPARE was decided that may be there.
    pub(super) decided: Option<u64>,
}

/// For whom and where statements run, and under which settings.
pub(super) struct Context {
    /// Where the server connection is from, or will be.
    pub(super) backend: Arc<Backend>,
    pub(super) settings: Settings,
    /// For a login that acts for several tenants and named none.
    pub(super) switching: Option<Box<Switching>>,
    /// For a login that reads several at once.
    pub(super) reading: Option<Box<Reading>>,
    /// A transaction that the server does not know of yet.
    pub(super) unsent: Option<DeferredBegin>,
    /// What an operator who names a tenant to the server is told.
    pub(super) unguarded: UnguardedNotice,
    /// DDL went through in the transaction.
    pub(super) catalog_changed: bool,
    /// Where what the client drew from sequences is remembered.
    pub(super) drawn: Drawn,
    /// Advisory locks that it may hold.
    pub(super) locks: Locks,
    /// Temporary tables that it has, where tenants share server connections.
    pub(super) temporary: Temporary,
    /// What it listens on, where channels are each tenant's own.
    pub(super) channels: Option<Box<Channels>>,
    /// Where tenants' gates concern it.
    pub(super) gate: Option<Box<AtGate>>,
}

/// What the session may take.
#[derive(Default)]
pub(super) struct Limits {
    /// None: as much as it likes.
    pub(super) allowance: Option<Arc<Allowance>>,
    /// Its place among the connections.
    pub(super) connection: Permit,
    pub(super) metered: Option<Box<Metered>>,
}

impl ClientSide {
    pub(super) fn new(reported: Arc<BTreeMap<String, String>>) -> Self {
        Self {
            out: BytesMut::new(),
            input: BytesMut::new(),
            incomplete: 0,
            granted: 0,
            dropping: 0,
            intake: Intake::Open,
            reported,
        }
    }
}

impl ServerSide {
    pub(super) fn new(pin: Pin) -> Self {
        Self {
            out: BytesMut::new(),
            link: None,
            offered: None,
            replies: Replies::default(),
            pin,
            tx: TransactionStatus::Idle,
            tx_left: false,
            batch: Batch::Closed,
            discarding: false,
            hold: Hold::No,
            sent: 0,
            flushed: 0,
        }
    }
}

impl CopyIn {
    pub(super) const NONE: Self = Self { stream: CopyStream::None, part: CopyPart::NONE, load: None };

    /// No COPY runs, and no half of its stream is on its way.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stream, CopyStream::None) && !self.part.is_owed()
    }
}

impl Context {
    pub(super) fn new(backend: Arc<Backend>, settings: Settings) -> Self {
        Self {
            backend,
            settings,
            switching: None,
            reading: None,
            unsent: None,
            unguarded: UnguardedNotice::default(),
            catalog_changed: false,
            drawn: Drawn::Nothing,
            locks: Locks::default(),
            temporary: Temporary::default(),
            channels: None,
            gate: None,
        }
    }
}
