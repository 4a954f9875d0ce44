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
