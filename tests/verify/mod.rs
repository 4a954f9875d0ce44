//! `pgwarden verify-isolation` against a running pgwarden: it passes where isolation holds, and finds where it does not.

mod holes;
mod planting;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup, free_port, police, program};
use crate::support::session::Endpoint;
use crate::support::upstream;

/// A proxy over a database of its own.
fn proxy(database: &str) -> Proxy {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    Proxy::start(lab, &Setup { database: database.to_owned(), ..Setup::default() })
}

fn verify(proxy: &Proxy, a: &Endpoint, further: &[&str]) -> Output {
    Command::new(program())
        .args(["verify-isolation", "--config"])
        .arg(proxy.config())
        .args(["--as-a", &a.url(), "--as-b", &proxy.b().url()])
        .args(further)
        .output()
        .expect("pgwarden runs")
}

/// As two tenants by their logins.
fn verify_as(proxy: &Proxy, a: &str, b: &str, further: &[&str]) -> Output {
    Command::new(program())
        .args(["verify-isolation", "--config"])
        .arg(proxy.config())
        .args(["--as-a", a, "--as-b", b])
        .args(further)
        .output()
        .expect("pgwarden runs")
}

/// Each layout against each, both ways: the attacker, the others and a table of each.
const PAIRS: [(&str, &[(&str, &str)]); 3] = [
    ("schema_a", &[("schema_b", "t_b.orders"), ("tenant_b", "public.invoices"), ("database_b", "public.orders")]),
    ("database_a", &[("database_b", "public.orders"), ("tenant_b", "public.invoices"), ("schema_b", "t_b.customers")]),
    // Two of the shared layout: in tests of their own.
    ("tenant_a", &[("schema_b", "t_b.customers"), ("database_b", "public.orders")]),
];

#[test]
fn passes_in_and_across_layouts() {
    let proxy = proxy("verify_layouts");
    std::thread::scope(|scope| {
        for (a, others) in &PAIRS {
            scope.spawn(|| others.iter().for_each(|(b, table)| holds(&proxy, a, b, table)));
        }
    });
}

fn holds(proxy: &Proxy, a: &str, b: &str, table: &str) {
    let urls = [a, b].map(|login| proxy.login(login).url());
    let output = verify_as(proxy, &urls[0], &urls[1], &[]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{a} on {b}: {shown}\n{}", text(&output.stderr));
    assert!(shown.contains(table), "{a} on {b}: {shown}");
}

/// Isolation that policies keep, alone and beside the rewriting.
#[test]
fn passes_in_each_enforcement_mode() {
    let lab = Lab::general();
    for (mode, database) in [("rls", "verify_rls"), ("rewrite+rls", "verify_both")] {
        lab.copy_of_shop(database);
        police(lab, database);
        let proxy = Proxy::start(lab, &Setup::enforcing(mode, database));
        let output = verify(&proxy, &proxy.a(), &[]);
        let shown = text(&output.stdout);
        assert!(output.status.success(), "{mode}: {shown}\n{}", text(&output.stderr));
        assert!(shown.contains("public.invoices"), "{shown}");
    }
}

const BROKEN: &str = "schemas_broken";

/// The operator's login used as a tenant of each layout, and a schema that opens another one.
#[test]
fn finds_what_is_broken_in_each_layout() {
    // Schemas of its own: what is opened here must not be open under another test.
    let lab = Lab::general();
    lab.copy_of_shop("verify_broken");
    lab.create(BROKEN, None);
    lab.script(BROKEN, "fixture/schemas.sql");
    let port = free_port();
    let setup = Setup { database: "verify_broken".to_owned(), ..Setup::default() };
    let proxy = Proxy::launch(&setup.text(lab, port).replace("/schemas\"", &format!("/{BROKEN}\"")), port);
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("report.json");
    let login = |name: &str| {
        let mut login = proxy.login(name);
        if name.starts_with("schema_") {
            login.database = BROKEN.to_owned();
        }
        login
    };
    let further = |tenant: &'static str| ["--tenant-a", tenant, "--json"].map(str::to_owned);
    let mut operator = proxy.login("operator");
    for (tenant, b, families) in [
        ("sa", "schema_b", &["list", "by id", "search", "subquery", "copy", "cursor", "update", "ddl", "context"][..]),
        ("da", "database_b", &["context"][..]),
    ] {
        operator.user = format!("operator@{tenant}");
        operator.database = if tenant == "sa" { BROKEN } else { "db_tenant_a" }.to_owned();
        let [one, two, three] = further(tenant);
        let further = [one.as_str(), &two, &three, json.to_str().unwrap()];
        let output = verify_as(&proxy, &operator.url(), &login(b).url(), &further);
        assert_eq!(output.status.code(), Some(1), "{}\n{}", text(&output.stdout), text(&output.stderr));
        let leaks = leaks(&json);
        for family in families {
            assert!(leaks.iter().any(|(found, _)| found == family), "{tenant}: {family}\n{}", text(&output.stdout));
        }
    }
    // The guard cannot look into a view, and the role may read what it should not.
    lab.run(
        BROKEN,
        "CREATE VIEW t_a.all_of_it AS SELECT * FROM t_b.customers; GRANT SELECT ON t_a.all_of_it TO t_a_role; \
         GRANT USAGE ON SCHEMA t_b TO t_a_role; GRANT SELECT ON t_b.orders TO t_a_role",
    );
    let urls = ["schema_a", "schema_b"].map(|name| login(name).url());
    let output = verify_as(&proxy, &urls[0], &urls[1], &["--json", json.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let leaks = leaks(&json);
    for (family, target) in [("function", "functions"), ("rights", "t_b.orders")] {
        assert!(leaks.contains(&(family.to_owned(), target.to_owned())), "{family}\n{}", text(&output.stdout));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Leaks by kind of attack.
fn leaks(report: &Path) -> Vec<(String, String)> {
    let report: serde_json::Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let cases = report["cases"].as_array().unwrap().clone();
    let of = |case: &serde_json::Value, key: &str| case[key].as_str().unwrap().to_owned();
    cases.iter().filter(|it| it["outcome"] == "leak").map(|it| (of(it, "family"), of(it, "target"))).collect()
}

#[test]
fn passes_where_isolation_holds() {
    let proxy = proxy("verify_good");
    let directory = tempfile::tempdir().unwrap();
    let [suite, junit, json] = ["suite.sql", "junit.xml", "report.json"].map(|it| directory.path().join(it));
    let tests = "-- test: own orders\n-- expect: value 15\nSELECT count(*) FROM orders;\n\
                 -- test: none of the other's\n-- expect: no rows\nSELECT * FROM orders WHERE tenant_id = :tenant_b;\n\
                 -- test: no moving\n-- expect: error 42501\nUPDATE orders SET tenant_id = :tenant_b;\n\
                 -- test: the other has its own\n-- as: b\n-- expect: value 15\nSELECT count(*) FROM orders;\n";
    fs::write(&suite, tests).unwrap();
    let paths = [&suite, &junit, &json].map(|it| it.to_str().unwrap());
    let output = verify(&proxy, &proxy.a(), &["--suite", paths[0], "--junit", paths[1], "--json", paths[2]]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}\n{}", text(&output.stderr));
    assert!(shown.contains("public.orders") && !shown.contains("LEAKS"), "{shown}");
    let junit = fs::read_to_string(&junit).unwrap();
    assert!(junit.contains("failures=\"0\" errors=\"0\"") && junit.contains("own orders"), "{junit}");
    // Most reads run, and give nothing away: a proxy that refuses all would pass as well.
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let cases = report["cases"].as_array().unwrap();
    let held = cases.iter().filter(|it| it["outcome"] == "held").count();
    assert!(held * 2 > cases.len(), "{held} of {} held\n{shown}", cases.len());
    assert!(text(&output.stderr).contains("table 1 of"), "progress");
}

#[test]
fn finds_an_operator_login_that_is_used_as_the_tenant() {
    let proxy = proxy("verify_bad");
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("report.json");
    let output = verify(&proxy, &proxy.login("operator"), &["--tenant-a", "a", "--json", json.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}\n{}", text(&output.stdout), text(&output.stderr));
    let leaks = leaks(&json);
    let families = [
        "list",
        "by id",
        "search",
        "join",
        "subquery",
        "aggregate",
        "error",
        "insert",
        "update",
        "copy",
        "returning",
        "cursor",
        "prepared",
        "function",
        "explain",
        "ddl",
        "context",
    ];
    for family in families {
        assert!(leaks.iter().any(|(found, _)| found == family), "{family} found nothing\n{}", text(&output.stdout));
    }
    for table in ["public.customers", "public.invoices", "public.events", "public.tickets", "public.User"] {
        assert!(leaks.iter().any(|(_, target)| target == table), "{table}");
    }
}

/// In front of pgwarden a relay that hands on server connections whatever state they are in.
#[test]
fn finds_connections_that_are_handed_on_in_the_middle_of_a_batch() {
    let proxy = proxy("verify_rest");
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("report.json");
    let port = upstream::careless(proxy.a().port);
    let through = |mut endpoint: Endpoint| {
        endpoint.port = port;
        endpoint.url()
    };
    let [a, b] = [proxy.a(), proxy.b()].map(through);
    let output = verify_as(&proxy, &a, &b, &["--json", json.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}\n{}", text(&output.stdout), text(&output.stderr));
    let leaks = leaks(&json);
    assert!(leaks.iter().all(|(family, _)| family == "at rest"), "{}", text(&output.stdout));
    assert!(leaks.len() >= 3, "{}", text(&output.stdout));
}

#[test]
fn a_test_of_a_suite_that_fails_fails_the_run() {
    let proxy = proxy("verify_suite");
    let directory = tempfile::tempdir().unwrap();
    let suite = directory.path().join("suite.sql");
    fs::write(&suite, "-- test: more than there are\n-- expect: rows 16\nSELECT * FROM orders;\n").unwrap();
    let [junit, html] = ["junit.xml", "report.html"].map(|it| directory.path().join(it));
    let paths = [&suite, &junit, &html].map(|it| it.to_str().unwrap());
    let output = verify(&proxy, &proxy.a(), &["--suite", paths[0], "--junit", paths[1], "--html", paths[2]]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains("15 rows, not 16") && shown.contains("MISSED"), "{shown}");
    // Isolation itself held.
    assert!(!shown.contains("LEAKS"), "{shown}");
    let junit = fs::read_to_string(&junit).unwrap();
    assert!(junit.contains("failures=\"1\" errors=\"0\"") && junit.contains("type=\"missed\""), "{junit}");
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("15 rows, not 16"), "{page}");
}

#[test]
fn says_what_keeps_it_from_proving_anything() {
    let proxy = proxy("verify_nothing");
    let same = verify(&proxy, &proxy.b(), &[]);
    assert_eq!(same.status.code(), Some(1));
    assert!(text(&same.stderr).contains("both connections are of the tenant"), "{}", text(&same.stderr));
    let unnamed = verify(&proxy, &proxy.login("operator"), &[]);
    assert!(text(&unnamed.stderr).contains("--tenant-a"), "{}", text(&unnamed.stderr));
}
