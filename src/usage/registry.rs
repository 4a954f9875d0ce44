//! The accounts of all tenants that had a session since the process started.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use time::Date;
use tokio::sync::Notify;

use super::account::Account;
use super::counts::Counts;
use super::period::today;
use super::watch::Terms;
use crate::base::TenantName;
use crate::config::{Quota, QuotaConfig, Tenant};

/// Finds accounts by tenant. Its size is bounded by the number of tenants: only those of the registry come in.
#[derive(Debug)]
pub struct UsageRegistry {
    nobody: Arc<Account>,
    accounts: RwLock<Accounts>,
    quotas: Option<Quotas>,
    /// An account was made whose use elsewhere should be looked up.
    pub(super) fresh: Notify,
}

#[derive(Debug, Default)]
struct Accounts {
    by_name: HashMap<TenantName, usize>,
    /// In the order in which they were made.
    all: Vec<Arc<Account>>,
    /// The period's use as it was last read for all tenants, for accounts yet to be made; `None`: it never was.
    known: Option<HashMap<TenantName, Counts>>,
}

#[derive(Debug)]
struct Quotas {
    default: Arc<Quota>,
    terms: Terms,
}

impl UsageRegistry {
    /// A ledger; with `config`, tenants have quotas.
    pub fn new(config: Option<&QuotaConfig>) -> Self {
        let quotas = config.map(|config| Quotas {
            default: Arc::clone(&config.default),
            terms: Terms { period: config.period, when_unknown: config.when_unknown },
        });
        Self { nobody: Arc::new(Account::new(None)), accounts: RwLock::default(), quotas, fresh: Notify::new() }
    }

    /// The account of sessions that act for no tenant, and of operators.
    pub fn nobody(&self) -> Arc<Account> {
        Arc::clone(&self.nobody)
    }

    /// A tenant's account, made when it is first asked for.
    pub fn account(&self, tenant: &Tenant) -> Arc<Account> {
        if let Some(account) = self.find(&tenant.name) {
            return account;
        }
        let mut accounts = self.accounts.write();
        let accounts = &mut *accounts;
        if let Some(account) = accounts.by_name.get(&tenant.name).and_then(|at| accounts.all.get(*at)) {
            return Arc::clone(account);
        }
        let account = Arc::new(Account::new(Some(tenant.name.clone())));
        let known = accounts.known.as_ref().map(|known| known.get(&tenant.name).copied().unwrap_or_default());
        self.apply_quota(&account, Some(tenant), today(), known.map(|used| (used, Counts::default())));
        if account.is_watched() {
            self.fresh.notify_one();
        }
        accounts.by_name.insert(tenant.name.clone(), accounts.all.len());
        accounts.all.push(Arc::clone(&account));
        account
    }

    /// A tenant's account, if it has one.
    pub fn find(&self, tenant: &TenantName) -> Option<Arc<Account>> {
        let accounts = self.accounts.read();
        accounts.by_name.get(tenant).and_then(|at| accounts.all.get(*at)).cloned()
    }

    /// All tenants' accounts, in the order in which they were made.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.read().all.clone()
    }

    /// Gives the account the tenant's quota of now; `None`: there is no such tenant any more.
    /// `known` as [`Account::set_quota`] has it.
    pub(super) fn apply_quota(
        &self,
        account: &Account,
        tenant: Option<&Tenant>,
        day: Date,
        known: Option<(Counts, Counts)>,
    ) {
        if let Some((quota, terms)) = self.quota_of(tenant) {
            account.set_quota(quota, terms, day, known);
        }
    }

    fn quota_of<'q>(&'q self, tenant: Option<&'q Tenant>) -> Option<(&'q Arc<Quota>, Terms)> {
        let quotas = self.quotas.as_ref()?;
        Some((tenant.and_then(|tenant| tenant.quota.as_ref()).unwrap_or(&quotas.default), quotas.terms))
    }

    /// Whether the tenant's use is bounded.
    pub(super) fn has_quota(&self, tenant: Option<&Tenant>) -> bool {
        self.quota_of(tenant).is_some_and(|(quota, _)| !quota.is_empty())
    }

    /// The period's use of all tenants has been read.
    pub(super) fn learn(&self, used: HashMap<TenantName, Counts>) {
        self.accounts.write().known = Some(used);
    }

    /// Whether [`UsageRegistry::learn`] was told of it.
    pub(super) fn has_learnt(&self) -> bool {
        self.accounts.read().known.is_some()
    }

    /// A new period has begun: nothing of it is used.
    pub(super) fn forget(&self) {
        if let Some(known) = &mut self.accounts.write().known {
            *known = HashMap::new();
        }
    }
}
