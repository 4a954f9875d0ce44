//! Connections of the control plane that are kept from one question to the next: few, and not for long.
//!
//! A pool is of one upstream and of one purpose. Who asks makes connections ready in its own way (read-only, with a statement
//! prepared, with a time limit), they show under an `application_name` of its own, and what was set stays on them: a connection
//! that is made ready for one purpose is of no use for another. What must see the settings that new sessions get (the catalog's
//! loader) or is done once (subcommands) takes a fresh connection: [`connect`]. Notifications have
//! [connections of their own](super::hear).

use std::borrow::Borrow;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Once};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{
    self, BuildError, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType, Timeouts,
    WeakPool,
};
use deadpool_postgres::ClientWrapper;

use super::connection::connect;
use super::error::ControlError;
use crate::config::Upstream;

/// How the connections of a pool are made, and what they are.
pub trait Connecting: Send + Sync + 'static {
    /// A connection that can be asked: a client, or one with what was made ready on it.
    type Connection: Borrow<ClientWrapper> + Send + 'static;
    /// Why there is none.
    type Error: From<ControlError> + Send + 'static;

    /// Makes one. It takes no longer than it may.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;
}

/// Connections as an upstream's own role, with nothing made ready on them.
#[derive(Debug)]
pub struct AsRole {
    /// Where.
    pub upstream: Arc<Upstream>,
    /// Under which name.
    pub application_name: &'static str,
}

impl Connecting for AsRole {
    type Connection = ClientWrapper;
    type Error = ControlError;

    async fn connect(&self) -> Result<ClientWrapper, ControlError> {
        connect(&self.upstream, self.application_name).await
    }
}

/// What a pool may take.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Connections, in use or idle.
    pub connections: usize,
    /// Who asks for one while all are in use waits so long.
    pub wait: Duration,
    /// One that was not used for so long is closed.
    pub idle: Duration,
}

impl PoolLimits {
    /// So many connections, each closed when it was idle for a minute.
    pub const fn new(connections: usize, wait: Duration) -> Self {
        Self { connections, wait, idle: Duration::from_secs(60) }
    }
}

/// A pool. Its connections are made when they are needed.
pub struct Pool<C: Connecting> {
    places: managed::Pool<Manager<C>>,
    limits: PoolLimits,
    sweeps: Once,
}

impl<C: Connecting> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("status", &self.places.status())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl<C: Connecting> Pool<C> {
    /// Without connections yet.
    pub fn new(connecting: C, limits: PoolLimits) -> Self {
        let places = managed::Pool::builder(Manager(connecting))
            .max_size(limits.connections)
            // Those that are not needed grow old.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .unwrap_or_else(|BuildError::NoRuntimeSpecified| unreachable!("a runtime is specified"));
        Self { places, limits, sweeps: Once::new() }
    }

    /// How connections are made.
    pub fn connecting(&self) -> &C {
        &self.places.manager().0
    }

    /// Lends a connection: one that is idle, or a new one, or the next that comes back. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// None can be made, or none came back in time.
    pub async fn get(&self) -> Result<Lease<C>, C::Error> {
        self.sweeps.call_once(|| drop(tokio::spawn(sweep(self.places.weak(), self.limits.idle))));
        let timeouts = Timeouts { wait: Some(self.limits.wait), create: None, recycle: None };
        loop {
            let mut place = self.places.timeout_get(&timeouts).await.map_err(|error| self.error(error))?;
            if let Some(connection) = place.take() {
                return Ok(Lease { connection, place });
            }
        }
    }

    /// A new connection in place of one that turned out to be of no use.
    ///
    /// # Errors
    /// None can be made.
    pub async fn renew(&self, lease: &mut Lease<C>) -> Result<(), C::Error> {
        lease.connection = self.connecting().connect().await?;
        Ok(())
    }

    /// Does something on a connection, which is kept if all goes well.
    ///
    /// # Errors
    /// There is no connection, or it went wrong.
    pub async fn exchange<T, E: From<C::Error>>(
        &self,
        what: impl AsyncFnOnce(&mut C::Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut lease = self.get().await?;
        let outcome = what(&mut lease).await?;
        lease.put_back();
        Ok(outcome)
    }

    fn error(&self, error: PoolError<C::Error>) -> C::Error {
        match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(TimeoutType::Wait | TimeoutType::Create | TimeoutType::Recycle) => {
                ControlError::Busy(self.limits.wait).into()
            }
            // It is not closed while there is somebody to ask, its runtime is tokio, and hooks it has none.
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                ControlError::Busy(Duration::ZERO).into()
            }
        }
    }
}

/// A connection that is lent. Unless it is [put back](Lease::put_back) it is closed, and another is made for the next who
/// asks: whoever is interrupted leaves nobody a connection on which something is still to come.
pub struct Lease<C: Connecting> {
    connection: C::Connection,
    /// Where it belongs; empty meanwhile.
    place: Object<Manager<C>>,
}

impl<C: Connecting> Lease<C> {
    /// Nothing is under way on it, and it is as it was.
    pub fn put_back(self) {
        let Self { connection, mut place } = self;
        *place = Some(connection);
    }

    /// Whether it was made just now. One that was idle may have been lost unnoticed.
    pub fn is_new(&self) -> bool {
        Object::metrics(&self.place).recycle_count == 0
    }
}

impl<C: Connecting> Deref for Lease<C> {
    type Target = C::Connection;

    fn deref(&self) -> &C::Connection {
        &self.connection
    }
}

impl<C: Connecting> DerefMut for Lease<C> {
    fn deref_mut(&mut self) -> &mut C::Connection {
        &mut self.connection
    }
}

struct Manager<C>(C);

impl<C: Connecting> managed::Manager for Manager<C> {
    /// A place for a connection, empty while that is lent.
    type Type = Option<C::Connection>;
    type Error = C::Error;

    async fn create(&self) -> Result<Self::Type, C::Error> {
        self.0.connect().await.map(Some)
    }

    /// Nothing is asked for it: what was lost unnoticed shows at the first question.
    async fn recycle(&self, place: &mut Self::Type, _: &Metrics) -> RecycleResult<C::Error> {
        match is_open::<C>(place) {
            true => Ok(()),
            false => Err(RecycleError::message("there is no open connection in it")),
        }
    }
}

fn is_open<C: Connecting>(place: &Option<C::Connection>) -> bool {
    place.as_ref().is_some_and(|connection| !Borrow::<ClientWrapper>::borrow(connection).is_closed())
}

/// Closes what was idle for too long, until the pool is gone.
async fn sweep<C: Connecting>(places: WeakPool<Manager<C>>, idle: Duration) {
    loop {
        tokio::time::sleep(idle / 4).await;
        let Some(places) = places.upgrade() else { return };
        places.retain(|place, metrics| is_open::<C>(place) && metrics.last_used() < idle);
    }
}
