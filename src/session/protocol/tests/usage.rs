//! What is counted.

use super::*;
use crate::session::protocol::session_stats::Sent;
use crate::usage::Counts;

fn used(bench: &Bench) -> Counts {
    // Bytes and time have tests of their own.
    Counts { bytes_in: 0, bytes_out: 0, busy_micros: 0, ..bench.session.env.account.totals() }
}

fn counts(transactions: u64, statements: u64, rows_read: u64, rows_written: u64) -> Counts {
    Counts { transactions, statements, rows_read, rows_written, ..Counts::default() }
}

#[test]
fn statements_and_rows_of_a_query() {
    let mut bench = Bench::new();
    bench.query("SELECT 1; INSERT x; UPDATE y");
    bench.server(|out| {
        row(out, b"a");
        row(out, b"b");
        backend::command_complete(out, "SELECT 2").unwrap();
        backend::command_complete(out, "INSERT 0 5").unwrap();
    });
    assert_eq!(used(&bench), Counts::default(), "before the end of the transaction");
    bench.done("UPDATE 3", I);
    assert_eq!(used(&bench), counts(1, 3, 2, 8));
}

#[test]
fn a_transaction_block_is_one_transaction() {
    let mut bench = Bench::new();
    for (sql, tag, status) in [("BEGIN", "BEGIN", T), ("DELETE", "DELETE 4", T), ("COMMIT", "COMMIT", I)] {
        bench.query(sql);
        bench.done(tag, status);
    }
    assert_eq!(used(&bench), counts(1, 3, 0, 4));
}

#[test]
fn refusals_are_no_statements_and_failures_are() {
    let mut bench = Bench::new();
    bench.query("REFUSED x");
    assert_eq!(used(&bench), Counts::default());
    bench.query("SELECT 1");
    bench.server(|out| {
        row(out, b"a");
        error(out, b"22012", "division by zero");
        backend::ready_for_query(out, I);
    });
    assert_eq!(used(&bench), counts(1, 1, 1, 0));
    // In a transaction a refusal is a statement that must fail.
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    bench.query("REFUSED x");
    bench.server(|out| {
        error(out, b"42601", "syntax error");
        backend::ready_for_query(out, E);
    });
    bench.query("ROLLBACK");
    bench.done("ROLLBACK", I);
    assert_eq!(used(&bench), counts(2, 3, 1, 0));
}

#[test]
fn a_portal_that_is_read_in_parts_is_one_statement() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::parse(out, "", "SELECT 1", &[]).unwrap();
        frontend::bind(out, "p", "", &[], Format::Text).unwrap();
        for _ in 0..3 {
            frontend::execute(out, "p", 1).unwrap();
        }
        frontend::sync(out);
    });
    bench.server(|out| {
        backend::parse_complete(out);
        backend::bind_complete(out);
        for _ in 0..2 {
            row(out, b"a");
            backend::portal_suspended(out);
        }
        backend::command_complete(out, "SELECT 0").unwrap();
        backend::ready_for_query(out, I);
    });
    assert_eq!(used(&bench), counts(1, 1, 2, 0));
}

#[test]
fn a_deallocate_that_is_carried_out_here_is_a_statement_and_an_empty_query_is_none() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::parse(out, "s", "SELECT 1", &[]).unwrap();
        frontend::sync(out);
    });
    bench.server(|out| {
        backend::parse_complete(out);
        backend::ready_for_query(out, I);
    });
    assert_eq!(used(&bench), counts(1, 0, 0, 0));
    bench.query("DEALLOCATE s");
    bench.server(|out| {
        backend::empty_query_response(out);
        backend::ready_for_query(out, I);
    });
    assert_eq!(used(&bench), counts(2, 1, 0, 0));
    bench.query("");
    assert_eq!(used(&bench), counts(2, 1, 0, 0));
}

#[test]
fn rows_of_copies_are_read_or_written() {
    let mut bench = Bench::new();
    bench.query("COPY t FROM STDIN");
    bench.server(|out| out.put_slice(b"G\0\0\0\x07\0\0\0"));
    bench.client(|out| {
        frontend::copy_data(out, b"1\n2\n").unwrap();
        frontend::copy_done(out);
    });
    bench.done("COPY 2", I);
    assert_eq!(used(&bench), counts(1, 1, 0, 2));
    bench.query("SELECT out");
    bench.server(|out| {
        out.put_slice(b"H\0\0\0\x07\0\0\0");
        out.put_slice(b"d\0\0\0\x06a\n");
        out.put_slice(b"c\0\0\0\x04");
    });
    assert_eq!(bench.session.sent_by_statement(), Sent { rows: 0, bytes: 7 });
    bench.done("COPY 3", I);
    assert_eq!(used(&bench), counts(2, 2, 3, 2));
    assert_eq!(bench.session.sent_by_statement(), Sent::default());
}

#[test]
fn rows_that_a_table_is_made_of_are_written() {
    let mut bench = Bench::new();
    bench.query("CREATE TABLE t AS SELECT");
    bench.done("SELECT 7", I);
    assert_eq!(used(&bench), counts(1, 1, 0, 7));
}

/// Bytes are those of whole messages, however they come in, rewritten on their way or not.
#[test]
fn bytes_are_the_clients() {
    let mut bench = Bench::new();
    let mut message = BytesMut::new();
    frontend::query(&mut message, "TENANT 0 a").unwrap();
    for byte in &message {
        bench.session.client_bytes(&[*byte]);
        bench.pump();
    }
    let mut reply = BytesMut::new();
    row(&mut reply, &[b'x'; 5_000]);
    row(&mut reply, b"y");
    backend::command_complete(&mut reply, "SELECT 2").unwrap();
    backend::ready_for_query(&mut reply, I);
    for part in reply.chunks(7) {
        bench.session.server_bytes(part).unwrap();
    }
    let used = bench.session.env.account.totals();
    assert_eq!((used.rows_read, used.statements), (2, 1));
    assert_eq!(used.bytes_in, message.len() as u64);
    assert_eq!(used.bytes_out, reply.len() as u64);
    assert_eq!(used.bytes_out, bench.session.client.out.len() as u64);
}

/// What pgwarden asks for itself is no use of the tenant's, but for the time that it takes.
#[test]
fn errands_are_not_counted() {
    let mut bench = Bench::new();
    bench.query("SET x 1");
    bench.done("SET", I);
    assert!(bench.sent().last().is_some_and(|it| it.contains("current_setting") || it.starts_with("Query")));
    assert_eq!(used(&bench), Counts::default(), "the outcome is asked for first");
    bench.server(|out| {
        row(out, b"x");
        backend::command_complete(out, "SELECT 1").unwrap();
        backend::ready_for_query(out, I);
    });
    assert_eq!(used(&bench), counts(1, 1, 0, 0));
}

/// Two Querys sent at once are two transactions; settings that are applied before a statement are none.
#[test]
fn transactions_are_the_clients() {
    let settings = Settings::new(BTreeMap::from([("search_path".to_owned(), "\"s\"".to_owned())]), BTreeMap::new());
    let mut bench = Bench::with(PoolMode::Transaction, Mode::Shared, settings);
    bench.client(|out| {
        frontend::query(out, "SELECT 1").unwrap();
        frontend::query(out, "SELECT 2").unwrap();
    });
    bench.done("SET", I);
    assert_eq!(used(&bench), Counts::default());
    bench.server(|out| {
        for _ in 0..2 {
            backend::command_complete(out, "SELECT 0").unwrap();
            backend::ready_for_query(out, I);
        }
    });
    assert_eq!(used(&bench), counts(2, 2, 0, 0));
}

#[test]
fn busy_time_is_what_a_server_owes() {
    let mut bench = Bench::new();
    let pause = std::time::Duration::from_millis(30);
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    std::thread::sleep(pause);
    bench.query("COMMIT");
    bench.done("COMMIT", I);
    let idle = bench.session.env.account.totals().busy_micros;
    assert!(idle < 30_000, "{idle}");
    bench.query("SELECT 1");
    std::thread::sleep(pause);
    bench.done("SELECT 0", I);
    let busy = bench.session.env.account.totals().busy_micros;
    assert!(busy >= 30_000, "{busy}");
}

/// Much that is moved within a statement is known before its end; what an ended session counted is not lost.
#[test]
fn long_statements_are_counted_as_they_go() {
    let mut bench = Bench::new();
    bench.query("SELECT 1");
    for _ in 0..40 {
        bench.server(|out| row(out, &[b'x'; 100_000]));
        bench.told();
    }
    let used = bench.session.env.account.totals();
    assert!(used.rows_read >= 30 && used.bytes_out > 3_000_000, "{used:?}");
    let account = Arc::clone(&bench.session.env.account);
    drop(bench);
    assert_eq!(account.totals().rows_read, 40);
}
