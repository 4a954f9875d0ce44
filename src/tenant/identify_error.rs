//! Why an identification fails, for the log and for the client.

use crate::base::{PgError, SqlState, TenantName};
use crate::config::Login;

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
    /// The client's certificate is another login's, or nobody's.
    #[error("login \"{login}\" came with a certificate of {owner}")]
    OtherCertificate {
        /// The login.
        login: String,
        /// For the log: whose the certificate is.
        owner: String,
    },
    /// A reader named one of its tenants.
    #[error("login \"{login}\" reads all of its tenants at once, and named tenant \"{tenant}\"")]
    ReadsAll {
        /// The login.
        login: String,
        /// The tenant.
        tenant: String,
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
    /// There is no such tenant, as far as this login is concerned.
    pub fn unknown_tenant(login: &Login, tenant: &TenantName) -> Self {
        let (login, tenant) = (login.name.to_string(), tenant.to_string());
        IdentifyError::NotAllowed { login, tenant, reason: "unknown tenant" }
    }

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
            IdentifyError::ReadsAll { .. } => PgError::fatal(
                SqlState::INVALID_AUTHORIZATION,
                "a login of role \"reader\" reads all of its tenants at once: it names none",
            )
            .hint("Pick a tenant's rows by the tenant column in WHERE, or use a login of role \"tenant\"."),
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
            IdentifyError::OtherCertificate { login, .. } => PgError::fatal(
                SqlState::INVALID_AUTHORIZATION,
                format!("the client certificate is not one of login \"{login}\""),
            ),
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
