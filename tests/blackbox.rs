//! pgwarden as a process, in front of a real Postgres, talked to by real clients: one folder a concern. One binary, so
//! that the clusters are made once.

mod config;
mod drivers;
mod isolation;
mod oracle;
mod pooling;
mod protocol;
mod support;
mod tenants;
mod tls;
