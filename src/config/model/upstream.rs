//! Where statements go: upstreams and their pools.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Address;
use crate::base::{Enforcement, Secret, UpstreamName};
use crate::wire::tls::TlsMode;

/// TLS towards an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    /// How much of it.
    pub mode: TlsMode,
    /// PEM file of trusted roots; without it, the system's.
    pub root_cert: Option<PathBuf>,
}

/// A real Postgres server and database.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name; for one written inline in a tenant, `tenant/<name of the tenant>`.
    pub name: UpstreamName,
    /// Where it listens.
    pub address: Address,
    /// The role that pgwarden connects as.
    pub user: String,
    /// The database.
    pub database: String,
    /// The role's password, if it needs one.
    pub password: Option<Secret>,
    /// TLS.
    pub tls: UpstreamTls,
    /// Server connections.
    pub pool: PoolSettings,
    /// Time for TCP, TLS and authentication together.
    pub connect_timeout: Duration,
    /// What keeps tenants of the shared layout apart there.
    pub enforcement: Enforcement,
    /// How subcommands log in that make, copy and delete tenants.
    pub admin: Option<Arc<UpstreamAdmin>>,
}

/// `[upstream.*.admin]`: the role for what the pool's role need not be allowed. Clients never come by it.
#[derive(Clone, Debug)]
pub struct UpstreamAdmin {
    /// Where it connects: past a pooler, perhaps.
    pub address: Address,
    /// The role.
    pub user: String,
    /// Its password.
    pub password: Option<Secret>,
    /// TLS.
    pub tls: UpstreamTls,
    /// The database that it is in while it makes or drops others.
    pub database: String,
}

impl Upstream {
    /// The same database as its admin role, if there is one.
    pub fn as_admin(&self) -> Option<Self> {
        let UpstreamAdmin { address, user, password, tls, database: _ } = UpstreamAdmin::clone(self.admin.as_ref()?);
        Some(Self { address, user, password, tls, ..self.clone() })
    }
}

/// When a server connection goes back to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// At the end of each transaction.
    Transaction,
    /// When the client leaves.
    Session,
}

/// Server connections of one upstream.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// When a connection is given back.
    pub mode: PoolMode,
    /// At most so many connections; at least 1.
    pub size: usize,
    /// So many are kept open when idle; at most `size`.
    pub min_idle: usize,
    /// A client waits so long for a connection, then gets an error.
    pub wait_timeout: Duration,
    /// An idle connection above `min_idle` is closed after this.
    pub idle_timeout: Duration,
    /// A connection is replaced after this, when it is idle.
    pub lifetime: Duration,
    /// Prepared statements kept on each server connection.
    pub max_prepared: usize,
    /// Of its connections, so many are kept for tenants that have none, where tenants share it; less than `size`.
    pub kept_for_others: usize,
    /// A transaction that waits so long for its client ends when others wait for its connection. Zero: it does not.
    pub contended_idle_timeout: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            mode: PoolMode::Transaction,
            size: 20,
            min_idle: 0,
            wait_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(600),
            lifetime: Duration::from_secs(3600),
            max_prepared: 500,
            kept_for_others: Self::kept_of(20),
            contended_idle_timeout: Duration::from_secs(10),
        }
    }
}

impl PoolSettings {
    /// What a pool of this size keeps for tenants that have none, if it is not configured: a tenth, but one at least. Of a single
    /// connection nothing can be kept.
    pub fn kept_of(size: usize) -> usize {
        size.div_ceil(10).min(size.saturating_sub(1))
    }
}

/// What a tenant has of its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Connections it is given a turn, where tenants wait for them.
    pub weight: u32,
    /// So many are kept for it, from its first statement on.
    pub min: usize,
    /// It never has more.
    pub max: Option<usize>,
    /// Other tenants have the same pool.
    pub in_common: bool,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 1, min: 0, max: None, in_common: false }
    }
}

impl From<u32> for Share {
    fn from(weight: u32) -> Self {
        Self { weight, ..Self::default() }
    }
}

impl Share {
    /// Whether it has a minimum or a maximum.
    pub fn is_bounded(&self) -> bool {
        self.min > 0 || self.max.is_some()
    }
}

/// Caps over all upstreams together.
#[derive(Clone, Debug)]
pub struct GlobalPool {
    /// Server connections of all pools together.
    pub max_server_connections: usize,
}
