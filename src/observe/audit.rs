//! The audit trail: who came in, who was turned away, what was refused, what operators did.
//!
//! Events of the target [`TARGET`], whatever the log's level; each stands in its session's span, which names session, login
//! and tenant. Statements appear by their fingerprint only.

use std::fmt::Display;

use super::refusals::{self, Enforced, Shape, Whose};
use super::span::loggable;
use crate::base::{LoginName, PgError, Refusal, RefusalKind, TenantName};
use crate::sql::fingerprint;

/// The target of audit events.
pub const TARGET: &str = "pgwarden::audit";

/// The role of a login for which nothing is enforced.
pub const OBSERVED: &str = "observed";

/// A client was authenticated and may act for what it named, in this role.
pub fn login_accepted(login: &LoginName, tenant: Option<&TenantName>, role: &str) {
    let tenant = tenant.map(tracing::field::display);
    if role == OBSERVED {
        tracing::warn!(target: TARGET, event = "login", %login, tenant, role, "login accepted: NOTHING is enforced for it");
        return;
    }
    tracing::info!(target: TARGET, event = "login", %login, tenant, role, "login accepted");
}

/// A client was turned away; `reason` may tell more than the client was told.
pub fn login_refused(login: &str, reason: &dyn Display) {
    refusals::count_login();
    let reason = loggable(&reason.to_string());
    tracing::warn!(target: TARGET, event = "login_refused", login = %loggable(login), reason, "login refused");
}

/// A statement was refused. A mere syntax error or unknown name is everyday life and not audited.
pub fn refusal(refusal: &Refusal, sql: &str, whose: &Whose<'_>) {
    use RefusalKind as Kind;
    let shape = Shape::of(sql);
    refusals::count(Enforced::Refused, refusal, &shape, whose);
    let kind = refusal.kind.as_str();
    let code = refusal.error.code.as_str();
    let object = refusal.object.as_deref().map(loggable);
    let Shape { fingerprint, statement } = shape;
    match refusal.kind {
        Kind::Syntax | Kind::Undefined => {
            tracing::debug!(kind, code, object, fingerprint, "statement not understood");
        }
        Kind::Relation
        | Kind::Function
        | Kind::Setting
        | Kind::Statement
        | Kind::ForeignTenant
        | Kind::Unsupported
        | Kind::Limit => {
            tracing::warn!(target: TARGET, event = "refusal", kind, code, object, fingerprint, statement, "statement refused");
        }
        Kind::Witness => {
            let witness = refusal.error.detail.as_deref();
            tracing::error!(
                target: TARGET, event = "refusal", kind, code, fingerprint, statement, verifier = "covered", witness,
                "the readings of a statement disagree, and it was refused: a defect of pgwarden, please report it"
            );
        }
        Kind::Verifier => {
            tracing::error!(
                target: TARGET, event = "refusal", kind, code, fingerprint, statement,
                "statement refused by the verifier: a defect of pgwarden, please report it"
            );
        }
    }
}

/// Somebody asked many tenants one question, as each of them.
pub fn question(by: &str, sql: &str, tenants: usize, failed: usize, rows: usize) {
    let fingerprint = fingerprint(sql);
    tracing::info!(target: TARGET, event = "question", by = %loggable(by), tenants, failed, rows, fingerprint, "tenants were asked");
}

/// The readings of a statement disagree, and it was sent: the witness only reports. `objection` is what it has against it.
pub fn objection(objection: &str, sql: &str) {
    tracing::error!(
        target: TARGET, event = "objection", kind = RefusalKind::Witness.as_str(), fingerprint = fingerprint(sql),
        verifier = "covered", witness = objection,
        "the readings of a statement disagree, and it was sent (witness = \"report\"): please report it"
    );
}

/// An administrator gave an order on the console; `failure` says why it was not carried out.
pub fn console(login: &LoginName, command: &str, failure: Option<&PgError>) {
    let failure = failure.map(tracing::field::display);
    tracing::info!(target: TARGET, event = "console", %login, command = loggable(command), failure, "console command");
}

/// A tenant has come to a bound of its quota. Told once a period and bound.
pub fn quota(tenant: &TenantName, measure: &str, hard: bool, used: String, bound: String, period: &dyn Display) {
    let (event, what) = if hard {
        ("quota_exceeded", "quota used up: statements are refused")
    } else {
        ("quota_warning", "quota nearly used up")
    };
    tracing::warn!(target: "pgwarden::quota", %tenant, measure, used, bound, %period, "{what}");
    tracing::warn!(target: TARGET, event, %tenant, measure, used, bound, %period, "{what}");
}

/// A session that acts for no tenant calls a function of `tenancy.without_tenant`.
pub fn look_up(sql: &str) {
    tracing::info!(target: TARGET, event = "look_up", fingerprint = fingerprint(sql), bytes = sql.len(), "look-up without a tenant");
}

/// A statement of an observed login was sent that would have been refused, or that touches what is another tenant's.
pub fn would_refuse(refusal: &Refusal, sql: &str, whose: &Whose<'_>) {
    use RefusalKind as Kind;
    let shape = Shape::of(sql);
    refusals::count(Enforced::Observed, refusal, &shape, whose);
    let (kind, code) = (refusal.kind.as_str(), refusal.error.code.as_str());
    let object = refusal.object.as_deref().map(loggable);
    let Shape { fingerprint, statement } = shape;
    match refusal.kind {
        Kind::Syntax | Kind::Undefined => {}
        Kind::Relation
        | Kind::Function
        | Kind::Setting
        | Kind::Statement
        | Kind::ForeignTenant
        | Kind::Unsupported
        | Kind::Limit
        | Kind::Verifier
        | Kind::Witness => {
            tracing::warn!(
                target: TARGET, event = "would_refuse", kind, code, object, fingerprint, statement,
                "statement of an observed login was sent that the guard refuses"
            );
        }
    }
}

/// An observed login sent a statement: nothing was enforced.
pub fn observed_statement(sql: &str) {
    tracing::info!(target: TARGET, event = "observed", fingerprint = fingerprint(sql), bytes = sql.len(), "observed statement");
}

/// An operator sent a statement.
pub fn operator_statement(sql: &str) {
    tracing::info!(target: TARGET, event = "operator", fingerprint = fingerprint(sql), bytes = sql.len(), "operator statement");
}

/// An operation on a tenant has ended. `result`: its counts, as JSON.
pub fn tenant_operation(tenant: &str, verb: &str, by: &str, result: Option<&str>, error: Option<&str>) {
    let (tenant, by, error) = (loggable(tenant), loggable(by), error.map(loggable));
    tracing::info!(target: TARGET, event = "tenant_operation", tenant, verb, by, result, error, "operation on a tenant");
}
