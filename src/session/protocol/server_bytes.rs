//! Server bytes: found as messages, passed on in parts where nobody needs to see them whole.

use bytes::{Buf, BytesMut};

use super::Session;
use super::replies::{Disposition, Expected, InternalQuery, Kind};
use super::server_state::Passing;
use crate::base::Mode;
use crate::wire::error::WireError;
use crate::wire::frame::{Head, UpstreamLimits, peek_head};
use crate::wire::spare;

/// Why a server connection cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// What it sent is no message.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// What it sent is no reply to what it was asked.
    #[error("message {tag:?} is no reply to what was asked")]
    Unexpected {
        /// Its tag.
        tag: char,
    },
    /// It ended the session; the client has been told in its words.
    #[error("the server ended the session")]
    Ended,
}

impl Broken {
    pub(super) fn unexpected(tag: u8) -> Self {
        Broken::Unexpected { tag: tag.into() }
    }
}

/// What becomes of a message, from its head alone.
enum Handling {
    /// It is looked at whole.
    Hold,
    /// It goes to the client as it comes.
    Pass,
    /// It goes nowhere.
    Drop,
}

impl Session {
    /// Takes in bytes of the server and deals with all messages in them.
    ///
    /// # Errors
    /// The connection is out of step, or the server ended it.
    pub fn server_bytes(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let Some(link) = self.server.link.as_mut() else { return Ok(()) };
        let kept = std::mem::take(&mut link.input);
        let told = self.client.out.len();
        let result = self.take_server_bytes(kept, bytes);
        self.record_server_bytes(self.client.out.len() - told);
        result
    }

    fn take_server_bytes(&mut self, mut kept: BytesMut, bytes: &[u8]) -> Result<(), Broken> {
        spare::fill(&mut self.client.out);
        self.client.out.reserve(bytes.len());
        if kept.is_empty() {
            // The usual case: whole messages, dealt with where they were read to.
            let mut rest = bytes;
            let result = self.server_messages(&mut rest);
            if !rest.is_empty() {
                self.keep(BytesMut::from(rest));
            }
            return result;
        }
        kept.extend_from_slice(bytes);
        let mut rest: &[u8] = &kept;
        let result = self.server_messages(&mut rest);
        let done = kept.len() - rest.len();
        kept.advance(done);
        self.keep(kept);
        result
    }

    /// The beginning of a message whose end is still to come.
    fn keep(&mut self, input: BytesMut) {
        if let Some(link) = self.server.link.as_mut().filter(|_| !input.is_empty()) {
            link.input = input;
        }
    }

    fn server_messages(&mut self, input: &mut &[u8]) -> Result<(), Broken> {
        loop {
            if let Some(passing) = self.server.link.as_mut().and_then(|link| link.passing.take()) {
                if !self.pass_part(input, passing)? {
                    return Ok(());
                }
                continue;
            }
            self.pass_rows(input)?;
            let Some(head) = peek_head(input, &UpstreamLimits)? else { return Ok(()) };
            if head.tag == b'T' {
                self.observe_columns(input, head);
            }
            if let b'D' | b'd' | b'V' = head.tag {
                self.check_budget(head.frame_len());
            }
            match self.handling(head.tag) {
                Handling::Pass => self.begin_passing(head, true),
                Handling::Drop => self.begin_passing(head, false),
                Handling::Hold => {
                    let Some((frame, rest)) = input.split_at_checked(head.frame_len()) else { return Ok(()) };
                    self.server_message(head.tag, frame)?;
                    *input = rest;
                }
            }
        }
    }

    /// Rows that are there whole and are the client's go to it in one piece.
    fn pass_rows(&mut self, input: &mut &[u8]) -> Result<(), Broken> {
        let Some(Expected { kind: Kind::Query(_) | Kind::Execute(_), disposition: Disposition::Forward, .. }) =
            self.server.replies.head()
        else {
            return Ok(());
        };
        let (most_rows, most_bytes) = self.budget();
        let (mut messages, mut rows, mut bytes, mut rest) = (0, 0, 0, *input);
        while let Some(b'D' | b'd') = rest.first()
            && let Some(head) = peek_head(rest, &UpstreamLimits)?
            && let Some((row, after)) = rest.split_at_checked(head.frame_len())
        {
            if messages == most_rows || (bytes + row.len()) as u64 > most_bytes {
                break;
            }
            messages += 1;
            rows += u64::from(head.tag == b'D');
            bytes += row.len();
            rest = after;
        }
        let passed = input.get(..bytes).unwrap_or_default();
        self.observe_rows(passed);
        self.observe_copy_out(passed);
        self.client.out.extend_from_slice(passed);
        self.stats.rows(rows, bytes);
        self.spend(messages, bytes as u64);
        *input = rest;
        Ok(())
    }

    fn handling(&mut self, tag: u8) -> Handling {
        let streamed = matches!(tag, b'D' | b'd' | b'T' | b'V');
        match self.server.replies.head().map(|expected| &expected.disposition) {
            _ if !streamed => Handling::Hold,
            Some(Disposition::Forward) => Handling::Pass,
            Some(Disposition::Swallow(
                InternalQuery::Outcome(_)
                | InternalQuery::Locks(_)
                | InternalQuery::Temporary(_)
                | InternalQuery::Channels(_),
            )) if tag == b'D' => Handling::Hold,
            Some(Disposition::Swallow(_) | Disposition::Refused(_) | Disposition::Cut(_)) => Handling::Drop,
            // Told as unexpected.
            None => Handling::Hold,
        }
    }

    /// A row that is not passed with others, because it is not there whole yet or is beyond the limits.
    fn check_budget(&mut self, length: usize) {
        let (rows, bytes) = self.budget();
        if !matches!(self.server.replies.head(), Some(Expected { disposition: Disposition::Forward, .. })) {
            return;
        }
        if rows == 0 || length as u64 > bytes {
            self.cut_off();
        } else {
            self.spend(1, length as u64);
        }
    }

    fn begin_passing(&mut self, head: Head, forward: bool) {
        if let Some(link) = self.server.link.as_mut() {
            link.passing = Some(Passing { tag: head.tag, left: head.frame_len(), forward });
        }
    }

    /// Passes on what is there. Returns whether the message is over.
    fn pass_part(&mut self, input: &mut &[u8], mut passing: Passing) -> Result<bool, Broken> {
        let (part, rest) = input.split_at(input.len().min(passing.left));
        *input = rest;
        passing.left -= part.len();
        if passing.forward {
            self.client.out.extend_from_slice(part);
            if let b'D' | b'd' | b'V' = passing.tag {
                self.stats.rows(u64::from(passing.left == 0 && passing.tag != b'd'), part.len());
            }
        }
        if passing.left == 0 {
            self.passed(passing.tag)?;
            return Ok(true);
        }
        if let Some(link) = self.server.link.as_mut() {
            link.passing = Some(passing);
        }
        Ok(false)
    }

    fn server_message(&mut self, tag: u8, frame: &[u8]) -> Result<(), Broken> {
        let body = frame.get(Head::LEN..).unwrap_or_default();
        match tag {
            b'Z' => self.on_ready(body),
            b'E' => self.on_error(frame, body),
            b'N' => self.on_notice(frame),
            b'S' => self.on_parameter(body),
            b'A' => {
                match self.context.backend.mode {
                    // What the client listens on is heard elsewhere; here are marks, which nobody notifies.
                    Mode::Shared | Mode::Reader | Mode::Schema(_) => {}
                    Mode::Database | Mode::Operator => self.client.out.extend_from_slice(frame),
                }
                Ok(())
            }
            b'D' => self.on_outcome_row(body),
            _ => self.on_progress(tag, frame, body),
        }
    }

    /// Whether replies at the head of the queue go to the client.
    pub(super) fn head_is_forwarded(&mut self) -> bool {
        self.server.replies.head().is_none_or(|expected| !matches!(expected.disposition, Disposition::Swallow(_)))
    }

    fn on_notice(&mut self, frame: &[u8]) -> Result<(), Broken> {
        if self.head_is_forwarded() {
            self.client.out.extend_from_slice(frame);
        }
        Ok(())
    }

    fn on_parameter(&mut self, body: &[u8]) -> Result<(), Broken> {
        let status = crate::wire::backend::ParameterStatus::read(body)?;
        let forwarded = self.head_is_forwarded();
        let Some(link) = self.server.link.as_mut() else { return Ok(()) };
        link.set_parameter(status.name, status.value);
        if forwarded {
            self.report_changes();
        }
        Ok(())
    }
}
