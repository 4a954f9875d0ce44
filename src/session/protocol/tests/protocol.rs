//! Simple and extended protocol, pipelines, release.

use super::*;

#[test]
fn a_query_takes_a_server_and_gives_it_back() {
    let mut bench = Bench::new();
    assert!(!bench.session.attached());
    assert_eq!(bench.query("SELECT 1"), Wait::Input);
    assert_eq!(bench.sent(), ["Query SELECT 1"]);
    assert!(bench.released().is_none());
    bench.server(|out| row(out, b"1"));
    assert!(bench.released().is_none());
    bench.done("SELECT 1", I);
    assert_eq!(bench.told(), ["D", "Complete SELECT 1", "Ready I"]);
    assert!(bench.released().is_some());
    assert!(bench.session.idle());
}

#[test]
fn a_server_stays_for_a_transaction() {
    let mut bench = Bench::new();
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    assert!(bench.released().is_none());
    bench.query("COMMIT");
    bench.done("COMMIT", I);
    assert!(bench.released().is_some());
}

#[test]
fn an_empty_query_needs_no_server() {
    let mut bench = Bench::new();
    bench.query("");
    assert_eq!(bench.told(), ["I", "Ready I"]);
    assert!(!bench.session.attached());
    bench.client(frontend::sync);
    assert_eq!(bench.told(), ["Ready I"]);
}

#[test]
fn a_pipeline_of_several_syncs() {
    let mut bench = Bench::new();
    bench.client(|out| {
        for sql in ["SELECT 1", "SELECT 2"] {
            one_shot(out, sql);
            frontend::sync(out);
        }
    });
    assert_eq!(bench.sent().len(), 8);
    bench.server(|out| {
        one_shot_replies(out);
        backend::ready_for_query(out, I);
    });
    assert!(bench.released().is_none());
    bench.server(|out| {
        one_shot_replies(out);
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.told().iter().filter(|text| *text == "Ready I").count(), 2);
    assert!(bench.released().is_some());
}

#[test]
fn no_release_before_sync() {
    let mut bench = Bench::new();
    bench.client(|out| {
        one_shot(out, "SELECT 1");
        frontend::flush(out);
    });
    bench.server(one_shot_replies);
    assert_eq!(bench.told(), ["1", "2", "Complete SELECT 0"]);
    assert!(bench.released().is_none());
    bench.client(frontend::sync);
    bench.server(|out| backend::ready_for_query(out, I));
    assert!(bench.released().is_some());
}

#[test]
fn portals_with_row_limits() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::parse(out, "", "SELECT 1", &[]).unwrap();
        frontend::bind(out, "p", "", &[], Format::Binary).unwrap();
        frontend::describe(out, Target::Portal("p")).unwrap();
        frontend::execute(out, "p", 1).unwrap();
        frontend::execute(out, "p", 0).unwrap();
        frontend::close(out, Target::Portal("p")).unwrap();
        frontend::sync(out);
    });
    let sent = bench.sent();
    assert_eq!(sent[2..], ["Describe portal p", "Execute p 1", "Execute p 0", "Close portal p", "Sync"]);
    bench.server(|out| {
        backend::parse_complete(out);
        backend::bind_complete(out);
        backend::row_description(out, &[]).unwrap();
        row(out, b"1");
        backend::portal_suspended(out);
        row(out, b"2");
        backend::command_complete(out, "SELECT 1").unwrap();
        backend::close_complete(out);
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.told(), ["1", "2", "T", "D", "s", "D", "Complete SELECT 1", "3", "Ready I"]);
    assert!(bench.released().is_some());
}

#[test]
fn rows_are_passed_on_as_they_come() {
    let mut bench = Bench::new();
    bench.query("SELECT 1");
    let mut whole = BytesMut::new();
    row(&mut whole, &[7; 1000]);
    backend::command_complete(&mut whole, "SELECT 1").unwrap();
    backend::ready_for_query(&mut whole, I);
    bench.session.server_bytes(&whole[..100]).unwrap();
    // Not held until it is whole.
    assert_eq!(bench.session.client.out.len(), 100);
    assert!(bench.released().is_none());
    for byte in &whole[100..] {
        bench.session.server_bytes(&[*byte]).unwrap();
    }
    assert_eq!(bench.session.client.out[..], whole[..]);
    assert!(bench.released().is_some());
}

#[test]
fn client_bytes_may_come_one_by_one() {
    let mut bench = Bench::new();
    let mut bytes = BytesMut::new();
    one_shot(&mut bytes, "SELECT 1");
    frontend::sync(&mut bytes);
    for byte in bytes {
        bench.session.client_bytes(&[byte]);
        bench.pump();
    }
    assert_eq!(bench.sent(), ["Parse  SELECT 1 []", "Bind   [] ", "Execute  0", "Sync"]);
}

#[test]
fn a_slow_client_is_not_read_for() {
    let mut bench = Bench::new();
    bench.query("SELECT 1");
    assert!(bench.session.wants_server());
    bench.server(|out| row(out, &vec![0; HIGH_WATER]));
    assert!(!bench.session.wants_server());
    bench.session.client.out.clear();
    assert!(bench.session.wants_server());
}

#[test]
fn a_long_pipeline_without_sync_is_flushed_now_and_then() {
    let mut bench = Bench::new();
    let wait = bench.client(|out| {
        frontend::parse(out, "", "SELECT 1", &[]).unwrap();
        for _ in 0..10_000 {
            frontend::bind(out, "", "", &[], Format::Text).unwrap();
        }
    });
    assert_eq!(wait, Wait::Replies);
    let sent = bench.sent();
    assert_eq!(sent.len(), MAX_OUTSTANDING + 1);
    assert_eq!(sent.last().unwrap(), "Flush");
    bench.server(|out| {
        backend::parse_complete(out);
        for _ in 0..100 {
            backend::bind_complete(out);
        }
    });
    assert_eq!(bench.sent().len(), 102);
}

#[test]
fn unknown_messages_end_the_session() {
    let mut bench = Bench::new();
    assert_eq!(bench.client(|out| out.put_slice(b"y\0\0\0\x04")), Wait::Closed);
    assert_eq!(bench.told(), ["FATAL 08P01 invalid frontend message type 121"]);
    assert!(bench.session.closed());
}

#[test]
fn function_calls_are_refused() {
    let mut bench = Bench::new();
    bench.client(|out| out.put_slice(b"F\0\0\0\x0e\0\0\0\x01\0\0\0\0\0\0"));
    let told = bench.told();
    assert!(told[0].starts_with("ERROR 0A000"), "{told:?}");
    assert_eq!(told[1], "Ready I");
}

#[test]
fn replies_out_of_step_are_noticed() {
    let mut bench = Bench::new();
    bench.query("SELECT 1");
    let mut bytes = BytesMut::new();
    backend::parse_complete(&mut bytes);
    assert!(bench.session.server_bytes(&bytes).is_err());
    let mut idle = Bench::new();
    idle.session.attach(link());
    let mut bytes = BytesMut::new();
    row(&mut bytes, b"1");
    assert!(idle.session.server_bytes(&bytes).is_err());
}

#[test]
fn an_unknown_relation_is_looked_for_once_more() {
    let mut bench = Bench::new();
    bench.query("UNKNOWN x");
    assert_eq!(bench.refreshes, 1);
    assert_eq!(bench.told(), ["ERROR 42P01 relation does not exist", "Ready I"]);
    bench.query("UNKNOWN x");
    assert_eq!(bench.refreshes, 2);
}

#[test]
fn ddl_is_told_when_its_transaction_has_ended() {
    let mut bench = Bench::new();
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    bench.query("CREATE TABLE x");
    bench.done("CREATE TABLE", T);
    assert!(bench.seen.0.lock().unwrap().is_empty());
    bench.query("COMMIT");
    bench.done("COMMIT", I);
    assert_eq!(*bench.seen.0.lock().unwrap(), ["catalog"]);
}

#[test]
fn no_server_to_be_had() {
    let mut bench = Bench::new();
    bench.servers = false;
    assert_eq!(bench.query("SELECT 1"), Wait::Server);
    bench.session.deny(PgError::error(SqlState::TOO_MANY_CONNECTIONS, "none free"));
    bench.pump();
    assert_eq!(bench.told(), ["ERROR 53300 none free", "Ready I"]);
    let wait = bench.client(|out| {
        one_shot(out, "SELECT 1");
        frontend::sync(out);
    });
    assert_eq!(wait, Wait::Server);
    bench.session.deny(PgError::error(SqlState::TOO_MANY_CONNECTIONS, "none free"));
    bench.pump();
    assert_eq!(bench.told(), ["ERROR 53300 none free", "Ready I"]);
}

#[test]
fn session_pooling_keeps_the_server() {
    let mut bench = Bench::with(PoolMode::Session, Mode::Shared, Settings::default());
    bench.query("SELECT 1");
    bench.done("SELECT 1", I);
    assert!(bench.released().is_none());
    bench.sent();
    let (link, clean) = bench.session.detach().unwrap();
    assert!(link.known.needs_reset && clean);
}

#[test]
fn a_pinning_statement_keeps_the_server_until_discard_all() {
    let mut bench = Bench::new();
    bench.query("LISTEN x");
    bench.done("LISTEN", I);
    assert!(bench.released().is_none());
    bench.query("DISCARD ALL");
    bench.query("SELECT 1");
    // What comes next must see what it leaves.
    assert_eq!(bench.sent(), ["Query DISCARD ALL"]);
    bench.done("DISCARD ALL", I);
    assert_eq!(bench.sent(), ["Query SELECT 1"]);
    bench.done("SELECT 1", I);
    assert!(!bench.released().unwrap().known.needs_reset);
}

#[test]
fn operators_are_audited() {
    let mut bench = Bench::with(PoolMode::Transaction, Mode::Operator, Settings::default());
    bench.query("SELECT 1");
    assert_eq!(*bench.seen.0.lock().unwrap(), ["operator SELECT 1"]);
}

/// Where the witness only reports, a statement is sent and told of each time.
#[test]
fn what_the_witness_objects_to_is_audited() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.query("OBJECTIONABLE");
        assert_eq!(bench.sent(), ["Query OBJECTIONABLE"]);
        bench.done("SELECT 1", I);
    }
    assert_eq!(*bench.seen.0.lock().unwrap(), ["objected orders stands alone"; 2]);
}
