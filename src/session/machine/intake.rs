//! Client bytes: found as messages, and handed to what deals with them.

use bytes::{Buf, BytesMut};

use super::copy::CopyStream;
use super::replies::Kind;
use super::statements::Undo;
use super::{Flow, Hold, Intake, MAX_OUTSTANDING, Machine, Wait};
use crate::base::{PgError, Severity, SqlState};
use crate::wire::encode::{backend, frontend};
use crate::wire::error::WireError;
use crate::wire::frame::{Head, peek_head};
use crate::wire::frontend::FrontendMessage;
use crate::wire::spare;

/// A longer message ends the session: dropping it would take too long.
const MAX_DROPPED: usize = 256 << 20;
/// Bytes that a batch of messages usually grows by on its way, at most.
const ADDED: usize = 256;

impl Machine {
    /// Takes in bytes of the client; [`Machine::pump`] deals with them.
    pub fn client_bytes(&mut self, bytes: &[u8]) {
        for buffer in [&mut self.input, &mut self.to_server] {
            spare::fill(buffer);
        }
        self.input.extend_from_slice(bytes);
        // What becomes of them is about as long: the buffer grows once.
        self.to_server.reserve(bytes.len() + ADDED);
    }

    /// Deals with all client messages that can be dealt with now, and says why it stopped.
    pub fn pump(&mut self) -> Wait {
        let mut input = std::mem::take(&mut self.input);
        let wait = loop {
            let (unread, told) = (input.len(), self.to_client.len());
            let flow = self.pump_one(&mut input);
            self.tally.moved(unread - input.len(), self.to_client.len() - told);
            match flow {
                Ok(Flow::Done) => {}
                Ok(Flow::Stop(wait)) => break wait,
                Err(error) => {
                    self.fail(&error.to_pg());
                    break Wait::Closed;
                }
            }
        };
        self.input = input;
        if !self.replies.is_empty() {
            self.tally.busy();
            self.tally.flush_if_large();
        }
        wait
    }

    fn pump_one(&mut self, input: &mut BytesMut) -> Result<Flow, WireError> {
        if self.intake == Intake::Closed {
            return Ok(Flow::Stop(Wait::Closed));
        }
        if self.copy_part.left > 0 {
            return Ok(self.continue_copy_data(input));
        }
        if self.dropping > 0 {
            return Ok(self.drop_on(input));
        }
        if self.held() {
            return Ok(Flow::Stop(Wait::Replies));
        }
        let head = match peek_head(input, &self.message_limits()) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(Flow::Stop(Wait::Input)),
            Err(error) => return self.too_long(error),
        };
        if head.tag == b'd' {
            return Ok(self.begin_copy_data(input, head));
        }
        let Some(body) = input.get(Head::LEN..head.frame_len()) else {
            self.incomplete = head.frame_len();
            return Ok(Flow::Stop(Wait::Input));
        };
        self.incomplete = 0;
        let begins = self.may_begin_batch();
        let flow = self.message(head.tag, body)?;
        self.looked = false;
        if let Flow::Done = flow {
            self.keep_for_again(head.tag, input.get(..head.frame_len()).unwrap_or_default(), begins);
            input.advance(head.frame_len());
            self.forget_findings();
        }
        Ok(flow)
    }

    /// What was found out about a message is about no other one: it may have been skipped since.
    pub(super) fn forget_findings(&mut self) {
        (self.admitted, self.ahead, self.refreshed) = (None, None, false);
        self.toll_paid();
    }

    /// A statement or its values above the limit: an error as for a statement that failed, and the message is dropped as it
    /// comes in. Any other message that is too long ends the session.
    fn too_long(&mut self, error: WireError) -> Result<Flow, WireError> {
        let WireError::TooLong { tag: tag @ (b'Q' | b'P' | b'B'), length, .. } = error else { return Err(error) };
        let whole = usize::try_from(length).ok().filter(|length| *length <= MAX_DROPPED);
        let (Some(length), CopyStream::None) = (whole, &self.copying) else { return Err(error) };
        // The tag is not part of the length.
        self.dropping = length + 1;
        if self.intake == Intake::Skipping {
            return Ok(Flow::Done);
        }
        let told = PgError { severity: Severity::Error, code: SqlState::PROGRAM_LIMIT_EXCEEDED, ..error.to_pg() };
        let told = PgError { message: "statement is too long".into(), ..told };
        let own = self.statement_too_long(length).filter(|_| tag != b'B');
        let told = own.unwrap_or(told);
        Ok(if tag == b'Q' { self.refuse_query(told) } else { self.refuse_extended(told) })
    }

    fn drop_on(&mut self, input: &mut BytesMut) -> Flow {
        let here = input.len().min(self.dropping);
        input.advance(here);
        self.dropping -= here;
        if self.dropping > 0 { Flow::Stop(Wait::Input) } else { Flow::Done }
    }

    /// Client messages must wait, or so much is outstanding that some of it should come first. A server that was sent
    /// neither Sync nor Flush may keep its replies to itself, so it is asked for them.
    fn held(&mut self) -> bool {
        if self.replies.is_empty() && self.hold == Hold::Drain {
            self.hold = Hold::No;
        }
        // The stream of a COPY is what its reply waits for.
        let streams = !matches!(self.copying, CopyStream::None);
        let held = (self.hold == Hold::Drain && !streams) || self.replies.len() >= MAX_OUTSTANDING;
        if held {
            self.ask_for_replies();
        }
        held
    }

    /// Makes a server send what it holds back, once for all replies that are outstanding now.
    pub(super) fn ask_for_replies(&mut self) {
        if self.batch == super::Batch::Open && self.flushed != self.sent {
            frontend::flush(&mut self.to_server);
            self.flushed = self.sent;
        }
    }

    fn message(&mut self, tag: u8, body: &[u8]) -> Result<Flow, WireError> {
        if self.intake == Intake::Skipping && !matches!(tag, b'S' | b'X') {
            return Ok(Flow::Done);
        }
        match FrontendMessage::read(tag, body) {
            Ok(message) => Ok(self.dispatch(message, body)),
            Err(error) if error.is_fatal() => Err(error),
            Err(error) => Ok(self.malformed(tag, &error)),
        }
    }

    /// A message whose frame is sound but whose body is not: an error as for a statement that failed.
    fn malformed(&mut self, tag: u8, error: &WireError) -> Flow {
        let error = error.to_pg();
        match tag {
            b'Q' | b'F' => self.refuse_query(error),
            b'P' | b'B' | b'D' | b'E' | b'C' => self.refuse_extended(error),
            _ => {
                self.fail(&PgError { severity: Severity::Fatal, ..error });
                Flow::Stop(Wait::Closed)
            }
        }
    }

    fn dispatch(&mut self, message: FrontendMessage<'_>, body: &[u8]) -> Flow {
        if let Some(flow) = self.copy_order(&message) {
            return flow;
        }
        if self.discarding && runs_something(&message) {
            return self.refuse_behind_discard(&message);
        }
        if self.is_limited()
            && let Some(flow) = self.toll(&message)
        {
            return flow;
        }
        match message {
            FrontendMessage::Query(sql) => self.on_query(sql),
            FrontendMessage::Parse(parse) => self.on_parse(&parse),
            FrontendMessage::Bind(bind) => self.on_bind(&bind),
            FrontendMessage::Describe(target) => self.on_describe(target),
            FrontendMessage::Execute(execute) => self.on_execute(&execute),
            FrontendMessage::Close(target) => self.on_close(target),
            FrontendMessage::Flush => self.on_flush(),
            FrontendMessage::Sync => self.on_sync(),
            FrontendMessage::CopyDone => self.on_copy_done(),
            FrontendMessage::CopyFail(reason) => self.on_copy_fail(reason),
            FrontendMessage::FunctionCall => self.refuse_query(no_function_calls()),
            FrontendMessage::Terminate => {
                self.intake = Intake::Closed;
                Flow::Stop(Wait::Closed)
            }
            // Passed on in parts, never held.
            FrontendMessage::CopyData(_) => {
                debug_assert!(body.is_empty(), "CopyData is dealt with before it is read");
                Flow::Done
            }
        }
    }

    /// Settings cannot be applied within a batch, and those of the server itself may be another tenant's.
    fn refuse_behind_discard(&mut self, message: &FrontendMessage<'_>) -> Flow {
        let error = PgError::error(SqlState::FEATURE_NOT_SUPPORTED, "nothing may follow DISCARD ALL in a pipeline")
            .hint("Send Sync first.");
        match message {
            FrontendMessage::Query(_) | FrontendMessage::FunctionCall => self.refuse_query(error),
            _ => self.refuse_extended(error),
        }
    }

    /// Messages around a COPY FROM STDIN. While one is outstanding but has not begun, only Flush can be taken: whether a Sync
    /// (drivers send one right after Execute) ends the batch or is passed over by the COPY shows only then. While it runs,
    /// only its stream.
    fn copy_order(&mut self, message: &FrontendMessage<'_>) -> Option<Flow> {
        use FrontendMessage as M;
        let stream = matches!(message, M::CopyDone | M::CopyFail(_));
        if matches!(self.copying, CopyStream::None) {
            if self.replies.awaits_load() && !matches!(message, M::Terminate) {
                return Some(Flow::Stop(Wait::Replies));
            }
            let early = !matches!(message, M::Flush | M::Terminate) && self.replies.awaits_copy();
            return early.then(|| {
                self.ask_for_replies();
                Flow::Stop(Wait::Replies)
            });
        }
        if stream || matches!(message, M::Terminate) {
            return None;
        }
        if matches!(message, M::Sync | M::Flush) {
            // Postgres ignores them here ("for convenience of clients that always send them after Execute").
            return Some(Flow::Done);
        }
        self.fail(&PgError::fatal(SqlState::PROTOCOL_VIOLATION, "unexpected message type during COPY from stdin"));
        Some(Flow::Stop(Wait::Closed))
    }

    /// Sends bytes of our own to the client, behind what it is still to be sent.
    pub(super) fn answer(&mut self, write: impl FnOnce(&mut BytesMut)) {
        self.answer_for(None, write);
    }

    /// As [`Machine::answer`], for something that was done already: it is taken back if the server skips what stands before.
    pub(super) fn answer_for(&mut self, undo: Option<Undo>, write: impl FnOnce(&mut BytesMut)) {
        if self.replies.is_empty() {
            write(&mut self.to_client);
        } else {
            let mut bytes = BytesMut::new();
            write(&mut bytes);
            let undo = undo.filter(|_| self.replies.may_be_skipped());
            self.replies.forward(Kind::Local { bytes, undo });
        }
    }

    /// Sends a complete reply that needs nobody else.
    pub(super) fn answer_ready(&mut self) {
        let status = self.tx;
        self.answer(|out| backend::ready_for_query(out, status));
    }
}

/// Whether a message runs or reads a statement.
fn runs_something(message: &FrontendMessage<'_>) -> bool {
    use FrontendMessage as M;
    match message {
        M::Query(_) | M::Parse(_) | M::Bind(_) | M::Describe(_) | M::Execute(_) | M::FunctionCall => true,
        M::Close(_) | M::Flush | M::Sync | M::Terminate => false,
        M::CopyData(_) | M::CopyDone | M::CopyFail(_) => false,
    }
}

fn no_function_calls() -> PgError {
    PgError::error(SqlState::FEATURE_NOT_SUPPORTED, "function calls by protocol message are not supported by pgwarden")
        .hint("Call the function in a SELECT.")
}
