//! Stopping, and a new process beside an old one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::proxy;
use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup, free_port};
use crate::support::session::Session;

fn told_to_go(session: &mut Session) {
    let reply = session.collect(1);
    assert_eq!((reply.sqlstate(), reply.closed), ("57P01", true), "{}", reply.text());
}

#[test]
fn transactions_end_before_the_process_does() {
    let mut proxy = proxy("op_drain");
    let (mut idle, mut busy) = (proxy.a().connect(), proxy.a().connect());
    idle.simple("SELECT 1").ok();
    busy.simple("BEGIN; INSERT INTO customers (id, name, email) VALUES (900001, 'late', 'late@x')").ok();
    proxy.signal("TERM");
    told_to_go(&mut idle);
    proxy.wait_for("closed port", |proxy| std::net::TcpStream::connect(("127.0.0.1", proxy.port)).is_err());
    busy.simple("UPDATE customers SET name = 'later' WHERE id = 900001").ok();
    let reply = busy.simple("COMMIT");
    assert_eq!(reply.tags, ["COMMIT"], "{}", reply.text());
    assert_eq!(proxy.wait(Duration::from_secs(15)), Some(0));
    let count =
        Lab::general().owner("op_drain").connect().simple("SELECT count(*) FROM customers WHERE name = 'later'");
    assert_eq!(count.ok().value(), "1");
}

#[test]
fn a_transaction_that_goes_on_is_ended_in_time() {
    let lab = Lab::general();
    lab.copy_of_shop("op_drain_limit");
    let setup = Setup {
        database: "op_drain_limit".to_owned(),
        listen: "shutdown_timeout = \"3s\"".to_owned(),
        ..Setup::default()
    };
    let mut proxy = Proxy::start(lab, &setup);
    let mut busy = proxy.a().connect();
    busy.simple("BEGIN; INSERT INTO customers (id, name, email) VALUES (900001, 'lost', 'lost@x')").ok();
    proxy.signal("TERM");
    assert_eq!(proxy.wait(Duration::from_secs(1)), None, "its transaction may end first");
    told_to_go(&mut busy);
    assert_eq!(proxy.wait(Duration::from_secs(15)), Some(0));
    let count = lab.owner("op_drain_limit").connect().simple("SELECT count(*) FROM customers WHERE name = 'lost'");
    assert_eq!(count.ok().value(), "0");
}

#[test]
fn a_second_signal_ends_it_now() {
    let mut proxy = proxy("op_drain_now");
    let mut busy = proxy.a().connect();
    busy.simple("BEGIN; SELECT 1").ok();
    proxy.signal("TERM");
    assert_eq!(proxy.wait(Duration::from_millis(500)), None);
    proxy.signal("INT");
    told_to_go(&mut busy);
    assert_eq!(proxy.wait(Duration::from_secs(10)), Some(0));
}

/// Clients that connect, run a transaction and leave, while one process takes the other's place.
#[test]
fn a_new_process_takes_over_without_a_failure() {
    let lab = Lab::general();
    lab.copy_of_shop("op_takeover");
    let port = free_port();
    let setup =
        Setup { database: "op_takeover".to_owned(), listen: "reuse_port = true".to_owned(), ..Setup::default() };
    let mut old = Proxy::launch(&setup.text(lab, port), port);
    let end = crate::support::session::Endpoint { database: "op_takeover".to_owned(), ..old.a() };
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (end, stop, done) = (end.clone(), Arc::clone(&stop), Arc::clone(&done));
            std::thread::spawn(move || {
                for turn in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let mut session = end.connect();
                    let id = 1_000_000 + client * 100_000 + turn;
                    session.simple("BEGIN").ok();
                    session
                        .simple(format!("INSERT INTO customers (id, name, email) VALUES ({id}, 'moved', 'm{id}@x')"))
                        .ok();
                    // It may be told to go behind its commit.
                    assert_eq!(session.simple("COMMIT").tags, ["COMMIT"]);
                    session.quit();
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let wait_for = |count: usize| {
        let target = done.load(Ordering::SeqCst) + count;
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while done.load(Ordering::SeqCst) < target && !clients.iter().any(|it| it.is_finished()) {
            assert!(std::time::Instant::now() < deadline, "no progress");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait_for(20);
    let new = Proxy::launch(&setup.text(lab, port), port);
    new.wait_for("readiness", |new| new.log().contains("pgwarden is ready"));
    wait_for(20);
    old.signal("TERM");
    assert_eq!(old.wait(Duration::from_secs(40)), Some(0));
    wait_for(20);
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().expect("no connection and no transaction fails");
    }
    let count = lab.owner("op_takeover").connect().simple("SELECT count(*) FROM customers WHERE name = 'moved'");
    assert_eq!(count.ok().value(), done.load(Ordering::SeqCst).to_string());
    assert!(new.log().contains("login accepted"), "{}", new.log());
}
