//! Whether what a running session was admitted for still holds after the registry was replaced.

use std::sync::Arc;

use super::identify::Target;
use super::identify_error::IdentifyError;
use super::registry::Registry;
use crate::base::{LoginName, Mode, PgError, SqlState, TenantKeys, TenantName};
use crate::config::{Layout, Login, Tenant, Upstream};

/// Why a session that was admitted may not go on. `Display` is what its client is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Withdrawn {
    /// The login is not configured any more.
    #[error("login \"{0}\" was removed")]
    Login(LoginName),
    /// Its role is another now, or where it works.
    #[error("login \"{0}\" was changed")]
    LoginChanged(LoginName),
    /// The tenant is gone, or not the login's any more.
    #[error("login \"{login}\" may no longer act for tenant \"{tenant}\"")]
    Tenant {
        /// The login.
        login: LoginName,
        /// The tenant.
        tenant: String,
    },
    /// The tenant is suspended.
    #[error("tenant \"{0}\" is suspended")]
    Suspended(String),
    /// The tenant's key, layout or upstream is another now.
    #[error("tenant \"{0}\" was changed")]
    Changed(String),
    /// The upstream is gone, or is another database now.
    #[error("upstream \"{0}\" was changed")]
    Upstream(String),
}

impl Withdrawn {
    /// What the client is told, FATAL: 28000 where it may not come back, 57P01 where it may.
    pub fn to_pg_error(&self) -> PgError {
        let text = format!("terminating connection: {self}");
        match self {
            Withdrawn::Login(_) | Withdrawn::Tenant { .. } | Withdrawn::Suspended(_) => {
                PgError::fatal(SqlState::INVALID_AUTHORIZATION, text)
            }
            Withdrawn::LoginChanged(_) | Withdrawn::Changed(_) | Withdrawn::Upstream(_) => {
                PgError::fatal(SqlState::ADMIN_SHUTDOWN, text).hint("Connect again.")
            }
        }
    }
}

/// Where a session works for a tenant.
pub struct Lives<'a> {
    /// The upstream.
    pub upstream: &'a Upstream,
    /// The layout, as the guard sees it.
    pub mode: &'a Mode,
    /// The role that it works as, if it is the tenant's own.
    pub role: Option<&'a str>,
}

impl Lives<'_> {
    fn is_home_of(&self, tenant: &Tenant) -> bool {
        let role = match &tenant.layout {
            Layout::Schema { role, .. } => role.as_deref(),
            Layout::Shared | Layout::Database => None,
        };
        tenant.layout.mode() == *self.mode && role == self.role && is_same_database(&tenant.upstream, self.upstream)
    }
}

impl Registry {
    /// Whether a session of `login` that acts on `target` would be admitted to the very same things now.
    ///
    /// # Errors
    /// Why not.
    pub fn still_admits(&self, login: &Arc<Login>, target: &Target) -> Result<(), Withdrawn> {
        let now = self.standing_login(login.name.as_str()).ok_or_else(|| Withdrawn::Login(login.name.clone()))?;
        let now = &now;
        if !Arc::ptr_eq(now, login) && now.role != login.role {
            return Err(Withdrawn::LoginChanged(login.name.clone()));
        }
        match target {
            Target::Tenant(tenant) => self.still_the_same(now, tenant),
            Target::Unbound { upstream } => same_database(self.default_upstream(), upstream),
            // Whose rows it reads is looked at in each transaction.
            Target::Reader { upstream } => same_database(self.upstream(&upstream.name), upstream),
            Target::Console if self.may_use_console(now) => Ok(()),
            Target::Console => Err(Withdrawn::LoginChanged(login.name.clone())),
            Target::Observed { upstream, tenant, .. } | Target::Operator { upstream, tenant, .. } => {
                if let Some(tenant) = tenant {
                    self.still_the_same(now, tenant)?;
                }
                same_database(self.upstream(&upstream.name), upstream)
            }
        }
    }

    /// Whether a session of `login` may go on acting for a tenant that it named itself, with these keys.
    ///
    /// # Errors
    /// Why not.
    pub fn still_acts(
        &self,
        login: &Login,
        name: &TenantName,
        keys: &TenantKeys,
        lives: &Lives<'_>,
    ) -> Result<(), Withdrawn> {
        let login = self.standing_login(login.name.as_str()).ok_or_else(|| Withdrawn::Login(login.name.clone()))?;
        let now = self.still_there(&login, name)?;
        if now.keys == *keys && lives.is_home_of(&now) { Ok(()) } else { Err(Withdrawn::Changed(name.to_string())) }
    }

    fn still_the_same(&self, login: &Login, was: &Arc<Tenant>) -> Result<(), Withdrawn> {
        let now = self.still_there(login, &was.name)?;
        if Arc::ptr_eq(&now, was) || same_home(&now, was) {
            Ok(())
        } else {
            Err(Withdrawn::Changed(was.name.to_string()))
        }
    }

    fn still_there(&self, login: &Login, name: &TenantName) -> Result<Arc<Tenant>, Withdrawn> {
        self.tenant_for(login, name.as_str()).map_err(|error| match error {
            IdentifyError::Suspended { tenant } => Withdrawn::Suspended(tenant),
            _ => Withdrawn::Tenant { login: login.name.clone(), tenant: name.to_string() },
        })
    }
}

fn same_database(now: Option<&Arc<Upstream>>, was: &Upstream) -> Result<(), Withdrawn> {
    match now {
        Some(now) if is_same_database(now, was) => Ok(()),
        Some(_) | None => Err(Withdrawn::Upstream(was.name.to_string())),
    }
}

/// Whether a tenant lives in the same place, under the same keys.
pub(super) fn same_home(one: &Tenant, other: &Tenant) -> bool {
    one.layout == other.layout && one.keys == other.keys && is_same_database(&one.upstream, &other.upstream)
}

/// Whether sessions may go on when one takes the other's place: address and password are the pool's matter.
fn is_same_database(one: &Upstream, other: &Upstream) -> bool {
    one.name == other.name && one.user == other.user && one.database == other.database
}
