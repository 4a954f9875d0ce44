//! Statements that SQL's PREPARE has made. They share one name space with those of Parse: they can be bound, described and
//! closed, and a name is taken for both.
//!
//! They live on the server connection, which stays with its client as long as one may be there.

use std::sync::Arc;

use super::Session;
use super::not_ready::NotReady;
use super::replies::{Closes, Kind};
use super::statements::{CLIENT_STATEMENTS, ServerStatement, Statement, no_such_statement};
use super::switching::Change;
use crate::base::{PgError, SqlState};
use crate::guard::context::Step;
use crate::guard::{Effect, Guarded};
use crate::wire::encode::frontend;
use crate::wire::frontend::Target;

impl Session {
    /// PREPARE of a name that a Parse has given. Whether it has, or the server skipped it, is known when it was answered.
    pub(super) fn check_new_names(&mut self, guarded: &Guarded) -> Result<(), NotReady> {
        let effects = || guarded.plans().iter().flat_map(|plan| &plan.effects);
        let Some(name) = effects().find_map(prepared_name) else { return Ok(()) };
        if effects().any(|effect| matches!(effect, Effect::Deallocate(_) | Effect::DiscardAll)) {
            return Ok(());
        }
        if self.prepared.by_sql.len() >= CLIENT_STATEMENTS {
            return Err(PgError::error(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                "too many prepared statements in this session",
            )
            .into());
        }
        if self.prepared.statements.get(name).is_none() {
            return Ok(());
        }
        self.server.settle()?;
        Err(name_is_taken(name).into())
    }

    /// A statement has ended well: if it is PREPARE, its name is there.
    pub(super) fn record_prepared_name(&mut self) {
        let Some((guarded, statement)) = self.head_guarded() else { return };
        let Some(plan) = guarded.plans().get(statement) else { return };
        let Some(name) = plan.effects.iter().find_map(prepared_name).map(Box::<str>::from) else { return };
        let Some(guarded) = guarded.as_prepared(statement) else { return };
        let made = Statement {
            name: name.clone(),
            guarded,
            parse: self.prepared.statements.next_parse(),
            declared: Box::default(),
            server: ServerStatement::BySql,
            circumstances: self.circumstances(),
            origin: None,
            epoch: self.prepared.decided.unwrap_or_default(),
            actor: self.asked(),
            commented: false,
            step: Step::None,
            change: Change::None,
            tag: None,
        };
        self.prepared.by_sql.insert(name, Arc::new(made));
    }

    /// A statement that SQL's PREPARE made, ready to be bound (`runs`) or described.
    pub(super) fn on_server_by_sql(&mut self, name: &str, runs: bool) -> Result<Arc<Statement>, NotReady> {
        let Some(statement) = self.prepared.by_sql.get(name).cloned() else {
            return Err(no_such_statement(name).into());
        };
        self.check_age(&self.context.backend)?;
        if self.context.backend.goes_by_catalog() && statement.epoch != self.context.backend.guard.epoch() {
            return Err(outlived().into());
        }
        self.ready_for_statement(&statement, runs)?;
        if runs {
            self.settle_sequences(&statement.guarded, false)?;
        }
        Ok(statement)
    }

    /// Close of such a statement; whether it is one.
    pub(super) fn close_by_sql(&mut self, name: &str) -> Result<bool, NotReady> {
        let Some(statement) = self.prepared.by_sql.get(name).cloned() else { return Ok(false) };
        self.ready_to_send()?;
        let written = frontend::close(&mut self.server.out, Target::Statement(&statement.wire_name()));
        written.map_err(|error| error.to_pg())?;
        self.server.sent_extended();
        self.prepared.by_sql.remove(name);
        self.server.replies.forward(Kind::Close(Closes::BySql(statement)));
        Ok(true)
    }
}

fn prepared_name(effect: &Effect) -> Option<&str> {
    if let Effect::Prepare(name) = effect { Some(name) } else { None }
}

/// 42P05, in Postgres's words.
pub(super) fn name_is_taken(name: &str) -> PgError {
    let message = format!("prepared statement \"{name}\" already exists");
    PgError::error(SqlState::DUPLICATE_PREPARED_STATEMENT, message)
}

/// What a statement of SQL's PREPARE was decided by is not what it means any more.
pub(super) fn outlived() -> PgError {
    let message = "the database has changed since the statement was prepared";
    PgError::error(SqlState::FEATURE_NOT_SUPPORTED, message).hint("DEALLOCATE ALL, then PREPARE it again.")
}
