//! What a session tells the rest of the process: refusals and operators' statements go to the audit trail, DDL to the
//! catalog. Session, login and tenant stand in the span that all of it happens in.

use std::sync::Arc;

use super::machine::Observer;
use super::upstream::CatalogHook;
use crate::guard::Refusal;
use crate::ids::TenantName;
use crate::observe::audit;

/// Observes one session.
pub(super) struct Watcher {
    catalog: Arc<dyn CatalogHook>,
}

impl Watcher {
    pub fn new(catalog: Arc<dyn CatalogHook>) -> Self {
        Self { catalog }
    }
}

impl Observer for Watcher {
    fn refused(&self, refusal: &Refusal, sql: &str) {
        audit::refusal(refusal, sql);
    }

    fn operator_statement(&self, sql: &str) {
        audit::operator_statement(sql);
    }

    fn acts_for(&self, tenant: Option<&TenantName>) {
        let name = tenant.map_or("", TenantName::as_str);
        // The session's span: every line of the log carries who is acted for.
        tracing::Span::current().record("tenant", name);
    }

    fn catalog_changed(&self) {
        self.catalog.changed();
    }
}
