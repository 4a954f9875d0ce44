//! Limits: turns, places, results that are cut off, time.

use std::time::Duration;

use super::*;
use crate::base::LoginName;
use crate::config::{Limits, Login, LoginAuth, OnLimit, Role, TenantScope};
use crate::limits::Limiters;
use crate::session::protocol::Overdue;

fn bench(limits: Limits) -> Bench {
    let login = Login {
        name: LoginName::new("app"),
        auth: LoginAuth::Trust,
        tenants: TenantScope::All,
        role: Role::Tenant,
        allow_from: None,
        limits,
    };
    let allowance = Limiters::new(Duration::ZERO, None).allowance(&login, None);
    let connection = allowance.connect().unwrap();
    let mut bench = Bench::new();
    let session = std::mem::replace(&mut bench.session, Bench::new().session);
    bench.session = session.limited(allowance, connection);
    bench
}

fn rejecting(limits: Limits) -> Limits {
    Limits { on_limit: Some(OnLimit::Reject), ..limits }
}

fn rate(per_second: u32, burst: u32) -> Limits {
    Limits { statements_per_second: Some(per_second), burst: Some(burst), ..Limits::default() }
}

fn rows(out: &mut BytesMut, count: usize) {
    for _ in 0..count {
        out.extend_from_slice(b"D\0\0\0\x0b\0\x01\0\0\0\x01x");
    }
}

/// One of parse, bind and execute costs what a Query costs; each further execution as much again.
#[test]
fn a_statement_is_paid_for_once() {
    let mut bench = bench(rejecting(rate(1, 4)));
    bench.query("SELECT 1");
    bench.done("SELECT 1", I);
    bench.client(|out| {
        one_shot(out, "SELECT 2");
        frontend::sync(out);
    });
    bench.server(|out| {
        backend::parse_complete(out);
        backend::bind_complete(out);
        backend::command_complete(out, "SELECT 1").unwrap();
        backend::ready_for_query(out, I);
    });
    bench.told();
    // What is refused and what pgwarden answers by itself cost as well.
    assert!(bench.released().is_some());
    bench.query("REFUSED");
    bench.query("");
    assert_eq!(bench.told(), ["ERROR 42501 not allowed", "Ready I", "I", "Ready I"]);
    bench.query("SELECT 5");
    let told = bench.told();
    assert!(told[0].starts_with("ERROR 53400 too many statements per second"), "{told:?}");
    assert_eq!(told[1], "Ready I");
    bench.client(|out| {
        one_shot(out, "SELECT 6");
        frontend::sync(out);
    });
    assert!(bench.told()[0].starts_with("ERROR 53400"));
    assert!(!bench.session.attached() || bench.released().is_some());
}

#[test]
fn a_script_costs_what_its_statements_cost() {
    let mut bench = bench(rejecting(rate(1, 3)));
    bench.query("SELECT 1; SELECT 2; SELECT 3");
    bench.server(|out| {
        for _ in 0..3 {
            backend::command_complete(out, "SELECT 1").unwrap();
        }
        backend::ready_for_query(out, I);
    });
    bench.told();
    bench.query("SELECT 4");
    assert!(bench.told()[0].starts_with("ERROR 53400"));
}

/// A transaction can always be ended: refused, its end would keep the server connection.
#[test]
fn the_end_of_a_transaction_is_never_rejected() {
    for end in ["COMMIT", "ROLLBACK"] {
        let mut bench = bench(rejecting(rate(1, 1)));
        bench.query("BEGIN");
        bench.done("BEGIN", T);
        bench.told();
        bench.query("SELECT 1");
        bench.server(|out| {
            error(out, b"42601", "syntax error at or near \"refused\"");
            backend::ready_for_query(out, E);
        });
        assert!(bench.told()[0].starts_with("ERROR 53400"));
        bench.sent();
        bench.query(end);
        assert_eq!(bench.sent(), [format!("Query {end}")]);
    }
}

#[test]
fn a_turn_is_waited_for_without_a_server_connection() {
    let mut bench = bench(rate(20, 1));
    bench.query("SELECT 1");
    bench.done("SELECT 1", I);
    assert!(bench.released().is_some());
    let Wait::Turn(at) = bench.query("SELECT 2") else { panic!("no turn") };
    assert!(!bench.session.attached());
    assert_eq!(bench.pump(), Wait::Turn(at));
    std::thread::sleep(at.saturating_duration_since(tokio::time::Instant::now()) + Duration::from_millis(1));
    bench.pump();
    assert_eq!(bench.sent(), ["Query SELECT 2"]);
}

/// Within a pipeline the replies that are outstanding come first: nothing else is waited for with the turn.
#[test]
fn a_turn_in_a_pipeline() {
    let mut bench = bench(rate(20, 1));
    let wait = bench.client(|out| {
        frontend::query(out, "SELECT 1").unwrap();
        frontend::query(out, "SELECT 2").unwrap();
    });
    assert_eq!(wait, Wait::Replies);
    assert_eq!(bench.sent(), ["Query SELECT 1"]);
    bench.done("SELECT 1", I);
    assert!(matches!(bench.pump(), Wait::Turn(_)));
    // Cancelled while it waits: it fails, and the session lives on.
    bench.told();
    bench.session.deny(PgError::error(SqlState::QUERY_CANCELED, "canceling statement due to user request"));
    bench.pump();
    assert!(bench.told()[0].starts_with("ERROR 57014"));
}

#[test]
fn a_transaction_needs_a_place() {
    let mut bench = bench(Limits { transactions: Some(1), ..Limits::default() });
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    bench.session.deadline();
    let allowance = Arc::clone(bench.session.limits.allowance.as_ref().unwrap());
    assert!(allowance.try_permit().unwrap().is_none());
    bench.query("COMMIT");
    bench.done("COMMIT", I);
    bench.session.deadline();
    let permit = allowance.try_permit().unwrap().unwrap();
    assert!(bench.released().is_some());
    assert!(matches!(bench.query("SELECT 1"), Wait::Permit(_)));
    assert!(!bench.session.attached());
    bench.session.permitted(permit);
    bench.sent();
    bench.pump();
    assert_eq!(bench.sent(), ["Query SELECT 1"]);
}

fn result(limit: u64) -> Limits {
    Limits { result_rows: Some(limit), ..Limits::default() }
}

#[test]
fn a_result_that_goes_on_is_cut_off_and_cancelled() {
    let mut bench = bench(result(2));
    bench.query("SELECT 1");
    bench.sent();
    bench.server(|out| rows(out, 3));
    assert!(bench.session.wants_cancel());
    assert!(!bench.session.wants_cancel());
    assert_eq!(bench.told().len(), 2);
    bench.server(|out| {
        rows(out, 5);
        error(out, b"57014", "canceling statement due to user request");
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.told(), ["ERROR 54000 result is too large detail", "Ready I"]);
    // The next one has a count of its own.
    bench.query("SELECT 2");
    bench.server(|out| rows(out, 2));
    bench.done("SELECT 2", I);
    assert_eq!(bench.told().len(), 4);
    assert!(!bench.session.wants_cancel());
}

#[test]
fn a_result_that_ended_meanwhile_fails_its_transaction() {
    let mut bench = bench(result(2));
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    bench.told();
    bench.client(|out| {
        one_shot(out, "SELECT 1");
        frontend::sync(out);
    });
    bench.sent();
    bench.server(|out| {
        backend::parse_complete(out);
        backend::bind_complete(out);
        rows(out, 3);
        backend::command_complete(out, "SELECT 3").unwrap();
        backend::ready_for_query(out, T);
    });
    assert!(!bench.session.wants_cancel());
    let told = bench.told();
    assert_eq!(told.last().unwrap(), "ERROR 54000 result is too large detail", "{told:?}");
    assert_eq!(bench.sent(), ["Query refused by pgwarden"]);
    bench.server(|out| {
        error(out, b"42601", "syntax error");
        backend::ready_for_query(out, E);
    });
    assert_eq!(bench.told(), ["Ready E"]);
    bench.query("ROLLBACK");
    bench.done("ROLLBACK", I);
    assert_eq!(bench.told().last().unwrap(), "Ready I");
}

#[test]
fn outside_of_a_block_it_needs_no_more() {
    let mut bench = bench(Limits { result_bytes: Some(30), ..Limits::default() });
    bench.query("SELECT 1");
    bench.sent();
    bench.server(|out| {
        rows(out, 3);
        backend::command_complete(out, "SELECT 3").unwrap();
        backend::ready_for_query(out, I);
    });
    let told = bench.told();
    assert_eq!(told[2..], ["ERROR 54000 result is too large detail", "Ready I"], "{told:?}");
    assert!(bench.sent().is_empty());
    assert!(bench.session.idle());
}

/// What stands behind it in the batch was carried out although the client would take it for skipped.
#[test]
fn a_pipeline_that_cannot_be_told_the_truth_ends() {
    let mut bench = bench(result(2));
    bench.client(|out| {
        one_shot(out, "SELECT 1");
        one_shot(out, "INSERT");
        frontend::sync(out);
    });
    bench.server(|out| {
        backend::parse_complete(out);
        backend::bind_complete(out);
        rows(out, 3);
        backend::command_complete(out, "SELECT 3").unwrap();
    });
    let told = bench.told();
    assert_eq!(told.last().unwrap(), "FATAL 54000 result is too large detail", "{told:?}");
    assert!(bench.session.closed());
}

#[test]
fn long_statements_are_refused() {
    let mut bench = bench(Limits { statement_bytes: Some(20), ..Limits::default() });
    bench.query("SELECT 1");
    bench.done("SELECT 1", I);
    bench.told();
    bench.query("SELECT 1, 2, 3, 4, 5, 6");
    assert_eq!(bench.told(), ["ERROR 54000 statement is too long detail", "Ready I"]);
    // Far too long: dropped as it comes, never held.
    bench.query(&"x".repeat(100_000));
    assert_eq!(bench.told(), ["ERROR 54000 statement is too long detail", "Ready I"]);
    bench.query("SELECT 2");
    assert_eq!(bench.sent(), ["Query SELECT 1", "Query SELECT 2"]);
}

fn times(time: Duration) -> Limits {
    Limits {
        statement_timeout: Some(time),
        idle_in_transaction_timeout: Some(time * 3),
        idle_timeout: Some(time * 9),
        ..Limits::default()
    }
}

#[test]
fn time_is_kept_for_what_the_session_does() {
    let minute = Duration::from_secs(60);
    let mut bench = bench(times(minute));
    let start = tokio::time::Instant::now();
    let left = |bench: &mut Bench| bench.session.deadline().unwrap().duration_since(start);
    assert!(left(&mut bench) >= minute * 8);
    bench.query("BEGIN");
    assert!(left(&mut bench) < minute * 2);
    bench.done("BEGIN", T);
    assert!((minute * 2..minute * 4).contains(&left(&mut bench)));
    bench.query("COMMIT");
    bench.done("COMMIT", I);
    assert!(left(&mut bench) > minute * 8);
    assert_eq!(bench.session.overdue(), None);
}

#[test]
fn a_statement_that_takes_too_long_is_cancelled() {
    let mut bench = bench(Limits { statement_timeout: Some(Duration::from_millis(1)), ..Limits::default() });
    bench.query("SELECT 1");
    bench.session.deadline().unwrap();
    std::thread::sleep(Duration::from_millis(3));
    assert_eq!(bench.session.overdue(), Some(Overdue::Statement));
    assert!(bench.session.wants_cancel());
    assert_eq!(bench.session.deadline(), None);
    bench.server(|out| {
        error(out, b"57014", "canceling statement due to user request");
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.told(), ["ERROR 57014 canceling statement due to statement timeout detail", "Ready I"]);
    // One that ends before it is hit is a success, and a user's own cancel is the user's.
    bench.query("SELECT 2");
    bench.session.deadline();
    bench.server(|out| {
        error(out, b"57014", "canceling statement due to user request");
        backend::ready_for_query(out, I);
    });
    assert!(bench.told()[0].starts_with("ERROR 57014 canceling statement due to user request"));
}

/// What pgwarden puts before a statement is answered no earlier than the statement: it must not hide it from the clock.
#[test]
fn a_statement_that_had_to_be_prepared_is_cancelled_too() {
    let mut bench = bench(Limits { statement_timeout: Some(Duration::from_millis(1)), ..Limits::default() });
    bench.client(|out| {
        frontend::parse(out, "a", "SELECT 1", &[]).unwrap();
        frontend::sync(out);
    });
    bench.server(|out| {
        backend::parse_complete(out);
        backend::ready_for_query(out, I);
    });
    bench.released().unwrap();
    bench.sent();
    bench.told();
    bench.client(|out| {
        frontend::bind(out, "", "a", &[], Format::Text).unwrap();
        frontend::execute(out, "", 0).unwrap();
        frontend::sync(out);
    });
    assert_eq!(bench.sent(), ["Parse pgw1 SELECT 1 []", "Bind  pgw1 [] ", "Execute  0", "Sync"]);
    bench.session.deadline().unwrap();
    std::thread::sleep(Duration::from_millis(3));
    assert_eq!(bench.session.overdue(), Some(Overdue::Statement));
    assert!(bench.session.wants_cancel());
    bench.server(|out| {
        backend::parse_complete(out);
        backend::bind_complete(out);
        error(out, b"57014", "canceling statement due to user request");
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.told(), ["2", "ERROR 57014 canceling statement due to statement timeout detail", "Ready I"]);
}

#[test]
fn a_transaction_that_takes_too_long_ends_its_session() {
    let mut bench = bench(Limits { transaction_timeout: Some(Duration::from_millis(1)), ..Limits::default() });
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    bench.told();
    bench.session.deadline().unwrap();
    std::thread::sleep(Duration::from_millis(3));
    assert_eq!(bench.session.overdue(), Some(Overdue::Session));
    assert_eq!(bench.told(), ["FATAL 25P04 terminating connection due to transaction timeout detail"]);
}

#[test]
fn without_limits_nothing_is_kept() {
    let mut bench = bench(Limits::default());
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    assert_eq!(bench.session.deadline(), None);
    assert!(bench.session.limits.metered.is_none());
}
