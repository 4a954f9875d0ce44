//! Who a client is: its login, the proof of it, and then its tenant.

use std::net::SocketAddr;

use super::access::{Access, Credential};
use super::gateway::Gateway;
use super::login::LoginError;
use super::opening::tenant_option;
use crate::auth::{Account, AuthError, Failure, Login, Method, authenticate};
use crate::observe::{SessionSpan, audit};
use crate::pgerror::{PgError, Severity, SqlState};
use crate::tenant::{Identity, StartupParams, Target};
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
        let registry = self.gateway.registry.load_full();
        let claim = registry.identify(&StartupParams {
            user: &self.message.user,
            database: self.message.database.as_deref(),
            options: None,
            tenant_parameter,
            host: host.as_deref(),
        });
        self.span.record_login(claim.login_name);
        if let Err(error) = self.prove(conn, claim.login_name, host.as_deref()).await {
            return match error.to_pg(&self.message.user) {
                Some(told) => {
                    audit::login_refused(claim.login_name, &error);
                    refuse(conn, told, error).await
                }
                None => Err(LoginError::Gone(error.to_string())),
            };
        }
        match claim.outcome() {
            Ok(identity) => Ok(self.accepted(identity)),
            Err(error) => {
                audit::login_refused(claim.login_name, &error);
                refuse(conn, error.to_pg_error(), error).await
            }
        }
    }

    fn accepted(&self, identity: Identity) -> Identity {
        let tenant = identity.target.tenant().map(|tenant| &tenant.name);
        if let Some(tenant) = tenant {
            self.span.record_tenant(tenant);
        }
        let operator = matches!(identity.target, Target::Operator { .. });
        audit::login_accepted(&identity.login.name, tenant, operator);
        identity
    }

    async fn prove(&self, conn: &mut Conn, login: &str, host: Option<&str>) -> Result<(), AuthError> {
        let (method, account) = match self.access.credentials.get(login) {
            None => (Method::Scram, Account::Unknown),
            Some(Credential::Password(method, stored)) => (*method, Account::Password(stored)),
            Some(Credential::Trust) if self.peer.ip().to_canonical().is_loopback() => {
                (Method::Trust, Account::WithoutPassword)
            }
            Some(Credential::Trust) => return Err(AuthError::Failed(Failure::NoUsablePassword)),
        };
        let encrypted = conn.stream.is_encrypted();
        let end_point = self.access.tls.as_ref().filter(|_| encrypted).and_then(|tls| tls.end_point(host));
        let mock = &self.gateway.mock;
        authenticate(conn, &Login { method, user: &self.message.user, account, end_point, mock }).await
    }
}
