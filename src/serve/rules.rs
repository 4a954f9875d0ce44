//! What the guards of all upstreams are made from.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{Config, Tenant};
use crate::ids::UpstreamName;

/// A configuration and its tenants by upstream: each upstream's are found without looking at all of them.
pub(super) struct Rules {
    /// The configuration.
    pub config: Arc<Config>,
    tenants: HashMap<UpstreamName, Vec<Arc<Tenant>>>,
}

impl Rules {
    pub fn new(config: Arc<Config>) -> Self {
        let mut tenants: HashMap<UpstreamName, Vec<Arc<Tenant>>> = HashMap::new();
        for tenant in &config.tenants {
            tenants.entry(tenant.upstream.name.clone()).or_default().push(Arc::clone(tenant));
        }
        Self { config, tenants }
    }

    /// The tenants that live on an upstream, of whatever layout.
    pub fn tenants_of(&self, upstream: &UpstreamName) -> &[Arc<Tenant>] {
        self.tenants.get(upstream).map_or(&[], Vec::as_slice)
    }
}
