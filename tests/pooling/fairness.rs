//! One tenant alone never stops the others that share its pool.

use std::time::{Duration, Instant};

use crate::support::lab::Lab;
use crate::support::message::{parse, query};
use crate::support::proxy::{Proxy, Setup};
use crate::support::session::Session;

fn proxy(database: &str, pool: &str) -> Proxy {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    Proxy::start(lab, &Setup { database: database.to_owned(), pool: pool.to_owned(), ..Setup::default() })
}

/// A session with an open transaction that has a server connection.
#[track_caller]
fn holding(mut session: Session) -> Session {
    session.simple("BEGIN").ok();
    assert_eq!(session.simple("SELECT 1").ok().value(), "1");
    session
}

/// How long a statement takes.
#[track_caller]
fn served_in(session: &mut Session) -> Duration {
    let begun = Instant::now();
    assert_eq!(session.simple("SELECT count(*) > 0 FROM customers").ok().value(), "t");
    begun.elapsed()
}

/// The session was ended for others, and told so.
#[track_caller]
fn was_ended(session: &mut Session) {
    let reply = session.collect_within(1, Duration::from_secs(5));
    assert!(reply.closed, "{}", reply.text());
    let reply = reply.refused("25P03");
    assert!(reply.errors[0][&'D'].contains("Others waited"), "{}", reply.text());
}

#[test]
fn a_share_of_the_pool_is_kept_for_those_who_have_none() {
    for size in [10, 2] {
        let proxy = proxy(&format!("kept_of_{size}"), &format!("{{ size = {size} }}"));
        // All but the one that is kept.
        let mut held: Vec<_> = (1..size).map(|_| holding(proxy.a().connect())).collect();
        let mut more = proxy.a().connect();
        more.send(&query("SELECT 7"));
        let mut b = proxy.b().connect();
        for _ in 0..20 {
            let time = served_in(&mut b);
            assert!(time < Duration::from_secs(2), "{size}: {time:?}");
        }
        // B's own transaction is no reason to let A have what B gave back.
        let mut b = holding(b);
        b.simple("COMMIT").ok();
        let waits = more.collect_within(1, Duration::from_millis(300));
        assert!(waits.texts().is_empty(), "{}", waits.text());
        // What A gives back is A's again.
        held[0].simple("COMMIT").ok();
        assert_eq!(more.collect_within(1, Duration::from_secs(5)).ok().value(), "7");
        drop(held);
    }
}

#[test]
fn a_tenant_that_has_a_pool_of_its_own_has_all_of_it() {
    let proxy = proxy("kept_own", "{ size = 2 }");
    let end = proxy.login("schema_a");
    let held = holding(end.connect());
    drop(held);
    let lab = Lab::general();
    let setup = Setup {
        database: "kept_own".to_owned(),
        pool: "{ size = 2, kept_for_others = 0 }".to_owned(),
        ..Setup::default()
    };
    let proxy = Proxy::start(lab, &setup);
    let held = [holding(proxy.a().connect()), holding(proxy.a().connect())];
    drop(held);
    // A database's pool is one tenant's.
    let proxy = Proxy::start(lab, &Setup { pool: "{ size = 20 }".to_owned(), ..Setup::default() });
    let held: Vec<_> = (0..20).map(|_| holding(proxy.login("database_a").connect())).collect();
    drop(held);
}

#[test]
fn an_idle_transaction_ends_when_others_wait_for_it() {
    let proxy = proxy("kept_ends", "{ size = 1, contended_idle_timeout = \"1s\" }");
    let mut a = holding(proxy.a().connect());
    // Nobody waits: it may take its time.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(a.simple("SELECT 2").ok().value(), "2");
    // What comes and goes puts it off.
    let mut b = proxy.b().connect();
    b.send(&query("SELECT 3"));
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(250));
        a.simple("SELECT 2").ok();
    }
    let begun = Instant::now();
    assert_eq!(b.collect_within(1, Duration::from_secs(8)).ok().value(), "3");
    let waited = begun.elapsed();
    assert!(waited > Duration::from_millis(700) && waited < Duration::from_secs(4), "{waited:?}");
    was_ended(&mut a);
}

#[test]
fn no_more_of_them_end_than_wait() {
    let pool = "{ size = 5, kept_for_others = 0, contended_idle_timeout = \"1s\" }";
    let proxy = proxy("kept_few", pool);
    let mut held: Vec<_> = (0..5).map(|_| holding(proxy.a().connect())).collect();
    let mut b = proxy.b().connect();
    let time = served_in(&mut b);
    assert!(time < Duration::from_secs(5), "{time:?}");
    std::thread::sleep(Duration::from_secs(2));
    let mut alive = 0;
    for session in &mut held {
        session.send(&query("SELECT 4"));
        alive += usize::from(!session.collect_within(1, Duration::from_secs(5)).closed);
    }
    assert_eq!(alive, 4);
}

/// Whatever else makes a server connection wait for its client.
#[test]
fn so_do_batches_without_end_and_streams_that_stand_still() {
    let proxy = proxy("kept_batch", "{ size = 1, contended_idle_timeout = \"1s\" }");
    let batch = parse("", "SELECT 1", &[]);
    let copy = query("COPY note (note_id, note) FROM STDIN");
    let unread = query("SELECT repeat('x', 1000000) FROM generate_series(1, 100)");
    for stuck in [batch, copy, unread] {
        let mut a = proxy.a().connect();
        a.send(&stuck);
        std::thread::sleep(Duration::from_millis(300));
        let time = served_in(&mut proxy.b().connect());
        assert!(time < Duration::from_secs(8), "{time:?}");
    }
    // A statement that runs is none of it.
    let mut a = proxy.a().connect();
    a.send(&query("SELECT count(*) FROM generate_series(1, 30000000)"));
    std::thread::sleep(Duration::from_millis(300));
    let mut b = proxy.b().connect();
    b.send(&query("SELECT 5"));
    let reply = a.collect_within(1, Duration::from_secs(60)).ok();
    assert!(reply.value() == "30000000" && reply.elapsed > Duration::from_millis(1_300), "{:?}", reply.elapsed);
    assert_eq!(b.collect_within(1, Duration::from_secs(5)).ok().value(), "5");
}
