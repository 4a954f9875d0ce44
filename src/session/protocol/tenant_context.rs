//! The tenant context as a setting: what SET, SET LOCAL, savepoints and the end of transactions do to it, exactly as
//! Postgres does with its own settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Backend;
use crate::base::{PgError, TenantKeys, TenantName};
use crate::guard::context::{Scope, TransactionStep};
use crate::limits::Allowance;
use crate::usage::Account;

/// A tenant that a session acts for.
#[derive(Debug)]
pub struct TenantContext {
    /// Its name: the value of the setting as the client sees it.
    pub name: TenantName,
    /// Its keys.
    pub keys: TenantKeys,
    /// Settings that the server must have while it is acted for.
    pub sealed: BTreeMap<String, String>,
    /// Where what it uses is counted.
    pub account: Arc<Account>,
    /// Where its data lives.
    pub backend: Arc<Backend>,
    /// What it may take.
    pub allowance: Arc<Allowance>,
}

/// Finds the tenants that a login may act for.
pub trait Tenants: Send + Sync {
    /// The tenant of this name.
    ///
    /// # Errors
    /// 28000, the same for a tenant that does not exist, is suspended or is another login's; that its upstream cannot be used.
    fn resolve(&self, name: &str) -> Result<Arc<TenantContext>, PgError>;
    /// The tenant that a search path names, by its schema, which stands first; behind it, schemas that are nobody's.
    fn of_path(&self, path: &[String]) -> Option<TenantName>;
    /// The settings of a session that acts for nobody.
    fn nobody(&self) -> BTreeMap<String, String>;
}

/// Who is acted for; `None`: nobody yet.
pub type CurrentTenant = Option<Arc<TenantContext>>;

/// Whether two actors are the same.
pub fn same(one: &CurrentTenant, other: &CurrentTenant) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.name == other.name,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// A setting through transactions.
#[derive(Clone, Debug)]
pub struct Variable<T> {
    /// What a rollback goes back to.
    committed: T,
    now: Current<T>,
    savepoints: Vec<(String, Current<T>)>,
    /// It was set in this transaction.
    pending: bool,
}

#[derive(Clone, Debug)]
struct Current<T> {
    session: T,
    local: Option<T>,
}

impl<T: Clone> Variable<T> {
    /// A setting with this value outside of any transaction.
    pub fn new(value: T) -> Self {
        let now = Current { session: value.clone(), local: None };
        Self { committed: value, now, savepoints: Vec::new(), pending: false }
    }

    /// The value in force.
    pub fn value(&self) -> &T {
        self.now.local.as_ref().unwrap_or(&self.now.session)
    }

    /// Whether the transaction's end may change it.
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// SET or SET LOCAL.
    pub fn set(&mut self, value: T, scope: Scope) {
        self.pending = true;
        self.now = match scope {
            Scope::Session => Current { session: value, local: None },
            Scope::Local => Current { session: self.now.session.clone(), local: Some(value) },
        };
    }

    /// The end or a mark of a transaction.
    pub fn step(&mut self, step: &TransactionStep) {
        match step {
            TransactionStep::Commit { chain: _ } => self.commit(),
            TransactionStep::Rollback { chain: _ } => self.roll_back(),
            TransactionStep::Savepoint(name) => self.savepoints.push((name.clone(), self.now.clone())),
            TransactionStep::Release(name) => {
                if let Some(at) = self.savepoint(name) {
                    self.savepoints.truncate(at);
                }
            }
            TransactionStep::RollbackTo(name) => {
                if let Some(at) = self.savepoint(name) {
                    self.savepoints.truncate(at + 1);
                    if let Some((_, then)) = self.savepoints.last() {
                        self.now = then.clone();
                    }
                }
            }
        }
    }

    fn savepoint(&self, name: &str) -> Option<usize> {
        self.savepoints.iter().rposition(|(it, _)| it == name)
    }

    /// The transaction committed.
    pub fn commit(&mut self) {
        *self = Self::new(self.now.session.clone());
    }

    /// The transaction was rolled back.
    pub fn roll_back(&mut self) {
        *self = Self::new(self.committed.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TransactionStep as S;

    #[test]
    fn as_postgres_treats_a_setting() {
        let name = |it: &str| it.to_owned();
        let mut it = Variable::new(0);
        it.set(1, Scope::Local);
        it.commit();
        assert_eq!(*it.value(), 0);
        it.set(2, Scope::Session);
        it.set(3, Scope::Local);
        assert_eq!(*it.value(), 3);
        it.step(&S::Commit { chain: false });
        assert_eq!(*it.value(), 2);
        it.set(4, Scope::Session);
        it.step(&S::Rollback { chain: false });
        assert_eq!(*it.value(), 2);
        // Savepoints: released values stay, those rolled back go, the mark itself stays
        it.step(&S::Savepoint(name("a")));
        it.set(5, Scope::Local);
        it.step(&S::Savepoint(name("b")));
        it.set(6, Scope::Session);
        it.step(&S::RollbackTo(name("b")));
        assert_eq!(*it.value(), 5);
        it.set(7, Scope::Local);
        it.step(&S::Release(name("b")));
        assert_eq!(*it.value(), 7);
        it.step(&S::RollbackTo(name("a")));
        assert_eq!(*it.value(), 2);
        it.set(8, Scope::Local);
        it.step(&S::RollbackTo(name("a")));
        assert_eq!(*it.value(), 2);
        // SET after SET LOCAL stays
        it.set(9, Scope::Local);
        it.set(10, Scope::Session);
        it.step(&S::Commit { chain: false });
        assert_eq!(*it.value(), 10);
    }
}
