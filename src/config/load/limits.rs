//! `[limits]`, `[limits.login]`, and `limits` of tenants and logins.

use std::time::Duration;

use super::{Context, shared};
use crate::config::diagnostics::did_you_mean;
use crate::config::limits::{Limits, OnLimit, SharedLimits};
use crate::config::section::{Keys, Section};

macro_rules! keys {
    ($($more:literal),*) => {
        Keys {
            known: &[
                "connections",
                "transactions",
                "statements_per_second",
                "burst",
                "transaction_timeout",
                "statement_timeout",
                "idle_in_transaction_timeout",
                "idle_timeout",
                "result_rows",
                "result_bytes",
                "statement_bytes",
                "on_limit",
                "max_wait",
                $($more),*
            ],
            later: &[],
        }
    };
}

const LIMITS: Keys = keys!();
const ROOT: Keys = keys!("login", "shared");

/// What `[limits]` says.
#[derive(Default)]
pub(super) struct Defaults {
    /// Of tenants.
    pub(super) tenant: Limits,
    /// Of logins in tenants.
    pub(super) login: Limits,
    pub(super) shared: Option<SharedLimits>,
}

pub(super) fn read_defaults(context: &Context<'_>, root: &Section<'_>) -> Defaults {
    let Some(section) = root.table("limits", &ROOT) else { return Defaults::default() };
    let login = section.table("login", &LIMITS).map(|login| read_section(context, &login));
    Defaults {
        tenant: read_section(context, &section),
        login: login.unwrap_or_default(),
        shared: shared::read(context, &section),
    }
}

/// `limits` of a tenant or login.
pub(super) fn read(context: &Context<'_>, section: &Section<'_>) -> Limits {
    section.table("limits", &LIMITS).map(|limits| read_section(context, &limits)).unwrap_or_default()
}

fn read_section(context: &Context<'_>, section: &Section<'_>) -> Limits {
    let count = |key| section.number(key, 0..=1_000_000).map(|n| u32::try_from(n.value).unwrap_or(u32::MAX));
    let long = |key| section.number(key, 0..=1 << 52).map(|n| n.value as u64);
    let time = |key| section.duration(key, Duration::ZERO);
    let bytes = |key| section.size(key, 0..=1 << 52).map(|n| n as u64);
    let limits = Limits {
        connections: count("connections"),
        transactions: count("transactions"),
        statements_per_second: count("statements_per_second"),
        burst: count("burst"),
        transaction_timeout: time("transaction_timeout"),
        statement_timeout: time("statement_timeout"),
        idle_in_transaction_timeout: time("idle_in_transaction_timeout"),
        idle_timeout: time("idle_timeout"),
        result_rows: long("result_rows"),
        result_bytes: bytes("result_bytes"),
        statement_bytes: bytes("statement_bytes"),
        on_limit: read_on_limit(context, section),
        max_wait: section.duration("max_wait", Duration::from_millis(1)),
    };
    if limits.burst.is_some() && !section.has("statements_per_second") {
        context.findings.error_hint(
            &section.span_of("burst"),
            format!("\"burst\" in {} does nothing without \"statements_per_second\"", section.title),
            "give the rate in the same place: statements_per_second = 100",
        );
    }
    limits
}

fn read_on_limit(context: &Context<'_>, section: &Section<'_>) -> Option<OnLimit> {
    let word = section.nonempty("on_limit")?;
    match word.value {
        "wait" => Some(OnLimit::Wait),
        "reject" => Some(OnLimit::Reject),
        other => {
            let hint = did_you_mean(other, ["wait", "reject"]).unwrap_or_else(|| "\"wait\" or \"reject\"".to_owned());
            let message = format!("\"on_limit\" in {} cannot be \"{other}\"", section.title);
            context.findings.error_hint(&word.span, message, hint);
            None
        }
    }
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&ROOT];
