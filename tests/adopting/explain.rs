//! `pgwarden explain`: several statements, where they come from, and what becomes of their plans.

use super::Bench;
use crate::support::lab::Lab;

const SCHEMA: &str = "CREATE TABLE notes (tenant_id int NOT NULL, id int, body text, PRIMARY KEY (id));
    CREATE INDEX notes_shard ON notes ((id % 1000));
    INSERT INTO notes SELECT 7, n, 'note ' || n FROM generate_series(1, 20000) n;
    ANALYZE notes;
    CREATE TABLE plain (id int);";
const CONFIG: &str = "[tenancy]\nupstream = \"main\"\ncolumn = \"tenant_id\"\n\
    [[tenant]]\nname = \"acme\"\nkey = \"7\"\n\
    [[login]]\nname = \"app\"\npassword = \"secret\"\ntenants = \"*\"\n";

fn bench(database: &str) -> Bench {
    let lab = Lab::general();
    lab.create(database, None);
    lab.run(database, SCHEMA);
    Bench::new(database, CONFIG)
}

#[test]
fn each_statement_has_its_verdict() {
    let bench = bench("explain_many");
    let text = "SELECT body FROM notes WHERE id = 1;\nSELECT 1; -- the last; one\nSELECT id FROM plain";
    bench.write("app.sql", text);
    let path = bench.path("app.sql");
    let explain = |arguments: &[&str], input: &str| {
        let arguments: Vec<&str> = ["explain", "--tenant", "acme"].iter().chain(arguments).copied().collect();
        bench.run(&arguments, input)
    };
    let from_file = explain(&["--file", &path], "");
    from_file.says(
        1,
        &[
            "statement 1 of 3: SELECT body FROM notes WHERE id = 1",
            "verdict  rewritten and forwarded",
            "statement 2 of 3: SELECT 1",
            "verdict  forwarded as it is",
            "statement 3 of 3",
            "verdict  refused (relation)",
            "object   public.plain",
        ],
    );
    for (arguments, input) in [(&["--file", "-"][..], text), (&["-"][..], text), (&[text][..], "")] {
        assert_eq!(explain(arguments, input).out, from_file.out);
    }
    explain(&["SELECT 1"], "").says(0, &["verdict  forwarded as it is"]);
    explain(&["SELECT 'no end"], "").says(1, &["refused (syntax)"]);
    explain(&["--file", "nonesuch.sql"], "").says(1, &["nonesuch.sql"]);
    explain(&[], "").says(2, &[]);
}

#[test]
fn plans_without_and_with_the_guard() {
    let bench = bench("explain_plans");
    let run = |sql: &str| bench.run(&["explain", "--tenant", "acme", "--plan", "--extended", sql], "");
    let lost = run("SELECT body FROM notes WHERE id % 1000 = $1");
    lost.says(0, &["notes LOSES ITS INDEX", "using notes_shard", "without the guard: cost", "Seq Scan on notes"]);
    let kept = run("UPDATE notes SET body = 'changed' WHERE id = $1");
    kept.says(0, &["Index Scan using notes_pkey on notes", "plan     with the guard"]);
    assert!(!kept.out.contains("LOSES"), "{kept:#?}");
    run("SELECT $1::int").says(0, &["the same without the guard"]);
    run("BEGIN").says(0, &["plan     none: it is no query"]);
    run("SELECT body FROM notes WHERE id = $1 AND nonesuch = 2")
        .says(0, &["plan     none: column \"nonesuch\" does not exist"]);
    // One that the app's role may run, and nothing of it was run.
    run("DELETE FROM notes").says(0, &["Delete on notes"]);
    let mut session = Lab::general().superuser("explain_plans");
    assert_eq!(session.simple("SELECT count(*) FROM notes WHERE body <> 'changed'").ok().value(), "20000");
    // The same for all statements of an app.
    let text = "SELECT body FROM notes WHERE id % 1000 = 5;\nSELECT body FROM notes WHERE id = 5;\nSELECT 1";
    let page = bench.path("report.html");
    let report = bench.run(&["assess", "--tenant", "acme", "--plans", "--html", &page, "-"], text);
    report.says(0, &["plans: 1 of 2 rewritten statements lose an index, 0 were not planned"]);
    report.says(0, &["notes (1 calls): SELECT body FROM notes WHERE id % 1000 = 5"]);
    assert!(std::fs::read_to_string(page).unwrap().contains("1 of 2 rewritten statements lose an index"));
    let json = bench.run(&["assess", "--tenant", "acme", "--plans", "--format", "json", "-"], text);
    json.says(0, &["\"lost_indexes\": [\n            \"notes\"\n", "\"cost_with_guard\": "]);
}

#[test]
fn a_refused_statement_is_found_by_its_fingerprint() {
    let bench = bench("explain_fingerprint");
    let run = |fingerprint: &str, audit: &[&str]| {
        let arguments = ["explain", "--tenant", "acme", "--fingerprint", fingerprint];
        let arguments: Vec<&str> = arguments.iter().chain(audit).copied().collect();
        bench.run(&arguments, "")
    };
    let text = "2026-01-01T00:00:00Z  WARN session{id=1}: pgwarden::audit: statement refused event=\"refusal\" object=\"public.plain\" \
        fingerprint=\"00000000000000aa\" statement=\"SELECT \\\"id\\\" FROM plain WHERE id = $1\"\n";
    bench.write("log", text);
    let json = "{\"fingerprint\":\"00000000000000ab\",\"statement\":\"SELECT body FROM notes WHERE id = $1\"}\n";
    bench.write("log.json", json);
    let log = bench.path("log");
    run("00000000000000aa", &["--audit", &log]).says(1, &["refused (relation)", "public.plain"]);
    run("00000000000000ab", &["--audit", &log]).says(1, &["no statement of fingerprint 00000000000000ab"]);
    run("00000000000000ab", &["--audit", &bench.path("log.json")]).says(0, &["rewritten and forwarded", "id = $1"]);
    run("00000000000000aa", &[]).says(1, &["--audit FILE"]);
}
