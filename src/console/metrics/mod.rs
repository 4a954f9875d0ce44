//! What Prometheus scrapes: numbers that are kept anyway, read when they are asked for.

mod collect;
mod endpoint;

pub use collect::Sources;
pub use endpoint::Endpoint;
