//! Row-level security below the guard: generated, checked, and holding where the guard does not look.

use std::process::Command;

use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup, program};

#[test]
fn generated_policies_hold_and_are_found_complete() {
    let lab = Lab::general();
    lab.copy_of_shop("rls");
    // Invoker's rights: what the policies show is what it counts.
    lab.run("rls", "CREATE FUNCTION order_label() RETURNS text LANGUAGE sql STABLE AS \
                    $$ SELECT (SELECT count(DISTINCT tenant_id) FROM orders) || '/' || (SELECT count(DISTINCT org_id) FROM invoices) $$");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgwarden.toml");
    let text = crate::support::lab::read("fixture/pgwarden.toml")
        .replace("{port}", "6432")
        .replace("{postgres}", &lab.cluster.port().to_string())
        .replace("{database}", "rls")
        .replace("{pool}", "{ size = 2 }");
    std::fs::write(&path, text).unwrap();
    let rls = |what: &str| {
        let output = Command::new(program()).args(["rls", what, "--config", path.to_str().unwrap()]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (complete, said) = rls("check");
    assert!(!complete && said.contains("\"public\".\"orders\": incomplete"), "{said}");
    assert!(said.contains("row-level security is not enabled"), "{said}");
    let (generated, ddl) = rls("generate");
    assert!(generated && ddl.contains("app.tenant_id_uuid"), "{ddl}");
    lab.run("rls", &ddl);
    lab.run("rls", &ddl);
    let (complete, said) = rls("check");
    assert!(complete, "{said}");

    let proxy = Proxy::start(lab, &Setup { database: "rls".to_owned(), ..Setup::default() });
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    assert_eq!(a.simple("SELECT min(name) FROM customers").ok().value(), "ALPHA_name_1");
    assert_eq!(b.simple("SELECT min(name) FROM customers").ok().value(), "CANARY_B_name_1");
    assert_ne!(a.simple("SELECT count(*) FROM invoices").ok().value(), "0");
    assert_ne!(a.simple("SELECT count(*) FROM tickets").ok().value(), "0");
    // What the guard does not look into sees the tenant's rows only.
    assert_eq!(a.simple("SELECT order_label()").ok().value(), "1/1");
    a.simple("BEGIN").ok();
    a.simple("INSERT INTO note (note_id, note) VALUES (9001, 'x')").ok();
    // Postgres takes no COPY FROM there: pgwarden inserts the rows.
    assert_eq!(a.copy("COPY note (note_id, note) FROM STDIN", b"9002\ty\n").ok().tags, ["COPY 1"]);
    a.simple("ROLLBACK").ok();
    // A login that switches: all of the tenant's settings go along.
    let mut it = crate::support::session::Endpoint::new(proxy.port, "app", "app_pw", "rls").connect();
    for (tenant, own) in [("a", "1"), ("b", "2")] {
        it.simple("BEGIN").ok();
        it.simple(format!("SET LOCAL app.tenant_id = '{tenant}'")).ok();
        assert_eq!(it.simple("SELECT DISTINCT tenant_id FROM orders").ok().value(), own);
        assert_ne!(it.simple("SELECT count(*) FROM invoices").ok().value(), "0");
        assert_eq!(it.simple("SELECT order_label()").ok().value(), "1/1");
        it.simple("COMMIT").ok();
    }
}

/// A setting that has a value by itself (ALTER DATABASE, postgresql.conf) is that of some tenant: no statement of another runs
/// under it, not even behind DISCARD ALL in one pipeline.
#[test]
fn a_default_of_the_setting_is_nobodys_tenant() {
    use crate::support::message;
    let lab = Lab::general();
    lab.copy_of_shop("rls_default");
    crate::support::proxy::police(lab, "rls_default");
    let proxy = Proxy::start(lab, &Setup::enforcing("rls", "rls_default"));
    // The catalog was read before, the server connections are made later.
    proxy.wait_for("a catalog", |it| {
        it.a().connect().simple("SELECT tenant_id FROM customers LIMIT 1").errors.is_empty()
    });
    lab.run("rls_default", "ALTER DATABASE rls_default SET app.tenant_id = '2'");
    lab.run("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'rls_default'");
    let pipeline = |texts: &[&str]| {
        let messages: Vec<_> = texts.iter().map(|sql| message::extended(sql, &[])).collect();
        let mut a = proxy.a().connect();
        a.send(&[messages.concat(), message::sync()].concat());
        a.collect_within(1, std::time::Duration::from_secs(5))
    };
    let tenants = "SELECT DISTINCT tenant_id FROM customers";
    for reset in ["DISCARD ALL", "RESET ALL", "RESET timezone"] {
        let reply = pipeline(&[reset, tenants]);
        assert!(!reply.texts().iter().any(|row| row[0] == "2"), "{reset}: {}", reply.text());
    }
    let mut a = proxy.a().connect();
    for reset in ["DISCARD ALL", "RESET ALL"] {
        a.simple(reset).ok();
        assert_eq!(a.simple(tenants).ok().value(), "1");
    }
}
