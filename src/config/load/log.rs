//! `[log]`

use super::Context;
use crate::config::diagnostics::did_you_mean;
use crate::config::model::{AuditSink, LogConfig, LogFormat};
use crate::config::section::{Keys, Section};

const LOG: Keys = Keys { known: &["format", "level", "audit", "statements"], later: &["file"] };

pub(super) fn read(context: &Context<'_>, root: &Section<'_>) -> Option<LogConfig> {
    let mut log =
        LogConfig { format: LogFormat::Text, level: "info".to_owned(), audit: AuditSink::Log, statements: false };
    let Some(section) = root.table("log", &LOG) else {
        return (!root.has("log")).then_some(log);
    };
    match section.nonempty("format") {
        Some(format) => match format.value {
            "text" => log.format = LogFormat::Text,
            "json" => log.format = LogFormat::Json,
            other => context.findings.error_hint(
                &format.span,
                format!("\"{other}\" is no log format"),
                "\"text\" or \"json\"",
            ),
        },
        None => log.format = LogFormat::Text,
    }
    if let Some(level) = section.nonempty("level") {
        if is_filter(level.value) {
            log.level = level.value.to_owned();
        } else {
            let levels = ["error", "warn", "info", "debug", "trace"];
            let hint = did_you_mean(level.value, levels).unwrap_or_else(|| {
                "error, warn, info, debug, trace, or a filter like \"info,pgwarden::pool=debug\"".to_owned()
            });
            let message = format!("\"{}\" is no log level", level.value);
            context.findings.error_hint(&level.span, message, hint);
        }
    }
    if let Some(audit) = section.nonempty("audit") {
        log.audit = match audit.value {
            "log" => AuditSink::Log,
            path => AuditSink::File(context.path(path)),
        };
    }
    if let Some(statements) = section.bool("statements") {
        log.statements = statements.value;
    }
    Some(log)
}

/// A bare word must be a level: the filter's own syntax would take any word for a target, and log nothing else.
fn is_filter(text: &str) -> bool {
    let bare_words_are_levels = text
        .split(',')
        .map(str::trim)
        .all(|part| part.contains(['=', ':', '[']) || part.parse::<tracing::level_filters::LevelFilter>().is_ok());
    bare_words_are_levels && tracing_subscriber::EnvFilter::try_new(text).is_ok()
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&LOG];
