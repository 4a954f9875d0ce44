//! What a tenant, or a login in a tenant, may take at most.

use std::time::Duration;

use crate::base::Secret;

/// What happens to a statement or transaction above its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLimit {
    /// It waits for its turn, at most [`Limits::max_wait`].
    Wait,
    /// It fails at once.
    Reject,
}

/// Limits as written. `None`: not said, the default holds; zero: none, whatever the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at one time.
    pub connections: Option<u32>,
    /// Transactions at one time; a statement outside of a transaction block is one.
    pub transactions: Option<u32>,
    /// Statements in a second, in the long run.
    pub statements_per_second: Option<u32>,
    /// Statements at once after a pause; without it, those of one second.
    pub burst: Option<u32>,
    /// A longer transaction ends its session (25P04).
    pub transaction_timeout: Option<Duration>,
    /// A longer statement is cancelled (57014).
    pub statement_timeout: Option<Duration>,
    /// A transaction that waits longer for its client ends its session (25P03).
    pub idle_in_transaction_timeout: Option<Duration>,
    /// A session that does nothing for longer outside of a transaction is closed (57P05).
    pub idle_timeout: Option<Duration>,
    /// Rows of one result.
    pub result_rows: Option<u64>,
    /// Bytes of the rows of one result, as they go over the wire.
    pub result_bytes: Option<u64>,
    /// Bytes of the text of one statement.
    pub statement_bytes: Option<u64>,
    /// Wait or reject, for transactions and statements per second.
    pub on_limit: Option<OnLimit>,
    /// The longest wait.
    pub max_wait: Option<Duration>,
}

impl Limits {
    /// The longest wait where none is configured.
    pub const MAX_WAIT: Duration = Duration::from_secs(10);

    /// These limits, and `defaults` for those that are not said.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        Self {
            connections: self.connections.or(defaults.connections),
            transactions: self.transactions.or(defaults.transactions),
            statements_per_second: self.statements_per_second.or(defaults.statements_per_second),
            // A burst belongs to its rate: the default's means nothing beside another rate.
            burst: self.burst.or(defaults.burst.filter(|_| self.statements_per_second.is_none())),
            transaction_timeout: self.transaction_timeout.or(defaults.transaction_timeout),
            statement_timeout: self.statement_timeout.or(defaults.statement_timeout),
            idle_in_transaction_timeout: self.idle_in_transaction_timeout.or(defaults.idle_in_transaction_timeout),
            idle_timeout: self.idle_timeout.or(defaults.idle_timeout),
            result_rows: self.result_rows.or(defaults.result_rows),
            result_bytes: self.result_bytes.or(defaults.result_bytes),
            statement_bytes: self.statement_bytes.or(defaults.statement_bytes),
            on_limit: self.on_limit.or(defaults.on_limit),
            max_wait: self.max_wait.or(defaults.max_wait),
        }
    }

    /// Whether anything is limited.
    pub fn is_set(&self) -> bool {
        let counts = [self.connections, self.transactions, self.statements_per_second];
        let times =
            [self.transaction_timeout, self.statement_timeout, self.idle_in_transaction_timeout, self.idle_timeout];
        let sizes = [self.result_rows, self.result_bytes, self.statement_bytes];
        counts.into_iter().flatten().any(|count| count > 0)
            || times.into_iter().flatten().any(|time| !time.is_zero())
            || sizes.into_iter().flatten().any(|size| size > 0)
    }

    /// How long a statement or transaction may wait for its turn; zero: it is rejected.
    pub fn patience(&self) -> Duration {
        match self.on_limit {
            Some(OnLimit::Reject) => Duration::ZERO,
            Some(OnLimit::Wait) | None => self.max_wait.unwrap_or(Self::MAX_WAIT),
        }
    }
}

/// `[limits.shared]`: rates that several proxies hold together, counted by a Redis or Valkey server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLimits {
    /// `redis://`, `rediss://` or `unix://`; it may hold a password.
    pub url: Secret,
    /// Where that is, for people.
    pub address: String,
    /// The password, if it does not stand in the URL.
    pub password: Option<Secret>,
    /// PEM: whom `rediss://` trusts; without it, whom the system trusts.
    pub root_cert: Option<Vec<u8>>,
    /// What holds while the server is away.
    pub when_away: WhenAway,
    /// An answer that takes longer does not come.
    pub timeout: Duration,
    /// What all keys begin with: proxies with the same prefix share.
    pub prefix: String,
}

/// What holds while nobody knows what other proxies take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenAway {
    /// Each proxy holds the whole limit by itself.
    Local,
    /// What has such a limit is refused.
    Refuse,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_comes_from_the_defaults() {
        let defaults = Limits {
            connections: Some(50),
            statements_per_second: Some(100),
            burst: Some(500),
            on_limit: Some(OnLimit::Reject),
            ..Limits::default()
        };
        let own = Limits { connections: Some(0), result_rows: Some(7), ..Limits::default() }.or(&defaults);
        assert_eq!((own.connections, own.result_rows, own.burst), (Some(0), Some(7), Some(500)));
        assert_eq!(own.patience(), Duration::ZERO);
        let own = Limits { statements_per_second: Some(5), on_limit: Some(OnLimit::Wait), ..Limits::default() };
        let own = own.or(&defaults);
        assert_eq!((own.statements_per_second, own.burst), (Some(5), None));
        assert_eq!(own.patience(), Limits::MAX_WAIT);
    }
}
