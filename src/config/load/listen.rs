//! `[listen]`

use std::net::SocketAddr;
use std::num::NonZero;
use std::time::Duration;

use super::{Context, tls};
use crate::config::model::Listen;
use crate::config::section::{Keys, Section};

const LISTEN: Keys = Keys {
    known: &[
        "address",
        "tls",
        "login_timeout",
        "shutdown_timeout",
        "reuse_port",
        "max_connections",
        "max_logins",
        "max_message_bytes",
        "buffer_memory",
        "workers",
        "idle_timeout",
        "observe",
    ],
    later: &["proxy_protocol"],
};

/// Postgres's own bound on a message.
const MAX_MESSAGE: u64 = 1 << 30;

pub(super) fn read(context: &Context<'_>, root: &Section<'_>) -> Option<Listen> {
    let Some(section) = root.table("listen", &LISTEN) else {
        if !root.has("listen") {
            context.findings.error_hint(
                &root.span,
                "section [listen] is missing",
                "[listen]\n          address = \"127.0.0.1:6432\"",
            );
        }
        return None;
    };
    let addresses = read_addresses(context, &section);
    let tls = match section.has("tls") {
        true => Some(tls::read(context, &section.table("tls", &tls::TLS)?)?),
        false => None,
    };
    Some(Listen {
        addresses,
        tls,
        login_timeout: section.duration("login_timeout", Duration::from_millis(100)).unwrap_or(Duration::from_secs(15)),
        shutdown_timeout: section.duration("shutdown_timeout", Duration::ZERO).unwrap_or(Duration::from_secs(30)),
        observe: section.bool("observe").is_some_and(|b| b.value),
        reuse_port: section.bool("reuse_port").is_some_and(|b| b.value),
        idle_timeout: section.duration("idle_timeout", Duration::ZERO).unwrap_or_default(),
        max_connections: section.number("max_connections", 1..=1_000_000).map_or(10_000, |n| n.value),
        max_logins: section.number("max_logins", 1..=100_000).map_or(1_000, |n| n.value),
        buffer_memory: section.size("buffer_memory", 1 << 20..=1 << 38).unwrap_or(256 << 20),
        workers: section.number("workers", 1..=1_024).map_or_else(cores, |n| n.value),
        max_message_bytes: section.size("max_message_bytes", 64 << 10..=MAX_MESSAGE).unwrap_or(256 << 20),
    })
}

/// Processors that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn read_addresses(context: &Context<'_>, section: &Section<'_>) -> Vec<SocketAddr> {
    let written = section.strings("address").unwrap_or_default();
    if written.is_empty() {
        context.findings.error_hint(
            &section.span_of("address"),
            "[listen] needs at least one \"address\"",
            "address = \"127.0.0.1:6432\"",
        );
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for text in written {
        match text.value.parse() {
            Ok(address) if addresses.contains(&address) => {
                context.findings.error(&text.span, format!("address {address} is listed twice"))
            }
            Ok(address) => addresses.push(address),
            Err(_) => context.findings.error_hint(
                &text.span,
                format!("\"{}\" is no address to listen on", text.value),
                "an IP address and a port: \"127.0.0.1:6432\", \"0.0.0.0:6432\", \"[::]:6432\"",
            ),
        }
    }
    addresses
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&LISTEN];
