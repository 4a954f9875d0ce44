//! Named statements: shared on servers, prepared where they are missing, appended parameters.

use super::*;

fn prepare(bench: &mut Bench, name: &str, sql: &str) {
    bench.client(|out| {
        frontend::parse(out, name, sql, &[]).unwrap();
        frontend::sync(out);
    });
}

/// Answers everything that was sent, as a server would that accepts it all.
pub(super) fn accept(bench: &mut Bench) -> Vec<String> {
    let sent = bench.sent();
    bench.server(|out| {
        for message in &sent {
            match message.split(' ').next().unwrap() {
                "Parse" => backend::parse_complete(out),
                "Bind" => backend::bind_complete(out),
                "Close" => backend::close_complete(out),
                "Execute" => backend::command_complete(out, "SELECT 0").unwrap(),
                "Sync" => backend::ready_for_query(out, I),
                other => panic!("{other}"),
            }
        }
    });
    sent
}

fn bind(bench: &mut Bench, name: &str) {
    bench.client(|out| {
        frontend::bind(out, "", name, &[], Format::Text).unwrap();
        frontend::execute(out, "", 0).unwrap();
        frontend::sync(out);
    });
}

#[test]
fn a_statement_follows_its_client_to_another_server() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT 1");
    assert_eq!(accept(&mut bench), ["Parse pgw1 SELECT 1 []", "Sync"]);
    assert_eq!(bench.told(), ["1", "Ready I"]);
    let first = bench.released().unwrap();
    bind(&mut bench, "a");
    assert_eq!(accept(&mut bench), ["Parse pgw1 SELECT 1 []", "Bind  pgw1 [] ", "Execute  0", "Sync"]);
    assert_eq!(bench.told(), ["2", "Complete SELECT 0", "Ready I"]);
    bench.released().unwrap();
    bench.session.attach(first);
    bind(&mut bench, "a");
    assert_eq!(accept(&mut bench), ["Bind  pgw1 [] ", "Execute  0", "Sync"]);
}

#[test]
fn equal_texts_share_one_statement() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT 1");
    accept(&mut bench);
    bench.told();
    prepare(&mut bench, "b", "SELECT 1");
    assert!(bench.sent().is_empty(), "the server knows it");
    assert_eq!(bench.told(), ["1", "Ready I"]);
    bind(&mut bench, "b");
    assert_eq!(accept(&mut bench)[0], "Bind  pgw1 [] ");
}

/// Under a name they share one, which holds nobody's comments; without a name each goes as it was written.
#[test]
fn texts_that_differ_in_comments_share_one_statement() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "/*trace=1*/ SELECT 1 -- x");
    assert_eq!(accept(&mut bench), ["Parse pgw1 SELECT 1 []", "Sync"]);
    prepare(&mut bench, "b", "/*trace=2*/ SELECT 1 -- y");
    assert!(bench.sent().is_empty(), "the server knows it");
    prepare(&mut bench, "c", "/*+ trace=3 */ SELECT 1");
    assert_eq!(accept(&mut bench)[0], "Parse pgw2 /*+ trace=3 */ SELECT 1 []", "a hint to the planner is no comment");
    prepare(&mut bench, "", "/*trace=4*/ SELECT 1");
    assert_eq!(accept(&mut bench)[0], "Parse  /*trace=4*/ SELECT 1 []");
}

#[test]
fn the_least_recently_used_one_is_closed() {
    let mut bench = Bench::new();
    for name in ["a", "b"] {
        prepare(&mut bench, name, &format!("SELECT {name}"));
        accept(&mut bench);
    }
    bench.told();
    prepare(&mut bench, "c", "SELECT c");
    assert_eq!(accept(&mut bench), ["Close statement pgw1", "Parse pgw3 SELECT c []", "Sync"]);
    assert_eq!(bench.told(), ["1", "Ready I"]);
    bind(&mut bench, "a");
    assert_eq!(accept(&mut bench)[..2], ["Close statement pgw2", "Parse pgw1 SELECT a []"]);
    assert_eq!(bench.told(), ["2", "Complete SELECT 0", "Ready I"]);
}

#[test]
fn a_failed_parse_leaves_nothing() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::parse(out, "a", "SELECT x", &[]).unwrap();
        frontend::bind(out, "", "a", &[], Format::Text).unwrap();
        frontend::sync(out);
    });
    bench.server(|out| {
        error(out, b"42703", "column does not exist");
        backend::ready_for_query(out, I);
    });
    bench.sent();
    bench.told();
    bind(&mut bench, "a");
    assert_eq!(bench.told()[0], "ERROR 26000 prepared statement \"a\" does not exist");
    prepare(&mut bench, "a", "SELECT x");
    assert_eq!(bench.sent()[0], "Parse pgw1 SELECT x []");
}

#[test]
fn the_unnamed_statement_survives_on_another_server() {
    let mut bench = Bench::new();
    prepare(&mut bench, "", "SELECT 1");
    accept(&mut bench);
    bind(&mut bench, "");
    assert_eq!(accept(&mut bench), ["Bind   [] ", "Execute  0", "Sync"]);
    bench.released().unwrap();
    bind(&mut bench, "");
    assert_eq!(accept(&mut bench)[..2], ["Parse  SELECT 1 []", "Bind   [] "]);
    bench.query("SELECT 2");
    bench.sent();
    bench.done("SELECT 2", I);
    bench.told();
    // As in Postgres, a Query drops it.
    bind(&mut bench, "");
    assert_eq!(bench.told()[0], "ERROR 26000 unnamed prepared statement does not exist");
}

#[test]
fn closing_is_answered_here() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT 1");
    accept(&mut bench);
    bench.released().unwrap();
    bench.told();
    bench.client(|out| {
        frontend::close(out, Target::Statement("a")).unwrap();
        frontend::sync(out);
    });
    assert_eq!(bench.told(), ["3", "Ready I"]);
    assert!(!bench.session.attached());
    bind(&mut bench, "a");
    assert_eq!(bench.told()[0], "ERROR 26000 prepared statement \"a\" does not exist");
}

#[test]
fn the_tenants_value_is_appended_and_hidden() {
    let mut bench = Bench::new();
    bench.client(|out| {
        frontend::parse(out, "a", "TENANT 2", &[23]).unwrap();
        frontend::describe(out, Target::Statement("a")).unwrap();
        let values = [
            ExtraParam { format: Format::Binary, value: Some(&[0, 0, 0, 42]) },
            ExtraParam { format: Format::Text, value: None },
        ];
        frontend::bind(out, "", "a", &values, Format::Text).unwrap();
        frontend::sync(out);
    });
    let sent = bench.sent();
    assert_eq!(sent[0], "Parse pgw1 TENANT 2 = $3 [23, 0, 23]");
    assert_eq!(sent[2], "Bind  pgw1 [1, 0, 0] \0\0\0*,NULL,42");
    bench.server(|out| {
        backend::parse_complete(out);
        backend::parameter_description(out, &[23, 25, 23]).unwrap();
        backend::no_data(out);
        backend::bind_complete(out);
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.told(), ["1", "Parameters 2", "n", "2", "Ready I"]);
}

#[test]
fn another_tenants_value_is_refused() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "TENANT 1");
    accept(&mut bench);
    bench.told();
    bench.client(|out| {
        let values = [ExtraParam { format: Format::Text, value: Some(b"43") }];
        frontend::bind(out, "", "a", &values, Format::Text).unwrap();
        frontend::sync(out);
    });
    assert!(bench.told()[0].starts_with("ERROR 42501"));
    assert_eq!(*bench.seen.0.lock().unwrap(), ["refused foreign_tenant"]);
}

#[test]
fn a_wrong_number_of_parameters() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "TENANT 2");
    accept(&mut bench);
    bench.told();
    bind(&mut bench, "a");
    assert_eq!(
        bench.told()[0],
        "ERROR 08P01 bind message supplies 0 parameters, but prepared statement \"a\" requires 2"
    );
}

#[test]
fn the_servers_name_is_not_shown() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT 1");
    accept(&mut bench);
    bench.told();
    bind(&mut bench, "a");
    bench.server(|out| {
        error(out, b"08P01", "bind message supplies 0 parameters, but prepared statement \"pgw1\" requires 1");
        backend::ready_for_query(out, I);
    });
    assert!(bench.told()[0].contains("prepared statement \"a\" requires 1"));
}

#[test]
fn deallocate_reaches_protocol_level_statements() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT 1");
    accept(&mut bench);
    bench.told();
    bench.query("DEALLOCATE a");
    assert_eq!(bench.sent(), ["Query "]);
    bench.server(|out| {
        backend::empty_query_response(out);
        backend::ready_for_query(out, I);
    });
    assert_eq!(bench.told(), ["Complete DEALLOCATE", "Ready I"]);
    bind(&mut bench, "a");
    assert!(bench.told()[0].starts_with("ERROR 26000"));
    // A name that is none of the protocol's is the server's matter.
    bench.query("DEALLOCATE b");
    assert_eq!(bench.sent(), ["Query DEALLOCATE b"]);
}

#[test]
fn a_statement_may_be_prepared_in_a_failed_transaction_only_to_end_it() {
    let mut bench = Bench::new();
    prepare(&mut bench, "r", "ROLLBACK");
    accept(&mut bench);
    prepare(&mut bench, "s", "SELECT 1");
    accept(&mut bench);
    bench.query("BEGIN");
    bench.done("BEGIN", T);
    bench.query("SELECT 1/0");
    bench.server(|out| {
        error(out, b"22012", "division by zero");
        backend::ready_for_query(out, E);
    });
    bench.sent();
    bench.told();
    prepare(&mut bench, "s2", "SELECT 1");
    // Under its own name it would exist already, and the error would be another one.
    assert_eq!(bench.sent(), ["Parse  SELECT 1 []", "Sync"]);
    bench.server(|out| {
        error(out, b"25P02", "current transaction is aborted");
        backend::ready_for_query(out, E);
    });
    bench.told();
    prepare(&mut bench, "r2", "ROLLBACK");
    assert!(bench.sent().is_empty(), "known there already");
    assert_eq!(bench.told(), ["1", "Ready E"]);
}

/// Whether a name is taken is known once the Parse before has been answered.
#[test]
fn a_name_is_free_again_when_its_parse_has_failed() {
    let mut bench = Bench::new();
    prepare(&mut bench, "a", "SELECT nosuch");
    prepare(&mut bench, "a", "SELECT 1");
    assert_eq!(bench.sent(), ["Parse pgw1 SELECT nosuch []", "Sync"]);
    bench.server(|out| {
        backend::error_response(out, &PgError::error(SqlState::UNDEFINED_COLUMN, "no such column"));
        backend::ready_for_query(out, I);
    });
    assert_eq!(accept(&mut bench), ["Parse pgw2 SELECT 1 []", "Sync"]);
    assert_eq!(bench.told(), ["ERROR 42703 no such column", "Ready I", "1", "Ready I"]);
    // One that stands is refused, after all that came before; within a batch the server is asked for what it keeps.
    bench.client(|out| {
        frontend::parse(out, "b", "SELECT 2", &[]).unwrap();
        frontend::parse(out, "b", "SELECT 3", &[]).unwrap();
        frontend::sync(out);
    });
    assert_eq!(bench.sent(), ["Parse pgw3 SELECT 2 []", "Flush"]);
    bench.server(backend::parse_complete);
    assert_eq!(bench.told(), ["1"]);
    let refused = bench.sent();
    assert!(refused[0].starts_with("Parse refused by pgwarden"), "{refused:?}");
}

/// What is sent behind the end of a failed transaction is not refused by it: it goes under its name.
#[test]
fn a_statement_behind_the_end_of_a_failed_transaction() {
    let mut bench = Bench::new();
    bench.query("BEGIN");
    bench.done("BEGIN", TransactionStatus::Failed);
    bench.sent();
    bench.told();
    bench.query("ROLLBACK");
    prepare(&mut bench, "a", "SELECT 1");
    bind(&mut bench, "a");
    let sent = ["Query ROLLBACK", "Parse pgw1 SELECT 1 []", "Sync", "Bind  pgw1 [] ", "Execute  0", "Sync"];
    assert_eq!(bench.sent(), sent);
    // In one that stays, the error is the transaction's: under no name, for the name may be there.
    let mut bench = Bench::new();
    bench.query("BEGIN");
    bench.done("BEGIN", TransactionStatus::Failed);
    bench.sent();
    prepare(&mut bench, "a", "SELECT 1");
    assert_eq!(bench.sent(), ["Parse  SELECT 1 []", "Sync"]);
}

/// PREPARE in the extended protocol: what decided it is its own Parse, not the Execute.
#[test]
fn what_was_prepared_in_sql_can_be_executed_while_nothing_changes() {
    let mut bench = Bench::new();
    bench.client(|out| {
        one_shot(out, "PREPARE x AS SELECT 1");
        frontend::sync(out);
    });
    bench.server(|out| {
        one_shot_replies(out);
        backend::ready_for_query(out, I);
    });
    bench.sent();
    bench.query("EXECUTE x");
    assert_eq!(bench.sent(), ["Query EXECUTE x"]);
    bench.done("SELECT 1", I);
    bench.session.backend().guard.set_policy(Arc::new(Policy { epoch: 2, ..Policy::empty() }));
    bench.told();
    bench.query("EXECUTE x");
    assert!(bench.told()[0].starts_with("ERROR 0A000"));
}
