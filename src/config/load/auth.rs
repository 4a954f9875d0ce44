//! `[auth]`, and addresses that may.

use std::time::Duration;

use super::Context;
use crate::auth::FailureRules;
use crate::base::{AllowList, parse_network};
use crate::config::section::{Keys, Section};

const AUTH: Keys = Keys {
    known: &["failure_delay", "max_failure_delay", "address_failures", "login_failures", "failure_window", "block_for"],
    later: &[],
};

pub(super) fn read(context: &Context<'_>, root: &Section<'_>) -> FailureRules {
    let usual = FailureRules::default();
    let Some(section) = root.table("auth", &AUTH) else { return usual };
    let duration = |key: &str, least: Duration, usual: Duration| section.duration(key, least).unwrap_or(usual);
    let count = |key: &str, usual: u32| {
        section.number(key, 0..=1_000_000).map_or(usual, |number| u32::try_from(number.value).unwrap_or(u32::MAX))
    };
    let rules = FailureRules {
        delay: duration("failure_delay", Duration::ZERO, usual.delay),
        max_delay: duration("max_failure_delay", Duration::ZERO, usual.max_delay),
        address_failures: count("address_failures", usual.address_failures),
        login_failures: count("login_failures", usual.login_failures),
        window: duration("failure_window", Duration::from_secs(1), usual.window),
        block: duration("block_for", Duration::from_secs(1), usual.block),
    };
    if rules.delay > rules.max_delay {
        context.findings.error(&section.span_of("failure_delay"), "\"failure_delay\" is above \"max_failure_delay\"");
    }
    rules
}

/// `allow_from`: networks and addresses.
pub(super) fn read_allow_from(context: &Context<'_>, section: &Section<'_>) -> Option<AllowList> {
    let written = section.strings("allow_from")?;
    if written.is_empty() {
        context.findings.error_hint(
            &section.span_of("allow_from"),
            "\"allow_from\" is empty: nobody could connect",
            "leave it out to allow all addresses",
        );
    }
    let mut networks = Vec::new();
    for text in written {
        match parse_network(text.value) {
            Ok(network) => networks.push(network),
            Err(hint) => context.findings.error_hint(&text.span, format!("\"{}\" is no network", text.value), hint),
        }
    }
    Some(AllowList::new(networks))
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&AUTH];
