//! Names of channels, as they go out.

use super::fixture::{plan, policy, refused, text};
use crate::base::{Mode, TenantKeys};
use crate::guard::{ChannelName, ChannelSpace, Guard, Plan, Protocol, plan_statements};

const JOBS: &str = "pgw:11d30ca2c007f573980c55288f23861227b404eaf97e812f";

fn bound(mode: &Mode, sql: &str) -> String {
    let guard = Guard::new(policy().into(), plan_statements);
    let keys = TenantKeys { default: Some("1".into()), ..TenantKeys::default() };
    let mut texts =
        (0..3).map(|_| guard.plan(mode, Protocol::Simple, sql).unwrap().bind(&keys).unwrap().text().into_owned());
    let first = texts.next().unwrap();
    // From the cache, by text and by shape.
    assert!(texts.all(|text| text == first), "{sql}");
    first
}

#[test]
fn statements_name_the_tenants_channel() {
    let shared = |sql| bound(&Mode::Shared, sql);
    assert_eq!(shared("NOTIFY jobs, 'mail \"pgw:~\"'"), format!("NOTIFY \"{JOBS}\", 'mail \"pgw:~\"'"));
    assert_eq!(shared("notify \"jobs\""), format!("NOTIFY \"{JOBS}\""));
    assert_eq!(shared("LISTEN jobs"), format!("LISTEN \"{}\"", JOBS.replace(':', "+")));
    assert_eq!(shared("UNLISTEN jobs"), format!("LISTEN \"{}\"", JOBS.replace(':', "-")));
    assert_eq!(shared("UNLISTEN *"), "LISTEN \"pgw*\"");
    // A name of the client's is hashed, whatever it looks like.
    assert_ne!(shared(&format!("NOTIFY \"{JOBS}\"")), format!("NOTIFY \"{JOBS}\""));
    let mode = Mode::Schema("acme".into());
    let space = ChannelSpace::of(&mode, &TenantKeys::default()).unwrap();
    assert_eq!(bound(&mode, "NOTIFY jobs"), format!("NOTIFY \"{}\"", ChannelName::Channel.of(&space, "jobs")));
}

#[test]
fn locks_are_each_schemas_own() {
    let of = |schema: &str, sql: &str| bound(&Mode::Schema(schema.into()), sql);
    let one = of("t_a", "SELECT pg_try_advisory_lock(7)");
    assert!(one.contains("convert_to('schema:t_a:3:', 'UTF8')") && one.contains("int8send(7)"), "{one}");
    assert_eq!(of("t_b", "SELECT pg_try_advisory_lock(7)"), one.replace("t_a", "t_b"));
    let two = of("t_a", "SELECT pg_advisory_xact_lock(5, 3), pg_advisory_unlock(4)");
    assert!(two.contains("'schema:t_a:4:'") && two.contains("'schema:t_a:3:'"), "{two}");
}

#[test]
fn a_computed_name_is_hashed_by_the_server() {
    let sql = text(&plan("SELECT pg_notify($1, 'x')").unwrap());
    let expected = "SELECT pg_notify(CASE WHEN pg_catalog.octet_length($1::pg_catalog.text) OPERATOR(pg_catalog.>) 63 \
        THEN pg_catalog.repeat('x', 64) ELSE CASE WHEN pg_catalog.octet_length($1::pg_catalog.text) OPERATOR(pg_catalog.>) 0 \
        THEN 'pgw:' OPERATOR(pg_catalog.||) pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(\
        pg_catalog.sha256(pg_catalog.convert_to('shared:' OPERATOR(pg_catalog.||) $2, 'UTF8')) \
        OPERATOR(pg_catalog.||) pg_catalog.convert_to($1::pg_catalog.text, 'UTF8')), 1, 24), 'hex') ELSE '' END END, 'x')";
    let plain = |sql: &str| sql.replace("CAST(", "").replace([' ', '(', ')'], "");
    assert_eq!(plain(&sql), plain(expected), "{sql}");
    let sql = bound(&Mode::Schema("t_a".into()), "SELECT pg_notify('jobs', lower('X'))");
    assert!(sql.contains("convert_to('schema:t_a', 'UTF8')"), "{sql}");
    for sql in [
        "SELECT pg_notify('a')",
        "SELECT pg_notify(VARIADIC ARRAY['a', 'b'])",
        "SELECT pg_notify(channel => 'a', payload => 'b')",
    ] {
        assert!(refused(sql).starts_with("42883"), "{sql}");
    }
    // Wherever a call stands.
    for sql in [
        "SELECT * FROM pg_notify('c', 'x')",
        "SELECT 1 FROM orders ORDER BY pg_catalog.pg_notify(status, 'x')::text",
        "PREPARE p AS SELECT pg_notify($1, $2)",
        "COPY (SELECT pg_notify('c', 'x')) TO STDOUT",
        "WITH w AS (SELECT pg_notify('c', 'x')) SELECT * FROM w",
        "INSERT INTO orders (id) VALUES (1) RETURNING pg_notify('c', id::text)",
    ] {
        let Plan { rewritten, slots, .. } = plan(sql).unwrap();
        assert!(
            rewritten && slots.iter().any(|slot| slot.key.is_none() && &*slot.type_name == "pg_catalog.text"),
            "{sql}"
        );
    }
}
