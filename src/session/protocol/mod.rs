//! One session as a state machine without I/O: bytes in, bytes out.
//!
//! The relay feeds it what both sockets say and writes what it puts into its two buffers. It never waits; where it
//! cannot go on it says what it needs ([`Wait`]).

mod admit;
mod backend;
mod channels;
mod circumstances;
mod client;
mod context;
mod copy;
mod current_message;
mod deferred_begin;
mod dropping;
mod extended;
mod failure;
mod following;
mod freshness;
mod function_call;
mod gate;
mod idle;
mod intake;
mod load;
mod locks;
mod metering;
mod moving;
mod not_ready;
mod observation;
mod observed_copy;
mod observed_rows;
mod observed_writes;
mod offload;
mod outline;
mod parts;
mod plan;
mod preparing;
mod progress;
mod quota;
mod reading;
mod ready;
mod refuse;
mod replay;
mod replies;
mod resetting;
mod route;
mod sequences;
mod server;
mod server_bytes;
mod server_state;
mod session_stats;
mod settings;
mod shared_statements;
mod simple;
mod sql_prepared;
mod state;
mod statements;
mod switching;
mod temporary;
mod tenant_context;
#[cfg(test)]
mod tests;
mod ties;
mod unguarded;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use backend::Backend;
pub use gate::Home;
pub use metering::Overdue;
pub use not_ready::Wait;
pub use observation::{FindTenant, Observation, ObservedTenant};
pub use observed_writes::Asking;
pub use offload::{PlanRequest, PlannerPool};
pub use reading::Reads;
pub use server_state::ServerState;
pub use settings::Settings;
pub use shared_statements::SharedStatements;
pub use tenant_context::{TenantContext, Tenants};

use self::current_message::CurrentMessage;
use self::parts::{ClientSide, Context, CopyIn, Limits, Prepared, ServerSide};
use self::replay::BatchReplay;
use self::session_stats::SessionStats;
use crate::base::{PgError, TenantKeys};
use crate::config::PoolMode;
use crate::guard::PinReason;
use crate::usage::Account;
use crate::wire::frame::ClientLimits;
use crate::wire::spare;

/// Above so many bytes not yet taken by a peer, the other side is no longer read.
pub const HIGH_WATER: usize = 256 << 10;
/// Above so many outstanding replies the client is no longer read until some have come.
const MAX_OUTSTANDING: usize = 4_096;

/// What a session works with; the same for all of a session's life.
pub struct Env {
    /// The tenant's keys.
    pub keys: TenantKeys,
    /// Ids of prepared statements.
    pub shared: Arc<SharedStatements>,
    /// Who plans long texts.
    pub planners: PlannerPool,
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
    /// A session that acts for no tenant calls a function that tells whose something is.
    fn looked_up(&self, sql: &str);
    /// A statement of an observed session was sent that would have been refused, or that touches what is another tenant's. `sql`
    /// must not be logged as it is.
    fn would_refuse(&self, refusal: &crate::base::Refusal, sql: &str);
    /// One was sent that could not be looked at.
    fn not_judged(&self);
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
pub struct Session {
    env: Env,
    /// The client's side.
    pub client: ClientSide,
    /// The server's side.
    pub server: ServerSide,
    /// The client's message at hand.
    current: CurrentMessage,
    copy: CopyIn,
    prepared: Prepared,
    context: Context,
    /// The batch of extended messages, should it have to be gone through again.
    replay: BatchReplay,
    limits: Limits,
    stats: SessionStats,
    /// Nothing is enforced: what statements are judged by beside that.
    observation: Option<Box<Observation>>,
}

impl Session {
    /// A session that has just been greeted. `reported` is what it was told in ParameterStatus messages.
    pub fn new(env: Env, backend: Arc<Backend>, settings: Settings, reported: Arc<BTreeMap<String, String>>) -> Self {
        let stats = SessionStats::new(Arc::clone(&env.account));
        Self {
            env,
            client: ClientSide::new(reported),
            server: ServerSide::new(Pin::by(backend.pool_mode)),
            current: CurrentMessage::default(),
            copy: CopyIn::NONE,
            prepared: Prepared::default(),
            context: Context::new(backend, settings),
            replay: BatchReplay::default(),
            limits: Limits::default(),
            stats,
            observation: None,
        }
    }

    /// A server connection was checked out: its known state.
    pub fn attach(&mut self, link: ServerState) {
        self.server.replies.start();
        self.server.link = Some(link);
    }

    /// Whether a server connection is attached.
    #[cfg(test)]
    pub fn attached(&self) -> bool {
        self.server.link.is_some()
    }

    /// Takes the server connection's state back if it may be released now.
    pub fn detach_if_done(&mut self) -> Option<ServerState> {
        if self.server.pin == Pin::No && self.server_rests() { self.server.link.take() } else { None }
    }

    /// Takes the server connection's state back whatever it is: the session ends. Tells whether it is at rest.
    pub fn detach(&mut self) -> Option<(ServerState, bool)> {
        let rests = self.server_rests();
        let pinned = self.server.pin != Pin::No;
        self.server.link.take().map(|mut link| {
            link.known.needs_reset |= pinned;
            (link, rests)
        })
    }

    /// Whether the server should be read.
    pub fn wants_server(&self) -> bool {
        self.server.link.is_some() && self.client.out.len() < HIGH_WATER
    }

    /// The tenant that a session which names tenants as it goes acts for now.
    pub fn acting(&self) -> Option<&Arc<TenantContext>> {
        self.context.switching.as_ref().and_then(|switching| switching.asked.value().as_ref())
    }

    /// Whom the server connection works for in such a session, while a transaction is open.
    pub fn works_for(&self) -> Option<&Arc<TenantContext>> {
        let switching = self.context.switching.as_ref().filter(|_| !self.between_transactions())?;
        switching.seated().as_ref()
    }

    /// Ends the session with an error for the client, unless it is in the middle of another message.
    pub fn fail(&mut self, error: &PgError) {
        if self.client.intake == Intake::Closed {
            return;
        }
        if !self.server.link.as_ref().is_some_and(ServerState::in_forwarded_message) {
            crate::wire::encode::backend::error_response(&mut self.client.out, error);
        }
        self.client.intake = Intake::Closed;
    }

    /// Whether the session is over.
    #[cfg(test)]
    pub fn closed(&self) -> bool {
        self.client.intake == Intake::Closed
    }

    /// Gives back memory that an idle session does not need.
    pub fn shrink(&mut self) {
        for buffer in [&mut self.client.out, &mut self.server.out, &mut self.client.input, self.replay.buffer()] {
            if buffer.is_empty() && buffer.capacity() > 0 {
                spare::give(buffer);
            }
        }
        self.server.replies.shrink();
    }
}
