//! pgwarden: the tenant-aware Postgres proxy.
//!
//! Folders are the rooms that a statement walks through, in order: [`wire`] (frames), [`session`] (one client),
//! [`guard`] (statement in, verdict out), [`pool`] (server connections). A lower room never imports a higher one.

// Tests may fail loudly; production code may not.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod app;
pub mod auth;
pub mod base;
pub mod catalog;
pub mod checks;
pub mod cli;
pub mod config;
pub mod connect;
pub mod console;
pub mod control;
pub mod guard;
pub mod limits;
pub mod observe;
pub mod policy;
pub mod pool;
pub mod session;
pub mod sql;
pub mod tenant;
pub mod throwaway;
pub mod usage;
pub mod wire;
