//! The count of one tenant, or of one login in one tenant.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::gauge::Gauge;
use super::rate::{Rate, nanos};
use super::shared::{SharedLimiter, Standing};
use crate::base::{LoginName, TenantName};
use crate::config::Limits;

/// Whom a meter counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// A tenant, all of its logins together.
    Tenant(TenantName),
    /// A login, in a tenant, or while it acts for none.
    Login(LoginName, Option<TenantName>),
    /// Every client: a limit of the listener.
    Everybody,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whose::Tenant(tenant) => write!(f, "tenant \"{tenant}\""),
            Whose::Login(login, Some(tenant)) => write!(f, "login \"{login}\" in tenant \"{tenant}\""),
            Whose::Login(login, None) => write!(f, "login \"{login}\""),
            Whose::Everybody => write!(f, "all clients"),
        }
    }
}

macro_rules! kinds {
    ($($kind:ident = $name:literal,)*) => {
        /// What is limited.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = concat!("`", $name, "`")] $kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// Its key in the configuration.
            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    Connections = "connections",
    Transactions = "transactions",
    Statements = "statements_per_second",
    TransactionTime = "transaction_timeout",
    StatementTime = "statement_timeout",
    IdleInTransactionTime = "idle_in_transaction_timeout",
    IdleTime = "idle_timeout",
    ResultRows = "result_rows",
    ResultBytes = "result_bytes",
    StatementBytes = "statement_bytes",
}

/// How often a limit was felt.
#[derive(Debug, Default)]
pub(super) struct Felt {
    waits: AtomicU64,
    rejections: AtomicU64,
}

impl Felt {
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    pub fn rejections(&self) -> u64 {
        self.rejections.load(Ordering::Relaxed)
    }
}

/// How often each limit was felt, by all together: it only ever grows, whoever is forgotten.
#[derive(Debug, Default)]
pub(super) struct Totals([Felt; Kind::ALL.len()]);

impl Totals {
    pub fn of(&self, kind: Kind) -> &Felt {
        // The enum's order is the array's.
        let [first, ..] = &self.0;
        self.0.get(kind as usize).unwrap_or(first)
    }
}

/// What all limiters have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Common {
    pub totals: Arc<Totals>,
    /// Where rates are counted together with those of other proxies.
    pub shared_limiter: Option<Arc<SharedLimiter>>,
}

/// When a statement may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// At once.
    Now,
    /// After so many nanoseconds.
    After(u64),
    /// Not before so many nanoseconds, which is longer than anybody waits.
    Never(u64),
    /// To be asked again in a moment: what was taken before must be accounted for first.
    Unsettled,
    /// Nobody knows, and the configuration says that it may not.
    Unknown,
}

/// What one tenant, or one login in one tenant, takes.
#[derive(Debug)]
pub struct Limiter {
    pub(super) whose: Whose,
    limits: ArcSwap<Limits>,
    /// Nanoseconds that statements and transactions may wait.
    patience: AtomicU64,
    pub(super) rate: Rate,
    common: Common,
    pub(super) connections: Arc<Gauge>,
    pub(super) transactions: Arc<Gauge>,
    felt: Totals,
}

impl Limiter {
    pub(super) fn new(whose: Whose, limits: &Limits, common: Common) -> Self {
        let meter = Self {
            whose,
            common,
            limits: ArcSwap::default(),
            patience: AtomicU64::new(0),
            rate: Rate::default(),
            connections: Arc::default(),
            transactions: Arc::default(),
            felt: Totals::default(),
        };
        meter.set(limits);
        meter
    }

    /// Other limits from now on. What is taken stays counted.
    pub(super) fn set(&self, limits: &Limits) {
        let per_second = limits.statements_per_second.unwrap_or(0);
        let burst = limits.burst.filter(|burst| *burst > 0).unwrap_or(per_second);
        self.rate.set(per_second, burst);
        self.connections.set(limits.connections.unwrap_or(0));
        self.transactions.set(limits.transactions.unwrap_or(0));
        self.patience.store(nanos(limits.patience()), Ordering::Relaxed);
        self.limits.store(Arc::new(limits.clone()));
    }

    /// The limits in force.
    pub fn limits(&self) -> Arc<Limits> {
        self.limits.load_full()
    }

    /// How long statements and transactions may wait; zero: they are rejected.
    pub(super) fn patience(&self) -> u64 {
        self.patience.load(Ordering::Relaxed)
    }

    /// Whether it limits anything.
    pub(super) fn is_on(&self) -> bool {
        self.limits.load().is_set()
    }

    /// A statement asks for its turn.
    pub(super) fn turn(self: &Arc<Self>, now: u64) -> Turn {
        if !self.rate.is_on() {
            return Turn::Now;
        }
        if let Some(shared_limiter) = &self.common.shared_limiter {
            match shared_limiter.standing() {
                Standing::Counting if self.rate.is_pressed() => return Turn::Unsettled,
                Standing::Counting | Standing::AwayLocal => {}
                Standing::AwayRefuse => return Turn::Unknown,
            }
        }
        match self.rate.take(now, self.patience()) {
            Ok(wait) => {
                self.owe(self.rate.cost(1));
                if wait == 0 { Turn::Now } else { Turn::After(wait) }
            }
            Err(retry) => Turn::Never(retry),
        }
    }

    /// Statements that run in any case.
    pub(super) fn debit(self: &Arc<Self>, count: u64, now: u64) {
        self.rate.debit(count, now);
        self.owe(self.rate.cost(count));
    }

    /// A turn is given back.
    pub(super) fn refund(self: &Arc<Self>) {
        if self.rate.is_on() {
            self.rate.refund();
            self.owe(-self.rate.cost(1));
        }
    }

    fn owe(self: &Arc<Self>, cost: i64) {
        if let Some(shared_limiter) =
            self.common.shared_limiter.as_ref().filter(|shared_limiter| shared_limiter.is_counting() && cost != 0)
            && self.rate.owe(cost)
        {
            shared_limiter.enlist(self);
        }
    }

    /// Whether its rate is one that proxies share.
    pub(super) fn is_shared(&self) -> bool {
        self.common.shared_limiter.is_some()
    }

    /// A limit's value as it is told, if there is one.
    pub fn value(&self, kind: Kind) -> Option<String> {
        let limits = self.limits.load();
        let number = |n: Option<u64>| n.filter(|n| *n > 0).map(|n| n.to_string());
        let time = |t: Option<std::time::Duration>| t.filter(|t| !t.is_zero()).map(|t| format!("{t:?}"));
        match kind {
            Kind::Connections => number(limits.connections.map(u64::from)),
            Kind::Transactions => number(limits.transactions.map(u64::from)),
            Kind::Statements => number(limits.statements_per_second.map(u64::from)),
            Kind::TransactionTime => time(limits.transaction_timeout),
            Kind::StatementTime => time(limits.statement_timeout),
            Kind::IdleInTransactionTime => time(limits.idle_in_transaction_timeout),
            Kind::IdleTime => time(limits.idle_timeout),
            Kind::ResultRows => number(limits.result_rows),
            Kind::ResultBytes => number(limits.result_bytes),
            Kind::StatementBytes => number(limits.statement_bytes),
        }
    }

    pub(super) fn felt(&self, kind: Kind) -> &Felt {
        self.felt.of(kind)
    }

    pub(super) fn waited(&self, kind: Kind) {
        for totals in [&self.felt, &*self.common.totals] {
            totals.of(kind).waits.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn rejected(&self, kind: Kind) {
        for totals in [&self.felt, &*self.common.totals] {
            totals.of(kind).rejections.fetch_add(1, Ordering::Relaxed);
        }
    }
}
