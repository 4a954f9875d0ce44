//! Sessions of a login that acts for several tenants: who is acted for, and that the server's setting says the same.
//!
//! A statement that changes the context goes out only when nothing is outstanding, and nothing goes out behind it before
//! its reply has come: so what is known here is what the server knows, whatever the client pipelines.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::not_ready::NotReady;
use super::replies::{Closes, Disposition, InternalQuery, Kind, Run, Subject};
use super::tenant_context::{CurrentTenant, TenantContext, Tenants, Variable, same};
use super::ties::{Stays, Ties};
use super::{Backend, Batch, Hold, Pin, Session, Wait};
use crate::base::{Mode, PgError, Refusal, RefusalKind, SqlState, TenantKeys};
use crate::guard::PinReason;
use crate::guard::context::{self, Scope, TransactionStep};
use crate::wire::backend::{CommandComplete, TransactionStatus};
use crate::wire::encode::frontend;
use crate::wire::error::WireError;
use crate::wire::frontend::{Format, Target};

/// A portal of our own beside the client's.
const PORTAL: &str = "pgwarden_tenant";

/// What a statement that ended well does to the context.
#[derive(Clone, Debug)]
pub enum Change {
    /// Nothing.
    None,
    /// It names the tenant.
    Switch {
        /// Who is acted for.
        to: CurrentTenant,
        /// For how long.
        scope: Scope,
    },
    /// It ends or marks a transaction.
    Transaction(TransactionStep),
    /// It clears all settings.
    Clear,
    /// It opens a cursor for this actor.
    Cursor(CurrentTenant),
}

impl Change {
    /// Whether it is one.
    pub fn is_some(&self) -> bool {
        !matches!(self, Change::None)
    }
}

/// What the server's settings say in the current transaction.
#[derive(Clone, Debug)]
struct Held {
    actor: CurrentTenant,
    /// All of the tenant's settings do, not the first alone.
    whole: bool,
}

/// The tenant context of a session.
pub(super) struct Switching {
    pub(super) tenants: Arc<dyn Tenants>,
    /// Where the session is while it acts for nobody.
    pub(super) home: Arc<Backend>,
    /// As the client has set it.
    pub(super) asked: Variable<CurrentTenant>,
    held: Variable<Held>,
    /// The server reported an error since the last ReadyForQuery.
    failed: bool,
    pub(super) ties: Ties,
    /// Portals that the server does not know: what they run is carried out here.
    pub(super) bound_here: HashSet<Box<str>>,
}

impl Switching {
    pub(super) fn new(tenants: Arc<dyn Tenants>, home: Arc<Backend>) -> Self {
        let held = Variable::new(Held { actor: None, whole: true });
        Self {
            tenants,
            home,
            asked: Variable::new(None),
            held,
            failed: false,
            ties: Ties::default(),
            bound_here: HashSet::new(),
        }
    }

    /// Whom the server connection is for.
    pub(super) fn seated(&self) -> &CurrentTenant {
        &self.held.value().actor
    }

    /// The end or a mark of a transaction.
    pub(super) fn step(&mut self, step: &TransactionStep) {
        self.asked.step(step);
        self.held.step(step);
        if matches!(step, TransactionStep::Commit { .. } | TransactionStep::Rollback { .. }) {
            self.ties.transaction_ended();
        }
    }

    /// The actor of this name; nobody for the empty one.
    pub(super) fn resolve(&self, name: &str) -> Result<CurrentTenant, PgError> {
        if name.is_empty() { Ok(None) } else { self.tenants.resolve(name).map(Some) }
    }

    /// The actor that a comment before the statement names, if it names one that may be acted for.
    pub(super) fn named_in(&self, sql: &str) -> Option<CurrentTenant> {
        self.resolve(context::comment(sql)?).ok()
    }

    fn holds(&self, target: &CurrentTenant) -> bool {
        let held = self.held.value();
        held.whole && same(&held.actor, target)
    }
}

/// The keys of an actor; none of nobody.
pub(super) fn keys_of(actor: &CurrentTenant) -> TenantKeys {
    actor.as_ref().map(|acting| acting.keys.clone()).unwrap_or_default()
}

/// 28000: nobody is acted for.
pub(super) fn tenant_required(setting: &str) -> PgError {
    PgError::error(SqlState::INVALID_AUTHORIZATION, "tenant context required").hint(format!(
        "Name the tenant first: SET {setting} = 'tenant', SET LOCAL in a transaction, or a comment /* tenant='tenant' */ before the statement."
    ))
}

impl Session {
    /// Makes this the session of a login that acts for several tenants and has named none.
    #[must_use]
    pub fn switching(mut self, tenants: Arc<dyn Tenants>) -> Self {
        self.context.switching = Some(Box::new(Switching::new(tenants, Arc::clone(&self.context.backend))));
        self.context.settings.reserve(&self.context.backend.guard.policy().setting);
        self
    }

    /// The tenant that the client names. That it may not act for one is a refusal like others.
    pub(super) fn resolve_named(&self, name: &str) -> Result<CurrentTenant, PgError> {
        let Some(switching) = self.context.switching.as_ref() else { return Ok(None) };
        switching.resolve(name).inspect_err(|error| {
            if error.code == SqlState::INVALID_AUTHORIZATION {
                let setting = &self.context.backend.guard.policy().setting;
                let (kind, error) = (RefusalKind::ForeignTenant, Box::new(error.clone()));
                let refusal = Refusal { kind, object: Some(setting.as_str().into()), error };
                self.env.observer.refused(&refusal, &format!("SET {setting} = ''"));
            }
        })
    }

    /// Who the client asked to act for.
    pub(super) fn asked(&self) -> CurrentTenant {
        self.context.switching.as_ref().and_then(|it| it.asked.value().clone())
    }

    /// The tenant whose schema stands first on a search path; nobody on the way back from such a one.
    pub(super) fn named_by_path(&self, path: &[String]) -> Option<String> {
        let switching = self.context.switching.as_ref()?;
        if let Some(tenant) = switching.tenants.of_path(path) {
            return Some(tenant.to_string());
        }
        let in_schema = switching.asked.value().as_ref().is_some_and(|it| matches!(it.backend.mode, Mode::Schema(_)));
        let home = switching.home.guard.policy();
        let leaves = in_schema && path.iter().all(|it| it == "$user" || home.search_path.contains(it));
        leaves.then(String::new)
    }

    /// A server connection is there and its settings are this actor's, or will be when it comes to what is sent next.
    pub(super) fn ready_for(&mut self, target: &CurrentTenant) -> Result<(), NotReady> {
        self.pass_gate_of(target)?;
        self.seat(target)
    }

    /// As [`Session::ready_for`], for what runs nothing: away from a tenant whose gate is shut there is a way.
    pub(super) fn seat(&mut self, target: &CurrentTenant) -> Result<(), NotReady> {
        if self.context.switching.is_none() {
            return self.ready_to_send();
        }
        let backend = self.backend_for(target);
        self.move_to(&backend)?;
        let starts = self.starts();
        let Some(switching) = self.context.switching.as_mut() else { return self.ready_to_send() };
        if starts {
            let sealed = target.as_ref().map_or_else(|| switching.tenants.nobody(), |acting| acting.sealed.clone());
            switching.held = Variable::new(Held { actor: target.clone(), whole: true });
            self.context.settings.seal(sealed);
            self.ready_to_send()?;
            self.count_for(target);
            return Ok(());
        }
        if switching.holds(target) {
            return self.ready_to_send();
        }
        self.server.settle()?;
        self.ready_to_send()?;
        // A failed transaction runs nothing that the setting would matter to.
        if self.server.tx != TransactionStatus::Failed {
            self.hand_over(target)?;
            self.count_for(target);
        }
        Ok(())
    }

    /// As [`Session::ready_for`], for a statement that runs something: what was made for another tenant must be gone.
    pub(super) fn ready_to_run(&mut self, target: &CurrentTenant) -> Result<(), NotReady> {
        if let Some(switching) = self.context.switching.as_ref() {
            switching.ties.admit(target)?;
        }
        self.ready_for(target)
    }

    /// As [`Session::ready_for`], for a statement that names this tenant itself.
    pub(super) fn ready_to_switch(&mut self, to: &CurrentTenant) -> Result<(), NotReady> {
        self.pass_gate_of(to)?;
        let asked = self.asked();
        let there = self.backend_for(to);
        if self.backend_for(&asked).is(&there) { self.seat(&asked) } else { self.seat(to) }
    }

    /// As [`Session::ready_for`], for a statement that means the same whoever is acted for: it runs where the session is.
    pub(super) fn ready_as_is(&mut self) -> Result<(), NotReady> {
        if self.in_transaction() || (self.server.link.is_some() && matches!(self.server.pin, Pin::Statement(_))) {
            return self.ready_to_send();
        }
        let asked = self.asked();
        self.ready_for(&asked)
    }

    /// Sets the server's settings within a transaction, with messages of our own.
    fn hand_over(&mut self, target: &CurrentTenant) -> Result<(), NotReady> {
        let Some(switching) = self.context.switching.as_mut() else { return Ok(()) };
        let sql = local_settings(&switching.held.value().actor, target, &self.context.backend.guard.policy().setting);
        switching.held.set(Held { actor: target.clone(), whole: true }, Scope::Local);
        if self.send_own(&sql).is_err() {
            self.context_failed();
            return Err(NotReady::Wait(Wait::Closed));
        }
        Ok(())
    }

    /// Sends what sets settings within a transaction, which is left if it fails.
    ///
    /// # Errors
    /// It is too long.
    pub(super) fn send_own(&mut self, sql: &str) -> Result<(), WireError> {
        match self.server.batch {
            Batch::Closed => frontend::query(&mut self.server.out, sql),
            Batch::Open => frontend::parse(&mut self.server.out, "", sql, &[])
                .and_then(|()| frontend::bind(&mut self.server.out, PORTAL, "", &[], Format::Text))
                .and_then(|()| frontend::execute(&mut self.server.out, PORTAL, 0))
                .and_then(|()| frontend::close(&mut self.server.out, Target::Portal(PORTAL))),
        }?;
        self.server.forget_unnamed();
        match self.server.batch {
            Batch::Closed => {
                let internal = InternalQuery::Context(Vec::new());
                self.server.replies.push(Kind::Query(Run::new(Subject::None)), Disposition::Swallow(internal));
            }
            Batch::Open => {
                self.server.sent_extended();
                let parse = Kind::Parse { subject: Subject::None, undo: None, server: None };
                for kind in [parse, Kind::OwnBind, Kind::Execute(Run::new(Subject::None)), Kind::Close(Closes::Own)] {
                    self.server.replies.push(kind, Disposition::Swallow(InternalQuery::Prepared));
                }
            }
        }
        Ok(())
    }

    /// A statement that changes the context was sent: nothing follows before its reply.
    pub(super) fn record_changes_sent(&mut self, changes: &[Change]) {
        if !changes.iter().any(Change::is_some) {
            return;
        }
        self.server.hold = Hold::Drain;
        if changes.iter().any(|it| matches!(it, Change::Switch { scope: Scope::Session, .. })) {
            let setting = self.context.backend.guard.policy().setting.to_ascii_lowercase();
            self.context.settings.touch(&setting);
        }
    }

    /// Something stays on the server connection that was made for the current actor.
    pub(super) fn record_tie(&mut self, reason: PinReason) {
        let keeps = match reason {
            PinReason::Prepare | PinReason::HoldCursor | PinReason::SessionState => Some(Stays::InSession),
            PinReason::TempObject => Some(Stays::Temporary),
            PinReason::Listen | PinReason::AdvisoryLock | PinReason::Seed | PinReason::Sequences => None,
        };
        if let (Some(switching), Some(stays)) = (self.context.switching.as_mut(), keeps) {
            switching.ties.keep(&switching.held.value().actor, stays);
        }
    }

    /// A statement of the client ended well.
    pub(super) fn record_change(&mut self, change: &Change, body: &[u8]) {
        let Some(switching) = self.context.switching.as_mut() else { return };
        match change {
            Change::None => {}
            Change::Switch { to, scope } => {
                let keys = |actor: &CurrentTenant| actor.as_ref().map_or(0, |acting| key_settings(acting).count());
                // The client's statement sets the first setting alone.
                let whole = keys(to).max(keys(switching.seated())) <= 1;
                switching.asked.set(to.clone(), *scope);
                switching.held.set(Held { actor: to.clone(), whole }, *scope);
                self.count_for(to);
                self.env.observer.acts_for(to.as_ref().map(|acting| &acting.name));
            }
            Change::Transaction(step) => {
                // COMMIT of a failed transaction says so.
                let undone = CommandComplete::read(body).is_ok_and(|complete| complete.tag == "ROLLBACK");
                let step = match step {
                    TransactionStep::Commit { chain } if undone => &TransactionStep::Rollback { chain: *chain },
                    step => step,
                };
                switching.step(step);
            }
            Change::Clear => switching.asked.set(None, Scope::Session),
            Change::Cursor(actor) => switching.ties.open(actor),
        }
    }

    /// DISCARD ALL: nothing is left of anybody.
    pub(super) fn untie(&mut self) {
        if let Some(switching) = self.context.switching.as_mut() {
            switching.ties.clear();
        }
    }

    /// No temporary table is left.
    pub(super) fn untie_temporary(&mut self) {
        if let Some(switching) = self.context.switching.as_mut() {
            switching.ties.temporary_gone();
        }
    }

    pub(super) fn record_failure(&mut self) {
        if let Some(switching) = self.context.switching.as_mut() {
            switching.failed = true;
        }
    }

    /// ReadyForQuery on a message of the client's: an implicit transaction has ended with it.
    pub(super) fn context_settled(&mut self, status: TransactionStatus) {
        let Some(switching) = self.context.switching.as_mut() else { return };
        let failed = std::mem::take(&mut switching.failed);
        if status != TransactionStatus::Idle {
            return;
        }
        switching.ties.transaction_ended();
        if failed {
            switching.asked.roll_back();
            switching.held.roll_back();
        } else {
            switching.asked.commit();
            switching.held.commit();
        }
    }

    /// A message that may end an implicit transaction was sent: where the context hangs on how that ends, it is waited for.
    /// In a transaction block an error ends nothing.
    pub(super) fn wait_for_context(&mut self) {
        if self.server.tx == TransactionStatus::Idle
            && self.context.switching.as_ref().is_some_and(|it| it.asked.is_pending())
        {
            self.server.hold = Hold::Drain;
        }
    }
}

/// The settings with a tenant's keys. The others that are sealed belong to its place: they stay as they are in a
/// transaction.
fn key_settings(acting: &TenantContext) -> impl Iterator<Item = &String> {
    acting.sealed.keys().filter(|name| !matches!(name.as_str(), "search_path" | "role"))
}

fn local_settings(from: &CurrentTenant, to: &CurrentTenant, setting: &str) -> String {
    use crate::sql::quote_literal;
    let own = |actor: &CurrentTenant| -> Option<Arc<TenantContext>> { actor.clone() };
    let (from, to) = (own(from), own(to));
    let mut names = BTreeSet::from([setting.to_ascii_lowercase()]);
    for acting in from.iter().chain(&to) {
        names.extend(key_settings(acting).cloned());
    }
    let value = |name: &str| to.as_ref().and_then(|acting| acting.sealed.get(name)).map_or("", String::as_str);
    let calls = names
        .iter()
        .map(|name| format!("pg_catalog.set_config({}, {}, true)", quote_literal(name), quote_literal(value(name))));
    format!("SELECT {}", calls.collect::<Vec<_>>().join(", "))
}
