//! What the concerns share: clusters with the fixture, pgwarden as a process, a client that speaks raw frames.

pub mod lab;
pub mod message;
pub mod proxy;
pub mod redis;
pub mod regress;
pub mod reply;
pub mod script;
pub mod session;
pub mod upstream;

/// Runs until it is cancelled, without a function that tenants may not call. Its rows are not kept: in FROM they would fill
/// the disk.
pub const ENDLESS: &str = "SELECT count(*) FROM (SELECT generate_series(1, 100000000000)) n";
