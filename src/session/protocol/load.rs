//! COPY FROM STDIN into a table whose row-level security binds the upstream's role. The server refuses the COPY: the client
//! gets all the replies of one, and its rows go out as INSERTs in the extended protocol, without a Sync until the stream has
//! ended. So they are one transaction, or a part of the client's: all of them stay, or none.

use std::sync::Arc;

use bytes::BytesMut;

use super::copy::CopyStream;
use super::not_ready::NotReady;
use super::refuse::MUST_FAIL;
use super::replies::{Disposition, InternalQuery, Kind, Replies, Run, Subject};
use super::statements::Portals;
use super::{Batch, Hold, Session, Wait};
use crate::base::{PgError, Refusal, SqlState};
use crate::guard::copy_rows::{Batch as Rows, CopyInserts};
use crate::guard::{CopyTarget, Guarded};
use crate::wire::backend::{CommandComplete, Report, code};
use crate::wire::encode::{backend, frontend};
use crate::wire::error::WireError;
use crate::wire::frontend::{ExtraParam, Format};

/// Which protocol the COPY came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoadProtocol {
    /// A Query: its end is ours to send.
    Simple,
    /// An Execute: the client sends Sync.
    Extended,
}

/// A message of a load.
#[derive(Debug)]
pub enum LoadPart {
    /// The first Parse: if it succeeds, the client may send its stream.
    Begin(Box<Load>),
    /// Rows of these lines.
    Rows((u64, u64)),
}

/// A load under way.
#[derive(Debug)]
pub struct Load {
    inserts: CopyInserts,
    target: Arc<CopyTarget>,
    protocol: LoadProtocol,
    /// Rows of the INSERT that is the server's unnamed statement.
    parsed: usize,
    /// Rows that the server has taken.
    rows: u64,
    /// The Sync of a Query was sent.
    synced: bool,
}

/// Writes rows as INSERTs.
struct Writer<'m> {
    out: &'m mut BytesMut,
    replies: &'m mut Replies,
    target: &'m CopyTarget,
    parsed: &'m mut usize,
    format: Format,
    sent: u64,
}

impl Writer<'_> {
    fn write(&mut self, rows: &Rows) -> Result<(), WireError> {
        if *self.parsed != rows.rows() {
            frontend::parse(self.out, "", &self.target.insert(rows.rows()), &[])?;
            *self.parsed = rows.rows();
            self.expect(Kind::Parse { subject: Subject::None, undo: None, server: None }, rows);
        }
        let format = self.format;
        let values: Vec<_> = rows.values().map(|value| ExtraParam { format, value }).collect();
        frontend::bind(self.out, "", "", &values, Format::Text)?;
        self.expect(Kind::OwnBind, rows);
        frontend::execute(self.out, "", 0)?;
        self.expect(Kind::Execute(Run::new(Subject::None)), rows);
        Ok(())
    }

    fn expect(&mut self, kind: Kind, rows: &Rows) {
        self.sent += 1;
        self.replies.push(kind, Disposition::Swallow(InternalQuery::Load(LoadPart::Rows(rows.lines()))));
    }
}

impl Session {
    /// The load that a text is, if it is one.
    ///
    /// # Errors
    /// 0A000 where it is one among other statements.
    pub(super) fn load_of(guarded: &Guarded, protocol: LoadProtocol) -> Result<Option<Box<Load>>, PgError> {
        if !guarded.plans().iter().any(|plan| plan.copy_in.as_ref().is_some_and(|copy| copy.target().is_some())) {
            return Ok(None);
        }
        let [plan] = guarded.plans() else {
            return Err(PgError::error(
                SqlState::FEATURE_NOT_SUPPORTED,
                "COPY FROM into a table with row-level security must be sent on its own",
            )
            .hint("Send it in a Query of its own, between BEGIN and COMMIT if need be."));
        };
        let Some((copy, target)) = plan.copy_in.as_ref().and_then(|copy| Some((copy, copy.target()?))) else {
            return Ok(None);
        };
        let Some((value, type_oid)) = guarded.slot_value(0, copy.slot) else { return Ok(None) };
        let inserts = CopyInserts::new(copy, target, value, type_oid).map_err(|refusal| *refusal.error)?;
        let (target, parsed) = (Arc::clone(target), target.full());
        Ok(Some(Box::new(Load { inserts, target, protocol, parsed, rows: 0, synced: false })))
    }

    /// Sends the first message of a load. What is wrong with the table or the transaction shows before the stream begins.
    pub(super) fn start_load(&mut self, load: Box<Load>) -> Result<(), NotReady> {
        if frontend::parse(&mut self.server.out, "", &load.target.insert(load.parsed), &[]).is_err() {
            self.context_failed();
            return Err(NotReady::Wait(Wait::Closed));
        }
        frontend::flush(&mut self.server.out);
        self.server.forget_unnamed();
        if load.protocol == LoadProtocol::Simple {
            self.prepared.statements.remove("");
        }
        self.server.sent_extended();
        self.server.flushed = self.server.sent;
        let kind = Kind::Parse { subject: Subject::None, undo: None, server: None };
        self.server.replies.push(kind, Disposition::Swallow(InternalQuery::Load(LoadPart::Begin(load))));
        Ok(())
    }

    /// The server has taken the first Parse.
    pub(super) fn begin_load(&mut self, load: Box<Load>) {
        let format = if load.inserts.is_binary() { Format::Binary } else { Format::Text };
        let columns = vec![format; load.inserts.client_columns()];
        if backend::copy_in_response(&mut self.client.out, format, &columns).is_err() {
            self.context_failed();
            return;
        }
        self.copy.stream = CopyStream::Insert;
        self.copy.load = Some(load);
    }

    /// A part of the stream.
    pub(super) fn load_data(&mut self, part: &[u8]) -> Result<(), Refusal> {
        self.write_rows(|inserts, send| inserts.push(part, send))
    }

    fn write_rows(
        &mut self,
        feed: impl FnOnce(&mut CopyInserts, &mut dyn FnMut(&Rows)) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let Some(load) = self.copy.load.as_mut() else { return Ok(()) };
        let format = if load.inserts.is_binary() { Format::Binary } else { Format::Text };
        let (out, replies) = (&mut self.server.out, &mut self.server.replies);
        let Load { inserts, target, parsed, .. } = &mut **load;
        let mut writer = Writer { out, replies, target, parsed, format, sent: 0 };
        let mut written = Ok(());
        let outcome = feed(inserts, &mut |rows| {
            if written.is_ok() {
                written = writer.write(rows);
            }
        });
        self.server.sent += writer.sent;
        if written.is_err() {
            // A row too long for a frame was refused before.
            self.context_failed();
        }
        outcome.map_err(|refusal| match self.copy.load.as_ref() {
            Some(load) => refusal.detail(load.inserts.position()),
            None => refusal,
        })
    }

    /// CopyDone: the rest goes out.
    pub(super) fn end_load(&mut self) {
        if let Err(refusal) = self.write_rows(CopyInserts::finish) {
            self.refuse_load(refusal);
            return;
        }
        match self.copy.load.as_mut() {
            Some(load) if load.protocol == LoadProtocol::Simple => {
                load.synced = true;
                self.sync_load();
            }
            Some(_) => {
                self.server.replies.forward(Kind::Loaded);
                self.send_local();
            }
            None => {}
        }
    }

    /// What ends a Query that the server never saw.
    fn sync_load(&mut self) {
        frontend::sync(&mut self.server.out);
        self.server.batch = Batch::Closed;
        if self.server.hold == Hold::AfterSync {
            self.server.hold = Hold::Drain;
        }
        self.wait_for_context();
        self.server.replies.forward(Kind::Sync);
    }

    /// The stream must not go on.
    pub(super) fn refuse_load(&mut self, refusal: Refusal) {
        self.env.observer.refused(&refusal, "COPY FROM STDIN");
        self.copy.stream = CopyStream::Refused;
        self.fail_load(*refusal.error);
    }

    /// CopyFail of the client.
    pub(super) fn abandon_load(&mut self, reason: &str) {
        let message = format!("COPY from stdin failed: {reason}");
        self.fail_load(PgError::error(SqlState::QUERY_CANCELED, message));
    }

    /// The transaction fails, with this error.
    fn fail_load(&mut self, error: PgError) {
        if frontend::parse(&mut self.server.out, MUST_FAIL, MUST_FAIL, &[]).is_err() {
            self.context_failed();
            return;
        }
        self.server.sent_extended();
        let kind = Kind::Parse { subject: Subject::None, undo: None, server: None };
        self.server.replies.push(kind, Disposition::Refused(Box::new(error)));
        self.server.ask_for_replies();
    }

    /// The server has answered an INSERT.
    pub(super) fn record_loaded(&mut self, tag: u8, body: &[u8]) {
        let ours = matches!(
            self.server.replies.head().map(|it| &it.disposition),
            Some(Disposition::Swallow(InternalQuery::Load(_)))
        );
        if ours
            && tag == b'C'
            && let Some(load) = self.copy.load.as_mut()
            && let Ok(complete) = CommandComplete::read(body)
        {
            load.rows += complete.rows().unwrap_or(0);
        }
    }

    /// All rows are in: the client gets the tag of its COPY.
    pub(super) fn loaded(&mut self) {
        let Some(load) = self.copy.load.take() else { return };
        self.stats.loaded(load.rows);
        let tag = format!("COPY {}", load.rows);
        // Digits hold no NUL.
        let _ = backend::command_complete(&mut self.client.out, &tag);
    }

    /// The server has failed at the head of the queue. Returns what ends a load that failed with it: whether a Sync is to be
    /// sent, as nobody else will.
    pub(super) fn load_failed(&mut self) -> bool {
        let begun = self.copy.load.take();
        let load = match self.server.replies.head().map(|it| &it.disposition) {
            Some(Disposition::Swallow(InternalQuery::Load(LoadPart::Begin(load)))) => Some(&**load),
            _ => begun.as_deref(),
        };
        load.is_some_and(|load| load.protocol == LoadProtocol::Simple && !load.synced)
    }

    /// Ends the Query of a load that failed.
    pub(super) fn end_failed_load(&mut self) {
        self.client.intake = super::Intake::Open;
        self.sync_load();
    }

    /// The CONTEXT of an error of the server that belongs to rows of a load.
    pub(super) fn load_context(&mut self, report: &Report<'_>) -> Option<String> {
        let Some(Disposition::Swallow(InternalQuery::Load(LoadPart::Rows(lines)))) =
            self.server.replies.head().map(|it| &it.disposition)
        else {
            return None;
        };
        let lines = *lines;
        let said = report.log_text(code::WHERE);
        let parameter = said.split_once("parameter $").map(|(_, rest)| rest);
        let digits = parameter.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        let number = digits.and_then(|digits| digits.parse().ok());
        self.copy.load.as_ref().map(|load| load.inserts.context(lines, number))
    }
}

/// Whether a portal is one that starts a load.
pub(super) fn starts_load(portals: &Portals, name: &str) -> bool {
    portals.get(name).is_some_and(|portal| {
        let plans = portal.statement.guarded.plans();
        plans.iter().any(|plan| plan.copy_in.as_ref().is_some_and(|copy| copy.target().is_some()))
    })
}
