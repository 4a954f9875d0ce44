//! The accounts of all tenants that had a session since the process started.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::account::Account;
use crate::ids::TenantName;

/// Finds accounts by tenant. Its size is bounded by the number of tenants: only names of the registry come in.
#[derive(Debug)]
pub struct Ledger {
    nobody: Arc<Account>,
    accounts: RwLock<HashMap<TenantName, Arc<Account>>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { nobody: Arc::new(Account::new(None)), accounts: RwLock::default() }
    }
}

impl Ledger {
    /// The account of sessions that act for no tenant, and of operators.
    pub fn nobody(&self) -> Arc<Account> {
        Arc::clone(&self.nobody)
    }

    /// A tenant's account, made when it is first asked for.
    pub fn account(&self, tenant: &TenantName) -> Arc<Account> {
        if let Some(account) = self.accounts.read().get(tenant) {
            return Arc::clone(account);
        }
        let mut accounts = self.accounts.write();
        let account = accounts.entry(tenant.clone()).or_insert_with(|| Arc::new(Account::new(Some(tenant.clone()))));
        Arc::clone(account)
    }

    /// All tenants' accounts.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.read().values().cloned().collect()
    }
}
