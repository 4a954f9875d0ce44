//! Sessions of real clients on a real Postgres. The guard's stand-in lets everything pass; what it says of effects is read
//! from the first words.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::*;
use crate::base::{Mode, PgError, Refusal, RefusalKind, SqlState};
use crate::config::{self, Config};
use crate::connect::ServerTarget;
use crate::control::Notifications;
use crate::guard::{Deallocate, Effect, Guard, PinReason, Plan, Planner, Policy, Protocol, StatementKind};
use crate::pool::{CancelRegistry, NetConnector, PoolKey, Pools};
use crate::test_cluster::Cluster;

mod live;

fn planner(_: &Policy, _: &Mode, _: Protocol<'_>, sql: &str) -> Result<Vec<Plan>, Refusal> {
    let texts: Vec<&str> = sql.split(';').map(str::trim).filter(|text| !text.is_empty()).collect();
    texts.into_iter().map(plan).collect()
}

fn plan(text: &str) -> Result<Plan, Refusal> {
    let mut plan = crate::guard::test_plan(text);
    let words: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["refused", ..] => {
            return Err(Refusal::new(RefusalKind::Statement, SqlState::INSUFFICIENT_PRIVILEGE, "not allowed"));
        }
        ["begin" | "commit" | "rollback", ..] => plan.kind = StatementKind::Transaction,
        ["set", "local", name, ..] | ["set" | "reset", name, ..] => {
            plan.effects.push(Effect::Setting(name.trim_matches('"').to_owned()));
        }
        ["listen", ..] => plan.effects.push(Effect::Pin(PinReason::Listen)),
        ["discard", "all"] => plan.effects.push(Effect::DiscardAll),
        ["deallocate", "all"] => plan.effects.push(Effect::Deallocate(Deallocate::All)),
        ["copy", .., "stdin"] => plan.kind = StatementKind::CopyIn,
        _ => {}
    }
    Ok(plan)
}

#[derive(Default)]
struct Catalog(AtomicUsize);

impl CatalogHook for Catalog {
    fn changed(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn is_fresh(&self) -> bool {
        true
    }

    fn look(&self) -> Pin<Box<dyn Future<Output = Result<(), PgError>> + Send>> {
        Box::pin(async { Ok(()) })
    }

    fn refresh(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async {})
    }

    fn objection(&self, _: &crate::base::TenantName) -> Option<String> {
        None
    }
}

struct OneUpstream {
    pools: Pools,
    guard: Arc<Guard>,
}

impl Upstreams for OneUpstream {
    fn open(&self, upstream: &Arc<config::Upstream>, _: &str) -> Result<Upstream, PgError> {
        let target =
            ServerTarget::new(upstream).map_err(|error| PgError::fatal(SqlState::SYSTEM_ERROR, error.to_string()))?;
        let key: PoolKey = PoolKey::of(&target);
        let pool = self.pools.get(&key, || (target, upstream.pool.clone()));
        let notifications = Notifications::new(Arc::clone(upstream));
        Ok(Upstream { pool, guard: Arc::clone(&self.guard), catalog: Arc::new(Catalog::default()), notifications })
    }

    fn forget(&self, _: &config::Upstream) {}
}

/// A proxy in front of a database of its own.
struct Proxy {
    address: SocketAddr,
    database: String,
    stop: watch::Sender<Option<Ending>>,
    done: tokio::task::JoinHandle<()>,
}

static DATABASES: AtomicUsize = AtomicUsize::new(0);

impl Proxy {
    async fn start(pool: &str) -> Self {
        let cluster = tokio::task::spawn_blocking(Cluster::shared).await.unwrap().unwrap();
        let database = format!("session{}", DATABASES.fetch_add(1, Ordering::SeqCst));
        cluster.create_database(&database, None).await.unwrap();
        let url = cluster.url(&database);
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n[upstream.main]\nurl = \"{url}\"\npool = {{ {pool} }}\n\
             [tenancy]\nupstream = \"main\"\ncolumn = \"tenant_id\"\nidentify = [\"user\"]\n\
             [[login]]\nname = \"ops\"\nauth = \"trust\"\nrole = \"operator\"\n\
             [[login]]\nname = \"app\"\npassword = \"secret\"\ntenants = \"*\"\n\
             [[tenant]]\nname = \"acme\"\nkey = \"42\"\n"
        );
        let config = config(&text);
        let connector = Arc::new(NetConnector::default());
        let upstreams = OneUpstream {
            pools: Pools::new(connector.clone(), 20),
            guard: Arc::new(Guard::new(Arc::new(Policy::empty()), planner as Planner)),
        };
        let cancel = CancelRegistry::new(connector);
        let shared = Arc::new(SharedState::new(&config, cancel, Arc::new(upstreams)).unwrap());
        let workers = Arc::new(crate::session::workers::Workers::start(2).unwrap());
        let listener = Listener::bind(&config.listen.addresses, false, shared, workers).unwrap();
        let address = listener.addresses()[0];
        let stop = watch::Sender::new(None);
        let done = tokio::spawn(listener.serve(stop.subscribe()));
        Self { address, database, stop, done }
    }

    fn config(&self, user: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.address.port()).user(user).password("secret").dbname(&self.database);
        config
    }

    async fn client(&self) -> Client {
        connect(&self.config("ops")).await.unwrap()
    }
}

async fn connect(config: &tokio_postgres::Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}

fn config(text: &str) -> Config {
    match config::parse(text, std::path::Path::new("test.toml"), &|_| None) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{errors}"),
    }
}

/// The first column of all rows, through the simple protocol.
async fn column(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.simple_query(sql).await.unwrap();
    let text = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    rows.into_iter().filter_map(text).collect()
}

async fn one(client: &Client, sql: &str) -> String {
    column(client, sql).await.pop().unwrap()
}

fn code(error: &tokio_postgres::Error) -> String {
    error.code().map(|code| code.code().to_owned()).unwrap_or_else(|| format!("{error:?}"))
}
