//! Long texts are planned elsewhere while the message waits.

use super::*;

/// A text of so many bytes, at least, that begins like this.
fn long(start: &str, bytes: usize) -> String {
    format!("{start}{}", " x".repeat(bytes / 2))
}

const KEPT: usize = 10 << 10;
const NOT_KEPT: usize = 100 << 10;

#[test]
fn a_long_text_is_read_once_while_it_is_remembered() {
    let mut bench = Bench::new();
    for (text, reads) in [
        ("SELECT 1".to_owned(), 0),
        (long("SELECT", KEPT), 1),
        (long("SELECT", KEPT), 1),
        (long("SELECT", NOT_KEPT), 2),
        (long("SELECT", NOT_KEPT), 3),
    ] {
        assert_eq!(bench.query(&text), Wait::Input);
        assert!(bench.sent() == [format!("Query {text}")]);
        bench.done("SELECT 1", I);
        assert_eq!(bench.told(), ["Complete SELECT 1", "Ready I"]);
        assert_eq!(bench.reads, reads);
    }
}

#[test]
fn what_was_sent_behind_it_waits() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::query(out, &long("REFUSED", NOT_KEPT)).unwrap();
        frontend::query(out, "SELECT 2").unwrap();
    });
    assert_eq!(bench.reads, 1);
    assert_eq!(bench.told(), ["ERROR 42501 not allowed", "Ready I"]);
    assert_eq!(bench.sent(), ["Query SELECT 2"]);
}

#[test]
fn in_the_extended_protocol() {
    let mut bench = Bench::new();
    for (start, answers) in [("SELECT", true), ("REFUSED", false)] {
        bench.client(|out| {
            one_shot(out, &long(start, NOT_KEPT));
            frontend::sync(out);
        });
        if answers {
            bench.server(|out| {
                one_shot_replies(out);
                backend::ready_for_query(out, I);
            });
            assert!(bench.told().contains(&"Ready I".to_owned()));
        } else {
            assert_eq!(bench.told(), ["ERROR 42501 not allowed", "Ready I"]);
        }
    }
    assert_eq!(bench.reads, 2);
}

#[test]
fn it_is_read_again_with_a_new_catalog_and_under_a_new_policy() {
    let mut bench = Bench::new();
    bench.query(&long("UNKNOWN", NOT_KEPT));
    assert_eq!((bench.refreshes, bench.reads), (1, 2));
    assert_eq!(bench.told(), ["ERROR 42P01 relation does not exist", "Ready I"]);

    let mut bytes = BytesMut::new();
    frontend::query(&mut bytes, &long("SELECT", NOT_KEPT)).unwrap();
    bench.session.client_bytes(&bytes);
    let Wait::Read(reading) = bench.session.pump() else { panic!("it is not read") };
    bench.session.have_read(reading.run());
    bench.session.backend().guard.set_policy(Arc::new(Policy { epoch: 2, ..Policy::empty() }));
    assert!(matches!(bench.session.pump(), Wait::Read(_)));
}

#[test]
fn it_is_not_read_again_when_a_server_was_waited_for() {
    let mut bench = Bench::new();
    bench.servers = false;
    assert_eq!(bench.query(&long("SELECT", NOT_KEPT)), Wait::Server);
    bench.session.attach(link());
    assert_eq!(bench.pump(), Wait::Input);
    assert_eq!(bench.reads, 1);
}

/// Each statement of a text is planned for the tenant that it runs for.
#[test]
fn several_of_one_text_for_a_login_that_switches() {
    let mut bench = moving::bench(PoolMode::Transaction);
    let [first, second] = ["1", "2"].map(|it| format!("SELECT {it}{}", ", 3".repeat(NOT_KEPT / 3)));
    bench.query(&format!("SET app.tenant_id = 'a'; {first}; SET app.tenant_id = 'b'; {second}; SELECT 3"));
    assert_eq!(bench.reads, 2);
    let sent = bench.sent().concat();
    assert!(sent.contains(&first) && sent.contains(&second), "{}", sent.len());
}
