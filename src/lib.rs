//! pgwarden: the tenant-aware Postgres proxy.
//!
//! # Layout
//!
//! Each folder is a room, and a lower room never imports a higher one. `docs/architecture.md` has their order, which a test
//! reads, and the way of a statement through them: [`wire`] reads frames, `session` is one client, [`guard`] says what
//! becomes of its statements, [`pool`] has the server connections, and `app` puts all together.

// Tests may fail loudly; production code may not.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod app;
pub mod auth;
pub mod base;
pub mod catalog;
mod checks;
pub mod cli;
pub mod config;
pub mod connect;
mod console;
mod control;
pub mod guard;
mod lifecycle;
mod limits;
mod observe;
pub mod policy;
pub mod pool;
mod session;
pub mod sql;
mod tenant;
#[cfg(feature = "demo")]
pub mod test_cluster;
mod usage;
pub mod wire;
