//! Transaction pooling: many clients on few server connections, each as if it had one of its own.

mod channels;
mod circumstances;
mod dropping;
mod fairness;
mod leftovers;
mod loss;
mod names;
mod rest;
mod settings;
mod sharing;
mod temporary;

use std::time::Duration;

use crate::support::lab::Lab;
use crate::support::message::{bind, close, describe, execute, parse, query, sync};
use crate::support::proxy::{Proxy, Setup};
use crate::support::session::Session;

/// A proxy with so many server connections, in front of a database of this name.
pub fn proxy(database: &str, size: usize) -> Proxy {
    with_pool(database, &format!("size = {size}"))
}

/// A proxy with one server connection, for which nobody waits long. Long enough for it to be opened: the first one in a new database
/// takes a while on a busy machine.
pub fn impatient(database: &str) -> Proxy {
    with_pool(database, r#"size = 1, wait_timeout = "2s""#)
}

fn with_pool(database: &str, settings: &str) -> Proxy {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    let pool = format!(r#"{{ mode = "transaction", {settings} }}"#);
    Proxy::start(lab, &Setup { database: database.to_owned(), pool, ..Setup::default() })
}

#[test]
fn many_clients_share_few_server_connections() {
    let proxy = proxy("pooling_many", 2);
    let mut clients: Vec<Session> = (0..30).map(|n| [proxy.a(), proxy.b()][n % 2].connect()).collect();
    for client in &mut clients {
        client.send(&query("SELECT count(*), min(left(name, 5)) FROM customers"));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.collect(1).ok().texts(), [["8", ["ALPHA", "CANAR"][n % 2]]], "client {n}");
    }
    let used = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'pooling_many' AND usename = 'app_owner' \
                AND backend_type = 'client backend' AND query LIKE '%customers%'";
    let used: usize = Lab::general().superuser("postgres").simple(used).ok().value().parse().unwrap();
    assert!((1..=2).contains(&used), "{used} server connections");
}

#[test]
fn a_transaction_keeps_its_connection_and_others_wait() {
    let proxy = impatient("pooling_wait");
    let (mut first, mut second) = (proxy.a().connect(), proxy.b().connect());
    first.simple("BEGIN; SELECT 1").ok();
    second.simple("SELECT 1").refused("53300");
    first.simple("COMMIT").ok();
    assert_eq!(second.simple("SELECT 1").ok().value(), "1");
}

#[test]
fn a_waiting_client_is_served_when_the_connection_comes_free() {
    let proxy = proxy("pooling_free", 1);
    let (mut first, mut second) = (proxy.a().connect(), proxy.b().connect());
    first.simple("BEGIN; SELECT 1").ok();
    second.send(&query("SELECT 2"));
    std::thread::sleep(Duration::from_millis(150));
    first.simple("ROLLBACK").ok();
    assert_eq!(second.collect(1).ok().value(), "2");
}

/// A named statement works on whatever server connection its next use gets.
#[test]
fn prepared_statements_follow_the_client() {
    let proxy = proxy("pooling_prepared", 3);
    let mut client = proxy.a().connect();
    let sql = "SELECT name FROM customers WHERE id = $1";
    client.exchange(&[parse("by_id", sql, &[]), sync()], 1).ok();
    let mut blockers: Vec<Session> = (0..2).map(|_| proxy.b().connect()).collect();
    for (n, blocked) in [&[][..], &[0], &[0, 1], &[1]].iter().enumerate() {
        for (i, blocker) in blockers.iter_mut().enumerate() {
            blocker.simple(if blocked.contains(&i) { "BEGIN; SELECT 1" } else { "ROLLBACK" }).ok();
        }
        let id = (n + 1).to_string();
        let reply = client.exchange(&[bind("", "by_id", &[Some(&id)], &[]), execute("", 0), sync()], 1);
        assert_eq!(reply.ok().value(), format!("ALPHA_name_{id}"));
        let reply = client.exchange(&[describe('S', "by_id"), sync()], 1).ok();
        assert_eq!(reply.parameter_types, [[20]]);
    }
}

#[test]
fn statement_names_belong_to_their_client() {
    let proxy = proxy("pooling_names", 1);
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    let run = || [bind("", "s", &[], &[]), execute("", 0), sync()];
    a.exchange(&[parse("s", "SELECT 'of a', min(name) FROM customers", &[]), sync()], 1).ok();
    b.exchange(&run(), 1).refused("26000");
    b.exchange(&[parse("s", "SELECT 'of b', min(name) FROM customers", &[]), sync()], 1).ok();
    assert_eq!(a.exchange(&run(), 1).ok().texts(), [["of a", "ALPHA_name_1"]]);
    assert_eq!(b.exchange(&run(), 1).ok().texts(), [["of b", "CANARY_B_name_1"]]);
    // The same name again is an error, until it is closed.
    a.exchange(&[parse("s", "SELECT 3", &[]), sync()], 1).refused("42P05");
    a.exchange(&[close('S', "s"), sync()], 1).ok();
    a.exchange(&run(), 1).refused("26000");
    a.exchange(&[parse("s", "SELECT 3", &[]), sync()], 1).ok();
    assert_eq!(a.exchange(&run(), 1).ok().value(), "3");
    assert_eq!(b.exchange(&run(), 1).ok().texts()[0][0], "of b");
    // Closing what does not exist is no error.
    a.exchange(&[close('S', "never"), sync()], 1).ok();
}

/// The same text of two tenants: one statement on the server may serve both, their rows stay apart.
#[test]
fn one_text_serves_two_tenants() {
    let proxy = proxy("pooling_text", 1);
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    for session in [&mut a, &mut b] {
        session.exchange(&[parse("t", "SELECT max(name) FROM customers WHERE id > $1", &[]), sync()], 1).ok();
    }
    for _ in 0..8 {
        for (session, name) in [(&mut a, "ALPHA_name_8"), (&mut b, "CANARY_B_name_8")] {
            let reply = session.exchange(&[bind("", "t", &[Some("0")], &[]), execute("", 0), sync()], 1);
            assert_eq!(reply.ok().value(), name);
        }
    }
}

/// More statements than a server connection keeps: the oldest are prepared anew.
#[test]
fn more_statements_than_the_server_keeps() {
    let lab = Lab::general();
    lab.copy_of_shop("pooling_lru");
    let pool = r#"{ mode = "transaction", size = 1, max_prepared = 5 }"#.to_owned();
    let proxy = Proxy::start(lab, &Setup { database: "pooling_lru".to_owned(), pool, ..Setup::default() });
    let mut client = proxy.a().connect();
    for n in 0..20 {
        client.exchange(&[parse(&format!("s{n}"), &format!("SELECT {n}"), &[]), sync()], 1).ok();
    }
    for n in (0..20).rev() {
        let reply = client.exchange(&[bind("", &format!("s{n}"), &[], &[]), execute("", 0), sync()], 1);
        assert_eq!(reply.ok().value(), n.to_string());
    }
}

#[test]
fn session_mode_keeps_what_a_session_keeps() {
    let lab = Lab::general();
    lab.copy_of_shop("pooling_session");
    let pool = r#"{ mode = "session", size = 2 }"#.to_owned();
    let proxy = Proxy::start(lab, &Setup { database: "pooling_session".to_owned(), pool, ..Setup::default() });
    let mut client = proxy.a().connect();
    client.simple("PREPARE p AS SELECT max(name) FROM customers").ok();
    assert_eq!(client.simple("EXECUTE p").ok().value(), "ALPHA_name_8");
    client.simple("BEGIN").ok();
    client.simple("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM orders ORDER BY id").ok();
    client.simple("COMMIT").ok();
    assert_eq!(client.simple("FETCH 2 FROM c").ok().first_column(), ["1", "2"]);
    client.quit();
    // The next client of that connection finds nothing of it.
    for _ in 0..3 {
        let mut next = proxy.b().connect();
        next.simple("EXECUTE p").refused("26000");
        next.simple("FETCH 2 FROM c").refused("34000");
        next.quit();
    }
}
