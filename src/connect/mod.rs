//! The way to a Postgres server: where it is, TLS, and why it could not be reached. For the pool and the control plane.

mod dial;
mod error;
mod target;

pub use dial::{dial, open_stream};
pub use error::{ConnectError, UpstreamError};
pub use target::{ServerTarget, TargetError};
