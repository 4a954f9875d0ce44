//! Places that are not like the others.

use super::*;

fn of<'s>(said: &'s Said, name: &str) -> &'s Json {
    let drifted = said.json["drifted"].as_array().unwrap();
    drifted.iter().find(|it| it["place"] == name).unwrap_or_else(|| panic!("{}", said.all))
}

#[test]
fn what_is_otherwise_than_elsewhere_is_named() {
    let stage = stage("life_mig_drift");
    let tables = "CREATE TABLE orders (id int PRIMARY KEY, total int NOT NULL DEFAULT 0, note text, CONSTRAINT sane CHECK (total >= 0)); CREATE INDEX by_note ON orders (note);
        CREATE TABLE parts (id int REFERENCES orders); CREATE VIEW v AS SELECT id FROM orders; CREATE FUNCTION f(n int) RETURNS int LANGUAGE sql AS 'SELECT n'; CREATE SEQUENCE s;";
    let files = Files::new(&[("V1__x.sql", tables)]);
    stage.schemas(&["dr_a", "dr_b", "dr_c", "dr_d"]);
    stage.migrated(&files, &[]);
    let said = stage.said(&["--drift"]);
    assert!(said.well && said.json["drifted"].as_array().unwrap().is_empty(), "{}", said.all);
    assert_eq!(said.json["places"], 4);
    lab().run(
        "life_mig_drift",
        "SET search_path = dr_b; ALTER TABLE orders DROP COLUMN note, ALTER total TYPE bigint, DROP CONSTRAINT sane, ADD CONSTRAINT sane CHECK (total > 0); CREATE TABLE extra ();
         CREATE INDEX more ON orders (total); CREATE OR REPLACE FUNCTION f(n int) RETURNS int LANGUAGE sql AS 'SELECT n + 1'; DROP SEQUENCE s;",
    );
    let said = stage.said(&["--drift"]);
    assert_eq!((said.well, said.json["drifted"].as_array().unwrap().len()), (false, 1), "{}", said.all);
    let b = of(&said, "dr_b");
    assert_eq!(b["missing"], serde_json::json!(["column orders.note", "index by_note", "sequence s"]), "{b}");
    assert_eq!(b["besides"], serde_json::json!(["index more", "table extra"]), "{b}");
    let otherwise: Vec<&str> = b["otherwise"].as_array().unwrap().iter().map(|it| it[0].as_str().unwrap()).collect();
    assert_eq!(otherwise, ["column orders.total", "constraint orders.sane", "function f(integer)"], "{b}");
    assert!(b["otherwise"][0][1].as_str().unwrap().contains("bigint"), "{b}");
    let printed = text(&stage.pgwarden("migrate", &["--drift"]).output().unwrap());
    assert!(printed.contains("lacks index by_note") && printed.contains("1 of 4 places"), "{printed}");
    // A template says how it should be, whatever most have.
    let said = stage.said(&["--drift", "--template", "dr_b"]);
    assert_eq!(said.json["drifted"].as_array().unwrap().len(), 3, "{}", said.all);
    assert!(of(&said, "dr_a")["besides"].to_string().contains("column orders.note"), "{}", said.all);
    stage.not_migrated(&["--drift", "--template", "nonesuch"], &["nonesuch", "is not there"]);
    // A place that is not there at all.
    lab().run("life_mig_drift", "DROP SCHEMA dr_d CASCADE");
    let said = stage.said(&["--drift"]);
    assert!(of(&said, "dr_d")["error"].as_str().unwrap().contains("is not there"), "{}", said.all);
}

#[test]
fn databases_are_compared_too() {
    let stage = stage("life_mig_driftdb");
    for name in ["ddb_a", "ddb_b", "ddb_c"] {
        stage.ok(&["create", name, "--layout", "database", "--database", &format!("life_{name}")]);
        lab().run(&format!("life_{name}"), "CREATE SCHEMA shop; CREATE TABLE shop.t (id int)");
    }
    lab().run("life_ddb_c", "ALTER TABLE shop.t ADD more int");
    let said = stage.said(&["--drift", "--tenants", "ddb_*"]);
    assert_eq!(of(&said, "ddb_c")["besides"], serde_json::json!(["column t.more in schema shop"]), "{}", said.all);
    assert_eq!(said.json["drifted"].as_array().unwrap().len(), 1);
    assert!(stage.said(&["--drift", "--tenants", "ddb_a,ddb_b", "--template", "life_ddb_a"]).well);
}
