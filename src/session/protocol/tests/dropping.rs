//! DEALLOCATE, DISCARD ALL, and servers that do not hold what was noted.

use super::prepared::accept;
use super::*;

const STAND_IN: &str = "SET escape_string_warning FROM CURRENT";

fn prepare(bench: &mut Bench, name: &str, sql: &str) -> Vec<String> {
    bench.client(|out| {
        frontend::parse(out, name, sql, &[]).unwrap();
        frontend::sync(out);
    });
    accept(bench)
}

fn run(out: &mut BytesMut, name: &str) {
    frontend::bind(out, "", name, &[], Format::Text).unwrap();
    frontend::execute(out, "", 0).unwrap();
    frontend::sync(out);
}

/// The server's error, with the routine that raised it.
fn fail(out: &mut BytesMut, code: &[u8; 5], message: &str, status: Option<TransactionStatus>) {
    error(out, code, message);
    status.into_iter().for_each(|status| backend::ready_for_query(out, status));
}

const STALE: &str = "cached plan must not change result type";

#[test]
fn what_others_share_is_not_dropped() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT 1");
    bench.told();
    // Behind it waits what depends on it.
    bench.client(|out| {
        frontend::query(out, "DEALLOCATE ALL; SELECT 2").unwrap();
        frontend::parse(out, "a", "SELECT 1", &[]).unwrap();
        frontend::sync(out);
    });
    assert_eq!(bench.sent(), [format!("Query {STAND_IN}\n;SELECT 2")]);
    bench.server(|out| {
        backend::command_complete(out, "SET").unwrap();
        backend::command_complete(out, "SELECT 1").unwrap();
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.told(), ["Complete DEALLOCATE ALL", "Complete SELECT 1", "Ready I", "1", "Ready I"]);
    assert!(bench.sent().is_empty(), "the server has it still");
    // It stays dropped when what follows fails, as in Postgres.
    bench.query("DEALLOCATE ALL; SELECT 1/0");
    bench.server(|out| {
        backend::command_complete(out, "SET").unwrap();
        fail(out, b"22012", "division by zero", Some(I));
    });
    bench.told();
    bench.client(|out| run(out, "a"));
    assert_eq!(bench.told()[0], "ERROR 26000 prepared statement \"a\" does not exist");
}

#[test]
fn names_are_dropped_among_other_statements() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT 1");
    bench.told();
    bench.query("SELECT 2; DEALLOCATE a; DEALLOCATE b");
    assert_eq!(bench.sent(), [format!("Query SELECT 2\n;{STAND_IN}\n;DEALLOCATE b")]);
    bench.server(|out| {
        backend::command_complete(out, "SELECT 1").unwrap();
        backend::command_complete(out, "SET").unwrap();
        fail(out, b"26000", "prepared statement \"b\" does not exist", Some(I));
    });
    assert_eq!(bench.told()[..2], ["Complete SELECT 1", "Complete DEALLOCATE"]);
    bench.client(|out| run(out, "a"));
    assert!(bench.told()[0].starts_with("ERROR 26000"));
}

#[test]
fn a_name_can_be_given_again_right_behind_deallocate() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT 1");
    bench.told();
    bench.client(|out| {
        one_shot(out, "DEALLOCATE a");
        frontend::parse(out, "a", "SELECT 2", &[]).unwrap();
        frontend::sync(out);
    });
    while !bench.session.server.out.is_empty() {
        let sent = bench.sent();
        bench.server(|out| {
            for message in &sent {
                match message.split(' ').next().unwrap() {
                    "Parse" => backend::parse_complete(out),
                    "Bind" => backend::bind_complete(out),
                    "Execute" => backend::empty_query_response(out),
                    "Flush" => {}
                    "Sync" => backend::ready_for_query(out, I),
                    other => panic!("{other}"),
                }
            }
        });
    }
    assert_eq!(bench.told(), ["1", "2", "Complete DEALLOCATE", "1", "Ready I"]);
}

#[test]
fn discard_all_drops_nothing_of_others() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT 1");
    bench.told();
    bench.query("DISCARD ALL");
    assert_eq!(bench.sent(), ["Query "]);
    bench.server(|out| {
        backend::empty_query_response(out);
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.told(), ["Complete DISCARD ALL", "Ready I"]);
    bench.client(|out| run(out, "a"));
    assert!(bench.told()[0].starts_with("ERROR 26000"));
    assert!(prepare(&mut bench, "a", "SELECT 1").is_empty(), "the server has it still");
    // In a transaction it is the server's to refuse.
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    bench.sent();
    bench.query("DISCARD ALL");
    assert_eq!(bench.sent(), ["Query DISCARD ALL"]);
    bench.server(|out| fail(out, b"25001", "DISCARD ALL cannot run inside a transaction block", Some(E)));
    bench.query("ROLLBACK");
    bench.done("ROLLBACK", I);
    assert!(!bench.released().unwrap().known.needs_reset, "it did nothing");
}

#[test]
fn on_a_connection_of_its_own_what_was_dropped_is_known_at_once() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT 1");
    bench.query("LISTEN x");
    bench.done("LISTEN", I);
    bench.sent();
    bench.told();
    bench.query("DEALLOCATE ALL; SELECT 1/0");
    assert_eq!(bench.sent(), ["Query DEALLOCATE ALL; SELECT 1/0"]);
    bench.server(|out| {
        backend::command_complete(out, "DEALLOCATE ALL").unwrap();
        fail(out, b"22012", "division by zero", Some(I));
    });
    assert_eq!(prepare(&mut bench, "a", "SELECT 1"), ["Parse pgw1 SELECT 1 []", "Sync"]);
    // Where it is not known how far it came, names are closed before they are given.
    bench.query("SELECT 1; DEALLOCATE ALL");
    bench.sent();
    bench.server(|out| {
        backend::command_complete(out, "SELECT 1").unwrap();
        fail(out, b"23503", "deferred", Some(I));
    });
    bench.client(|out| run(out, "a"));
    let sent = accept(&mut bench);
    assert_eq!(sent[..2], ["Close statement pgw1", "Parse pgw1 SELECT 1 []"], "{sent:?}");
    assert!(bench.session.detach().unwrap().0.known.needs_reset);
}

/// What the server has lost is prepared again, and the client does not hear of it.
#[test]
fn a_batch_is_gone_through_again() {
    for (code, message) in [(b"26000", "prepared statement \"pgw1\" does not exist"), (b"0A000", STALE)] {
        for syncs_later in [false, true] {
            let mut bench = Bench::new();
            prepare(&mut bench, "a", "SELECT 1");
            prepare(&mut bench, "b", "SELECT 2");
            bench.told();
            bench.client(|out| {
                frontend::bind(out, "", "a", &[], Format::Text).unwrap();
                frontend::execute(out, "", 0).unwrap();
                if syncs_later {
                    frontend::flush(out);
                } else {
                    frontend::sync(out);
                }
            });
            bench.sent();
            bench.server(|out| fail(out, code, message, None));
            let ended = bench.sent();
            assert_eq!(ended.concat(), if syncs_later { "Sync" } else { "" });
            if syncs_later {
                bench.client(frontend::sync);
                assert!(bench.sent().is_empty(), "it waits");
            }
            bench.server(|out| backend::ready_for_query(out, I));
            let again = accept_flushed(&mut bench);
            assert_eq!(again[..3], ["Close statement pgw1", "Parse pgw1 SELECT 1 []", "Bind  pgw1 [] "], "{again:?}");
            assert_eq!(bench.told(), ["2", "Complete SELECT 0", "Ready I"]);
            // The others are not relied upon either.
            bench.client(|out| run(out, "b"));
            assert_eq!(accept(&mut bench)[..2], ["Close statement pgw2", "Parse pgw2 SELECT 2 []"]);
            assert!(bench.released().unwrap().known.needs_reset, "nobody else has it before it is reset");
        }
    }
}

fn accept_flushed(bench: &mut Bench) -> Vec<String> {
    let sent = bench.sent();
    bench.server(|out| {
        for message in &sent {
            match message.split(' ').next().unwrap() {
                "Parse" => backend::parse_complete(out),
                "Bind" => backend::bind_complete(out),
                "Close" => backend::close_complete(out),
                "Execute" => backend::command_complete(out, "SELECT 0").unwrap(),
                "Flush" => {}
                "Sync" => backend::ready_for_query(out, I),
                other => panic!("{other}"),
            }
        }
    });
    sent
}

#[test]
fn a_name_that_is_taken_is_closed_first() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::parse(out, "a", "SELECT 1", &[]).unwrap();
        run(out, "a");
    });
    bench.sent();
    bench.server(|out| fail(out, b"42P05", "prepared statement \"pgw1\" already exists", Some(I)));
    let again = accept(&mut bench);
    assert_eq!(again[..3], ["Close statement pgw1", "Parse pgw1 SELECT 1 []", "Bind  pgw1 [] "], "{again:?}");
    assert_eq!(bench.told(), ["1", "2", "Complete SELECT 0", "Ready I"]);
}

/// Where the client could tell, it is told, and what is noted is right afterwards.
#[test]
fn a_batch_is_not_gone_through_again_where_that_shows() {
    let lost = |out: &mut BytesMut| fail(out, b"26000", "prepared statement \"pgw1\" does not exist", None);
    // In a transaction block.
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT 1");
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    bench.client(|out| run(out, "a"));
    bench.sent();
    bench.told();
    bench.server(lost);
    bench.server(|out| backend::ready_for_query(out, E));
    assert_eq!(bench.told(), ["ERROR 26000 prepared statement \"a\" does not exist detail position", "Ready E"]);
    bench.query("ROLLBACK");
    bench.done("ROLLBACK", I);
    bench.sent();
    bench.client(|out| run(out, "a"));
    assert_eq!(accept(&mut bench)[..2], ["Close statement pgw1", "Parse pgw1 SELECT 1 []"]);
    // Behind what has run, or was answered; before another batch, which runs.
    for (before, behind) in [(true, false), (false, true)] {
        let mut bench = Bench::new();
        prepare(&mut bench, "a", "SELECT 1");
        bench.told();
        bench.client(|out| {
            if before {
                one_shot(out, "SELECT 5");
            }
            run(out, "a");
            if behind {
                one_shot(out, "SELECT 6");
                frontend::sync(out);
            }
        });
        bench.sent();
        if before {
            bench.server(one_shot_replies);
        }
        bench.server(lost);
        bench.server(|out| backend::ready_for_query(out, I));
        let told = bench.told();
        assert!(told.iter().any(|it| it.starts_with("ERROR 26000 prepared statement \"a\"")), "{told:?}");
        assert!(bench.sent().is_empty());
    }
    // Another error of the same code.
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT 1");
    bench.told();
    bench.client(|out| run(out, "a"));
    bench.server(|out| fail(out, b"0A000", "FOR UPDATE is not allowed here", Some(I)));
    assert!(bench.told()[0].starts_with("ERROR 0A000"));
}

#[test]
fn a_batch_is_gone_through_twice_at_most() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT 1");
    bench.told();
    bench.client(|out| run(out, "a"));
    bench.server(|out| fail(out, b"0A000", STALE, Some(I)));
    bench.sent();
    bench.server(|out| {
        backend::close_complete(out);
        backend::parse_complete(out);
        fail(out, b"0A000", STALE, Some(I));
    });
    assert!(bench.told()[0].starts_with("ERROR 0A000"));
    bench.client(|out| run(out, "a"));
    let sent = accept(&mut bench);
    assert_eq!(sent[..2], ["Close statement pgw1", "Parse pgw1 SELECT 1 []"], "{sent:?}");
}

#[test]
fn a_statement_that_was_not_closed_after_all_is_there() {
    let mut bench = Bench::new();
    for name in ["a", "b"] {
        prepare(&mut bench, name, &format!("SELECT {name}"));
    }
    bench.told();
    bench.client(|out| {
        one_shot(out, "SELECT nosuch");
        frontend::parse(out, "c", "SELECT c", &[]).unwrap();
        frontend::sync(out);
    });
    assert!(bench.sent().contains(&"Close statement pgw1".to_owned()));
    bench.server(|out| fail(out, b"42703", "column does not exist", Some(I)));
    bench.client(|out| run(out, "a"));
    assert_eq!(accept(&mut bench)[0], "Bind  pgw1 [] ");
}
