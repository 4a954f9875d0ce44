//! COPY FROM STDIN: the client's stream, passed on as it comes or rewritten on its way.

use bytes::{Buf, BytesMut};

use super::not_ready::NotReady;
use super::refuse::MUST_FAIL;
use super::replies::{Disposition, Expected, Kind};
use super::{Session, Wait};
use crate::base::{Refusal, RefusalKind, SqlState};
use crate::guard::copy_stream::CopyRewriter;
use crate::guard::{Guarded, StatementKind};
use crate::wire::encode::frontend;
use crate::wire::frame::Head;

/// A CopyData message whose head was dealt with.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyPart {
    /// Bytes of its body that are still to come.
    pub left: usize,
    /// Its head went to the server: the rest must follow.
    pub forwards: bool,
}

impl CopyPart {
    pub const NONE: Self = Self { left: 0, forwards: false };

    /// The server has been promised more bytes.
    pub fn is_owed(self) -> bool {
        self.forwards && self.left > 0
    }
}

/// What the server reads now.
pub(super) enum CopyStream {
    /// No COPY stream. Parts of one that come all the same (the COPY failed, the client did not know yet) are dropped,
    /// as Postgres does.
    None,
    /// The stream as the client sends it.
    Forward,
    /// The stream as the guard rewrites it.
    Rewrite(Box<CopyRewriter>),
    /// Its rows, as INSERTs.
    Insert,
    /// Nothing more: the stream was refused, and the server was told that it ends.
    Refused,
}

impl Session {
    /// The server has asked for a COPY stream.
    pub(super) fn begin_copy_in(&mut self) {
        self.observe_copy(true);
        let rewriter = self.head_guarded().map(|(guarded, statement)| rewriter(guarded, statement));
        match rewriter {
            None | Some(Ok(None)) => self.copy.stream = CopyStream::Forward,
            Some(Ok(Some(rewriter))) => self.copy.stream = CopyStream::Rewrite(Box::new(rewriter)),
            Some(Err(refusal)) => self.refuse_stream(refusal),
        }
    }

    /// The head of a CopyData message: its body is dealt with as it comes.
    pub(super) fn begin_copy_data(&mut self, input: &mut BytesMut, head: Head) -> Result<(), Wait> {
        match &self.copy.stream {
            CopyStream::None if self.server.replies.awaits_copy() || self.server.replies.awaits_load() => {
                self.server.ask_for_replies();
                return Err(Wait::Replies);
            }
            // The head goes as it came; what follows is counted only.
            CopyStream::Forward => self.server.out.extend_from_slice(input.get(..Head::LEN).unwrap_or_default()),
            CopyStream::None | CopyStream::Rewrite(_) | CopyStream::Insert | CopyStream::Refused => {}
        }
        input.advance(Head::LEN);
        let forwards = matches!(self.copy.stream, CopyStream::Forward);
        self.copy.part = CopyPart { left: head.frame_len() - Head::LEN, forwards };
        Ok(())
    }

    /// More of a CopyData message.
    pub(super) fn continue_copy_data(&mut self, input: &mut BytesMut) -> Result<(), Wait> {
        if input.is_empty() {
            return Err(Wait::Input);
        }
        let count = input.len().min(self.copy.part.left);
        self.observe_copy_in(input.get(..count).unwrap_or_default());
        let part = input.get(..count).unwrap_or_default();
        self.copy.part.left -= count;
        if self.copy.part.forwards {
            // To its end, even if the COPY fails meanwhile: the server counts on the length that it was told.
            self.server.out.extend_from_slice(part);
        } else if let CopyStream::Rewrite(rewriter) = &mut self.copy.stream {
            let mut out = Vec::with_capacity(part.len() + part.len() / 8);
            match rewriter.push(part, &mut out) {
                Ok(()) => self.send_copy_data(&out),
                Err(refusal) => self.refuse_stream(refusal),
            }
        } else if let CopyStream::Insert = &self.copy.stream
            && let Err(refusal) = self.load_data(part)
        {
            self.refuse_load(refusal);
        }
        input.advance(count);
        Ok(())
    }

    fn send_copy_data(&mut self, data: &[u8]) {
        // Parts are at most as long as what one read gives, and the tenant's value.
        if !data.is_empty() && frontend::copy_data(&mut self.server.out, data).is_err() {
            self.context_failed();
        }
    }

    pub(super) fn on_copy_done(&mut self) -> Result<(), NotReady> {
        match std::mem::replace(&mut self.copy.stream, CopyStream::None) {
            CopyStream::None | CopyStream::Refused => {}
            CopyStream::Forward => self.end_stream(),
            CopyStream::Insert => self.end_load(),
            CopyStream::Rewrite(mut rewriter) => {
                let mut out = Vec::new();
                match rewriter.finish(&mut out) {
                    Ok(()) => {
                        self.send_copy_data(&out);
                        self.end_stream();
                    }
                    Err(refusal) => self.refuse_stream(refusal),
                }
            }
        }
        Ok(())
    }

    /// The stream is over; what the server makes of it is to come. The client may go on.
    fn end_stream(&mut self) {
        frontend::copy_done(&mut self.server.out);
        self.record_stream_end();
    }

    pub(super) fn on_copy_fail(&mut self, reason: &str) -> Result<(), NotReady> {
        let stream = std::mem::replace(&mut self.copy.stream, CopyStream::None);
        if let CopyStream::Insert = stream {
            self.abandon_load(reason);
            return Ok(());
        }
        let runs = matches!(stream, CopyStream::Forward | CopyStream::Rewrite(_));
        // The text came from a terminated string: it can be written.
        if runs && frontend::copy_fail(&mut self.server.out, reason).is_ok() {
            self.record_stream_end();
        }
        Ok(())
    }

    fn record_stream_end(&mut self) {
        self.server.sent += 1;
        if let Some(Expected { kind: Kind::Query(run) | Kind::Execute(run), .. }) = self.server.replies.head() {
            run.streamed = true;
        }
    }

    /// Ends a stream that may not go on: the server fails the COPY, and the client is told why.
    fn refuse_stream(&mut self, refusal: Refusal) {
        self.env.observer.refused(&refusal, "COPY FROM STDIN");
        self.copy.stream = CopyStream::Refused;
        self.record_stream_end();
        if frontend::copy_fail(&mut self.server.out, MUST_FAIL).is_err() {
            self.context_failed();
        }
        if let Some(expected) = self.server.replies.head() {
            expected.disposition = Disposition::Refused(refusal.error);
        }
    }
}

/// The rewriter for the stream of a COPY that runs now, if it needs one.
pub(super) fn rewriter(guarded: &Guarded, statement: usize) -> Result<Option<CopyRewriter>, Refusal> {
    let plans = guarded.plans();
    if plans.iter().all(|plan| plan.copy_in.is_none()) {
        return Ok(None);
    }
    let plan = plans.get(statement).filter(|plan| plan.kind == StatementKind::CopyIn).ok_or_else(out_of_step)?;
    let Some(copy) = &plan.copy_in else { return Ok(None) };
    let (value, type_oid) = guarded.slot_value(statement, copy.slot).ok_or_else(out_of_step)?;
    CopyRewriter::new(copy, value, type_oid).map(Some)
}

/// The server asks for a stream that no plan speaks of. Nothing unguarded may be sent on a guess.
fn out_of_step() -> Refusal {
    Refusal::new(RefusalKind::Verifier, SqlState::INTERNAL_ERROR, "COPY stream does not belong to a known statement")
}
