use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};

use super::*;

const ONE: &str = "size = 1, wait_timeout = \"20s\"";
const TWO: &str = "size = 2, wait_timeout = \"20s\"";

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_over_one_server_connection() {
    let proxy = Proxy::start(ONE).await;
    let (a, b) = (proxy.client().await, proxy.client().await);
    assert_eq!(one(&a, "SELECT 1").await, "1");
    assert_eq!(one(&a, "SELECT 1; SELECT 2").await, "2");
    let row = b.query_one("SELECT $1::int + 1", &[&41i32]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 42);
    let (statement_a, statement_b) =
        (a.prepare("SELECT $1::text").await.unwrap(), b.prepare("SELECT $1::text").await.unwrap());
    for client_statement in [(&a, &statement_a), (&b, &statement_b), (&a, &statement_a)] {
        let (client, statement) = client_statement;
        assert_eq!(client.query_one(statement, &[&"x"]).await.unwrap().get::<_, &str>(0), "x");
    }
    // One server connection served them all, and holds one statement for both.
    assert_eq!(
        one(
            &a,
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '' AND backend_type = 'client backend' \
             AND datname = current_database()"
        )
        .await,
        "1"
    );
    assert_eq!(one(&a, "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1::text'").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_sees_its_own_settings() {
    let proxy = Proxy::start(ONE).await;
    let mut config = proxy.config("ops");
    let a = connect(config.options("-c timezone=Asia/Tokyo -c work_mem=1MB").application_name("a")).await.unwrap();
    let b = proxy.client().await;
    for _ in 0..2 {
        assert_eq!(one(&a, "SHOW timezone").await, "Asia/Tokyo");
        assert_eq!(one(&a, "SHOW work_mem").await, "1MB");
        assert_eq!(one(&a, "SHOW application_name").await, "a");
        assert_ne!(one(&b, "SHOW timezone").await, "Asia/Tokyo");
        assert_ne!(one(&b, "SHOW work_mem").await, "1MB");
    }
    b.batch_execute("SET work_mem TO '2MB'").await.unwrap();
    b.batch_execute("BEGIN; SET work_mem TO '3MB'; ROLLBACK").await.unwrap();
    b.batch_execute("BEGIN; SET LOCAL work_mem TO '3MB'; COMMIT").await.unwrap();
    b.batch_execute("SET my.own TO 'it''s'").await.unwrap();
    assert_eq!(one(&a, "SHOW work_mem").await, "1MB");
    assert_eq!(one(&a, "SELECT coalesce(nullif(current_setting('my.own', true), ''), 'none')").await, "none");
    assert_eq!(one(&b, "SHOW work_mem").await, "2MB");
    assert_eq!(one(&b, "SHOW my.own").await, "it's");
    // RESET goes back to what the client connected with.
    a.batch_execute("SET work_mem TO '5MB'").await.unwrap();
    a.batch_execute("RESET work_mem").await.unwrap();
    assert_eq!(one(&b, "SHOW work_mem").await, "2MB");
    assert_eq!(one(&a, "SHOW work_mem").await, "1MB");
    b.batch_execute("DISCARD ALL").await.unwrap();
    assert_ne!(one(&b, "SHOW work_mem").await, "2MB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_startup_setting_is_told_as_postgres_does() {
    let proxy = Proxy::start(ONE).await;
    let mut config = proxy.config("ops");
    let error = connect(config.options("-c timezone=Nowhere/City")).await.unwrap_err();
    assert_eq!(code(&error), "22023");
    let error = connect(proxy.config("ops").options("-c no_such_setting=1")).await.unwrap_err();
    assert_eq!(code(&error), "42704");
    assert_eq!(one(&proxy.client().await, "SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_logins_look_alike() {
    let proxy = Proxy::start(ONE).await;
    assert!(connect(&proxy.config("app@acme")).await.is_ok());
    let mut wrong = proxy.config("app@acme");
    let wrong = connect(wrong.password("guess")).await.unwrap_err();
    let unknown = connect(&proxy.config("nobody@acme")).await.unwrap_err();
    assert_eq!((code(&wrong), code(&unknown)), ("28P01".into(), "28P01".into()));
    let tenant = connect(&proxy.config("app@nosuch")).await.unwrap_err();
    assert_eq!(code(&tenant), "28000");
    let mut guess = proxy.config("app@nosuch");
    assert_eq!(code(&connect(guess.password("guess")).await.unwrap_err()), "28P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_keep_transaction_semantics() {
    let proxy = Proxy::start(ONE).await;
    let client = proxy.client().await;
    assert_eq!(code(&client.batch_execute("REFUSED").await.unwrap_err()), "42501");
    assert_eq!(code(&client.query("REFUSED", &[]).await.unwrap_err()), "42501");
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(code(&client.query("REFUSED", &[]).await.unwrap_err()), "42501");
    assert_eq!(code(&client.query("SELECT 1", &[]).await.unwrap_err()), "25P02");
    assert_eq!(code(&client.batch_execute("SELECT 1").await.unwrap_err()), "25P02");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(one(&client, "SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_both_ways() {
    let proxy = Proxy::start(ONE).await;
    let client = proxy.client().await;
    client.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    let mut sink = Box::pin(client.copy_in("COPY t FROM STDIN").await.unwrap());
    for n in 0..1000 {
        sink.send(Bytes::from(format!("{n}\n"))).await.unwrap();
    }
    assert_eq!(sink.as_mut().finish().await.unwrap(), 1000);
    let stream = client.copy_out("COPY t TO STDOUT").await.unwrap();
    let parts: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert_eq!(parts.concat().iter().filter(|byte| **byte == b'\n').count(), 1000);
    let mut sink = Box::pin(client.copy_in("COPY t FROM STDIN").await.unwrap());
    sink.send(Bytes::from_static(b"not a number\n")).await.unwrap();
    assert_eq!(code(&sink.as_mut().finish().await.unwrap_err()), "22P02");
    assert_eq!(code(&client.copy_in::<_, Bytes>("COPY nowhere FROM STDIN").await.err().unwrap()), "42P01");
    // tokio-postgres sends a Sync too many after a COPY that did not begin: with Postgres itself, too, it is confused then.
    assert_eq!(one(&proxy.client().await, "SELECT count(*) FROM t").await, "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_pipelines_with_large_answers() {
    let proxy = Proxy::start(ONE).await;
    let client = proxy.client().await;
    let statement = client.prepare("SELECT repeat($1, 20000)").await.unwrap();
    let text = "x".repeat(20_000 / 100);
    let query = || async { client.query_one(&statement, &[&text]).await };
    let rows = futures_util::future::join_all((0..300).map(|_| query())).await;
    assert!(rows.into_iter().all(|row| row.unwrap().get::<_, &str>(0).len() == 200 * 20_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_many_clients_take_turns() {
    let proxy = Proxy::start(TWO).await;
    proxy.client().await.batch_execute("CREATE TABLE counter (n int); INSERT INTO counter VALUES (0)").await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let mut client = proxy.client().await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..20 {
                let transaction = client.transaction().await.unwrap();
                transaction.execute("UPDATE counter SET n = n + $1", &[&1i32]).await.unwrap();
                transaction.commit().await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(one(&proxy.client().await, "SELECT n FROM counter").await, "160");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_mid_transaction_leaves_no_locks() {
    let proxy = Proxy::start(TWO).await;
    let (a, b) = (proxy.client().await, proxy.client().await);
    a.batch_execute("CREATE TABLE t (n int)").await.unwrap();
    a.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
    drop(a);
    tokio::time::timeout(Duration::from_secs(10), b.batch_execute("SELECT * FROM t")).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_lost_in_mid_transaction_ends_its_client_only() {
    let proxy = Proxy::start(TWO).await;
    let (a, b) = (proxy.client().await, proxy.client().await);
    let pid = one(&a, "BEGIN; SELECT pg_backend_pid()").await;
    one(&b, &format!("SELECT pg_terminate_backend({pid})")).await;
    let error = a.batch_execute("SELECT 1").await.unwrap_err();
    assert!(error.is_closed() || code(&error) == "57P01", "{error:?}");
    assert_eq!(one(&b, "SELECT 1").await, "1");
    assert_eq!(one(&proxy.client().await, "SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_reaches_the_statement_that_runs() {
    let proxy = Proxy::start(TWO).await;
    let (client, other) = (proxy.client().await, proxy.client().await);
    let token = client.cancel_token();
    let running = tokio::spawn(async move { (client.batch_execute("SELECT pg_sleep(30.5)").await, client) });
    while one(&other, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30.5)'").await != "1" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    token.cancel_query(NoTls).await.unwrap();
    let (outcome, client) = running.await.unwrap();
    assert_eq!(code(&outcome.unwrap_err()), "57014");
    assert_eq!(one(&client, "SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_listens_keeps_its_server() {
    let proxy = Proxy::start(TWO).await;
    let (a, b) = (proxy.client().await, proxy.client().await);
    a.batch_execute("LISTEN news").await.unwrap();
    let pid = one(&a, "SELECT pg_backend_pid()").await;
    assert_ne!(one(&b, "SELECT pg_backend_pid()").await, pid);
    assert_eq!(one(&a, "SELECT count(*) FROM pg_listening_channels()").await, "1");
    assert_eq!(one(&b, "SELECT count(*) FROM pg_listening_channels()").await, "0");
    a.batch_execute("DISCARD ALL").await.unwrap();
    assert_eq!(one(&a, "SELECT count(*) FROM pg_listening_channels()").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_of_one_pool_have_their_own_sealed_setting() {
    let proxy = Proxy::start(ONE).await;
    let (acme, ops) = (connect(&proxy.config("app@acme")).await.unwrap(), proxy.client().await);
    for _ in 0..2 {
        assert_eq!(one(&acme, "SELECT current_setting('app.tenant_id', true)").await, "42");
        assert_ne!(one(&ops, "SELECT coalesce(current_setting('app.tenant_id', true), '')").await, "42");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn session_pooling_leaves_nothing_behind() {
    let proxy = Proxy::start("mode = \"session\", size = 1, wait_timeout = \"20s\"").await;
    let a = proxy.client().await;
    a.batch_execute("CREATE TEMP TABLE mine (n int); PREPARE p AS SELECT 1; SET work_mem TO '1MB'").await.unwrap();
    assert_eq!(one(&a, "EXECUTE p").await, "1");
    drop(a);
    let b = proxy.client().await;
    assert_eq!(one(&b, "SELECT count(*) FROM pg_class WHERE relname = 'mine'").await, "0");
    assert_ne!(one(&b, "SHOW work_mem").await, "1MB");
    assert!(b.batch_execute("EXECUTE p").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_lets_transactions_end() {
    let mut proxy = Proxy::start(TWO).await;
    let (idle, busy) = (proxy.client().await, proxy.client().await);
    idle.batch_execute("SELECT 1").await.unwrap();
    busy.batch_execute("BEGIN").await.unwrap();
    proxy.stop.send_replace(Some(Ending::Drain(Duration::from_secs(2))));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(idle.is_closed());
    busy.batch_execute("SELECT 1").await.unwrap();
    busy.batch_execute("COMMIT").await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), &mut proxy.done).await.unwrap().unwrap();
    assert!(busy.batch_execute("SELECT 1").await.is_err());
}
