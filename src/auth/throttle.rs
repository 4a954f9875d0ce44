//! Against guessing: failed tries are counted by address, by login and by both together; each is answered later than the one
//! before, and after too many none is looked at for a while.
//!
//! Names of logins that do not exist are counted like others, so that nothing is told by it. What has served a login well
//! from an address is remembered: others' guesses at the login, or from the address, do not lock it out. Memory is
//! bounded; the least used records go first.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quick_cache::sync::Cache;

/// Records of failures, at most.
const RECORDS: usize = 30_000;
/// Pairs of address and login that are remembered as good.
const GOOD: usize = 10_000;

/// How failures are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureRules {
    /// A failure is answered so much later, the next one twice as much, and so on. Zero: at once.
    pub delay: Duration,
    /// But not later than this.
    pub max_delay: Duration,
    /// So many failures of one address within `window` block it; 0: never.
    pub address_failures: u32,
    /// So many failures of one login within `window` block it, but for addresses where it is known; 0: never.
    pub login_failures: u32,
    /// In which failures are counted.
    pub window: Duration,
    /// For so long no further try is looked at.
    pub block: Duration,
}

impl Default for FailureRules {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(3),
            address_failures: 20,
            login_failures: 200,
            window: Duration::from_secs(600),
            block: Duration::from_secs(60),
        }
    }
}

/// Too many tries failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("blocked after too many failed attempts, for {} s more", .left.as_secs() + 1)]
pub struct Blocked {
    /// For so long.
    pub left: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    /// The name's hash: names of any length may be tried.
    Login(u64),
    Pair(IpAddr, u64),
}

#[derive(Clone, Copy)]
struct Record {
    /// When the first of the counted failures was.
    since: Instant,
    failures: u32,
    blocked_until: Option<Instant>,
}

/// All failed tries of late.
pub struct Throttle {
    records: Cache<Key, Arc<Mutex<Record>>>,
    good: Cache<(IpAddr, u64), ()>,
    hasher: RandomState,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { records: Cache::new(RECORDS), good: Cache::new(GOOD), hasher: RandomState::new() }
    }
}

impl std::fmt::Debug for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Throttle").field("records", &self.records.len()).finish_non_exhaustive()
    }
}

impl Throttle {
    /// Whether a try may be looked at now. To be asked before the client is asked for its proof, and again before the
    /// proof is accepted: of many tries at the same moment no more count than one after the other.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self, address: IpAddr, login: &str, now: Instant) -> Result<(), Blocked> {
        let (address, name) = (network_of(address), self.hasher.hash_one(login));
        self.open(Key::Pair(address, name), now)?;
        // An entry that is looked at stays longer.
        if self.good.get(&(address, name)).is_some() {
            return Ok(());
        }
        self.open(Key::Address(address), now)?;
        self.open(Key::Login(name), now)
    }

    fn open(&self, key: Key, now: Instant) -> Result<(), Blocked> {
        let until = self.records.get(&key).and_then(|record| record.lock().blocked_until);
        match until.and_then(|until| until.checked_duration_since(now)) {
            Some(left) if !left.is_zero() => Err(Blocked { left }),
            Some(_) | None => Ok(()),
        }
    }

    /// Counts a failure; how much later it is to be answered.
    pub fn failed(&self, rules: &FailureRules, address: IpAddr, login: &str, now: Instant) -> Duration {
        let (address, name) = (network_of(address), self.hasher.hash_one(login));
        let counts = [
            self.count(rules, Key::Address(address), rules.address_failures, now),
            self.count(rules, Key::Login(name), rules.login_failures, now),
            self.count(rules, Key::Pair(address, name), rules.address_failures, now),
        ];
        let doublings = counts.into_iter().max().unwrap_or(1).saturating_sub(1).min(20);
        rules.delay.saturating_mul(1 << doublings).min(rules.max_delay)
    }

    fn count(&self, rules: &FailureRules, key: Key, limit: u32, now: Instant) -> u32 {
        let fresh = Record { since: now, failures: 0, blocked_until: None };
        let record =
            self.records.get_or_insert_with(&key, || Ok::<_, std::convert::Infallible>(Arc::new(Mutex::new(fresh))));
        let Ok(record) = record;
        let mut record = record.lock();
        if now.saturating_duration_since(record.since) > rules.window {
            *record = fresh;
        }
        record.failures = record.failures.saturating_add(1);
        if limit > 0 && record.failures >= limit {
            record.blocked_until = Some(now + rules.block);
        }
        record.failures
    }

    /// The login was used from the address by somebody who could prove it.
    pub fn succeeded(&self, address: IpAddr, login: &str) {
        self.good.insert((network_of(address), self.hasher.hash_one(login)), ());
    }
}

/// What counts as one client: whoever has an IPv6 address has 2^64 of them.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: FailureRules = FailureRules {
        delay: Duration::from_millis(100),
        max_delay: Duration::from_millis(500),
        address_failures: 4,
        login_failures: 6,
        window: Duration::from_secs(60),
        block: Duration::from_secs(10),
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn delays_double_and_blocks_end() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let one = ip("10.0.0.1");
        let delays: Vec<_> = (0..4).map(|_| throttle.failed(&RULES, one, "app", start).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 500]);
        assert_eq!(throttle.check(one, "other", start), Err(Blocked { left: RULES.block }));
        assert!(throttle.check(ip("10.0.0.2"), "app", start).is_ok());
        assert!(throttle.check(one, "app", start + RULES.block).is_ok());
        // One more within the window blocks again.
        throttle.failed(&RULES, one, "app", start + RULES.block);
        assert!(throttle.check(one, "app", start + RULES.block).is_err());
        let later = start + Duration::from_secs(120);
        assert_eq!(throttle.failed(&RULES, one, "app", later), RULES.delay);
        assert!(throttle.check(one, "app", later).is_ok());
    }

    #[test]
    fn guesses_from_many_addresses_block_the_login_where_it_is_not_known() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.succeeded(ip("10.9.9.9"), "app");
        for last in 1..=6 {
            throttle.failed(&RULES, ip(&format!("10.0.0.{last}")), "app", now);
        }
        assert!(throttle.check(ip("10.1.1.1"), "app", now).is_err());
        assert!(throttle.check(ip("10.9.9.9"), "app", now).is_ok());
        assert!(throttle.check(ip("10.1.1.1"), "other", now).is_ok());
        // Even a login that does not exist.
        for last in 1..=6 {
            throttle.failed(&RULES, ip(&format!("10.2.0.{last}")), "nobody", now);
        }
        assert!(throttle.check(ip("10.1.1.1"), "nobody", now).is_err());
    }

    #[test]
    fn a_known_login_survives_its_neighbours_but_not_its_own_failures() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let shared = ip("10.0.0.1");
        throttle.succeeded(shared, "good");
        for _ in 0..4 {
            throttle.failed(&RULES, shared, "bad", now);
        }
        assert!(throttle.check(shared, "third", now).is_err());
        assert!(throttle.check(shared, "good", now).is_ok());
        for _ in 0..4 {
            throttle.failed(&RULES, shared, "good", now);
        }
        assert!(throttle.check(shared, "good", now).is_err());
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for last in 1..=4 {
            throttle.failed(&RULES, ip(&format!("2001:db8::{last}")), &format!("l{last}"), now);
        }
        assert!(throttle.check(ip("2001:db8::ffff:1"), "x", now).is_err());
        assert!(throttle.check(ip("2001:db8:0:1::1"), "x", now).is_ok());
        for _ in 0..4 {
            throttle.failed(&RULES, ip("::ffff:10.0.0.1"), "x", now);
        }
        assert!(throttle.check(ip("10.0.0.1"), "y", now).is_err());
    }

    #[test]
    fn zero_turns_blocking_off_and_memory_is_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let off = FailureRules { address_failures: 0, login_failures: 0, delay: Duration::ZERO, ..RULES };
        for _ in 0..1_000 {
            assert_eq!(throttle.failed(&off, ip("10.0.0.1"), "app", now), Duration::ZERO);
        }
        assert!(throttle.check(ip("10.0.0.1"), "app", now).is_ok());
        for number in 0..100_000_u32 {
            throttle.failed(&RULES, IpAddr::V4(number.into()), &number.to_string(), now);
        }
        assert!(throttle.records.len() <= RECORDS as u64 as usize);
    }
}
