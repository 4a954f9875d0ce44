//! Where a session's statements go, and how they are guarded on their way there.

use std::sync::Arc;

use crate::base::Mode;
use crate::config::{PoolMode, Upstream};
use crate::control::Notifications;
use crate::guard::Guard;
use crate::session::upstream::CatalogHook;

/// A database of an upstream, as one layout sees it. A transaction stays in one place.
pub struct Backend {
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// The database there.
    pub database: String,
    /// Passes or refuses statements.
    pub guard: Arc<Guard>,
    /// Keeps what the guard knows fresh.
    pub catalog: Arc<dyn CatalogHook>,
    /// What is notified there.
    pub notifications: Arc<Notifications>,
    /// How the guard treats the session's statements.
    pub mode: Mode,
    /// What besides its text decides what a prepared statement means.
    pub planning_context: Arc<str>,
    /// When server connections go back.
    pub pool_mode: PoolMode,
    /// Nothing is enforced here: no guarded session gets a server connection after one of these.
    pub observed: bool,
}

impl Backend {
    /// Whether both are the same one.
    pub fn is(&self, other: &Backend) -> bool {
        std::ptr::eq(self, other)
            || (self.upstream.name == other.upstream.name
                && self.database == other.database
                && self.mode == other.mode
                && self.observed == other.observed)
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { upstream, database, mode, .. } = self;
        f.debug_struct("Backend")
            .field("upstream", &upstream.name)
            .field("database", database)
            .field("mode", mode)
            .finish_non_exhaustive()
    }
}
