//! What a session tells the rest of the process: refusals and operators' statements go to the audit
//! trail. Each line stands in the session's span, which names session, login and tenant; the span is entered for these
//! lines only, since a relay is polled several times for each statement.

use parking_lot::Mutex;
use tracing::Span;

use super::protocol::Observer;
use crate::base::{LoginName, Refusal, TenantName};
use crate::guard::PinReason;
use crate::observe::refusals::{self, Whose};
use crate::observe::{audit, record_tenant};
use crate::tenant::{Identity, Target};

/// Observes one session.
pub(super) struct Watcher {
    span: Span,
    login: LoginName,
    /// Nothing is enforced.
    observed: bool,
    tenant: Mutex<Option<TenantName>>,
}

impl Watcher {
    /// Of a session of this login; the tenant is the one that it acts for from the start.
    pub fn new(span: Span, identity: &Identity, tenant: Option<TenantName>) -> Self {
        let observed = matches!(identity.target, Target::Observed { .. });
        Self { span, login: identity.login.name.clone(), observed, tenant: Mutex::new(tenant) }
    }

    /// Tells of a statement as whose it is.
    fn tell(&self, tell: impl FnOnce(&Whose<'_>)) {
        let tenant = self.tenant.lock().clone();
        self.span.in_scope(|| tell(&Whose { login: &self.login, tenant: tenant.as_ref() }));
    }
}

impl Observer for Watcher {
    fn refused(&self, refusal: &Refusal, sql: &str) {
        self.tell(|whose| audit::refusal(refusal, sql, whose));
    }

    fn objected(&self, objection: &str, sql: &str) {
        self.span.in_scope(|| audit::objection(objection, sql));
    }

    fn operator_statement(&self, sql: &str) {
        self.span.in_scope(|| match self.observed {
            true => audit::observed_statement(sql),
            false => audit::operator_statement(sql),
        });
    }

    fn would_refuse(&self, refusal: &Refusal, sql: &str) {
        self.tell(|whose| audit::would_refuse(refusal, sql, whose));
    }

    fn not_judged(&self) {
        refusals::count_not_judged();
    }

    fn looked_up(&self, sql: &str) {
        self.span.in_scope(|| audit::look_up(sql));
    }

    fn pinned(&self, reason: PinReason) {
        self.span.in_scope(|| tracing::debug!(?reason, "server connection stays with the client"));
    }

    fn acts_for(&self, tenant: Option<&TenantName>) {
        // The session's span: every line of the log carries who is acted for.
        record_tenant(&self.span, tenant);
        *self.tenant.lock() = tenant.cloned();
    }
}
