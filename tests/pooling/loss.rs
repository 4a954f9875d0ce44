//! A client or a server is gone, at the worst moment.

use std::time::Duration;

use super::proxy;
use crate::support::lab::Lab;
use crate::support::message::{bind, execute, parse, query, startup, sync};
use crate::support::proxy::Proxy;
use crate::support::{ENDLESS, session};

const UPDATE: &str = "UPDATE wallets SET owner_name = 'changed' WHERE id = 1";

fn owner(proxy: &Proxy) -> String {
    proxy.a().connect().simple("SELECT owner_name FROM wallets WHERE id = 1").ok().value()
}

/// Ends the server connections of a database.
fn kill_backends(database: &str) {
    let kill = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = '{database}' AND usename = 'app_owner' AND backend_type = 'client backend'"
    );
    Lab::general().superuser("postgres").simple(kill).ok();
}

#[test]
fn a_client_gone_in_mid_transaction_rolls_back() {
    let proxy = proxy("loss_client", 1);
    for _ in 0..3 {
        let mut client = proxy.a().connect();
        client.simple("BEGIN").ok();
        client.simple(UPDATE).ok();
        drop(client);
        // The only connection is free again, without the transaction and its row lock.
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(owner(&proxy), "ALPHA_owner_1");
        let mut next = proxy.a().connect();
        next.simple("BEGIN; SET LOCAL lock_timeout = '1s'").ok();
        next.simple(UPDATE).ok();
        next.simple("ROLLBACK").ok();
    }
}

#[test]
fn a_client_gone_in_mid_pipeline_or_mid_result_harms_nobody() {
    let proxy = proxy("loss_pipeline", 1);
    let requests = [
        parse("", UPDATE, &[]),
        [parse("", UPDATE, &[]), bind("", "", &[], &[]), execute("", 0)].concat(),
        query("SELECT repeat('x', 1000) FROM generate_series(1, 50000)"),
        query(ENDLESS),
        query("SELECT 1")[..8].to_vec(),
    ];
    for request in requests {
        let mut client = proxy.a().connect();
        client.send(&request);
        std::thread::sleep(Duration::from_millis(50));
        drop(client);
        // The statement of a client that is gone is cancelled, or its connection replaced.
        let served = (0..30).any(|_| {
            let reply = proxy.a().connect().simple("SELECT 1");
            reply.errors.is_empty() && reply.value() == "1"
        });
        assert!(served, "after {:?}", String::from_utf8_lossy(&request[..request.len().min(40)]));
    }
    assert_eq!(owner(&proxy), "ALPHA_owner_1");
    Lab::general().comes_to_rest("loss_pipeline");
}

#[test]
fn a_server_gone_in_mid_transaction_is_said_and_the_next_client_is_served() {
    let proxy = proxy("loss_server", 1);
    let mut client = proxy.a().connect();
    client.simple("BEGIN").ok();
    client.simple(UPDATE).ok();
    kill_backends("loss_server");
    let reply = client.simple("SELECT 1");
    assert!(matches!(reply.sqlstate(), "57P01" | "08006"), "{}", reply.text());
    assert!(reply.rows.is_empty());
    assert_eq!(owner(&proxy), "ALPHA_owner_1");
}

#[test]
fn an_idle_server_connection_that_died_is_replaced() {
    let proxy = proxy("loss_idle", 2);
    let mut client = proxy.a().connect();
    client.exchange(&[parse("s", "SELECT 5", &[]), sync()], 1).ok();
    for _ in 0..3 {
        kill_backends("loss_idle");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(client.simple("SELECT max(id) FROM customers").ok().value(), "8");
        assert_eq!(client.exchange(&[bind("", "s", &[], &[]), execute("", 0), sync()], 1).ok().value(), "5");
    }
}

/// Logins that never finish hold nothing but themselves.
#[test]
fn half_open_logins_do_not_keep_others_out() {
    let proxy = proxy("loss_half", 1);
    let end = proxy.a();
    let half: Vec<_> = (0..100)
        .map(|_| {
            let mut session = session::Session::over(session::open(proxy.port));
            session.send(&startup(196_608, &[("user", &end.user), ("database", &end.database)]));
            session
        })
        .collect();
    assert_eq!(end.connect().simple("SELECT 1").ok().value(), "1");
    drop(half);
}
