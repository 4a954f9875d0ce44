//! What a session tells the rest of the process: refusals and operators' statements go to the audit
//! trail. Each line stands in the session's span, which names session, login and tenant; the span is entered for these
//! lines only, since a relay is polled several times for each statement.

use tracing::Span;

use super::protocol::Observer;
use crate::base::{Refusal, TenantName};
use crate::guard::PinReason;
use crate::observe::{audit, record_tenant};

/// Observes one session.
pub(super) struct Watcher {
    span: Span,
}

impl Watcher {
    pub fn new(span: Span) -> Self {
        Self { span }
    }
}

impl Observer for Watcher {
    fn refused(&self, refusal: &Refusal, sql: &str) {
        self.span.in_scope(|| audit::refusal(refusal, sql));
    }

    fn objected(&self, objection: &str, sql: &str) {
        self.span.in_scope(|| audit::objection(objection, sql));
    }

    fn operator_statement(&self, sql: &str) {
        self.span.in_scope(|| audit::operator_statement(sql));
    }

    fn pinned(&self, reason: PinReason) {
        self.span.in_scope(|| tracing::debug!(?reason, "server connection stays with the client"));
    }

    fn acts_for(&self, tenant: Option<&TenantName>) {
        // The session's span: every line of the log carries who is acted for.
        record_tenant(&self.span, tenant);
    }
}
