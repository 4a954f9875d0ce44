//! The span that all log lines of a session stand in.

use std::fmt;
use std::net::SocketAddr;

use tracing::Span;
use tracing::field::{Empty, Field, Visit, display};
use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::{DefaultFields, FormatFields, Writer};

use crate::base::{SessionId, TenantName};

/// Names from a startup packet are cut to this many characters in logs.
const MAX_NAME: usize = 128;

/// A session's span: its id from the start, its login and tenant once they are known.
#[derive(Clone, Debug)]
pub struct SessionSpan(Span);

impl SessionSpan {
    /// The span of a fresh connection; `peer` is `None` on a Unix socket.
    pub fn new(id: SessionId, peer: Option<SocketAddr>) -> Self {
        // Of the highest level, so that no level of the log takes the context from the lines that remain.
        // What is known is given at once: each record later writes all fields anew.
        Self(tracing::error_span!("session", id = id.0, peer = peer.map(display), login = Empty, tenant = Empty))
    }

    /// The login that the client claims, as it sent it: escaped and cut. Without spaces, which part the fields of a line.
    pub fn record_login(&self, login: &str) {
        self.0.record("login", display(loggable(login).replace(' ', "\\u{20}")));
    }

    /// The tenant that the session acts for.
    pub fn record_tenant(&self, tenant: &TenantName) {
        record_tenant(&self.0, Some(tenant));
    }

    /// For `tracing::Instrument`.
    pub fn span(&self) -> Span {
        self.0.clone()
    }
}

/// The tenant that the session of a span acts for.
pub fn record_tenant(span: &Span, tenant: Option<&TenantName>) {
    span.record("tenant", display(tenant.map_or("", TenantName::as_str)));
}

/// The fields of spans and events in text lines. One that is recorded again takes the place of what it was: the default
/// appends it, so that the lines of a session that switches tenants would grow with each switch. For values without spaces,
/// as those of a session's span are.
#[derive(Debug, Default)]
pub(super) struct Fields(DefaultFields);

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        self.0.format_fields(writer, fields)
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        fields.record(&mut Forget(&mut current.fields));
        let space = if current.fields.is_empty() { "" } else { " " };
        current.fields.push_str(space);
        self.format_fields(current.as_writer(), fields)
    }
}

/// Takes the fields that are recorded anew out of the text of a span.
struct Forget<'t>(&'t mut String);

impl Visit for Forget<'_> {
    fn record_debug(&mut self, field: &Field, _: &dyn fmt::Debug) {
        let is_it = |part: &&str| part.strip_prefix(field.name()).is_some_and(|rest| rest.starts_with('='));
        let kept: Vec<&str> = self.0.split(' ').filter(|part| !is_it(part)).collect();
        *self.0 = kept.join(" ");
    }
}

/// Text from a client as it may stand in a log: one line, no control characters, not long.
pub(super) fn loggable(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_NAME).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_NAME).is_some() {
        cut.push_str("...");
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_forge_lines() {
        assert_eq!(loggable("app"), "app");
        assert_eq!(loggable("a\nERROR \u{1b}[31m"), "a\\nERROR \\u{1b}[31m");
        assert_eq!(loggable(&"x".repeat(1000)).len(), 131);
    }
}
