//! The console's side of the protocol, simple and extended.

use std::collections::HashMap;

use bytes::BytesMut;

use super::Console;
use super::command::{Command, parse};
use super::run::Outcome;
use super::table::{Cell, Column, Rows};
use crate::base::oid::INT8;
use crate::base::{PgError, Severity, SqlState};
use crate::session::{ConsoleSession, Order, Seat};
use crate::wire::backend::TransactionStatus;
use crate::wire::conn::ConnError;
use crate::wire::encode::backend::{self, Column as Described};
use crate::wire::error::WireError;
use crate::wire::frame::ClientLimits;
use crate::wire::frontend::{Bind, Format, FrontendMessage as Message, Parse, Target};

/// Prepared statements and portals that a client may have.
const MAX_NAMES: usize = 1_000;

/// Serves a greeted client until it leaves or is told to go.
pub(super) async fn serve(console: &Console, mut session: ConsoleSession) {
    let mut talk = Talk { console, statements: HashMap::new(), portals: HashMap::new(), skipping: false };
    let seat = std::sync::Arc::clone(&session.seat);
    let limits = ClientLimits::default();
    loop {
        let frame = tokio::select! {
            frame = session.conn.next_frame(&limits) => frame,
            () = seat.told(Order::Drain) => return session.conn.refuse(&Seat::farewell()).await,
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                if let Some(told) = error.to_pg() {
                    session.conn.refuse(&told).await;
                }
                return;
            }
        };
        if let Err(withdrawn) = seat.check(None) {
            return session.conn.refuse(&withdrawn.to_pg_error()).await;
        }
        let mut out = std::mem::take(&mut session.conn.outbox);
        let step = match Message::read(frame.tag(), frame.body()) {
            Ok(Message::Terminate) => return,
            Ok(message) => talk.answer(message, &session, &mut out).await,
            Err(error) => Err(error),
        };
        session.conn.outbox = out;
        let flushed = match step {
            Ok(Now::Flush) => session.conn.flush().await.map_err(ConnError::from),
            Ok(Now::Wait) => Ok(()),
            Err(error) => {
                let error = PgError { severity: Severity::Fatal, ..error.to_pg() };
                return session.conn.refuse(&error).await;
            }
        };
        if flushed.is_err() {
            return;
        }
    }
}

/// Whether what was answered goes out at once.
enum Now {
    Flush,
    Wait,
}

struct Portal {
    command: Option<Command>,
    binary: Vec<bool>,
    /// Rows that were not fetched yet, last first.
    left: Option<Rows>,
    sent: usize,
}

struct Talk<'c> {
    console: &'c Console,
    statements: HashMap<String, Option<Command>>,
    portals: HashMap<String, Portal>,
    /// The extended protocol failed: all is dropped up to Sync.
    skipping: bool,
}

/// Why a message was not carried out: for the client, or because it cannot be spoken with.
enum Failure {
    Told(PgError),
    Wire(WireError),
}

impl From<PgError> for Failure {
    fn from(error: PgError) -> Self {
        Failure::Told(error)
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Failure::Wire(error)
    }
}

impl Talk<'_> {
    async fn answer(
        &mut self,
        message: Message<'_>,
        session: &ConsoleSession,
        out: &mut BytesMut,
    ) -> Result<Now, WireError> {
        match message {
            Message::Query(text) => {
                self.skipping = false;
                let outcome = self.query(text, session, out).await;
                note(outcome, out)?;
                backend::ready_for_query(out, TransactionStatus::Idle);
                return Ok(Now::Flush);
            }
            Message::Sync => {
                self.skipping = false;
                self.portals.clear();
                backend::ready_for_query(out, TransactionStatus::Idle);
                return Ok(Now::Flush);
            }
            Message::Flush => return Ok(Now::Flush),
            _ if self.skipping => return Ok(Now::Wait),
            _ => {}
        }
        let outcome = self.extended(message, session, out).await;
        self.skipping = outcome.is_err();
        note(outcome, out)?;
        Ok(Now::Wait)
    }

    async fn query(&mut self, text: &str, session: &ConsoleSession, out: &mut BytesMut) -> Result<(), Failure> {
        let commands = parse(text)?;
        if commands.is_empty() {
            backend::empty_query_response(out);
        }
        for command in commands {
            let outcome = self.console.run(&command, session).await?;
            if !outcome.columns.is_empty() {
                describe(out, outcome.columns, &[])?;
            }
            let tag = tag(&outcome);
            notices(out, &outcome);
            for row in &outcome.rows {
                data_row(out, row, &[])?;
            }
            backend::command_complete(out, &tag)?;
        }
        Ok(())
    }

    async fn extended(
        &mut self,
        message: Message<'_>,
        session: &ConsoleSession,
        out: &mut BytesMut,
    ) -> Result<(), Failure> {
        match message {
            Message::Parse(message) => self.parse(&message, out),
            Message::Bind(message) => self.bind(&message, out),
            Message::Describe(target) => self.describe(target, out),
            Message::Execute(message) => {
                let max = usize::try_from(message.max_rows).unwrap_or(0);
                self.execute(message.portal, max, session, out).await
            }
            Message::Close(Target::Statement(name)) => {
                self.statements.remove(name);
                backend::close_complete(out);
                Ok(())
            }
            Message::Close(Target::Portal(name)) => {
                self.portals.remove(name);
                backend::close_complete(out);
                Ok(())
            }
            Message::Query(_)
            | Message::Sync
            | Message::Flush
            | Message::Terminate
            | Message::CopyData(_)
            | Message::CopyDone
            | Message::CopyFail(_)
            | Message::FunctionCall => {
                Err(PgError::error(SqlState::FEATURE_NOT_SUPPORTED, "the console does not take this message").into())
            }
        }
    }

    fn parse(&mut self, message: &Parse<'_>, out: &mut BytesMut) -> Result<(), Failure> {
        let mut commands = parse(message.sql)?;
        if commands.len() > 1 {
            let error = "cannot insert multiple commands into a prepared statement";
            return Err(PgError::error(SqlState::SYNTAX_ERROR, error).into());
        }
        let command = commands.pop();
        if let Some(command) = &command {
            self.console.columns(command)?;
        }
        room(self.statements.len())?;
        self.statements.insert(message.name.to_owned(), command);
        backend::parse_complete(out);
        Ok(())
    }

    fn bind(&mut self, message: &Bind<'_>, out: &mut BytesMut) -> Result<(), Failure> {
        if message.params.count() > 0 {
            return Err(
                PgError::error(SqlState::PROTOCOL_VIOLATION, "the console's commands have no parameters").into()
            );
        }
        let command = self.statements.get(message.statement).ok_or_else(|| unknown("prepared statement"))?.clone();
        let columns = command.as_ref().map_or(Ok(&[][..]), |command| self.console.columns(command))?.len();
        let codes = &message.result_formats;
        let code = |i: usize| codes.get(if codes.len() == 1 { 0 } else { i }).unwrap_or(0) == 1;
        let binary = (0..columns).map(code).collect();
        room(self.portals.len())?;
        self.portals.insert(message.portal.to_owned(), Portal { command, binary, left: None, sent: 0 });
        backend::bind_complete(out);
        Ok(())
    }

    fn describe(&self, target: Target<'_>, out: &mut BytesMut) -> Result<(), Failure> {
        let (command, binary) = match target {
            Target::Statement(name) => {
                let command = self.statements.get(name).ok_or_else(|| unknown("prepared statement"))?;
                backend::parameter_description(out, &[])?;
                (command, &[][..])
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| unknown("portal"))?;
                (&portal.command, portal.binary.as_slice())
            }
        };
        match command.as_ref().map_or(Ok(&[][..]), |command| self.console.columns(command))? {
            [] => backend::no_data(out),
            columns => describe(out, columns, binary)?,
        }
        Ok(())
    }

    async fn execute(
        &mut self,
        name: &str,
        max: usize,
        session: &ConsoleSession,
        out: &mut BytesMut,
    ) -> Result<(), Failure> {
        let portal = self.portals.get_mut(name).ok_or_else(|| unknown("portal"))?;
        let Some(command) = &portal.command else {
            backend::empty_query_response(out);
            return Ok(());
        };
        let tag = match &portal.left {
            Some(_) => "SHOW".to_owned(),
            None => {
                let mut outcome = self.console.run(command, session).await?;
                notices(out, &outcome);
                let tag = outcome.tag.clone();
                outcome.rows.reverse();
                portal.left = Some(outcome.rows);
                tag
            }
        };
        let left = portal.left.get_or_insert_default();
        let end = if max == 0 { 0 } else { left.len().saturating_sub(max) };
        while left.len() > end {
            let Some(row) = left.pop() else { break };
            data_row(out, &row, &portal.binary)?;
            portal.sent += 1;
        }
        if end > 0 {
            backend::portal_suspended(out);
        } else if tag == "SHOW" {
            backend::command_complete(out, &format!("SHOW {}", portal.sent))?;
        } else {
            backend::command_complete(out, &tag)?;
        }
        Ok(())
    }
}

fn unknown(what: &str) -> PgError {
    PgError::error(SqlState::INVALID_SQL_STATEMENT_NAME, format!("this {what} does not exist"))
}

fn room(taken: usize) -> Result<(), PgError> {
    if taken < MAX_NAMES {
        return Ok(());
    }
    Err(PgError::error(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many prepared statements or portals"))
}

/// Tells the client why its message was not carried out.
fn note(outcome: Result<(), Failure>, out: &mut BytesMut) -> Result<(), WireError> {
    match outcome {
        Ok(()) => Ok(()),
        Err(Failure::Told(error)) => {
            backend::error_response(out, &error);
            Ok(())
        }
        Err(Failure::Wire(error)) => Err(error),
    }
}

fn tag(outcome: &Outcome) -> String {
    if outcome.columns.is_empty() { outcome.tag.clone() } else { format!("{} {}", outcome.tag, outcome.rows.len()) }
}

fn notices(out: &mut BytesMut, outcome: &Outcome) {
    for line in &outcome.notices {
        backend::notice_response(out, "NOTICE", &PgError::error(SqlState::SUCCESS, line.clone()));
    }
}

fn describe(out: &mut BytesMut, columns: &[Column], binary: &[bool]) -> Result<(), WireError> {
    let format = |i: usize| if binary.get(i).copied().unwrap_or(false) { Format::Binary } else { Format::Text };
    let described: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            let text = Described { format: format(i), ..Described::text(column.name) };
            if column.numbers { Described { type_oid: INT8, type_size: 8, ..text } } else { text }
        })
        .collect();
    backend::row_description(out, &described)
}

fn data_row(out: &mut BytesMut, row: &[Cell], binary: &[bool]) -> Result<(), WireError> {
    let values: Vec<Option<Vec<u8>>> = row
        .iter()
        .enumerate()
        .map(|(i, cell)| match cell {
            Cell::Null => None,
            Cell::Text(text) => Some(text.as_bytes().to_vec()),
            Cell::Int(number) if binary.get(i).copied().unwrap_or(false) => Some(number.to_be_bytes().to_vec()),
            Cell::Int(number) => Some(number.to_string().into_bytes()),
        })
        .collect();
    let values: Vec<_> = values.iter().map(Option::as_deref).collect();
    backend::data_row(out, &values)
}
