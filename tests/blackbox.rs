//! pgwarden as a process, in front of a real Postgres, talked to by real clients: one folder a concern. One binary, so
//! that the clusters are made once.

// Tests fail loudly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod adopting;
mod config;
mod docs;
mod doctor;
mod drivers;
mod gates;
mod identity;
mod isolation;
mod lifecycle;
mod limits;
mod model;
mod operation;
mod oracle;
mod plans;
mod plantime;
mod pooling;
mod property;
mod protocol;
mod regress;
mod support;
mod tenants;
mod tls;
mod usage;
mod verify;
mod witness;
