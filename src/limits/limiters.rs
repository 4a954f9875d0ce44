//! All meters by name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::allowance::Allowance;
use super::limiter::{Common, Kind, Limiter, Whose};
use super::rate;
use super::shared::SharedLimiter;
use crate::base::{LoginName, TenantName};
use crate::config::{Login, Role, Tenant};
use crate::tenant::Registry;

/// Accounts that are kept although nobody uses them, before they are looked through.
const SPARE: usize = 1_024;

/// Meters and allowances of all that are or were lately connected.
#[derive(Debug, Default)]
pub struct Limiters {
    pages: Mutex<Pages>,
    common: Common,
}

#[derive(Debug, Default)]
struct Pages {
    tenants: HashMap<TenantName, Arc<Limiter>>,
    allowances: HashMap<(LoginName, Option<TenantName>), Arc<Allowance>>,
    /// The listener's idle timeout.
    idle: Duration,
    /// Some tenant or login has limits.
    any: bool,
    /// The number of allowances at which those that nobody uses are forgotten.
    sweep_at: usize,
    common: Common,
}

/// One limit at this moment, for the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitLine {
    /// Whose it is.
    pub whose: Whose,
    /// Which.
    pub kind: Kind,
    /// Its value.
    pub value: String,
    /// Whether it is one that proxies share.
    pub shared: bool,
    /// How much of it is taken now, where that can be said.
    pub in_use: Option<u64>,
    /// How often somebody waited for it.
    pub waits: u64,
    /// How often somebody was turned away by it.
    pub rejections: u64,
}

impl Limiters {
    /// An empty book; clients are disconnected after `idle` (zero: never). Rates are those of all proxies that share
    /// `shared_limiter`.
    pub fn new(idle: Duration, shared_limiter: Option<Arc<SharedLimiter>>) -> Arc<Self> {
        let common = Common { shared_limiter, ..Common::default() };
        let pages = Pages { idle, sweep_at: SPARE, common: common.clone(), ..Pages::default() };
        Arc::new(Self { pages: Mutex::new(pages), common })
    }

    /// Where rates are counted together with those of other proxies.
    pub fn shared_limiter(&self) -> Option<&Arc<SharedLimiter>> {
        self.common.shared_limiter.as_ref()
    }

    /// How often each limit made somebody wait, and turned somebody away, since the process started.
    pub fn totals(&self) -> impl Iterator<Item = (Kind, u64, u64)> {
        let felt = |kind: Kind| (kind, self.common.totals.of(kind).waits(), self.common.totals.of(kind).rejections());
        Kind::ALL.iter().map(move |kind| felt(*kind))
    }

    /// The allowance of a login, in a tenant if it acts for one. An operator is limited by its own limits only.
    pub fn allowance(&self, login: &Login, tenant: Option<&Tenant>) -> Arc<Allowance> {
        let tenant = tenant.filter(|_| login.role == Role::Tenant);
        let key = (login.name.clone(), tenant.map(|tenant| tenant.name.clone()));
        let mut pages = self.pages.lock();
        if let Some(allowance) = pages.allowances.get(&key) {
            return Arc::clone(allowance);
        }
        pages.sweep();
        let whose = Whose::Login(key.0.clone(), key.1.clone());
        let own = Arc::new(Limiter::new(whose, &login.limits, pages.common.clone()));
        let shared = tenant.map(|tenant| pages.meter(tenant));
        let unbound = login.role == Role::Tenant && key.1.is_none();
        let allowance = Arc::new(Allowance::new(Some(own), shared, unbound));
        allowance.update(pages.idle, pages.any);
        pages.allowances.insert(key, Arc::clone(&allowance));
        allowance
    }

    /// The limits of this registry hold from now on; what is taken stays counted.
    pub fn apply(&self, registry: &Registry, idle: Duration) {
        let mut pages = self.pages.lock();
        pages.idle = idle;
        pages.any = registry.has_limits();
        for (name, meter) in &pages.tenants {
            if let Some(tenant) = registry.tenant(name.as_str()) {
                meter.set(&tenant.limits);
            }
        }
        for ((login, _), allowance) in &pages.allowances {
            let [own, _] = &allowance.meters;
            if let (Some(login), Some(own)) = (registry.standing_login(login.as_str()), own) {
                own.set(&login.limits);
            }
            allowance.update(idle, pages.any);
        }
    }

    /// How many logins, each in each of its tenants, are known.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.pages.lock().allowances.len()
    }

    /// Every limit that there is, of those who are or were lately connected.
    pub fn lines(&self) -> Vec<LimitLine> {
        let pages = self.pages.lock();
        let own = pages.allowances.values().filter_map(|allowance| allowance.meters.first()?.as_ref());
        let mut lines: Vec<_> = pages.tenants.values().chain(own).flat_map(|meter| lines_of(meter)).collect();
        lines.sort_by_cached_key(|line| (line.whose.to_string(), line.kind as usize));
        lines
    }
}

fn lines_of(meter: &Limiter) -> impl Iterator<Item = LimitLine> {
    Kind::ALL.iter().filter_map(|kind| {
        let in_use = match kind {
            Kind::Connections => Some(u64::from(meter.connections.used())),
            Kind::Transactions => Some(u64::from(meter.transactions.used())),
            Kind::Statements => Some(meter.rate.used(rate::now())),
            _ => None,
        };
        let felt = meter.felt(*kind);
        Some(LimitLine {
            whose: meter.whose.clone(),
            kind: *kind,
            value: meter.value(*kind)?,
            shared: *kind == Kind::Statements && meter.is_shared(),
            in_use,
            waits: felt.waits(),
            rejections: felt.rejections(),
        })
    })
}

impl Pages {
    fn meter(&mut self, tenant: &Tenant) -> Arc<Limiter> {
        let common = &self.common;
        let new = || Arc::new(Limiter::new(Whose::Tenant(tenant.name.clone()), &tenant.limits, common.clone()));
        Arc::clone(self.tenants.entry(tenant.name.clone()).or_insert_with(new))
    }

    /// Forgets allowances that no session has, once there are many, and the meters that no allowance has then. A meter whose
    /// rate is not back to its full burst yet stays: coming again must not renew it.
    fn sweep(&mut self) {
        if self.allowances.len() < self.sweep_at {
            return;
        }
        let now = rate::now();
        self.allowances.retain(|_, allowance| {
            let rests = allowance.meters().all(|meter| meter.rate.used(now) == 0);
            Arc::strong_count(allowance) > 1 || !rests
        });
        self.tenants.retain(|_, meter| Arc::strong_count(meter) > 1);
        self.sweep_at = (self.allowances.len() * 2).max(SPARE);
    }
}
