//! Statements on servers: made, named, and prepared where they are missing.

use std::sync::Arc;

use super::Session;
use super::not_ready::NotReady;
use super::plan::Planned;
use super::replies::{Closes, Disposition, InternalQuery, Kind, Subject};
use super::statements::{Origin, ServerStatement, Statement};
use super::switching::Change;
use crate::base::Oid;
use crate::guard::StatementKind;
use crate::pool::StatementId;
use crate::wire::backend::TransactionStatus;
use crate::wire::encode::{backend, frontend};
use crate::wire::frontend::{Parse, Target};

impl Session {
    /// The statement that a Parse makes.
    pub(super) fn statement_of(&mut self, parse: &Parse<'_>, planned: Planned, declared: Box<[Oid]>) -> Statement {
        let Planned { guarded, changes, actor, commented, needs: _, backend, step, epoch } = planned;
        let remade = self.context.switching.is_some() || backend.goes_by_catalog() || self.may_move();
        let origin = remade.then(|| Origin { text: parse.sql.into(), backend });
        let tag = self.deallocation(&guarded);
        let mut statement = Statement {
            name: parse.name.into(),
            guarded,
            parse: self.prepared.statements.next_parse(),
            declared,
            server: self.prepared.statements.next_unnamed(),
            circumstances: self.circumstances(),
            origin,
            epoch,
            actor,
            commented,
            step,
            change: changes.into_iter().next().unwrap_or(Change::None),
            tag,
        };
        self.name_on_server(&mut statement);
        statement
    }

    /// Gives the statement the name of its text on servers.
    pub(super) fn name_on_server(&mut self, statement: &mut Statement) {
        statement.circumstances = self.circumstances();
        statement.server = if statement.name.is_empty() {
            self.prepared.statements.next_unnamed()
        } else {
            let (text, types) = (statement.shared_text(), statement.param_types());
            if statement.guarded.plans().iter().any(|plan| plan.is_of_session()) {
                statement.server = ServerStatement::Shared(self.env.shared.next_id());
                return;
            }
            let backend = statement.origin.as_ref().map_or(&self.context.backend, |origin| &origin.backend);
            let context = &backend.planning_context;
            ServerStatement::Shared(self.env.shared.id(context, &statement.circumstances, &text, &types))
        };
    }

    pub(super) fn prepare(&mut self, statement: Statement) -> Result<(), NotReady> {
        let statement = Arc::new(statement);
        if self.knows(&statement) && !self.is_doomed(&statement) && !self.may_be_doomed() {
            let undo = self.prepared.statements.insert(statement);
            self.answer_for(Some(undo), backend::parse_complete);
            return Ok(());
        }
        self.send_parse(statement, None)
    }

    /// Whether the server has the statement.
    pub(super) fn knows(&mut self, statement: &Statement) -> bool {
        let Some(link) = self.server.link.as_mut() else { return false };
        match statement.server {
            ServerStatement::Shared(id) => link.known.prepared.touch(id),
            ServerStatement::Unnamed(_) => link.unnamed == Some(statement.server),
            ServerStatement::BySql => true,
        }
    }

    /// A failed transaction refuses all statements but those that end it. One of these may be on its way.
    pub(super) fn is_doomed(&self, statement: &Statement) -> bool {
        let ends = |kind| matches!(kind, StatementKind::Transaction | StatementKind::Empty);
        self.server.tx == TransactionStatus::Failed
            && !self.server.tx_left
            && !statement.guarded.plans().iter().all(|plan| ends(plan.kind))
            && !self.server.replies.may_end_transaction()
    }

    /// Whether a ReadyForQuery to come may tell of a failed transaction, in which Parse is an error: only the server can say.
    fn may_be_doomed(&self) -> bool {
        let replies = &self.server.replies;
        let in_transaction = self.server.tx != TransactionStatus::Idle || self.server.tx_left;
        replies.owe_ready_for_query() && (in_transaction || replies.may_end_transaction())
    }

    /// Sends a Parse: the client's, or with an errand one of pgwarden's own.
    pub(super) fn send_parse(
        &mut self,
        statement: Arc<Statement>,
        internal: Option<InternalQuery>,
    ) -> Result<(), NotReady> {
        let server = self.server_place(&statement);
        let name = server.map(StatementId::server_name).unwrap_or_default();
        let written = frontend::parse(&mut self.server.out, &name, &statement.text(), &statement.param_types());
        written.map_err(|error| error.to_pg())?;
        self.server.sent_extended();
        let subject = Subject::Statement(statement.clone());
        let (undo, disposition) = match internal {
            None => (Some(self.prepared.statements.insert(statement)), Disposition::Forward),
            Some(internal) => (None, Disposition::Swallow(internal)),
        };
        self.server.replies.push(Kind::Parse { subject, undo, server }, disposition);
        Ok(())
    }

    /// Makes a place for the statement on the server. One that will fail, or that is sent to learn whether it does, goes
    /// under no name: under its own it might exist there, which would be another error.
    fn server_place(&mut self, statement: &Statement) -> Option<StatementId> {
        let doomed = self.is_doomed(statement) || (self.may_be_doomed() && self.knows(statement));
        let link = self.server.link.as_mut()?;
        match statement.server {
            ServerStatement::Shared(id) if !doomed => {
                let doubtful = link.known.prepared.is_doubtful();
                if let Some(old) = link.known.prepared.insert(id) {
                    self.close_on_server(old, Closes::Evicted(old));
                }
                if doubtful {
                    self.close_on_server(id, Closes::Own);
                }
                Some(id)
            }
            ServerStatement::BySql => None,
            ServerStatement::Shared(_) | ServerStatement::Unnamed(_) => {
                link.unnamed = Some(statement.server);
                None
            }
        }
    }

    fn close_on_server(&mut self, id: StatementId, closes: Closes) {
        // Names of ours hold no NUL.
        if frontend::close(&mut self.server.out, Target::Statement(&id.server_name())).is_ok() {
            self.server.sent_extended();
            self.server.replies.push(Kind::Close(closes), Disposition::Swallow(InternalQuery::Prepared));
        }
    }
}
