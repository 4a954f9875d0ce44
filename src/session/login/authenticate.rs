//! Who a client is: its login, the proof of it, and then its tenant.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::LoginError;
use super::access::{Access, CertificateClaim, Credential, Unknown};
use super::opening::tenant_option;
use crate::auth::bearer::{bearer_token, reject, token_as_password};
use crate::auth::token::Claims;
use crate::auth::{Account, AuthError, Failure, Login, Method, MockKey, TokenError, TokenVerifier, authenticate};
use crate::base::{Found, PgError, Severity, SqlState, TenantName};
use crate::config::{self, Role, TenantScope};
use crate::observe::{SessionSpan, audit};
use crate::session::shared_state::SharedState;
use crate::tenant::{Claim, IdentifyError, Identity, StartupParams, Target};
use crate::wire::conn::{Conn, ConnError};
use crate::wire::startup::StartupMessage;

/// A client that has said what it wants.
pub(in crate::session) struct Arrival<'a> {
    pub shared: &'a SharedState,
    /// With what the client was met: the certificate that it has seen is one of these.
    pub access: &'a Access,
    pub peer: SocketAddr,
    pub message: &'a StartupMessage,
    pub span: &'a SessionSpan,
}

/// Tells the client why there is no session.
pub(in crate::session) async fn refuse<T>(
    conn: &mut Conn,
    error: PgError,
    why: impl std::fmt::Display,
) -> Result<T, LoginError> {
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
        let registry = self.shared.registry.load_full();
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
        let login = match self.try_to_prove(conn, &claim, found, host.as_deref()).await {
            Ok(login) => login,
            Err(error) => return self.turned_away(conn, claim.login_name, error).await,
        };
        match same_owner(&claim, &certificate).and_then(|()| claim.outcome_as(login)) {
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
            let throttle = &self.shared.throttle;
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
            Target::Reader { .. } => "reader",
            Target::Observed { .. } => audit::OBSERVED,
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
    ) -> Result<Arc<config::Login>, AuthError> {
        let (throttle, address) = (&self.shared.throttle, self.peer.ip());
        throttle.check(address, claim.login_name, Instant::now())?;
        let outcome = self.authenticate_claim(conn, claim, certificate, host).await;
        if outcome.as_ref().err().is_none_or(AuthError::is_failed_try) {
            throttle.check(address, claim.login_name, Instant::now())?;
        }
        if outcome.is_ok() {
            throttle.succeeded(address, claim.login_name);
        }
        outcome
    }

    /// Lets the client prove its login; gives it with the rights that the proof leaves it. What else stands in the way of a right proof looks like a wrong one.
    async fn authenticate_claim(
        &self,
        conn: &mut Conn,
        claim: &Claim<'_>,
        certificate: Option<&Found>,
        host: Option<&str>,
    ) -> Result<Arc<config::Login>, AuthError> {
        let asked = Instant::now();
        let known =
            claim.login.as_ref().and_then(|login| Some((login, self.access.credentials.get(claim.login_name)?)));
        let looked_up = match &claim.login {
            Some(_) => None,
            None => self.look_up(claim.login_name).await,
        };
        if let Some(query) = &self.access.query {
            query.wait_constant_time(asked).await;
        }
        match (known, looked_up) {
            (Some((login, credential)), _) => {
                self.prove_known(conn, claim, (login, credential), certificate, host).await
            }
            (None, Some(answer)) => self.prove_looked_up(conn, claim, answer, host).await,
            (None, None) => Err(self.mock_authentication(conn, claim, host).await),
        }
    }

    async fn prove_known(
        &self,
        conn: &mut Conn,
        claim: &Claim<'_>,
        (login, credential): (&Arc<config::Login>, &Credential),
        certificate: Option<&Found>,
        host: Option<&str>,
    ) -> Result<Arc<config::Login>, AuthError> {
        let mut login = Arc::clone(login);
        match credential {
            Credential::Password(method, stored) => {
                let proof = (*method, Account::Password(stored));
                self.ask(conn, claim, proof, &self.shared.mock, host).await?;
            }
            Credential::Certificate => {
                if certificate.and_then(|found| found.login.as_deref()) != Some(claim.login_name) {
                    return Err(AuthError::Failed(Failure::Certificate));
                }
            }
            Credential::Token { bearer } => login = self.token(conn, &login, *bearer).await?,
            Credential::Trust if self.peer.ip().to_canonical().is_loopback() => {}
            Credential::Trust => return Err(AuthError::Failed(Failure::NoUsablePassword)),
        }
        self.from_here(&login)?;
        Ok(login)
    }

    /// Whether the login may be used from the client's address.
    pub(in crate::session) fn from_here(&self, login: &config::Login) -> Result<(), AuthError> {
        match &login.allow_from {
            Some(list) if !list.contains(self.peer.ip()) => Err(AuthError::Failed(Failure::Address)),
            Some(_) | None => Ok(()),
        }
    }

    /// The exchange with somebody of whom there is no login.
    pub(in crate::session) async fn mock_authentication(
        &self,
        conn: &mut Conn,
        claim: &Claim<'_>,
        host: Option<&str>,
    ) -> AuthError {
        let kinds = self.access.query.as_ref().map(|query| query.kinds()).unwrap_or_default();
        match self.access.credentials.unknown(claim.login_name, &self.shared.mock, &kinds) {
            Unknown::Password(method, mock) => {
                let outcome = self.ask(conn, claim, (method, Account::Unknown), &mock, host).await;
                outcome.err().unwrap_or(AuthError::Failed(Failure::UnknownLogin))
            }
            Unknown::Certificate => AuthError::Failed(Failure::Certificate),
            Unknown::Token { bearer } => match self.claims(conn, bearer).await {
                Err(error) => error,
                Ok(_) => self.not_accepted(conn, TokenError::OtherLogin("(no such login)".to_owned()), bearer).await,
            },
        }
    }

    /// Asks for a token; gives the login with the rights that both have.
    async fn token(
        &self,
        conn: &mut Conn,
        login: &Arc<config::Login>,
        bearer: bool,
    ) -> Result<Arc<config::Login>, AuthError> {
        let claims = self.claims(conn, bearer).await?;
        let tokens = self.access.tokens.as_ref().ok_or(TokenError::NotConfigured);
        match tokens.and_then(|tokens| bound_by(tokens, &claims, login)) {
            Ok(login) => Ok(login),
            Err(error) => Err(self.not_accepted(conn, error, bearer).await),
        }
    }

    async fn claims(&self, conn: &mut Conn, bearer: bool) -> Result<Claims, AuthError> {
        let Some(tokens) = &self.access.tokens else {
            return Err(AuthError::Token { error: TokenError::NotConfigured, bearer });
        };
        let token = match bearer {
            true => bearer_token(conn, tokens.rules()).await?,
            false => token_as_password(conn).await?,
        };
        match tokens.verify(&token) {
            Ok(claims) => Ok(claims),
            Err(error) => Err(self.not_accepted(conn, error, bearer).await),
        }
    }

    async fn not_accepted(&self, conn: &mut Conn, error: TokenError, bearer: bool) -> AuthError {
        if let Some(tokens) = self.access.tokens.as_ref().filter(|_| bearer)
            && let Err(error) = reject(conn, tokens.rules()).await
        {
            return error;
        }
        AuthError::Token { error, bearer }
    }

    pub(in crate::session) async fn ask(
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

/// The login with the tenants that its token names too: both bind.
fn bound_by(
    tokens: &TokenVerifier,
    claims: &Claims,
    login: &Arc<config::Login>,
) -> Result<Arc<config::Login>, TokenError> {
    tokens.check_login(claims, login.name.as_str())?;
    let claim = || tokens.rules().tenant_claim.clone();
    if let Role::Operator { .. } = login.role {
        return if tokens.is_for_tenants(claims) { Err(TokenError::Operator(claim())) } else { Ok(Arc::clone(login)) };
    }
    let named = tokens.tenants(claims)?;
    let both = named.into_iter().map(TenantName::new).filter(|tenant| login.tenants.contains(tenant));
    let both: BTreeSet<_> = both.collect();
    if both.is_empty() {
        return Err(TokenError::OtherTenants(claim()));
    }
    Ok(Arc::new(config::Login { tenants: TenantScope::Only(both), ..config::Login::clone(login) }))
}
