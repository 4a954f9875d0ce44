//! LISTEN and NOTIFY: each tenant's channels are its own, and who listens keeps no server connection.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::proxy;
use crate::support::lab::Lab;
use crate::support::message::{bind, execute, parse, query, sync};
use crate::support::proxy::{Proxy, Setup};
use crate::support::session::{Endpoint, Session};

/// What comes within a while, up to so many notifications: `channel payload`.
fn heard(session: &mut Session, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut notes = Vec::new();
    while notes.len() < count {
        match session.message(deadline) {
            Ok((b'A', body)) => {
                let texts: Vec<_> = body[4..].split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
                notes.push(format!("{} {}", texts[0], texts[1]));
            }
            Ok((tag, _)) => panic!("message {:?} was not asked for", tag as char),
            Err(end) => panic!("{end:?} after {notes:?}"),
        }
    }
    notes
}

/// Nothing was left to be heard: the next thing is what the session itself notifies now.
#[track_caller]
fn silent(session: &mut Session, notifier: &mut Session) {
    session.simple("LISTEN end_of_test").ok();
    notifier.simple("NOTIFY end_of_test").ok();
    assert_eq!(heard(session, 1), ["end_of_test "]);
    session.simple("UNLISTEN end_of_test").ok();
}

#[test]
fn a_tenants_sessions_hear_each_other_and_nobody_else_does() {
    let proxy = proxy("channels_own", 4);
    let (mut a, mut sender, mut b) = (proxy.a().connect(), proxy.a().connect(), proxy.b().connect());
    for it in [&mut a, &mut b] {
        assert_eq!(it.simple("LISTEN jobs").ok().tags, ["LISTEN"]);
    }
    assert_eq!(sender.simple("NOTIFY jobs, 'one'").ok().tags, ["NOTIFY"]);
    sender.simple("SELECT pg_notify('jobs', 'two'), pg_notify('JOBS', 'other')").ok();
    sender.extended("SELECT pg_notify($1, $2)", &[Some("jobs"), Some("three")]).ok();
    sender.extended("NOTIFY jobs, 'four'", &[]).ok();
    sender
        .simple(
            "WITH t AS (SELECT concat('jo', 'bs') AS c, unnest(ARRAY['5', '6']) AS p) SELECT pg_notify(c, p) FROM t",
        )
        .ok();
    sender.simple("NOTIFY jobs").ok();
    let expected = ["one", "two", "three", "four", "5", "6", ""].map(|payload| format!("jobs {payload}"));
    assert_eq!(heard(&mut a, 7), expected);
    // Its own too.
    b.simple("NOTIFY \"jobs\", 'of b'").ok();
    assert_eq!(heard(&mut b, 1), ["jobs of b"]);
    silent(&mut a, &mut sender);
    silent(&mut b, &mut proxy.b().connect());
}

#[test]
fn a_transaction_decides_on_notify_and_listen() {
    let proxy = proxy("channels_tx", 4);
    let (mut a, mut sender) = (proxy.a().connect(), proxy.a().connect());
    for undone in [
        &["BEGIN", "LISTEN c", "ROLLBACK"][..],
        &["BEGIN", "SAVEPOINT s", "LISTEN c", "ROLLBACK TO s", "COMMIT"],
        &["BEGIN", "LISTEN c", "SELECT 1/0", "COMMIT"],
        &["BEGIN", "LISTEN c", "SAVEPOINT s", "UNLISTEN c", "COMMIT"],
        &["LISTEN c", "UNLISTEN *"],
        &["LISTEN c; UNLISTEN c"],
        &["LISTEN c", "DISCARD ALL"],
    ] {
        for sql in undone {
            a.simple(sql);
        }
        sender.simple("NOTIFY c, 'not heard'").ok();
        silent(&mut a, &mut sender);
    }
    for done in [
        &["BEGIN", "LISTEN c", "SAVEPOINT s", "LISTEN d", "UNLISTEN c", "ROLLBACK TO s", "COMMIT"][..],
        &["BEGIN", "UNLISTEN c", "ROLLBACK"],
        &["BEGIN", "UNLISTEN *", "LISTEN c", "COMMIT"],
        &["UNLISTEN *; LISTEN c"],
        &["LISTEN c", "LISTEN c"],
    ] {
        for sql in done {
            let reply = a.simple(sql).ok();
            let tags: Vec<_> = sql.split("; ").map(|it| it.split(' ').next().unwrap()).collect();
            assert!(reply.tags.iter().zip(tags).all(|(tag, sql)| tag.starts_with(sql)), "{sql}: {:?}", reply.tags);
        }
        sender.simple("BEGIN").ok();
        sender.simple("NOTIFY c, 'undone'").ok();
        sender.simple("ROLLBACK").ok();
        sender.simple("BEGIN").ok();
        sender.simple("SELECT pg_notify('c', n::text) FROM generate_series(1, 3) n; NOTIFY d").ok();
        sender.simple("COMMIT").ok();
        assert_eq!(heard(&mut a, 3), ["c 1", "c 2", "c 3"], "{done:?}");
        silent(&mut a, &mut sender);
    }
}

/// Notifications come between transactions, and in order.
#[test]
fn a_transaction_is_not_interrupted() {
    let proxy = proxy("channels_between", 4);
    let (mut a, mut sender) = (proxy.a().connect(), proxy.a().connect());
    a.simple("LISTEN c").ok();
    a.simple("BEGIN").ok();
    for n in 0..3 {
        sender.simple(format!("NOTIFY c, '{n}'")).ok();
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(a.simple("SELECT 1").ok().kinds, "TDCZ");
    assert_eq!(a.simple("COMMIT").ok().kinds, "CZ");
    assert_eq!(heard(&mut a, 3), ["c 0", "c 1", "c 2"]);
}

#[test]
fn the_extended_protocol_listens_too() {
    let proxy = proxy("channels_extended", 1);
    let (mut a, mut sender) = (proxy.a().connect(), proxy.a().connect());
    assert_eq!(a.extended("UNLISTEN *", &[]).ok().tags, ["UNLISTEN"]);
    assert_eq!(a.extended("LISTEN c", &[]).ok().tags, ["LISTEN"]);
    let named = |name| [bind("", name, &[], &[]), execute("", 0), sync()];
    a.exchange(&[parse("on", "LISTEN d", &[]), parse("off", "UNLISTEN c", &[]), sync()], 1).ok();
    for _ in 0..2 {
        a.exchange(&named("on"), 1).ok();
    }
    sender.simple("NOTIFY c, '1'; NOTIFY d, '2'").ok();
    assert_eq!(heard(&mut a, 2), ["c 1", "d 2"]);
    assert_eq!(a.exchange(&named("off"), 1).ok().tags, ["UNLISTEN"]);
    sender.simple("NOTIFY c, '3'; NOTIFY d, '4'").ok();
    assert_eq!(heard(&mut a, 1), ["d 4"]);
    // Nothing is left on the connection that all share.
    let marks = "SELECT count(*) FROM pg_listening_channels()";
    assert_eq!(proxy.login("operator").connect().simple(marks).ok().value(), "0");
    // What stands behind the end of a transaction in one message would run beside the marks.
    a.simple("BEGIN; LISTEN e; COMMIT; BEGIN").refused("0A000");
    a.simple("ROLLBACK").ok();
    assert_eq!(a.simple("SELECT 1").ok().value(), "1");
}

#[test]
fn errors_are_postgress() {
    let proxy = proxy("channels_errors", 1);
    let mut a = proxy.a().connect();
    let long = "x".repeat(64);
    for (call, message) in [
        ("pg_notify('', 'x')".to_owned(), "channel name cannot be empty"),
        ("pg_notify(NULL, 'x')".to_owned(), "channel name cannot be empty"),
        (format!("pg_notify('{long}', 'x')"), "channel name too long"),
        (format!("pg_notify('c', '{}')", "x".repeat(8_000)), "payload string too long"),
    ] {
        let reply = a.simple(format!("SELECT {call}")).refused("22023");
        assert_eq!(reply.errors[0][&'M'], message, "{call}");
    }
    a.simple(format!("SELECT pg_notify('{}', 'x')", "é".repeat(31))).ok();
    a.simple(format!("NOTIFY c, '{}'", "x".repeat(8_000))).refused("22023");
    a.simple(format!("SELECT pg_notify('c', '{}')", "x".repeat(7_999))).ok();
    a.simple("BEGIN; SELECT 1/0");
    a.simple("LISTEN c").refused("25P02");
    a.simple("UNLISTEN *").refused("25P02");
    a.simple("ROLLBACK").ok();
    for n in 0..64 {
        a.simple(format!("LISTEN c{n}")).ok();
    }
    a.simple("LISTEN another").refused("54000");
    a.simple("UNLISTEN c7").ok();
    a.simple("LISTEN another").ok();
}

/// Who listens keeps no server connection, many listen on few, and what a channel is called on the server is documented.
#[test]
fn one_connection_listens_for_all() {
    let lab = Lab::general();
    let proxy = proxy("channels_many", 1);
    let mut listeners: Vec<_> = (0..20).map(|_| proxy.a().connect()).collect();
    for it in &mut listeners {
        it.simple("LISTEN jobs").ok();
    }
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'channels_many' AND application_name = 'pgwarden notifications'";
    assert_eq!(lab.superuser("postgres").simple(listening).ok().value(), "1");
    // As a trigger of the operator's would.
    lab.superuser("channels_many")
        .simple(
            "SELECT pg_notify('pgw:' || encode(substr(sha256(sha256(convert_to('shared:' || 1, 'UTF8')) || \
             convert_to('jobs', 'UTF8')), 1, 24), 'hex'), 'from a trigger')",
        )
        .ok();
    for it in &mut listeners {
        assert_eq!(heard(it, 1), ["jobs from a trigger"]);
    }
    drop(listeners);
    let mut last = proxy.a().connect();
    last.simple("LISTEN other").ok();
    last.simple("NOTIFY other; NOTIFY jobs").ok();
    assert_eq!(heard(&mut last, 1), ["other "]);
}

/// Who listened is told when the connection is lost, as it would be by the server itself; LISTEN works again at once.
#[test]
fn a_lost_connection_is_told() {
    let lab = Lab::general();
    let proxy = proxy("channels_lost", 4);
    let (mut a, mut idle) = (proxy.a().connect(), proxy.a().connect());
    a.simple("LISTEN jobs").ok();
    idle.simple("LISTEN jobs; UNLISTEN jobs").ok();
    a.simple("BEGIN").ok();
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = 'channels_lost' AND application_name = 'pgwarden notifications'";
    assert_eq!(lab.superuser("postgres").simple(ended).ok().value(), "1");
    std::thread::sleep(Duration::from_millis(200));
    // A transaction goes on to its end.
    assert_eq!(a.simple("SELECT 1").ok().value(), "1");
    a.send(&query("COMMIT"));
    let reply = a.collect(2);
    assert_eq!((reply.tags.concat(), reply.sqlstate(), reply.closed), ("COMMIT".to_owned(), "08006", true));
    idle.simple("LISTEN jobs").ok();
    idle.simple("NOTIFY jobs, 'again'").ok();
    assert_eq!(heard(&mut idle, 1), ["jobs again"]);
}

/// What waits for a client that reads nothing has a bound; others go on.
#[test]
fn a_slow_listener_is_ended() {
    let proxy = proxy("channels_slow", 4);
    let (mut slow, mut quick, mut sender) = (proxy.a().connect(), proxy.a().connect(), proxy.a().connect());
    for it in [&mut slow, &mut quick] {
        it.simple("LISTEN c").ok();
    }
    slow.simple("BEGIN").ok();
    for _ in 0..3 {
        sender.simple("SELECT pg_notify('c', n || repeat('x', 7000)) FROM generate_series(1, 250) n").ok();
        assert_eq!(heard(&mut quick, 250).len(), 250);
    }
    slow.send(&query("COMMIT"));
    let reply = slow.collect(2);
    assert_eq!((reply.sqlstate(), reply.closed), ("54000", true), "{}", reply.text());
    sender.simple("NOTIFY c, 'still'").ok();
    assert_eq!(heard(&mut quick, 1), ["c still"]);
}

#[test]
fn schemas_have_channels_of_their_own() {
    let lab = Lab::general();
    let proxy = Proxy::start(lab, &Setup::default());
    let (mut a, mut b) = (proxy.login("schema_a").connect(), proxy.login("schema_b").connect());
    for it in [&mut a, &mut b] {
        it.simple("LISTEN jobs").ok();
    }
    for name in ["schema_a", "schema_b"] {
        let mut sender = proxy.login(name).connect();
        sender.simple("SELECT pg_notify('jobs', current_schema())").ok();
        sender.extended("NOTIFY jobs, 'again'", &[]).ok();
    }
    assert_eq!(heard(&mut a, 2), ["jobs t_a", "jobs again"]);
    assert_eq!(heard(&mut b, 2), ["jobs t_b", "jobs again"]);
    a.simple("CREATE TABLE told (a text DEFAULT pg_notify('jobs', 'x')::text)").refused("42501");
    let mut fresh = proxy.login("schema_a").connect();
    silent(&mut a, &mut fresh);
}

/// A session that acts for several tenants notifies for the one of the moment, and does not listen.
#[test]
fn sessions_of_several_tenants_notify() {
    let lab = Lab::general();
    let proxy = Proxy::start(lab, &Setup::default());
    let mut a = proxy.a().connect();
    a.simple("LISTEN jobs").ok();
    let mut jobs = Endpoint::new(proxy.port, "jobs", "jobs_pw", "shared").connect();
    jobs.simple("UNLISTEN *").ok();
    jobs.extended("UNLISTEN *", &[]).ok();
    jobs.simple("NOTIFY jobs").refused("28000");
    jobs.simple("/* tenant='a' */ NOTIFY jobs, 'for a'").ok();
    jobs.simple("/* tenant='b' */ NOTIFY jobs, 'for b'").ok();
    jobs.simple("/* tenant='a' */ SELECT pg_notify('jobs', 'for a again')").ok();
    jobs.simple("/* tenant='a' */ LISTEN jobs").refused("0A000");
    assert_eq!(heard(&mut a, 2), ["jobs for a", "jobs for a again"]);
}

/// Whatever is begun, undone and ended: a session listens on what it would listen on alone. What pgwarden cannot follow it refuses.
#[test]
fn what_is_listened_on_is_what_postgres_says() {
    let lab = Lab::general();
    let proxy = proxy("channels_drawn", 4);
    let sender = std::cell::RefCell::new(proxy.a().connect());
    let statements = prop::sample::select(vec![
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "RELEASE s",
        "LISTEN a",
        "LISTEN a",
        "LISTEN b",
        "LISTEN b",
        "UNLISTEN a",
        "UNLISTEN b",
        "UNLISTEN *",
        "SELECT 1/0",
        "SELECT 1",
        "LISTEN a; LISTEN b",
        "UNLISTEN *; LISTEN b",
    ]);
    let refused = std::cell::Cell::new(0);
    let script = prop::collection::vec((statements, any::<bool>()), 4..16);
    let mut runner = TestRunner::new(Config { cases: 60, ..Config::default() });
    let outcome = runner.run(&script, |script| {
        let (mut through, mut alone) = (proxy.a().connect(), lab.owner("channels_drawn").connect());
        for (sql, extended) in &script {
            let extended = *extended && !sql.contains(';');
            let run = |it: &mut Session| if extended { it.extended(sql, &[]) } else { it.simple(sql) };
            let reply = run(&mut through);
            if reply.sqlstate() == "0A000" {
                refused.set(refused.get() + 1);
                break;
            }
            let wanted = run(&mut alone);
            prop_assert_eq!(
                (reply.sqlstate(), &reply.tags, &reply.states),
                (wanted.sqlstate(), &wanted.tags, &wanted.states),
                "{}",
                sql
            );
        }
        for it in [&mut through, &mut alone] {
            it.simple("ROLLBACK");
        }
        let listens = |of: &str| format!("SELECT count(*) FROM pg_listening_channels() AS c WHERE c = '{of}'");
        through.simple("LISTEN last").ok();
        sender.borrow_mut().simple("NOTIFY a; NOTIFY b; NOTIFY last").ok();
        let mut told = Vec::new();
        while told.last().is_none_or(|it| it != "last ") {
            told.extend(heard(&mut through, 1));
        }
        let wanted: Vec<_> = ["a", "b"]
            .into_iter()
            .filter(|of| alone.simple(listens(of)).ok().value() == "1")
            .map(|of| format!("{of} "))
            .collect();
        prop_assert_eq!(&told[..told.len() - 1], &wanted[..]);
        Ok(())
    });
    outcome.unwrap();
    assert!(refused.get() < 30, "{} of 60 refused", refused.get());
}
