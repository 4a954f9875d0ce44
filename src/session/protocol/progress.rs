//! Replies that go well: which message belongs to which expectation, and which one completes it.

use super::Session;
use super::copy::CopyStream;
use super::load::LoadPart;
use super::replies::{Disposition, Expected, InternalQuery, Kind, Run, SettingRow};
use super::server_bytes::Broken;
use super::switching::Change;
use crate::guard::{Effect, Guarded};
use crate::wire::backend::{data_row, drop_last_params};
use crate::wire::encode::backend;

/// What a message means to the reply that it belongs to.
enum Progress {
    /// More will come.
    Continues,
    /// It was the last of it.
    Completes,
}

impl Session {
    /// A message that was passed on in parts is over.
    pub(super) fn passed(&mut self, tag: u8) -> Result<(), Broken> {
        let Some(expected) = self.server.replies.head() else { return Err(Broken::unexpected(tag)) };
        match (&expected.kind, tag) {
            (Kind::Query(_), b'T' | b'D' | b'd') | (Kind::Execute(_), b'D' | b'd') => Ok(()),
            (Kind::DescribeStatement(_) | Kind::DescribePortal, b'T') => {
                self.completed();
                Ok(())
            }
            _ => Err(Broken::unexpected(tag)),
        }
    }

    pub(super) fn on_progress(&mut self, tag: u8, frame: &[u8], body: &[u8]) -> Result<(), Broken> {
        let Some(expected) = self.server.replies.head() else { return Err(Broken::unexpected(tag)) };
        let change = change_at(&expected.kind, tag);
        if let b'G' | b'H' = tag {
            self.stats.copies(tag);
        }
        if let b'C' | b'I' | b's' = tag {
            self.note_statement_end(tag, body);
        }
        if let b'C' | b'I' = tag {
            self.note_dropped();
        }
        self.note_loaded(tag, body);
        let Some(expected) = self.server.replies.head() else { return Err(Broken::unexpected(tag)) };
        let own_tag = match &expected.kind {
            Kind::Query(run) | Kind::Execute(run) => run.tag_now(),
            _ => None,
        };
        let progress = progress(&mut expected.kind, tag)?;
        let forwards = matches!(expected.disposition, Disposition::Forward);
        if let Some(change) = change {
            self.note_change(&change, body);
        }
        if tag == b'G' {
            self.begin_copy_in();
        }
        if forwards {
            self.forward_reply(tag, own_tag, frame, body)?;
        }
        if let b'C' | b'I' | b's' = tag {
            self.statement_ended();
        }
        if tag == b'C' && !matches!(self.copy.stream, CopyStream::Insert | CopyStream::Refused) {
            self.copy.stream = CopyStream::None;
        }
        if let Progress::Completes = progress {
            self.completed();
        }
        Ok(())
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
                (kind, _) => self.conclude(&kind),
            }
        }
        self.send_local();
    }

    /// What a reply that went well means for the session.
    fn conclude(&mut self, kind: &Kind) {
        if let Kind::Execute(run) = kind {
            self.ran(run);
        }
    }

    /// A run ended well: what it did to settings.
    pub(super) fn ran(&mut self, run: &Run) {
        let Some(guarded) = run.subject.guarded() else { return };
        for effect in guarded.plans().iter().flat_map(|plan| &plan.effects) {
            match effect {
                Effect::ResetOwn => self.context.settings.reset(),
                Effect::Setting(_) | Effect::ResetAll | Effect::Pin(_) | Effect::CatalogChanged => {}
                // Noted before: see `note_dropped`.
                Effect::Deallocate(_) | Effect::DiscardAll => {}
            }
        }
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
        let Some(Expected { disposition: Disposition::Swallow(InternalQuery::Outcome(rows)), .. }) =
            self.server.replies.head()
        else {
            return Err(Broken::unexpected(b'D'));
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

/// What the statement that a CommandComplete ends does to the tenant context.
fn change_at(kind: &Kind, tag: u8) -> Option<Change> {
    match kind {
        Kind::Query(run) | Kind::Execute(run) if tag == b'C' || (tag == b'I' && run.tag.is_some()) => {
            run.changes.get(run.statement).cloned()
        }
        _ => None,
    }
}

fn progress(kind: &mut Kind, tag: u8) -> Result<Progress, Broken> {
    use Progress::{Completes, Continues};
    Ok(match (kind, tag) {
        (Kind::Query(run), b'C' | b'I') => {
            run.statement += 1;
            run.streamed = false;
            Continues
        }
        (Kind::Query(_) | Kind::Execute(_), b'G' | b'H' | b'c') => Continues,
        (Kind::Execute(_), b'C' | b'I' | b's') => Completes,
        (Kind::Parse { .. }, b'1') | (Kind::Bind { .. } | Kind::OwnBind, b'2') | (Kind::Close(_), b'3') => Completes,
        (Kind::DescribeStatement(_), b't') => Continues,
        (Kind::DescribeStatement(_) | Kind::DescribePortal, b'n') => Completes,
        _ => return Err(Broken::unexpected(tag)),
    })
}
