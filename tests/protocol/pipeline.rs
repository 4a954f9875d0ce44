//! Pipelines, portals, formats, cancel.

use std::io::Write;
use std::time::{Duration, Instant};

use super::PROXY;
use crate::support::ENDLESS;
use crate::support::message::{
    bind, bind_raw, describe, execute, extended, flush, parse, query, startup, sync, terminate,
};
use crate::support::session::{self, Session};

/// `SELECT n` as Parse, Bind, Execute.
fn select(n: usize) -> Vec<u8> {
    [parse("", &format!("SELECT {n}"), &[]), bind("", "", &[], &[]), execute("", 0)].concat()
}

#[test]
fn many_syncs_in_flight_are_answered_in_order() {
    let mut session = PROXY.get().a().connect();
    let batch: Vec<u8> = (0..200).flat_map(|n| [select(n), sync()].concat()).collect();
    let reply = session.exchange(&[batch], 200).ok();
    assert_eq!(reply.first_column(), (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(reply.kinds, "12DCZ".repeat(200));
}

#[test]
fn an_error_skips_to_the_next_sync_and_no_further() {
    let mut session = PROXY.get().a().connect();
    let messages = [
        select(1),
        extended("SELECT 1/0", &[]),
        select(2),
        extended("SELECT name FROM customers", &[]),
        sync(),
        select(3),
        sync(),
    ];
    let reply = session.exchange(&messages, 2);
    assert_eq!(reply.first_column(), ["1", "3"]);
    assert_eq!(reply.errors.len(), 1);
    assert_eq!(reply.sqlstate(), "22012");
    // The server finds the division while it plans (Bind) or while it runs.
    assert!(reply.kinds.starts_with("12DC1") && reply.kinds.ends_with("EZ12DCZ"), "{}", reply.kinds);
}

/// A statement that pgwarden refuses itself, in the middle: like an error of the server's.
#[test]
fn a_refusal_in_mid_pipeline_skips_to_the_next_sync() {
    let mut session = PROXY.get().a().connect();
    let messages =
        [select(1), extended("SELECT pg_read_file('/etc/passwd')", &[]), select(2), sync(), select(3), sync()];
    let reply = session.exchange(&messages, 2).refused("42501");
    assert_eq!(reply.first_column(), ["1", "3"]);
    assert_eq!(reply.errors.len(), 1);
    assert_eq!(reply.kinds, "12DCEZ12DCZ");
}

/// The batch before a Sync is one transaction: a refusal rolls it back.
#[test]
fn a_refusal_rolls_the_implicit_transaction_back() {
    let mut session = PROXY.get().a().connect();
    let insert = "INSERT INTO settings VALUES (1, 'pipelined', 'x')";
    let messages = [extended(insert, &[]), extended("SELECT pg_read_file('x')", &[]), sync()];
    let reply = session.exchange(&messages, 1).refused("42501");
    assert_eq!(reply.states, "I");
    assert_eq!(session.simple("SELECT count(*) FROM settings WHERE k = 'pipelined'").ok().value(), "0");
}

#[test]
fn a_refusal_in_a_transaction_leaves_it_failed() {
    let mut session = PROXY.get().a().connect();
    session.simple("BEGIN").ok();
    let reply = session.simple("SELECT pg_read_file('x')").refused("42501");
    assert_eq!(reply.states, "E", "Postgres would have aborted the transaction");
    session.simple("SELECT 1").refused("25P02");
    let reply = session.simple("COMMIT").ok();
    assert_eq!((reply.tags.as_slice(), reply.states.as_str()), (&["ROLLBACK".to_owned()][..], "I"));
}

#[test]
fn flush_brings_answers_before_the_sync() {
    let mut session = PROXY.get().a().connect();
    session.send(&[extended("SELECT name FROM customers WHERE id = 1", &[]), flush()].concat());
    let deadline = Instant::now() + Duration::from_secs(10);
    let kinds: String = (0..5).map(|_| session.message(deadline).expect("a message").0 as char).collect();
    assert_eq!(kinds, "12TDC");
    assert_eq!(session.exchange(&[sync()], 1).ok().kinds, "Z");
}

#[test]
fn a_portal_gives_its_rows_in_portions() {
    let mut session = PROXY.get().a().connect();
    let messages = [
        parse("", "SELECT id FROM orders ORDER BY id", &[]),
        bind("p", "", &[], &[]),
        execute("p", 6),
        execute("p", 6),
        execute("p", 6),
        sync(),
    ];
    let reply = session.exchange(&messages, 1).ok();
    assert_eq!(reply.first_column(), (1..=15).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(reply.kinds, format!("12{0}s{0}s{1}CZ", "D".repeat(6), "D".repeat(3)));
}

/// Binary values in both directions; the guard's own parameter must fit in whatever formats the client declares.
#[test]
fn parameters_and_results_in_binary() {
    let sql = "SELECT id, credit_limit, name FROM customers WHERE id = $1 AND name LIKE $2";
    for formats in [&[1i16][..], &[1, 1]] {
        let mut session = PROXY.get().a().connect();
        let values = [Some(&3i64.to_be_bytes()[..]), Some(&b"ALPHA%"[..])];
        let messages = [
            parse("s", sql, &[20, 25]),
            bind_raw("", "s", formats, &values, &[1, 1, 0]),
            describe('P', ""),
            execute("", 0),
            sync(),
        ];
        let reply = session.exchange(&messages, 1).ok();
        let row = &reply.rows[0];
        assert_eq!(row[0].as_deref(), Some(&3i64.to_be_bytes()[..]));
        assert_eq!(row[1].as_deref(), Some(&30i32.to_be_bytes()[..]));
        assert_eq!(row[2].as_deref(), Some(&b"ALPHA_name_3"[..]));
        assert_eq!(reply.columns[0].iter().map(|it| it.format).collect::<Vec<_>>(), [1, 1, 0]);
    }
}

#[test]
fn a_statement_describes_the_clients_parameters_only() {
    let mut session = PROXY.get().a().connect();
    let messages = [parse("d", "UPDATE settings SET v = $2 WHERE k = $1 RETURNING v", &[]), describe('S', "d"), sync()];
    let reply = session.exchange(&messages, 1).ok();
    assert_eq!(reply.parameter_types, [[25, 25]]);
    assert_eq!(reply.columns[0][0].name, "v");
}

#[test]
fn wrong_numbers_of_parameters_are_refused_as_postgres_would() {
    let sql = "SELECT name FROM customers WHERE id = $1";
    for values in [&[][..], &[Some("1"), Some("2")]] {
        let mut session = PROXY.get().a().connect();
        let reply = session.exchange(&[parse("", sql, &[]), bind("", "", values, &[]), execute("", 0), sync()], 1);
        let reply = reply.refused("08P01");
        let message = &reply.errors[0][&'M'];
        assert!(
            message.contains(&format!("{} parameters", values.len())) && message.contains("requires 1"),
            "{message}"
        );
        assert_eq!(session.simple("SELECT 1").ok().value(), "1");
    }
}

#[test]
fn an_empty_query_and_several_in_one() {
    let mut session = PROXY.get().a().connect();
    assert_eq!(session.simple("").ok().kinds, "IZ");
    assert_eq!(session.simple(" ; -- nothing\n").ok().kinds, "IZ");
    let reply = session.simple("SELECT 1; SELECT name FROM customers WHERE id = 1; BEGIN; COMMIT; SELECT 2").ok();
    assert_eq!(reply.first_column(), ["1", "ALPHA_name_1", "2"]);
    assert_eq!(reply.tags.len(), 5);
    assert_eq!(reply.states, "I");
}

fn wait_and_cancel(session: &mut Session, port: u16, change: u8) {
    std::thread::sleep(Duration::from_millis(200));
    let (pid, mut key) = session.cancel_key.clone().expect("a cancel key");
    *key.last_mut().unwrap() ^= change;
    session::cancel(port, pid, &key);
}

#[test]
fn cancel_stops_the_own_statement() {
    let proxy = PROXY.get();
    let mut session = proxy.a().connect();
    session.send(&query(ENDLESS));
    wait_and_cancel(&mut session, proxy.port, 0);
    session.collect(1).refused("57014");
    assert_eq!(session.simple("SELECT 1").ok().value(), "1");
}

#[test]
fn cancel_with_another_key_does_nothing() {
    let proxy = PROXY.get();
    let mut session = proxy.a().connect();
    session.send(&query(ENDLESS));
    wait_and_cancel(&mut session, proxy.port, 1);
    assert!(session.collect_within(1, Duration::from_millis(500)).timed_out);
    wait_and_cancel(&mut session, proxy.port, 0);
    session.collect(1).refused("57014");
}

/// A cancel that comes when nothing runs must not hit the next client of the server connection.
#[test]
fn a_late_cancel_hits_nobody() {
    let proxy = PROXY.get();
    let mut idle = proxy.a().connect();
    idle.simple("SELECT 1").ok();
    let (pid, key) = idle.cancel_key.clone().unwrap();
    let mut others: Vec<_> = (0..4).map(|_| proxy.b().connect()).collect();
    for other in &mut others {
        other.send(&query("SELECT count(*) FROM generate_series(1, 2000000)"));
    }
    for _ in 0..10 {
        session::cancel(proxy.port, pid, &key);
    }
    for other in &mut others {
        assert_eq!(other.collect(1).ok().value(), "2000000");
    }
}

/// A client that writes far more than it reads: neither side may wait for the other for ever.
#[test]
fn reading_goes_on_while_answers_pile_up() {
    let proxy = PROXY.get();
    let stream = session::open(proxy.port);
    let (mut session, reply) = proxy.a().try_connect_over(stream.try_clone().unwrap());
    reply.ok();
    let statements = 3_000;
    let filler = "x".repeat(2_000);
    let one = extended(&format!("SELECT repeat('y', 4000), $1 /* {filler} */"), &[Some("v")]);
    let writer = std::thread::spawn(move || {
        let mut stream = stream;
        for _ in 0..statements {
            stream.write_all(&one).unwrap();
        }
        stream.write_all(&sync()).unwrap();
    });
    std::thread::sleep(Duration::from_millis(300));
    let reply = session.collect_within(1, Duration::from_secs(60)).ok();
    writer.join().unwrap();
    assert_eq!(reply.rows.len(), statements);
}

/// A client that does not read what it asked for costs bounded memory, and nobody else's time.
#[test]
fn a_slow_reader_costs_bounded_memory() {
    let proxy = PROXY.get();
    let before = proxy.resident_kib();
    let mut slow = proxy.a().connect();
    slow.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 200000)"));
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(proxy.b().connect().simple("SELECT 1").ok().value(), "1");
    let grown = proxy.resident_kib().saturating_sub(before);
    assert!(grown < 48 << 10, "{grown} KiB for an unread result of 200 MB");
}

#[test]
fn nothing_is_answered_after_terminate() {
    let mut session = PROXY.get().a().connect();
    session.send(&[terminate(), query("SELECT name FROM customers")].concat());
    let reply = session.collect(1);
    assert!(reply.closed && reply.rows.is_empty(), "{}", reply.text());
}

#[test]
fn function_call_is_refused_and_the_session_goes_on() {
    let mut session = PROXY.get().a().connect();
    // 2078 is set_config.
    let call = crate::support::message::function_call(2078, &["app.tenant_id", "2", "f"]);
    let reply = session.exchange(&[call], 1);
    assert!(matches!(reply.sqlstate(), "0A000" | "42501"), "{}", reply.text());
    assert_eq!(session.simple("SELECT 1").ok().value(), "1");
}

#[test]
fn version_3_2_is_spoken_or_negotiated_down() {
    let proxy = PROXY.get();
    for version in [3 << 16 | 2, 3 << 16 | 99] {
        let end = proxy.a();
        let mut session = Session::over(session::open(proxy.port));
        let hello = startup(version, &[("user", &end.user), ("database", &end.database), ("_pq_.unknown", "on")]);
        session.login(&end, &hello);
        let reply = session.collect(1).ok();
        // The unknown option is always reported.
        assert!(reply.kinds.contains('v'), "{}", reply.kinds);
        assert_eq!(session.simple("SELECT name FROM customers WHERE id = 1").ok().value(), "ALPHA_name_1");
    }
}
