//! The tables of the gate.

use super::*;

#[test]
fn the_pools_role_opens_what_is_past_and_what_the_console_shut() {
    let stage = Stage::new("life_gate");
    // Again, on what is there.
    stage.ok(&["init"]);
    lab().run(
        "life_gate",
        "INSERT INTO pgwarden_gates SELECT reason || late, 1, reason, now(), now() + CASE WHEN late THEN '-1s' ELSE '1h' END::interval
           FROM (VALUES ('move'), ('console')) AS r(reason), (VALUES (true), (false)) AS l(late)",
    );
    let mut pool = Endpoint::new(lab().cluster.port(), "app_owner", "app_owner_pw", "life_gate").connect();
    pool.simple("DELETE FROM pgwarden_gates").ok();
    assert_eq!(rows("life_gate", "SELECT tenant FROM pgwarden_gates"), ["movefalse"]);
    pool.simple("INSERT INTO pgwarden_gates VALUES ('a', 2, 'console', now(), now())").ok();
    for refused in [
        "INSERT INTO pgwarden_gates VALUES ('b', 2, 'move', now(), now())",
        "UPDATE pgwarden_gates SET deadline = now()",
        "TRUNCATE pgwarden_gates",
        "SELECT * FROM pgwarden_operations",
    ] {
        pool.simple(refused).refused("42501");
    }
    pool.simple(
        "INSERT INTO pgwarden_proxies VALUES ('p', now(), now(), ''); UPDATE pgwarden_proxies SET lease_until = now();
         INSERT INTO pgwarden_gate_acks VALUES ('p', 'a', 2, now()); DELETE FROM pgwarden_gate_acks; DELETE FROM pgwarden_proxies",
    )
    .ok();
}
