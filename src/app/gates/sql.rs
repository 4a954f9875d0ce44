//! The statements by which proxies and whoever moves a tenant agree. Times are the database's own.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::time::Instant;

use crate::base::{TenantName, is_tenant_name};
use crate::config::{GateTables, TenantWrites};
use crate::sql::quote_qualified;
use crate::tenant::Gate;

/// More gates than that are not looked at.
const MAX_GATES: usize = 10_000;
/// So long the rows of proxies are kept that have not said that they are gone.
const KEPT: &str = "1 day";

/// The tables, quoted.
pub(super) struct Tables {
    proxies: String,
    gates: String,
    acks: String,
}

type Outcome<T> = Result<T, tokio_postgres::Error>;

impl Tables {
    pub fn beside(writes: &TenantWrites) -> Self {
        let GateTables { proxies, gates, acks } = GateTables::beside(writes);
        Self { proxies: quote_qualified(&proxies), gates: quote_qualified(&gates), acks: quote_qualified(&acks) }
    }

    /// Says that the proxy is there, and forgets those that have long not said so.
    pub async fn register(&self, client: &ClientWrapper, proxy: &str, lease: Duration, address: &str) -> Outcome<()> {
        let Self { proxies, acks, .. } = self;
        client
            .execute(
                &format!(
                    "INSERT INTO {proxies} (proxy, started_at, lease_until, address) \
                     VALUES ($1, pg_catalog.clock_timestamp(), pg_catalog.clock_timestamp() + $2::text::pg_catalog.interval, $3) \
                     ON CONFLICT (proxy) DO UPDATE SET lease_until = EXCLUDED.lease_until"
                ),
                &[&proxy, &interval(lease), &address],
            )
            .await?;
        client
            .batch_execute(&format!(
                "DELETE FROM {proxies} WHERE lease_until < pg_catalog.now() - INTERVAL '{KEPT}'; \
                 DELETE FROM {acks} AS a WHERE NOT EXISTS (SELECT FROM {proxies} AS p WHERE p.proxy = a.proxy)"
            ))
            .await
    }

    /// Renews the lease. Returns whether there was one.
    pub async fn renew(&self, client: &ClientWrapper, proxy: &str, lease: Duration) -> Outcome<bool> {
        let sql = format!(
            "UPDATE {} SET lease_until = pg_catalog.clock_timestamp() + $2::text::pg_catalog.interval WHERE proxy = $1",
            self.proxies
        );
        Ok(client.execute(&sql, &[&proxy, &interval(lease)]).await? == 1)
    }

    /// The proxy serves nobody any more.
    pub async fn leave(&self, client: &ClientWrapper, proxy: &str) -> Outcome<()> {
        for table in [&self.acks, &self.proxies] {
            client.execute(&format!("DELETE FROM {table} WHERE proxy = $1"), &[&proxy]).await?;
        }
        Ok(())
    }

    /// The gates that are shut.
    pub async fn look(&self, client: &ClientWrapper) -> Outcome<Vec<(TenantName, Gate)>> {
        let sql = format!(
            "SELECT tenant, epoch, reason, travel, \
             (EXTRACT(epoch FROM deadline - pg_catalog.clock_timestamp()) * 1000)::pg_catalog.int8 \
             FROM {} ORDER BY tenant LIMIT {MAX_GATES}",
            self.gates
        );
        let rows = client.query(&sql, &[]).await?;
        let now = Instant::now();
        let mut gates = Vec::new();
        for row in rows {
            let (tenant, left): (String, i64) = (row.try_get(0)?, row.try_get(4)?);
            if is_tenant_name(&tenant) {
                let left = Duration::from_millis(u64::try_from(left).unwrap_or(0).min(MAX_LEFT));
                let reason: String = row.try_get(2)?;
                let gate = Gate {
                    epoch: Some(row.try_get(1)?),
                    reason: Arc::from(reason),
                    deadline: now + left,
                    travel: row.try_get(3)?,
                };
                gates.push((TenantName::new(tenant), gate));
            }
        }
        Ok(gates)
    }

    /// Says that nothing of the tenant is under way here since its gate was shut.
    pub async fn acknowledge(&self, client: &ClientWrapper, proxy: &str, tenant: &str, epoch: i64) -> Outcome<()> {
        let sql = format!(
            "INSERT INTO {} (proxy, tenant, epoch, drained_at) VALUES ($1, $2, $3, pg_catalog.clock_timestamp()) \
             ON CONFLICT (proxy, tenant) DO UPDATE SET epoch = EXCLUDED.epoch, drained_at = EXCLUDED.drained_at",
            self.acks
        );
        client.execute(&sql, &[&proxy, &tenant, &epoch]).await.map(drop)
    }

    /// Takes that back: the gate is open.
    pub async fn withdraw(&self, client: &ClientWrapper, proxy: &str, tenant: &str) -> Outcome<()> {
        let sql = format!("DELETE FROM {} WHERE proxy = $1 AND tenant = $2", self.acks);
        client.execute(&sql, &[&proxy, &tenant]).await.map(drop)
    }

    /// Opens a gate whose deadline has passed.
    pub async fn open_late(&self, client: &ClientWrapper, tenant: &str, epoch: i64) -> Outcome<()> {
        let sql = format!(
            "DELETE FROM {} WHERE tenant = $1 AND epoch = $2 AND deadline <= pg_catalog.clock_timestamp()",
            self.gates
        );
        client.execute(&sql, &[&tenant, &epoch]).await.map(drop)
    }

    /// Shuts a gate from the console. Its epoch is another than all that there were. Returns whether it was open.
    pub async fn shut(&self, client: &ClientWrapper, tenant: &str, time: Duration) -> Outcome<bool> {
        let sql = format!(
            "INSERT INTO {} (tenant, epoch, reason, closed_at, deadline) \
             SELECT $1, (EXTRACT(epoch FROM now) * 1000000)::pg_catalog.int8, 'console', now, now + $2::text::pg_catalog.interval \
             FROM pg_catalog.clock_timestamp() AS now ON CONFLICT (tenant) DO NOTHING",
            self.gates
        );
        Ok(client.execute(&sql, &[&tenant, &interval(time)]).await? == 1)
    }

    /// Opens a gate that was shut from the console. Returns whether it was.
    pub async fn open(&self, client: &ClientWrapper, tenant: &str) -> Outcome<bool> {
        let sql = format!("DELETE FROM {} WHERE tenant = $1 AND reason = 'console'", self.gates);
        Ok(client.execute(&sql, &[&tenant]).await? == 1)
    }
}

/// A deadline further away is looked at again before that.
const MAX_LEFT: u64 = 24 * 3_600_000;

fn interval(time: Duration) -> String {
    format!("{} milliseconds", time.as_millis())
}
