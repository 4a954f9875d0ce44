//! Replies that go well: which message belongs to which expectation, and which one completes it.

use super::Session;
use super::copy::CopyStream;
use super::load::LoadPart;
use super::replies::{Disposition, Expected, InternalQuery, Kind, SettingRow};
use super::resetting::tag_of_reset;
use super::server_bytes::Broken;
use crate::guard::{Guarded, StatementKind};
use crate::wire::backend::{data_row, drop_last_params};
use crate::wire::encode::backend;

/// What a message is to the reply at the head of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A statement has ended: CommandComplete, or EmptyQueryResponse.
    Statement,
    /// An Execute has stopped before its portal's end.
    Suspended,
    /// A COPY stream of the client is asked for.
    CopyIn,
    /// A COPY stream of the server begins.
    CopyOut,
    /// More will come.
    Part,
    /// It was the last of it.
    Last,
}

impl Session {
    /// A message that was passed on in parts is over.
    pub(super) fn passed(&mut self, tag: u8) -> Result<(), Broken> {
        let Some(expected) = self.server.replies.head() else { return Err(Broken::unexpected(tag)) };
        match (&expected.kind, tag) {
            (Kind::Query(_), b'T' | b'D' | b'd' | b'V') | (Kind::Execute(_), b'D' | b'd') => Ok(()),
            (Kind::DescribeStatement(_) | Kind::DescribePortal(_), b'T') => {
                self.completed();
                Ok(())
            }
            _ => Err(Broken::unexpected(tag)),
        }
    }

    /// A message of a reply that goes well: what it means for the session, then what the client gets of it.
    pub(super) fn on_progress(&mut self, tag: u8, frame: &[u8], body: &[u8]) -> Result<(), Broken> {
        let Some(expected) = self.server.replies.head() else { return Err(Broken::unexpected(tag)) };
        let completes = matches!(expected.kind, Kind::Execute(_));
        let forwards = matches!(expected.disposition, Disposition::Forward);
        let step = step(&expected.kind, tag)?;
        let mut own_tag = None;
        match step {
            Step::Statement => own_tag = self.on_statement_end(tag, body),
            Step::Suspended => self.record_statement_end(tag, body),
            Step::CopyIn => {
                self.stats.copies(tag);
                self.begin_copy_in();
            }
            Step::CopyOut => {
                self.stats.copies(tag);
                self.observe_copy(false);
            }
            Step::Part | Step::Last => {}
        }
        if forwards {
            self.forward_reply(tag, own_tag, frame, body)?;
        }
        match step {
            Step::Statement | Step::Suspended => {
                self.statement_ended();
                if tag == b'C' && !matches!(self.copy.stream, CopyStream::Insert | CopyStream::Refused) {
                    self.copy.stream = CopyStream::None;
                }
                if completes {
                    self.completed();
                }
            }
            Step::Last => self.completed(),
            Step::CopyIn | Step::CopyOut | Step::Part => {}
        }
        Ok(())
    }

    /// A statement has ended well. Returns the command tag that the client gets for it, if that is pgwarden's own.
    fn on_statement_end(&mut self, tag: u8, body: &[u8]) -> Option<&'static str> {
        self.record_statement_end(tag, body);
        self.record_dropped();
        if tag == b'C' {
            self.record_prepared_name();
        }
        self.record_loaded(tag, body);
        let Some(Expected { kind: Kind::Query(run) | Kind::Execute(run), .. }) = self.server.replies.head() else {
            return None;
        };
        self.server.tx_left |= run.plan().is_some_and(|plan| plan.kind == StatementKind::Transaction);
        let own_tag = run.tag_now().or_else(|| run.plan().and_then(|plan| tag_of_reset(plan)));
        let ended = tag == b'C' || run.tag.is_some();
        let change = if ended { run.changes.get(run.statement).cloned() } else { None };
        run.statement += 1;
        run.streamed = false;
        if let Some(change) = change {
            self.record_change(&change, body);
        }
        own_tag
    }

    /// Forwards a message, without what pgwarden put into what it answers.
    fn forward_reply(
        &mut self,
        tag: u8,
        own_tag: Option<&'static str>,
        frame: &[u8],
        body: &[u8],
    ) -> Result<(), Broken> {
        let Some(expected) = self.server.replies.head() else { return Ok(()) };
        match (&expected.kind, own_tag, tag) {
            (Kind::DescribeStatement(statement), _, b't') => {
                let appended = statement.guarded.extra_values().len();
                drop_last_params(&mut self.client.out, body, appended)?;
            }
            (_, Some(own_tag), b'I' | b'C') => backend::command_complete(&mut self.client.out, own_tag)?,
            _ => self.client.out.extend_from_slice(frame),
        }
        Ok(())
    }

    /// The head's reply is complete.
    fn completed(&mut self) {
        if let Some(expected) = self.server.replies.pop() {
            if !matches!(expected.disposition, Disposition::Swallow(_)) {
                self.replay.answered();
            }
            match (expected.kind, expected.disposition) {
                (_, Disposition::Swallow(InternalQuery::Load(LoadPart::Begin(load)))) => self.begin_load(load),
                (Kind::Execute(run), Disposition::Cut(error)) => self.cut_batch(&run, *error),
                _ => {}
            }
        }
        self.send_local();
    }

    /// Sends bytes of ours whose turn it is.
    pub(super) fn send_local(&mut self) {
        while let Some(Expected { kind: Kind::Local { .. } | Kind::Loaded, .. }) = self.server.replies.head() {
            match self.server.replies.pop().map(|it| it.kind) {
                Some(Kind::Local { bytes, .. }) => self.client.out.extend_from_slice(&bytes),
                Some(_) | None => self.loaded(),
            }
        }
    }

    pub(super) fn on_outcome_row(&mut self, body: &[u8]) -> Result<(), Broken> {
        let rows = match self.server.replies.head() {
            Some(Expected { disposition: Disposition::Swallow(InternalQuery::Outcome(rows)), .. }) => rows,
            Some(Expected { disposition: Disposition::Swallow(InternalQuery::Temporary(count)), .. }) => {
                return Self::on_temporary_row(count, &data_row(body)?);
            }
            Some(Expected { disposition: Disposition::Swallow(InternalQuery::Locks(held)), .. }) => {
                return Self::on_locks_row(held, &data_row(body)?);
            }
            Some(Expected { disposition: Disposition::Swallow(InternalQuery::Channels(marks)), .. }) => {
                return Self::on_channels_row(marks, &data_row(body)?);
            }
            Some(_) | None => return Err(Broken::unexpected(b'D')),
        };
        let values = data_row(body)?;
        if let [Some(name), value, is_default] = values.as_slice() {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            rows.push(SettingRow { name: text(name), value: value.map(text), is_default: *is_default == Some(b"t") });
        }
        Ok(())
    }

    /// The statements of the run at the head.
    pub(super) fn head_guarded(&mut self) -> Option<(&Guarded, usize)> {
        match &self.server.replies.head()?.kind {
            Kind::Query(run) | Kind::Execute(run) => run.subject.guarded().map(|guarded| (guarded, run.statement)),
            _ => None,
        }
    }
}

fn step(kind: &Kind, tag: u8) -> Result<Step, Broken> {
    Ok(match (kind, tag) {
        (Kind::Query(_) | Kind::Execute(_), b'C' | b'I') => Step::Statement,
        (Kind::Execute(_), b's') => Step::Suspended,
        (Kind::Query(_) | Kind::Execute(_), b'G') => Step::CopyIn,
        (Kind::Query(_) | Kind::Execute(_), b'H') => Step::CopyOut,
        (Kind::Query(_) | Kind::Execute(_), b'c') | (Kind::DescribeStatement(_), b't') => Step::Part,
        (Kind::Parse { .. }, b'1') | (Kind::Bind { .. } | Kind::OwnBind, b'2') | (Kind::Close(_), b'3') => Step::Last,
        (Kind::DescribeStatement(_) | Kind::DescribePortal(_), b'n') => Step::Last,
        _ => return Err(Broken::unexpected(tag)),
    })
}
