//! `complete_conflict_targets`: ON CONFLICT (email) where the unique index is of (tenant_id, email).

use pgwarden::test_cluster::Cluster;

use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, free_port};
use crate::support::session::Endpoint;

const SCHEMA: &str = "CREATE TABLE people (tenant_id int NOT NULL, email text NOT NULL, seen int NOT NULL DEFAULT 1, UNIQUE (tenant_id, email));
    CREATE TABLE codes (tenant_id int NOT NULL, code text NOT NULL UNIQUE, UNIQUE (tenant_id, code));
    CREATE TABLE parts (tenant_id int NOT NULL, a int, b int, UNIQUE (tenant_id, a), UNIQUE (tenant_id, a, b));";
const UPSERT: &str =
    "INSERT INTO people (email) VALUES ('x@y') ON CONFLICT (email) DO UPDATE SET seen = people.seen + 1";

fn start(database: &str, tenancy: &str) -> (Proxy, [Endpoint; 2]) {
    let lab = Lab::general();
    lab.create(database, None);
    lab.run(database, SCHEMA);
    let port = free_port();
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\n[upstream.main]\nurl = \"postgres://{}@127.0.0.1:{}/{database}\"\npassword = \"{}\"\n\
         [tenancy]\nupstream = \"main\"\ncolumn = \"tenant_id\"\n{tenancy}\n[[tenant]]\nname = \"a\"\nkey = 1\n[[tenant]]\nname = \"b\"\nkey = 2\n\
         [[login]]\nname = \"app\"\npassword = \"secret\"\ntenants = \"*\"\n",
        Cluster::SUPERUSER,
        lab.cluster.port(),
        lab.cluster.password(),
    );
    let proxy = Proxy::launch(&text, port);
    (proxy, ["a", "b"].map(|tenant| Endpoint::new(port, "app", "secret", tenant)))
}

#[test]
fn each_tenant_meets_its_own_row() {
    let (_proxy, ends) = start("conflict_targets", "complete_conflict_targets = true");
    let [mut a, mut b] = ends.map(|end| end.connect());
    for _ in 0..3 {
        a.simple(UPSERT).ok();
    }
    b.extended(
        "INSERT INTO people (email) VALUES ($1) ON CONFLICT (email) DO UPDATE SET seen = excluded.seen",
        &[Some("x@y")],
    )
    .ok();
    let rows =
        |session: &mut crate::support::session::Session| session.simple("SELECT email, seen FROM people").ok().texts();
    assert_eq!(rows(&mut a), [["x@y", "3"]]);
    assert_eq!(rows(&mut b), [["x@y", "1"]]);
    b.simple("INSERT INTO people (email, seen) VALUES ('x@y', 9) ON CONFLICT (email) DO NOTHING").ok();
    assert_eq!(rows(&mut b), [["x@y", "1"]]);
    // A unique index of that column alone is the one that is meant: whether another tenant has the code is told, as ever.
    a.simple("INSERT INTO codes (code) VALUES ('c') ON CONFLICT (code) DO NOTHING").ok();
    assert_eq!(
        b.simple("INSERT INTO codes (code) VALUES ('c') ON CONFLICT (code) DO NOTHING").ok().tags,
        ["INSERT 0 0"]
    );
    a.simple("INSERT INTO parts (a, b) VALUES (1, 1) ON CONFLICT (a) DO NOTHING").ok();
    a.simple("INSERT INTO parts (a, b) VALUES (1, 1) ON CONFLICT (a, b) DO NOTHING").ok();
    a.simple("INSERT INTO parts (a, b) VALUES (1, 1) ON CONFLICT (b) DO NOTHING").refused("42P10");
}

#[test]
fn without_the_key_it_is_as_postgres_says() {
    let (_proxy, [a, _]) = start("conflict_targets_off", "");
    a.connect().simple(UPSERT).refused("42P10");
}

/// Where the key does not have the tenant column, the row in the way may be another tenant's: no upsert is lost without a word, and
/// none keeps that row locked.
#[test]
fn another_tenants_row_in_the_way_is_an_error() {
    let (_proxy, [a, b]) = start("conflict_foreign", "");
    let (mut a, mut b) = (a.connect(), b.connect());
    b.simple("INSERT INTO codes (code) VALUES ('theirs')").ok();
    let upsert = "INSERT INTO codes (code) VALUES ('CODE') ON CONFLICT (code) DO UPDATE SET code = excluded.code";
    for conflict in ["(code)", "ON CONSTRAINT codes_code_key"] {
        let upsert = |code: &str| upsert.replace("CODE", code).replace("(code) DO", &format!("{conflict} DO"));
        for _ in 0..2 {
            assert_eq!(a.simple(upsert("own")).ok().tags, ["INSERT 0 1"]);
        }
        let reply = a.simple(upsert("theirs")).refused("23505");
        assert!(reply.text().contains("UNIQUE (tenant_id"), "{}", reply.text());
        a.extended(&upsert("theirs"), &[]).refused("23505");
        a.simple(format!("{} WHERE codes.code <> 'theirs'", upsert("theirs"))).refused("23505");
        a.simple("BEGIN").ok();
        a.simple(upsert("theirs")).refused("23505");
        b.simple("SELECT code FROM codes FOR UPDATE NOWAIT").ok();
        a.simple("ROLLBACK").ok();
    }
    assert_eq!(a.simple("SELECT code FROM codes").ok().texts(), [["own"]]);
    assert_eq!(b.simple("SELECT code FROM codes").ok().texts(), [["theirs"]]);
}
