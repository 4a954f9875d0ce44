//! Errors and refusals: order, transaction state, skipping to Sync.

use super::*;
use crate::session::protocol::server_bytes::Broken;

#[test]
fn a_refusal_outside_a_transaction_needs_no_server() {
    let mut bench = Bench::new();
    bench.query("REFUSED");
    assert_eq!(bench.told(), ["ERROR 42501 not allowed", "Ready I"]);
    bench.client(|out| one_shot(out, "REFUSED"));
    bench.client(frontend::sync);
    assert_eq!(bench.told(), ["ERROR 42501 not allowed", "Ready I"]);
    assert!(!bench.session.attached());
    assert!(bench.session.idle());
}

#[test]
fn a_refusal_in_a_transaction_fails_it_upstream() {
    let mut bench = Bench::new();
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    bench.told();
    bench.query("REFUSED");
    assert_eq!(bench.sent(), ["Query BEGIN", "Query refused by pgwarden"]);
    bench.server(|out| {
        error(out, b"42601", "syntax error at or near \"refused\"");
        backend::ready_for_query(out, E);
    });
    assert_eq!(bench.told(), ["ERROR 42501 not allowed", "Ready E"]);
}

#[test]
fn another_error_in_a_refused_ones_place_is_told_as_it_is() {
    let mut bench = Bench::new();
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    bench.told();
    bench.query("REFUSED");
    bench.server(|out| {
        error(out, b"57014", "canceling statement due to user request");
        backend::ready_for_query(out, E);
    });
    assert!(bench.told()[0].starts_with("ERROR 57014"));
}

#[test]
fn a_refusal_in_mid_pipeline_keeps_the_order() {
    let mut bench = Bench::new();
    bench.client(|out| {
        one_shot(out, "SELECT 1");
        one_shot(out, "REFUSED");
        one_shot(out, "SELECT 3");
        frontend::sync(out);
        one_shot(out, "SELECT 4");
        frontend::sync(out);
    });
    let sent = bench.sent();
    assert_eq!(sent[3], "Parse refused by pgwarden refused by pgwarden []");
    // The refused statement's Bind finds no statement of the client's own.
    assert!(sent.iter().any(|text| text.contains("SELECT 4")));
    bench.server(|out| {
        one_shot_replies(out);
        error(out, b"42601", "syntax error");
        backend::ready_for_query(out, I);
        one_shot_replies(out);
        backend::ready_for_query(out, I);
    });
    assert_eq!(
        bench.told(),
        ["1", "2", "Complete SELECT 0", "ERROR 42501 not allowed", "Ready I", "1", "2", "Complete SELECT 0", "Ready I"]
    );
    assert!(bench.released().is_some());
}

#[test]
fn an_error_is_skipped_to_a_sync_that_is_still_to_come() {
    let mut bench = Bench::new();
    bench.client(|out| one_shot(out, "SELECT 1/0"));
    bench.server(|out| {
        backend::parse_complete(out);
        backend::bind_complete(out);
        error(out, b"22012", "division by zero");
    });
    bench.sent();
    bench.client(|out| one_shot(out, "SELECT 2"));
    bench.query("SELECT 3");
    assert!(bench.sent().is_empty());
    bench.client(frontend::sync);
    assert_eq!(bench.sent(), ["Sync"]);
    bench.server(|out| backend::ready_for_query(out, I));
    assert_eq!(bench.told(), ["1", "2", "ERROR 22012 division by zero detail position", "Ready I"]);
    bench.query("SELECT 4");
    assert_eq!(bench.sent(), ["Query SELECT 4"]);
}

/// As Postgres alone: after an error the server skips Queries too, and is at rest no sooner than the next Sync is answered.
#[test]
fn a_query_behind_an_error_is_skipped_and_nothing_is_released_before_sync() {
    for behind in ["SELECT 1", "SET timezone TO x", "BEGIN", "REFUSED", "DEALLOCATE ALL", "DISCARD ALL"] {
        let mut bench = Bench::new();
        bench.client(|out| {
            frontend::parse(out, "", "SELECT nosuch", &[]).unwrap();
            frontend::query(out, behind).unwrap();
        });
        bench.server(|out| error(out, b"42703", "column does not exist"));
        assert_eq!(bench.told(), ["ERROR 42703 column does not exist detail position"], "{behind}");
        assert!(bench.released().is_none(), "{behind}: the server still skips");
        assert!(!bench.session.idle() && !bench.session.between_transactions());
        bench.query("SELECT 2");
        bench.client(|out| one_shot(out, "SELECT 3"));
        assert!(bench.sent().is_empty(), "{behind}: it would be skipped");
        bench.client(frontend::sync);
        assert_eq!(bench.sent(), ["Sync"]);
        assert!(bench.released().is_none());
        bench.server(|out| backend::ready_for_query(out, I));
        assert_eq!(bench.told(), ["Ready I"], "{behind}");
        // What became of the setting is asked for first.
        assert_eq!(bench.released().is_some(), !behind.starts_with("SET"), "{behind}");
    }
}

#[test]
fn a_client_that_leaves_while_the_server_skips_leaves_no_connection_to_others() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::parse(out, "", "SELECT nosuch", &[]).unwrap();
        frontend::query(out, "SELECT 1").unwrap();
    });
    bench.server(|out| error(out, b"42703", "column does not exist"));
    bench.sent();
    assert!(!bench.session.detach().unwrap().1);
}

#[test]
fn too_long_messages_are_skipped_behind_an_error_too() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::parse(out, "", "SELECT nosuch", &[]).unwrap();
        frontend::flush(out);
    });
    bench.server(|out| error(out, b"42703", "column does not exist"));
    bench.told();
    bench.sent();
    bench.client(|out| {
        out.put_slice(b"Q\x07\0\0\x04");
        out.put_bytes(0, 0x0700_0000);
        frontend::sync(out);
    });
    assert_eq!(bench.sent(), ["Sync"]);
    bench.server(|out| backend::ready_for_query(out, I));
    assert_eq!(bench.told(), ["Ready I"]);
    assert!(bench.released().is_some());
}

/// What the server skipped has not happened: names stand for what they stood for before.
#[test]
fn what_was_skipped_is_taken_back() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::parse(out, "kept", "SELECT 1", &[]).unwrap();
        frontend::parse(out, "", "SELECT unnamed", &[]).unwrap();
        frontend::sync(out);
    });
    bench.server(|out| {
        backend::parse_complete(out);
        backend::parse_complete(out);
        backend::ready_for_query(out, I);
    });
    bench.sent();
    bench.told();
    bench.client(|out| {
        frontend::parse(out, "bad", "SELECT nosuch", &[]).unwrap();
        frontend::close(out, Target::Statement("kept")).unwrap();
        frontend::parse(out, "again", "SELECT 1", &[]).unwrap();
        frontend::query(out, "SELECT 2").unwrap();
        frontend::sync(out);
    });
    // Whether the Query is run is not known before: nothing follows it.
    assert_eq!(bench.sent().last().unwrap(), "Query SELECT 2");
    bench.server(|out| error(out, b"42703", "column does not exist"));
    assert_eq!(bench.sent(), ["Sync"]);
    bench.server(|out| backend::ready_for_query(out, I));
    assert_eq!(bench.told(), ["ERROR 42703 column does not exist detail position", "Ready I"]);
    bench.sent();
    for (name, is_there) in [("kept", true), ("", true), ("again", false), ("bad", false)] {
        bench.client(|out| {
            frontend::bind(out, "", name, &[], Format::Text).unwrap();
            frontend::sync(out);
        });
        let sent = bench.sent();
        assert_eq!(sent.iter().any(|it| it.starts_with("Bind")), is_there, "{name}: {sent:?}");
        if is_there {
            bench.server(|out| {
                for message in &sent {
                    match message.split(' ').next().unwrap() {
                        "Parse" => backend::parse_complete(out),
                        "Bind" => backend::bind_complete(out),
                        "Sync" => backend::ready_for_query(out, I),
                        other => panic!("{other}"),
                    }
                }
            });
        }
        let told = bench.told();
        assert_eq!(told[0].starts_with("ERROR 26000"), !is_there, "{name}: {told:?}");
    }
}

/// A portal that was closed or bound anew by what the server skipped is the old one: its statement's effects are followed.
#[test]
fn portals_stand_for_what_the_server_holds() {
    let mut bench = Bench::new();
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    bench.client(|out| {
        frontend::parse(out, "", "SET timezone TO x", &[]).unwrap();
        frontend::bind(out, "p", "", &[], Format::Text).unwrap();
        frontend::sync(out);
    });
    bench.server(|out| {
        backend::parse_complete(out);
        backend::bind_complete(out);
        backend::ready_for_query(out, T);
    });
    bench.client(|out| {
        frontend::parse(out, "", "SELECT nosuch", &[]).unwrap();
        frontend::close(out, Target::Portal("p")).unwrap();
        frontend::bind(out, "p", "", &[], Format::Text).unwrap();
        frontend::sync(out);
    });
    bench.server(|out| {
        error(out, b"42703", "column does not exist");
        backend::ready_for_query(out, E);
    });
    bench.query("ROLLBACK TO s");
    bench.done("ROLLBACK", T);
    bench.client(|out| {
        frontend::execute(out, "p", 0).unwrap();
        frontend::sync(out);
    });
    bench.server(|out| {
        backend::command_complete(out, "SET").unwrap();
        backend::ready_for_query(out, T);
    });
    bench.query("COMMIT");
    bench.sent();
    bench.done("COMMIT", I);
    assert!(bench.sent()[0].contains("'timezone'"), "the outcome is asked for");
}

/// A verdict on a message that waited and was skipped then is not taken for the next one's.
#[test]
fn what_was_found_out_about_a_skipped_message_is_forgotten() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::parse(out, "", "SELECT nosuch", &[]).unwrap();
        // It waits for what stands before it.
        frontend::query(out, "DEALLOCATE x").unwrap();
    });
    bench.server(|out| error(out, b"42703", "column does not exist"));
    bench.client(|out| {
        frontend::sync(out);
        frontend::query(out, "SELECT 1").unwrap();
    });
    assert_eq!(bench.sent().last().unwrap(), "Query SELECT 1");
}

#[test]
fn an_error_at_sync_is_forwarded() {
    let mut bench = Bench::new();
    bench.client(|out| {
        one_shot(out, "SELECT 1");
        frontend::sync(out);
    });
    bench.server(|out| {
        one_shot_replies(out);
        error(out, b"23503", "violates foreign key constraint");
        backend::ready_for_query(out, I);
    });
    // A tenant of the shared layout does not see the key.
    assert_eq!(bench.told()[3..], ["ERROR 23503 violates foreign key constraint position", "Ready I"]);
    assert!(bench.released().is_some());
}

#[test]
fn details_are_kept_outside_the_shared_layout() {
    let mut bench = Bench::with(PoolMode::Transaction, Mode::Database, Settings::default());
    bench.query("SELECT 1");
    bench.server(|out| {
        error(out, b"23505", "duplicate key");
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.told()[0], "ERROR 23505 duplicate key detail position");
}

#[test]
fn positions_in_rewritten_texts_are_dropped() {
    let mut bench = Bench::new();
    bench.query("TENANT 0");
    assert_eq!(bench.sent(), ["Query TENANT 0 = CAST('42' AS pg_catalog.int4)"]);
    bench.server(|out| {
        error(out, b"42703", "column does not exist");
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.told()[0], "ERROR 42703 column does not exist detail");
}

#[test]
fn the_server_ends_the_session() {
    let mut bench = Bench::new();
    bench.query("SELECT 1");
    let mut bytes = BytesMut::new();
    backend::error_response(&mut bytes, &PgError::fatal(SqlState::ADMIN_SHUTDOWN, "terminating connection"));
    assert!(matches!(bench.session.server_bytes(&bytes), Err(Broken::Ended)));
    assert_eq!(bench.told(), ["FATAL 57P01 terminating connection"]);
    bench.session.fail(&PgError::fatal(SqlState::CONNECTION_FAILURE, "lost"));
    assert!(bench.told().is_empty(), "told once");
}

#[test]
fn malformed_bodies_are_statements_that_fail() {
    let mut bench = Bench::new();
    bench.client(|out| out.put_slice(b"Q\0\0\0\x06\xff\0"));
    assert_eq!(bench.told(), ["ERROR 22021 invalid byte sequence for encoding \"UTF8\": 0xff", "Ready I"]);
    bench.client(|out| out.put_slice(b"B\0\0\0\x05\0"));
    assert!(bench.told()[0].starts_with("ERROR 08P01"));
    bench.client(frontend::sync);
    assert_eq!(bench.told(), ["Ready I"]);
}

#[test]
fn unknown_statements_and_duplicate_names() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::bind(out, "", "nope", &[], Format::Text).unwrap();
        frontend::sync(out);
    });
    assert_eq!(bench.told(), ["ERROR 26000 prepared statement \"nope\" does not exist", "Ready I"]);
    bench.client(|out| {
        frontend::parse(out, "a", "SELECT 1", &[]).unwrap();
        frontend::sync(out);
    });
    bench.server(|out| {
        backend::parse_complete(out);
        backend::ready_for_query(out, I);
    });
    bench.told();
    bench.client(|out| {
        frontend::parse(out, "a", "SELECT 2", &[]).unwrap();
        frontend::sync(out);
    });
    assert_eq!(bench.told(), ["ERROR 42P05 prepared statement \"a\" already exists", "Ready I"]);
}
