//! The pool and its connector against a real Postgres.

use super::*;
use crate::base::{Secret, SqlState};
use crate::config::{self, Upstream, UpstreamTls};
use crate::test_cluster::{Cluster, Options};
use crate::wire::backend::{Report, data_row};
use crate::wire::encode::frontend;
use crate::wire::frame::UpstreamLimits;
use crate::wire::stream::Stream;

fn cluster() -> &'static Cluster {
    Cluster::shared().unwrap()
}

fn real_target(cluster: &Cluster) -> ServerTarget {
    ServerTarget {
        address: Address::Tcp { host: "127.0.0.1".to_owned(), port: cluster.port() },
        database: "postgres".to_owned(),
        user: Cluster::SUPERUSER.to_owned(),
        password: Some(Secret::new(cluster.password())),
        connect_timeout: Duration::from_secs(10),
        ..target("real")
    }
}

fn real_pool(target: ServerTarget, settings: PoolSettings) -> Pool {
    let pools = Pools::new(Arc::new(NetConnector::default()), 50);
    pools.get(&PoolKey::of(&target), || (target, settings))
}

/// Sends a Query and reads up to ReadyForQuery: the first column of each row, or the SQLSTATE.
async fn ask(server: &mut Server, sql: &str) -> Result<Vec<String>, String> {
    send(server, sql).await;
    answer(server).await
}

async fn send(server: &mut Server, sql: &str) {
    frontend::query(&mut server.conn.outbox, sql).unwrap();
    server.conn.flush().await.unwrap();
    server.pending += 1;
}

async fn answer(server: &mut Server) -> Result<Vec<String>, String> {
    let mut outcome = Ok(Vec::new());
    loop {
        let frame = server.conn.next_frame(&UpstreamLimits).await.map_err(|error| error.to_string())?;
        match frame.tag() {
            b'D' => {
                let row = data_row(frame.body()).unwrap();
                if let Ok(rows) = &mut outcome {
                    rows.push(String::from_utf8(row[0].unwrap_or_default().to_vec()).unwrap());
                }
            }
            b'E' => outcome = Err(Report::read(frame.body()).unwrap().sqlstate().unwrap().to_string()),
            b'Z' => {
                server.tx = TransactionStatus::read(frame.body()).unwrap();
                server.pending -= 1;
                return outcome;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn scram_login_over_tcp_with_pinned_settings() {
    let mut target = real_target(cluster());
    target.settings = vec![("search_path".to_owned(), "acme, public".to_owned())];
    let pool = real_pool(target, settings(2));
    let mut server = pool.checkout(&None, 1).await.unwrap();
    assert!(server.version_num() >= 130_000);
    assert_eq!(server.known.as_ref().unwrap().parameters.get("client_encoding").map(String::as_str), Some("UTF8"));
    assert_eq!(ask(&mut server, "SHOW search_path").await.unwrap(), ["acme, public"]);
    assert_eq!(ask(&mut server, "SHOW application_name").await.unwrap(), [""]);
    assert_eq!(ask(&mut server, "SELECT pg_backend_pid()").await.unwrap(), [server.process_id().to_string()]);
    assert_eq!(server.cancel_target().secret().len(), 4);
}

#[tokio::test]
async fn login_over_the_unix_socket_asking_for_protocol_3_2() {
    let mut target = real_target(cluster());
    target.address = Address::Unix(cluster().directory().join(format!("sockets/.s.PGSQL.{}", cluster().port())));
    target.protocol_3_2 = true;
    let pool = real_pool(target, settings(2));
    let mut server = pool.checkout(&None, 1).await.unwrap();
    assert_eq!(ask(&mut server, "SELECT 1").await.unwrap(), ["1"]);
}

#[tokio::test]
async fn a_reset_brings_back_the_pinned_settings() {
    let mut target = real_target(cluster());
    target.settings = vec![("search_path".to_owned(), "acme".to_owned())];
    let pool = real_pool(target, settings(1));
    let mut server = pool.checkout(&None, 1).await.unwrap();
    let id = server.id();
    ask(&mut server, "SET search_path = other; CREATE TEMP TABLE left_over(); SELECT pg_advisory_lock(7)")
        .await
        .unwrap();
    server.known.as_mut().unwrap().needs_reset = true;
    server.release();
    let mut server = pool.checkout(&None, 1).await.unwrap();
    assert_eq!(server.id(), id);
    assert_eq!(ask(&mut server, "SHOW search_path").await.unwrap(), ["acme"]);
    assert_eq!(ask(&mut server, "SELECT to_regclass('pg_temp.left_over')").await.unwrap(), [""]);
    let locks = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    assert!(ask(&mut server, locks).await.unwrap().is_empty());
}

#[tokio::test]
async fn backends_killed_while_idle_are_replaced() {
    let pool = real_pool(real_target(cluster()), settings(3));
    let mut one = pool.checkout(&None, 1).await.unwrap();
    let two = pool.checkout(&None, 1).await.unwrap();
    let pids = [one.process_id(), two.process_id()];
    two.release();
    ask(&mut one, &format!("SELECT pg_terminate_backend({})", pids[1])).await.unwrap();
    one.release();
    let admin = cluster().connect("postgres").await.unwrap();
    let pid = i32::try_from(pids[0]).unwrap();
    admin.execute("SELECT pg_terminate_backend($1, 5000)", &[&pid]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut server = pool.checkout(&None, 1).await.unwrap();
    assert!(!pids.contains(&server.process_id()));
    assert_eq!(ask(&mut server, "SELECT 1").await.unwrap(), ["1"]);
}

/// Waits until a server process is in a pg_sleep: a cancel that comes before stops nothing.
async fn sleeps(pid: u32) {
    let admin = cluster().connect("postgres").await.unwrap();
    let pid = i32::try_from(pid).unwrap();
    let asleep = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'";
    for _ in 0..500 {
        if admin.query_opt(asleep, &[&pid]).await.unwrap().is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{pid} does not sleep");
}

#[tokio::test]
async fn a_cancel_stops_the_running_statement_and_nothing_else() {
    let pool = real_pool(real_target(cluster()), settings(1));
    let registry = CancelRegistry::new(Arc::new(NetConnector::default()));
    let alice = registry.register(true);
    for _ in 0..10 {
        let mut server = alice.checkout(&pool, &None, 1).await.unwrap();
        send(&mut server, "SELECT pg_sleep(30)").await;
        sleeps(server.process_id()).await;
        let cancel = registry.cancel(alice.process_id(), alice.secret());
        let (outcome, ()) = tokio::join!(answer(&mut server), cancel);
        assert_eq!(outcome.unwrap_err(), SqlState::QUERY_CANCELED.as_str());
        // A cancel that comes too late for alice must not hit bob, who gets the connection next.
        let late = tokio::spawn(registry.cancel(alice.process_id(), alice.secret()));
        tokio::task::yield_now().await;
        alice.release(server);
        let mut bob = pool.checkout(&None, 1).await.unwrap();
        assert_eq!(ask(&mut bob, "SELECT pg_sleep(0.02)").await.unwrap(), [""]);
        bob.release();
        late.await.unwrap();
    }
    assert_eq!(pool.stats().connects, 1);
}

#[tokio::test]
async fn a_client_gone_in_mid_statement_leaves_nothing_running() {
    let pool = real_pool(real_target(cluster()), settings(1));
    let mut server = pool.checkout(&None, 1).await.unwrap();
    let pid = server.process_id();
    send(&mut server, "SELECT pg_sleep(60)").await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    server.release();
    ends(pid).await;
}

/// The cancel request of a statement that was sent this moment comes too early, that of the first of several stops one.
#[tokio::test]
async fn a_client_gone_with_statements_under_way_leaves_nothing_running() {
    let pool = real_pool(real_target(cluster()), settings(1));
    for statements in [1, 1, 1, 3, 3, 3] {
        let mut server = pool.checkout(&None, 1).await.unwrap();
        let pid = server.process_id();
        for _ in 0..statements {
            send(&mut server, "SELECT pg_sleep(60)").await;
        }
        server.release();
        ends(pid).await;
    }
}

async fn ends(pid: u32) {
    let pid = i32::try_from(pid).unwrap();
    let admin = cluster().connect("postgres").await.unwrap();
    for _ in 0..400 {
        let alive = admin.query("SELECT 1 FROM pg_stat_activity WHERE pid = $1", &[&pid]).await.unwrap();
        if alive.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the backend still runs");
}

#[tokio::test]
async fn wrong_credentials_and_databases_are_told_apart() {
    let mut target = real_target(cluster());
    target.password = Some(Secret::new("wrong"));
    let error = real_pool(target, settings(1)).checkout(&None, 1).await.unwrap_err();
    assert_eq!(error.code, SqlState::SYSTEM_ERROR);
    assert!(error.message.ends_with("it did not accept pgwarden's login"));

    let mut target = real_target(cluster());
    target.password = None;
    let error = real_pool(target, settings(1)).checkout(&None, 1).await.unwrap_err();
    assert_eq!(error.code, SqlState::SYSTEM_ERROR);

    let mut target = real_target(cluster());
    target.database = "no_such_db".to_owned();
    let error = real_pool(target, settings(1)).checkout(&None, 1).await.unwrap_err();
    assert_eq!(error.code, SqlState::INVALID_CATALOG_NAME);
    assert!(error.message.contains("database \"no_such_db\" does not exist"));
}

#[tokio::test]
async fn an_upstream_that_goes_away_and_comes_back() {
    let mut cluster = Cluster::start(&Options::default()).unwrap();
    let mut target = real_target(&cluster);
    // A door that can be pointed elsewhere, since a cluster does not start again.
    let door = Arc::new(Mutex::new(cluster.port()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    target.address = Address::Tcp { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    let trust = Options { hba: vec!["host all all 127.0.0.1/32 trust".to_owned()], ..Options::default() };
    target.password = Some(Secret::new(cluster.password()));
    tokio::spawn({
        let door = Arc::clone(&door);
        async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = *door.lock();
                tokio::spawn(async move {
                    if let Ok(mut server) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        }
    });
    let pool = real_pool(target, settings(2));
    let mut server = pool.checkout(&None, 1).await.unwrap();
    cluster.kill();
    assert!(ask(&mut server, "SELECT 1").await.is_err());
    server.poison();
    server.release();
    let error = pool.checkout(&None, 1).await.unwrap_err();
    assert_eq!(error.code, SqlState::CONNECTION_FAILURE);

    let second = Cluster::start(&trust).unwrap();
    *door.lock() = second.port();
    let mut back = None;
    for _ in 0..60 {
        back = pool.checkout(&None, 1).await.ok();
        if back.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ask(&mut back.unwrap(), "SELECT 1").await.unwrap(), ["1"]);
}

/// The file with the root certificate lives as long as the directory.
fn tls_cluster() -> (Cluster, tempfile::TempDir) {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem = key.cert.pem();
    let options = Options { tls: Some((pem.clone(), key.signing_key.serialize_pem())), ..Options::default() };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("root.pem"), pem).unwrap();
    (Cluster::start(&options).unwrap(), dir)
}

fn upstream(cluster: &Cluster, host: &str, mode: config::TlsMode, root: Option<&std::path::Path>) -> Upstream {
    Upstream {
        name: UpstreamName::new("tls"),
        address: Address::Tcp { host: host.to_owned(), port: cluster.port() },
        user: Cluster::SUPERUSER.to_owned(),
        database: "postgres".to_owned(),
        password: Some(Secret::new(cluster.password())),
        tls: UpstreamTls { mode, root_cert: root.map(Into::into) },
        pool: settings(1),
        connect_timeout: Duration::from_secs(10),
        enforcement: crate::config::Enforcement::Rewrite,
        admin: None,
    }
}

#[tokio::test]
async fn tls_modes_and_cancel_over_tls() {
    let (cluster, dir) = tls_cluster();
    let root = dir.path().join("root.pem");
    let root = Some(root.as_path());
    let tries = [
        ("127.0.0.1", config::TlsMode::Disable, None, Ok(false)),
        ("127.0.0.1", config::TlsMode::Prefer, None, Ok(true)),
        ("127.0.0.1", config::TlsMode::Require, None, Ok(true)),
        ("127.0.0.1", config::TlsMode::VerifyCa, root, Ok(true)),
        ("127.0.0.1", config::TlsMode::VerifyFull, root, Err(())),
        ("localhost", config::TlsMode::VerifyFull, root, Ok(true)),
    ];
    for (host, mode, root, wanted) in tries {
        let target = ServerTarget::new(&upstream(&cluster, host, mode, root)).unwrap();
        let pool = real_pool(target, settings(1));
        let got = pool.checkout(&None, 1).await;
        let encrypted = got.as_ref().map(|server| server.conn.stream.is_encrypted()).map_err(|_| ());
        assert_eq!(encrypted, wanted, "{host} {mode:?}");
        let Ok(server) = got else { continue };
        assert_eq!(matches!(server.conn.stream, Stream::TlsClient(_)), wanted == Ok(true));
        assert_eq!(server.probe(), crate::pool::socket::Probe::Quiet);

        let registry = CancelRegistry::new(Arc::new(NetConnector::default()));
        server.release();
        let alice = registry.register(false);
        let mut server = alice.checkout(&pool, &None, 1).await.unwrap();
        send(&mut server, "SELECT pg_sleep(30)").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let cancel = registry.cancel(alice.process_id(), alice.secret());
        let (outcome, ()) = tokio::join!(answer(&mut server), cancel);
        assert_eq!(outcome.unwrap_err(), SqlState::QUERY_CANCELED.as_str());
    }
    let plain = Cluster::shared().unwrap();
    let target = ServerTarget::new(&upstream(plain, "127.0.0.1", config::TlsMode::Require, None)).unwrap();
    let error = real_pool(target, settings(1)).checkout(&None, 1).await.unwrap_err();
    assert_eq!(error.code, SqlState::CONNECTION_FAILURE);
    assert!(error.message.ends_with("no secure connection"));
}
