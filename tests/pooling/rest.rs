//! A server connection goes to the next client only when it is at rest: what a client leaves in the middle of a batch
//! stays with it, or ends with it.

use std::time::{Duration, Instant};

use super::proxy;
use crate::support::lab::Lab;
use crate::support::message::{
    bind, close, copy_data, copy_done, copy_fail, describe, execute, extended, flush, parse, query, sync,
};
use crate::support::proxy::Proxy;
use crate::support::session::{CopyIn, Session};

/// Batches that end in a Sync that is not part of them. What Postgres answers to them, and then to the Sync, is what a
/// client of pgwarden sees.
fn batches() -> Vec<(&'static str, Vec<u8>)> {
    let bad = || parse("", "SELECT nosuch FROM customers", &[]);
    let copy = || extended("COPY settings (k, v) FROM STDIN", &[]);
    vec![
        ("Query behind an error", [bad(), query("SELECT 1")].concat()),
        ("several Queries", [bad(), query("SELECT 1"), query("BEGIN"), query("SELECT 2; SELECT 3")].concat()),
        ("batch behind a Query", [bad(), query("SELECT 1"), extended("SELECT 2", &[])].concat()),
        ("error in a Query", [extended("SELECT 1", &[]), query("SELECT 1/0")].concat()),
        ("error behind a Query", [query("SELECT 1"), bad()].concat()),
        ("Flush", [bad(), flush(), query("SELECT 1"), flush()].concat()),
        ("Bind of nothing", [bind("", "nothing", &[], &[]), query("SELECT 1")].concat()),
        ("Describe of nothing", [describe('S', "nothing"), query("SELECT 1")].concat()),
        ("Execute of nothing", [execute("nothing", 0), query("SELECT 1")].concat()),
        ("Close of anything", [close('S', "nothing"), close('P', "nothing")].concat()),
        ("what is refused", [extended("SELECT 1", &[]), extended("VACUUM", &[]), query("SELECT 1")].concat()),
        ("DEALLOCATE ALL", [bad(), query("DEALLOCATE ALL")].concat()),
        ("DISCARD ALL", [bad(), query("DISCARD ALL")].concat()),
        ("SET", [bad(), query("SET DateStyle = 'German'")].concat()),
        ("implicit transaction", [extended("SET DateStyle = 'German'", &[]), bad(), query("SELECT 1")].concat()),
        ("transaction block", [extended("BEGIN", &[]), bad(), query("ROLLBACK"), query("SELECT 1")].concat()),
        ("COPY", [bad(), query("COPY settings (k, v) FROM STDIN")].concat()),
        ("COPY without a batch", [copy(), copy_data(b"rest\tx\n"), copy_fail("no"), query("SELECT 1")].concat()),
        ("bad rows", [copy(), copy_data(b"one field\n"), copy_done(), query("SELECT 1")].concat()),
    ]
}

/// What comes until nothing does, and then for a Sync: the kinds of messages and states.
fn answers(session: &mut Session, batch: &[u8]) -> (String, String) {
    session.copy_in = CopyIn::Nothing;
    session.send(batch);
    // Postgres keeps replies to itself until it is asked for them.
    session.send(&flush());
    let before = session.collect_within(9, Duration::from_millis(200));
    assert!(!before.closed, "{}", before.text());
    session.send(&sync());
    let after = session.collect(1);
    assert!(!after.closed && !after.timed_out, "{} {}", before.text(), after.text());
    let kinds = |kinds: &str| kinds.replace('S', "");
    (kinds(&before.kinds) + " " + &before.states, kinds(&after.kinds) + " " + &after.states)
}

fn is_served(proxy: &Proxy, what: &str) {
    let mut next = proxy.b().connect();
    let reply = next.exchange(
        &[
            query("SELECT count(*) FROM customers"),
            parse("", "INSERT INTO settings (k, v) VALUES ('rest', $1)", &[]),
            bind("", "", &[Some("x")], &[]),
            execute("", 0),
            sync(),
            query("DELETE FROM settings WHERE k = 'rest'; SHOW DateStyle"),
        ],
        3,
    );
    let reply = reply.ok();
    assert_eq!(reply.tags, ["SELECT 1", "INSERT 0 1", "DELETE 1", "SHOW"], "after {what}");
    assert_eq!(reply.texts().concat(), ["8", "ISO, MDY"], "after {what}");
    assert!(reply.elapsed < Duration::from_secs(1), "after {what}: {:?}", reply.elapsed);
}

#[test]
fn batches_without_sync_are_answered_as_by_postgres() {
    let proxy = proxy("rest_batches", 1);
    for (what, batch) in batches() {
        if what == "what is refused" {
            continue;
        }
        let mut plain = Lab::general().superuser("rest_batches");
        plain.simple("SET search_path = public").ok();
        let mut client = proxy.a().connect();
        assert_eq!(answers(&mut client, &batch), answers(&mut plain, &batch), "{what}");
        client.simple("ROLLBACK; SET DateStyle = 'ISO, MDY'").ok();
        // It is there for others while the client stays.
        is_served(&proxy, what);
        assert_eq!(client.simple("SELECT 1").ok().value(), "1", "{what}");
    }
}

#[test]
fn a_client_that_leaves_in_mid_batch_harms_nobody() {
    let proxy = proxy("rest_leaving", 1);
    for (what, batch) in batches() {
        for polite in [false, true] {
            let mut client = proxy.a().connect();
            client.copy_in = CopyIn::Nothing;
            client.send(&batch);
            client.send(&flush());
            client.collect_within(9, Duration::from_millis(50));
            if polite {
                client.quit();
            } else {
                drop(client);
            }
            std::thread::sleep(Duration::from_millis(100));
            is_served(&proxy, what);
        }
    }
}

/// A cancel request that comes while the server skips finds nothing to stop, and hits nobody later.
#[test]
fn a_cancel_while_the_server_skips_hits_nobody() {
    use crate::support::session::cancel;
    let proxy = proxy("rest_cancel", 1);
    for _ in 0..5 {
        let mut client = proxy.a().connect();
        client.send(&[parse("", "SELECT nosuch FROM customers", &[]), query("SELECT 1"), flush()].concat());
        let failed = client.message(Instant::now() + Duration::from_secs(20)).unwrap();
        assert_eq!(failed.0, b'E', "from here on the server skips");
        let (pid, key) = client.cancel_key.clone().unwrap();
        cancel(proxy.port, pid, &key);
        client.send(&sync());
        client.collect(1).refused("");
        is_served(&proxy, "cancel");
    }
}
