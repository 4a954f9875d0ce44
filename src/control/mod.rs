//! The control plane: what pgwarden itself asks of upstreams (catalogs, logins, tenants, usage), through tokio-postgres. No
//! client's statement goes this way.

mod connection;
mod error;
mod listening;
mod notifications;
mod pool;
#[cfg(test)]
mod tests;

pub use connection::{cancel, connect};
pub use error::ControlError;
pub use listening::{Listening, hear, listen, listen_to};
pub use notifications::{Joining, Listener, Notifications};
pub use pool::{AsRole, Connecting, Lease, Pool, PoolLimits};
