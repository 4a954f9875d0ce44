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
