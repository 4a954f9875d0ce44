//! The tables by which proxies and whoever moves a tenant agree.

use super::model::TenantWrites;
use crate::base::QualifiedName;

/// Names of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateTables {
    /// Proxies that serve, each with the time up to which it may be relied on.
    pub proxies: QualifiedName,
    /// Tenants whose gate is shut.
    pub gates: QualifiedName,
    /// Proxies that have nothing of such a tenant's under way any more.
    pub acks: QualifiedName,
}

/// NOTIFY on it: a gate was shut or opened.
pub const GATE_CHANNEL: &str = "pgwarden_gates";

impl GateTables {
    /// Those beside a table of tenants: in its schema where that is pgwarden's own, else in the schema `public`.
    pub fn beside(writes: &TenantWrites) -> Self {
        let schema = match writes {
            TenantWrites::Own(table) => table.schema.as_str(),
            TenantWrites::Statements { .. } => "public",
        };
        let name = |name: &str| QualifiedName::new(schema, name);
        Self { proxies: name("pgwarden_proxies"), gates: name("pgwarden_gates"), acks: name("pgwarden_gate_acks") }
    }

    /// Moves of tenants: a table of whoever makes them alone.
    pub fn moves(&self) -> QualifiedName {
        QualifiedName::new(self.gates.schema.as_str(), "pgwarden_moves")
    }

    /// All of them.
    pub fn all(self) -> [QualifiedName; 4] {
        let moves = self.moves();
        [self.proxies, self.gates, self.acks, moves]
    }
}
