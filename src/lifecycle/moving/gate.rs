//! A tenant's gate: shut, no proxy sends anything of it to a server, until it is opened or its deadline has passed.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::GateTables;
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::lifecycle::operations::no_table;
use crate::sql::quote_qualified;

/// Acknowledgements are looked for so often.
const POLL: Duration = Duration::from_millis(10);
/// Who has said nothing by then is named, before the time is up.
const IN_GOOD_TIME: Duration = Duration::from_millis(100);

/// A gate that is shut.
pub(super) struct Gate<'a> {
    admin: &'a Admin,
    tables: &'a GateTables,
    tenant: &'a str,
    pub epoch: i64,
    pub shut_at: Instant,
    /// Proxies open it then themselves. By this clock it is a little earlier than by theirs.
    pub deadline: Instant,
}

/// Proxies that take part, as far as their leases tell.
pub(super) async fn proxies(admin: &Admin, tables: &GateTables) -> Result<i64, LifecycleError> {
    let sql =
        format!("SELECT count(*) FROM {} WHERE lease_until > clock_timestamp()", quote_qualified(&tables.proxies));
    Ok(admin.value::<i64>(&sql, &[]).await.map_err(no_table)?.unwrap_or_default())
}

/// A move waits for proxies, or there are none.
pub(super) async fn refuse_unfit(
    admin: &Admin,
    tables: &GateTables,
    without_proxies: bool,
) -> Result<(), LifecycleError> {
    match (proxies(admin, tables).await?, without_proxies) {
        (0, false) => Err(LifecycleError::refused(
            "no proxy takes part in moves: none could be told to hold the tenant's statements back",
            "every proxy needs a section [moves]; where none serves the tenant, say --no-proxies",
        )),
        (1.., true) => Err(LifecycleError::refused(
            "proxies take part in moves and serve the tenant",
            "leave --no-proxies out: the move waits for them",
        )),
        _ => Ok(()),
    }
}

impl<'a> Gate<'a> {
    /// Shuts the gate for at most so long.
    pub async fn shut(
        admin: &'a Admin,
        tables: &'a GateTables,
        tenant: &'a str,
        limit: Duration,
        sessions_go_on: bool,
    ) -> Result<Self, LifecycleError> {
        let (gates, acks, moves) =
            (quote_qualified(&tables.gates), quote_qualified(&tables.acks), quote_qualified(&tables.moves()));
        let gone = format!("DELETE FROM {gates} WHERE tenant = $1 AND deadline <= clock_timestamp()");
        admin.rows(&gone, &[&tenant]).await?;
        let sql = format!(
            "INSERT INTO {gates} (tenant, epoch, reason, closed_at, deadline, travel) \
             SELECT $1, 1 + greatest((SELECT max(epoch) FROM {gates}), (SELECT max(epoch) FROM {acks}), (SELECT max(epoch) FROM {moves}), 0), \
             'move', t.now, t.now + $2::float8 * interval '1 millisecond', $3 FROM (SELECT clock_timestamp() AS now) t \
             ON CONFLICT (tenant) DO NOTHING RETURNING epoch"
        );
        let shut_at = Instant::now();
        let millis = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        let epoch = admin.value::<i64>(&sql, &[&tenant, &f64::from(millis), &sessions_go_on]).await?;
        let Some(epoch) = epoch else {
            return Err(LifecycleError::refused(
                format!("the gate of tenant \"{tenant}\" is shut already"),
                "PAUSE TENANT on a console, or a move that was killed: wait for its deadline, or RESUME TENANT",
            ));
        };
        Ok(Self { admin, tables, tenant, epoch, shut_at, deadline: shut_at + limit })
    }

    /// Waits until nothing of the tenant is under way at any proxy. Returns how many said so.
    pub async fn drained(&self) -> Result<i64, LifecycleError> {
        let (proxies, acks) = (quote_qualified(&self.tables.proxies), quote_qualified(&self.tables.acks));
        // Whose lease ran out refuses the tenant by itself.
        let sql = format!(
            "SELECT p.proxy, p.address, a.proxy IS NOT NULL FROM {proxies} p \
             LEFT JOIN {acks} a ON a.proxy = p.proxy AND a.tenant = $1 AND a.epoch = $2 WHERE p.lease_until > clock_timestamp()"
        );
        loop {
            let rows = self.admin.rows(&sql, &[&self.tenant, &self.epoch]).await?;
            let failed = |error| self.admin.failed(error);
            let (mut done, mut open) = (0, Vec::new());
            for row in &rows {
                match row.try_get(2).map_err(failed)? {
                    true => done += 1,
                    false => {
                        let (proxy, address): (&str, &str) =
                            (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
                        open.push(format!("{proxy} ({address})"));
                    }
                }
            }
            if open.is_empty() {
                return Ok(done);
            }
            if Instant::now() + IN_GOOD_TIME >= self.deadline {
                return Err(LifecycleError::refused(
                    format!(
                        "what tenant \"{}\" has under way did not end in time at: {}",
                        self.tenant,
                        open.join(", ")
                    ),
                    "a long transaction of the tenant: try again when it has ended, or with a longer --max-pause; a proxy that is gone: when \
                     its lease has run out",
                ));
            }
            sleep(POLL).await;
        }
    }

    /// Opens it where the tenant lives still.
    pub async fn open(&self) -> Result<(), LifecycleError> {
        open(self.admin, self.tables, self.tenant, self.epoch).await
    }

    /// In a transaction: it stays shut until that ends.
    pub async fn hold(&self) -> Result<(), LifecycleError> {
        let gates = quote_qualified(&self.tables.gates);
        let sql =
            format!("SELECT deadline > clock_timestamp() FROM {gates} WHERE tenant = $1 AND epoch = $2 FOR UPDATE");
        match self.admin.value::<bool>(&sql, &[&self.tenant, &self.epoch]).await? {
            Some(true) => Ok(()),
            Some(false) | None => Err(too_long()),
        }
    }
}

/// Opens the gate that a move shut.
pub(super) async fn open(admin: &Admin, tables: &GateTables, tenant: &str, epoch: i64) -> Result<(), LifecycleError> {
    let sql = format!("DELETE FROM {} WHERE tenant = $1 AND epoch = $2", quote_qualified(&tables.gates));
    admin.rows(&sql, &[&tenant, &epoch]).await.map(drop)
}

/// The deadline has passed, and proxies have opened the gate.
pub(super) fn too_long() -> LifecycleError {
    LifecycleError::refused(
        "it took longer than the gate may be shut",
        "the tenant is served where it was; try again with a longer --max-pause, or when less is going on",
    )
}
