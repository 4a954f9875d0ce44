//! `[metrics]`

use std::net::SocketAddr;

use super::Context;
use crate::config::quota::MetricsConfig;
use crate::config::section::{Keys, Section};

const METRICS: Keys = Keys { known: &["address", "max_tenants"], later: &["tls"] };

pub(super) fn read(context: &Context<'_>, root: &Section<'_>) -> Option<MetricsConfig> {
    let section = root.table("metrics", &METRICS)?;
    let text = section.required("address", "\"127.0.0.1:9187\"");
    let max_tenants = section.number("max_tenants", 0..=100_000).map_or(100, |it| it.value);
    let text = text?;
    match text.value.parse::<SocketAddr>() {
        Ok(address) => Some(MetricsConfig { address, max_tenants }),
        Err(_) => {
            context.findings.error_hint(
                &text.span,
                format!("\"{}\" is no address and port", text.value),
                "\"127.0.0.1:9187\" or \"[::1]:9187\"",
            );
            None
        }
    }
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&METRICS];
