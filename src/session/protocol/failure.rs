//! Errors of the server: whose they are, what the client may see of them, and what they undo.

use super::copy::CopyStream;
use super::parts::{Prepared, ServerSide};
use super::refuse::MUST_FAIL;
use super::replies::{Closes, Disposition, Expected, InternalQuery, Kind, Run, Subject};
use super::server_bytes::Broken;
use super::statements::{Statement, Undo};
use super::{Batch, Intake, Session};
use crate::base::{FOREIGN_PARENT, FOREIGN_ROW, OWN_VALUE_ONLY, PgError, SqlState};
use crate::guard::SQL_PREPARED_PREFIX;
use crate::wire::backend::{FieldChange, Report, code, rewrite_report};
use crate::wire::encode::backend;

/// Their DETAIL shows keys and rows: unique, foreign key, check and exclusion violations.
const TELLING: [SqlState; 4] = [SqlState(*b"23505"), SqlState(*b"23503"), SqlState(*b"23514"), SqlState(*b"23P01")];

/// Their message has the name of a prepared statement.
const OF_NAMES: [SqlState; 3] =
    [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PREPARED_STATEMENT, SqlState::PROTOCOL_VIOLATION];

/// What the server skips and answers after an error.
enum Extent {
    /// A Query, or a Sync: ReadyForQuery follows.
    Message,
    /// The extended protocol: all up to the next Sync.
    UpToSync,
    /// A Sync of pgwarden's own: ReadyForQuery follows, and the client's batch goes on to its Sync.
    Split,
}

impl Session {
    pub(super) fn on_error(&mut self, frame: &[u8], body: &[u8]) -> Result<(), Broken> {
        let report = Report::read(body)?;
        if report.is_fatal() {
            self.client.out.extend_from_slice(frame);
            self.client.intake = Intake::Closed;
            return Err(Broken::Ended);
        }
        if self.doubts(&report) && self.run_again() {
            return Ok(());
        }
        let Some(expected) = self.server.replies.head() else { return Err(Broken::unexpected(b'E')) };
        let extent = match (&mut expected.kind, &expected.disposition) {
            (Kind::Query(run), _) => {
                run.failed = true;
                Extent::Message
            }
            (Kind::Sync, Disposition::Swallow(InternalQuery::Split)) => Extent::Split,
            (Kind::Sync, _) => Extent::Message,
            _ => Extent::UpToSync,
        };
        if !self.is_internal_query() {
            self.replay.answered();
            self.record_failure();
            self.record_statement_failure();
            self.report_error(&report)?;
        }
        self.statement_ended();
        self.copy.stream = CopyStream::None;
        let ends_query = self.load_failed();
        match extent {
            Extent::UpToSync => self.skip_to_sync(),
            Extent::Split => self.client.intake = Intake::Skipping,
            Extent::Message => {}
        }
        if ends_query {
            self.end_failed_load();
        }
        Ok(())
    }

    /// Whether the error is none of the client's business: a Query of pgwarden's own failed. (A Parse of its own that
    /// fails makes the client's message fail.)
    fn is_internal_query(&mut self) -> bool {
        let disposition = self.server.replies.head().map(|expected| &expected.disposition);
        matches!(
            disposition,
            Some(Disposition::Swallow(
                InternalQuery::Context(_)
                    | InternalQuery::Outcome(_)
                    | InternalQuery::Locks(_)
                    | InternalQuery::Temporary(_)
                    | InternalQuery::Begin
                    | InternalQuery::Fail
                    | InternalQuery::Spoil
            ))
        )
    }

    /// The server drops all up to the next Sync, Queries too: so do we, what is on its way and what the client still sends.
    /// Until that Sync the connection is as in the middle of a batch.
    pub(super) fn skip_to_sync(&mut self) {
        let Self { server: ServerSide { replies, link, .. }, prepared, .. } = self;
        let Prepared { statements, portals, by_sql, .. } = prepared;
        let mut prepared = link.as_mut().map(|link| &mut link.known.prepared);
        let (mut unnamed_parse, mut undone) = (false, Vec::new());
        let found = replies.unwind(|kind, failed| match kind {
            Kind::Parse { subject, undo, server } => {
                unnamed_parse |= server.is_none() && !matches!(subject, Subject::None);
                if let Some(undo) = undo {
                    undone.extend(undo.unnamed(failed));
                    statements.undo(undo, failed);
                }
                if let (Some(id), Some(prepared)) = (server, prepared.as_mut()) {
                    prepared.remove(id);
                }
            }
            Kind::Bind { undo, .. } | Kind::Close(Closes::Portal(undo)) => portals.undo(undo),
            Kind::Close(Closes::BySql(statement)) => drop(by_sql.insert(statement.name.clone(), statement)),
            Kind::Close(Closes::Evicted(id)) => {
                if let Some(prepared) = prepared.as_mut() {
                    prepared.restore(id);
                }
            }
            Kind::Local { undo: Some(undo), .. } => statements.undo(undo, false),
            Kind::Query(Run { unnamed: Some(unnamed), .. }) => statements.undo(Undo::Dropped(unnamed), false),
            Kind::Query(_)
            | Kind::Local { undo: None, .. }
            | Kind::Close(Closes::Own)
            | Kind::OwnBind
            | Kind::DescribeStatement(_)
            | Kind::DescribePortal(_)
            | Kind::Execute(_)
            | Kind::Sync
            | Kind::Loaded => {}
        });
        for (parse, before) in undone {
            replies.unnamed_was(parse, &before);
        }
        if unnamed_parse {
            // What was the server's unnamed statement may have been replaced or not.
            self.server.forget_unnamed();
        }
        if !found {
            self.server.batch = Batch::Open;
            if self.client.intake == Intake::Open {
                self.client.intake = Intake::Skipping;
            }
        }
    }

    /// Tells the client of an error.
    fn report_error(&mut self, report: &Report<'_>) -> Result<(), Broken> {
        let hides = self.context.backend.mode.is_shared();
        if let Some(error) = self.reason_of_cancel(report.sqlstate()) {
            backend::error_response(&mut self.client.out, &error);
            return Ok(());
        }
        let context = self.load_context(report);
        let Some(expected) = self.server.replies.head() else { return Ok(()) };
        let replaced = match &expected.disposition {
            Disposition::Refused(error) => Some(error).filter(|_| is_ours(report)),
            Disposition::Cut(error) => Some(error).filter(|_| report.sqlstate() == Some(SqlState::QUERY_CANCELED)),
            Disposition::Forward | Disposition::Swallow(_) => None,
        };
        if let Some(error) = replaced {
            backend::error_response(&mut self.client.out, error);
            return Ok(());
        }
        let rewritten =
            is_rewritten(expected) || matches!(expected.disposition, Disposition::Swallow(InternalQuery::Load(_)));
        if let Some(error) = foreign_value(report).filter(|_| rewritten) {
            backend::error_response(&mut self.client.out, &error);
            return Ok(());
        }
        let telling = hides && report.sqlstate().is_some_and(|state| TELLING.contains(&state));
        let of_name = report.sqlstate().is_some_and(|state| OF_NAMES.contains(&state));
        let of_temporary = report.sqlstate() == Some(SqlState::UNDEFINED_TABLE) && is_of_session(expected);
        let names = if of_temporary { Some(temporary_names()) } else { names_of(expected).filter(|_| of_name) };
        let added = context.as_deref().map(|text| (code::WHERE, text));
        rewrite_report(&mut self.client.out, b'E', report, added, |field, value| match field {
            code::WHERE if added.is_some() => FieldChange::Drop,
            code::DETAIL if telling => FieldChange::Drop,
            code::POSITION if rewritten => moved(value, expected),
            code::MESSAGE => names.as_ref().map_or(FieldChange::Keep, |names| rename(value, names)),
            _ => FieldChange::Keep,
        })?;
        Ok(())
    }
}

/// The refusal behind an error that the guard let a statement raise: a value for the tenant column, or a row in the way, that only
/// showed when it ran. The server can only say it as a cast that failed.
fn foreign_value(report: &Report<'_>) -> Option<PgError> {
    let text = report.log_text(code::MESSAGE);
    let state = match report.sqlstate() {
        Some(SqlState::INVALID_TEXT_REPRESENTATION) if text.contains(OWN_VALUE_ONLY) => {
            SqlState::INSUFFICIENT_PRIVILEGE
        }
        Some(SqlState::INVALID_TEXT_REPRESENTATION) if text.contains(FOREIGN_PARENT) => SqlState::FOREIGN_KEY_VIOLATION,
        Some(SqlState::INVALID_TEXT_REPRESENTATION) if text.contains(FOREIGN_ROW) => {
            let error = PgError::error(SqlState::UNIQUE_VIOLATION, FOREIGN_ROW);
            return Some(error.hint(
                "The key does not have the tenant column, and another tenant has the value. Make it unique for each tenant: \
                 UNIQUE (tenant_id, ...).",
            ));
        }
        Some(_) | None => return None,
    };
    let message = text.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"')).map_or(&*text, |(inner, _)| inner);
    Some(PgError::error(state, message.to_owned()))
}

/// Whether the server failed for the reason that it was given: a statement that must fail, or a CopyFail of ours.
fn is_ours(report: &Report<'_>) -> bool {
    report.sqlstate() == Some(SqlState::SYNTAX_ERROR) || report.log_text(code::MESSAGE).contains(MUST_FAIL)
}

/// A statement's name on the server and for the client.
struct Names {
    server: String,
    client: String,
}

fn statement_of(expected: &Expected) -> Option<&Statement> {
    match &expected.kind {
        Kind::Bind { statement, .. } | Kind::DescribeStatement(statement) => Some(statement),
        Kind::Parse { subject: Subject::Statement(statement), .. } => Some(statement),
        Kind::Execute(run) => match &run.subject {
            Subject::Statement(statement) => Some(statement),
            Subject::Script(_) | Subject::None => None,
        },
        Kind::Parse { .. }
        | Kind::Query(_)
        | Kind::DescribePortal(_)
        | Kind::Close(_)
        | Kind::Sync
        | Kind::Local { .. }
        | Kind::Loaded
        | Kind::OwnBind => None,
    }
}

fn names_of(expected: &Expected) -> Option<Names> {
    if let Kind::Query(_) | Kind::Execute(_) = &expected.kind {
        // What stands in the text of PREPARE, EXECUTE or DEALLOCATE.
        return Some(Names { server: format!("\"{SQL_PREPARED_PREFIX}"), client: "\"".to_owned() });
    }
    let statement = statement_of(expected).filter(|statement| !statement.name.is_empty())?;
    let quoted = |name: &str| format!("\"{name}\"");
    Some(Names { server: quoted(&statement.wire_name()), client: quoted(&statement.name) })
}

/// Whether what failed names temporary tables.
fn is_of_session(expected: &Expected) -> bool {
    let guarded = match &expected.kind {
        Kind::Query(run) => run.subject.guarded(),
        _ => statement_of(expected).map(|statement| &statement.guarded),
    };
    guarded.is_some_and(|guarded| guarded.plans().iter().any(|plan| plan.is_of_session()))
}

/// The client need not name their schema.
fn temporary_names() -> Names {
    Names { server: "\"pg_temp.".to_owned(), client: "\"".to_owned() }
}

fn rename(value: &[u8], names: &Names) -> FieldChange {
    match std::str::from_utf8(value) {
        Ok(text) if text.contains(&names.server) => {
            FieldChange::Replace(text.replacen(&names.server, &names.client, 1))
        }
        Ok(_) | Err(_) => FieldChange::Keep,
    }
}

/// A position in the text that the server got, as one in the client's; none where what stands there is not the client's.
fn moved(value: &[u8], expected: &Expected) -> FieldChange {
    let forwarded = matches!(expected.disposition, Disposition::Forward);
    let position = std::str::from_utf8(value).ok().filter(|_| forwarded).and_then(|digits| digits.parse().ok());
    let of_client = position.and_then(|position: usize| match &expected.kind {
        Kind::Query(run) if run.tag.is_none() && run.tags.is_empty() => {
            let guarded = run.subject.guarded()?;
            guarded.client_position(&guarded.text(), position)
        }
        _ => {
            let statement = statement_of(expected)?;
            statement.guarded.client_position(&statement.text(), position)
        }
    });
    of_client.map_or(FieldChange::Drop, |position| FieldChange::Replace(position.to_string()))
}

/// Positions count characters of the text that the server got.
fn is_rewritten(expected: &Expected) -> bool {
    match &expected.kind {
        Kind::Query(run) => run.subject.guarded().is_some_and(|guarded| !guarded.is_as_written()),
        _ => statement_of(expected).is_some_and(|statement| !statement.is_as_written()),
    }
}
