//! What a session tells the rest of the process: refusals and operators' statements go to the audit log, DDL to the catalog.

use std::sync::Arc;

use super::machine::Observer;
use super::upstream::CatalogHook;
use crate::guard::Refusal;
use crate::ids::SessionId;
use crate::tenant::Identity;

/// Observes one session.
pub(super) struct Watcher {
    id: SessionId,
    login: String,
    tenant: Option<String>,
    catalog: Arc<dyn CatalogHook>,
}

impl Watcher {
    pub fn new(id: SessionId, identity: &Identity, catalog: Arc<dyn CatalogHook>) -> Self {
        Self {
            id,
            login: identity.login.name.to_string(),
            tenant: identity.target.tenant().map(|tenant| tenant.name.to_string()),
            catalog,
        }
    }

    fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or("-")
    }
}

/// A statement without its literals: the same for statements that differ only in them.
fn fingerprint(sql: &str) -> String {
    // What cannot be parsed has none, and its text could be anything, a mistyped password included.
    pg_query::fingerprint(sql, 0, 0).map_or_else(|_| "unparseable".to_owned(), |print| print.hex)
}

impl Observer for Watcher {
    fn refused(&self, refusal: &Refusal, sql: &str) {
        tracing::warn!(
            target: "pgwarden::audit",
            session = self.id.0,
            login = self.login,
            tenant = self.tenant(),
            kind = refusal.kind.as_str(),
            sqlstate = refusal.error.code.as_str(),
            fingerprint = fingerprint(sql),
            "statement refused"
        );
    }

    fn operator_statement(&self, sql: &str) {
        tracing::info!(
            target: "pgwarden::audit",
            session = self.id.0,
            login = self.login,
            tenant = self.tenant(),
            fingerprint = fingerprint(sql),
            "operator statement"
        );
    }

    fn catalog_changed(&self) {
        self.catalog.changed();
    }
}
