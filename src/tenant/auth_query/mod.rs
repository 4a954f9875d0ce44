//! Logins that are not in the file: a query on an upstream gives them by name, as PgBouncer's `auth_query` does.
//!
//! What was found is kept for a while, and that nothing was found for a shorter one; both in bounded memory. One look-up
//! of a name runs at a time, and one of an address: who asks for very many names waits behind himself.

mod link;
mod pace;
mod row;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{error, info, warn};

use crate::auth::{Failure, ScramVerifier, network_of};
use crate::config::AuthQuery;
use link::{Link, Links, Rows};
use pace::Pace;

pub use link::QueryError;
pub use row::QueriedLogin;

/// Logins that are remembered.
const FOUND: usize = 10_000;
/// Names that are remembered to be nobody's. Apart from the logins: guesses must not push them out.
const NOBODY: usize = 10_000;
/// A name of Postgres is no longer, in bytes; longer ones are nobody's without a look.
const LONGEST_NAME: usize = 63;
/// A login whose proof failed is looked up anew unless it was so lately.
const FRESH: Duration = Duration::from_secs(2);
/// Addresses are swept when there are so many.
const ADDRESSES: usize = 1_000;
/// Kinds of stored passwords that are remembered, for the exchange with nobody.
const KINDS: usize = 16;

/// What is known of a name.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A login.
    Login(Arc<QueriedLogin>),
    /// None, and why.
    Nobody(Failure),
    /// The query cannot be asked.
    Away,
}

#[derive(Clone)]
struct Known<T> {
    what: T,
    at: Instant,
}

/// How a login is asked for its proof: what nobody is asked, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SCRAM, with so many iterations.
    Scram(u32),
    /// md5.
    Md5,
}

/// The query of one configuration, and what it has given so far. A reload makes a new one.
pub struct LoginQuery {
    config: Arc<AuthQuery>,
    found: Cache<Box<str>, Known<Arc<QueriedLogin>>>,
    nobody: Cache<Box<str>, Known<Failure>>,
    flights: Mutex<HashMap<Box<str>, watch::Receiver<Option<Answer>>>>,
    turns: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
    kinds: Mutex<Vec<Kind>>,
    links: Links,
    pace: Pace,
    failing: AtomicBool,
}

impl std::fmt::Debug for LoginQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginQuery").field("found", &self.found.len()).finish_non_exhaustive()
    }
}

impl LoginQuery {
    /// Nothing is known yet.
    pub fn new(config: Arc<AuthQuery>) -> Self {
        Self {
            found: Cache::new(FOUND),
            nobody: Cache::new(NOBODY),
            flights: Mutex::default(),
            turns: Mutex::default(),
            kinds: Mutex::default(),
            links: Links::new(&config),
            pace: Pace::new(),
            failing: AtomicBool::new(false),
            config,
        }
    }

    /// How it is configured.
    pub fn config(&self) -> &AuthQuery {
        &self.config
    }

    /// The login of a name, for a client at that address.
    pub async fn find(self: &Arc<Self>, name: &str, address: IpAddr) -> Answer {
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains(char::is_control) {
            return Answer::Nobody(Failure::UnknownLogin);
        }
        if let Some(known) = self.known(name) {
            return known;
        }
        // Never closed.
        let Ok(turn) = self.turn(address).acquire_owned().await else { return Answer::Away };
        match self.known(name) {
            Some(known) => known,
            None => self.fly(name, Some(turn)).await,
        }
    }

    /// The login of a name as the query gives it now.
    pub async fn find_anew(self: &Arc<Self>, name: &str) -> Answer {
        self.fly(name, None).await
    }

    /// A proof of this login failed: its password may be another now. Does not wait.
    pub fn doubt(self: &Arc<Self>, name: &str) {
        let fresh = self.found.peek(name).is_some_and(|known| known.at.elapsed() < FRESH);
        if !fresh {
            let (query, name) = (Arc::clone(self), name.to_owned());
            tokio::spawn(async move { query.find_anew(&name).await });
        }
    }

    /// Whether the query could not be asked the last time.
    pub fn is_away(&self) -> bool {
        self.links.are_away()
    }

    /// Waits until a look-up that began at `started` would usually have ended.
    pub async fn wait_constant_time(&self, started: Instant) {
        self.pace.keep(started).await;
    }

    /// How logins are asked for their proof.
    pub fn kinds(&self) -> Vec<Kind> {
        let kinds = self.kinds.lock();
        if kinds.is_empty() { vec![Kind::Scram(ScramVerifier::ITERATIONS)] } else { kinds.clone() }
    }

    /// Whether the query can be asked, and gives what it should.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn check(config: &AuthQuery) -> Result<(), QueryError> {
        Link::open(config).await.map(drop)
    }

    fn known(&self, name: &str) -> Option<Answer> {
        let fresh = |at: Instant, limit: Duration| at.elapsed() < limit;
        if let Some(known) = self.found.get(name).filter(|known| fresh(known.at, self.config.ttl)) {
            return Some(Answer::Login(known.what));
        }
        let known = self.nobody.get(name).filter(|known| fresh(known.at, self.config.negative_ttl));
        known.map(|known| Answer::Nobody(known.what))
    }

    fn turn(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut turns = self.turns.lock();
        if turns.len() >= ADDRESSES {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let place = turns.entry(network_of(address)).or_default();
        place.upgrade().unwrap_or_else(|| {
            let turn = Arc::new(Semaphore::new(1));
            *place = Arc::downgrade(&turn);
            turn
        })
    }

    /// Waits for the look-up of this name that is under way, or begins one. It goes on when its client does not.
    async fn fly(self: &Arc<Self>, name: &str, turn: Option<OwnedSemaphorePermit>) -> Answer {
        let mut flight = {
            let mut flights = self.flights.lock();
            match flights.get(name) {
                Some(flight) => flight.clone(),
                None => {
                    let (landed, flight) = watch::channel(None);
                    flights.insert(name.into(), flight.clone());
                    let flown = Flight { query: Arc::clone(self), name: name.into(), _turn: turn };
                    tokio::spawn(async move { landed.send_replace(Some(flown.ask().await)) });
                    flight
                }
            }
        };
        let answer = flight.wait_for(Option::is_some).await;
        answer.ok().and_then(|answer| answer.clone()).unwrap_or(Answer::Away)
    }

    fn take(&self, name: &str, outcome: Result<Rows, QueryError>) -> Answer {
        match outcome {
            Ok(rows) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    info!(upstream = %self.config.upstream.name, "the auth query can be asked again");
                }
                self.remember(name, rows)
            }
            Err(QueryError::Resting) => Answer::Away,
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    error!(upstream = %self.config.upstream.name, %error, "the auth query cannot be asked: logins that are neither in the file nor known are refused until it can");
                }
                Answer::Away
            }
        }
    }

    fn remember(&self, name: &str, rows: Rows) -> Answer {
        let at = Instant::now();
        let bad = |why: String| {
            warn!(login = name, why, "what the auth query gives makes no login");
            Failure::BadRow
        };
        let login = match rows {
            Rows::None => Err(Failure::UnknownLogin),
            Rows::More => Err(bad("it gives more than one row".to_owned())),
            Rows::One(row) => row.login(name, &self.config).map_err(bad),
        };
        match login {
            Ok(login) => {
                self.record_kind(&login);
                let what = Arc::new(login);
                self.nobody.remove(name);
                self.found.insert(name.into(), Known { what: Arc::clone(&what), at });
                Answer::Login(what)
            }
            Err(what) => {
                self.found.remove(name);
                self.nobody.insert(name.into(), Known { what, at });
                Answer::Nobody(what)
            }
        }
    }

    fn record_kind(&self, login: &QueriedLogin) {
        let kind = login.kind();
        let mut kinds = self.kinds.lock();
        if kinds.len() < KINDS && !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
}

/// A look-up under way.
struct Flight {
    query: Arc<LoginQuery>,
    name: Box<str>,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Flight {
    async fn ask(&self) -> Answer {
        let started = Instant::now();
        let outcome = self.query.links.ask(&self.name).await;
        if outcome.is_ok() {
            self.query.pace.took(started.elapsed());
        }
        self.query.take(&self.name, outcome)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.query.flights.lock().remove(&self.name);
    }
}
