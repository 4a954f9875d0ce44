//! A session of an observed login: nothing is enforced. Its statements go out as the client wrote them, and the guard is asked
//! beside that what would have become of them. What it would have refused is told of, and so are values and rows of other tenants.
//!
//! Nothing here decides what is sent: no method gives anything but to the observer, and questions to the server beside it.

use std::sync::Arc;

use super::observed_copy::ObservedCopy;
use super::observed_rows::ObservedRows;
use super::observed_writes::{ObservedWrites, row_value};
use super::offload::LONG_TEXT;
use super::outline::no_tenant;
use super::statements::Statement;
use super::{Backend, Session};
use crate::base::{Mode, Oid, Refusal, RefusalKind, SqlState, TenantKeys, TenantName};
use crate::guard::context::{self, Scope, Step, Value};
use crate::guard::{BindValue, Plan, Policy, Protocol};
use crate::session::foreign_rows::{ForeignRows, RowValue};
use crate::wire::frontend::{Bind, Format};

/// A tenant whose statements are judged.
#[derive(Clone, Debug)]
pub struct ObservedTenant {
    /// Its name.
    pub name: TenantName,
    /// Its keys.
    pub keys: TenantKeys,
    /// How the guard would treat its statements.
    pub mode: Mode,
}

/// Finds the tenant of a name, if the login may act for it and it lives where the session is.
pub type FindTenant = Arc<dyn Fn(&str) -> Option<ObservedTenant> + Send + Sync>;

/// Whom a session that names tenants as it goes has named.
#[derive(Default)]
struct Named {
    session: Option<ObservedTenant>,
    /// In this transaction.
    local: Option<Option<ObservedTenant>>,
}

/// What the statements of an observed session are judged by.
pub struct Observation {
    find: FindTenant,
    /// The tenant that it named when it connected; then it names no other.
    bound: Option<ObservedTenant>,
    named: Named,
    pub(super) rows: ObservedRows,
    /// The COPY stream that passes.
    pub(super) copy: Option<ObservedCopy>,
    pub(super) writes: ObservedWrites,
}

impl Observation {
    /// Of a session that acts for this tenant, or names tenants as it goes, and asks there whose rows it touches.
    pub fn new(bound: Option<ObservedTenant>, find: FindTenant, asked: Arc<ForeignRows>) -> Self {
        let (rows, writes) = (ObservedRows::default(), ObservedWrites::new(asked));
        Self { find, bound, named: Named::default(), rows, copy: None, writes }
    }

    /// Whom statements are for now.
    pub(super) fn tenant(&self) -> Option<&ObservedTenant> {
        let named = self.named.local.as_ref().unwrap_or(&self.named.session).as_ref();
        self.bound.as_ref().or(named)
    }
}

impl Session {
    /// Only observed: see [`Observation`]. Its place must be one that enforces nothing.
    pub fn observed(mut self, observation: Observation) -> Self {
        self.observation = Some(Box::new(observation));
        self
    }

    /// Judges a text that is sent as it is.
    pub(super) fn observe_text(&mut self, backend: &Backend, protocol: Protocol<'_>, sql: &str) {
        let Some(observation) = self.observation.as_deref() else { return };
        if sql.len() >= LONG_TEXT {
            return self.env.observer.not_judged();
        }
        let policy = backend.guard.policy();
        let outline = match &observation.bound {
            Some(_) => None,
            None => context::outline(&policy, sql, &|_| None),
        };
        let Some(outline) = outline else { return self.judge(backend, &policy, protocol, sql) };
        for (text, step) in outline {
            match step {
                Step::None | Step::Cursor => self.judge(backend, &policy, protocol, &text),
                Step::Switch { value, scope, form: _ } => {
                    let name = match value {
                        Value::Text(name) => name,
                        Value::Default => String::new(),
                        // It comes with Bind.
                        Value::Param => continue,
                    };
                    if protocol == Protocol::Simple {
                        self.observe_name(&policy, &name, scope);
                    }
                }
                Step::Clear => self.name(None, Scope::Session),
                Step::Show(_) | Step::Begin(_) | Step::Transaction(_) => {}
            }
        }
    }

    /// Judges what is bound: values that must be the tenant's own, and the tenant that it names.
    pub(super) fn observe_bind(&mut self, statement: &Statement, bind: &Bind<'_>) {
        let Some(observation) = self.observation.as_deref_mut() else { return };
        let backend = Arc::clone(&self.context.backend);
        observation.rows.bound(statement.parse, &bind.result_formats);
        let sql = statement.guarded.text();
        if sql.len() >= LONG_TEXT {
            return;
        }
        let policy = backend.guard.policy();
        let outline = match &observation.bound {
            Some(_) => None,
            None => context::outline(&policy, &sql, &|_| None),
        };
        if let Some([(_, Step::Switch { value, scope, .. })]) = outline.as_deref() {
            let name = match value {
                Value::Text(name) => Some(name.clone()),
                Value::Default => Some(String::new()),
                Value::Param => {
                    let value = bind.params.get(1).flatten().and_then(|bytes| std::str::from_utf8(bytes).ok());
                    value.map(str::to_owned)
                }
            };
            return self.observe_name(&policy, &name.unwrap_or_default(), *scope);
        }
        if outline.is_none() {
            self.judge_values(&backend, &policy, statement, bind, &sql);
        }
    }

    fn judge_values(&mut self, backend: &Backend, policy: &Policy, statement: &Statement, bind: &Bind<'_>, sql: &str) {
        let Some(observation) = self.observation.as_deref() else { return };
        let tenant = observation.tenant().cloned();
        let protocol = Protocol::Extended { param_types: &statement.declared };
        // What was refused was told of at Parse.
        let Ok(script) = backend.guard.plan(&mode_of(tenant.as_ref()), protocol, sql) else { return };
        let Some(tenant) = tenant else {
            if script.statements.iter().any(|plan| needs_tenant(plan)) {
                self.told_no_tenant(policy);
            }
            return;
        };
        let values: Vec<_> = bind
            .params
            .iter()
            .zip(1..)
            .map(|(bytes, number)| BindValue {
                bytes,
                binary: bind.format_code(number) != Format::Text.code(),
                declared: declared(&statement.declared, number),
            })
            .collect();
        if let Err(refusal) = script.bind(&tenant.keys).and_then(|guarded| {
            guarded.check_bind(&values)?;
            guarded.settings_at_bind(policy, &tenant.mode, &values)
        }) {
            return self.env.observer.would_refuse(&refusal, sql);
        }
        let values: Vec<_> = values.iter().map(|it| row_value(it.bytes, it.binary, it.declared)).collect();
        self.note_write(policy, &tenant, sql, &values);
    }

    /// A statement that the guard would pass: whose rows does it touch?
    fn note_write(&mut self, policy: &Policy, tenant: &ObservedTenant, sql: &str, values: &[RowValue]) {
        let Some(observation) = self.observation.as_deref_mut() else { return };
        if !observation.writes.note(policy, tenant, sql, values) {
            self.env.observer.not_judged();
        }
    }

    fn judge(&mut self, backend: &Backend, policy: &Policy, protocol: Protocol<'_>, sql: &str) {
        let Some(observation) = self.observation.as_deref() else { return };
        let commented = context::comment(sql).filter(|_| observation.bound.is_none());
        let tenant = match commented {
            Some(name) => (observation.find)(name),
            None => observation.tenant().cloned(),
        };
        let verdict = backend.guard.plan(&mode_of(tenant.as_ref()), protocol, sql);
        let simple = protocol == Protocol::Simple;
        match (verdict, tenant) {
            (Err(refusal), _) => self.env.observer.would_refuse(&refusal, sql),
            // Of a statement that is prepared, when it is bound.
            (Ok(_), _) if !simple => {}
            (Ok(script), Some(tenant)) => match script.bind(&tenant.keys) {
                Ok(_) => self.note_write(policy, &tenant, sql, &[]),
                Err(refusal) => self.env.observer.would_refuse(&refusal, sql),
            },
            (Ok(script), None) if script.statements.iter().any(|plan| needs_tenant(plan)) => {
                self.told_no_tenant(policy)
            }
            (Ok(_), None) => {}
        }
    }

    /// All statements for nobody are one to the observer.
    fn told_no_tenant(&self, policy: &Policy) {
        self.env.observer.would_refuse(&no_tenant(&policy.setting), "");
    }

    fn observe_name(&mut self, policy: &Policy, name: &str, scope: Scope) {
        let Some(observation) = self.observation.as_deref() else { return };
        let tenant = (observation.find)(name);
        if tenant.is_none() && !name.is_empty() {
            let refusal = Refusal::new(
                RefusalKind::ForeignTenant,
                SqlState::INVALID_AUTHORIZATION,
                format!("{} names no tenant that this login may act for here", policy.setting),
            )
            .hint("It takes a tenant's name, not its key; a tenant in another database is reached by naming it when connecting.");
            self.env.observer.would_refuse(&refusal.about(&policy.setting), "");
        }
        self.name(tenant, scope);
    }

    fn name(&mut self, tenant: Option<ObservedTenant>, scope: Scope) {
        let Some(observation) = self.observation.as_deref_mut() else { return };
        match scope {
            Scope::Session => observation.named = Named { session: tenant, local: None },
            Scope::Local => observation.named.local = Some(tenant),
        }
        self.tell_observed_tenant();
    }

    /// What SET LOCAL named is over.
    pub(super) fn observed_transaction_ended(&mut self) {
        if self.observation.as_deref_mut().is_some_and(|it| it.named.local.take().is_some()) {
            self.tell_observed_tenant();
        }
    }

    fn tell_observed_tenant(&self) {
        let tenant = self.observation.as_deref().and_then(Observation::tenant);
        self.env.observer.acts_for(tenant.map(|tenant| &tenant.name));
    }
}

/// As nobody, a statement is judged as in the shared layout.
fn mode_of(tenant: Option<&ObservedTenant>) -> Mode {
    tenant.map_or(Mode::Shared, |tenant| tenant.mode.clone())
}

fn needs_tenant(plan: &Plan) -> bool {
    plan.needs_tenant || !plan.slots.is_empty()
}

fn declared(types: &[Oid], number: u16) -> Oid {
    types.get(usize::from(number) - 1).copied().unwrap_or(0)
}
