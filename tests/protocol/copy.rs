//! COPY, where it goes wrong.

use super::PROXY;
use crate::support::message::{copy_data, copy_done, copy_fail, extended, query, sync};
use crate::support::session::{CopyIn, Session};

fn count(session: &mut Session, key: &str) -> String {
    session.simple(format!("SELECT count(*) FROM settings WHERE k LIKE '{key}%'")).ok().value()
}

#[test]
fn copy_fail_ends_it_without_a_row() {
    let mut session = PROXY.get().a().connect();
    session.copy_in = CopyIn::Nothing;
    session.send(&query("COPY settings (k, v) FROM STDIN"));
    session.send(&[copy_data(b"fail1\tx\nfail2\t"), copy_fail("changed my mind")].concat());
    session.collect(1).refused("57014");
    assert_eq!(count(&mut session, "fail"), "0");
}

/// The server gives up in mid-stream while the client goes on sending.
#[test]
fn rows_after_an_error_are_ignored() {
    let mut session = PROXY.get().a().connect();
    session.copy_in = CopyIn::Nothing;
    session.send(&query("COPY note (note_id, note) FROM STDIN"));
    session.send(&copy_data(b"not-a-number\tx\n"));
    std::thread::sleep(std::time::Duration::from_millis(100));
    for _ in 0..1_000 {
        session.send(&copy_data(b"7001\tx\n"));
    }
    session.send(&copy_done());
    session.collect(1).refused("22P02");
    assert_eq!(session.simple("SELECT count(*) FROM note WHERE note_id = 7001").ok().value(), "0");
}

#[test]
fn a_row_of_another_tenant_stops_the_stream() {
    let mut session = PROXY.get().a().connect();
    let reply = session.copy("COPY settings (tenant_id, k, v) FROM STDIN", b"1\tstop1\tx\n2\tstop2\tx\n1\tstop3\tx\n");
    reply.refused("42501");
    assert_eq!(count(&mut session, "stop"), "0");
    assert_eq!(session.simple("SELECT 1").ok().value(), "1");
}

#[test]
fn formats_and_chunks() {
    let mut session = PROXY.get().a().connect();
    let text = b"text1\ta\\tb\ntext2\t\\N\n\\.\n";
    assert_eq!(session.copy("COPY settings (k, v) FROM STDIN", text).ok().tags, ["COPY 2"]);
    let csv = b"k,v\ncsv1,\"a,\"\"b\"\"\n\"\n\"csv2\",plain\n";
    let reply = session.copy("COPY settings (k, v) FROM STDIN (FORMAT csv, HEADER)", csv);
    assert_eq!(reply.ok().tags, ["COPY 2"]);
    let mut binary = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for value in ["bin1", "bin2"] {
        binary.extend([0, 2, 0, 0, 0, 4]);
        binary.extend(value.as_bytes());
        binary.extend([0, 0, 0, 1, b'x']);
    }
    binary.extend([0xff, 0xff]);
    let reply = session.copy("COPY settings (k, v) FROM STDIN (FORMAT binary)", &binary);
    assert_eq!(reply.ok().tags, ["COPY 2"]);
    let rows =
        session.simple("SELECT tenant_id, k, v FROM settings WHERE k ~ '^(text|csv|bin)[12]$' ORDER BY k").ok().texts();
    let expected = [
        ["1", "bin1", "x"],
        ["1", "bin2", "x"],
        ["1", "csv1", "a,\"b\"\n"],
        ["1", "csv2", "plain"],
        ["1", "text1", "a\tb"],
        ["1", "text2", "∅"],
    ];
    assert_eq!(rows, expected);
    session.simple("DELETE FROM settings WHERE k ~ '^(text|csv|bin)[12]$'").ok();
}

#[test]
fn copy_in_the_extended_protocol() {
    let mut session = PROXY.get().a().connect();
    session.copy_in = CopyIn::Nothing;
    session.send(&extended("COPY settings (k, v) FROM STDIN", &[]));
    // A Sync before the end of the data would be ignored, as the protocol has it.
    session.send(&[copy_data(b"ext1\tx\next2\ty\n"), copy_done(), sync()].concat());
    let reply = session.collect(1).ok();
    assert_eq!(reply.tags, ["COPY 2"]);
    let reply =
        session.exchange(&[extended("COPY (SELECT k FROM settings WHERE k LIKE 'ext_') TO STDOUT", &[]), sync()], 1);
    assert_eq!(reply.ok().copy_out, b"ext1\next2\n");
    session.simple("DELETE FROM settings WHERE k LIKE 'ext_'").ok();
}

#[test]
fn a_client_that_leaves_in_mid_copy_leaves_nothing() {
    let mut session = PROXY.get().a().connect();
    session.send(&[query("COPY settings (k, v) FROM STDIN"), copy_data(b"gone1\tx\n")].concat());
    drop(session);
    let mut next = PROXY.get().a().connect();
    assert_eq!(count(&mut next, "gone"), "0");
}
