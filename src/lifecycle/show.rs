//! Tenants as they are: where they live, and how much there is of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Lifecycle;
use super::admin::Admin;
use super::error::{LifecycleError, place_of};
use super::operations::{self, Record};
use super::rows::own_tables;
use crate::config::{Address, Layout, Measure, Tenant};
use crate::usage::{Period, Store, today};

/// How much a tenant has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// So many bytes on disk.
    Bytes(i64),
    /// It lives among others: `show` counts.
    InSharedTables,
    /// Its place is not there.
    Missing,
    /// Its server could not be asked.
    Unknown(String),
}

/// A line of the list.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// Its layout.
    pub layout: &'static str,
    /// Its upstream.
    pub upstream: String,
    /// Its database.
    pub database: String,
    /// Its schema.
    pub schema: Option<String>,
    /// No logins for now.
    pub suspended: bool,
    /// How much it has.
    pub size: Size,
}

/// A table that has rows of a tenant.
#[derive(Clone, Debug, Serialize)]
pub struct TableRows {
    /// Its name.
    pub table: String,
    /// Rows; counted in shared tables, estimated in those of one's own.
    pub rows: i64,
    /// Bytes; estimated in shared tables, by the tenant's part of the rows.
    pub bytes: i64,
}

/// All that is told of a tenant.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// As in the list.
    #[serde(flatten)]
    pub summary: Summary,
    /// Its key, and further ones by name.
    pub keys: BTreeMap<String, String>,
    /// The role that its sessions act as.
    pub role: Option<String>,
    /// Its tables.
    pub tables: Vec<TableRows>,
    /// Server connections to its database now, if that is its own.
    pub sessions: Option<i64>,
    /// What it used in the quota's period, if that is kept.
    pub usage: Option<BTreeMap<&'static str, u64>>,
    /// The last operations on it, the latest first.
    pub operations: Vec<Record>,
    /// What could not be found out.
    pub notes: Vec<String>,
}

const TABLE_SIZES: &str = "SELECT format('%s.%s', n.nspname, c.relname), greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' \
    AND n.nspname <> 'information_schema' AND ($1::text IS NULL OR n.nspname = $1) ORDER BY 1";

impl Lifecycle {
    /// All tenants that are listed, by name.
    pub async fn list(&self) -> Vec<Summary> {
        let mut sizes = Sizes::default();
        let mut list = Vec::new();
        for tenant in &self.config.tenants {
            let size = match &tenant.layout {
                Layout::Shared => Size::InSharedTables,
                Layout::Schema { .. } | Layout::Database => sizes.of(tenant).await,
            };
            list.push(summary(tenant, size));
        }
        list.sort_by(|one, other| one.name.cmp(&other.name));
        list
    }

    /// All about a tenant.
    ///
    /// # Errors
    /// There is no such tenant, or its server cannot be asked.
    pub async fn show(&self, name: &str) -> Result<View, LifecycleError> {
        let tenant = self.find(name)?;
        let size = match &tenant.layout {
            Layout::Shared => Size::InSharedTables,
            Layout::Schema { .. } | Layout::Database => Sizes::default().of(&tenant).await,
        };
        let mut view = View {
            summary: summary(&tenant, size),
            keys: tenant.keys.default.iter().map(|key| ("key".to_owned(), key.to_string())).collect(),
            role: None,
            tables: Vec::new(),
            sessions: None,
            usage: None,
            operations: Vec::new(),
            notes: Vec::new(),
        };
        view.keys.extend(tenant.keys.named.iter().map(|(name, key)| (name.to_string(), key.to_string())));
        match &tenant.layout {
            Layout::Shared => self.shared_tables(&tenant, &mut view).await?,
            Layout::Schema { schema, role } => {
                view.role = role.as_deref().map(str::to_owned);
                view.tables = own_sizes(&tenant, Some(schema)).await?;
            }
            Layout::Database => {
                view.tables = own_sizes(&tenant, None).await?;
                let admin = Admin::to_ask(&tenant.upstream).await?;
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                           AND backend_type = 'client backend'";
                view.sessions = admin.value(sql, &[]).await?;
            }
        }
        self.usage(&tenant, &mut view).await;
        match Admin::to_ask(&self.home.upstream).await {
            Ok(admin) => match operations::last(&admin, &self.home.operations, name, 10).await {
                Ok(records) => view.operations = records,
                Err(error) => view.notes.push(error.to_string()),
            },
            Err(error) => view.notes.push(error.to_string()),
        }
        Ok(view)
    }

    async fn shared_tables(&self, tenant: &Tenant, view: &mut View) -> Result<(), LifecycleError> {
        let policy = self.policy_of(tenant).await?;
        let admin = Admin::to_ask(&tenant.upstream).await?;
        for table in own_tables(&policy).iter().flatten() {
            self.tell(&format!("counting {}", table.relation.name));
            // Of a partitioned table the sizes of its partitions; another one has no tree.
            let sql = format!(
                "SELECT count(*), count(*) FILTER (WHERE {}), coalesce((SELECT sum(pg_total_relation_size(p.relid))::bigint \
                 FROM pg_partition_tree({oid}::oid::regclass) p), pg_total_relation_size({oid}::oid)) FROM {} t",
                table.is_own(&tenant.keys)?,
                table.from(),
                oid = table.relation.oid
            );
            let rows = admin.rows(&sql, &[]).await?;
            let Some(row) = rows.first() else { continue };
            let failed = |error| admin.failed(error);
            let (all, own): (i64, i64) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            let bytes: Option<i64> = row.try_get(2).map_err(failed)?;
            if own > 0 {
                let bytes = i128::from(bytes.unwrap_or_default()) * i128::from(own) / i128::from(all.max(1));
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                view.tables.push(TableRows { table: table.relation.name.to_string(), rows: own, bytes });
            }
        }
        view.tables.sort_by(|one, other| one.table.cmp(&other.table));
        Ok(())
    }

    async fn usage(&self, tenant: &Tenant, view: &mut View) {
        let Some(quota) = &self.config.quota else { return };
        let period = Period::containing(quota.period, today());
        let entries =
            Store::new(quota).entries((period.start(), period.end()), Some(&[tenant.name.as_str()]), false).await;
        match entries {
            Ok(entries) => {
                let counts = entries.into_iter().next().map(|entry| entry.counts).unwrap_or_default();
                view.usage = Some(Measure::ALL.iter().map(|it| it.name()).zip(counts.values()).collect());
            }
            Err(error) => view.notes.push(format!("usage: {error}")),
        }
    }
}

/// A layout as the configuration has it.
pub(super) fn word_of(layout: &Layout) -> &'static str {
    match layout {
        Layout::Shared => "shared",
        Layout::Schema { .. } => "schema",
        Layout::Database => "database",
    }
}

fn summary(tenant: &Tenant, size: Size) -> Summary {
    let schema = match &tenant.layout {
        Layout::Schema { schema, .. } => Some(schema.to_string()),
        Layout::Shared | Layout::Database => None,
    };
    Summary {
        name: tenant.name.to_string(),
        layout: word_of(&tenant.layout),
        upstream: tenant.upstream.name.to_string(),
        database: tenant.upstream.database.clone(),
        schema,
        suspended: tenant.suspended,
        size,
    }
}

async fn own_sizes(tenant: &Tenant, schema: Option<&str>) -> Result<Vec<TableRows>, LifecycleError> {
    let admin = Admin::to_ask(&tenant.upstream).await?;
    let rows = admin.rows(TABLE_SIZES, &[&schema]).await?;
    let table = |row: &tokio_postgres::Row| {
        Ok(TableRows { table: row.try_get(0)?, rows: row.try_get(1)?, bytes: row.try_get(2)? })
    };
    rows.iter().map(table).collect::<Result<_, _>>().map_err(|error| admin.failed(error))
}

/// Sizes by place: each server is asked once for its databases, each database for its schemas.
#[derive(Default)]
struct Sizes {
    databases: BTreeMap<String, Result<BTreeMap<String, i64>, String>>,
    schemas: BTreeMap<String, Result<BTreeMap<String, i64>, String>>,
}

const DATABASES: &str = "SELECT datname::text, CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) ELSE 0 END \
    FROM pg_database WHERE datallowconn";
const SCHEMAS: &str = "SELECT n.nspname::text, COALESCE(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_namespace n \
    LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'm', 'S') GROUP BY 1";

impl Sizes {
    async fn of(&mut self, tenant: &Tenant) -> Size {
        let upstream = &tenant.upstream;
        let (known, key, name, sql) = match &tenant.layout {
            Layout::Schema { schema, .. } => (&mut self.schemas, place_of(upstream), schema.to_string(), SCHEMAS),
            Layout::Shared | Layout::Database => {
                (&mut self.databases, Address::to_string(&upstream.address), upstream.database.clone(), DATABASES)
            }
        };
        if !known.contains_key(&key) {
            // What answers for a database need not be in it: a tenant's may be gone.
            let admin = match tenant.layout {
                Layout::Database if upstream.admin.is_some() => Admin::beside(upstream).await,
                Layout::Database | Layout::Schema { .. } | Layout::Shared => Admin::to_ask(upstream).await,
            };
            let read = match admin {
                Ok(admin) => admin.rows(sql, &[]).await.map(|rows| rows.iter().filter_map(pair).collect()),
                Err(error) => Err(error),
            };
            known.insert(key.clone(), read.map_err(|error| error.to_string()));
        }
        match known.get(&key) {
            Some(Ok(sizes)) => sizes.get(&name).map_or(Size::Missing, |bytes| Size::Bytes(*bytes)),
            Some(Err(error)) => Size::Unknown(error.clone()),
            None => Size::Missing,
        }
    }
}

fn pair(row: &tokio_postgres::Row) -> Option<(String, i64)> {
    Some((row.try_get(0).ok()?, row.try_get(1).ok()?))
}
