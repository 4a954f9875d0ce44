//! `[limits.shared]`

use std::time::Duration;

use redis::IntoConnectionInfo as _;

use super::Context;
use crate::base::Secret;
use crate::config::limits::{SharedLimits, WhenAway};
use crate::config::section::{Keys, Section};

const SHARED: Keys = Keys {
    known: &["url", "password", "password_env", "password_file", "root_cert", "when_away", "timeout", "prefix"],
    later: &[],
};

pub(super) fn read(context: &Context<'_>, limits: &Section<'_>) -> Option<SharedLimits> {
    let section = limits.table("shared", &SHARED)?;
    let (url, address) = read_url(context, &section).unzip();
    let password = read_password(context, &section);
    Some(SharedLimits {
        root_cert: read_root_cert(context, &section),
        when_away: read_when_away(context, &section),
        timeout: section.duration("timeout", Duration::from_millis(10)).unwrap_or(Duration::from_millis(250)),
        prefix: section.nonempty("prefix").map_or("pgwarden:", |prefix| prefix.value).to_owned(),
        url: url?,
        address: address?,
        password,
    })
}

fn read_url(context: &Context<'_>, section: &Section<'_>) -> Option<(Secret, String)> {
    let text = section.required("url", "\"redis://127.0.0.1:6379\"")?;
    // It may hold a password: neither it nor what the parser says of it is repeated.
    let Ok(info) = text.value.into_connection_info() else {
        context.findings.error_hint(
            &text.span,
            format!("\"url\" in {} cannot be read", section.title),
            "redis://host:port/database, rediss:// for TLS, or unix:///path/to/socket",
        );
        return None;
    };
    Some((Secret::new(text.value), info.addr().to_string()))
}

fn read_password(context: &Context<'_>, section: &Section<'_>) -> Option<Secret> {
    match context.at_most_one(section, &["password", "password_env", "password_file"])? {
        "password" => section.nonempty("password").map(|password| Secret::new(password.value)),
        "password_env" => context.secret_from_env(section, "password_env"),
        _ => context.secret_from_file(section, "password_file"),
    }
}

fn read_root_cert(context: &Context<'_>, section: &Section<'_>) -> Option<Vec<u8>> {
    let name = section.nonempty("root_cert")?;
    let path = context.path(name.value);
    std::fs::read(&path)
        .map_err(|error| context.findings.error(&name.span, format!("{}: {error}", path.display())))
        .ok()
}

fn read_when_away(context: &Context<'_>, section: &Section<'_>) -> WhenAway {
    let Some(word) = section.nonempty("when_away") else { return WhenAway::Local };
    match word.value {
        "local" => WhenAway::Local,
        "refuse" => WhenAway::Refuse,
        other => {
            context.findings.error_hint(
                &word.span,
                format!("\"when_away\" in {} cannot be \"{other}\"", section.title),
                "\"local\" (each proxy holds the whole limit by itself) or \"refuse\"",
            );
            WhenAway::Local
        }
    }
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&SHARED];
