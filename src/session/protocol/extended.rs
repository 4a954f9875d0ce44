//! The extended protocol: Parse, Bind, Describe, Execute, Close, Flush, Sync.
//!
//! A named statement of a client is a shared statement on the server: whoever prepares the same text finds it there, and a
//! server that lacks it is sent a Parse before whatever names it.

use std::sync::Arc;

use smallvec::SmallVec;

use super::channels::tag_of_mark;
use super::dropping::drops_names;
use super::load::{LoadProtocol, starts_load};
use super::not_ready::NotReady;
use super::outline::tag_of;
use super::replies::{Closes, InternalQuery, Kind, Run, Subject};
use super::resetting::resets;
use super::route::Needs;
use super::sql_prepared::name_is_taken;
use super::statements::{Portal, Statement, Undo};
use super::{Batch, Intake, Session, Wait};
use crate::base::{Oid, PgError, SqlState};
use crate::guard::{BindValue, Effect, Plan, Protocol};
use crate::wire::encode::{backend, frontend};
use crate::wire::error::WireError;
use crate::wire::frontend::{Bind, BindRewrite, Execute, ExtraParam, Format, Parse, Target, rewrite_bind};

impl Session {
    /// The stages of a Parse: its name, plan, the server connection and its context, prepare.
    pub(super) fn on_parse(&mut self, parse: &Parse<'_>) -> Result<(), NotReady> {
        if self.may_come_free(parse.name) {
            self.server.ask_for_replies();
            return Err(Wait::Replies.into());
        }
        self.settle_name(parse.name, true)?;
        if !parse.name.is_empty() && self.server.replies.may_have_failed_to_prepare() {
            self.server.settle()?;
        }
        self.settle_settings(parse.name)?;
        let declared: Box<[Oid]> = parse.param_types.iter().collect();
        let planned = self.plan(Protocol::Extended { param_types: &declared }, parse.sql)?;
        let here = self.waits_for_bind(&planned.step);
        let ready = self.settle_names(&planned.guarded).and_then(|()| match &planned.needs {
            _ if here => Ok(()),
            Needs::Nothing => self.ready_as_is(),
            Needs::Settings(actor) => self.seat(actor),
            Needs::All(actor) => self.ready_for(actor),
        });
        if let Err(not_ready) = ready {
            self.keep_plan(planned);
            return Err(not_ready);
        }
        if self.is_operator() {
            self.env.observer.operator_statement(parse.sql);
        }
        let statement = self.statement_of(parse, planned, declared);
        self.can_prepare(parse, &statement)?;
        if !here {
            return self.prepare(statement);
        }
        let undo = self.prepared.statements.insert(Arc::new(statement));
        self.answer_for(Some(undo), backend::parse_complete);
        Ok(())
    }

    /// Whether the name is taken by a statement that replies to come may show to have failed or to have been skipped.
    fn may_come_free(&self, name: &str) -> bool {
        !name.is_empty() && !self.server.replies.is_empty() && self.prepared.statements.get(name).is_some()
    }

    fn can_prepare(&self, parse: &Parse<'_>, statement: &Statement) -> Result<(), PgError> {
        if parse.name.is_empty() {
            return Ok(());
        }
        if self.prepared.statements.get(parse.name).is_some() || self.prepared.by_sql.contains_key(parse.name) {
            // Postgres looks for a failed transaction before it looks for the name.
            if self.is_doomed(statement) {
                let message = "current transaction is aborted, commands ignored until end of transaction block";
                return Err(PgError::error(SqlState::IN_FAILED_SQL_TRANSACTION, message));
            }
            return Err(name_is_taken(parse.name));
        }
        if self.prepared.statements.has_room(parse.sql.len()) {
            return Ok(());
        }
        Err(PgError::error(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "too many prepared statements in this session")
            .hint("Close or DEALLOCATE those that are no longer needed."))
    }

    /// The client's statement as it is for who is acted for now, there on the server by the time that the next message is read.
    fn on_server(&mut self, name: &str, bind: Option<&Bind<'_>>) -> Result<Arc<Statement>, NotReady> {
        self.settle_name(name, false)?;
        self.settle_settings(name)?;
        let Some(mut statement) = self.prepared.statements.get(name).cloned() else {
            return self.on_server_by_sql(name, bind.is_some());
        };
        if drops_names(&statement.guarded) {
            statement = self.dropping_now(statement)?;
        }
        statement = self.up_to_date(statement)?;
        if let Some(bind) = bind {
            statement = self.with_named_tenant(statement, bind)?;
        }
        if bind.is_some() {
            self.settle_channels(&statement.guarded, Protocol::Extended { param_types: &[] })?;
        }
        self.ready_for_statement(&statement, bind.is_some())?;
        if bind.is_some() {
            self.settle_sequences(&statement.guarded, false)?;
        }
        let statement = self.under_now(statement);
        if !self.knows(&statement) {
            self.send_parse(statement.clone(), Some(InternalQuery::Prepared))?;
        }
        Ok(statement)
    }

    pub(super) fn on_bind(&mut self, bind: &Bind<'_>) -> Result<(), NotReady> {
        if !self.prepared.portals.has_room(bind.portal) {
            return Err(PgError::error(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "too many open portals").into());
        }
        if self.binds_here(bind) {
            return Ok(());
        }
        let statement = self.on_server(bind.statement, Some(bind))?;
        let checked = self.check_values(&statement, bind);
        if checked.is_ok() && !self.current.asked {
            self.observe_bind(&statement, bind);
            self.ask_whose()?;
        }
        let written = checked.and_then(|sets| {
            self.write_bind(&statement, bind).map_err(|error| error.to_pg())?;
            Ok(sets)
        });
        let sets = match written {
            Ok(sets) => sets,
            Err(error) => {
                // That is so only if there is such a statement.
                if self.server.replies.may_have_failed_to_parse(bind.statement) {
                    self.server.settle()?;
                }
                return Err(error.into());
            }
        };
        self.server.sent_extended();
        self.record_portal(bind.portal, &statement);
        let portal = Portal { statement: statement.clone(), begun: false, sets };
        let undo = self.prepared.portals.insert(bind.portal, portal);
        self.server.replies.forward(Kind::Bind { statement, undo });
        Ok(())
    }

    /// The tenant's quota, values that must be the tenant's own, and settings: what these do to the session.
    fn check_values(&self, statement: &Statement, bind: &Bind<'_>) -> Result<Box<[Effect]>, PgError> {
        if let Some(error) = self.statement_over_quota(statement) {
            return Err(error);
        }
        let looked_at = |plan: &&Arc<Plan>| !plan.checks.is_empty() || plan.sets_at_bind();
        let Some(plan) = statement.guarded.plans().first().filter(looked_at) else {
            return Ok(Box::default());
        };
        if bind.params.count() != plan.client_params {
            // `write_bind` words it.
            return Ok(Box::default());
        }
        let values = bind.params.iter().zip(1..).map(|(bytes, number)| BindValue {
            bytes,
            binary: bind.format_code(number) != Format::Text.code(),
            declared: statement.declared.get(usize::from(number) - 1).copied().unwrap_or(0),
        });
        let values = values.collect::<Vec<_>>();
        let guarded = &statement.guarded;
        let backend = &self.context.backend;
        let settings = || guarded.settings_at_bind(&backend.guard.policy(), &backend.mode, &values);
        guarded.check_bind(&values).and_then(|()| settings()).map(Vec::into_boxed_slice).map_err(|refusal| {
            let text = statement.text();
            let written = statement.origin.as_ref().map_or(&*text, |origin| &*origin.text);
            self.env.observer.refused(&refusal, written);
            *refusal.error
        })
    }

    fn write_bind(&mut self, statement: &Statement, bind: &Bind<'_>) -> Result<(), WireError> {
        let extra = statement.guarded.extra_values();
        let extra = extra.iter().map(|value| ExtraParam { format: Format::Text, value: Some(value.as_bytes()) });
        let change = BindRewrite {
            portal: bind.portal,
            statement: &statement.wire_name(),
            client_params: statement.expected_params(bind.params.count()),
            extra: &extra.collect::<SmallVec<[_; 1]>>(),
        };
        rewrite_bind(&mut self.server.out, bind, &change)
    }

    pub(super) fn on_describe(&mut self, target: Target<'_>) -> Result<(), NotReady> {
        let name = match target {
            Target::Portal(name) => return self.describe_portal(name),
            Target::Statement(name) => name,
        };
        if let Some(statement) = self.prepared.statements.get(name).cloned()
            && self.waits_for_bind(&statement.step)
            && self.describe_here(&statement.step)
        {
            return Ok(());
        }
        let statement = self.on_server(name, None)?;
        let server_name = statement.wire_name();
        frontend::describe(&mut self.server.out, Target::Statement(&server_name)).map_err(|error| error.to_pg())?;
        self.server.sent_extended();
        self.server.replies.forward(Kind::DescribeStatement(statement));
        Ok(())
    }

    fn describe_portal(&mut self, name: &str) -> Result<(), NotReady> {
        if self.portal_here(name)?.is_some() {
            self.answer(backend::no_data);
            return Ok(());
        }
        self.ready_to_send()?;
        frontend::describe(&mut self.server.out, Target::Portal(name)).map_err(|error| error.to_pg())?;
        self.server.sent_extended();
        let observed = self.observation.as_ref().and_then(|_| self.prepared.portals.get(name));
        let runs = observed.map(|portal| Arc::clone(&portal.statement));
        self.server.replies.forward(Kind::DescribePortal(runs));
        Ok(())
    }

    pub(super) fn on_execute(&mut self, execute: &Execute<'_>) -> Result<(), NotReady> {
        if let Some(statement) = self.portal_here(execute.portal)? {
            self.run_here(&statement.step, &statement.guarded);
            return Ok(());
        }
        self.ready_to_execute(execute.portal)?;
        self.observe_execute();
        if let Some(portal) = self.prepared.portals.get(execute.portal)
            && let Some(error) = self.statement_over_quota(&portal.statement)
        {
            return Err(error.into());
        }
        if let Some(portal) = self.prepared.portals.get(execute.portal).filter(|portal| !portal.begun) {
            let statement = Arc::clone(&portal.statement);
            self.check_new_names(&statement.guarded)?;
        }
        if starts_load(&self.prepared.portals, execute.portal)
            && let Some(portal) = self.prepared.portals.remove(execute.portal)
        {
            self.record_draws(&portal.statement.guarded);
            let load = Self::load_of(&portal.statement.guarded, LoadProtocol::Extended)?;
            return load.map_or(Ok(()), |load| self.start_load(load));
        }
        if let Some(statement) = self.prepared.portals.get(execute.portal).map(|it| Arc::clone(&it.statement)) {
            self.settle_locks(&statement.guarded)?;
            self.settle_temporary(&statement.guarded)?;
        }
        frontend::execute(&mut self.server.out, execute.portal, execute.max_rows).map_err(|error| error.to_pg())?;
        self.server.sent_extended();
        // A portal that is not known here is a cursor that the guard let an SQL statement declare.
        let mut run = Run::new(Subject::None);
        if let Some(portal) = self.prepared.portals.get_mut(execute.portal) {
            run.resumes = std::mem::replace(&mut portal.begun, true);
            let statement = portal.statement.clone();
            let sets = std::mem::take(&mut portal.sets);
            self.record_effects(&statement.guarded, statement.epoch);
            self.record_each(sets.iter(), statement.epoch);
            self.record_channels(&statement.guarded);
            let mark = || statement.guarded.plans().first().and_then(|plan| tag_of_mark(plan));
            run.tag = statement.tag.or(tag_of(&statement.step)).or_else(mark);
            if statement.change.is_some() {
                run.changes = vec![statement.change.clone()];
                self.record_changes_sent(&run.changes);
            }
            self.wait_for_names(&statement.guarded);
            run.subject = Subject::Statement(statement);
        }
        let resets = run.subject.guarded().is_some_and(resets);
        self.server.replies.forward(Kind::Execute(run));
        if resets {
            self.put_back();
        }
        Ok(())
    }

    /// As [`Session::ready_to_send`], for whom the portal was bound. A change of the context waits for what is outstanding.
    fn ready_to_execute(&mut self, portal: &str) -> Result<(), NotReady> {
        if self.context.switching.is_none() {
            return self.ready_to_send();
        }
        let Some(portal) = self.prepared.portals.get(portal) else {
            // A cursor that SQL declared, if it is one.
            let asked = self.asked();
            return self.ready_to_run(&asked);
        };
        let statement = portal.statement.clone();
        self.check_portal(&statement)?;
        if statement.change.is_some() {
            self.server.settle()?;
            return self.ready_to_send();
        }
        self.ready_for_statement(&statement, false)
    }

    pub(super) fn on_close(&mut self, target: Target<'_>) -> Result<(), NotReady> {
        match target {
            // The shared statement stays on its servers until it is the least recently used one.
            Target::Statement(name) => {
                self.settle_name(name, true)?;
                if self.close_by_sql(name)? {
                    return Ok(());
                }
                let undo = self.prepared.statements.remove(name).map(Undo::Dropped);
                self.answer_for(undo, backend::close_complete);
                Ok(())
            }
            Target::Portal(name) => self.close_portal(name),
        }
    }

    fn close_portal(&mut self, name: &str) -> Result<(), NotReady> {
        let undo = self.prepared.portals.close(name);
        if self.server.link.is_none() {
            // Portals end with their transaction: there is none.
            self.answer(backend::close_complete);
            return Ok(());
        }
        frontend::close(&mut self.server.out, Target::Portal(name)).map_err(|error| error.to_pg())?;
        self.server.sent_extended();
        self.server.replies.forward(Kind::Close(Closes::Portal(undo)));
        Ok(())
    }

    pub(super) fn on_flush(&mut self) -> Result<(), NotReady> {
        if self.server.link.is_some() {
            self.server.flush();
        }
        Ok(())
    }

    pub(super) fn on_sync(&mut self) -> Result<(), NotReady> {
        self.client.intake = Intake::Open;
        if self.server.link.is_none() || (self.server.batch == Batch::Closed && self.server.replies.only_internal()) {
            self.answer_ready();
            return Ok(());
        }
        frontend::sync(&mut self.server.out);
        self.server.sent_sync();
        self.wait_for_context();
        self.server.replies.forward(Kind::Sync);
        Ok(())
    }
}
