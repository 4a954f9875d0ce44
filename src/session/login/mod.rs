//! From the first byte of a client to ReadyForQuery: encryption, who it is, which tenant, and the greeting.

mod access;
mod admission;
mod authenticate;
mod greeting;
mod looked_up;
mod opening;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::timeout;

use self::authenticate::{Arrival, refuse};
use self::greeting::{greet, reported_settings};
use self::opening::Opening;
use crate::base::{PgError, Severity, SqlState};
use crate::config::{Layout, Login, Role, Tenant};
use crate::guard::value::TenantValue;
use crate::guard::{Policy, TableRule};
use crate::limits::Allowance;
use crate::observe::SessionSpan;
use crate::session::console::{ConsoleSession, greet as greet_console};
use crate::session::observed::observation;
use crate::session::protocol::{Env, Session};
use crate::session::registry::{Occupant, SessionHandle, Standing};
use crate::session::shared_state::SharedState;
use crate::session::tenants::{LoginReads, LoginTenants};
use crate::session::upstream::{PoolSource, Upstream};
use crate::session::watch::Watcher;
use crate::tenant::{GateStanding, IdentifyError, Identity, Target, gate_unknown};
use crate::usage;
use crate::wire::conn::{Conn, ConnError};
use crate::wire::startup::{StartupError, StartupMessage, Wish, accept};
use crate::wire::stream::Stream;

pub use self::access::{Access, AccessError};
pub(super) use self::admission::{LoginPlace, Logins};
pub(crate) use self::opening::sealed_settings;
pub(super) use self::opening::{no_place, place, shared_path};

/// A client that is ready to be served.
pub(super) struct LoggedIn {
    pub conn: Conn,
    pub session: Session,
    pub source: PoolSource,
}

/// What a client got.
pub(super) enum Admitted {
    /// A session.
    LoggedIn(Box<LoggedIn>),
    /// The console.
    Console(ConsoleSession),
}

/// Why no session came about; the client has been told where it could be.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    /// Nothing to log above debug: port scans, health checks, clients that went away.
    #[error("{0}")]
    Gone(String),
    /// The client was refused.
    #[error("{0}")]
    Refused(String),
    /// It took too long.
    #[error("login timed out")]
    Timeout,
}

impl From<StartupError> for LoginError {
    fn from(error: StartupError) -> Self {
        match error {
            StartupError::Silent | StartupError::NoPacket(_) | StartupError::Conn(_) => {
                LoginError::Gone(error.to_string())
            }
            StartupError::Tls(_) | StartupError::Refused(_) => LoginError::Refused(error.to_string()),
        }
    }
}

impl From<ConnError> for LoginError {
    fn from(error: ConnError) -> Self {
        LoginError::Gone(error.to_string())
    }
}

impl From<std::io::Error> for LoginError {
    fn from(error: std::io::Error) -> Self {
        LoginError::Gone(error.to_string())
    }
}

/// Logs a client in. `None`: it only wanted a statement cancelled, which is done.
pub(super) async fn log_in(
    shared: &Arc<SharedState>,
    stream: Stream,
    peer: SocketAddr,
    handle: &Arc<SessionHandle>,
    span: &SessionSpan,
) -> Result<Option<Admitted>, LoginError> {
    let begin = async {
        // One and the same for all of the login, whatever is reloaded meanwhile.
        let access = shared.access.load_full();
        let (mut conn, wish) = accept(stream, access.tls.as_ref()).await?;
        match wish {
            Wish::Cancel(request) => {
                shared.cancel.cancel(request.pid, &request.key).await;
                Ok::<_, LoginError>(None)
            }
            Wish::Session(message) => {
                let arrival = Arrival { shared, access: &access, peer, message: &message, span };
                let identity = arrival.identify(&mut conn).await?;
                Ok(Some((conn, message, identity)))
            }
        }
    };
    let begun = timeout(shared.manners.load().login_timeout, begin).await.map_err(|_| LoginError::Timeout)??;
    match begun {
        None => Ok(None),
        // Waiting for an upstream has limits of its own.
        Some((conn, message, identity)) => open(shared, conn, &message, identity, handle, span).await.map(Some),
    }
}

/// Makes the session of an authenticated client and greets it.
async fn open(
    shared: &Arc<SharedState>,
    mut conn: Conn,
    message: &StartupMessage,
    mut identity: Identity,
    handle: &Arc<SessionHandle>,
    span: &SessionSpan,
) -> Result<Admitted, LoginError> {
    let occupant = Occupant {
        login: Arc::clone(&identity.login),
        target: identity.target.clone(),
        application_name: application_name(message).into(),
        encrypted: conn.stream.is_encrypted(),
    };
    if let Err(withdrawn) = handle.occupy(occupant) {
        return refuse(&mut conn, withdrawn.to_pg_error(), withdrawn).await;
    }
    if let Target::Console = identity.target {
        let key = shared.cancel.register(message.version().has_long_cancel_keys());
        let warning = nothing_enforced(shared);
        greet_console(&mut conn, &key, warning.as_ref()).await?;
        return Ok(Admitted::Console(ConsoleSession { conn, login: identity.login, handle: Arc::clone(handle) }));
    }
    if let Err(error) = through_the_gate(&mut identity, handle).await {
        let why = error.to_string();
        return refuse(&mut conn, error, why).await;
    }
    let allowance = allowance(shared, &identity);
    let admitted = match allowance.connect() {
        Ok(place) => parts(shared, &identity, message).await.map(|parts| (place, parts)),
        Err(error) => Err(error),
    };
    let (place, (upstream, opening)) = match admitted {
        Ok(admitted) => admitted,
        Err(error) => {
            let why = error.to_string();
            return refuse(&mut conn, error, why).await;
        }
    };
    let key = shared.cancel.register(message.version().has_long_cancel_keys());
    let party = identity.target.tenant().map(|tenant| tenant.name.clone());
    let upstreams = Arc::clone(&shared.upstreams);
    let mut source = PoolSource::new(
        upstreams,
        &upstream,
        Arc::clone(&opening.place),
        key,
        party,
        Arc::clone(&shared.registry),
        Arc::clone(handle),
    );
    let reported = match reported_settings(shared, &upstream, &opening, &mut source).await {
        Ok(reported) => reported,
        Err(error) => {
            let error = no_such_database(shared, &identity, error);
            let why = error.to_string();
            return refuse(&mut conn, error, why).await;
        }
    };
    greet(&mut conn, &reported, &source).await?;
    let mut session = session(shared, &identity, &opening, reported, span);
    if let Target::Unbound { .. } = &identity.target {
        session = session.switching(Arc::new(LoginTenants {
            registry: Arc::clone(&shared.registry),
            login: Arc::clone(&identity.login),
            peer: handle.peer().map(|peer| peer.ip()),
            upstreams: Arc::clone(&shared.upstreams),
            home: Arc::clone(&opening.place),
            setting: shared.setting.clone(),
            ledger: Arc::clone(&shared.ledger),
            limits: Arc::clone(&shared.limiters),
        }));
    }
    if let Target::Reader { upstream } = &identity.target {
        session = session.reading(Box::new(LoginReads {
            registry: Arc::clone(&shared.registry),
            login: Arc::clone(&identity.login),
            upstream: Arc::clone(upstream),
            peer: handle.peer().map(|peer| peer.ip()),
        }));
    }
    if let Target::Observed { tenant, .. } = &identity.target {
        session = session.observed(observation(shared, &identity.login, tenant.as_deref(), &opening.place));
    }
    match &identity.target {
        Target::Tenant(tenant) => session = session.gated(Arc::clone(handle.gates()), Some(tenant.name.clone())),
        Target::Unbound { .. } => session = session.gated(Arc::clone(handle.gates()), None),
        // Which tenants it reads is looked up for each transaction.
        Target::Reader { .. } => {}
        // What they do is the operator's own affair.
        Target::Observed { .. } | Target::Operator { .. } | Target::Console => {}
    }
    session = session.limited(allowance, place);
    session.client_bytes(&conn.inbox);
    Ok(Admitted::LoggedIn(Box::new(LoggedIn { conn, session, source })))
}

/// Waits while the tenant's gate is shut; then the tenant is where it lives.
async fn through_the_gate(identity: &mut Identity, handle: &SessionHandle) -> Result<(), PgError> {
    let Target::Tenant(tenant) = &identity.target else { return Ok(()) };
    let gates = handle.gates();
    loop {
        let number = gates.number_now();
        match gates.standing(&tenant.name) {
            GateStanding::Open => break,
            GateStanding::Unknown(_) => return Err(gate_unknown(&tenant.name, Severity::Fatal)),
            GateStanding::Shut(_) => {
                handle.note_waiting();
                handle.note_gates_seen(number);
                gates.changed_since(number).await;
                handle.note_idle();
            }
        }
    }
    match handle.check(None) {
        Ok(Standing::Same | Standing::NamedMoved) => Ok(()),
        Ok(Standing::Moved(tenant)) => {
            identity.target = Target::Tenant(tenant);
            Ok(())
        }
        Err(withdrawn) => Err(withdrawn.to_pg_error()),
    }
}

/// What those who look after pgwarden are told: for which logins nothing is enforced.
fn nothing_enforced(shared: &SharedState) -> Option<PgError> {
    let registry = shared.registry.load();
    let observed = registry.logins().filter(|login| login.role == Role::Observed);
    let mut names: Vec<_> = observed.map(|login| format!("\"{}\"", login.name)).collect();
    names.sort();
    let message = || format!("NOTHING is enforced for logins that are observed: {}", names.join(", "));
    (!names.is_empty())
        .then(|| PgError::error(SqlState::WARNING, message()).hint("SHOW REFUSALS tells what would be refused."))
}

/// What the client calls itself, cut as Postgres cuts it.
fn application_name(message: &StartupMessage) -> &str {
    let named = message.settings.iter().rfind(|(name, _)| name == "application_name");
    let name = named.map_or("", |(_, name)| name.as_str());
    let end = (0..=name.len().min(63)).rfind(|at| name.is_char_boundary(*at)).unwrap_or(0);
    name.get(..end).unwrap_or_default()
}

/// What the session may take. An operator has its own limits only, whichever tenant it names, and so has a reader.
fn allowance(shared: &SharedState, identity: &Identity) -> Arc<Allowance> {
    let tenant = match &identity.target {
        Target::Tenant(tenant) => Some(&**tenant),
        Target::Unbound { .. }
        | Target::Reader { .. }
        | Target::Observed { .. }
        | Target::Operator { .. }
        | Target::Console => None,
    };
    shared.limiters.allowance(&identity.login, tenant)
}

async fn parts(
    shared: &SharedState,
    identity: &Identity,
    message: &StartupMessage,
) -> Result<(Upstream, Opening), PgError> {
    let target = &identity.target;
    let (Some(upstream), Some(database)) = (target.upstream(), target.database()) else {
        return Err(PgError::fatal(SqlState::INTERNAL_ERROR, "the console has no upstream"));
    };
    let upstream = shared.upstreams.open(upstream, database)?;
    if upstream.guard.policy().epoch == 0 {
        // The first client of an upstream: its catalog is on its way.
        upstream.catalog.refresh().await;
    }
    if let Target::Tenant(tenant) = target {
        fitting(shared, &identity.login, tenant, &upstream).await?;
    }
    let opening = Opening::new(target, &upstream, &shared.setting, message)?;
    Ok((upstream, opening))
}

/// Whether the tenant can be served: its keys are values of the columns, and if it is not listed, its schema is there and
/// nobody else's.
async fn fitting(shared: &SharedState, login: &Login, tenant: &Tenant, upstream: &Upstream) -> Result<(), PgError> {
    let derived = !shared.registry.load().is_listed(tenant.name.as_str());
    if let Some(why) = upstream.catalog.objection(&tenant.name) {
        tracing::error!(tenant = %tenant.name, why, "tenant cannot be served");
        return Err(PgError::fatal(
            SqlState::INVALID_AUTHORIZATION,
            format!("tenant \"{}\" cannot be served: its key does not fit the tenant column", tenant.name),
        ));
    }
    if !derived {
        return Ok(());
    }
    let fits = || derived_fits(tenant, &upstream.guard.policy());
    if !fits() {
        // It may be new.
        upstream.catalog.refresh().await;
    }
    if fits() { Ok(()) } else { Err(IdentifyError::unknown_tenant(login, &tenant.name).to_pg_error()) }
}

/// Whether what a pattern made of a name is there.
fn derived_fits(tenant: &Tenant, policy: &Policy) -> bool {
    match &tenant.layout {
        Layout::Schema { schema, .. } => {
            let common = || policy.search_path.iter().chain(&policy.common_schemas);
            policy.catalog.schemas.contains(&**schema) && !common().any(|name| **name == **schema)
        }
        Layout::Shared => policy.tables.values().all(|rule| match rule {
            TableRule::Tenant(table) if table.key.is_none() => {
                tenant.keys.default.as_ref().is_some_and(|key| TenantValue::from_text(table.type_oid, key).is_some())
            }
            TableRule::Tenant(_) => false,
            TableRule::Shared(_) => true,
        }),
        Layout::Database => true,
    }
}

/// A database that a pattern named and that is not there: the tenant is unknown, and nothing is kept for it.
fn no_such_database(shared: &SharedState, identity: &Identity, error: PgError) -> PgError {
    match &identity.target {
        Target::Tenant(tenant)
            if error.code == SqlState::INVALID_CATALOG_NAME
                && !shared.registry.load().is_listed(tenant.name.as_str()) =>
        {
            shared.upstreams.forget(&tenant.upstream);
            IdentifyError::unknown_tenant(&identity.login, &tenant.name).to_pg_error()
        }
        Target::Tenant(_)
        | Target::Unbound { .. }
        | Target::Reader { .. }
        | Target::Observed { .. }
        | Target::Operator { .. }
        | Target::Console => error,
    }
}

/// Where the session's use is counted. An operator's is nobody's, whichever tenant it names; a reader's is no one tenant's.
fn account(shared: &SharedState, target: &Target) -> Arc<usage::Account> {
    match target {
        Target::Tenant(tenant) => shared.ledger.account(tenant),
        Target::Unbound { .. }
        | Target::Reader { .. }
        | Target::Observed { .. }
        | Target::Operator { .. }
        | Target::Console => shared.ledger.nobody(),
    }
}

fn session(
    shared: &SharedState,
    identity: &Identity,
    opening: &Opening,
    reported: Arc<BTreeMap<String, String>>,
    span: &SessionSpan,
) -> Session {
    let tenant = identity.target.tenant().map(|tenant| tenant.name.clone());
    let env = Env {
        keys: opening.keys.clone(),
        shared: Arc::clone(&shared.statements),
        planners: shared.planners.clone(),
        limits: shared.manners.load().limits,
        account: account(shared, &identity.target),
        observer: Arc::new(Watcher::new(span.span(), identity, tenant)),
    };
    Session::new(env, Arc::clone(&opening.place), opening.settings(), reported)
}
