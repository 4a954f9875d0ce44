//! One client from accept to close.
//!
//! [`listener`] accepts clients, [`login`] finds out who they are and greets them, [`relay`] does the I/O of a session, and
//! [`protocol`] is the session itself, a state machine without I/O. A session sends nothing upstream for a client but what
//! the guard made ([`crate::guard::Guarded`]) and fixed texts of its own; what observed sessions ask goes elsewhere ([`foreign_rows`]).

mod buffers;
mod console;
mod foreign_rows;
pub mod listener;
pub mod login;
mod observed;
pub mod protocol;
pub mod registry;
pub mod relay;
pub mod shared_state;
mod tenants;
#[cfg(test)]
mod tests;
pub mod upstream;
mod watch;
pub mod workers;

pub use console::{ConsoleHost, ConsoleSession};
pub use listener::{Ending, Listener};
pub(crate) use login::sealed_settings;
pub use login::{Access, AccessError};
pub use registry::{Doing, Order, SessionHandle};
pub use shared_state::{Manners, SharedState};
pub use upstream::{CatalogHook, Upstream, Upstreams};
