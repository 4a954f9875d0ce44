//! Who a client is: its login, the proof of it, and then its tenant.

use std::net::SocketAddr;
use std::time::Instant;

use super::access::{Access, CertificateClaim, Credential, Unknown};
use super::gateway::Gateway;
use super::login::LoginError;
use super::opening::tenant_option;
use crate::auth::{Account, AuthError, Failure, Login, Method, MockKey, authenticate};
use crate::observe::{SessionSpan, audit};
use crate::pgerror::{PgError, Severity, SqlState};
use crate::tenant::{Claim, Found, IdentifyError, Identity, StartupParams, Target};
use crate::wire::conn::{Conn, ConnError};
use crate::wire::startup::StartupMessage;

/// A client that has said what it wants.
pub(super) struct Arrival<'a> {
    pub gateway: &'a Gateway,
    /// With what the client was met: the certificate that it has seen is one of these.
    pub access: &'a Access,
    pub peer: SocketAddr,
    pub message: &'a StartupMessage,
    pub span: &'a SessionSpan,
}

/// Tells the client why there is no session.
pub(super) async fn refuse<T>(conn: &mut Conn, error: PgError, why: impl std::fmt::Display) -> Result<T, LoginError> {
    let error = PgError { severity: Severity::Fatal, ..error };
    conn.refuse(&error).await;
    Err(LoginError::Refused(why.to_string()))
}

impl Arrival<'_> {
    /// Finds out who the client is. What is wrong with its tenant is told only once it has proved its login.
    pub async fn identify(&self, conn: &mut Conn) -> Result<Identity, LoginError> {
        if self.access.tls_required && !conn.stream.is_encrypted() {
            let error =
                PgError::fatal(SqlState::INVALID_AUTHORIZATION, "pgwarden accepts only encrypted connections here")
                    .hint("Connect with sslmode=require.");
            return refuse(conn, error, "no TLS").await;
        }
        self.message.negotiate(&mut conn.outbox).map_err(ConnError::from)?;
        let tenant_parameter = match tenant_option(self.message) {
            Ok(tenant) => tenant,
            Err(error) => return refuse(conn, error, "two tenants in the startup packet").await,
        };
        let host = conn.stream.sni().map(str::to_owned);
        let certificate = self.access.certificate_claim(&conn.stream);
        let found = match &certificate {
            CertificateClaim::Names(found) => Some(found),
            CertificateClaim::None | CertificateClaim::Stranger(_) => None,
        };
        let registry = self.gateway.registry.load_full();
        let claim = registry.identify(&StartupParams {
            user: &self.message.user,
            database: self.message.database.as_deref(),
            options: None,
            tenant_parameter,
            host: host.as_deref(),
            certificate_tenant: found.and_then(|found| found.tenant.as_deref()),
            peer: Some(self.peer.ip()),
        });
        self.span.record_login(claim.login_name);
        if let Err(error) = self.try_to_prove(conn, &claim, found, host.as_deref()).await {
            return self.turned_away(conn, claim.login_name, error).await;
        }
        match same_owner(&claim, &certificate).and_then(|()| claim.outcome()) {
            Ok(identity) => Ok(self.accepted(identity)),
            Err(error) => {
                audit::login_refused(claim.login_name, &error);
                refuse(conn, error.to_pg_error(), error).await
            }
        }
    }

    async fn turned_away<T>(&self, conn: &mut Conn, login: &str, error: AuthError) -> Result<T, LoginError> {
        // What may still stand there told a client with the right password that it is right.
        conn.outbox.clear();
        let Some(told) = error.to_pg(&self.message.user) else {
            return Err(LoginError::Gone(error.to_string()));
        };
        audit::login_refused(login, &error);
        if error.is_failed_try() {
            let throttle = &self.gateway.throttle;
            tokio::time::sleep(throttle.failed(&self.access.failures, self.peer.ip(), login, Instant::now())).await;
        }
        refuse(conn, told, error).await
    }

    fn accepted(&self, identity: Identity) -> Identity {
        let tenant = identity.target.tenant().map(|tenant| &tenant.name);
        if let Some(tenant) = tenant {
            self.span.record_tenant(tenant);
        }
        let role = match identity.target {
            Target::Tenant(_) | Target::Unbound { .. } => "tenant",
            Target::Operator { .. } => "operator",
            Target::Console => "admin",
        };
        audit::login_accepted(&identity.login.name, tenant, role);
        identity
    }

    /// One try, if no more than enough have failed. Asked again at its end: of many tries at the same moment, those after
    /// the one that was too many do not count, and are not told from each other.
    async fn try_to_prove(
        &self,
        conn: &mut Conn,
        claim: &Claim<'_>,
        certificate: Option<&Found>,
        host: Option<&str>,
    ) -> Result<(), AuthError> {
        let (throttle, address) = (&self.gateway.throttle, self.peer.ip());
        throttle.check(address, claim.login_name, Instant::now())?;
        let outcome = self.prove(conn, claim, certificate, host).await;
        if outcome.as_ref().err().is_none_or(AuthError::is_failed_try) {
            throttle.check(address, claim.login_name, Instant::now())?;
        }
        if outcome.is_ok() {
            throttle.succeeded(address, claim.login_name);
        }
        outcome
    }

    /// Lets the client prove its login. What else stands in the way of a right proof looks like a wrong one.
    async fn prove(
        &self,
        conn: &mut Conn,
        claim: &Claim<'_>,
        certificate: Option<&Found>,
        host: Option<&str>,
    ) -> Result<(), AuthError> {
        let address = self.peer.ip();
        match self.access.credentials.get(claim.login_name).filter(|_| claim.login.is_some()) {
            None => {
                let failure = match self.access.credentials.unknown(claim.login_name, &self.gateway.mock) {
                    Unknown::Password(method, mock) => {
                        self.ask(conn, claim, (method, Account::Unknown), &mock, host).await?;
                        Failure::UnknownLogin
                    }
                    Unknown::Certificate => Failure::Certificate,
                };
                return Err(AuthError::Failed(failure));
            }
            Some(Credential::Password(method, stored)) => {
                let proof = (*method, Account::Password(stored));
                self.ask(conn, claim, proof, &self.gateway.mock, host).await?;
            }
            Some(Credential::Certificate) => {
                if certificate.and_then(|found| found.login.as_deref()) != Some(claim.login_name) {
                    return Err(AuthError::Failed(Failure::Certificate));
                }
            }
            Some(Credential::Trust) if address.to_canonical().is_loopback() => {}
            Some(Credential::Trust) => return Err(AuthError::Failed(Failure::NoUsablePassword)),
        }
        if let Some(list) = claim.login.as_ref().and_then(|login| login.allow_from.as_ref())
            && !list.contains(address)
        {
            return Err(AuthError::Failed(Failure::Address));
        }
        Ok(())
    }

    async fn ask(
        &self,
        conn: &mut Conn,
        claim: &Claim<'_>,
        (method, account): (Method, Account<'_>),
        mock: &MockKey,
        host: Option<&str>,
    ) -> Result<(), AuthError> {
        let encrypted = conn.stream.is_encrypted();
        let end_point = self.access.tls.as_ref().filter(|_| encrypted).and_then(|tls| tls.end_point(host));
        let login = Login { method, user: &self.message.user, name: claim.login_name, account, end_point, mock };
        authenticate(conn, &login).await
    }
}

/// A certificate that names a login, or could and does not, is used by nobody else.
fn same_owner(claim: &Claim<'_>, certificate: &CertificateClaim) -> Result<(), IdentifyError> {
    let owner = match certificate {
        CertificateClaim::None => return Ok(()),
        CertificateClaim::Names(found) => match &found.login {
            Some(login) if login != claim.login_name => format!("login \"{login}\""),
            Some(_) | None => return Ok(()),
        },
        CertificateClaim::Stranger(names) => format!("\"{names}\", which fits no pattern"),
    };
    Err(IdentifyError::OtherCertificate { login: claim.login_name.to_owned(), owner })
}
