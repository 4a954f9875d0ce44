//! `pgwarden query`: one question to tenants of all layouts.

use crate::support::lab::Lab;
use crate::support::proxy::{Setup, tool};

/// The answer's lines, sorted, and what else is said. Whether all have answered.
fn asked(setup: &Setup, arguments: &[&str]) -> (bool, Vec<String>, String) {
    let (well, printed, said) = tool(Lab::general(), setup, &[&["query"], arguments].concat());
    let mut lines: Vec<String> = printed.lines().map(str::to_owned).collect();
    lines.sort();
    (well, lines, said)
}

fn setup(database: &str, more: &str) -> Setup {
    Lab::general().copy_of_shop(database);
    Setup { database: database.to_owned(), more: more.to_owned(), ..Setup::default() }
}

fn database(name: &str) -> String {
    let port = Lab::general().cluster.port();
    format!(
        "[[tenant]]\nname = \"{name}\"\nlayout = \"database\"\n\
         upstream = {{ url = \"postgres://app_owner@127.0.0.1:{port}/{name}\", password = \"app_owner_pw\" }}\n"
    )
}

#[test]
fn every_layout_answers_as_its_tenant() {
    let setup = setup("questions", "");
    let sql = "SELECT min(name) AS name, count(*) > 3 AS many FROM customers";
    let (well, lines, said) = asked(&setup, &["--tenants", "a,b,sa,da", "--format", "csv", sql]);
    assert!(well, "{said}");
    assert_eq!(
        lines,
        ["a,ALPHA_name_1,t", "b,CANARY_B_name_1,t", "da,ALPHA_name_1,t", "sa,ALPHA_name_1,t", "tenant,name,many"]
    );
    assert!(said.contains("4 tenants asked, 0 failed"), "{said}");
    let (well, lines, said) = asked(&setup, &["--tenants", "a", "--format", "json", "--jobs", "1", sql]);
    assert!(well, "{said}");
    assert_eq!(lines, [r#"{"tenant":"a","name":"ALPHA_name_1","many":true}"#]);
    let (well, lines, said) = asked(&setup, &["--tenants", "a", sql]);
    assert!(well && lines.iter().any(|line| line.contains("ALPHA_name_1")), "{lines:?} {said}");
}

#[test]
fn one_that_fails_is_named_and_stops_nobody() {
    let lab = Lab::general();
    lab.create("questions_other", None);
    lab.run("questions_other", "CREATE TABLE customers (credit_limit bigint); GRANT SELECT ON customers TO app_owner");
    let gone = database("gone").replace("/gone\"", "/nowhere_at_all\"");
    let setup = setup("questions_failing", &format!("{}{gone}", database("questions_other")));
    let sql = "SELECT count(*) AS n FROM customers";
    let (well, lines, said) = asked(&setup, &["--tenants", "a,b,gone", "--format", "csv", sql]);
    assert!(!well && lines == ["a,8", "b,8", "tenant,n"], "{lines:?} {said}");
    assert!(said.contains("pgwarden: tenant \"gone\": ") && said.contains("3 tenants asked, 1 failed"), "{said}");

    let differing = ["--tenants", "a,questions_other", "--jobs", "1", "--format", "csv"];
    let (well, lines, said) =
        asked(&setup, &[&differing[..], &["SELECT max(credit_limit) AS it FROM customers"]].concat());
    assert!(!well && lines.len() == 2, "{lines:?} {said}");
    assert!(said.contains("tenant \"questions_other\": its columns are (it int8), others' are (it int4)"), "{said}");
    let (well, _, said) = asked(&setup, &["--tenants", "nobody", sql]);
    assert!(!well && said.contains("no tenant \"nobody\""), "{said}");
}

#[test]
fn nothing_goes_past_the_guard() {
    let setup = setup("questions_guarded", "");
    let before = Lab::general().superuser("questions_guarded").simple("SELECT count(*) FROM customers").ok().value();
    for sql in [
        "DELETE FROM customers",
        "WITH d AS (DELETE FROM customers RETURNING 1) SELECT * FROM d",
        "SELECT 1; SELECT 2",
        "SELECT pg_advisory_lock(1)",
        "SELECT nextval('invoice_no_seq')",
        "SELECT * FROM pg_stats",
        "SELECT query_to_xml('SELECT * FROM customers', true, true, '')",
        "SELECT id AS tenant FROM customers",
    ] {
        let (well, lines, said) = asked(&setup, &["--tenants", "a", "--format", "csv", sql]);
        assert!(!well && lines.is_empty(), "{sql}: {lines:?} {said}");
        assert!(said.contains("tenant \"a\": "), "{sql}: {said}");
    }
    let (_, lines, _) = asked(&setup, &["--tenants", "a", "--format", "csv", "SELECT name FROM customers"]);
    assert!(lines.len() > 5 && lines.iter().all(|line| !line.contains("CANARY")), "{lines:?}");
    let after = Lab::general().superuser("questions_guarded").simple("SELECT count(*) FROM customers").ok().value();
    assert_eq!(before, after);
}

#[test]
fn one_more_select_finishes_the_answer() {
    let setup = setup("questions_reduced", "");
    let count = "SELECT count(*) AS n, min(note) AS note FROM orders";
    let reduced = |sql: &str| asked(&setup, &["--tenants", "a,b,sa", "--format", "json", "--reduce", sql, count]);
    let (well, lines, said) = reduced(
        "SELECT count(DISTINCT tenant) AS tenants, sum(n) > 3 AS many, max(note) LIKE '%\\_%' AS it FROM results",
    );
    assert!(well, "{said}");
    assert_eq!(lines, [r#"{"tenants":3,"many":true,"it":true}"#]);
    for sql in ["SELECT count(*) FROM customers", "DELETE FROM results", "SELECT * FROM results, public.orders"] {
        let (well, lines, said) = reduced(sql);
        assert!(!well && lines.is_empty() && said.contains("--reduce: "), "{sql}: {lines:?} {said}");
    }
}
