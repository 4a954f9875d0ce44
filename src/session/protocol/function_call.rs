//! FunctionCall: one function by its OID, as large objects are read and written by some drivers.
//!
//! The guard judges the SELECT that says the same. Where tenants are kept apart by what a statement says, there is none: the
//! message is refused.

use super::Session;
use super::Wait;
use super::not_ready::NotReady;
use super::replies::{Kind, Run, Subject};
use crate::base::{Mode, Oid, PgError, Refusal, RefusalKind, SqlState};
use crate::catalog::Function;
use crate::guard::Protocol;
use crate::sql::quote_identifier;
use crate::wire::encode::frontend;
use crate::wire::frontend::FunctionCall;

impl Session {
    /// The stages of a FunctionCall: those of the Query that says the same.
    pub(super) fn on_function_call(&mut self, call: &FunctionCall<'_>) -> Result<(), NotReady> {
        let backend = self.backend_for(&self.asked());
        match backend.mode {
            Mode::Shared | Mode::Reader | Mode::Schema(_) => {
                let refusal = refused_call();
                self.env.observer.refused(&refusal, MESSAGE);
                return Err(NotReady::Refuse(*refusal.error));
            }
            Mode::Database | Mode::Operator => {}
        }
        let policy = backend.guard.policy();
        let known = policy.catalog.functions.values().flatten().find(|it| it.oid == call.function);
        let Some(function) = known else {
            return Err(if self.current.refreshed {
                no_such_function(call.function).into()
            } else {
                Wait::Refresh(backend).into()
            });
        };
        let sql = said_in_sql(function);
        let planned = self.plan(Protocol::Extended { param_types: &function.arg_types }, &sql)?;
        self.observe_function_call(&sql);
        if planned.guarded.plans().iter().any(|plan| plan.rewritten || !plan.checks.is_empty() || plan.sets_at_bind()) {
            return Err(no_function_calls().into());
        }
        if let Some(error) = self.over_quota(&planned) {
            return Err(error.into());
        }
        if let Err(not_ready) = self.ready(&planned.needs) {
            self.keep_plan(planned);
            return Err(not_ready);
        }
        frontend::function_call(&mut self.server.out, call).map_err(|error| error.to_pg())?;
        if self.is_operator() {
            self.env.observer.operator_statement(&sql);
        }
        self.server.sent_query();
        self.record_effects(&planned.guarded, planned.epoch);
        let run = Run::new(Subject::Script(Box::new(planned.guarded)));
        self.server.replies.forward(Kind::Query(run));
        Ok(())
    }
}

impl Session {
    /// Tenants of the shared tables may make none.
    fn observe_function_call(&self, sql: &str) {
        let observed = self.observation.as_deref().map(|observation| observation.tenant().map(|it| it.mode.clone()));
        if let Some(None | Some(Mode::Shared | Mode::Reader | Mode::Schema(_))) = observed {
            self.env.observer.would_refuse(&refused_call(), sql);
        }
    }
}

/// The call as a statement.
fn said_in_sql(function: &Function) -> String {
    let values: Vec<_> = (1..=function.arg_types.len()).map(|number| format!("${number}")).collect();
    let (schema, name) = (quote_identifier(&function.name.schema), quote_identifier(&function.name.name));
    format!("SELECT {schema}.{name}({})", values.join(", "))
}

fn no_such_function(oid: Oid) -> PgError {
    PgError::error(SqlState::UNDEFINED_FUNCTION, format!("function with OID {oid} does not exist"))
}

/// The message, as a refusal is about it.
const MESSAGE: &str = "FunctionCall";

fn refused_call() -> Refusal {
    let error = Box::new(no_function_calls());
    Refusal { kind: RefusalKind::Statement, object: Some(MESSAGE.into()), error }
}

fn no_function_calls() -> PgError {
    PgError::error(SqlState::FEATURE_NOT_SUPPORTED, "function calls by protocol message are not supported by pgwarden")
        .hint("Call the function in a SELECT.")
}
