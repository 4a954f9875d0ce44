//! One session as a state machine without I/O: bytes in, bytes out.
//!
//! The relay feeds it what both sockets say and writes what it puts into its two buffers. It never waits; where it
//! cannot go on it says what it needs ([`Wait`]).

mod acting;
mod admit;
mod again;
mod age;
mod ahead;
mod backend;
mod circumstances;
mod context;
mod copy;
mod dropping;
mod extended;
mod failure;
mod following;
mod idle;
mod intake;
mod link;
mod load;
mod message;
mod metering;
mod moving;
mod not_ready;
mod outline;
mod place;
mod plan;
mod preparing;
mod progress;
mod quota;
mod ready;
mod refuse;
mod replies;
mod room;
mod route;
mod settings;
mod simple;
mod statements;
mod switching;
mod tally;
#[cfg(test)]
mod tests;
mod ties;
mod unsent;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;

pub use acting::{Acting, Tenants};
pub use ahead::{Read, Readers, Reading};
pub use backend::Broken;
pub use link::Link;
pub use metering::Overdue;
pub use not_ready::Wait;
pub use place::Place;
pub use settings::Settings;
pub use statements::SharedStatements;
pub use tally::Sent;

use self::again::Again;
use self::copy::{CopyPart, CopyStream};
use self::message::AtHand;
use self::metering::Metered;
use self::replies::Replies;
use self::statements::{Portals, Statements};
use self::tally::Tally;
use crate::base::{PgError, TenantKeys};
use crate::config::PoolMode;
use crate::guard::PinReason;
use crate::limits::{Allowance, Permit};
use crate::usage::Account;
use crate::wire::backend::TransactionStatus;
use crate::wire::frame::ClientLimits;
use crate::wire::spare;

/// Above so many bytes not yet taken by a peer, the other side is no longer read.
pub const HIGH_WATER: usize = 256 << 10;
/// Above so many outstanding replies the client is no longer read until some have come.
const MAX_OUTSTANDING: usize = 4_096;

/// What a machine works with; the same for all of a session's life.
pub struct Env {
    /// The tenant's keys.
    pub keys: TenantKeys,
    /// Ids of prepared statements.
    pub shared: Arc<SharedStatements>,
    /// Who plans long texts.
    pub readers: Readers,
    /// How long messages may be.
    pub limits: ClientLimits,
    /// Where what the session uses is counted, until it acts for another tenant.
    pub account: Arc<Account>,
    /// Told of refusals and operators' statements.
    pub observer: Arc<dyn Observer>,
}

/// Who wants to know what a session does.
pub trait Observer: Send + Sync {
    /// A statement was refused. `sql` must not be logged as it is: it holds literals.
    fn refused(&self, refusal: &crate::base::Refusal, sql: &str);
    /// The witness has this against a statement that is sent all the same. `sql` must not be logged as it is.
    fn objected(&self, objection: &str, sql: &str);
    /// An operator's statement is sent. `sql` must not be logged as it is.
    fn operator_statement(&self, sql: &str);
    /// The session acts for another tenant from now on.
    fn acts_for(&self, tenant: Option<&crate::base::TenantName>);
    /// The server connection stays with the client from now on.
    fn pinned(&self, reason: PinReason);
}

/// How client messages are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    /// As they come.
    Open,
    /// The extended protocol failed: all is dropped up to Sync.
    Skipping,
    /// The session is over.
    Closed,
}

/// Whether extended messages were sent that no Sync follows yet: an implicit transaction may be open then, whatever the
/// last ReadyForQuery said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batch {
    Closed,
    Open,
}

/// Why the server connection stays with its client between transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pin {
    /// It does not.
    No,
    /// Session pooling.
    Mode,
    /// A statement left something behind on it.
    Statement(PinReason),
}

impl Pin {
    /// As it is before any statement.
    fn by(mode: PoolMode) -> Self {
        match mode {
            PoolMode::Transaction => Pin::No,
            PoolMode::Session => Pin::Mode,
        }
    }
}

/// Whether client messages wait for outstanding replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// They do not.
    No,
    /// Those behind the next Sync will.
    AfterSync,
    /// Until nothing is outstanding.
    Drain,
}

/// One client's session.
pub struct Machine {
    env: Env,
    /// Where the server connection is from, or will be.
    place: Arc<Place>,
    /// Bytes for the client.
    pub to_client: BytesMut,
    /// Bytes for the server.
    pub to_server: BytesMut,
    /// Client bytes not yet dealt with.
    input: BytesMut,
    /// Length of the message at their start, if it is not complete: it is read on, however long.
    incomplete: usize,
    /// For a message of this length there is room.
    granted: usize,
    /// Bytes of a message that was too long, still to be dropped.
    dropping: usize,
    copy_part: CopyPart,
    intake: Intake,
    hold: Hold,
    batch: Batch,
    /// DISCARD ALL went out in the open batch: the rest of it would run under the server's own settings.
    discarding: bool,
    tx: TransactionStatus,
    pin: Pin,
    link: Option<Link>,
    /// A server connection that the messages of one round may have: see [`Machine::offer`].
    offered: Option<Link>,
    replies: Replies,
    copying: CopyStream,
    /// A COPY whose rows go out as INSERTs.
    load: Option<Box<load::Load>>,
    statements: Statements,
    portals: Portals,
    settings: Settings,
    /// ParameterStatus values as the client knows them.
    reported: Arc<BTreeMap<String, String>>,
    /// How far the message at the front of `input` has come.
    at_hand: AtHand,
    /// That by which the first statement of SQL's PREPARE was decided that may be there.
    prepared_by: Option<u64>,
    catalog_changed: bool,
    /// For a login that acts for several tenants and named none.
    switching: Option<Box<switching::Switching>>,
    /// A transaction that the server does not know of yet.
    unsent: Option<unsent::Unsent>,
    /// Number of extended messages sent, and what it was when a Flush of our own was.
    sent: u64,
    flushed: u64,
    /// The batch of extended messages, should it have to be gone through again.
    again: Again,
    tally: Tally,
    /// What the session may take; none: as much as it likes.
    allowance: Option<Arc<Allowance>>,
    /// Its place among the connections.
    connection: Permit,
    metered: Option<Box<Metered>>,
}

impl Machine {
    /// A session that has just been greeted. `reported` is what it was told in ParameterStatus messages.
    pub fn new(env: Env, place: Arc<Place>, settings: Settings, reported: Arc<BTreeMap<String, String>>) -> Self {
        let pin = Pin::by(place.pool_mode);
        let tally = Tally::new(Arc::clone(&env.account));
        Self {
            env,
            place,
            to_client: BytesMut::new(),
            to_server: BytesMut::new(),
            input: BytesMut::new(),
            incomplete: 0,
            granted: 0,
            dropping: 0,
            copy_part: CopyPart::NONE,
            intake: Intake::Open,
            hold: Hold::No,
            batch: Batch::Closed,
            discarding: false,
            tx: TransactionStatus::Idle,
            pin,
            link: None,
            offered: None,
            replies: Replies::default(),
            copying: CopyStream::None,
            load: None,
            statements: Statements::default(),
            portals: Portals::default(),
            settings,
            reported,
            at_hand: AtHand::default(),
            prepared_by: None,
            catalog_changed: false,
            switching: None,
            unsent: None,
            sent: 0,
            flushed: 0,
            again: Again::default(),
            tally,
            allowance: None,
            connection: Permit::default(),
            metered: None,
        }
    }

    /// A server connection was checked out: its known state.
    pub fn attach(&mut self, link: Link) {
        self.replies.start();
        self.link = Some(link);
    }

    /// Whether a server connection is attached.
    pub fn attached(&self) -> bool {
        self.link.is_some()
    }

    /// Takes the server connection's state back if it may be released now.
    pub fn detach_if_done(&mut self) -> Option<Link> {
        if self.pin == Pin::No && self.server_rests() { self.link.take() } else { None }
    }

    /// Takes the server connection's state back whatever it is: the session ends. Tells whether it is at rest.
    pub fn detach(&mut self) -> Option<(Link, bool)> {
        let rests = self.server_rests();
        let pinned = self.pin != Pin::No;
        self.link.take().map(|mut link| {
            link.needs_reset |= pinned;
            (link, rests)
        })
    }

    /// Nothing runs, nothing is outstanding, no implicit transaction is open.
    pub fn between_transactions(&self) -> bool {
        self.tx == TransactionStatus::Idle
            && self.batch == Batch::Closed
            && self.replies.is_empty()
            && matches!(self.copying, CopyStream::None)
            && !self.copy_part.is_owed()
    }

    /// Whether the server connection is proved to be at rest. Nothing else decides that one may be handed on: ReadyForQuery
    /// has answered the last message that was sent and told that no transaction is open, the server has been sent all that is
    /// for it and has been heard out, and no half of a message or COPY stream is on its way in either direction.
    fn server_rests(&self) -> bool {
        self.starts()
            && self.replies.settled()
            && self.to_server.is_empty()
            && self.link.as_ref().is_some_and(Link::at_boundary)
            && matches!(self.copying, CopyStream::None)
            && !self.copy_part.is_owed()
    }

    /// Between transactions, and no half of a message is there: the moment to end a session politely.
    pub fn idle(&self) -> bool {
        self.between_transactions() && self.input.is_empty() && self.dropping == 0 && self.intake == Intake::Open
    }

    /// Whether a statement of the client runs on its server connection: what a cancel request is for.
    pub fn runs_for_client(&self) -> bool {
        !self.replies.only_errands() || self.tx != TransactionStatus::Idle || self.batch == Batch::Open
    }

    /// Whether the server should be read.
    pub fn wants_server(&self) -> bool {
        self.link.is_some() && self.to_client.len() < HIGH_WATER
    }

    /// The tenant that a session which names tenants as it goes acts for now.
    pub fn acting(&self) -> Option<&Arc<Acting>> {
        self.switching.as_ref().and_then(|switching| switching.asked.value().as_ref())
    }

    /// Whom the server connection works for in such a session, while a transaction is open.
    pub fn works_for(&self) -> Option<&Arc<Acting>> {
        let switching = self.switching.as_ref().filter(|_| !self.between_transactions())?;
        switching.seated().as_ref()
    }

    /// Ends the session with an error for the client, unless it is in the middle of another message.
    pub fn fail(&mut self, error: &PgError) {
        if self.intake == Intake::Closed {
            return;
        }
        if !self.link.as_ref().is_some_and(Link::in_forwarded_message) {
            crate::wire::encode::backend::error_response(&mut self.to_client, error);
        }
        self.intake = Intake::Closed;
    }

    /// Whether the session is over.
    pub fn closed(&self) -> bool {
        self.intake == Intake::Closed
    }

    /// Gives back memory that an idle session does not need.
    pub fn shrink(&mut self) {
        for buffer in [&mut self.to_client, &mut self.to_server, &mut self.input, self.again.buffer()] {
            if buffer.is_empty() && buffer.capacity() > 0 {
                spare::give(buffer);
            }
        }
        self.replies.shrink();
    }
}
