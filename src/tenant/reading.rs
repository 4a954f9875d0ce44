//! Whose rows a login of role "reader" reads: those tenants of its list that are there now, serve, and may be acted for from where
//! the client comes.

use std::net::IpAddr;
use std::sync::Arc;

use super::registry::Registry;
use crate::base::{PgError, SqlState, TenantKeys};
use crate::config::{Layout, Login, Role, Tenant, TenantScope, Upstream};

/// Tenants that one statement may be asked for: their keys stand in it.
const READ_AT_ONCE: usize = 10_000;

impl Registry {
    /// The tenants of a reader's session on this upstream, by name; its login may have been given others, or been taken away. The
    /// session may have fewer than its login, never more.
    ///
    /// # Errors
    /// 28000 if the login is gone, 0A000 if one of the list lives elsewhere, 54000 if they are too many.
    pub fn read_by(
        &self,
        session: &Login,
        upstream: &Upstream,
        peer: Option<IpAddr>,
    ) -> Result<Vec<&Arc<Tenant>>, PgError> {
        let login = self.standing_login(session.name.as_str()).filter(|it| matches!(it.role, Role::Reader { .. }));
        let login = login.ok_or_else(|| {
            PgError::error(SqlState::INVALID_AUTHORIZATION, format!("login \"{}\" was removed", session.name))
        })?;
        let mut found: Vec<&Arc<Tenant>> = match &session.tenants {
            TenantScope::All => self.tenants().filter(|tenant| lives_on(tenant, upstream)).collect(),
            TenantScope::Only(names) => names.iter().filter_map(|name| self.tenant(name.as_str())).collect(),
        };
        found.retain(|tenant| login.tenants.contains(&tenant.name) && serves(tenant, peer));
        if let Some(elsewhere) = found.iter().find(|tenant| !lives_on(tenant, upstream)) {
            return Err(lives_elsewhere(elsewhere, upstream));
        }
        if found.len() > READ_AT_ONCE {
            return Err(too_many(found.len()));
        }
        found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// The keys of those.
    ///
    /// # Errors
    /// As [`Registry::read_by`].
    pub fn keys_read_by(
        &self,
        session: &Login,
        upstream: &Upstream,
        peer: Option<IpAddr>,
    ) -> Result<TenantKeys, PgError> {
        let tenants = self.read_by(session, upstream, peer)?;
        Ok(TenantKeys::of_several(tenants.iter().map(|tenant| &tenant.keys)))
    }
}

fn lives_on(tenant: &Tenant, upstream: &Upstream) -> bool {
    tenant.layout == Layout::Shared && tenant.upstream.name == upstream.name
}

fn serves(tenant: &Tenant, peer: Option<IpAddr>) -> bool {
    let from_here = match (&tenant.allow_from, peer) {
        (Some(list), Some(peer)) => list.contains(peer),
        (Some(_) | None, _) => true,
    };
    !tenant.suspended && from_here
}

fn lives_elsewhere(tenant: &Tenant, upstream: &Upstream) -> PgError {
    PgError::error(
        SqlState::FEATURE_NOT_SUPPORTED,
        format!("tenant \"{}\" is not one of the shared tables on upstream \"{}\"", tenant.name, upstream.name),
    )
    .hint("A reader reads shared tables in one place. Take the tenant off its list, and ask it by: pgwarden query.")
}

fn too_many(count: usize) -> PgError {
    PgError::error(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("the login reads {count} tenants, and a statement may be for {READ_AT_ONCE}"),
    )
    .hint("Give the login fewer tenants, or ask them one by one: pgwarden query.")
}
