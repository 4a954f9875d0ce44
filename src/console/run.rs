//! What commands do.

use super::command::Command;
use super::table::{Cell, Column, Rows, text};
use super::{Boxed, Console};
use crate::base::{PgError, SqlState};
use crate::observe::audit;
use crate::session::{ConsoleSession, Order};

/// What a command gives.
pub(super) struct Outcome {
    pub columns: &'static [Column],
    pub rows: Rows,
    /// For CommandComplete.
    pub tag: String,
    /// Lines for the operator besides.
    pub notices: Vec<String>,
}

impl Outcome {
    fn done(tag: &str) -> Self {
        Self { columns: &[], rows: Rows::new(), tag: tag.to_owned(), notices: Vec::new() }
    }
}

const HELP: &[Column] = &[text("command"), text("what it does")];
const COMMANDS: &[(&str, &str)] = &[
    ("RELOAD", "read the configuration again; one with errors changes nothing"),
    ("PAUSE [upstream]", "let clients wait and close server connections; returns when they are closed"),
    ("RESUME [upstream]", "end a pause"),
    (
        "PAUSE TENANT name [FOR 'time']",
        "let a tenant's clients wait, at all proxies, for 60s at most; returns when nothing of it runs",
    ),
    ("RESUME TENANT name", "end that"),
    ("KILL TENANT name", "end the sessions that act for a tenant"),
    ("KILL CLIENT id", "end one session"),
    ("SHUTDOWN", "stop: transactions may end first"),
    ("SHUTDOWN NOW", "stop at once"),
    ("SHUTDOWN WAIT_FOR_CLIENTS", "accept no more clients; stop when the last one has left"),
];

impl Console {
    /// The columns that a command gives; empty for one that gives no rows.
    pub(super) fn columns(&self, command: &Command) -> Result<&'static [Column], PgError> {
        match command {
            Command::Show(name) if name == "HELP" => Ok(HELP),
            Command::Show(name) => self.table(name).map(|table| table.columns()),
            Command::Reload
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::PauseTenant(..)
            | Command::ResumeTenant(_)
            | Command::KillTenant(_)
            | Command::KillClient(_)
            | Command::Shutdown(_) => Ok(&[]),
        }
    }

    fn table(&self, name: &str) -> Result<&dyn super::ShowTable, PgError> {
        let found = self.tables.iter().find(|table| table.name() == name);
        found.map(AsRef::as_ref).ok_or_else(|| {
            let names: Vec<_> = self.tables.iter().map(|table| table.name()).collect();
            PgError::error(SqlState::SYNTAX_ERROR, "there is nothing of that name to show")
                .hint(format!("One of: {}, HELP.", names.join(", ")))
        })
    }

    /// Does what a command says. What changes anything is audited.
    pub(super) async fn run(&self, command: &Command, session: &ConsoleSession) -> Result<Outcome, PgError> {
        if let Command::Show(name) = command {
            return self.show_table(name).await;
        }
        let outcome = self.act(command).await;
        audit::console(&session.login.name, &format!("{command:?}"), outcome.as_ref().err());
        outcome
    }

    async fn show_table(&self, name: &str) -> Result<Outcome, PgError> {
        let (columns, rows) = if name == "HELP" {
            (HELP, self.help())
        } else {
            let table = self.table(name)?;
            (table.columns(), table.rows(&self.view()).await?)
        };
        Ok(Outcome { columns, tag: "SHOW".to_owned(), rows, notices: Vec::new() })
    }

    fn help(&self) -> Rows {
        let shown = self.tables.iter().map(|table| (format!("SHOW {}", table.name()), table.about()));
        let rest = COMMANDS.iter().map(|(command, about)| ((*command).to_owned(), *about));
        shown.chain(rest).map(|(command, about)| vec![Cell::Text(command), Cell::text(about)]).collect()
    }

    fn act<'a>(&'a self, command: &'a Command) -> Boxed<'a, Result<Outcome, PgError>> {
        Box::pin(async move {
            match command {
                Command::Show(name) => self.show_table(name).await,
                Command::Reload => {
                    let notices = self.operations.reload().await?;
                    Ok(Outcome { notices, ..Outcome::done("RELOAD") })
                }
                Command::Pause(upstream) => {
                    self.operations.pause(upstream.as_ref()).await.map(|()| Outcome::done("PAUSE"))
                }
                Command::Resume(upstream) => {
                    self.operations.resume(upstream.as_ref()).map(|()| Outcome::done("RESUME"))
                }
                Command::PauseTenant(name, time) => {
                    self.operations.pause_tenant(name, *time).await.map(|()| Outcome::done("PAUSE"))
                }
                Command::ResumeTenant(name) => {
                    self.operations.resume_tenant(name).await.map(|()| Outcome::done("RESUME"))
                }
                Command::KillTenant(name) => {
                    let handles = self.shared.directory.all().into_iter().filter(|handle| handle.acts_for(name));
                    let killed = handles.map(|handle| handle.tell(Order::Now)).count();
                    Ok(Outcome::done(&format!("KILL {killed}")))
                }
                Command::KillClient(id) => match self.shared.directory.get(*id) {
                    Some(handle) => {
                        handle.tell(Order::Now);
                        Ok(Outcome::done("KILL 1"))
                    }
                    None => Err(PgError::error(SqlState::UNDEFINED_OBJECT, format!("there is no client {id}"))
                        .hint("SHOW CLIENTS lists them.")),
                },
                Command::Shutdown(how) => {
                    self.operations.shut_down(*how);
                    Ok(Outcome::done("SHUTDOWN"))
                }
            }
        })
    }
}
