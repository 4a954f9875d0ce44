//! tokio-postgres: binary formats, prepared statements, pipelining, COPY, transactions, cancel.

use futures_util::{SinkExt, TryStreamExt, future};
use tokio_postgres::{Client, NoTls};

use super::PROXY;
use crate::support::ENDLESS;
use crate::support::lab::block_on;
use crate::support::session::Endpoint;

async fn connect(end: &Endpoint) -> Client {
    let (client, connection) = tokio_postgres::connect(&end.url(), NoTls).await.expect("a connection");
    tokio::spawn(async move { drop(connection.await) });
    client
}

#[test]
fn tokio_postgres_reads_and_writes() {
    let end = PROXY.get().a();
    block_on(async {
        let mut client = connect(&end).await;
        let rows =
            client.query("SELECT id, name, tags, created_on::text FROM customers WHERE id <= $1 ORDER BY id", &[&3i64]);
        let rows = rows.await.unwrap();
        let names: Vec<&str> = rows.iter().map(|it| it.get("name")).collect();
        assert_eq!(names, ["ALPHA_name_1", "ALPHA_name_2", "ALPHA_name_3"]);
        let tags: Vec<String> = rows[0].get("tags");
        assert_eq!(tags, ["ALPHA_tag_1", "vip"]);
        // An enum: the driver looks its type up in the catalog.
        let status = client.query_one("SELECT status FROM orders WHERE id = 1", &[]).await.unwrap();
        assert_eq!(status.columns()[0].type_().name(), "order_status");

        let transaction = client.transaction().await.unwrap();
        let insert = "INSERT INTO settings (k, v) VALUES ($1, $2) RETURNING tenant_id";
        let row = transaction.query_one(insert, &[&"rust", &"x"]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 1);
        transaction.rollback().await.unwrap();
        let left = client.query_one("SELECT count(*) FROM settings WHERE k = 'rust'", &[]).await.unwrap();
        assert_eq!(left.get::<_, i64>(0), 0);
    });
}

#[test]
fn tokio_postgres_pipelines() {
    let end = PROXY.get().a();
    block_on(async {
        let client = connect(&end).await;
        let statement = client.prepare("SELECT name FROM customers WHERE id = $1").await.unwrap();
        let client = &client;
        let statement = &statement;
        let queries = (1..=8i64).map(|id| async move { client.query_one(statement, &[&id]).await });
        let rows = future::try_join_all(queries).await.unwrap();
        let names: Vec<&str> = rows.iter().map(|it| it.get(0)).collect();
        assert_eq!(names, (1..=8).map(|id| format!("ALPHA_name_{id}")).collect::<Vec<_>>());
    });
}

#[test]
fn tokio_postgres_copies() {
    let end = PROXY.get().a();
    block_on(async {
        let client = connect(&end).await;
        let sink = client.copy_in::<_, bytes::Bytes>("COPY settings (k, v) FROM STDIN").await.unwrap();
        let mut sink = std::pin::pin!(sink);
        sink.send(bytes::Bytes::from_static(b"rust1\tx\nrust2\ty\n")).await.unwrap();
        assert_eq!(sink.finish().await.unwrap(), 2);
        let stream = client.copy_out("COPY (SELECT tenant_id, k FROM settings WHERE k LIKE 'rust_') TO STDOUT");
        let chunks: Vec<bytes::Bytes> = stream.await.unwrap().try_collect().await.unwrap();
        assert_eq!(chunks.concat(), b"1\trust1\n1\trust2\n");
        assert_eq!(client.execute("DELETE FROM settings WHERE k LIKE 'rust_'", &[]).await.unwrap(), 2);
    });
}

#[test]
fn tokio_postgres_cancels() {
    let end = PROXY.get().a();
    block_on(async {
        let client = connect(&end).await;
        let token = client.cancel_token();
        // Again and again: one that comes before the statement runs is for nothing.
        let cancel = async {
            loop {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                token.cancel_query(NoTls).await.unwrap();
            }
        };
        let endless = client.query_one(ENDLESS, &[]);
        let result = tokio::select! {
            result = endless => result,
            () = cancel => unreachable!("it ends only with the statement"),
        };
        assert_eq!(result.unwrap_err().code().map(|it| it.code()), Some("57014"));
        assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    });
}
