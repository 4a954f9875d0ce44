//! The usage table, reached through a connection of the control plane.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use time::Date;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::backlog::Batch;
use super::counts::Counts;
use super::sql::Sql;
use crate::base::TenantName;
use crate::config::{MEASURES, QuotaConfig, Upstream};
use crate::control::{AsRole, ControlError, Pool, PoolLimits};

/// For one exchange with the server.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why the table cannot be used. For logs and operators: it may name hosts and roles.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The table is not there.
    #[error("{0}: make it with `pgwarden usage --init`")]
    NoTable(ControlError),
    /// The role may not use it.
    #[error("{0}: `pgwarden usage --ddl` prints the rights that pgwarden's role needs")]
    Denied(ControlError),
    /// No connection, or the server refused or broke off.
    #[error(transparent)]
    Postgres(ControlError),
    /// It took longer than it may.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl From<ControlError> for StoreError {
    fn from(error: ControlError) -> Self {
        let code = match &error {
            ControlError::Postgres(error) => error.code().cloned(),
            _ => None,
        };
        match code {
            Some(code) if code == SqlState::UNDEFINED_TABLE || code == SqlState::UNDEFINED_COLUMN => {
                StoreError::NoTable(error)
            }
            Some(code) if code == SqlState::INSUFFICIENT_PRIVILEGE => StoreError::Denied(error),
            _ => StoreError::Postgres(error),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        ControlError::Postgres(error).into()
    }
}

/// What a tenant used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub tenant: TenantName,
    /// On which day, if days were asked for.
    pub day: Option<Date>,
    /// What.
    pub counts: Counts,
}

/// The usage table.
#[derive(Debug)]
pub struct Store {
    upstream: Arc<Upstream>,
    sql: Sql,
    pool: Pool<AsRole>,
}

impl Store {
    /// The table of this configuration; it is connected to when it is needed.
    pub fn new(config: &QuotaConfig) -> Self {
        let upstream = Arc::clone(&config.upstream);
        let role = AsRole { upstream: Arc::clone(&upstream), application_name: "pgwarden usage" };
        // One exchange at a time.
        let pool = Pool::new(role, PoolLimits::new(1, TIMEOUT));
        Self { upstream, sql: Sql::new(&config.table), pool }
    }

    /// The SQL that makes the table and lets pgwarden's role use it.
    pub fn definition(&self) -> String {
        format!("{}{}", self.sql.definition(), self.sql.grants(&self.upstream.user))
    }

    /// Makes the table, if it is not there.
    ///
    /// # Errors
    /// The role may not.
    pub async fn create(&self) -> Result<(), StoreError> {
        self.exchange(async |client| Ok(client.batch_execute(&self.sql.definition()).await?)).await
    }

    /// Adds a batch, unless it was added before.
    pub(super) async fn write(&self, writer: &str, batch: &Batch) -> Result<(), StoreError> {
        self.exchange(async |client| write(client, &self.sql, writer, batch).await).await
    }

    /// Forgets processes that ended long ago.
    pub(super) async fn tidy(&self) -> Result<(), StoreError> {
        self.exchange(async |client| Ok(client.execute(&self.sql.tidy(), &[]).await.map(drop)?)).await
    }

    /// What tenants used from one day up to another, which does not count; of all tenants, or of those named.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn entries(
        &self,
        days: (Date, Date),
        tenants: Option<&[&str]>,
        daily: bool,
    ) -> Result<Vec<Entry>, StoreError> {
        self.exchange(async |client| {
            let sums = client.prepare_cached(&self.sql.sums(daily)).await?;
            let rows = client.query(&sums, &[&days.0, &days.1, &tenants]).await?;
            rows.iter().map(entry).collect()
        })
        .await
    }

    /// As [`Store::entries`], by tenant.
    pub(super) async fn used(
        &self,
        days: (Date, Date),
        tenants: Option<&[&str]>,
    ) -> Result<HashMap<TenantName, Counts>, StoreError> {
        let entries = self.entries(days, tenants, false).await?;
        Ok(entries.into_iter().map(|entry| (entry.tenant, entry.counts)).collect())
    }

    /// Does something on a connection, which is kept if all goes well.
    async fn exchange<T>(
        &self,
        what: impl AsyncFnOnce(&mut ClientWrapper) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let exchange = self.pool.exchange(what);
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or(Err(StoreError::Timeout(TIMEOUT)))
    }
}

async fn write(client: &mut ClientWrapper, sql: &Sql, writer: &str, batch: &Batch) -> Result<(), StoreError> {
    let transaction = client.transaction().await?;
    // What is told to be written must not be lost in a crash of the server.
    transaction.batch_execute("SET LOCAL synchronous_commit = on").await?;
    let claim = transaction.prepare_cached(&sql.claim()).await?;
    if transaction.execute(&claim, &[&writer, &batch.number]).await? == 0 {
        return Ok(());
    }
    let (tenants, days): (Vec<_>, Vec<_>) = batch.rows.keys().map(|(tenant, day)| (tenant.as_str(), *day)).unzip();
    let mut measures: [Vec<i64>; MEASURES] = Default::default();
    for counts in batch.rows.values() {
        for (column, value) in measures.iter_mut().zip(counts.values()) {
            column.push(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&tenants, &days];
    values.extend(measures.iter().map(|column| column as &(dyn ToSql + Sync)));
    let add = transaction.prepare_cached(&sql.add()).await?;
    transaction.execute(&add, &values).await?;
    transaction.commit().await?;
    Ok(())
}

fn entry(row: &tokio_postgres::Row) -> Result<Entry, StoreError> {
    let mut values = [0_u64; MEASURES];
    for (value, column) in values.iter_mut().zip(2..) {
        *value = u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or(0);
    }
    Ok(Entry {
        tenant: TenantName::new(row.try_get::<_, &str>(0)?),
        day: row.try_get(1)?,
        counts: Counts::from_values(values),
    })
}
