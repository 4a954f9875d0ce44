//! The pool in front of a real server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::*;
use crate::base::{Enforcement, Secret, UpstreamName};
use crate::config::{Address, PoolSettings, TlsMode, Upstream, UpstreamTls};
use crate::test_cluster::Cluster;

const LONG: Duration = Duration::from_secs(30);

fn cluster() -> &'static Cluster {
    Cluster::shared().unwrap()
}

/// Limits with the usual time for idle ones.
fn at_most(connections: usize) -> PoolLimits {
    PoolLimits::new(connections, LONG)
}

/// A pool for a new database.
async fn pool(database: &str, limits: PoolLimits) -> Pool<AsRole> {
    cluster().create_database(database, None).await.unwrap();
    let upstream = Upstream {
        name: UpstreamName::new("main"),
        address: Address::Tcp { host: "127.0.0.1".to_owned(), port: cluster().port() },
        user: Cluster::SUPERUSER.to_owned(),
        database: database.to_owned(),
        password: Some(Secret::new(cluster().password())),
        tls: UpstreamTls { mode: TlsMode::Disable, root_cert: None },
        pool: PoolSettings::default(),
        connect_timeout: LONG,
        enforcement: Enforcement::Rewrite,
        admin: None,
    };
    Pool::new(AsRole { upstream: Arc::new(upstream), application_name: "pgwarden test" }, limits)
}

/// The process that serves a connection.
async fn backend(client: &tokio_postgres::Client) -> Result<i32, ControlError> {
    Ok(client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0))
}

async fn ask(pool: &Pool<AsRole>) -> Result<i32, ControlError> {
    pool.exchange(async |client| backend(client).await).await
}

/// Connections of the pool that the server has.
async fn open(database: &str) -> i64 {
    let client = cluster().connect("postgres").await.unwrap();
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'pgwarden test'";
    client.query_one(sql, &[&database]).await.unwrap().get(0)
}

async fn becomes(database: &str, wanted: i64) {
    let reached = async {
        while open(database).await != wanted {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, reached).await.unwrap();
}

/// Breaks all connections to a database, from another thread: nothing of this runtime runs meanwhile.
fn terminate(database: &'static str) {
    let sql = format!("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{database}'");
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(cluster().run("postgres", &sql)).unwrap();
    };
    std::thread::spawn(run).join().unwrap();
}

#[tokio::test]
async fn one_connection_serves_one_after_another() {
    let pool = pool("control_recycling", at_most(3)).await;
    let first = ask(&pool).await.unwrap();
    for _ in 0..5 {
        assert_eq!(ask(&pool).await.unwrap(), first);
    }
    let lease = pool.get().await.unwrap();
    assert!(!lease.is_new());
    let other = pool.get().await.unwrap();
    assert!(other.is_new());
    assert_ne!(backend(&other).await.unwrap(), first);
    // What the server prepared for one question is there for the next.
    let statement = lease.prepare_cached("SELECT 1").await.unwrap();
    lease.put_back();
    let lease = pool.get().await.unwrap();
    assert_eq!((backend(&lease).await.unwrap(), lease.statement_cache.size()), (first, 1));
    assert_eq!(lease.query_one(&statement, &[]).await.unwrap().get::<_, i32>(0), 1);
}

#[tokio::test]
async fn what_went_wrong_or_was_interrupted_is_not_lent_again() {
    let pool = pool("control_wrong", at_most(1)).await;
    let first = ask(&pool).await.unwrap();
    let wrong = pool.exchange(async |client| Ok::<_, ControlError>(client.batch_execute("SELEC").await?)).await;
    assert!(matches!(wrong, Err(ControlError::Postgres(_))));
    let second = ask(&pool).await.unwrap();
    assert_ne!(first, second);
    let sleeping =
        pool.exchange(async |client| Ok::<_, ControlError>(client.batch_execute("SELECT pg_sleep(30)").await?));
    timeout(Duration::from_millis(200), sleeping).await.unwrap_err();
    let start = Instant::now();
    assert_ne!(ask(&pool).await.unwrap(), second);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_idle_ones_are_closed() {
    let idle = Duration::from_millis(400);
    let pool = pool("control_idle", PoolLimits { idle, ..at_most(2) }).await;
    let lent = pool.get().await.unwrap();
    let lent_is = backend(&lent).await.unwrap();
    let idle_is = ask(&pool).await.unwrap();
    assert_eq!(open("control_idle").await, 2);
    becomes("control_idle", 1).await;
    // The one in use may be used for longer.
    sleep(idle).await;
    assert_eq!(backend(&lent).await.unwrap(), lent_is);
    assert_ne!(ask(&pool).await.unwrap(), idle_is);
    lent.put_back();
    becomes("control_idle", 0).await;
    assert!(pool.get().await.unwrap().is_new());
    // One that is used again and again stays.
    let first = ask(&pool).await.unwrap();
    for _ in 0..10 {
        sleep(idle / 4).await;
        assert_eq!(ask(&pool).await.unwrap(), first);
    }
    drop(pool);
    becomes("control_idle", 0).await;
}

#[tokio::test]
async fn a_server_goes_and_comes_back() {
    let database = "control_away";
    let pool = pool(database, at_most(1)).await;
    ask(&pool).await.unwrap();
    let allow = |allow: bool| format!("ALTER DATABASE {database} ALLOW_CONNECTIONS {allow}");
    cluster().run("postgres", &allow(false)).await.unwrap();
    terminate(database);
    // Lost unnoticed: it shows at the question.
    let mut lost = pool.get().await.unwrap();
    assert!(!lost.is_new());
    assert!(backend(&lost).await.is_err());
    assert!(matches!(pool.renew(&mut lost).await, Err(ControlError::Postgres(_))));
    drop(lost);
    for _ in 0..3 {
        assert!(matches!(ask(&pool).await, Err(ControlError::Postgres(_))));
    }
    cluster().run("postgres", &allow(true)).await.unwrap();
    let back = ask(&pool).await.unwrap();
    terminate(database);
    let mut lost = pool.get().await.unwrap();
    assert!(backend(&lost).await.is_err());
    pool.renew(&mut lost).await.unwrap();
    let renewed = backend(&lost).await.unwrap();
    assert_ne!(renewed, back);
    lost.put_back();
    assert_eq!(ask(&pool).await.unwrap(), renewed);
    // And one whose loss was noticed is not lent at all.
    terminate(database);
    sleep(Duration::from_millis(200)).await;
    assert!(pool.get().await.unwrap().is_new());
}

#[tokio::test]
async fn more_askers_than_connections() {
    let pool = Arc::new(pool("control_many", at_most(3)).await);
    let askers: Vec<_> = (0..40)
        .map(|_| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move {
                pool.exchange(async |client| {
                    client.batch_execute("SELECT pg_sleep(0.01)").await?;
                    backend(client).await
                })
                .await
            })
        })
        .collect();
    let mut backends = BTreeSet::new();
    for asker in askers {
        backends.insert(asker.await.unwrap().unwrap());
    }
    assert!(backends.len() <= 3, "{backends:?}");
    assert!(open("control_many").await <= 3);
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let wait = Duration::from_millis(100);
    let pool = pool("control_busy", PoolLimits { wait, ..at_most(1) }).await;
    let lent = pool.get().await.unwrap();
    let told = pool.get().await.map(drop);
    assert!(matches!(told, Err(ControlError::Busy(time)) if time == wait), "{told:?}");
    lent.put_back();
    assert!(ask(&pool).await.is_ok());
}
