//! Soft and hard quotas, as clients meet them.

use super::*;
use crate::support::message::{bind, execute, parse, sync};

const NOTES: &str = "CREATE TABLE notes (tenant_id int NOT NULL, body text); ALTER TABLE notes OWNER TO app_owner";

#[test]
fn a_soft_quota_warns_once_and_a_hard_one_refuses_writes() {
    database("quota_writes").run("quota_writes", NOTES);
    let quota = "flush_interval = \"100ms\"\nrows_written = { soft = 4, hard = 10 }";
    let proxy = proxy("quota_writes", quota);
    init(&proxy);
    let mut a = proxy.a().connect();
    // Before the table was there, what had been used was not known.
    eventually("the usage is known", || a.simple("INSERT INTO notes (body) VALUES ('x')").errors.is_empty());
    a.simple("INSERT INTO notes (body) VALUES ('x')").ok();
    assert!(a.simple("SELECT 1").ok().notices.is_empty());
    a.simple("INSERT INTO notes (body) VALUES ('x'), ('x'), ('x')").ok();
    let warned = a.simple("SELECT 1").ok();
    let notice = warned.notices.first().expect("a warning");
    assert_eq!((notice[&'S'].as_str(), notice[&'C'].as_str()), ("WARNING", "01000"));
    assert!(notice[&'D'].starts_with("Quota rows_written: used 5, warning from 4, limit 10, in 2"), "{notice:?}");
    assert!(a.simple("SELECT 1").ok().notices.is_empty(), "once a session");
    let mut other = proxy.a().connect();
    assert_eq!(other.extended("SELECT 1", &[]).ok().notices.len(), 1);
    a.simple("INSERT INTO notes (body) SELECT 'x' FROM generate_series(1, 6)").ok();
    // Used up.
    for sql in [
        "INSERT INTO notes (body) VALUES ('y')",
        "UPDATE notes SET body = 'y'",
        "DELETE FROM notes",
        "WITH w AS (DELETE FROM notes RETURNING body) SELECT count(*) FROM w",
        "COPY notes (body) FROM STDIN",
        "SELECT 1; INSERT INTO notes (body) VALUES ('y')",
    ] {
        let reply = a.simple(sql).refused("53400");
        let error = &reply.errors[0];
        assert_eq!(error[&'M'], "quota of tenant \"a\" is used up: rows_written");
        assert!(error[&'D'].starts_with("Quota rows_written: used 11, limit 10, in 2"), "{error:?}");
        assert!(error[&'H'].contains("00:00 UTC; until then statements that only read may run"), "{error:?}");
    }
    a.extended("INSERT INTO notes (body) VALUES ($1)", &[Some("y")]).refused("53400");
    assert_eq!(a.simple("SELECT count(*) FROM notes WHERE body = 'x'").ok().value(), "11");
    assert_eq!(a.extended("SELECT count(*) FROM notes", &[]).ok().value(), "11");
    // Within a transaction it is as any other error.
    a.simple("BEGIN").ok();
    a.simple("DELETE FROM notes").refused("53400");
    a.simple("SELECT 1").refused("25P02");
    a.simple("ROLLBACK").ok();
    // A statement that was prepared when all was well.
    let pipeline = [parse("", "DELETE FROM notes", &[]), bind("", "", &[], &[]), execute("", 0), sync()];
    other.exchange(&pipeline, 1).refused("53400");
    assert_eq!(other.simple("SELECT count(*) FROM notes").ok().value(), "11");
    // Others have quotas of their own.
    proxy.b().connect().simple("INSERT INTO notes (body) VALUES ('b')").ok();
    let log = proxy.log();
    for event in ["quota_warning", "quota_exceeded"] {
        let lines = log.lines().filter(|it| it.contains("audit") && it.contains(event) && it.contains("rows_written"));
        assert_eq!(lines.count(), 1, "{event}:\n{log}");
    }
    assert!(log.lines().any(|it| it.contains("pgwarden::quota") && it.contains("used up")), "{log}");
}

#[test]
fn a_hard_quota_may_refuse_all() {
    database("quota_all");
    let setup = Setup {
        tenant_a: "quota = { refuses = \"all\", statements = { hard = 6 } }".to_owned(),
        ..setup("quota_all", "flush_interval = \"100ms\"\nwhen_unknown = \"allow\"")
    };
    let proxy = Proxy::start(Lab::general(), &setup);
    init(&proxy);
    let mut a = proxy.a().connect();
    let mut in_transaction = proxy.a().connect();
    in_transaction.simple("BEGIN").ok();
    for _ in 0..5 {
        a.simple("SELECT 1").ok();
    }
    eventually("the quota is used up", || a.simple("SELECT 1").sqlstate() == "53400");
    let refused = a.extended("SELECT 1", &[]).refused("53400");
    assert!(refused.errors[0][&'H'].contains("no statement may run"));
    a.simple("SHOW work_mem").refused("53400");
    // What was begun can be ended.
    in_transaction.simple("COMMIT").ok();
    let mut again = proxy.a().connect();
    again.simple("SELECT 1").refused("53400");
    for _ in 0..10 {
        proxy.b().connect().simple("SELECT 1").ok();
    }
}

/// A login that acts for several tenants is stopped for the one whose quota is used up only.
#[test]
fn a_switching_login_meets_each_tenants_quota() {
    database("quota_switch").run("quota_switch", NOTES);
    let setup = Setup {
        tenant_a: "quota = { refuses = \"all\", rows_written = { hard = 1 } }".to_owned(),
        ..setup("quota_switch", "flush_interval = \"100ms\"\nwhen_unknown = \"allow\"")
    };
    let proxy = Proxy::start(Lab::general(), &setup);
    init(&proxy);
    let insert = "INSERT INTO notes (body) VALUES ('x')";
    let mut app = crate::support::session::Endpoint::new(proxy.port, "app", "app_pw", "quota_switch").connect();
    app.simple("SET app.tenant_id = 'a'").ok();
    app.simple(insert).ok();
    eventually("the quota is used up", || app.simple(insert).sqlstate() == "53400");
    app.simple(format!("/* tenant='b' */ {insert}")).ok();
    app.simple("SET app.tenant_id = 'b'").ok();
    app.simple(insert).ok();
    app.simple(format!("/* tenant='a' */ {insert}")).refused("53400");
    app.simple(format!("SET app.tenant_id = 'a'; {insert}")).refused("53400");
    app.extended("SELECT set_config('app.tenant_id', $1, false)", &[Some("a")]).ok();
    app.extended(insert, &[]).refused("53400");
    app.extended("SELECT set_config('app.tenant_id', $1, false)", &[Some("b")]).ok();
    app.extended(insert, &[]).ok();
}

/// Two proxies: what was used through one is refused by the other.
#[test]
fn proxies_see_each_others_use() {
    database("quota_two").run("quota_two", NOTES);
    let quota = "flush_interval = \"100ms\"\nrows_written = { hard = 100 }\nwhen_unknown = \"allow\"";
    let one = proxy("quota_two", quota);
    init(&one);
    let two = proxy("quota_two", quota);
    let insert = "INSERT INTO notes (body) SELECT 'x' FROM generate_series(1, 30)";
    let (mut first, mut second) = (one.a().connect(), two.a().connect());
    for _ in 0..2 {
        first.simple(insert).ok();
    }
    eventually_kept("quota_two", "a", "rows_written", 60);
    for _ in 0..2 {
        second.simple(insert).ok();
    }
    eventually_kept("quota_two", "a", "rows_written", 120);
    // Both know by now, or soon.
    for session in [&mut first, &mut second] {
        eventually("the quota is used up", || {
            session.simple("UPDATE notes SET body = 'y' WHERE body = 'none'").sqlstate() == "53400"
        });
    }
    assert_eq!(first.simple("SELECT count(*) FROM notes").ok().value(), "120");
    // And one that starts now.
    let three = proxy("quota_two", quota);
    three.a().connect().simple(insert).refused("53400");
}
