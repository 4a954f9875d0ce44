//! One client from accept to close.
//!
//! [`listener`] accepts clients, [`login`] finds out who they are and greets them, [`relay`] does the I/O of a session, and
//! [`protocol`] is the session itself, a state machine without I/O. A session sends nothing upstream for a client but what
//! the guard made ([`crate::guard::Guarded`]) and fixed texts of its own.

mod buffers;
mod console;
pub mod directory;
pub mod gateway;
pub mod listener;
pub mod login;
pub mod protocol;
pub mod relay;
mod tenants;
#[cfg(test)]
mod tests;
pub mod upstream;
mod watch;
pub mod workers;

pub use console::{ConsoleHost, ConsoleSession};
pub use directory::{Doing, Order, Seat};
pub use gateway::{Gateway, Manners};
pub use listener::{Ending, Listener};
pub use login::{Access, GatewayError};
pub use upstream::{CatalogHook, Upstream, Upstreams};
