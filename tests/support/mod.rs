//! What the concerns share: clusters with the fixture, pgwarden as a process, a client that speaks raw frames.

pub mod lab;
pub mod message;
pub mod proxy;
pub mod redis;
pub mod reply;
pub mod script;
pub mod session;
