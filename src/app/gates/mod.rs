//! This proxy's part in moves of tenants: it says that it is there, shuts gates when it is told to, says when nothing of a tenant is
//! under way any more, and opens them where the tenant lives then.
//!
//! Whoever moves a tenant relies on each proxy whose lease has not run out. So a proxy that cannot renew its own refuses those
//! tenants before it has, until it has read again which gates are shut and where tenants live.

mod console;
mod drain;
mod lease;
mod sql;
mod table;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt as _;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use self::lease::Lease;
use self::sql::Tables;
pub(super) use self::table::GatesTable;
use super::reload::Reloader;
use super::tenants::SourceError;
use crate::base::TenantName;
use crate::config::{Config, GATE_CHANNEL, Moves, TenantsFrom, Upstream};
use crate::control::{Listening, connect, hear, listen_to};
use crate::session::SharedState;
use crate::tenant::table::{ReadError, read};
use crate::tenant::{Gate, Gates};

/// The pause after a failure.
const RETRY: Duration = Duration::from_millis(250);
/// The table of tenants may take so long to be read.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// A new place is got ready for so long before its tenant's clients go there.
const READY: Duration = Duration::from_secs(5);
/// At its end the proxy says so within this time, or not.
const FAREWELL: Duration = Duration::from_secs(2);

/// Keeps the gates.
pub(super) struct GateKeeper {
    reloader: Arc<Reloader>,
    shared: Arc<SharedState>,
    /// This run of this process.
    proxy: String,
    lease: Lease,
    /// Counts configurations.
    configured: watch::Sender<u64>,
    /// Something is to be done: a tenant is drained, or the lease is held again.
    wake: Notify,
    /// Gates are known, or need not be.
    known: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What takes part.
pub(super) struct Part {
    config: Arc<Config>,
    from: TenantsFrom,
    moves: Moves,
    upstream: Arc<Upstream>,
    tables: Tables,
}

impl Part {
    /// A statement may take so long, so that a lease is renewed in time.
    fn beat(&self) -> Duration {
        self.moves.lease / 3
    }

    async fn within<T>(
        &self,
        question: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, SourceError> {
        let outcome = timeout(self.beat(), question).await.map_err(|_| SourceError::Lost)?;
        outcome.map_err(|error| SourceError::Read(ReadError::Postgres(error)))
    }
}

impl GateKeeper {
    /// Begins. Must be called within a tokio runtime.
    pub fn start(reloader: Arc<Reloader>, shared: Arc<SharedState>) -> Arc<Self> {
        let keeper = Arc::new(Self {
            reloader,
            shared,
            proxy: format!("{:032x}", rand::rng().random::<u128>()),
            lease: Lease::default(),
            configured: watch::Sender::new(0),
            wake: Notify::new(),
            known: watch::Sender::new(false),
            tasks: Mutex::default(),
        });
        if keeper.reloader.config().moves.is_some() {
            // Nobody waits for a proxy that has not said that it is there.
            keeper.lose();
        }
        let tasks = vec![
            tokio::spawn(Arc::clone(&keeper).hold_lease()),
            tokio::spawn(Arc::clone(&keeper).watch_lease()),
            tokio::spawn(Arc::clone(&keeper).run()),
        ];
        *keeper.tasks.lock() = tasks;
        keeper
    }

    /// Waits until gates are known, but no longer than this.
    pub async fn registered(&self, time: Duration) {
        let mut known = self.known.subscribe();
        let _known = timeout(time, known.wait_for(|known| *known)).await;
    }

    /// The configuration was replaced.
    pub fn config_changed(&self) {
        self.configured.send_modify(|number| *number += 1);
    }

    /// Says that the proxy is gone. All sessions have ended.
    pub async fn stop(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        let Some(part) = self.part().filter(|_| self.lease.is_held()) else { return };
        let leave = async {
            let client = connect(&part.upstream, "pgwarden gates").await?;
            part.within(part.tables.leave(&client, &self.proxy)).await
        };
        if !matches!(timeout(FAREWELL, leave).await, Ok(Ok(()))) {
            warn!("the proxy could not say that it is gone: whoever moves a tenant waits until its lease has run out");
        }
    }

    fn gates(&self) -> &Arc<Gates> {
        self.shared.directory.gates()
    }

    /// What takes part by the configuration in force.
    fn part(&self) -> Option<Part> {
        let config = self.reloader.config();
        let (from, moves) = (config.tenants_from.clone()?, config.moves?);
        let upstream = config.upstreams.get(&from.upstream)?.clone();
        let tables = Tables::beside(&from.writes);
        Some(Part { config, from, moves, upstream, tables })
    }

    /// Nobody knows which gates are shut.
    fn lose(&self) {
        self.gates().lose(self.reloader.tenants_of_file());
        self.ring(self.shared.directory.all().iter());
    }

    fn ring<'h>(&self, handles: impl Iterator<Item = &'h Arc<crate::session::SessionHandle>>) {
        handles.for_each(|handle| handle.ring());
    }

    async fn run(self: Arc<Self>) {
        let mut configured = self.configured.subscribe();
        let mut failing = false;
        loop {
            configured.borrow_and_update();
            let Some(part) = self.part() else {
                self.take_no_part();
                // It lives as long as this does.
                let _ = configured.changed().await;
                continue;
            };
            self.gates().set_serve_moves(true);
            match self.watch_gates(&part, &mut configured, &mut failing).await {
                Ok(()) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        error!(upstream = %part.upstream.name, %error, "gates of tenants cannot be read");
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }

    fn take_no_part(self: &Arc<Self>) {
        self.gates().set_serve_moves(false);
        self.known.send_replace(true);
        let shared: Vec<_> =
            self.gates().view().into_iter().filter(|it| it.gate.epoch.is_some()).map(|it| it.tenant).collect();
        self.open(&shared);
        if self.gates().regain() {
            self.ring(self.shared.directory.all().iter());
        }
    }

    /// Looks at the gates again and again over one connection, until that fails or the configuration is another.
    async fn watch_gates(
        self: &Arc<Self>,
        part: &Part,
        configured: &mut watch::Receiver<u64>,
        failing: &mut bool,
    ) -> Result<(), SourceError> {
        let mut connection = hear(&part.upstream, "pgwarden gates").await?;
        let settings = format!("{}SET statement_timeout = {}", listen_to(GATE_CHANNEL), part.beat().as_millis());
        part.within(connection.client.batch_execute(&settings)).await?;
        let mut acknowledged = HashMap::new();
        let mut looks_at_all = true;
        loop {
            let gates = part.within(part.tables.look(&connection.client)).await?;
            if std::mem::replace(failing, false) {
                info!(upstream = %part.upstream.name, "gates of tenants are read again");
            }
            self.apply(part, &connection, gates, looks_at_all).await?;
            looks_at_all = false;
            self.acknowledge(part, &connection, &mut acknowledged).await?;
            if self.wait_for_reason(part, &mut connection, configured).await? {
                return Ok(());
            }
        }
    }

    /// Waits until there is reason to look at the gates. Returns whether the configuration is another.
    async fn wait_for_reason(
        &self,
        part: &Part,
        connection: &mut Listening,
        configured: &mut watch::Receiver<u64>,
    ) -> Result<bool, SourceError> {
        let again = Instant::now() + part.beat();
        let deadline =
            self.gates().view().into_iter().filter(|it| it.gate.epoch.is_some()).map(|it| it.gate.deadline).min();
        // One that has passed may be put off meanwhile.
        let deadline = deadline.map_or(again, |at| at.max(Instant::now() + RETRY).min(again));
        tokio::select! {
            () = sleep_until(deadline) => {}
            () = self.wake.notified() => {}
            told = connection.notified.recv() => {
                told.ok_or(SourceError::Lost)?;
                while connection.notified.try_recv().is_ok() {}
            }
            changed = configured.changed() => return Ok(changed.is_ok()),
        }
        Ok(false)
    }

    /// Shuts gates that are to be shut, and opens those that are not.
    async fn apply(
        self: &Arc<Self>,
        part: &Part,
        connection: &Listening,
        gates: Vec<(TenantName, Gate)>,
        looks_at_all: bool,
    ) -> Result<(), SourceError> {
        let now = Instant::now();
        let mut opens = looks_at_all || (self.gates().are_unknown() && self.lease.is_held());
        let shared = self.gates().view().into_iter().filter(|it| it.gate.epoch.is_some());
        opens |= shared.into_iter().any(|it| !gates.iter().any(|(tenant, _)| *tenant == it.tenant));
        for (tenant, gate) in gates {
            if let (Some(epoch), true) = (gate.epoch, gate.deadline <= now) {
                part.within(part.tables.open_late(&connection.client, tenant.as_str(), epoch)).await?;
                opens = true;
            }
            self.shut(&tenant, gate);
        }
        if opens { self.look_at_all(part, connection).await } else { Ok(()) }
    }

    /// Reads gates and tenants as they are at one moment: first tenants are where they live now, then gates open.
    async fn look_at_all(self: &Arc<Self>, part: &Part, connection: &Listening) -> Result<(), SourceError> {
        let before = self.lease.losses();
        let held = self.lease.is_held();
        let client = &connection.client;
        let gates = {
            let _turn = self.reloader.turn_to_load().await;
            let begin = format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {}",
                LOAD_TIMEOUT.as_millis()
            );
            part.within(client.batch_execute(&begin)).await?;
            let gates = part.within(part.tables.look(client)).await?;
            let rows = read(client, &part.from.query).await?;
            part.within(client.batch_execute("COMMIT")).await?;
            let reloader = Arc::clone(&self.reloader);
            let taken = tokio::task::spawn_blocking(move || reloader.take_rows(rows)).await;
            taken.map_err(|_| SourceError::Interrupted)?;
            gates
        };
        let is_shut = |tenant: &TenantName| gates.iter().any(|(shut, _)| shut == tenant);
        let shared = self.gates().view().into_iter().filter(|it| it.gate.epoch.is_some()).map(|it| it.tenant);
        let gone: Vec<_> = shared.filter(|tenant| !is_shut(tenant)).collect();
        self.make_ready(&gone).await;
        for tenant in &gone {
            part.within(part.tables.withdraw(client, &self.proxy, tenant.as_str())).await?;
        }
        self.open(&gone);
        for (tenant, gate) in gates {
            self.shut(&tenant, gate);
        }
        // What was read while the lease was held, all of the time, is how things are.
        if held && self.lease.is_held() && self.lease.losses() == before {
            if self.gates().regain() {
                info!("the proxy takes part in moves of tenants");
                self.ring(self.shared.directory.all().iter());
            }
            self.known.send_replace(true);
        }
        Ok(())
    }

    /// Tells of tenants that have nothing under way.
    async fn acknowledge(
        &self,
        part: &Part,
        connection: &Listening,
        told: &mut HashMap<TenantName, i64>,
    ) -> Result<(), SourceError> {
        let drained = self.gates().view().into_iter().filter(|it| it.drained);
        let drained: HashMap<_, _> = drained.filter_map(|it| Some((it.tenant, it.gate.epoch?))).collect();
        told.retain(|tenant, epoch| drained.get(tenant) == Some(epoch));
        for (tenant, epoch) in drained {
            if told.get(&tenant) != Some(&epoch) {
                let tell = part.tables.acknowledge(&connection.client, &self.proxy, tenant.as_str(), epoch);
                part.within(tell).await?;
                told.insert(tenant, epoch);
            }
        }
        Ok(())
    }

    /// Gets the places ready that tenants live in now: what is known of a database takes a while to be read.
    async fn make_ready(&self, tenants: &[TenantName]) {
        let ready = tenants.iter().map(|name| async move {
            let registry = self.shared.registry.load();
            let Some(tenant) = registry.tenant(name.as_str()) else { return };
            let Ok(place) = self.shared.upstreams.open(&tenant.upstream, &tenant.upstream.database) else { return };
            if place.guard.policy().epoch == 0 {
                place.catalog.refresh().await;
            }
        });
        // Else the sessions do it, each for itself.
        let _ready = timeout(READY, futures_util::future::join_all(ready)).await;
    }
}
