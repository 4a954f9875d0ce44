//! What a client leaves on a server connection never reaches the next one. One server connection, two clients.

use super::{impatient, proxy};
use crate::support::reply::Reply;
use crate::support::session::Session;

fn show(session: &mut Session, setting: &str) -> String {
    session.simple(format!("SHOW {setting}")).ok().value()
}

#[test]
fn settings_belong_to_their_client() {
    let proxy = proxy("leftover_settings", 1);
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    let before = show(&mut b, "TimeZone");
    a.simple("SET TimeZone = 'Asia/Tokyo'").ok();
    a.simple("SET DateStyle = 'SQL, DMY'; SET statement_timeout = '77s'").ok();
    assert_eq!(show(&mut b, "TimeZone"), before);
    assert_eq!(show(&mut b, "statement_timeout"), "0");
    assert_eq!(show(&mut a, "TimeZone"), "Asia/Tokyo");
    assert_eq!(show(&mut a, "DateStyle"), "SQL, DMY");
    assert_eq!(show(&mut a, "statement_timeout"), "77s");
    a.simple("RESET TimeZone").ok();
    assert_eq!(show(&mut a, "TimeZone"), before);
    a.simple("RESET ALL").ok();
    assert_eq!(show(&mut a, "statement_timeout"), "0");
}

#[test]
fn a_rolled_back_set_is_undone() {
    let proxy = proxy("leftover_rollback", 1);
    let mut a = proxy.a().connect();
    let before = show(&mut a, "TimeZone");
    for end in ["ROLLBACK", "ABORT"] {
        a.simple("BEGIN").ok();
        a.simple("SET TimeZone = 'Asia/Tokyo'").ok();
        a.simple(end).ok();
        proxy.b().connect().simple("SELECT 1").ok();
        assert_eq!(show(&mut a, "TimeZone"), before, "{end}");
    }
    a.simple("BEGIN; SAVEPOINT s; SET TimeZone = 'Asia/Tokyo'; ROLLBACK TO s; COMMIT").ok();
    assert_eq!(show(&mut a, "TimeZone"), before);
    a.simple("BEGIN").ok();
    a.simple("SET LOCAL TimeZone = 'Asia/Tokyo'").ok();
    assert_eq!(show(&mut a, "TimeZone"), "Asia/Tokyo");
    a.simple("COMMIT").ok();
    assert_eq!(show(&mut a, "TimeZone"), before);
}

#[test]
fn startup_settings_belong_to_their_client() {
    let proxy = proxy("leftover_startup", 1);
    let mut a = proxy.a().with("TimeZone", "Europe/Paris").with("application_name", "a's tool").connect();
    let mut b = proxy.b().with("options", "-c DateStyle=German").connect();
    for _ in 0..2 {
        assert_eq!(show(&mut a, "TimeZone"), "Europe/Paris");
        assert_eq!(show(&mut a, "application_name"), "a's tool");
        assert_eq!(show(&mut b, "TimeZone"), "UTC");
        assert!(show(&mut b, "DateStyle").starts_with("German"));
        assert!(!show(&mut a, "DateStyle").starts_with("German"));
    }
    // RESET goes back to what the startup packet said.
    a.simple("SET TimeZone = 'Asia/Tokyo'; RESET TimeZone").ok();
    assert_eq!(show(&mut a, "TimeZone"), "Europe/Paris");
}

#[test]
fn a_client_is_told_of_its_settings() {
    let proxy = proxy("leftover_status", 1);
    let (mut session, reply) = proxy.a().with("application_name", "teller").try_connect();
    let told = |reply: &Reply, name: &str| reply.statuses.iter().rev().find(|it| it.0 == name).map(|it| it.1.clone());
    assert_eq!(told(&reply, "application_name").as_deref(), Some("teller"));
    assert_eq!(told(&reply, "client_encoding").as_deref(), Some("UTF8"));
    assert!(told(&reply, "server_version").is_some());
    let reply = session.simple("SET TimeZone = 'Asia/Tokyo'").ok();
    assert_eq!(told(&reply, "TimeZone").as_deref(), Some("Asia/Tokyo"));
}

/// Each of these outlives a transaction. It works for its client (the connection is pinned), or it is refused with a
/// hint; the other client never sees it.
#[test]
fn what_outlives_a_transaction_works_or_is_refused() {
    let cases = [
        ("CREATE TEMP TABLE mine AS SELECT 1 AS x", "SELECT x FROM mine", "1"),
        ("PREPARE mine AS SELECT 'prepared'", "EXECUTE mine", "prepared"),
        ("BEGIN; DECLARE mine CURSOR WITH HOLD FOR SELECT 'held'; COMMIT", "FETCH ALL FROM mine", "held"),
    ];
    let proxy = proxy("leftover_pins", 2);
    for (make, see, value) in cases {
        let mut a = proxy.a().connect();
        let made = a.simple(make);
        let worked = made.errors.is_empty();
        if !worked {
            assert!(matches!(made.sqlstate(), "0A000" | "42501"), "{make}: {}", made.text());
            assert!(made.errors[0].contains_key(&'H'), "{make}: no hint: {}", made.text());
            a.simple("ROLLBACK");
        }
        for _ in 0..2 {
            let other = proxy.b().connect().simple(see);
            assert!(!other.errors.is_empty() && other.rows.is_empty(), "{see}: {}", other.text());
        }
        if worked {
            assert_eq!(a.simple(see).ok().value(), value);
        }
        a.quit();
        let other = proxy.a().connect().simple(see);
        assert!(!other.errors.is_empty(), "{see} after its client has left: {}", other.text());
    }
}

#[test]
fn listen_and_advisory_locks_do_not_cross() {
    let proxy = proxy("leftover_locks", 2);
    let mut a = proxy.a().connect();
    for make in ["LISTEN shared_channel", "SELECT pg_advisory_lock(42)"] {
        let made = a.simple(make);
        if !made.errors.is_empty() {
            assert!(matches!(made.sqlstate(), "0A000" | "42501"), "{make}: {}", made.text());
        }
    }
    let mut b = proxy.b().connect();
    let sent = b.simple("NOTIFY shared_channel, 'CANARY_B_note'");
    assert!(sent.notifications.is_empty(), "{}", sent.text());
    let heard = a.simple("SELECT 1").ok();
    assert!(heard.notifications.is_empty(), "{}", heard.text());
}

#[test]
fn discard_and_deallocate_are_the_clients_own() {
    use crate::support::message::{bind, execute, parse, sync};
    let proxy = proxy("leftover_discard", 1);
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    let run = || [bind("", "kept", &[], &[]), execute("", 0), sync()];
    for session in [&mut a, &mut b] {
        session.simple("SET TimeZone = 'Asia/Tokyo'").ok();
        session.exchange(&[parse("kept", "SELECT 7", &[]), sync()], 1).ok();
    }
    for wipe in ["DEALLOCATE ALL", "DISCARD ALL"] {
        assert!(a.simple(wipe).ok().tags[0].starts_with(wipe), "{wipe}");
        a.exchange(&run(), 1).refused("26000");
        assert_eq!(b.exchange(&run(), 1).ok().value(), "7");
        assert_eq!(show(&mut b, "TimeZone"), "Asia/Tokyo");
        a.exchange(&[parse("kept", "SELECT 7", &[]), sync()], 1).ok();
    }
    assert_eq!(show(&mut a, "TimeZone"), "UTC");
}

/// `lastval` and `currval` tell a client what it drew itself, in the transaction and afterwards; never what another drew on
/// the server connection, though it has drawn nothing since.
#[test]
fn sequences_are_remembered_for_their_client() {
    let draw = |session: &mut Session| session.simple("SELECT nextval('orders_id_seq')").ok().value();
    let alone = proxy("leftover_sequences", 1);
    let (mut a, mut b) = (alone.a().connect(), alone.b().connect());
    draw(&mut b);
    a.simple("SELECT lastval()").refused("55000");
    draw(&mut b);
    a.simple("BEGIN; INSERT INTO orders (customer_id) SELECT id FROM customers WHERE false").ok();
    a.simple("SELECT lastval()").refused("55000");
    a.quit();
    draw(&mut b);
    let mut a = alone.a().connect();
    a.simple("PREPARE p AS SELECT lastval()").ok();
    a.simple("EXECUTE p").refused("55000");
    drop(alone);

    let proxy = proxy("leftover_sequences_kept", 4);
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    a.simple("BEGIN").ok();
    let mine = draw(&mut a);
    a.simple("SAVEPOINT s; SELECT 1/0").refused("22012");
    a.simple("ROLLBACK TO s").ok();
    assert_eq!(a.simple("SELECT lastval()").ok().value(), mine);
    a.simple("COMMIT").ok();
    assert_ne!(draw(&mut b), mine);
    assert_eq!(a.simple("SELECT lastval(), currval('orders_id_seq')").ok().texts(), [[mine.clone(), mine]]);
    a.quit();
    // Sessions of the tenant keep their connection from then on.
    let mut a = proxy.a().connect();
    let mine = draw(&mut a);
    draw(&mut b);
    assert_eq!(a.simple("SELECT lastval()").ok().value(), mine);
    assert_eq!(a.extended("SELECT currval('orders_id_seq')", &[]).ok().value(), mine);
    a.simple("DISCARD ALL").ok();
    a.simple("SELECT lastval()").refused("55000");
}

/// Each tenant has a key space of its own. A lock of the session's keeps its server connection, until all are given back.
#[test]
fn advisory_locks_are_the_tenants_own() {
    let value = |session: &mut Session, call: &str| session.simple(format!("SELECT {call}")).ok().value();
    let alone = impatient("leftover_own_locks");
    let (mut a, mut b) = (alone.a().connect(), alone.b().connect());
    for _ in 0..2 {
        assert_eq!(value(&mut a, "pg_try_advisory_lock(7)"), "t");
    }
    assert_eq!(value(&mut a, "pg_advisory_unlock(7)"), "t");
    b.simple("SELECT 1").refused("53300");
    assert_eq!(value(&mut a, "pg_advisory_unlock(7)"), "t");
    b.simple("SELECT 1").ok();
    // Something else that stays is not given back with the locks.
    assert_eq!(value(&mut a, "pg_try_advisory_lock(7)"), "t");
    a.simple("PREPARE p AS SELECT 1").ok();
    assert_eq!(value(&mut a, "pg_advisory_unlock(7)"), "t");
    b.simple("SELECT 1").refused("53300");
    a.simple("EXECUTE p").ok();
    drop(alone);

    let proxy = proxy("leftover_many_locks", 6);
    let (mut a, mut again, mut b) = (proxy.a().connect(), proxy.a().connect(), proxy.b().connect());
    assert_eq!(value(&mut a, "pg_try_advisory_lock(7)"), "t");
    assert_eq!(value(&mut b, "pg_try_advisory_lock(7)"), "t");
    assert_eq!(value(&mut again, "pg_try_advisory_lock(7)"), "f");
    assert_eq!(value(&mut again, "pg_try_advisory_lock(0, 7)"), "t");
    let many = "SELECT pg_advisory_xact_lock(1);".repeat(257);
    a.simple(&many).refused("54000");
    a.simple("BEGIN").ok();
    a.simple(many.replacen("SELECT pg_advisory_xact_lock(1);", "", 2)).ok();
    a.simple("SELECT pg_advisory_xact_lock(2)").refused("54000");
    a.simple("ROLLBACK").ok();
    a.simple("SELECT pg_advisory_unlock_all()").ok();
    a.simple("SELECT pg_advisory_xact_lock(2)").ok();
}
