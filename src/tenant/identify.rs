//! Who a client says it is, and which tenant it may act for.
//!
//! The startup packet is read before authentication, because the login's credential is needed for it; but nothing of
//! what is found out about tenants may be told before authentication succeeded. So [`Registry::identify`] returns a
//! [`Claim`]: the session authenticates its login first (a mock exchange if there is none) and only then asks for its
//! outcome.

use std::sync::Arc;

use super::name::is_tenant_name;
use super::registry::Registry;
use super::startup_options::parse_startup_options;
use crate::config::{Login, Role, Source, Tenant, TenantScope, Upstream};
use crate::ids::TenantName;
use crate::pgerror::{PgError, SqlState};

/// The setting that names a tenant in `options`, or as a startup parameter of its own.
pub const TENANT_OPTION: &str = "pgwarden.tenant";

/// What a startup packet says, as far as it identifies the client.
#[derive(Clone, Copy, Debug, Default)]
pub struct StartupParams<'a> {
    /// `user`
    pub user: &'a str,
    /// `database`, if it was sent.
    pub database: Option<&'a str>,
    /// `options`, if it was sent.
    pub options: Option<&'a str>,
    /// A startup parameter `pgwarden.tenant`, if it was sent: drivers that send settings as parameters of their own.
    pub tenant_parameter: Option<&'a str>,
}

/// Who the client says it is.
#[derive(Debug)]
pub struct Claim {
    /// The login whose credential must be proved; `None` if there is none of that name (let a mock exchange fail).
    pub login: Option<Arc<Login>>,
    /// The login's name as the client gave it, without the tenant: for logs and the authentication error.
    pub login_name: String,
    outcome: Result<Target, IdentifyError>,
}

impl Claim {
    /// What the claim amounts to. Call it only after the login was authenticated: the errors tell of tenants.
    pub fn into_outcome(self) -> Result<Identity, IdentifyError> {
        match (self.login, self.outcome) {
            (Some(login), Ok(target)) => Ok(Identity { login, target }),
            (_, Err(error)) => Err(error),
            (None, Ok(_)) => Err(IdentifyError::UnknownLogin { login: self.login_name }),
        }
    }
}

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
    pub fn upstream(&self) -> &Arc<Upstream> {
        match self {
            Target::Tenant(tenant) => &tenant.upstream,
            Target::Operator { upstream, .. } => upstream,
        }
    }

    /// The database on that upstream.
    pub fn database(&self) -> &str {
        match self {
            Target::Tenant(tenant) => &tenant.upstream.database,
            Target::Operator { database, .. } => database,
        }
    }

    /// The tenant, if the session has one.
    pub fn tenant(&self) -> Option<&Arc<Tenant>> {
        match self {
            Target::Tenant(tenant) => Some(tenant),
            Target::Operator { tenant, .. } => tenant.as_ref(),
        }
    }
}

/// Why a client may not act for what it named. `Display` is for the log; [`IdentifyError::to_pg_error`] for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// No such login. The client sees a failed password, never this.
    #[error("no login \"{login}\"")]
    UnknownLogin {
        /// As the client gave it.
        login: String,
    },
    /// `options` cannot be read, or names a tenant twice.
    #[error("startup options: {reason}")]
    BadOptions {
        /// What is wrong.
        reason: String,
    },
    /// A tenant is named in a place that `tenancy.identify` does not list.
    #[error("a tenant is named by {source_name}, which tenancy.identify does not list")]
    SourceNotEnabled {
        /// The place.
        source_name: &'static str,
    },
    /// Two places name different tenants.
    #[error("sources disagree: {first_source} names \"{first}\", {second_source} names \"{second}\"")]
    Disagreement {
        /// A place.
        first_source: &'static str,
        /// The tenant there.
        first: String,
        /// Another place.
        second_source: &'static str,
        /// The tenant there.
        second: String,
    },
    /// Unknown, suspended or not this login's: told apart in the log only.
    #[error("login \"{login}\" may not act for tenant \"{tenant}\" ({reason})")]
    NotAllowed {
        /// The login.
        login: String,
        /// The tenant that was named.
        tenant: String,
        /// For the log.
        reason: &'static str,
    },
    /// The tenant is suspended, and the login is one of its own.
    #[error("tenant \"{tenant}\" is suspended")]
    Suspended {
        /// The tenant.
        tenant: String,
    },
    /// The database is neither a tenant of this login nor the upstream's database. `reason` tells them apart in the log.
    #[error("login \"{login}\" asked for database \"{database}\" ({reason})")]
    WrongDatabase {
        /// The login.
        login: String,
        /// As the client gave it.
        database: String,
        /// For the log.
        reason: &'static str,
    },
    /// The login may act for several tenants and named none.
    #[error("login \"{login}\" named no tenant")]
    NoTenant {
        /// The login.
        login: String,
    },
    /// The registry names an upstream that it does not have: cannot happen with a validated configuration.
    #[error("upstream of login \"{login}\" is missing")]
    NoUpstream {
        /// The login.
        login: String,
    },
}

impl IdentifyError {
    /// What an authenticated client is told. An unknown tenant, a suspended one and another login's give the same text.
    pub fn to_pg_error(&self) -> PgError {
        match self {
            IdentifyError::UnknownLogin { login } => PgError::fatal(
                SqlState::INVALID_PASSWORD,
                format!("password authentication failed for user \"{login}\""),
            ),
            IdentifyError::BadOptions { reason } => {
                PgError::fatal(SqlState::INVALID_PARAMETER_VALUE, reason.clone())
            }
            IdentifyError::SourceNotEnabled { source_name } => PgError::fatal(
                SqlState::INVALID_AUTHORIZATION,
                format!("tenants are not named by {source_name} here"),
            )
            .hint("Name the tenant in a place that tenancy.identify of pgwarden's configuration lists."),
            IdentifyError::Disagreement {
                first_source,
                first,
                second_source,
                second,
            } => PgError::fatal(
                SqlState::INVALID_AUTHORIZATION,
                "the startup parameters name different tenants",
            )
            .detail(format!(
                "The {first_source} names \"{first}\", the {second_source} names \"{second}\"."
            )),
            IdentifyError::NotAllowed { login, tenant, .. } => PgError::fatal(
                SqlState::INVALID_AUTHORIZATION,
                format!("login \"{login}\" may not act for tenant \"{tenant}\""),
            )
            .hint("The tenant must exist, be active, and be listed for this login in pgwarden's configuration."),
            IdentifyError::Suspended { tenant } => PgError::fatal(
                SqlState::INVALID_AUTHORIZATION,
                format!("tenant \"{tenant}\" is suspended"),
            ),
            IdentifyError::WrongDatabase {
                login, database, ..
            } => PgError::fatal(
                SqlState::INVALID_CATALOG_NAME,
                format!("database \"{database}\" does not exist"),
            )
            .hint(format!(
                "Give the upstream's database name, or a tenant that login \"{login}\" may act for."
            )),
            IdentifyError::NoTenant { .. } => PgError::fatal(
                SqlState::INVALID_AUTHORIZATION,
                "tenant context required",
            )
            .hint("Name the tenant: user \"login@tenant\", database \"tenant\", or options \"-c pgwarden.tenant=tenant\", as far as tenancy.identify lists them."),
            IdentifyError::NoUpstream { .. } => {
                PgError::fatal(SqlState::INTERNAL_ERROR, "the login's upstream is not configured")
            }
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
    pub fn identify(&self, params: &StartupParams<'_>) -> Claim {
        let (login_name, user_tenant) = self.split_user(params.user);
        let login = self.login(login_name).map(Arc::clone);
        let outcome = match &login {
            Some(login) => self.resolve(login, user_tenant, params),
            None => Err(IdentifyError::UnknownLogin { login: login_name.to_owned() }),
        };
        Claim { login, login_name: login_name.to_owned(), outcome }
    }

    fn enabled(&self, source: Source) -> bool {
        self.sources().contains(&source)
    }

    /// `app@acme` and `app.acme`; a user that is a login's whole name names no tenant.
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
        let mut plain_database = None;
        match database {
            DatabaseClaim::Absent => {}
            DatabaseClaim::Path { tenant, database } => {
                self.require(Source::Database, "database")?;
                named.push(Named { source: "database", tenant });
                plain_database = Some(database);
            }
            DatabaseClaim::Plain(name) if self.enabled(Source::Database) && self.tenant(name).is_some() => {
                named.push(Named { source: "database", tenant: name });
            }
            DatabaseClaim::Plain(name) => plain_database = Some(name),
        }
        let tenant = self.agreed_tenant(login, &named, params.database)?;
        self.target(login, tenant, plain_database)
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
    fn agreed_tenant(
        &self,
        login: &Login,
        named: &[Named<'_>],
        database: Option<&str>,
    ) -> Result<Option<Arc<Tenant>>, IdentifyError> {
        let Some(first) = named.first() else {
            return self.only_tenant(login);
        };
        if let Some(other) = named.iter().find(|n| n.tenant != first.tenant) {
            return Err(IdentifyError::Disagreement {
                first_source: first.source,
                first: first.tenant.to_owned(),
                second_source: other.source,
                second: other.tenant.to_owned(),
            });
        }
        // A database that is a tenant of others must look like a database that does not exist.
        let plain_database =
            database.filter(|d| matches!(named, [only] if only.source == "database") && *d == first.tenant);
        let refused = |reason| match plain_database {
            Some(database) => {
                IdentifyError::WrongDatabase { login: login.name.to_string(), database: database.to_owned(), reason }
            }
            None => {
                IdentifyError::NotAllowed { login: login.name.to_string(), tenant: first.tenant.to_owned(), reason }
            }
        };
        if !is_tenant_name(first.tenant) {
            return Err(refused("not a tenant name"));
        }
        let Some(tenant) = self.tenant(first.tenant) else {
            return Err(refused("unknown tenant"));
        };
        if !login.tenants.contains(&tenant.name) {
            return Err(refused("not in the login's list"));
        }
        active(tenant).map(Some)
    }

    /// Without a named tenant: the login's only one.
    fn only_tenant(&self, login: &Login) -> Result<Option<Arc<Tenant>>, IdentifyError> {
        match (&login.role, &login.tenants) {
            (Role::Operator { .. }, _) => Ok(None),
            (Role::Tenant, TenantScope::Only(names)) if names.len() == 1 => {
                let name = names.first().map_or("", TenantName::as_str);
                match self.tenant(name) {
                    Some(tenant) => active(tenant).map(Some),
                    None => Err(IdentifyError::NoTenant { login: login.name.to_string() }),
                }
            }
            (Role::Tenant, TenantScope::Only(_) | TenantScope::All) => {
                Err(IdentifyError::NoTenant { login: login.name.to_string() })
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
            (Role::Tenant, None) => Err(IdentifyError::NoTenant { login: login.name.to_string() }),
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
            Role::Tenant => self.default_upstream().is_some_and(|u| u.database == name),
            Role::Operator { .. } => false,
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

fn active(tenant: &Arc<Tenant>) -> Result<Arc<Tenant>, IdentifyError> {
    if tenant.suspended {
        Err(IdentifyError::Suspended { tenant: tenant.name.to_string() })
    } else {
        Ok(Arc::clone(tenant))
    }
}

/// The tenant named by `options` or by a parameter of its own, which count as one place and must agree.
fn option_tenant(params: &StartupParams<'_>) -> Result<Option<String>, IdentifyError> {
    let settings = parse_startup_options(params.options.unwrap_or_default())
        .map_err(|reason| IdentifyError::BadOptions { reason })?;
    let mut found = params.tenant_parameter.map(str::to_owned);
    for (name, value) in settings {
        if name != TENANT_OPTION {
            continue;
        }
        match &found {
            Some(earlier) if *earlier != value => {
                return Err(IdentifyError::BadOptions {
                    reason: format!("{TENANT_OPTION} is given twice with different values"),
                });
            }
            _ => found = Some(value),
        }
    }
    Ok(found)
}
