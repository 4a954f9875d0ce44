//! What tenants use: counted, kept in a table, bounded by quotas, printed for billing.

mod command;
pub mod metrics;
mod quotas;
mod relay;
mod storage;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup, program};

/// A database of its own with the usage table in it.
fn database(name: &str) -> &'static Lab {
    let lab = Lab::general();
    lab.copy_of_shop(name);
    lab
}

/// pgwarden in front of it.
fn proxy(name: &str, quota: &str) -> Proxy {
    Proxy::start(Lab::general(), &setup(name, quota))
}

fn setup(name: &str, quota: &str) -> Setup {
    Setup { database: name.to_owned(), more: format!("[quota]\n{quota}\n"), ..Setup::default() }
}

/// Makes the table, with the proxy's configuration.
#[track_caller]
pub fn init(proxy: &Proxy) {
    let output = usage(proxy, &["--init"]);
    assert!(output.status.success(), "{}", text(&output));
}

/// `pgwarden usage`
fn usage(proxy: &Proxy, arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.args(["usage", "--config"]).arg(proxy.config()).args(arguments).env_remove("RUST_LOG");
    command.output().expect("pgwarden")
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned()).concat()
}

/// A tenant's row of the table, all days together.
fn kept(database: &str, tenant: &str, column: &str) -> u64 {
    let sql = format!("SELECT coalesce(sum({column}), 0) FROM pgwarden_usage WHERE tenant = '{tenant}'");
    Lab::general().owner(database).connect().simple(sql).ok().value().parse().unwrap()
}

/// Waits until something holds.
#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[track_caller]
fn eventually_kept(database: &str, tenant: &str, column: &str, want: u64) {
    let mut last = 0;
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        last = kept(database, tenant, column);
        if last == want {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{column} of {tenant}: {last}, not {want}");
}

/// Each kind of statement, over each protocol, from several sessions.
#[test]
fn what_tenants_use_stands_in_the_table() {
    let lab = database("usage_counts");
    lab.run(
        "usage_counts",
        "CREATE TABLE notes (tenant_id int NOT NULL, body text); ALTER TABLE notes OWNER TO app_owner",
    );
    let proxy = proxy("usage_counts", "flush_interval = \"200ms\"");
    init(&proxy);
    let mut a = proxy.a().connect();
    // 5 statements, 3 rows written, 5 rows read; 2 transactions.
    a.simple("INSERT INTO notes (body) VALUES ('one'), ('two'); SELECT body FROM notes").ok();
    a.simple("BEGIN; INSERT INTO notes (body) VALUES ('three') RETURNING body").ok();
    a.extended("SELECT body FROM notes WHERE body LIKE $1", &[Some("t%")]).ok();
    a.simple("COMMIT").ok();
    // COPY: 2 written, 5 read.
    a.copy("COPY notes (body) FROM STDIN", b"four\nfive\n").ok();
    assert_eq!(a.simple("COPY notes TO STDOUT").ok().tags, ["COPY 5"]);
    // A failure counts, a refusal does not.
    a.simple("SELECT 1 / (count(*) - count(*)) FROM notes").refused("22012");
    a.simple("SELECT pg_read_file('x')").refused("42501");
    let mut b = proxy.b().connect();
    b.simple("UPDATE notes SET body = 'x'").ok();
    b.extended("DELETE FROM notes", &[]).ok();
    eventually_kept("usage_counts", "a", "statements", 9);
    for (column, want) in [("transactions", 5), ("rows_read", 2 + 1 + 2 + 5), ("rows_written", 5)] {
        assert_eq!(kept("usage_counts", "a", column), want, "{column}");
    }
    let (bytes_in, bytes_out) = (kept("usage_counts", "a", "bytes_in"), kept("usage_counts", "a", "bytes_out"));
    assert!((300..2_000).contains(&bytes_in) && (400..4_000).contains(&bytes_out), "{bytes_in} {bytes_out}");
    assert!(kept("usage_counts", "a", "busy_us") > 500);
    eventually_kept("usage_counts", "b", "statements", 2);
    assert_eq!(kept("usage_counts", "b", "rows_written"), 0);
    // Nobody is billed for the operator.
    proxy.login("operator").connect().simple("SELECT count(*) FROM notes").ok();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(kept("usage_counts", "a", "statements") + kept("usage_counts", "b", "statements"), 11);
}

/// A session that switches tenants: each statement is its tenant's, whoever named it.
#[test]
fn use_is_that_of_the_tenant_in_force() {
    database("usage_switch");
    let proxy = proxy("usage_switch", "flush_interval = \"200ms\"");
    init(&proxy);
    let end = crate::support::session::Endpoint::new(proxy.port, "app", "app_pw", "usage_switch");
    let mut app = end.connect();
    app.simple("SELECT 1").ok();
    app.simple("SET app.tenant_id = 'a'").ok();
    for _ in 0..3 {
        app.simple("SELECT name FROM customers LIMIT 2").ok();
    }
    app.simple("/* tenant='b' */ SELECT name FROM customers LIMIT 1").ok();
    app.simple("BEGIN; SET LOCAL app.tenant_id = 'b'").ok();
    app.extended("SELECT name FROM customers LIMIT 1", &[]).ok();
    app.simple("COMMIT").ok();
    app.simple("SELECT name FROM customers LIMIT 2").ok();
    eventually_kept("usage_switch", "a", "rows_read", 8);
    eventually_kept("usage_switch", "b", "rows_read", 2);
}

/// Nobody changes what it owes.
#[test]
fn tenants_neither_read_nor_write_the_table() {
    database("usage_hidden");
    init(&proxy("usage_hidden", ""));
    // One that finds the table in its catalog.
    let proxy = proxy("usage_hidden", "");
    let mut a = proxy.a().connect();
    for sql in [
        "SELECT * FROM pgwarden_usage",
        "UPDATE public.pgwarden_usage SET statements = 0",
        "DELETE FROM pgwarden_usage_writers",
        "INSERT INTO pgwarden_usage (tenant, day) VALUES ('a', '2026-01-01')",
        "TRUNCATE pgwarden_usage",
        "COPY pgwarden_usage TO STDOUT",
    ] {
        a.simple(sql).refused("42501");
    }
}
