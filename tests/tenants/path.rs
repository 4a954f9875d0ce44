//! The search path as what names the tenant: a login of several tenants of the schema layout, as Apartment, django-tenants and
//! Hibernate have it.

use crate::support::lab::Lab;
use crate::support::message::{bind, execute, parse, sync};
use crate::support::proxy::{Proxy, Setup};
use crate::support::session::{Endpoint, Session};

const NAME: &str = "SELECT min(name) FROM customers";
const A: &str = "ALPHA_name_1";
const B: &str = "CANARY_B_name_1";

fn session(login: &str) -> Session {
    Endpoint::new(super::PROXY.get().port, login, &format!("{login}_pw"), "tenants").connect()
}

/// Whose rows the session sees; "" without a tenant.
#[track_caller]
fn whose(session: &mut Session) -> String {
    let reply = session.simple(NAME);
    if reply.sqlstate() == "28000" { String::new() } else { reply.ok().value() }
}

#[test]
fn the_schema_that_stands_first_names_the_tenant() {
    let mut it = session("jobs");
    assert_eq!(whose(&mut it), "");
    for (path, name) in [
        ("SET search_path = \"t_a\", \"public\"", A),
        ("SET search_path TO 't_b', 'public'", B),
        ("SET SESSION search_path TO t_a", A),
        ("SET SCHEMA 't_b'", B),
        ("SET search_path = \"$user\", t_a, extensions, public", A),
    ] {
        it.simple(path).ok();
        assert_eq!(whose(&mut it), name, "{path}");
        assert_eq!(it.extended(NAME, &[]).ok().value(), name, "{path}");
        let tenant = if name == A { "sa" } else { "sb" };
        assert_eq!(it.simple("SHOW app.tenant_id").ok().value(), tenant, "{path}");
    }
    // Back to nobody
    for reset in ["RESET search_path", "SET search_path TO DEFAULT", "SET search_path = public"] {
        it.simple("SET search_path = t_a").ok();
        assert_eq!(whose(&mut it), A);
        it.simple(reset).ok();
        assert_eq!(whose(&mut it), "", "{reset}");
    }
    // Through the extended protocol, prepared once and run at other times
    let set = |name: &str, path: &str| {
        [parse(name, &format!("SET search_path = {path}"), &[]), bind("", name, &[], &[]), execute("", 0), sync()]
    };
    it.exchange(&set("to_a", "t_a, public"), 1).ok();
    assert_eq!(whose(&mut it), A);
    it.exchange(&set("to_b", "t_b, public"), 1).ok();
    assert_eq!(whose(&mut it), B);
    it.exchange(&[bind("", "to_a", &[], &[]), execute("", 0), sync()], 1).ok();
    assert_eq!(whose(&mut it), A);
}

/// The first that a proxy sees of a place may be a transaction in it: which schemas are common is known before it begins.
#[test]
fn a_place_that_was_not_needed_before() {
    let lab = Lab::general();
    let proxy = Proxy::start(lab, &Setup { database: "tenants".to_owned(), ..Setup::default() });
    for begin in ["SET LOCAL search_path = t_a", "SET LOCAL app.tenant_id = 'sb'"] {
        let mut it = Endpoint::new(proxy.port, "jobs", "jobs_pw", "tenants").connect();
        it.simple("BEGIN").ok();
        it.simple(begin).ok();
        it.simple(NAME).ok();
        assert_eq!(it.simple("SELECT 'A'::citext = 'a'").ok().value(), "t");
        it.simple("COMMIT").ok();
    }
}

#[test]
fn it_ends_with_what_it_was_set_in() {
    let mut it = session("jobs");
    it.simple("SET search_path = t_b, public").ok();
    it.simple("BEGIN").ok();
    it.simple("SET LOCAL search_path = t_a").ok();
    assert_eq!(whose(&mut it), A);
    it.simple("COMMIT").ok();
    assert_eq!(whose(&mut it), B);
    it.simple("BEGIN").ok();
    it.simple("SET search_path = t_a").ok();
    assert_eq!(whose(&mut it), A);
    it.simple("ROLLBACK").ok();
    assert_eq!(whose(&mut it), B);
    let text = format!("BEGIN; SET LOCAL search_path = t_a; {NAME}; COMMIT");
    assert_eq!(it.simple(text).ok().value(), A);
    assert_eq!(whose(&mut it), B);
    it.simple("DISCARD ALL").ok();
    assert_eq!(whose(&mut it), "");
    // Within a transaction, only to a tenant of the same place and role
    it.simple("SET search_path = t_a").ok();
    it.simple("BEGIN").ok();
    assert_eq!(whose(&mut it), A);
    assert_eq!(it.simple("SET LOCAL search_path = t_b").sqlstate(), "25001");
    it.simple("ROLLBACK").ok();
}

/// Whatever the words, a path names none but the login's own tenants, and opens nobody else's schema.
#[test]
fn no_path_leads_to_another_logins_tenant() {
    let mut it = session("app_a");
    let tries = [
        "SET search_path = t_b",
        "SET search_path = t_b, t_a",
        "SET search_path = t_a, t_b",
        "SET search_path = public, t_b",
        "SET search_path = \"$user\", t_b",
        "SET search_path = 't_a, t_b'",
        "SET search_path = 't_b, t_a'",
        "SET search_path = U&\"t\\005fb\"",
        "SET SCHEMA 't_b'",
        "SET LOCAL search_path = t_b",
        "SELECT set_config('search_path', 't_b', false)",
        "SELECT set_config('search_path', 't_a, t_b', false)",
        "SET search_path = T_B",
        "SET search_path = t_c",
        "SET search_path = pg_catalog, t_b",
        "BEGIN; SET LOCAL search_path = t_a; SET LOCAL search_path = t_b; SELECT 1",
        "SAVEPOINT s; SET search_path = t_b; RELEASE s",
    ];
    for begin in ["", "SET search_path = t_a", "SET app.tenant_id = 'a'"] {
        for sql in tries {
            it.simple(begin).ok();
            let reply = it.simple(sql);
            let refused = ["42501", "28000", "25001", "25P01", "0A000", "42704"];
            assert!(refused.contains(&reply.sqlstate()), "{begin}; {sql}: {}", reply.text());
            let seen =
                it.simple("SELECT name FROM customers").text() + &it.simple("SELECT * FROM t_b.customers").text();
            assert!(!seen.contains("CANARY"), "{begin}; {sql}: {seen}");
            it.simple("ROLLBACK");
            it.simple("DISCARD ALL").ok();
        }
    }
}

/// A login of one tenant may say what its library says; nothing but its own schema and the common ones are on the path.
#[test]
fn a_tenant_may_name_its_own_path() {
    let mut it = super::PROXY.get().login("schema_a").connect();
    for path in ["t_a", "t_a, public", "\"t_a\", \"public\"", "t_a, extensions, public", "\"$user\", t_a, public"] {
        it.simple(format!("SET search_path = {path}")).ok();
        assert_eq!(whose(&mut it), A);
        it.simple(format!("BEGIN; SET LOCAL search_path = {path}; {NAME}; COMMIT")).ok();
    }
    for path in ["t_b", "t_b, t_a", "t_a, t_b", "public", "public, t_a", "extensions, t_a"] {
        assert_eq!(it.simple(format!("SET search_path = {path}")).sqlstate(), "42501", "{path}");
        assert_eq!(whose(&mut it), A);
    }
}
