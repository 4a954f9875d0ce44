//! What a client says of itself.

use std::net::IpAddr;
use std::sync::Arc;

use super::Identity;
use crate::config::Login;
use crate::tenant::identify_error::IdentifyError;
use crate::tenant::registry::Registry;
use crate::wire::options::parse_options;

/// The setting that names a tenant in `options`, or as a startup parameter of its own.
pub const TENANT_OPTION: &str = "pgwarden.tenant";

/// What a client says before authentication, as far as it identifies it.
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
    /// The host name in the TLS handshake (SNI), if there was one.
    pub host: Option<&'a str>,
    /// The tenant in the client's certificate, if there is one.
    pub certificate_tenant: Option<&'a str>,
    /// Where the client comes from; `None`: no allow list is asked.
    pub peer: Option<IpAddr>,
}

/// Who the client says it is.
#[derive(Debug)]
pub struct Claim<'a> {
    pub(super) registry: &'a Registry,
    pub(super) params: StartupParams<'a>,
    pub(super) user_tenant: Option<&'a str>,
    /// The login of the file whose credential must be proved; `None` if there is none of that name (let a mock exchange fail,
    /// or look elsewhere).
    pub login: Option<Arc<Login>>,
    /// The login's name as the client gave it, without the tenant: for logs and the authentication error.
    pub login_name: &'a str,
}

impl Claim<'_> {
    /// What the claim amounts to. Call it only after the login was authenticated: the errors tell of tenants.
    ///
    /// # Errors
    /// Whatever keeps the login from acting for what the client named.
    pub fn outcome(&self) -> Result<Identity, IdentifyError> {
        let login = self.login.clone();
        let login = login.ok_or_else(|| IdentifyError::UnknownLogin { login: self.login_name.to_owned() })?;
        self.outcome_as(login)
    }

    /// As [`Claim::outcome`], for a login with other rights than the registry's.
    ///
    /// # Errors
    /// As there.
    pub fn outcome_as(&self, login: Arc<Login>) -> Result<Identity, IdentifyError> {
        let target = self.registry.resolve(&login, self.user_tenant, &self.params)?;
        Ok(Identity { login, target })
    }
}

/// The tenant named by `options` or by a parameter of its own, which count as one place and must agree.
pub(super) fn option_tenant(params: &StartupParams<'_>) -> Result<Option<String>, IdentifyError> {
    let settings = parse_options(params.options.unwrap_or_default())
        .map_err(|error| IdentifyError::BadOptions { reason: error.to_string() })?;
    let mut found = params.tenant_parameter.map(str::to_owned);
    for (name, value) in settings {
        if !name.eq_ignore_ascii_case(TENANT_OPTION) {
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
