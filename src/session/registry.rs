//! All sessions of the process: what the console lists, and how a session is told to end.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::SystemTime;

use dashmap::DashMap;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::protocol::TenantContext;
use crate::base::{LoginName, PgError, SessionId, SqlState, TenantName};
use crate::config::{Login, LoginAuth, Tenant};
use crate::tenant::{Gates, Lives, Passage, SharedRegistry, Target, Withdrawn};

/// What the process wants of a session. Later ones outrank earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// To go on.
    Run,
    /// To look, between transactions, whether what it was admitted for still holds.
    Check,
    /// To end when its transaction ends; a client that has just come may have its first one.
    Drain,
    /// To end when it has no transaction.
    Leave,
    /// To end now.
    Now,
}

impl Order {
    fn from_u8(code: u8) -> Self {
        match code {
            0 => Order::Run,
            1 => Order::Check,
            2 => Order::Drain,
            3 => Order::Leave,
            _ => Order::Now,
        }
    }
}

/// How a session stands to what it was admitted for.
#[derive(Clone, Debug)]
pub enum Standing {
    /// As before.
    Same,
    /// Its tenant lives here now: it goes on there.
    Moved(Arc<Tenant>),
    /// The tenant that it has named lives elsewhere now.
    NamedMoved,
}

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It has no server connection: between transactions, or not logged in yet.
    Idle,
    /// It waits for a server connection.
    Waiting,
    /// It has one.
    Active,
}

/// Whose session it is.
#[derive(Clone, Debug)]
pub struct Occupant {
    /// The login.
    pub login: Arc<Login>,
    /// What the session acts on.
    pub target: Target,
    /// `application_name` of the startup packet.
    pub application_name: Box<str>,
    /// The client uses TLS.
    pub encrypted: bool,
}

/// One session as the rest of the process sees it.
#[derive(Debug)]
pub struct SessionHandle {
    id: SessionId,
    peer: Option<SocketAddr>,
    since: SystemTime,
    order: AtomicU8,
    doing: AtomicU8,
    /// Number of the server connection that it has, or had last.
    server: AtomicU64,
    bell: AtomicWaker,
    registry: SharedRegistry,
    gates: Arc<Gates>,
    /// The last change of gates that it has dealt with.
    gates_seen: AtomicU64,
    occupant: Mutex<Option<Box<Occupant>>>,
    acts: Mutex<Acts>,
}

/// Whom a session acts for that names its tenants as it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acts {
    /// As the client has set it.
    pub set: Option<TenantName>,
    /// Whom its server connection works for, in the transaction that is open.
    pub works: Option<TenantName>,
}

impl SessionHandle {
    /// The session's number.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Where the client comes from; `None` on a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// When it was accepted.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// Who sits here; `None` before the login.
    pub fn occupant(&self) -> Option<Occupant> {
        self.occupant.lock().as_deref().cloned()
    }

    /// The tenant that it acts for: the one that it was admitted for, or the one that it has named last.
    pub fn tenant(&self) -> Option<TenantName> {
        self.admitted_for().or_else(|| {
            let acts = self.acts.lock();
            acts.works.clone().or_else(|| acts.set.clone())
        })
    }

    fn admitted_for(&self) -> Option<TenantName> {
        let occupant = self.occupant.lock();
        occupant.as_deref().and_then(|it| it.target.tenant()).map(|tenant| tenant.name.clone())
    }

    /// Whether it acts for this tenant, or will again when its transaction has ended.
    pub fn acts_for(&self, tenant: &str) -> bool {
        let is = |it: &Option<TenantName>| it.as_ref().is_some_and(|it| it.as_str() == tenant);
        let acts = self.acts.lock();
        is(&self.admitted_for()) || is(&acts.works) || is(&acts.set)
    }

    /// The session acts for these from now on.
    pub fn note_acts(&self, acts: &Acts) {
        self.acts.lock().clone_from(acts);
    }

    /// What it is doing, and the number of the server connection that it has.
    pub fn doing(&self) -> (Doing, Option<u64>) {
        match self.doing.load(Ordering::Relaxed) {
            0 => (Doing::Idle, None),
            1 => (Doing::Waiting, None),
            _ => (Doing::Active, Some(self.server.load(Ordering::Relaxed))),
        }
    }

    /// The session waits for a server connection.
    pub fn note_waiting(&self) {
        self.doing.store(1, Ordering::Relaxed);
    }

    /// The session has this server connection.
    pub fn note_active(&self, server: u64) {
        self.server.store(server, Ordering::Relaxed);
        self.doing.store(2, Ordering::Relaxed);
    }

    /// The session has no server connection.
    pub fn note_idle(&self) {
        self.doing.store(0, Ordering::Relaxed);
    }

    /// What the process wants of the session.
    pub fn order(&self) -> Order {
        Order::from_u8(self.order.load(Ordering::Acquire))
    }

    /// Ready when the order is another than `seen`. One task at a time may wait.
    pub fn poll_order(&self, seen: Order, cx: &Context<'_>) -> Poll<Order> {
        self.bell.register(cx.waker());
        match self.order() {
            order if order == seen => Poll::Pending,
            order => Poll::Ready(order),
        }
    }

    /// Ready when at least this order was given. One task at a time may wait.
    pub async fn told(&self, order: Order) {
        std::future::poll_fn(|cx| {
            self.bell.register(cx.waker());
            if self.order() >= order { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Gives an order, unless one that outranks it was given.
    pub fn tell(&self, order: Order) {
        if self.order.fetch_max(order as u8, Ordering::AcqRel) < order as u8 {
            self.bell.wake();
        }
    }

    /// The gates of tenants.
    pub fn gates(&self) -> &Arc<Gates> {
        &self.gates
    }

    /// Has the session look at its gates, if it is at rest.
    pub fn ring(&self) {
        self.bell.wake();
    }

    /// From now on nothing of a tenant whose gate was shut by the change of this number is under way here, and nothing will be
    /// until that gate opens.
    pub fn note_gates_seen(&self, number: u64) {
        self.gates_seen.store(number, Ordering::Release);
        self.gates.record_dealt_with();
    }

    /// Whether that is so.
    pub fn has_seen_gates(&self, number: u64) -> bool {
        self.gates_seen.load(Ordering::Acquire) >= number
    }

    /// Whether a tenant's gate concerns the session.
    pub fn is_gated_with(&self, tenant: &TenantName) -> bool {
        match self.occupant.lock().as_deref() {
            Some(Occupant { target: Target::Tenant(own), .. }) => own.name == *tenant,
            // Whom it will name next nobody knows.
            Some(Occupant { target: Target::Unbound { .. }, .. }) => true,
            Some(_) | None => false,
        }
    }

    /// The client is known from now on.
    ///
    /// # Errors
    /// If what it was admitted for was withdrawn at this moment.
    pub fn occupy(&self, occupant: Occupant) -> Result<(), Withdrawn> {
        *self.occupant.lock() = Some(Box::new(occupant.clone()));
        // A reload that did not see the occupant yet is seen here.
        self.registry.load().still_admits(&occupant.login, &occupant.target)
    }

    /// Asked between transactions after [`Order::Check`]: whether what the session was admitted for still holds.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self, acting: Option<&TenantContext>) -> Result<Standing, Withdrawn> {
        // First, so that a reload during the check asks for another.
        let _ = self.order.compare_exchange(Order::Check as u8, Order::Run as u8, Ordering::AcqRel, Ordering::Acquire);
        let mut occupant = self.occupant.lock();
        let Some(Occupant { login, target, .. }) = occupant.as_deref_mut() else { return Ok(Standing::Same) };
        let registry = self.registry.load();
        if let Err(withdrawn) = registry.still_admits(login, target) {
            let (Withdrawn::Changed(_), Target::Tenant(was)) = (&withdrawn, &*target) else { return Err(withdrawn) };
            let Some(now) = registry.tenant(was.name.as_str()) else { return Err(withdrawn) };
            return match self.gates.passage(was, now) {
                Passage::Waits => Ok(Standing::Same),
                Passage::Goes => {
                    *target = Target::Tenant(Arc::clone(now));
                    Ok(Standing::Moved(Arc::clone(now)))
                }
                Passage::Ends => Err(withdrawn),
            };
        }
        let Some(acting) = acting else { return Ok(Standing::Same) };
        let place = &acting.backend;
        let role = acting.sealed.get("role").map(String::as_str);
        let lives = Lives { upstream: &place.upstream, mode: &place.mode, role };
        match registry.still_acts(login, &acting.name, &acting.keys, &lives) {
            Ok(()) => Ok(Standing::Same),
            Err(withdrawn @ Withdrawn::Changed(_)) => match self.gates.passage_of(&acting.name) {
                Passage::Waits => Ok(Standing::Same),
                Passage::Goes => Ok(Standing::NamedMoved),
                Passage::Ends => Err(withdrawn),
            },
            Err(withdrawn) => Err(withdrawn),
        }
    }

    /// What a session that is told to end says to its client.
    pub fn farewell() -> PgError {
        PgError::fatal(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
    }
}

/// All sessions.
#[derive(Debug)]
pub struct SessionRegistry {
    registry: SharedRegistry,
    gates: Arc<Gates>,
    handles: DashMap<SessionId, Arc<SessionHandle>, foldhash::fast::RandomState>,
    next: AtomicU64,
    order: AtomicU8,
}

impl SessionRegistry {
    /// No sessions yet.
    pub fn new(registry: SharedRegistry) -> Arc<Self> {
        Arc::new(Self {
            gates: Gates::new(Arc::clone(&registry)),
            registry,
            handles: DashMap::default(),
            next: AtomicU64::new(1),
            order: AtomicU8::new(Order::Run as u8),
        })
    }

    /// A session for a new client, which ends when the returned value is dropped.
    pub fn register(self: &Arc<Self>, peer: Option<SocketAddr>) -> Taken {
        let id = SessionId(self.next.fetch_add(1, Ordering::Relaxed));
        let handle = Arc::new(SessionHandle {
            id,
            peer,
            since: SystemTime::now(),
            order: AtomicU8::new(Order::Run as u8),
            doing: AtomicU8::new(0),
            server: AtomicU64::new(0),
            bell: AtomicWaker::new(),
            registry: Arc::clone(&self.registry),
            gates: Arc::clone(&self.gates),
            gates_seen: AtomicU64::new(0),
            occupant: Mutex::default(),
            acts: Mutex::default(),
        });
        self.handles.insert(id, Arc::clone(&handle));
        // Read after the session can be found: an order to all is seen either here or there.
        handle.tell(Order::from_u8(self.order.load(Ordering::SeqCst)));
        Taken { directory: Arc::clone(self), handle }
    }

    /// The gates of tenants.
    pub fn gates(&self) -> &Arc<Gates> {
        &self.gates
    }

    /// The sessions that a tenant's gate concerns.
    pub fn gated_with(&self, tenant: &TenantName) -> Vec<Arc<SessionHandle>> {
        let all = self.handles.iter().map(|handle| Arc::clone(&handle));
        all.filter(|handle| handle.is_gated_with(tenant)).collect()
    }

    /// All sessions, in the order of their arrival.
    pub fn all(&self) -> Vec<Arc<SessionHandle>> {
        let mut all: Vec<_> = self.handles.iter().map(|handle| Arc::clone(&handle)).collect();
        all.sort_unstable_by_key(|handle| handle.id.0);
        all
    }

    /// One session.
    pub fn get(&self, id: SessionId) -> Option<Arc<SessionHandle>> {
        self.handles.get(&id).map(|handle| Arc::clone(&handle))
    }

    /// Gives an order to all sessions, those to come included.
    pub fn tell_all(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::SeqCst);
        for handle in self.all() {
            handle.tell(order);
        }
    }

    /// The logins whose password the auth query gives, and of which there are sessions.
    pub fn queried_logins(&self) -> HashSet<LoginName> {
        let login = |handle: &Arc<SessionHandle>| match handle.occupant.lock().as_deref() {
            Some(Occupant { login, .. }) if matches!(login.auth, LoginAuth::Queried) => Some(login.name.clone()),
            Some(_) | None => None,
        };
        self.all().iter().filter_map(login).collect()
    }

    /// The registry was replaced: tells the sessions that it may concern. Returns how many.
    pub fn registry_changed(&self) -> usize {
        let registry = self.registry.load();
        let concerned = |handle: &Arc<SessionHandle>| match handle.occupant.lock().as_deref() {
            None => false,
            // Whom it acts for is known to itself alone.
            Some(Occupant { target: Target::Unbound { .. }, .. }) => true,
            Some(occupant) => registry.still_admits(&occupant.login, &occupant.target).is_err(),
        };
        let concerned: Vec<_> = self.all().into_iter().filter(concerned).collect();
        for handle in &concerned {
            handle.tell(Order::Check);
        }
        concerned.len()
    }
}

/// A session in the registry; it is taken out when this is dropped.
#[derive(Debug)]
pub struct Taken {
    directory: Arc<SessionRegistry>,
    handle: Arc<SessionHandle>,
}

impl Taken {
    /// The session.
    pub fn handle(&self) -> &Arc<SessionHandle> {
        &self.handle
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.directory.handles.remove(&self.handle.id);
    }
}
