//! One question to many tenants, each in its own place, as that tenant: through the guard, read-only, and no longer than it may
//! take. Rows are handed on as they come.

mod columns;
mod reduce;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::sync::{Mutex, OnceCell, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_postgres::SimpleQueryMessage;

use super::error::LifecycleError;
use crate::base::{TenantName, UpstreamName};
use crate::checks::{load_policy, tenants};
use crate::config::{Config, Tenant, Upstream};
use crate::control;
use crate::guard::{Guard, Guarded, Protocol, StatementKind, plan_statements};
use crate::session::sealed_settings;
use crate::sql::quote_literal;

pub use columns::Column;
pub use reduce::Reduction;

/// What questions are called in the servers' lists of sessions.
const NAME: &str = "pgwarden query";
/// Rows that wait for whoever takes them.
const WAITING: usize = 256;

/// What is asked, and whom.
#[derive(Clone, Debug)]
pub struct Question {
    /// One SELECT.
    pub sql: String,
    /// Names of tenants, or `*` alone.
    pub tenants: Vec<String>,
    /// How many are asked at a time.
    pub jobs: usize,
    /// How long each may take.
    pub timeout: Duration,
}

/// What comes of it, in the order in which it comes.
#[derive(Debug)]
pub enum Said {
    /// The columns, the tenant's not among them: before any row.
    Columns(Arc<[Column]>),
    /// A row of a tenant, its values as texts.
    Row(TenantName, Vec<Option<String>>),
    /// A tenant could not be asked, or not to the end.
    Failed(TenantName, String),
}

/// What each task has.
struct Asking {
    config: Arc<Config>,
    sql: String,
    timeout: Duration,
    /// The guards, by upstream and database.
    guards: HashMap<(UpstreamName, String), OnceCell<Arc<Guard>>>,
    /// As the first who answered has them.
    columns: Mutex<Option<Arc<[Column]>>>,
    said: mpsc::Sender<Said>,
}

/// Asks, in the background. Returns how many tenants are asked, and what they say.
///
/// # Errors
/// There is no tenant of a name that is listed, or it is suspended.
pub fn ask(config: &Arc<Config>, question: &Question) -> Result<(usize, mpsc::Receiver<Said>), LifecycleError> {
    let asked = whom(config, &question.tenants)?;
    let (said, hears) = mpsc::channel(WAITING);
    let place = |tenant: &Arc<Tenant>| (tenant.upstream.name.clone(), tenant.upstream.database.clone());
    let asking = Arc::new(Asking {
        config: Arc::clone(config),
        sql: question.sql.clone(),
        timeout: question.timeout,
        guards: asked.iter().map(|tenant| (place(tenant), OnceCell::new())).collect(),
        columns: Mutex::new(None),
        said,
    });
    let count = asked.len();
    tokio::spawn(all(asking, asked, question.jobs));
    Ok((count, hears))
}

/// Those of the names; of `*` all that serve.
fn whom(config: &Config, names: &[String]) -> Result<Vec<Arc<Tenant>>, LifecycleError> {
    let mut found: Vec<Arc<Tenant>> = match names {
        [all] if all == "*" => config.tenants.iter().filter(|tenant| !tenant.suspended).cloned().collect(),
        names => names.iter().map(|name| named(config, name)).collect::<Result<_, _>>()?,
    };
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found.dedup_by(|one, other| one.name == other.name);
    Ok(found)
}

fn named(config: &Config, name: &str) -> Result<Arc<Tenant>, LifecycleError> {
    let tenant = tenants::find(config, name).ok_or_else(|| LifecycleError::NoTenant(name.to_owned()))?;
    if tenant.suspended {
        let what = format!("tenant \"{name}\" is suspended");
        return Err(LifecycleError::refused(what, "leave it out, or: pgwarden tenant resume"));
    }
    Ok(tenant)
}

async fn all(asking: Arc<Asking>, asked: Vec<Arc<Tenant>>, jobs: usize) {
    let places = Arc::new(Semaphore::new(jobs.max(1)));
    let mut tasks = JoinSet::new();
    for tenant in asked {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let asking = Arc::clone(&asking);
        tasks.spawn(async move {
            // Who hears nothing more need not be asked.
            if !asking.said.is_closed() {
                asking.tenant(&tenant).await;
            }
            drop(place);
        });
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
}

impl Asking {
    async fn tenant(&self, tenant: &Tenant) {
        let outcome = tokio::time::timeout(self.timeout, self.rows(tenant)).await;
        let failed = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why,
            Err(_) => format!("it took longer than {} s", self.timeout.as_secs()),
        };
        // Nobody hears it if this fails.
        let _ = self.said.send(Said::Failed(tenant.name.clone(), failed)).await;
    }

    async fn rows(&self, tenant: &Tenant) -> Result<(), String> {
        let guard = self.guard(tenant).await?;
        let text = guarded(&guard, tenant, &self.sql)?.text().into_owned();
        let client = control::connect(&tenant.upstream, NAME).await.map_err(|error| error.to_string())?;
        let said = |error: tokio_postgres::Error| told(&error);
        client.batch_execute(&self.opening(tenant, &guard)).await.map_err(said)?;
        let statement = client.prepare(&text).await.map_err(said)?;
        self.agree(columns::of(statement.columns())?).await?;
        let rows = client.simple_query_raw(&text).await.map_err(said)?;
        let mut rows = std::pin::pin!(rows);
        while let Some(message) = rows.try_next().await.map_err(said)? {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let values = (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect();
            let row = Said::Row(tenant.name.clone(), values);
            self.said.send(row).await.map_err(|_| "nobody takes its rows".to_owned())?;
        }
        Ok(())
    }

    /// The guard of a tenant's place; its catalog is read once.
    async fn guard(&self, tenant: &Tenant) -> Result<Arc<Guard>, String> {
        let place = (tenant.upstream.name.clone(), tenant.upstream.database.clone());
        let cell = self.guards.get(&place).ok_or("its place is unknown")?;
        let guard = cell.get_or_try_init(|| guard_of(&self.config, &tenant.upstream)).await?;
        Ok(Arc::clone(guard))
    }

    /// What the proxy seals for a session of the tenant, for one transaction in which nothing is written.
    fn opening(&self, tenant: &Tenant, guard: &Guard) -> String {
        let mut settings: BTreeMap<String, String> = sealed_settings(tenant, guard, &self.config.tenancy.setting);
        settings.insert("statement_timeout".to_owned(), self.timeout.as_millis().to_string());
        let calls: Vec<String> = settings
            .iter()
            .map(|(name, value)| {
                format!("pg_catalog.set_config({}, {}, true)", quote_literal(name), quote_literal(value))
            })
            .collect();
        format!("BEGIN READ ONLY; SELECT {}", calls.join(", "))
    }

    /// Whether the columns are those of all others. The first that come are handed on.
    async fn agree(&self, own: Vec<Column>) -> Result<(), String> {
        let mut known = self.columns.lock().await;
        match known.as_ref() {
            Some(theirs) if **theirs == *own => Ok(()),
            Some(theirs) => {
                Err(format!("its columns are ({}), others' are ({})", columns::listed(&own), columns::listed(theirs)))
            }
            None => {
                let own: Arc<[Column]> = own.into();
                *known = Some(Arc::clone(&own));
                self.said.send(Said::Columns(own)).await.map_err(|_| "nobody takes its rows".to_owned())
            }
        }
    }
}

async fn guard_of(config: &Config, upstream: &Upstream) -> Result<Arc<Guard>, String> {
    let (policy, _) = load_policy(config, upstream).await.map_err(|error| error.to_string())?;
    Ok(Arc::new(Guard::new(Arc::new(policy), plan_statements)))
}

/// The question as the tenant may ask it.
fn guarded(guard: &Guard, tenant: &Tenant, sql: &str) -> Result<Guarded, String> {
    let refused = |refusal: crate::base::Refusal| {
        let hint = refusal.error.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}{hint}", refusal.error.message)
    };
    let script = guard.plan(&tenant.layout.mode(), Protocol::Simple, sql).map_err(refused)?;
    match &*script.statements {
        [only] if only.kind == StatementKind::Select && !only.writes && only.effects.is_empty() => {
            script.bind(&tenant.keys).map_err(refused)
        }
        _ => Err("a question is one SELECT that only reads".to_owned()),
    }
}

fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{} ({})", server.message(), server.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}
