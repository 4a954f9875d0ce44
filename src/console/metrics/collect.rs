//! All metrics, collected at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::config::{Config, Measure, Role, Upstream};
use crate::guard::{WitnessCounts, witness_counts};
use crate::observe::refusals::{self, Enforced};
use crate::pool::{PoolStats, Pools};
use crate::session::{Doing, SessionHandle, SharedState};
use crate::tenant::Target;
use crate::usage::{Account, Counts};

/// In the place of a tenant's name; no tenant can be called like this.
const NOBODY: &str = "(none)";
/// The tenants together that have no series of their own.
const OTHERS: &str = "(others)";

/// Where the numbers are.
pub struct Sources {
    shared: Arc<SharedState>,
    pools: Pools,
    main: Option<Arc<Upstream>>,
    max_tenants: usize,
    draining: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Sources {
    /// The numbers of a proxy. At most `max_tenants` tenants get series of their own. `draining`: no more clients are accepted.
    pub fn new(
        shared: Arc<SharedState>,
        pools: Pools,
        config: &Config,
        max_tenants: usize,
        draining: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let main = config.upstreams.get(&config.tenancy.upstream).cloned();
        Self { shared, pools, main, max_tenants, draining: Box::new(draining) }
    }

    /// Why clients should be sent elsewhere; `None` if they are welcome here.
    pub fn unready(&self) -> Option<&'static str> {
        if (self.draining)() {
            return Some("draining");
        }
        let main = self.main.as_ref()?;
        match self.shared.upstreams.open(main, &main.database) {
            Err(_) => Some("the upstream cannot be used"),
            // Its catalog is what statements are guarded by.
            Ok(upstream) if upstream.guard.policy().epoch == 0 => Some("the catalog has not been read"),
            Ok(_) => None,
        }
    }

    fn sessions(&self, out: &mut Out<'_>) -> fmt::Result {
        let (mut idle, mut waiting, mut active) = (0, 0, 0);
        for handle in self.shared.directory.all() {
            match handle.doing().0 {
                Doing::Idle => idle += 1,
                Doing::Waiting => waiting += 1,
                Doing::Active => active += 1,
            }
        }
        let states = [("idle", idle), ("waiting", waiting), ("active", active)];
        out.gauges(
            "clients",
            "Client connections, by whether they have a server connection",
            states.map(|(state, count)| ([("state", state)], count)),
        )?;
        let limit = u64::try_from(self.shared.max_connections).unwrap_or(u64::MAX);
        out.gauges("clients_limit", "Client connections that are accepted at one time", [(NO_LABELS, limit)])?;
        refused(out)?;
        self.observed(out)?;
        out.counters("logins_refused", "Logins that were turned away", [(NO_LABELS, refusals::logins())])?;
        witness(out)
    }

    /// For whom nothing is enforced, and what would have been refused.
    fn observed(&self, out: &mut Out<'_>) -> fmt::Result {
        let registry = self.shared.registry.load();
        let logins = registry.logins().filter(|login| login.role == Role::Observed).count() as u64;
        out.gauges("observed_logins", "Logins for which NOTHING is enforced", [(NO_LABELS, logins)])?;
        let is_observed = |handle: &Arc<SessionHandle>| {
            handle.occupant().is_some_and(|it| matches!(it.target, Target::Observed { .. }))
        };
        let sessions = self.shared.directory.all().iter().filter(|it| is_observed(it)).count() as u64;
        out.gauges("observed_sessions", "Sessions for which NOTHING is enforced", [(NO_LABELS, sessions)])?;
        let not_judged = [(NO_LABELS, refusals::not_judged())];
        out.counters(
            "observed_not_judged",
            "Observed statements that were too long to be looked at, or whose rows could not be asked for",
            not_judged,
        )?;
        refusals_of(out, Enforced::Observed, &OBSERVED)
    }

    fn pools(&self, out: &mut Out<'_>) -> fmt::Result {
        let stats = self.pools.stats();
        let connections = stats.iter().flat_map(|it| {
            let states = [("active", it.active), ("idle", it.idle), ("connecting", it.connecting)];
            states.map(|(state, count)| ([pool(it), user(it), database(it), ("state", state)].to_vec(), count as u64))
        });
        out.gauges("server_connections", "Server connections of a pool", connections)?;
        let (open, cap) = self.pools.connections();
        out.gauges("server_connections_open", "Server connections of all pools", [(NO_LABELS, open as u64)])?;
        out.gauges("server_connections_limit", "Cap on server connections of all pools", [(NO_LABELS, cap as u64)])?;
        let gauges: [Family; 3] = [
            ("pool_size", "Server connections that a pool may have", |it| it.size as u64),
            ("pool_waiting_clients", "Clients that wait for a server connection", |it| it.waiting as u64),
            ("pool_paused", "1 if an operator paused the pool", |it| u64::from(it.paused)),
        ];
        for (name, help, value) in gauges {
            out.gauges(name, help, stats.iter().map(|it| (labels(it), value(it))))?;
        }
        let counters: [Family; 5] = [
            ("pool_checkouts", "Server connections handed to clients", |it| it.checkouts),
            ("pool_waits", "Checkouts that had to wait", |it| it.waits),
            ("pool_wait_timeouts", "Checkouts that waited in vain", |it| it.wait_timeouts),
            ("pool_connects", "Server connections opened", |it| it.connects),
            ("pool_connect_failures", "Server connections that could not be opened", |it| it.connect_failures),
        ];
        for (name, help, value) in counters {
            out.counters(name, help, stats.iter().map(|it| (labels(it), value(it))))?;
        }
        let waited = stats.iter().map(|it| (labels(it), it.total_wait.as_secs_f64()));
        out.seconds("pool_wait_seconds", "Time that clients waited for server connections", waited)
    }

    fn usage(&self, out: &mut Out<'_>) -> fmt::Result {
        let rows = self.accounts();
        let counters: [(Measure, &str, &str); 6] = [
            (Measure::Transactions, "transactions", "Transactions, implicit ones included"),
            (Measure::Statements, "statements", "Statements that ran on a server"),
            (Measure::RowsRead, "rows_read", "Rows sent to clients"),
            (Measure::RowsWritten, "rows_written", "Rows inserted, updated, deleted, merged or copied in"),
            (Measure::BytesIn, "bytes_in", "Bytes that clients sent"),
            (Measure::BytesOut, "bytes_out", "Bytes that clients were sent"),
        ];
        for (measure, name, help) in counters {
            out.counters(name, help, rows.iter().map(|(name, used)| ([("tenant", name.as_str())], used.get(measure))))?;
        }
        let busy = rows.iter().map(|(name, used)| ([("tenant", name.as_str())], used.busy_micros as f64 / 1e6));
        out.seconds("busy_seconds", "Time during which a server owed clients a reply", busy)?;
        let accounts = self.own();
        let standings = accounts.iter().filter_map(|account| {
            let name = account.tenant()?.as_str();
            Some(([("tenant", name)], account.standing() as u64))
        });
        let help = "0: within the quota, 1: above a soft bound, 2: writes are refused, 3: all statements are";
        out.gauges("quota_state", help, standings)
    }

    fn limits(&self, out: &mut Out<'_>) -> fmt::Result {
        let book = &self.shared.limiters;
        let felt: Vec<_> = book.totals().collect();
        let waits = felt.iter().map(|(kind, waits, _)| ([("limit", kind.name())], *waits));
        out.counters("limit_waits", "Connections, transactions and statements that waited for a limit", waits)?;
        let rejections = felt.iter().map(|(kind, _, rejections)| ([("limit", kind.name())], *rejections));
        out.counters("limit_rejections", "What was turned away, cancelled or ended by a limit", rejections)?;
        let Some(shared_limiter) = book.shared_limiter() else { return Ok(()) };
        let counting = [(NO_LABELS, u64::from(shared_limiter.is_counting()))];
        out.gauges("limits_shared", "1 while the server is there that counts for all proxies", counting)?;
        let absences = [(NO_LABELS, shared_limiter.absences())];
        out.counters("limits_shared_absences", "How often that server was found away", absences)
    }

    /// The tenants that have series of their own: those that came first, so that no series ever decreases.
    fn own(&self) -> Vec<Arc<Account>> {
        let mut accounts = self.shared.ledger.accounts();
        accounts.truncate(self.max_tenants);
        accounts
    }

    fn accounts(&self) -> Vec<(String, Counts)> {
        let mut rows = vec![(NOBODY.to_owned(), self.shared.ledger.nobody().totals())];
        let mut others = Counts::default();
        for (number, account) in self.shared.ledger.accounts().iter().enumerate() {
            match account.tenant() {
                Some(tenant) if number < self.max_tenants => rows.push((tenant.to_string(), account.totals())),
                Some(_) | None => others.add(&account.totals()),
            }
        }
        if !others.is_zero() {
            rows.push((OTHERS.to_owned(), others));
        }
        rows
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let version = [([("version", env!("CARGO_PKG_VERSION"))], 1)];
        out.gauges("build_info", "1, with the version as label", version)?;
        self.sessions(&mut out)?;
        self.pools(&mut out)?;
        self.usage(&mut out)?;
        self.limits(&mut out)
    }
}

/// So many refusals have series of their own.
const MAX_OBJECTS: usize = 100;

/// Name and help of three families: by SQLSTATE, by login, by object.
type Refusals = [(&'static str, &'static str); 3];

const REFUSED: Refusals = [
    ("refusals", "Statements that pgwarden refused"),
    ("refusals_by_login", "The same by login and tenant"),
    ("refusals_by_object", "The same by what they are about and the statement: the most frequent"),
];

const OBSERVED: Refusals = [
    (
        "observed_refusals",
        "Statements of observed logins that were sent, and that the guard refuses, or of other tenants' rows",
    ),
    ("observed_refusals_by_login", "The same by login and tenant"),
    ("observed_refusals_by_object", "The same by what they are about and the statement: the most frequent"),
];

/// What was refused.
fn refused(out: &mut Out<'_>) -> fmt::Result {
    refusals_of(out, Enforced::Refused, &REFUSED)
}

fn refusals_of(out: &mut Out<'_>, enforced: Enforced, [by_code, by_login, by_object]: &Refusals) -> fmt::Result {
    let codes = refusals::by_code(enforced);
    let samples = codes.iter().map(|(code, kind, count)| ([("sqlstate", code.as_str()), ("kind", kind)], *count));
    out.counters(by_code.0, by_code.1, samples)?;
    let parties = refusals::by_party(enforced);
    let samples = parties.iter().map(|(login, tenant, kind, count)| {
        let tenant = if tenant.is_empty() { NOBODY } else { tenant.as_str() };
        ([("login", login.as_str()), ("tenant", tenant), ("kind", kind)], *count)
    });
    out.counters(by_login.0, by_login.1, samples)?;
    let seen: Vec<_> =
        refusals::most_frequent().into_iter().filter(|it| it.enforced == enforced).take(MAX_OBJECTS).collect();
    let samples = seen
        .iter()
        .map(|it| ([("kind", it.kind.as_str()), ("object", &*it.object), ("fingerprint", &*it.fingerprint)], it.count));
    out.counters(by_object.0, by_object.1, samples)
}

/// What the second grammar said of statements that were planned.
fn witness(out: &mut Out<'_>) -> fmt::Result {
    let WitnessCounts { covered, uncovered, abstained } = witness_counts();
    let said = [("covered", covered), ("uncovered", uncovered)];
    out.counters(
        "witness_readings",
        "Statement texts that the witness read, by whether it found each tenant relation covered",
        said.map(|(said, count)| ([("said", said)], count)),
    )?;
    let abstained = abstained.into_iter().map(|(reason, count)| ([("reason", reason)], count));
    out.counters("witness_abstentions", "Statement texts of which the witness says nothing, by reason", abstained)
}

/// Name, help, and the value of a pool.
type Family = (&'static str, &'static str, fn(&PoolStats) -> u64);

const NO_LABELS: [(&str, &str); 0] = [];

fn pool(stats: &PoolStats) -> (&'static str, &str) {
    ("upstream", stats.key.upstream.as_str())
}

fn user(stats: &PoolStats) -> (&'static str, &str) {
    ("user", &stats.key.user)
}

fn database(stats: &PoolStats) -> (&'static str, &str) {
    ("database", &stats.key.database)
}

fn labels(stats: &PoolStats) -> [(&'static str, &str); 3] {
    [pool(stats), user(stats), database(stats)]
}

/// Writes families of metrics.
struct Out<'e>(DescriptorEncoder<'e>);

impl Out<'_> {
    fn counters<'l, L: AsRef<[(&'l str, &'l str)]>>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            one(&mut family, labels.as_ref(), |it| it.encode_counter::<NoLabelSet, _, u64>(&value, None))?;
        }
        Ok(())
    }

    fn seconds<'l, L: AsRef<[(&'l str, &'l str)]>>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            one(&mut family, labels.as_ref(), |it| it.encode_counter::<NoLabelSet, _, u64>(&value, None))?;
        }
        Ok(())
    }

    fn gauges<'l, L: AsRef<[(&'l str, &'l str)]>>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            one(&mut family, labels.as_ref(), |it| it.encode_gauge(&value))?;
        }
        Ok(())
    }
}

/// One sample of a family; one without labels is the family itself.
fn one(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str)],
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() {
        return encode(family);
    }
    encode(&mut family.encode_family(&labels.to_vec())?)
}
