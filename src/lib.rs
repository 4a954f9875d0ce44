//! pgwarden: the tenant-aware Postgres proxy.
//!
//! Folders are the rooms that a statement walks through, in order: [`wire`] (frames), [`session`] (one client),
//! [`guard`] (statement in, verdict out), [`pool`] (server connections). A lower room never imports a higher one.

// Tests may fail loudly; production code may not.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod admin;
pub mod auth;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod guard;
pub mod ids;
pub mod lifecycle;
pub mod metrics;
pub mod observe;
pub mod pgerror;
pub mod pool;
pub mod serve;
pub mod session;
pub mod tenant;
pub mod throwaway;
pub mod wire;
pub mod workers;
