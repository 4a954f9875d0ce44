//! What the guards of all upstreams are made from.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::UpstreamName;
use crate::config::{Config, PatternLayout, Role, Tenant, Upstream};

/// A configuration and its tenants by upstream: each upstream's are found without looking at all of them.
pub(super) struct Rules {
    /// The configuration.
    pub config: Arc<Config>,
    places: HashMap<Place, Vec<Arc<Tenant>>>,
}

/// An upstream and a database there.
pub(super) type Place = (UpstreamName, String);

impl Rules {
    pub fn new(config: Arc<Config>) -> Self {
        let mut places: HashMap<Place, Vec<Arc<Tenant>>> = HashMap::new();
        for tenant in &config.tenants {
            places.entry(place(&tenant.upstream)).or_default().push(Arc::clone(tenant));
        }
        Self { config, places }
    }

    /// The tenants that live in an upstream's database, of whatever layout.
    pub fn tenants_of(&self, upstream: &Upstream) -> &[Arc<Tenant>] {
        self.places.get(&place(upstream)).map_or(&[], Vec::as_slice)
    }

    /// The upstream that leads to a place, as it is configured now, if anything does.
    pub fn upstream_at(&self, at: &Place) -> Option<Arc<Upstream>> {
        let (name, database) = at;
        let named = self.config.upstreams.get(name).filter(|upstream| upstream.database == *database);
        let of_tenant = || self.places.get(at).and_then(|tenants| tenants.first()).map(|tenant| &tenant.upstream);
        if let Some(found) = named.or_else(of_tenant) {
            return Some(Arc::clone(found));
        }
        let base = self.config.upstreams.get(name)?;
        (self.is_operators(at) || self.is_derived(at)).then(|| with_database(base, database))
    }

    fn is_operators(&self, (name, database): &Place) -> bool {
        self.config.logins.iter().any(|login| match &login.role {
            Role::Operator { upstream, database: Some(own) } => upstream == name && own == database,
            Role::Operator { database: None, .. }
            | Role::Tenant
            | Role::Reader { .. }
            | Role::Observed
            | Role::Admin => false,
        })
    }

    fn is_derived(&self, (name, database): &Place) -> bool {
        let pattern = self.config.tenancy.pattern.as_ref().filter(|pattern| pattern.upstream == *name);
        match pattern.map(|pattern| &pattern.layout) {
            Some(PatternLayout::Database { database: template }) => {
                template.name_in(database).is_some_and(crate::base::is_tenant_name)
            }
            Some(PatternLayout::Shared | PatternLayout::Schema { .. }) | None => false,
        }
    }
}

fn place(upstream: &Upstream) -> Place {
    (upstream.name.clone(), upstream.database.clone())
}

/// The same upstream, another database.
pub(super) fn with_database(upstream: &Arc<Upstream>, database: &str) -> Arc<Upstream> {
    if upstream.database == database {
        return Arc::clone(upstream);
    }
    Arc::new(Upstream { database: database.to_owned(), ..Upstream::clone(upstream) })
}
