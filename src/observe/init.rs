//! Where log lines go: standard error as text or JSON, audit events among them or in a file of their own.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use super::audit;
use super::refusals::keep_statements;
use super::span::Fields;
use crate::config::{AuditSink, LogConfig, LogFormat};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The audit file.
    #[error("audit file {path}: {error}")]
    AuditFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// `RUST_LOG`, or the configured level.
    #[error("log filter: {0}")]
    Filter(#[from] ParseError),
    /// It was initialised before.
    #[error(transparent)]
    Twice(#[from] TryInitError),
}

/// Sets the process's log up. `RUST_LOG` wins over the configured level; audit events are written whatever it says.
///
/// # Errors
/// As [`InitError`] says.
pub fn init(config: &LogConfig) -> Result<(), InitError> {
    let audit = open_audit(&config.audit)?;
    keep_statements(config.statements);
    let (subscriber, handle) = subscriber(config.format, filter(&level(config), audit.is_some())?, io::stderr, audit);
    subscriber.try_init()?;
    // The first one is the process's.
    let _ = FILTER.set(handle);
    Ok(())
}

/// Changes the level of the process's log, unless `RUST_LOG` is set, and whether statements are kept.
///
/// # Errors
/// A level that is none.
pub fn set_level(config: &LogConfig) -> Result<(), ParseError> {
    keep_statements(config.statements);
    let Some(handle) = FILTER.get() else { return Ok(()) };
    let filter = filter(&level(config), matches!(config.audit, AuditSink::File(_)))?;
    // It fails only when the subscriber is gone, and the log with it.
    let _ = handle.reload(filter);
    Ok(())
}

/// The filter of the process's log.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

fn level(config: &LogConfig) -> String {
    let forced = std::env::var("RUST_LOG").ok().filter(|f| !f.is_empty());
    forced.unwrap_or_else(|| config.level.clone())
}

fn filter(level: &str, audit_elsewhere: bool) -> Result<EnvFilter, ParseError> {
    // The audit's own directive comes last and wins. With a file of its own the audit is not for this layer.
    let for_audit = if audit_elsewhere { "off" } else { "info" };
    EnvFilter::try_new(format!("{level},{}={for_audit}", audit::TARGET))
}

/// The file that audit events are appended to, if they have one.
fn open_audit(sink: &AuditSink) -> Result<Option<File>, InitError> {
    let AuditSink::File(path) = sink else { return Ok(None) };
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map(Some).map_err(|error| InitError::AuditFile { path: path.clone(), error })
}

fn subscriber<W>(
    format: LogFormat,
    filter: EnvFilter,
    out: W,
    audit: Option<File>,
) -> (impl Subscriber, reload::Handle<EnvFilter, Registry>)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter);
    let main = layer(format, out).with_filter(filter);
    // The file has no level: the events of the one target, and the spans that they stand in.
    let audit = audit.map(|file| {
        layer(LogFormat::Json, Mutex::new(file)).with_filter(filter_fn(|m| m.is_span() || m.target() == audit::TARGET))
    });
    (Registry::default().with(main).with(audit), handle)
}

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

fn layer<S, W>(format: LogFormat, out: W) -> BoxedLayer<S>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(out);
    match format {
        LogFormat::Text => Box::new(layer.with_ansi(false).fmt_fields(Fields::default())),
        LogFormat::Json => Box::new(layer.json().flatten_event(true).with_current_span(true).with_span_list(false)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::base::SqlState;
    use crate::base::{LoginName, SessionId, TenantName};
    use crate::base::{Refusal, RefusalKind};
    use crate::observe::refusals::Whose;
    use crate::observe::{SessionSpan, record_tenant};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a session logs, and what of it lands in the audit file.
    fn logged(format: LogFormat, level: &str, audit: Option<File>) -> String {
        let buffer = Buffer::default();
        let out = buffer.clone();
        let filter = filter(level, audit.is_some()).unwrap();
        let (subscriber, _) = subscriber(format, filter, move || out.clone(), audit);
        tracing::subscriber::with_default(subscriber, || {
            let span = SessionSpan::new(SessionId(7), "127.0.0.1:5".parse().ok());
            span.record_login("app\n");
            span.record_tenant(&TenantName::new("acme"));
            span.span().in_scope(|| {
                tracing::info!("inside");
                let denied =
                    Refusal::new(RefusalKind::Relation, SqlState::INSUFFICIENT_PRIVILEGE, "no").about("public.secrets");
                let whose = Whose { login: &LoginName::new("app"), tenant: None };
                audit::refusal(&denied, "SELECT 'hunter2' FROM secrets", &whose);
                audit::login_refused("mallory\u{1b}", &"no such login");
                audit::operator_statement("DROP TABLE t");
            });
            audit::login_accepted(&LoginName::new("app"), None, "operator");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_json_line_of_a_session_names_it() {
        let text = logged(LogFormat::Json, "info", None);
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 5, "{text}");
        for line in &lines[..4] {
            let span = &line["span"];
            assert_eq!((&span["id"], &span["tenant"]), (&7.into(), &"acme".into()), "{line}");
            assert_eq!(span["login"], "app\\n");
        }
        assert_eq!((&lines[1]["kind"], &lines[1]["code"]), (&"relation".into(), &"42501".into()));
        assert_eq!(lines[1]["object"], "public.secrets");
        assert_eq!(lines[1]["fingerprint"].as_str().unwrap().len(), 16);
        assert_eq!(lines[1]["target"], audit::TARGET);
        assert_eq!((&lines[4]["event"], &lines[4]["role"]), (&"login".into(), &"operator".into()));
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn text_lines_too_and_no_escape_codes() {
        let text = logged(LogFormat::Text, "info", None);
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.lines().take(4).all(|l| l.contains("session{id=7") && l.contains("tenant=acme")), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains("hunter2"), "{text}");
    }

    /// Runs what a session logs, and gives the lines.
    fn lines(format: LogFormat, log: impl FnOnce(&SessionSpan)) -> Vec<String> {
        let buffer = Buffer::default();
        let out = buffer.clone();
        let (subscriber, _) = subscriber(format, filter("info", false).unwrap(), move || out.clone(), None);
        tracing::subscriber::with_default(subscriber, || log(&SessionSpan::new(SessionId(7), None)));
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_do_not_grow_with_each_switch_of_the_tenant() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let lines = lines(format, |span| {
                span.record_login("app tenant=forged");
                for i in 0..1_000 {
                    record_tenant(&span.span(), Some(&TenantName::new(format!("t{i:03}"))));
                }
                span.span().in_scope(|| tracing::info!("switched"));
                record_tenant(&span.span(), None);
                span.span().in_scope(|| tracing::info!("nobody"));
            });
            assert!(lines[0].contains("t999") && !lines[0].contains("t998"), "{}", lines[0]);
            assert!(lines[0].contains("forged") && lines.iter().all(|line| line.len() < 300), "{}", lines[0]);
            assert!(!lines[1].contains("t999"), "{}", lines[1]);
            if format == LogFormat::Text {
                assert_eq!(lines[0].matches(" tenant=").count(), 1, "{}", lines[0]);
            }
        }
    }

    #[test]
    fn audit_events_pass_whatever_the_level() {
        let text = logged(LogFormat::Text, "error", None);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("statement refused") && text.contains("tenant=acme"));
    }

    #[test]
    fn an_audit_file_takes_them_out_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let file = open_audit(&AuditSink::File(path.clone())).unwrap();
        let text = logged(LogFormat::Text, "info", file);
        assert_eq!(text.lines().count(), 1, "{text}");
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written.lines().count(), 4, "{written}");
        let line: serde_json::Value = serde_json::from_str(written.lines().next().unwrap()).unwrap();
        assert_eq!(line["span"]["tenant"], "acme");
        let missing = open_audit(&AuditSink::File(dir.path().join("no/audit.log"))).unwrap_err();
        assert!(missing.to_string().contains("audit.log"), "{missing}");
    }
}
