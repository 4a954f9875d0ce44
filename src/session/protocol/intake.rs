//! Client bytes: found as messages, and handed to what deals with them.

use bytes::{Buf, BytesMut};

use super::copy::CopyStream;
use super::current_message::CurrentMessage;
use super::not_ready::NotReady;
use super::replies::Kind;
use super::statements::Undo;
use super::{Hold, Intake, MAX_OUTSTANDING, Session, Wait};
use crate::base::{PgError, Severity, SqlState};
use crate::wire::encode::backend;
use crate::wire::error::WireError;
use crate::wire::frame::{Head, peek_head};
use crate::wire::frontend::FrontendMessage;
use crate::wire::spare;

/// A longer message ends the session: dropping it would take too long.
const MAX_DROPPED: usize = 256 << 20;
/// Bytes that a batch of messages usually grows by on its way, at most.
const ADDED: usize = 256;

impl Session {
    /// Takes in bytes of the client; [`Session::pump`] deals with them.
    pub fn client_bytes(&mut self, bytes: &[u8]) {
        for buffer in [&mut self.client.input, &mut self.server.out] {
            spare::fill(buffer);
        }
        self.client.input.extend_from_slice(bytes);
        // What becomes of them is about as long: the buffer grows once.
        self.server.out.reserve(bytes.len() + ADDED);
    }

    /// Deals with all client messages that can be dealt with now, and says why it stopped.
    pub fn pump(&mut self) -> Wait {
        let mut input = std::mem::take(&mut self.client.input);
        let wait = loop {
            let (unread, told) = (input.len(), self.client.out.len());
            let dealt = self.pump_one(&mut input);
            self.stats.moved(unread - input.len(), self.client.out.len() - told);
            if let Err(wait) = dealt {
                break wait;
            }
        };
        self.client.input = input;
        if !self.server.replies.is_empty() {
            self.stats.busy();
            self.stats.flush_if_large();
        }
        wait
    }

    fn pump_one(&mut self, input: &mut BytesMut) -> Result<(), Wait> {
        if self.client.intake == Intake::Closed {
            return Err(Wait::Closed);
        }
        if self.copy.part.left > 0 {
            return self.continue_copy_data(input);
        }
        if self.client.dropping > 0 {
            return self.drop_on(input);
        }
        if self.held() {
            return Err(Wait::Replies);
        }
        let head = match peek_head(input, &self.message_limits()) {
            Ok(Some(head)) => head,
            Ok(None) => return Err(Wait::Input),
            Err(error) => return self.too_long(error),
        };
        if head.tag == b'd' {
            return self.begin_copy_data(input, head);
        }
        let Some(body) = input.get(Head::LEN..head.frame_len()) else {
            self.client.incomplete = head.frame_len();
            return Err(Wait::Input);
        };
        self.client.incomplete = 0;
        let begins = self.server.is_idle();
        let dealt = self.message(head.tag, body);
        // What was seen of a database is good for going on once.
        self.current.looked = false;
        dealt?;
        self.keep_for_again(head.tag, input.get(..head.frame_len()).unwrap_or_default(), begins);
        input.advance(head.frame_len());
        self.current = CurrentMessage::default();
        Ok(())
    }

    /// A statement or its values above the limit: an error as for a statement that failed, and the message is dropped as it
    /// comes in. Any other message that is too long ends the session.
    fn too_long(&mut self, error: WireError) -> Result<(), Wait> {
        let WireError::TooLong { tag: tag @ (b'Q' | b'P' | b'B'), length, .. } = error else {
            return self.out_of_protocol(error);
        };
        let whole = usize::try_from(length).ok().filter(|length| *length <= MAX_DROPPED);
        let (Some(length), CopyStream::None) = (whole, &self.copy.stream) else { return self.out_of_protocol(error) };
        // The tag is not part of the length.
        self.client.dropping = length + 1;
        if self.client.intake == Intake::Skipping {
            return Ok(());
        }
        let told = PgError { severity: Severity::Error, code: SqlState::PROGRAM_LIMIT_EXCEEDED, ..error.to_pg() };
        let told = PgError { message: "statement is too long".into(), ..told };
        let own = self.statement_too_long(length).filter(|_| tag != b'B');
        self.refuse(tag, own.unwrap_or(told))
    }

    /// What came is no message of the protocol, or none that may stand there: the session ends.
    fn out_of_protocol(&mut self, error: WireError) -> Result<(), Wait> {
        self.fail(&error.to_pg());
        Err(Wait::Closed)
    }

    fn drop_on(&mut self, input: &mut BytesMut) -> Result<(), Wait> {
        let here = input.len().min(self.client.dropping);
        input.advance(here);
        self.client.dropping -= here;
        if self.client.dropping > 0 { Err(Wait::Input) } else { Ok(()) }
    }

    /// Client messages must wait, or so much is outstanding that some of it should come first. A server that was sent
    /// neither Sync nor Flush may keep its replies to itself, so it is asked for them.
    fn held(&mut self) -> bool {
        if self.server.replies.is_empty() && self.server.hold == Hold::Drain {
            self.server.hold = Hold::No;
        }
        // The stream of a COPY is what its reply waits for.
        let streams = !matches!(self.copy.stream, CopyStream::None);
        let held = (self.server.hold == Hold::Drain && !streams) || self.server.replies.len() >= MAX_OUTSTANDING;
        if held {
            self.server.ask_for_replies();
        }
        held
    }

    /// Deals with one message: it is done, refused, or waits.
    fn message(&mut self, tag: u8, body: &[u8]) -> Result<(), Wait> {
        if self.client.intake == Intake::Skipping && !matches!(tag, b'S' | b'X') {
            return Ok(());
        }
        let message = match FrontendMessage::read(tag, body) {
            Ok(message) => message,
            Err(error) if error.is_fatal() => return self.out_of_protocol(error),
            Err(error) => return self.malformed(tag, &error),
        };
        if let Some(error) = self.current.denied.take() {
            return self.refuse(tag, error);
        }
        match self.dispatch(tag, message) {
            Ok(()) => Ok(()),
            Err(NotReady::Wait(wait)) => Err(wait),
            Err(NotReady::Refuse(error)) => self.refuse(tag, error),
        }
    }

    /// A message whose frame is sound but whose body is not: an error as for a statement that failed.
    fn malformed(&mut self, tag: u8, error: &WireError) -> Result<(), Wait> {
        let error = error.to_pg();
        if matches!(tag, b'Q' | b'F' | b'P' | b'B' | b'D' | b'E' | b'C') {
            return self.refuse(tag, error);
        }
        self.fail(&PgError { severity: Severity::Fatal, ..error });
        Err(Wait::Closed)
    }

    /// The stages that all messages have in common (order within a COPY, the limit on statements), then what each is for.
    fn dispatch(&mut self, tag: u8, message: FrontendMessage<'_>) -> Result<(), NotReady> {
        if self.copy_order(&message)? == Order::PassedOver {
            return Ok(());
        }
        if runs_something(&message) {
            self.pass_gate()?;
        }
        if self.server.discarding && runs_something(&message) {
            self.split_batch()?;
        }
        if self.is_limited() {
            self.take_turn(tag, &message)?;
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
            FrontendMessage::FunctionCall(call) => self.on_function_call(&call),
            FrontendMessage::Terminate => {
                self.client.intake = Intake::Closed;
                Err(Wait::Closed.into())
            }
            // Passed on in parts before it would be read.
            FrontendMessage::CopyData(_) => Ok(()),
        }
    }

    /// Messages around a COPY FROM STDIN. While one is outstanding but has not begun, only Flush can be taken: whether a Sync
    /// (drivers send one right after Execute) ends the batch or is passed over by the COPY shows only then. While it runs,
    /// only its stream.
    fn copy_order(&mut self, message: &FrontendMessage<'_>) -> Result<Order, NotReady> {
        use FrontendMessage as M;
        if matches!(self.copy.stream, CopyStream::None) {
            if self.server.replies.awaits_load() && !matches!(message, M::Terminate) {
                return Err(Wait::Replies.into());
            }
            if !matches!(message, M::Flush | M::Terminate) && self.server.replies.awaits_copy() {
                self.server.ask_for_replies();
                return Err(Wait::Replies.into());
            }
            return Ok(Order::Fits);
        }
        match message {
            M::CopyDone | M::CopyFail(_) | M::Terminate => Ok(Order::Fits),
            // Postgres ignores them here ("for convenience of clients that always send them after Execute").
            M::Sync | M::Flush => Ok(Order::PassedOver),
            _ => {
                let message = "unexpected message type during COPY from stdin";
                self.fail(&PgError::fatal(SqlState::PROTOCOL_VIOLATION, message));
                Err(Wait::Closed.into())
            }
        }
    }

    /// Sends bytes of our own to the client, behind what it is still to be sent.
    pub(super) fn answer(&mut self, write: impl FnOnce(&mut BytesMut)) {
        self.answer_for(None, write);
    }

    /// As [`Session::answer`], for something that was done already: it is taken back if the server skips what stands before.
    pub(super) fn answer_for(&mut self, undo: Option<Undo>, write: impl FnOnce(&mut BytesMut)) {
        if self.server.replies.is_empty() {
            write(&mut self.client.out);
        } else {
            let mut bytes = BytesMut::new();
            write(&mut bytes);
            let undo = undo.filter(|_| self.server.replies.may_be_skipped());
            self.server.replies.forward(Kind::Local { bytes, undo });
        }
    }

    /// Sends a complete reply that needs nobody else.
    pub(super) fn answer_ready(&mut self) {
        let status = self.server.tx;
        self.answer(|out| backend::ready_for_query(out, status));
    }
}

/// How a message stands to a COPY FROM STDIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// It can be dealt with.
    Fits,
    /// Nothing is to be done for it.
    PassedOver,
}

/// Whether a message runs or reads a statement.
fn runs_something(message: &FrontendMessage<'_>) -> bool {
    use FrontendMessage as M;
    match message {
        M::Query(_) | M::Parse(_) | M::Bind(_) | M::Describe(_) | M::Execute(_) | M::FunctionCall(_) => true,
        M::Close(_) | M::Flush | M::Sync | M::Terminate => false,
        M::CopyData(_) | M::CopyDone | M::CopyFail(_) => false,
    }
}
