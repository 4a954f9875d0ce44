//! All tenants and logins by name. Immutable; a reload swaps in a new one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::derive::Deriver;
use super::queried::QueriedLogins;
use crate::base::{LoginName, TenantName, UpstreamName};
use crate::config::{Config, Layout, Limits, Login, Role, Source, Tenant, Upstream};

/// A registry that a reload can replace while sessions read it.
pub type SharedRegistry = Arc<ArcSwap<Registry>>;

/// Tenants, logins and upstreams, each found by name in constant time.
#[derive(Debug)]
pub struct Registry {
    tenants: HashMap<TenantName, Arc<Tenant>>,
    /// Tenants of the schema layout by their schemas.
    schemas: HashMap<Arc<str>, Vec<TenantName>>,
    logins: HashMap<LoginName, Arc<Login>>,
    /// Logins that sessions have of the auth query, if there is one.
    queried: Option<Arc<QueriedLogins>>,
    /// Whether those have limits.
    queried_limits: bool,
    upstreams: HashMap<UpstreamName, Arc<Upstream>>,
    /// Operators that may use the console.
    console: BTreeSet<LoginName>,
    pattern: Option<Deriver>,
    default_upstream: UpstreamName,
    sources: Vec<Source>,
    domains: Vec<String>,
    number: u64,
}

/// Registries that were made.
static MADE: AtomicU64 = AtomicU64::new(0);

impl Registry {
    /// The registry of a validated configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            tenants: config.tenants.iter().map(|t| (t.name.clone(), Arc::clone(t))).collect(),
            schemas: by_schema(config),
            logins: config.logins.iter().map(|l| (l.name.clone(), Arc::clone(l))).collect(),
            upstreams: config.upstreams.iter().map(|(name, u)| (name.clone(), Arc::clone(u))).collect(),
            queried: None,
            queried_limits: config.auth_query.as_ref().is_some_and(|query| query.limits.is_set()),
            pattern: Deriver::new(config),
            console: config.admin.logins.clone(),
            default_upstream: config.tenancy.upstream.clone(),
            sources: config.tenancy.identify.clone(),
            domains: config.tenancy.domains.clone(),
            number: MADE.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The same, where an auth query gives logins besides: those that sessions have are here.
    pub fn beside(config: &Config, queried: &Arc<QueriedLogins>) -> Self {
        let queried = config.auth_query.as_ref().map(|_| Arc::clone(queried));
        Self { queried, ..Self::new(config) }
    }

    /// Tells it from all others of the process.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A registry that can be swapped.
    pub fn shared(config: &Config, queried: &Arc<QueriedLogins>) -> SharedRegistry {
        Arc::new(ArcSwap::from_pointee(Self::beside(config, queried)))
    }

    /// A tenant by name.
    pub fn tenant(&self, name: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(name)
    }

    /// A tenant that is not listed, where there is a pattern for such.
    pub fn derive(&self, name: &str) -> Option<Arc<Tenant>> {
        self.pattern.as_ref()?.tenant(name).map(Arc::new)
    }

    /// The tenants that have a schema of this name, in whatever place; one that is not listed, by the pattern.
    pub fn of_schema(&self, schema: &str) -> impl Iterator<Item = TenantName> {
        let listed = self.schemas.get(schema).cloned().unwrap_or_default();
        let derived = self.pattern.as_ref().and_then(|it| it.tenant_with_schema(schema));
        listed.into_iter().chain(derived)
    }

    /// Whether a tenant of this name is listed.
    pub fn is_listed(&self, name: &str) -> bool {
        self.tenants.contains_key(name)
    }

    /// A login of the file, or one that the auth query gave to a session. Those of the file win.
    pub fn standing_login(&self, name: &str) -> Option<Arc<Login>> {
        let queried = || self.queried.as_ref()?.get(name);
        self.logins.get(name).cloned().or_else(queried)
    }

    /// A login of the file by name.
    pub fn login(&self, name: &str) -> Option<&Arc<Login>> {
        self.logins.get(name)
    }

    /// An upstream by name.
    pub fn upstream(&self, name: &UpstreamName) -> Option<&Arc<Upstream>> {
        self.upstreams.get(name)
    }

    /// Where tenants live that name no upstream.
    pub fn default_upstream(&self) -> Option<&Arc<Upstream>> {
        self.upstreams.get(&self.default_upstream)
    }

    /// Where a client may name its tenant.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Below which host names tenants have theirs.
    pub fn domains(&self) -> &[String] {
        &self.domains
    }

    /// Whether this login may use the console.
    pub fn may_use_console(&self, login: &Login) -> bool {
        match login.role {
            Role::Admin => true,
            Role::Operator { .. } => self.console.contains(&login.name),
            Role::Tenant | Role::Reader { .. } | Role::Observed => false,
        }
    }

    /// The logins of the file, in no order.
    pub fn logins(&self) -> impl Iterator<Item = &Arc<Login>> {
        self.logins.values()
    }

    /// All tenants, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }

    /// Whether any tenant or login has limits.
    pub fn has_limits(&self) -> bool {
        let tenants = self.tenants.values().map(|tenant| &tenant.limits);
        self.queried_limits || tenants.chain(self.logins.values().map(|login| &login.limits)).any(Limits::is_set)
    }
}

fn by_schema(config: &Config) -> HashMap<Arc<str>, Vec<TenantName>> {
    let mut schemas: HashMap<Arc<str>, Vec<TenantName>> = HashMap::new();
    for tenant in &config.tenants {
        if let Layout::Schema { schema, .. } = &tenant.layout {
            schemas.entry(Arc::clone(schema)).or_default().push(tenant.name.clone());
        }
    }
    schemas
}
