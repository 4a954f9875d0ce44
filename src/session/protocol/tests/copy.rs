//! COPY FROM STDIN and TO STDOUT.

use super::*;

fn copy_in(out: &mut BytesMut) {
    backend::copy_in_response(out, Format::Text, &[]).unwrap();
}

fn data(bench: &mut Bench, text: &str) -> Wait {
    bench.client(|out| frontend::copy_data(out, text.as_bytes()).unwrap())
}

#[test]
fn a_stream_is_passed_on() {
    let mut bench = Bench::new();
    bench.query("COPY t");
    bench.server(copy_in);
    data(&mut bench, "1\n");
    data(&mut bench, "2\n");
    bench.client(frontend::copy_done);
    assert_eq!(bench.sent(), ["Query COPY t", "CopyData 1\n", "CopyData 2\n", "CopyDone"]);
    bench.done("COPY 2", I);
    assert_eq!(bench.told(), ["G", "Complete COPY 2", "Ready I"]);
    assert!(bench.released().is_some());
}

#[test]
fn large_messages_are_not_held() {
    let mut bench = Bench::new();
    bench.query("COPY t");
    bench.server(copy_in);
    bench.sent();
    bench.client(|out| out.put_slice(b"d\x10\0\0\x04abc"));
    assert_eq!(&bench.session.server.out[..], b"d\x10\0\0\x04abc");
    assert!(!bench.session.between_transactions());
}

#[test]
fn a_stream_that_comes_early_waits() {
    let mut bench = Bench::new();
    let wait = bench.client(|out| {
        frontend::query(out, "COPY t").unwrap();
        frontend::copy_data(out, b"1\n").unwrap();
        frontend::copy_done(out);
        frontend::query(out, "SELECT 1").unwrap();
    });
    assert_eq!(wait, Wait::Replies);
    assert_eq!(bench.sent(), ["Query COPY t"]);
    bench.server(copy_in);
    assert_eq!(bench.sent(), ["CopyData 1\n", "CopyDone", "Query SELECT 1"]);
}

#[test]
fn a_stream_for_a_copy_that_failed_is_dropped() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::query(out, "COPY t").unwrap();
        frontend::copy_data(out, b"1\n").unwrap();
        frontend::copy_done(out);
        frontend::query(out, "SELECT 1").unwrap();
    });
    bench.sent();
    bench.server(|out| {
        error(out, b"42P01", "no such table");
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.sent(), ["Query SELECT 1"]);
}

#[test]
fn bad_data_fails_the_copy_in_mid_stream() {
    let mut bench = Bench::new();
    bench.query("COPY t");
    bench.server(copy_in);
    data(&mut bench, "x\n");
    bench.server(|out| {
        error(out, b"22P02", "invalid input syntax");
        backend::ready_for_query(out, I);
    });
    bench.sent();
    data(&mut bench, "2\n");
    bench.client(frontend::copy_done);
    assert!(bench.sent().is_empty());
    bench.query("SELECT 1");
    assert_eq!(bench.sent(), ["Query SELECT 1"]);
}

#[test]
fn the_client_gives_up() {
    let mut bench = Bench::new();
    bench.query("COPY t");
    bench.server(copy_in);
    bench.client(|out| frontend::copy_fail(out, "never mind").unwrap());
    assert_eq!(bench.sent()[1], "CopyFail never mind");
    bench.server(|out| {
        error(out, b"57014", "COPY from stdin failed: never mind");
        backend::ready_for_query(out, I);
    });
    assert!(bench.released().is_some());
}

#[test]
fn a_sync_behind_execute_is_passed_over() {
    let mut bench = Bench::new();
    bench.client(|out| {
        one_shot(out, "COPY t");
        frontend::sync(out);
    });
    bench.server(|out| {
        backend::parse_complete(out);
        backend::bind_complete(out);
        copy_in(out);
    });
    data(&mut bench, "1\n");
    // As libpq: the COPY passes over the Sync behind Execute, another one ends it.
    bench.client(|out| {
        frontend::copy_done(out);
        frontend::sync(out);
    });
    assert_eq!(bench.sent()[3..], ["Flush", "CopyData 1\n", "CopyDone", "Sync"]);
    bench.server(|out| {
        backend::command_complete(out, "COPY 1").unwrap();
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.told(), ["1", "2", "G", "Complete COPY 1", "Ready I"]);
    assert!(bench.released().is_some());
}

#[test]
fn a_sync_behind_a_copy_that_does_not_begin_ends_the_batch() {
    let mut bench = Bench::new();
    bench.client(|out| {
        one_shot(out, "COPY t");
        frontend::sync(out);
    });
    assert_eq!(bench.sent().last().unwrap(), "Flush");
    bench.server(|out| {
        backend::parse_complete(out);
        backend::bind_complete(out);
        error(out, b"42501", "permission denied");
    });
    assert_eq!(bench.sent(), ["Sync"]);
    bench.server(|out| backend::ready_for_query(out, I));
    assert_eq!(bench.told().last().unwrap(), "Ready I");
    assert!(bench.released().is_some());
}

#[test]
fn a_sync_behind_a_copy_of_the_simple_protocol_holds_nothing() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::query(out, "COPY t").unwrap();
        frontend::sync(out);
    });
    bench.server(copy_in);
    bench.client(frontend::copy_done);
    assert_eq!(bench.sent(), ["Query COPY t", "CopyDone"]);
    bench.done("COPY 0", I);
    assert!(bench.released().is_some());
}

#[test]
fn a_failing_copy_in_the_extended_protocol_skips_to_the_next_sync() {
    let mut bench = Bench::new();
    bench.client(|out| {
        one_shot(out, "COPY t");
        frontend::sync(out);
    });
    bench.server(|out| {
        backend::parse_complete(out);
        backend::bind_complete(out);
        copy_in(out);
    });
    data(&mut bench, "x\n");
    bench.server(|out| error(out, b"22P02", "invalid input syntax"));
    bench.sent();
    data(&mut bench, "2\n");
    bench.client(frontend::copy_done);
    assert!(bench.sent().is_empty());
    bench.client(frontend::sync);
    assert_eq!(bench.sent(), ["Sync"]);
    bench.server(|out| backend::ready_for_query(out, I));
    assert!(bench.released().is_some());
}

#[test]
fn a_tenants_rows_are_checked() {
    let mut bench = Bench::new();
    bench.query("LOAD t");
    bench.server(copy_in);
    data(&mut bench, "42\ta\n");
    bench.client(frontend::copy_done);
    let sent = bench.sent();
    assert!(sent[1..].concat().contains("42\ta\n"), "{sent:?}");
    assert_eq!(sent.last().unwrap(), "CopyDone");
}

#[test]
fn another_tenants_row_fails_the_copy() {
    let mut bench = Bench::new();
    bench.query("LOAD t");
    bench.server(copy_in);
    bench.told();
    bench.sent();
    data(&mut bench, "42\ta\n43\tb\n");
    let sent = bench.sent();
    assert_eq!(sent.last().unwrap(), "CopyFail refused by pgwarden");
    data(&mut bench, "42\tc\n");
    bench.client(frontend::copy_done);
    assert!(bench.sent().is_empty());
    bench.server(|out| {
        error(out, b"57014", "COPY from stdin failed: refused by pgwarden");
        backend::ready_for_query(out, I);
    });
    let told = bench.told();
    assert!(told[0].starts_with("ERROR 42501"), "{told:?}");
    assert_eq!(told[1], "Ready I");
    assert!(bench.released().is_some());
}

#[test]
fn rows_go_out_as_they_come() {
    let mut bench = Bench::new();
    bench.query("SELECT copy out");
    bench.server(|out| {
        backend::copy_out_response(out, Format::Text, &[]).unwrap();
        backend::copy_data(out, b"1\n").unwrap();
        backend::copy_done(out);
    });
    bench.done("COPY 1", I);
    assert_eq!(bench.told(), ["H", "d", "c", "Complete COPY 1", "Ready I"]);
}
