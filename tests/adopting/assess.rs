//! `pgwarden assess`: the same statements from a file, a log of Postgres, and `pg_stat_statements`.

use pgwarden::test_cluster::{Cluster, Options};
use serde_json::Value;

use super::{Bench, Ran};
use crate::support::lab::Lab;
use crate::support::session::Endpoint;

const SCHEMA: &str = "CREATE TABLE notes (tenant_id int NOT NULL, id int, body text, PRIMARY KEY (tenant_id, id));
    CREATE TABLE plans (name text PRIMARY KEY);";
const CONFIG: &str = "[tenancy]\nupstream = \"main\"\ncolumn = \"tenant_id\"\nshared_tables = [\"public.plans\"]\n\
    [[tenant]]\nname = \"acme\"\nkey = \"7\"\n\
    [[login]]\nname = \"app\"\npassword = \"secret\"\ntenants = \"*\"\n";

fn bench(database: &str) -> Bench {
    let lab = Lab::general();
    lab.create(database, None);
    lab.run(database, SCHEMA);
    Bench::new(database, CONFIG)
}

/// Verdict and calls of each statement.
fn found(ran: &Ran) -> Vec<(String, String, u64)> {
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let statements = report["statements"].as_array().unwrap();
    statements.iter().map(|it| (text(&it["verdict"]), text(&it["statement"]), it["calls"].as_u64().unwrap())).collect()
}

fn entry(verdict: &str, statement: &str, calls: u64) -> (String, String, u64) {
    (verdict.to_owned(), statement.to_owned(), calls)
}

#[test]
fn statements_of_a_file() {
    let bench = bench("assess_file");
    let text = "SELECT body FROM notes WHERE id = 1; SELECT body FROM notes WHERE id = 2;\nSELECT name FROM plans;\n\
        SELECT pg_read_file('/etc/hostname');\n-- a comment; with a semicolon\nINSERT INTO notes (id, body) VALUES (5, 'a;b');\n\
        SELECT FROM WHERE;";
    bench.write("app.sql", text);
    let path = bench.path("app.sql");
    let arguments = ["assess", "--tenant", "acme", "--format", "json", &path];
    let ran = bench.run(&arguments, "");
    ran.says(1, &[]);
    let expected = [
        entry("refused", "SELECT pg_read_file('/etc/hostname')", 1),
        entry("refused", "SELECT FROM WHERE", 1),
        entry("rewritten", "SELECT body FROM notes WHERE id = 1", 2),
        entry("rewritten", "-- a comment; with a semicolon\nINSERT INTO notes (id, body) VALUES (5, 'a;b')", 1),
        entry("forwarded", "SELECT name FROM plans", 1),
    ];
    assert_eq!(found(&ran), expected);
    // The same from standard input, for people, and as a page.
    let page = bench.path("report.html");
    let ran = bench.run(&["assess", "--tenant", "acme", "--html", &page, "-"], text);
    ran.says(1, &["forwarded", "refused (function): 1 statements, 1 calls", "pg_read_file", "42601"]);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("SELECT pg_read_file('/etc/hostname')") && page.ends_with("</html>\n"), "{page}");
    bench.run(&["assess", "--tenant", "acme", "-"], "SELECT 1").says(0, &["forwarded"]);
    bench.run(&["assess", "--tenant", "acme", "-"], " ; \n").says(1, &["no statement was found"]);
    bench.run(&["assess", "--tenant", "acme", "nonesuch.sql"], "").says(1, &["nonesuch.sql"]);
    bench.run(&["assess", "--tenant", "acme", "-"], "SELECT 'no end").says(1, &["-:"]);
}

/// A page is no place for what statements hold to run.
#[test]
fn a_page_holds_texts_only() {
    let bench = bench("assess_page");
    let page = bench.path("report.html");
    bench.run(&["assess", "--tenant", "acme", "--html", &page, "-"], "SELECT '<script>alert(1)</script>' FROM nosuch");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
}

/// What Postgres itself writes of what a driver sends: its log in each form, and `pg_stat_statements`.
#[test]
fn statements_that_postgres_tells_of() {
    let settings = [
        ("logging_collector", "on"),
        ("log_destination", "stderr,csvlog,jsonlog"),
        ("log_directory", "log"),
        ("log_filename", "app.log"),
        ("log_line_prefix", "%m [%p] %q%u@%d LOG: "),
        ("log_statement", "all"),
        ("shared_preload_libraries", "pg_stat_statements"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let cluster = Cluster::start(&Options { settings, ..Options::default() }).unwrap();
    let mut session = Endpoint::new(cluster.port(), Cluster::SUPERUSER, cluster.password(), "postgres").connect();
    session.simple("CREATE EXTENSION pg_stat_statements").ok();
    session.simple(SCHEMA).ok();
    session.simple("SELECT pg_stat_statements_reset()").ok();
    for id in ["1", "2", "3"] {
        session.extended("SELECT body\n\tFROM notes\nWHERE id = $1::int", &[Some(id)]).ok();
        session.simple(format!("SELECT body FROM notes WHERE id = {id} AND body <> 'x'")).ok();
    }
    session.simple("SELECT pg_read_file('PG_VERSION')").ok();
    let tools = Bench::on(&cluster, "postgres", CONFIG);
    let logged = |name: &str| cluster.directory().join("data/log").join(name).to_str().unwrap().to_owned();
    let refused = |statement: &str| entry("refused", statement, 1);
    let expected = [
        refused("SELECT pg_read_file('PG_VERSION')"),
        entry("rewritten", "SELECT body\n\tFROM notes\nWHERE id = $1::int", 3),
        entry("rewritten", "SELECT body FROM notes WHERE id = 1 AND body <> 'x'", 3),
    ];
    for name in ["app.log", "app.csv", "app.json"] {
        let ran = tools.run(&["assess", "--tenant", "acme", "--format", "json", "--log", &logged(name)], "");
        let found = found(&ran);
        assert_eq!(found.iter().filter(|it| expected.contains(it)).count(), expected.len(), "{name}: {found:#?}");
    }
    let ran = tools.run(&["assess", "--tenant", "acme", "--format", "json", "--pg-stat-statements"], "");
    let found = found(&ran);
    let normalized = [
        refused("SELECT pg_read_file($1)"),
        entry("rewritten", "SELECT body\n\tFROM notes\nWHERE id = $1::int", 3),
        entry("rewritten", "SELECT body FROM notes WHERE id = $1 AND body <> $2", 3),
    ];
    assert_eq!(found.iter().filter(|it| normalized.contains(it)).count(), normalized.len(), "{found:#?}");
    let without = bench("assess_no_extension");
    without.run(&["assess", "--tenant", "acme", "--pg-stat-statements"], "").says(1, &["CREATE EXTENSION"]);
    without.run(&["assess", "--tenant", "acme", "--log", "nonesuch.csv"], "").says(1, &["nonesuch.csv"]);
    without.write("none.json", "no json\n");
    without.run(&["assess", "--tenant", "acme", "--log", &without.path("none.json")], "").says(1, &["line 1"]);
}
