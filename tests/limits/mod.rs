//! Limits of tenants and logins, felt by real clients. Nothing here measures time but where something must not come too early.

mod driver;
mod memory;
mod shared;
mod shown;
mod table;

use std::time::{Duration, Instant};

use crate::support::ENDLESS;
use crate::support::lab::Lab;
use crate::support::message::{bind, execute, extended, parse, query, sync};
use crate::support::proxy::{Proxy, Setup};
use crate::support::reply::Reply;
use crate::support::session::Session;

/// A proxy with these limits for every tenant, in front of a database of this name.
fn limited(database: &str, limits: &str) -> Proxy {
    configured(database, &format!("[limits]\n{limits}"), "")
}

fn configured(database: &str, more: &str, listen: &str) -> Proxy {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    let (database, more, listen) = (database.to_owned(), more.to_owned(), listen.to_owned());
    Proxy::start(lab, &Setup { database, more, listen, ..Setup::default() })
}

/// The error says which limit, whose, and its value.
#[track_caller]
fn told(reply: &Reply, limit: &str, value: &str) {
    let detail = &reply.errors[0][&'D'];
    assert!(detail.contains(limit) && detail.contains("tenant \"a\"") && detail.contains(value), "{}", reply.text());
}

#[track_caller]
fn lives(session: &mut Session) {
    assert_eq!(session.simple("SELECT min(name) FROM customers").ok().value(), "ALPHA_name_1");
}

#[test]
fn connections_of_one_tenant() {
    let proxy = limited("limits_connections", "connections = 2");
    let mut held = [proxy.a().connect(), proxy.a().connect()];
    let (_, reply) = proxy.a().try_connect();
    told(&reply.refused("53300"), "connections", "2");
    // Another tenant, and an operator, have places of their own.
    let _others: Vec<_> = (0..2).map(|_| proxy.b().connect()).collect();
    let _operators: Vec<_> = (0..3).map(|_| proxy.login("operator").connect()).collect();
    lives(&mut held[0]);
    let [first, _second] = held;
    first.quit();
    let freed = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        proxy.a().try_connect().1.errors.is_empty()
    });
    assert!(freed, "the place of a client that left was not given back");
}

#[test]
fn connections_of_one_login_in_a_tenant() {
    let proxy = configured(
        "limits_login",
        "[[login]]\nname = \"small\"\npassword = \"small_pw\"\ntenants = [\"a\"]\nlimits = { connections = 1 }",
        "",
    );
    let small = proxy.login("small");
    let mut held = small.connect();
    let (_, reply) = small.try_connect();
    let reply = reply.refused("53300");
    assert!(reply.errors[0][&'D'].contains("login \"small\" in tenant \"a\""), "{}", reply.text());
    proxy.a().connect();
    lives(&mut held);
}

#[test]
fn statements_per_second_rejected() {
    let proxy = limited("limits_rate", "statements_per_second = 1\nburst = 4\non_limit = \"reject\"");
    let mut a = proxy.a().connect();
    let mut failed = 0;
    // Simple, extended, prepared, and what pgwarden answers by itself: all are statements.
    for n in 0..24 {
        let reply = match n % 4 {
            0 => a.simple("SELECT 1"),
            1 => a.exchange(&[extended("SELECT 2", &[]), sync()], 1),
            2 => a.simple("SHOW TimeZone"),
            _ => a.simple(""),
        };
        if !reply.errors.is_empty() {
            failed += 1;
            told(&reply, "statements_per_second", "1");
            assert!(reply.refused("53400").errors[0][&'H'].starts_with("Try again in "));
        }
    }
    // However slow the machine: not all can have passed in the time that they took, unless it was 20 seconds.
    assert!(failed > 0);
    proxy.b().connect().simple("SELECT 1").ok();
    std::thread::sleep(Duration::from_millis(1_100));
    lives(&mut a);
}

/// Pipelined statements above the rate: none fails, and they take the time that they must.
#[test]
fn statements_per_second_waited_for() {
    let proxy = limited("limits_wait", "statements_per_second = 20\nburst = 1");
    let mut a = proxy.a().connect();
    let mut one = extended("SELECT name FROM customers WHERE id = 1", &[]);
    one.extend(sync());
    let began = Instant::now();
    a.exchange(
        &[one.repeat(10), query("SELECT 1; SELECT 2"), query("SELECT 3")]
            .concat()
            .chunks(1 << 20)
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>(),
        12,
    )
    .ok();
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    lives(&mut a);
}

/// A prepared statement pays for each execution, not for being prepared besides.
#[test]
fn prepared_executions_count() {
    let proxy = limited("limits_prepared", "statements_per_second = 1\nburst = 6\non_limit = \"reject\"");
    let mut a = proxy.a().connect();
    a.exchange(&[parse("s", "SELECT min(name) FROM customers", &[]), sync()], 1).ok();
    let run = [bind("", "s", &[], &[]), execute("", 0)].concat();
    let reply = a.exchange(&[run.repeat(40), sync()], 1).refused("53400");
    assert!(reply.rows.len() >= 5 && reply.rows.len() < 40, "{}", reply.rows.len());
    std::thread::sleep(Duration::from_millis(2_100));
    assert_eq!(a.exchange(&[run, sync()], 1).ok().value(), "ALPHA_name_1");
}

#[test]
fn a_transaction_that_is_limited_can_still_be_ended() {
    let proxy = limited("limits_ends", "statements_per_second = 1\nburst = 2\non_limit = \"reject\"");
    let mut a = proxy.a().connect();
    a.simple("BEGIN").ok();
    while a.simple("SELECT 1").errors.is_empty() {}
    let reply = a.simple("ROLLBACK").ok();
    assert_eq!(reply.states, "I");
    let mut a = proxy.b().connect();
    a.simple("BEGIN").ok();
    while a.simple("SELECT 1").errors.is_empty() {}
    assert_eq!(a.extended("ROLLBACK", &[]).ok().states, "I");
}

#[test]
fn transactions_at_one_time() {
    let proxy = limited("limits_transactions", "transactions = 1\nmax_wait = \"15s\"");
    let (mut first, mut second, mut third) = (proxy.a().connect(), proxy.a().connect(), proxy.a().connect());
    first.simple("BEGIN; SELECT 1").ok();
    second.send(&query("SELECT 'second'"));
    std::thread::sleep(Duration::from_millis(100));
    third.send(&query("SELECT 'third'"));
    // It waits without a server connection: only the first one's is in use, however many there could be.
    std::thread::sleep(Duration::from_millis(200));
    proxy.b().connect().simple("SELECT 1").ok();
    let used = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'limits_transactions' AND usename = 'app_owner' \
                AND state = 'idle in transaction'";
    assert_eq!(Lab::general().superuser("postgres").simple(used).ok().value(), "1");
    first.simple("COMMIT").ok();
    assert_eq!(second.collect(1).ok().value(), "second");
    assert_eq!(third.collect(1).ok().value(), "third");
    // A client that waits can be cancelled, and one that leaves leaves nothing behind.
    first.simple("BEGIN").ok();
    second.send(&query("SELECT 1"));
    third.send(&query("SELECT 1"));
    std::thread::sleep(Duration::from_millis(100));
    drop(third);
    let (pid, key) = second.cancel_key.clone().unwrap();
    crate::support::session::cancel(proxy.port, pid, &key);
    second.collect(1).refused("57014");
    first.simple("COMMIT").ok();
    lives(&mut second);
}

#[test]
fn transactions_rejected() {
    let proxy = limited("limits_reject", "transactions = 1\non_limit = \"reject\"");
    let (mut first, mut second) = (proxy.a().connect(), proxy.a().connect());
    first.simple("BEGIN").ok();
    told(&second.simple("SELECT 1").refused("53400"), "transactions", "1");
    second.exchange(&[extended("SELECT 1", &[]), sync()], 1).refused("53400");
    first.simple("COMMIT").ok();
    lives(&mut second);
    lives(&mut first);
}

#[test]
fn statement_time() {
    let proxy = limited("limits_time", "statement_timeout = \"200ms\"");
    let mut a = proxy.a().connect();
    let reply = a.simple(ENDLESS).refused("57014");
    told(&reply, "statement_timeout", "200ms");
    assert!(reply.errors[0][&'M'].contains("statement timeout"));
    a.extended(ENDLESS, &[]).refused("57014");
    a.simple("BEGIN").ok();
    a.simple(ENDLESS).refused("57014");
    assert_eq!(a.simple("ROLLBACK").ok().states, "I");
    lives(&mut a);
    // The server connections are free again: nothing runs on.
    Lab::general().comes_to_rest("limits_time");
}

#[test]
fn time_idle_in_a_transaction() {
    let proxy = limited("limits_idle_tx", "idle_in_transaction_timeout = \"200ms\"");
    let mut a = proxy.a().connect();
    a.simple("BEGIN; UPDATE customers SET name = name").ok();
    let reply = a.collect(1).refused("25P03");
    told(&reply, "idle_in_transaction_timeout", "200ms");
    assert!(reply.closed);
    // Its locks are gone with it.
    proxy.a().connect().simple("UPDATE customers SET name = name").ok();
    // Idle outside of a transaction is another thing.
    let mut a = proxy.a().connect();
    lives(&mut a);
    std::thread::sleep(Duration::from_millis(500));
    lives(&mut a);
}

#[test]
fn time_of_a_transaction() {
    let proxy = limited("limits_tx_time", "transaction_timeout = \"300ms\"");
    let mut a = proxy.a().connect();
    a.simple("BEGIN").ok();
    let reply = (0..1_000)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            a.simple("SELECT 1")
        })
        .find(|reply| !reply.errors.is_empty())
        .unwrap();
    told(&reply.refused("25P04"), "transaction_timeout", "300ms");
    let mut a = proxy.a().connect();
    a.simple(ENDLESS).refused("25P04");
    Lab::general().comes_to_rest("limits_tx_time");
}

#[test]
fn time_idle() {
    let proxy = configured("limits_idle", "", "idle_timeout = \"300ms\"");
    let mut a = proxy.a().connect();
    lives(&mut a);
    let reply = a.collect(1).refused("57P05");
    assert!(reply.closed && reply.errors[0][&'D'].contains("all clients"), "{}", reply.text());
    // An operator too; and never within a transaction.
    let mut operator = proxy.login("operator").connect();
    operator.simple("BEGIN").ok();
    std::thread::sleep(Duration::from_millis(700));
    operator.simple("COMMIT").ok();
    operator.collect(1).refused("57P05");
}

#[test]
fn rows_and_bytes_of_a_result() {
    for (database, limit, name, value) in [
        ("limits_rows", "result_rows = 100", "result_rows", "100"),
        ("limits_bytes", "result_bytes = \"4kB\"", "result_bytes", "4096"),
    ] {
        let proxy = limited(database, limit);
        let mut a = proxy.a().connect();
        let endless = "SELECT 'some text to fill it' FROM generate_series(1, 20000) a, generate_series(1, 20000) b";
        let small = "SELECT 'some text to fill it' FROM generate_series(1, 150)";
        for sql in [endless, small] {
            let reply = a.simple(sql).refused("54000");
            told(&reply, name, value);
            assert!(reply.rows.len() <= 140 && reply.states == "I", "{} {}", reply.rows.len(), reply.states);
            let reply = a.extended(sql, &[]).refused("54000");
            assert!(reply.rows.len() <= 140 && reply.states == "I");
            // In a transaction block it fails, as after any error.
            a.simple("BEGIN").ok();
            assert_eq!(a.simple(sql).refused("54000").states, "E");
            a.simple("SELECT 1").refused("25P02");
            a.simple("ROLLBACK").ok();
            a.simple("BEGIN").ok();
            assert_eq!(a.extended(sql, &[]).refused("54000").states, "E");
            a.simple("ROLLBACK").ok();
        }
        a.simple(format!("COPY ({endless}) TO STDOUT")).refused("54000");
        // One row that is too long by itself.
        if name == "result_bytes" {
            assert!(a.simple("SELECT repeat('x', 1000000)").refused("54000").rows.is_empty());
        }
        // Below the limit, and in parts, all is well.
        assert_eq!(a.simple("SELECT 'x' FROM generate_series(1, 90)").ok().rows.len(), 90);
        lives(&mut a);
    }
}

#[test]
fn bytes_of_a_statement() {
    let proxy = limited("limits_size", "statement_bytes = \"1kB\"");
    let mut a = proxy.a().connect();
    for size in [1_100, 100_000, 20_000_000] {
        let long = format!("SELECT '{}'", "x".repeat(size));
        told(&a.simple(&long).refused("54000"), "statement_bytes", "1024");
        a.extended(&long, &[]).refused("54000");
    }
    // Values are not the statement's text.
    assert_eq!(a.extended("SELECT length($1::text)", &[Some(&"x".repeat(5_000))]).ok().value(), "5000");
    lives(&mut a);
}

/// A login of several tenants is held to the limits of the one that it acts for.
#[test]
fn the_tenant_acted_for_pays() {
    let proxy = limited("limits_switch", "statements_per_second = 1\nburst = 8\non_limit = \"reject\"");
    let mut app = crate::support::session::Endpoint::new(proxy.port, "app", "app_pw", "limits_switch").connect();
    let of = |tenant: &str| format!("/* tenant='{tenant}' */ SELECT min(name) FROM customers");
    while app.simple(of("a")).errors.is_empty() {}
    app.simple(of("a")).refused("53400");
    assert_eq!(app.simple(of("b")).ok().value(), "CANARY_B_name_1");
}
