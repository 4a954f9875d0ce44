//! The tenants that a session may switch to, and those whose rows it reads at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::login::{no_place, place, sealed_settings, shared_path};
use super::protocol::{Backend, Reads, TenantContext, Tenants};
use super::upstream::Upstreams;
use crate::base::{PgError, Severity, TenantKeys, TenantName};
use crate::config::{Login, Tenant, Upstream};
use crate::limits::Limiters;
use crate::tenant::{SharedRegistry, Target};
use crate::usage::UsageRegistry;

/// The tenants of one login.
pub(super) struct LoginTenants {
    pub registry: SharedRegistry,
    /// With the rights that the session has.
    pub login: Arc<Login>,
    /// Where its client comes from; `None` on a Unix socket.
    pub peer: Option<IpAddr>,
    pub upstreams: Arc<dyn Upstreams>,
    /// Where the session is while it acts for nobody.
    pub home: Arc<Backend>,
    pub setting: String,
    pub ledger: Arc<UsageRegistry>,
    pub limits: Arc<Limiters>,
}

impl LoginTenants {
    fn place(&self, tenant: &Arc<Tenant>) -> Result<Arc<Backend>, PgError> {
        let upstream = self
            .upstreams
            .open(&tenant.upstream, &tenant.upstream.database)
            .map_err(|error| PgError { severity: Severity::Error, ..error })?;
        let place = place(&Target::Tenant(Arc::clone(tenant)), &upstream).ok_or_else(no_place)?;
        Ok(if place.is(&self.home) { Arc::clone(&self.home) } else { place })
    }
}

impl Tenants for LoginTenants {
    fn resolve(&self, name: &str) -> Result<Arc<TenantContext>, PgError> {
        let registry = self.registry.load();
        let told = |error: crate::tenant::IdentifyError| PgError { severity: Severity::Error, ..error.to_pg_error() };
        let tenant = registry.may_act(&self.login, name, self.peer).map_err(told)?;
        let place = self.place(&tenant)?;
        Ok(Arc::new(TenantContext {
            name: tenant.name.clone(),
            keys: tenant.keys.clone(),
            sealed: sealed_settings(&tenant, &place.guard, &self.setting),
            account: self.ledger.account(&tenant),
            backend: place,
            allowance: self.limits.allowance(&self.login, Some(&tenant)),
        }))
    }

    fn of_path(&self, path: &[String]) -> Option<TenantName> {
        let mut schemas = path.iter().filter(|it| !matches!(it.as_str(), "$user" | "pg_catalog"));
        let registry = self.registry.load();
        let own = schemas.next()?;
        let may_act = |name: &TenantName| registry.may_act(&self.login, name.as_str(), self.peer).ok();
        let mut tenants = registry.of_schema(own).filter_map(|name| may_act(&name));
        // A schema of that name in two places tells nothing.
        let (tenant, None) = (tenants.next()?, tenants.next()) else { return None };
        let place = self.place(&tenant).ok()?;
        let policy = place.guard.policy();
        // Of a place that was not needed before nothing is known yet.
        let unknown = policy.epoch == 0;
        schemas.all(|it| unknown || it == "public" || policy.common_schemas.contains(it)).then(|| tenant.name.clone())
    }

    fn nobody(&self) -> BTreeMap<String, String> {
        shared_path(&self.home.guard)
    }
}

/// The tenants that a reader reads.
pub(super) struct LoginReads {
    pub registry: SharedRegistry,
    /// With the rights that the session has.
    pub login: Arc<Login>,
    pub upstream: Arc<Upstream>,
    /// Where its client comes from; `None` on a Unix socket.
    pub peer: Option<IpAddr>,
}

impl Reads for LoginReads {
    fn version(&self) -> u64 {
        self.registry.load().number()
    }

    fn keys(&self) -> (u64, Result<TenantKeys, PgError>) {
        let registry = self.registry.load();
        (registry.number(), registry.keys_read_by(&self.login, &self.upstream, self.peer))
    }
}
