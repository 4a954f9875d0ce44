//! Whom a session of an observed login may name.

use std::sync::Arc;

use super::protocol::{Backend, FindTenant, Observation, ObservedTenant};
use super::shared_state::SharedState;
use crate::config::{Login, Tenant};

/// What an observed session is judged by. `tenant` is the one that it named when it connected.
pub(super) fn observation(
    shared: &SharedState,
    login: &Arc<Login>,
    tenant: Option<&Tenant>,
    place: &Arc<Backend>,
) -> Observation {
    let asked = shared.foreign_rows.place(place);
    let (registry, login, place) = (Arc::clone(&shared.registry), Arc::clone(login), Arc::clone(place));
    let find: FindTenant = Arc::new(move |name| {
        let registry = registry.load();
        let tenant =
            registry.tenant(name).filter(|tenant| login.tenants.contains(&tenant.name) && !tenant.suspended)?;
        let is_here = tenant.upstream.name == place.upstream.name && tenant.upstream.database == place.database;
        is_here.then(|| judged(tenant))
    });
    Observation::new(tenant.map(judged), find, asked)
}

fn judged(tenant: &Tenant) -> ObservedTenant {
    ObservedTenant { name: tenant.name.clone(), keys: tenant.keys.clone(), mode: tenant.layout.mode() }
}
