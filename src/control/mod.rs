//! The control plane: what pgwarden itself asks of upstreams (catalogs, logins, tenants, usage), through tokio-postgres. No
//! client's statement goes this way.

mod connection;
mod error;
mod listening;

pub use connection::{Control, connect};
pub use error::ControlError;
pub use listening::{Listening, hear, listen, listen_to};
