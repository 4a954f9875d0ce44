//! Each limit of a login in a tenant as a driver meets it: SQLSTATE, DETAIL with name and value, HINT; and that the session
//! lives on. Defaults and overrides.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, Error, NoTls};

use super::configured;
use crate::support::ENDLESS;
use crate::support::lab::{Lab, block_on};
use crate::support::proxy::Proxy;
use crate::support::session::{Endpoint, PATIENCE};

const LOGINS: [(&str, &str); 13] = [
    ("connections", "connections = 1"),
    ("reject", "transactions = 1, on_limit = \"reject\""),
    ("wait", "transactions = 1, max_wait = \"200ms\""),
    ("rate", "statements_per_second = 2, burst = 3, on_limit = \"reject\""),
    ("rate_wait", "statements_per_second = 1, burst = 1, max_wait = \"300ms\""),
    ("statement", "statement_timeout = \"150ms\""),
    ("transaction", "transaction_timeout = \"400ms\""),
    ("pause", "idle_in_transaction_timeout = \"150ms\""),
    ("idle", "idle_timeout = \"150ms\""),
    ("rows", "result_rows = 5"),
    ("bytes", "result_bytes = \"1kB\""),
    ("size", "statement_bytes = \"1kB\""),
    ("free", "result_rows = 0"),
];

fn proxy(database: &str) -> Proxy {
    let mut more = "[limits.login]\nresult_rows = 7\n[limits]\nresult_rows = 9\n".to_owned();
    for (name, limits) in LOGINS {
        more += &format!(
            "[[login]]\nname = \"{name}\"\npassword = \"{name}_pw\"\ntenants = [\"a\", \"b\"]\nlimits = {{ {limits} }}\n"
        );
    }
    configured(database, &more, "")
}

fn end(proxy: &Proxy, login: &str, tenant: &str) -> Endpoint {
    Endpoint::new(proxy.port, login, &format!("{login}_pw"), tenant)
}

type Connected = (Client, JoinHandle<Result<(), Error>>);

async fn connect(proxy: &Proxy, login: &str) -> Connected {
    let (client, connection) = tokio_postgres::connect(&end(proxy, login, "a").url(), NoTls).await.expect(login);
    (client, tokio::spawn(connection))
}

#[track_caller]
fn refused<T>(outcome: Result<T, Error>) -> DbError {
    let error = outcome.err().expect("a refusal");
    error.as_db_error().unwrap_or_else(|| panic!("{error}")).clone()
}

/// The error says what a client needs to know.
#[track_caller]
fn told(error: &DbError, code: &str, login: &str, limit: &str, value: &str) {
    assert_eq!(error.code().code(), code, "{error:?}");
    let detail = format!("The limit {limit} of login \"{login}\" in tenant \"a\" is {value}.");
    assert_eq!(error.detail(), Some(detail.as_str()), "{error:?}");
}

#[track_caller]
fn hints(error: &DbError, part: &str) {
    assert!(error.hint().is_some_and(|hint| hint.contains(part)), "{error:?}");
}

/// What the server said when it ended the connection.
async fn ended(connection: JoinHandle<Result<(), Error>>) -> DbError {
    let end = tokio::time::timeout(PATIENCE, connection).await.expect("the connection ends");
    refused(end.unwrap())
}

async fn lives(client: &Client) {
    let row = client.query_one("SELECT min(name) FROM customers", &[]).await.expect("the session lives");
    assert_eq!(row.get::<_, &str>(0), "ALPHA_name_1");
}

#[test]
fn connections_and_transactions_of_a_login() {
    let proxy = proxy("limits_driver_counts");
    block_on(async {
        let (held, _) = connect(&proxy, "connections").await;
        let url = end(&proxy, "connections", "a").url();
        let error = refused(tokio_postgres::connect(&url, NoTls).await);
        told(&error, "53300", "connections", "connections", "1");
        hints(&error, "Try again when");
        // In the other tenant it has a place of its own.
        let elsewhere = end(&proxy, "connections", "b").url();
        assert!(tokio_postgres::connect(&elsewhere, NoTls).await.is_ok());
        lives(&held).await;
        for (login, hint) in [("reject", "Try again when"), ("wait", "No transaction ended within 200ms")] {
            let ((first, _), (second, _)) = (connect(&proxy, login).await, connect(&proxy, login).await);
            first.batch_execute("BEGIN; SELECT 1").await.unwrap();
            for error in [refused(second.query("SELECT 1", &[]).await), refused(second.batch_execute("SELECT 1").await)]
            {
                told(&error, "53400", login, "transactions", "1");
                hints(&error, hint);
            }
            first.batch_execute("COMMIT").await.unwrap();
            lives(&second).await;
            lives(&first).await;
        }
        // One that waits long enough is served.
        let ((first, _), (second, _)) = (connect(&proxy, "wait").await, connect(&proxy, "wait").await);
        first.batch_execute("BEGIN; SELECT 1").await.unwrap();
        let waiting = tokio::spawn(async move { second.batch_execute("SELECT 1").await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        first.batch_execute("COMMIT").await.unwrap();
        waiting.await.unwrap().unwrap();
    });
}

#[test]
fn the_rate_of_a_login() {
    let proxy = proxy("limits_driver_rate");
    block_on(async {
        for (login, value) in [("rate", "2"), ("rate_wait", "1")] {
            let (client, _) = connect(&proxy, login).await;
            let error = loop {
                let outcomes = futures_util::future::join_all((0..8).map(|_| client.batch_execute("SELECT 1"))).await;
                if let Some(outcome) = outcomes.into_iter().find(Result::is_err) {
                    break refused(outcome);
                }
            };
            told(&error, "53400", login, "statements_per_second", value);
            // As long as it says, and then there is a turn.
            let hint = error.hint().unwrap();
            let millis = hint.strip_prefix("Try again in ").and_then(|it| it.strip_suffix(" ms.")).unwrap();
            let millis: u64 = millis.parse().unwrap();
            assert!((1..=1_100).contains(&millis), "{hint}");
            tokio::time::sleep(Duration::from_millis(millis + 1_000)).await;
            lives(&client).await;
        }
    });
}

#[test]
fn times_of_a_login() {
    let proxy = proxy("limits_driver_times");
    block_on(async {
        let (client, _) = connect(&proxy, "statement").await;
        for error in [refused(client.query(ENDLESS, &[]).await), refused(client.batch_execute(ENDLESS).await)] {
            told(&error, "57014", "statement", "statement_timeout", "150ms");
        }
        lives(&client).await;
        let (client, connection) = connect(&proxy, "pause").await;
        client.batch_execute("BEGIN; SELECT 1").await.unwrap();
        told(&ended(connection).await, "25P03", "pause", "idle_in_transaction_timeout", "150ms");
        let (_client, connection) = connect(&proxy, "idle").await;
        told(&ended(connection).await, "57P05", "idle", "idle_timeout", "150ms");
        let (client, _) = connect(&proxy, "transaction").await;
        lives(&client).await;
        client.batch_execute("BEGIN").await.unwrap();
        let error = refused(client.query(ENDLESS, &[]).await);
        told(&error, "25P04", "transaction", "transaction_timeout", "400ms");
        Lab::general().comes_to_rest("limits_driver_times");
    });
}

#[test]
fn sizes_of_a_login_with_defaults_and_overrides() {
    let proxy = proxy("limits_driver_sizes");
    let rows = |count: u32| format!("SELECT n FROM generate_series(1, {count}) n");
    block_on(async {
        // A login's own limit goes before the default of logins; where it has none, that holds; where it has lifted it, the
        // tenant's holds.
        for (login, most) in [("rows", 5), ("size", 7), ("free", 9)] {
            let (client, _) = connect(&proxy, login).await;
            assert_eq!(client.query(&rows(most), &[]).await.unwrap().len(), most as usize);
            let error = refused(client.query(&rows(most + 1), &[]).await);
            assert_eq!(error.code().code(), "54000");
            hints(&error, "LIMIT");
            if login == "free" {
                assert_eq!(error.detail(), Some("The limit result_rows of tenant \"a\" is 9."));
            } else {
                told(&error, "54000", login, "result_rows", &most.to_string());
            }
            lives(&client).await;
        }
        let (client, _) = connect(&proxy, "bytes").await;
        let error = refused(client.query("SELECT repeat('x', 2000)", &[]).await);
        told(&error, "54000", "bytes", "result_bytes", "1024");
        lives(&client).await;
        let (client, _) = connect(&proxy, "size").await;
        let long = format!("SELECT '{}'", "x".repeat(1_500));
        for error in [refused(client.query(&long, &[]).await), refused(client.batch_execute(&long).await)] {
            told(&error, "54000", "size", "statement_bytes", "1024");
            hints(&error, "parameters");
        }
        lives(&client).await;
    });
}
