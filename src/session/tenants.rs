//! The tenants that a session may switch to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::machine::{Acting, Tenants};
use super::opening::{sealed_settings, shared_path};
use crate::config::Layout;
use crate::guard::Guard;
use crate::ids::{LoginName, UpstreamName};
use crate::pgerror::{PgError, Severity, SqlState};
use crate::tenant::SharedRegistry;
use crate::tenant::usage::Ledger;

/// The tenants of one login, as far as they live in the shared layout of one upstream.
pub(super) struct LoginTenants {
    pub registry: SharedRegistry,
    pub login: LoginName,
    pub upstream: UpstreamName,
    pub guard: Arc<Guard>,
    pub setting: String,
    pub ledger: Arc<Ledger>,
}

impl Tenants for LoginTenants {
    fn resolve(&self, name: &str) -> Result<Arc<Acting>, PgError> {
        let registry = self.registry.load();
        let told = |error: crate::tenant::IdentifyError| PgError { severity: Severity::Error, ..error.to_pg_error() };
        let tenant = registry.may_act(&self.login, name).map_err(told)?;
        if tenant.layout != Layout::Shared || tenant.upstream.name != self.upstream {
            return Err(PgError::error(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("tenant \"{name}\" lives in another layout or on another upstream than this session"),
            )
            .hint("Name it when connecting: user \"login@tenant\", database \"tenant\", or options \"-c pgwarden.tenant=tenant\"."));
        }
        Ok(Arc::new(Acting {
            name: tenant.name.clone(),
            keys: tenant.keys.clone(),
            sealed: sealed_settings(&tenant, &self.guard, &self.setting),
            account: self.ledger.account(&tenant.name),
        }))
    }

    fn nobody(&self) -> BTreeMap<String, String> {
        shared_path(&self.guard)
    }
}
