//! Who a client says it is, and which tenant it may act for.
//!
//! The startup packet is read before authentication, because the login's credential is needed for it; but nothing about
//! tenants is looked up, and nothing told, before authentication succeeded. So [`Registry::identify`] returns a
//! [`Claim`]: the session authenticates its login first (a mock exchange if there is none) and only then asks for its
//! outcome.

mod claim;

use std::net::IpAddr;
use std::sync::Arc;

use super::host::tenant_of_host;
use super::identify_error::IdentifyError;
use super::registry::Registry;
use crate::base::{CONSOLE_DATABASE, is_tenant_name};
use crate::config::{Login, Role, Source, Tenant, TenantScope, Upstream};

use self::claim::option_tenant;
pub use self::claim::{Claim, StartupParams, TENANT_OPTION};

/// An authenticated client and what it acts on.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The login.
    pub login: Arc<Login>,
    /// What it acts on.
    pub target: Target,
}

/// What a session acts on.
#[derive(Clone, Debug)]
pub enum Target {
    /// One tenant, guarded.
    Tenant(Arc<Tenant>),
    /// A login that acts for several tenants and has named none: the session names them as it goes.
    Unbound {
        /// Where the session works.
        upstream: Arc<Upstream>,
    },
    /// A login that reads the rows of all of its tenants at once.
    Reader {
        /// Where they live.
        upstream: Arc<Upstream>,
    },
    /// The console of pgwarden itself.
    Console,
    /// Nothing is enforced: what the guard would do is told of.
    Observed {
        /// Where the session works.
        upstream: Arc<Upstream>,
        /// The database there.
        database: String,
        /// The tenant that it named, if it did; else it may name tenants as it goes.
        tenant: Option<Arc<Tenant>>,
    },
    /// An operator on an upstream, unguarded.
    Operator {
        /// The upstream.
        upstream: Arc<Upstream>,
        /// The database there.
        database: String,
        /// The tenant that it named, if it did: for search path and logs.
        tenant: Option<Arc<Tenant>>,
    },
}

impl Target {
    /// The upstream that the session works on.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        match self {
            Target::Tenant(tenant) => Some(&tenant.upstream),
            Target::Unbound { upstream }
            | Target::Reader { upstream }
            | Target::Observed { upstream, .. }
            | Target::Operator { upstream, .. } => Some(upstream),
            Target::Console => None,
        }
    }

    /// The database on that upstream.
    pub fn database(&self) -> Option<&str> {
        match self {
            Target::Tenant(tenant) => Some(&tenant.upstream.database),
            Target::Unbound { upstream } | Target::Reader { upstream } => Some(&upstream.database),
            Target::Observed { database, .. } | Target::Operator { database, .. } => Some(database),
            Target::Console => None,
        }
    }

    /// The tenant, if the session has one.
    pub fn tenant(&self) -> Option<&Arc<Tenant>> {
        match self {
            Target::Tenant(tenant) => Some(tenant),
            Target::Unbound { .. } | Target::Reader { .. } | Target::Console => None,
            Target::Observed { tenant, .. } | Target::Operator { tenant, .. } => tenant.as_ref(),
        }
    }
}

/// A tenant named in one place.
struct Named<'a> {
    source: &'static str,
    tenant: &'a str,
}

/// How the database parameter is read.
enum DatabaseClaim<'a> {
    /// Not sent, or the driver's default (the user's name).
    Absent,
    /// It may name a tenant, or be a plain database name.
    Plain(&'a str),
    /// `tenant/database`
    Path { tenant: &'a str, database: &'a str },
}

impl Registry {
    /// Reads a startup packet.
    pub fn identify<'a>(&'a self, params: &StartupParams<'a>) -> Claim<'a> {
        let (login_name, user_tenant) = self.split_user(params.user);
        let login = self.login(login_name).map(Arc::clone);
        Claim { registry: self, params: *params, user_tenant, login, login_name }
    }

    fn enabled(&self, source: Source) -> bool {
        self.sources().contains(&source)
    }

    /// `app@acme` and `app.acme`; a user that is a login's whole name names no tenant. Only logins of the file count, so that a
    /// name is read in the same way whoever else is known: a dot in another name is part of it.
    fn split_user<'a>(&self, user: &'a str) -> (&'a str, Option<&'a str>) {
        if self.login(user).is_some() {
            return (user, None);
        }
        for separator in ['@', '.'] {
            if let Some((login, tenant)) = user.rsplit_once(separator)
                && (separator == '@' || self.login(login).is_some())
            {
                return (login, Some(tenant));
            }
        }
        (user, None)
    }

    fn resolve(
        &self,
        login: &Login,
        user_tenant: Option<&str>,
        params: &StartupParams<'_>,
    ) -> Result<Target, IdentifyError> {
        if let Some(console) = self.console(login, user_tenant, params) {
            return console;
        }
        let option_tenant = option_tenant(params)?;
        let database = self.read_database(params);
        let mut named = Vec::new();
        if let Some(tenant) = user_tenant {
            self.require(Source::User, "user")?;
            named.push(Named { source: "user", tenant });
        }
        if let Some(tenant) = option_tenant.as_deref() {
            self.require(Source::Option, "startup option")?;
            named.push(Named { source: "startup option", tenant });
        }
        // Clients send the name of whatever host they dial: where it is not a source, it names nothing.
        if self.enabled(Source::Sni)
            && let Some(tenant) = params.host.and_then(|host| tenant_of_host(self.domains(), host))
        {
            named.push(Named { source: "TLS host name", tenant });
        }
        if let Some(tenant) = params.certificate_tenant {
            self.require(Source::Certificate, "client certificate")?;
            named.push(Named { source: "client certificate", tenant });
        }
        let mut plain_database = None;
        match database {
            DatabaseClaim::Absent => {}
            DatabaseClaim::Path { tenant, database } => {
                self.require(Source::Database, "database")?;
                named.push(Named { source: "database", tenant });
                plain_database = Some(database);
            }
            DatabaseClaim::Plain(name) if self.is_own_tenant(login, name) => {
                named.push(Named { source: "database", tenant: name });
            }
            // Another login's tenant must look like a database that does not exist.
            DatabaseClaim::Plain(name) => plain_database = Some(name),
        }
        match self.agreed_tenant(login, &named)? {
            Some(tenant) => {
                reachable(login, &tenant, params.peer)?;
                self.target(login, Some(tenant), plain_database)
            }
            None => {
                let tenant = self.only_tenant(login, plain_database)?;
                tenant.iter().try_for_each(|tenant| reachable(login, tenant, params.peer))?;
                self.target(login, tenant, plain_database)
            }
        }
    }

    /// The console, for those who may use it and ask for it: a login of role `admin` may use nothing else. To others it is
    /// a database that does not exist.
    fn console(
        &self,
        login: &Login,
        user_tenant: Option<&str>,
        params: &StartupParams<'_>,
    ) -> Option<Result<Target, IdentifyError>> {
        let asked = params.database == Some(CONSOLE_DATABASE) && user_tenant.is_none();
        if asked && self.may_use_console(login) {
            return Some(Ok(Target::Console));
        }
        if login.role != Role::Admin {
            return None;
        }
        Some(Err(IdentifyError::WrongDatabase {
            login: login.name.to_string(),
            database: params.database.unwrap_or(params.user).to_owned(),
            reason: "a login of role admin may use the console alone",
        }))
    }

    fn is_own_tenant(&self, login: &Login, name: &str) -> bool {
        let listed = || self.tenant(name).map(|tenant| login.tenants.contains(&tenant.name));
        // With a pattern any name is a tenant's, but for that of the database which is there for all.
        let derived = || {
            let shared = self.default_upstream().is_some_and(|upstream| upstream.database == name);
            let any = matches!(login.role, Role::Tenant | Role::Observed) && login.tenants == TenantScope::All;
            any && !shared && self.derive(name).is_some()
        };
        self.enabled(Source::Database) && listed().unwrap_or_else(derived)
    }

    fn require(&self, source: Source, source_name: &'static str) -> Result<(), IdentifyError> {
        if self.enabled(source) { Ok(()) } else { Err(IdentifyError::SourceNotEnabled { source_name }) }
    }

    fn read_database<'a>(&self, params: &StartupParams<'a>) -> DatabaseClaim<'a> {
        let Some(database) = params.database.filter(|d| !d.is_empty()) else {
            return DatabaseClaim::Absent;
        };
        // libpq sends the user's name when no database is given. If a tenant is called so, it counts as named all the
        // same: to be refused is better than to act for another tenant than the one that was meant.
        if database == params.user && self.tenant(database).is_none() {
            return DatabaseClaim::Absent;
        }
        match database.split_once('/') {
            Some((tenant, database)) => DatabaseClaim::Path { tenant, database },
            None => DatabaseClaim::Plain(database),
        }
    }

    /// The one tenant that all sources name, if any names one, and if the login may act for it.
    fn agreed_tenant(&self, login: &Login, named: &[Named<'_>]) -> Result<Option<Arc<Tenant>>, IdentifyError> {
        let Some(first) = named.first() else { return Ok(None) };
        if let Some(other) = named.iter().find(|n| n.tenant != first.tenant) {
            return Err(IdentifyError::Disagreement {
                first_source: first.source,
                first: first.tenant.to_owned(),
                second_source: other.source,
                second: other.tenant.to_owned(),
            });
        }
        self.tenant_for(login, first.tenant).map(Some)
    }

    /// The tenant of this name, if the login may act for it.
    pub(super) fn tenant_for(&self, login: &Login, name: &str) -> Result<Arc<Tenant>, IdentifyError> {
        let refused =
            |reason| IdentifyError::NotAllowed { login: login.name.to_string(), tenant: name.to_owned(), reason };
        if !is_tenant_name(name) {
            return Err(refused("not a tenant name"));
        }
        let Some(tenant) = self.tenant(name) else {
            // Only those who may act for all come by the pattern.
            let derived = (login.tenants == TenantScope::All).then(|| self.derive(name)).flatten();
            return derived.ok_or_else(|| refused("unknown tenant"));
        };
        if !login.tenants.contains(&tenant.name) {
            return Err(refused("not in the login's list"));
        }
        active(tenant)
    }

    /// The tenant of this name, if a session of this login of role `tenant`, whose client comes from `peer`, may act for
    /// it now. The session may have fewer rights than its login, never more.
    ///
    /// # Errors
    /// Unknown, suspended, not the login's, or not from there; the login is gone.
    pub fn may_act(&self, session: &Login, name: &str, peer: Option<IpAddr>) -> Result<Arc<Tenant>, IdentifyError> {
        let unknown = || IdentifyError::UnknownLogin { login: session.name.to_string() };
        let login = self.standing_login(session.name.as_str()).filter(|it| matches!(it.role, Role::Tenant));
        let login = login.ok_or_else(unknown)?;
        self.tenant_for(&login, name)?;
        let tenant = self.tenant_for(session, name)?;
        reachable(session, &tenant, peer)?;
        Ok(tenant)
    }

    /// Without a named tenant: the login's only one; none for operators.
    fn only_tenant(&self, login: &Login, database: Option<&str>) -> Result<Option<Arc<Tenant>>, IdentifyError> {
        let no_tenant = || IdentifyError::NoTenant { login: login.name.to_string() };
        match (&login.role, &login.tenants) {
            (Role::Operator { .. } | Role::Reader { .. } | Role::Admin, _) => Ok(None),
            (Role::Tenant | Role::Observed, TenantScope::Only(names)) if names.len() == 1 => {
                let tenant = names.first().and_then(|name| self.tenant(name.as_str())).ok_or_else(no_tenant)?;
                active(tenant).map(Some)
            }
            (Role::Tenant | Role::Observed, TenantScope::Only(_) | TenantScope::All) => {
                // A database that does not exist is said to, whether or not a tenant is called so.
                let own = self.default_upstream().map_or("", |u| u.database.as_str());
                self.check_database(login, own, database).map(|()| None)
            }
        }
    }

    fn target(
        &self,
        login: &Login,
        tenant: Option<Arc<Tenant>>,
        database: Option<&str>,
    ) -> Result<Target, IdentifyError> {
        let no_upstream = || IdentifyError::NoUpstream { login: login.name.to_string() };
        match (&login.role, tenant) {
            (Role::Tenant, Some(tenant)) => {
                self.check_database(login, &tenant.upstream.database, database)?;
                Ok(Target::Tenant(tenant))
            }
            (Role::Tenant, None) => {
                let upstream = self.default_upstream().map(Arc::clone).ok_or_else(no_upstream)?;
                Ok(Target::Unbound { upstream })
            }
            (Role::Observed, Some(tenant)) => {
                self.check_database(login, &tenant.upstream.database, database)?;
                Ok(Target::Observed {
                    upstream: Arc::clone(&tenant.upstream),
                    database: tenant.upstream.database.clone(),
                    tenant: Some(tenant),
                })
            }
            (Role::Observed, None) => {
                let upstream = self.default_upstream().map(Arc::clone).ok_or_else(no_upstream)?;
                let database = upstream.database.clone();
                Ok(Target::Observed { upstream, database, tenant: None })
            }
            (Role::Reader { upstream }, None) => {
                let upstream = self.upstream(upstream).map(Arc::clone).ok_or_else(no_upstream)?;
                self.check_database(login, &upstream.database, database)?;
                Ok(Target::Reader { upstream })
            }
            (Role::Reader { .. }, Some(tenant)) => {
                Err(IdentifyError::ReadsAll { login: login.name.to_string(), tenant: tenant.name.to_string() })
            }
            // It was sent to the console, or away.
            (Role::Admin, _) => Err(no_upstream()),
            (Role::Operator { .. }, Some(tenant)) => {
                self.check_database(login, &tenant.upstream.database, database)?;
                Ok(Target::Operator {
                    upstream: Arc::clone(&tenant.upstream),
                    database: tenant.upstream.database.clone(),
                    tenant: Some(tenant),
                })
            }
            (Role::Operator { upstream, database: own }, None) => {
                let upstream = self.upstream(upstream).map(Arc::clone).ok_or_else(no_upstream)?;
                let own = own.clone().unwrap_or_else(|| upstream.database.clone());
                self.check_database(login, &own, database)?;
                Ok(Target::Operator { upstream, database: own, tenant: None })
            }
        }
    }

    /// A database name that names no tenant: the session's own or, for tenants, the default upstream's (an app need not
    /// know in which layout its tenant lives, so the database of its `DATABASE_URL` may be the same for all of them).
    fn check_database(&self, login: &Login, own: &str, database: Option<&str>) -> Result<(), IdentifyError> {
        let Some(name) = database else { return Ok(()) };
        let by_default = match login.role {
            Role::Tenant | Role::Observed => self.default_upstream().is_some_and(|u| u.database == name),
            Role::Operator { .. } | Role::Reader { .. } | Role::Admin => false,
        };
        if name == own || by_default {
            return Ok(());
        }
        Err(IdentifyError::WrongDatabase {
            login: login.name.to_string(),
            database: name.to_owned(),
            reason: "no such tenant or database",
        })
    }
}

/// Whether the tenant may be acted for from that address.
fn reachable(login: &Login, tenant: &Tenant, peer: Option<IpAddr>) -> Result<(), IdentifyError> {
    match (&tenant.allow_from, peer) {
        (Some(list), Some(peer)) if !list.contains(peer) => Err(IdentifyError::NotAllowed {
            login: login.name.to_string(),
            tenant: tenant.name.to_string(),
            reason: "the address is not in the tenant's allow_from",
        }),
        _ => Ok(()),
    }
}

fn active(tenant: &Arc<Tenant>) -> Result<Arc<Tenant>, IdentifyError> {
    if tenant.suspended {
        Err(IdentifyError::Suspended { tenant: tenant.name.to_string() })
    } else {
        Ok(Arc::clone(tenant))
    }
}
