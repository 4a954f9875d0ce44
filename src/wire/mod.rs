//! Frames and messages of the Postgres protocol, startup, TLS. No policy lives here.
//!
//! Bytes arrive in a buffer, [`frame`] finds the frames in it and checks their lengths before anything is allocated,
//! [`frontend`] and [`backend`] give borrowed, bounds-checked views of the bodies, [`encode`] writes messages. A socket
//! is a [`Stream`]; until its session has been set up it is read and written through a [`Conn`].

pub mod backend;
pub mod conn;
pub mod encode;
pub mod error;
pub mod frame;
pub mod frontend;
pub mod options;
pub mod reader;
pub mod socket;
pub mod spare;
pub mod startup;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod tls;

pub use conn::{Conn, ConnError};
pub use error::WireError;
pub use stream::Stream;
