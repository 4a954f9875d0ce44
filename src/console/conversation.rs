//! The console's side of the protocol, simple and extended.

use std::collections::HashMap;

use bytes::BytesMut;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;

use super::Console;
use super::command::{Command, parse};
use super::encode::{complete, data_row, describe, put, ready};
use super::run::Outcome;
use super::table::Rows;
use crate::base::{PgError, Severity, SqlState};
use crate::session::{ConsoleSession, Order, SessionHandle};
use crate::wire::conn::ConnError;
use crate::wire::encode::backend;
use crate::wire::frame::ClientLimits;
use crate::wire::frontend::{Bind, FrontendMessage as Message, Parse, Target};

/// Prepared statements and portals that a client may have.
const MAX_NAMES: usize = 1_000;

/// Serves a greeted client until it leaves or is told to go.
pub(super) async fn serve(console: &Console, mut session: ConsoleSession) {
    let mut talk = Talk { console, statements: HashMap::new(), portals: HashMap::new(), skipping: false };
    let handle = std::sync::Arc::clone(&session.handle);
    let limits = ClientLimits::default();
    loop {
        let frame = tokio::select! {
            frame = session.conn.next_frame(&limits) => frame,
            () = handle.told(Order::Drain) => return session.conn.refuse(&SessionHandle::farewell()).await,
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
        if let Err(withdrawn) = handle.check(None) {
            return session.conn.refuse(&withdrawn.to_pg_error()).await;
        }
        let mut out = std::mem::take(&mut session.conn.outbox);
        let step = match Message::read(frame.tag(), frame.body()) {
            Ok(Message::Terminate) => return,
            Ok(message) => talk.answer(message, &session, &mut out).await,
            Err(error) => Err(error.to_pg()),
        };
        session.conn.outbox = out;
        let flushed = match step {
            Ok(Now::Flush) => session.conn.flush().await.map_err(ConnError::from),
            Ok(Now::Wait) => Ok(()),
            Err(error) => {
                let error = PgError { severity: Severity::Fatal, ..error };
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

impl Talk<'_> {
    async fn answer(
        &mut self,
        message: Message<'_>,
        session: &ConsoleSession,
        out: &mut BytesMut,
    ) -> Result<Now, PgError> {
        match message {
            Message::Query(text) => {
                self.skipping = false;
                let outcome = self.query(text, session, out).await;
                note(outcome, out);
                ready(out)?;
                return Ok(Now::Flush);
            }
            Message::Sync => {
                self.skipping = false;
                self.portals.clear();
                ready(out)?;
                return Ok(Now::Flush);
            }
            Message::Flush => return Ok(Now::Flush),
            _ if self.skipping => return Ok(Now::Wait),
            _ => {}
        }
        let outcome = self.extended(message, session, out).await;
        self.skipping = outcome.is_err();
        note(outcome, out);
        Ok(Now::Wait)
    }

    async fn query(&mut self, text: &str, session: &ConsoleSession, out: &mut BytesMut) -> Result<(), PgError> {
        let commands = parse(text)?;
        if commands.is_empty() {
            put(out, &EmptyQueryResponse::new())?;
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
            complete(out, tag)?;
        }
        Ok(())
    }

    async fn extended(
        &mut self,
        message: Message<'_>,
        session: &ConsoleSession,
        out: &mut BytesMut,
    ) -> Result<(), PgError> {
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
                put(out, &CloseComplete::new())
            }
            Message::Close(Target::Portal(name)) => {
                self.portals.remove(name);
                put(out, &CloseComplete::new())
            }
            Message::Query(_)
            | Message::Sync
            | Message::Flush
            | Message::Terminate
            | Message::CopyData(_)
            | Message::CopyDone
            | Message::CopyFail(_)
            | Message::FunctionCall(_) => {
                Err(PgError::error(SqlState::FEATURE_NOT_SUPPORTED, "the console does not take this message"))
            }
        }
    }

    fn parse(&mut self, message: &Parse<'_>, out: &mut BytesMut) -> Result<(), PgError> {
        let mut commands = parse(message.sql)?;
        if commands.len() > 1 {
            let error = "cannot insert multiple commands into a prepared statement";
            return Err(PgError::error(SqlState::SYNTAX_ERROR, error));
        }
        let command = commands.pop();
        if let Some(command) = &command {
            self.console.columns(command)?;
        }
        room(self.statements.len())?;
        self.statements.insert(message.name.to_owned(), command);
        put(out, &ParseComplete::new())
    }

    fn bind(&mut self, message: &Bind<'_>, out: &mut BytesMut) -> Result<(), PgError> {
        if message.params.count() > 0 {
            return Err(PgError::error(SqlState::PROTOCOL_VIOLATION, "the console's commands have no parameters"));
        }
        let command = self.statements.get(message.statement).ok_or_else(|| unknown("prepared statement"))?.clone();
        let columns = command.as_ref().map_or(Ok(&[][..]), |command| self.console.columns(command))?.len();
        let codes = &message.result_formats;
        let code = |i: usize| codes.get(if codes.len() == 1 { 0 } else { i }).unwrap_or(0) == 1;
        let binary = (0..columns).map(code).collect();
        room(self.portals.len())?;
        self.portals.insert(message.portal.to_owned(), Portal { command, binary, left: None, sent: 0 });
        put(out, &BindComplete::new())
    }

    fn describe(&self, target: Target<'_>, out: &mut BytesMut) -> Result<(), PgError> {
        let (command, binary) = match target {
            Target::Statement(name) => {
                let command = self.statements.get(name).ok_or_else(|| unknown("prepared statement"))?;
                put(out, &ParameterDescription::new(Vec::new()))?;
                (command, &[][..])
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| unknown("portal"))?;
                (&portal.command, portal.binary.as_slice())
            }
        };
        match command.as_ref().map_or(Ok(&[][..]), |command| self.console.columns(command))? {
            [] => put(out, &NoData::new()),
            columns => describe(out, columns, binary),
        }
    }

    async fn execute(
        &mut self,
        name: &str,
        max: usize,
        session: &ConsoleSession,
        out: &mut BytesMut,
    ) -> Result<(), PgError> {
        let portal = self.portals.get_mut(name).ok_or_else(|| unknown("portal"))?;
        let Some(command) = &portal.command else {
            return put(out, &EmptyQueryResponse::new());
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
            put(out, &PortalSuspended::new())
        } else if tag == "SHOW" {
            complete(out, format!("SHOW {}", portal.sent))
        } else {
            complete(out, tag)
        }
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
fn note(outcome: Result<(), PgError>, out: &mut BytesMut) {
    if let Err(error) = outcome {
        backend::error_response(out, &error);
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
