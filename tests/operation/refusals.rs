//! What was refused can be looked up, by what it is about, and says what to do.

use super::{console, proxy, psql};
use crate::support::lab::Lab;
use crate::support::message;
use crate::support::proxy::{Proxy, Setup};

/// Rows of SHOW REFUSALS whose object is this one, as `count|kind|...|statement`.
fn shown(proxy: &Proxy, table: &str, object: &str) -> Vec<Vec<String>> {
    let (ok, said) = psql(&console(proxy).url(), &format!("SHOW {table}"));
    assert!(ok, "{said}");
    let rows = said.lines().map(|line| line.split('|').map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|row| row.get(3).is_some_and(|it| it == object)).collect()
}

#[test]
fn refusals_are_listed_with_object_and_hint() {
    let proxy = proxy("op_refusals");
    let (mut a, mut app) = (proxy.a().connect(), proxy.login("app").connect());
    for i in 0..3 {
        a.simple(format!("SELECT tag FROM order_tags WHERE tag = 'hunter{i}'")).refused("42501");
    }
    app.simple("SET app.tenant_id = 'b'").ok();
    app.simple("SELECT tag FROM order_tags WHERE tag = 'hunter9'").refused("42501");
    a.simple("SET deadlock_timeout = '7ms'").refused("42501");
    a.simple("SELECT pg_read_file('hunter2')").refused("42501");
    a.simple("CREATE TABLE x (a int)").refused("42501");
    a.extended("INSERT INTO customers (tenant_id, email, name) VALUES ($1, 'hunter', 'n')", &[Some("2")])
        .refused("42501");
    a.simple("SELECT nonesuch FROM hunter2").refused("42P01");
    // version()
    assert_eq!(a.exchange(&[message::function_call(89, &[])], 1).sqlstate(), "0A000");
    app.simple("SET app.tenant_id = 'sa'").refused("28000");
    app.simple("/* tenant='da' */ SELECT 1").refused("28000");
    app.extended("SELECT set_config('app.tenant_id', $1, false)", &[Some("sb")]).refused("28000");

    let tags = shown(&proxy, "REFUSALS", "public.order_tags");
    let [row] = tags.as_slice() else { panic!("{tags:?}") };
    assert_eq!(row[..3], ["refused", "4", "relation"].map(str::to_owned));
    assert!(row[6].contains("could belong through its foreign key"), "the hint: {row:?}");
    assert_eq!(row[8..10], ["b", "app"].map(str::to_owned), "the last one's");
    assert_eq!((row[10].len(), row[11].as_str()), (16, ""));
    for (object, hint) in [
        ("deadlock_timeout", "\"deadlock_timeout\" = true"),
        ("pg_read_file", "operator"),
        ("CREATE TABLE", "operator"),
        ("tenant column", "Leave the tenant column out"),
        ("FunctionCall", ""),
    ] {
        let rows = shown(&proxy, "LAST_REFUSALS", object);
        assert!(rows.len() == 1 && rows[0][6].contains(hint), "{object}: {rows:?}");
    }
    let (_, all) = psql(&console(&proxy).url(), "SHOW LAST_REFUSALS");
    assert!(all.starts_with("refused|3|foreign_tenant|app.tenant_id|28000|"), "the last is the first: {all}");
    assert!(!all.contains("hunter"), "neither literals nor mistakes: {all}");

    // The audit line has it all, and the text where that is wanted: from a reload on.
    let log = proxy.log();
    let line =
        log.lines().find(|line| line.contains("object=\"public.order_tags\"")).unwrap_or_else(|| panic!("{log}"));
    for field in ["tenant=a", "login=tenant_a", "kind=\"relation\"", "fingerprint=\""] {
        assert!(line.contains(field), "{field}: {line}");
    }
    proxy.reload(|text| format!("{text}\n[log]\nstatements = true\n"));
    a.simple("SELECT tag /* hunter1 */ FROM order_tags WHERE tag = 'hunter2' LIMIT 5").refused("42501");
    let row = &shown(&proxy, "LAST_REFUSALS", "public.order_tags")[0];
    assert_eq!(row[11], "SELECT tag FROM order_tags WHERE tag = $1 LIMIT $2");
    let log = proxy.log();
    assert!(
        log.contains("statement=\"SELECT tag FROM order_tags WHERE tag = $1 LIMIT $2\"") && !log.contains("hunter"),
        "{log}"
    );
}

/// A listed relation that has no rule all the same: the hint does not propose to list it.
#[test]
fn a_listed_relation_says_why_it_is_refused() {
    let lab = Lab::general();
    lab.copy_of_shop("op_refused_view");
    lab.run("op_refused_view", "CREATE VIEW public.all_orders AS SELECT id, note FROM public.orders; GRANT SELECT ON public.all_orders TO PUBLIC");
    let setup = Setup {
        database: "op_refused_view".to_owned(),
        tables: "\"public.all_orders\" = { access = \"insert\" }".to_owned(),
        ..Setup::default()
    };
    let proxy = Proxy::start(lab, &setup);
    let reply = proxy.a().connect().simple("SELECT count(*) FROM all_orders").refused("42501");
    assert!(reply.text().contains("reads the tenant table public.orders"), "{}", reply.text());
    assert!(!reply.text().contains("has no rule"), "{}", reply.text());
}

/// An operator may take `SET app.tenant_id` for a guard.
#[test]
fn an_operator_is_told_that_nothing_is_guarded() {
    let proxy = proxy("op_unguarded");
    let mut operator = proxy.login("operator").connect();
    let told = |reply: &crate::support::reply::Reply| {
        reply.notices.iter().filter(|it| it[&'M'].contains("not guarded")).count()
    };
    assert_eq!(told(&operator.simple("SET work_mem = '5MB'").ok()), 0);
    assert_eq!(told(&operator.simple("SET app.tenant_id = 'a'").ok()), 1);
    assert_eq!(told(&operator.simple("SET app.tenant_id = 'b'").ok()), 0, "once");
    let mut other = proxy.login("operator").connect();
    assert_eq!(told(&other.extended("SELECT set_config('app.tenant_id', 'a', false)", &[]).ok()), 1);
    let mut app = proxy.login("app").connect();
    assert_eq!(told(&app.simple("SET app.tenant_id = 'a'").ok()), 0);
}
