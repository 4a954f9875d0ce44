//! Server connections: connecting, checking out, preparing, cancelling, health.
//!
//! [`Pools`] holds one [`Pool`] per (upstream, role, database). A session asks for a [`Server`] with [`ClientKey::checkout`],
//! owns it and does the I/O on it, and gives it back with [`ClientKey::release`]; a `Server` that is dropped is closed. How
//! connections are opened is behind [`Connector`], so that everything here is tested without an upstream too.

mod applied;
mod cancel;
mod cap;
mod claim;
mod connect;
mod error;
mod grow;
mod idle;
mod inner;
mod pools;
mod prepared;
mod queue;
mod sequences;
mod server;
mod shares;
mod socket;
mod state;
mod stats;
#[cfg(test)]
mod tests;
mod tidy;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::connect::{ConnectError, ServerTarget};

pub use applied::{AppliedSettings, SameSettings};
pub use cancel::{CancelRegistry, CancelTarget, ClientKey};
pub use connect::NetConnector;
pub use pools::{Pool, PoolKey, Pools};
pub use prepared::{PreparedSet, ServerName, StatementId};
pub use queue::{FairQueue, Party, Ticket, Waiter};
pub use sequences::{Drawer, Drawn, SequenceMemory};
pub use server::{Connection, KnownState, Server, ServerCounters, ServerFacts};
pub use stats::PoolStats;

/// A future that a [`Connector`] returns.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Opens connections to upstreams. Time limits are the caller's.
pub trait Connector: std::fmt::Debug + Send + Sync + 'static {
    /// Connects and logs in, up to the first ReadyForQuery.
    fn connect(&self, target: Arc<ServerTarget>) -> Boxed<Result<Connection, ConnectError>>;

    /// Sends a cancel request and waits until the upstream has closed the connection that carried it.
    fn cancel(&self, target: Arc<CancelTarget>) -> Boxed<Result<(), ConnectError>>;
}
