//! Enforcement modes: what policies alone hold, and when they are not relied on.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::lab::Lab;
use crate::support::message::{bind, execute, parse, sync};
use crate::support::proxy::{Proxy, Setup, free_port, police, program, tool};
use crate::support::session::{Endpoint, Session};

fn policed(database: &str) -> &'static Lab {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    police(lab, database);
    lab
}

/// Whose rows the session sees, of tables with three different keys.
#[track_caller]
fn sees(session: &mut Session) -> String {
    let sql = "SELECT (SELECT string_agg(DISTINCT tenant_id::text, ',') FROM orders), \
               (SELECT string_agg(DISTINCT account, ',') FROM events), (SELECT string_agg(DISTINCT left(org_id::text, 8), ',') FROM invoices)";
    session.simple(sql).ok().texts()[0].join("|")
}

const A: &str = "1|acme|00000000";
const B: &str = "2|bravo|bbbbbbbb";

#[test]
fn policies_alone_keep_tenants_apart_and_plain_statements_stay_as_they_are() {
    let lab = policed("rls_alone");
    let setup = Setup::enforcing("rls", "rls_alone");
    let proxy = Proxy::start(lab, &setup);
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    assert_eq!((sees(&mut a), sees(&mut b)), (A.to_owned(), B.to_owned()));
    let explained = |sql| tool(lab, &setup, &["explain", "--tenant", "a", sql]).1;
    let said = explained("SELECT * FROM orders WHERE id > 0");
    assert!(said.contains("forwarded as it is") && said.contains("enforcement rls"), "{said}");
    assert!(said.contains("sql      SELECT * FROM orders WHERE id > 0"), "{said}");
    // The order between policy and condition holds for some expressions only.
    let said = explained("SELECT * FROM orders WHERE 1 / id > 0");
    assert!(
        said.contains("THEN 1 / id > 0 ELSE false END") && !said.contains("WHERE public.orders.tenant_id"),
        "{said}"
    );
    a.simple("BEGIN").ok();
    // The tenant column is filled in where it is left out, in every form.
    for sql in [
        "INSERT INTO note (note_id, note) VALUES (9001, 'x'), (9002, 'y')",
        "INSERT INTO note (note_id, tenant_id, note) VALUES (9003, DEFAULT, 'x')",
        "INSERT INTO note (note_id, note) SELECT 9004, 'x' UNION SELECT 9005, 'y'",
        "INSERT INTO note SELECT 9006, 1, 'x'",
        "INSERT INTO note VALUES (9007, 1, 'x')",
        "INSERT INTO note (note_id, note) SELECT n, 'x' FROM (VALUES (9008)) v(n) ON CONFLICT DO NOTHING",
        "MERGE INTO note n USING (SELECT 9009 AS id) s ON n.note_id = s.id WHEN NOT MATCHED THEN INSERT (note_id, note) VALUES (s.id, 'x')",
    ] {
        a.simple(sql).ok();
    }
    a.extended("INSERT INTO note (note_id, note) VALUES ($1, $2)", &[Some("9010"), Some("x")]).ok();
    assert_eq!(a.simple("SELECT count(*) FROM note WHERE note_id > 9000 AND tenant_id = 1").ok().value(), "10");
    for sql in [
        "INSERT INTO note (note_id, tenant_id, note) VALUES (9011, 2, 'x')",
        "INSERT INTO note SELECT 9011, 2, 'x'",
        "UPDATE note SET tenant_id = 2",
        "UPDATE note SET (tenant_id, note) = (SELECT 2, 'x')",
        "MERGE INTO note n USING (SELECT 9012 AS id) s ON n.note_id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, 2, 'x')",
    ] {
        a.simple("SAVEPOINT s").ok();
        a.simple(sql).refused("42501");
        a.simple("ROLLBACK TO s").ok();
    }
    a.simple("ROLLBACK").ok();
    // The guard goes on denying what it denies.
    for sql in [
        "SELECT * FROM pg_stats",
        "TRUNCATE orders",
        "DO $$ BEGIN END $$",
        "SELECT * FROM order_tags",
        "EXPLAIN ANALYZE SELECT 1",
    ] {
        a.simple(sql).refused("42501");
    }
}

/// Runs `pgwarden serve`, which must end at once; what it said.
#[track_caller]
fn does_not_start(config: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgwarden.toml");
    std::fs::write(&path, config).unwrap();
    let output =
        Command::new("timeout").arg("20").arg(program()).args(["serve", "--config"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn rls_alone_is_refused_at_start_where_it_would_not_hold() {
    let lab = Lab::general();
    let config = |setup: &Setup| setup.text(lab, free_port());
    let bare = Setup::enforcing("rls", "shared");
    let said = does_not_start(&config(&bare));
    assert!(said.contains("\"public\".\"orders\": row-level security is not enabled"), "{said}");
    assert!(said.contains("pgwarden rls generate"), "{said}");
    policed("rls_start");
    lab.run(
        "postgres",
        "DROP ROLE IF EXISTS strong; CREATE ROLE strong LOGIN BYPASSRLS PASSWORD 'strong_pw'; GRANT app_owner TO strong",
    );
    let sound = config(&Setup::enforcing("rls", "rls_start"));
    let strong = sound.replace("app_owner@", "strong@").replace("app_owner_pw", "strong_pw");
    let said = does_not_start(&strong);
    assert!(said.contains("ALTER ROLE \"strong\" NOBYPASSRLS;"), "{said}");
    for (harm, mend, expected) in [
        (
            "ALTER TABLE orders NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE orders FORCE ROW LEVEL SECURITY",
            "is not forced",
        ),
        (
            "CREATE POLICY more ON orders USING (true)",
            "DROP POLICY more ON orders",
            "policy \"more\" lets rows through",
        ),
        (
            "ALTER DATABASE rls_start SET app.tenant_id = '1'",
            "ALTER DATABASE rls_start RESET app.tenant_id",
            "app.tenant_id has a value without a tenant",
        ),
    ] {
        lab.run("rls_start", harm);
        let said = does_not_start(&sound);
        lab.run("rls_start", mend);
        assert!(said.contains(expected), "{said}");
    }
    // With rewriting besides it is served, and said loudly.
    let proxy = Proxy::start(lab, &Setup::enforcing("rewrite+rls", "shared"));
    assert_eq!(sees(&mut proxy.a().connect()), A);
    let log = proxy.log();
    assert!(log.contains("WARN") && log.contains("row-level security on public.orders is incomplete"), "{log}");
    // The other commands know the mode.
    let (fine, said, errors) = tool(lab, &bare, &["check", "--connect"]);
    assert!(!fine && said.contains("enforcement rls"), "{said}");
    assert!(errors.contains("row-level security on public.orders is incomplete"), "{errors}");
    let (_, said, _) = tool(lab, &bare, &["doctor"]);
    assert!(said.contains("row-security") && said.contains("\"public\".\"orders\""), "{said}");
    let (fine, said, _) = tool(lab, &bare, &["explain", "--tenant", "a", "SELECT * FROM orders"]);
    assert!(!fine && said.contains("its row-level security is incomplete"), "{said}");
}

#[test]
fn a_reload_to_rls_alone_is_refused_where_it_would_not_hold() {
    let lab = Lab::general();
    lab.copy_of_shop("rls_reload");
    let proxy = Proxy::start(lab, &Setup::enforcing("rewrite", "rls_reload"));
    let mut before = proxy.a().connect();
    assert_eq!(sees(&mut before), A);
    let to_rls = |text: String| text.replace("enforcement = \"rewrite\"", "enforcement = \"rls\"");
    proxy.reload(to_rls);
    let log = proxy.log();
    assert!(log.contains("configuration not reloaded") && log.contains("row-level security is not enabled"), "{log}");
    for session in [&mut before, &mut proxy.a().connect()] {
        assert_eq!(sees(session), A);
    }
    police(lab, "rls_reload");
    proxy.reload(to_rls);
    assert_eq!(proxy.log().matches("configuration reloaded").count(), 1, "{}", proxy.log());
    // The policies are new to it: at once, without waiting for the next look at the catalog.
    becomes(&mut proxy.a().connect(), "SELECT 1 FROM customers LIMIT 1", "");
    assert_eq!(sees(&mut proxy.a().connect()), A);
}

/// Waits until a statement gives this SQLSTATE ("" for success).
#[track_caller]
fn becomes(session: &mut Session, sql: &str, sqlstate: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let reply = session.simple(sql);
        if reply.sqlstate() == sqlstate {
            return;
        }
        assert!(Instant::now() < deadline, "{sql}: {}", reply.text());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_table_that_loses_its_policies_is_not_served() {
    let lab = policed("rls_lost");
    let setup = Setup { tenancy: "catalog_refresh = \"1s\"".to_owned(), ..Setup::enforcing("rls", "rls_lost") };
    let proxy = Proxy::start(lab, &setup);
    let mut a = proxy.a().connect();
    for (harm, mend) in [
        ("ALTER TABLE customers NO FORCE ROW LEVEL SECURITY", "ALTER TABLE customers FORCE ROW LEVEL SECURITY"),
        ("ALTER TABLE customers DISABLE ROW LEVEL SECURITY", "ALTER TABLE customers ENABLE ROW LEVEL SECURITY"),
        ("CREATE POLICY open ON customers FOR SELECT USING (id > 0)", "DROP POLICY open ON customers"),
    ] {
        becomes(&mut a, "SELECT count(*) FROM customers", "");
        lab.run("rls_lost", harm);
        becomes(&mut a, "SELECT count(*) FROM customers", "42501");
        let reply = a.simple("SELECT count(*) FROM customers").refused("42501");
        assert!(reply.errors[0][&'M'].contains("row-level security is incomplete"), "{}", reply.text());
        a.simple("SELECT count(*) FROM orders").ok();
        lab.run("rls_lost", mend);
    }
    becomes(&mut a, "SELECT count(*) FROM customers", "");
    // A table made without policies is not served either.
    lab.run("rls_lost", "CREATE TABLE fresh (id int, tenant_id int); INSERT INTO fresh VALUES (1, 1), (2, 2); GRANT ALL ON fresh TO app_owner");
    becomes(&mut a, "SELECT * FROM fresh", "42501");
}

/// Whatever a client tries, it sees its own rows or none.
#[test]
fn the_seal_holds_at_every_moment() {
    let lab = policed("rls_seal");
    let proxy = Proxy::start(lab, &Setup { pool: "{ size = 1 }".to_owned(), ..Setup::enforcing("rls", "rls_seal") });
    let (mut a, mut b) = (proxy.a().connect(), proxy.b().connect());
    let whose = "SELECT string_agg(DISTINCT tenant_id::text, ',') FROM orders";
    let attempts = [
        "SET app.tenant_id = '2'",
        "SET LOCAL app.tenant_id = '2'",
        "SET \"APP\".\"Tenant_ID\" = '2'",
        "SELECT set_config('app.tenant_id', '2', false)",
        "SELECT set_config('app.' || 'tenant_id', '2', true)",
        "SELECT pg_catalog.set_config(n, '2', true) FROM (VALUES ('app.tenant_id')) v(n)",
        "RESET app.tenant_id",
        "SET app.tenant_id TO DEFAULT",
        "SET app.tenant_id_uuid = 'bbbbbbbb-0000-4000-8000-00000000000b'",
        "RESET ALL",
        "DISCARD ALL",
        "DISCARD PLANS",
        "SET SESSION AUTHORIZATION DEFAULT",
        "SET ROLE postgres",
        "RESET ROLE",
        "SET row_security = off",
        "UPDATE pg_settings SET setting = '2' WHERE name = 'app.tenant_id'",
        "UPDATE pg_catalog.pg_settings SET setting = 'off' WHERE name = 'row_security'",
        "DO $$ BEGIN PERFORM set_config('app.tenant_id', '2', false); END $$",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET app.tenant_id = '2' AS 'SELECT 1'",
        "ALTER ROLE app_owner SET app.tenant_id = '2'",
        "ALTER TABLE orders DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON orders USING (true)",
        "SAVEPOINT s",
        "COMMIT AND CHAIN",
        "ROLLBACK AND CHAIN",
    ];
    for sql in attempts {
        // Alone, in one text with the read, in a transaction and behind its end, in a pipeline.
        a.simple(sql);
        assert_eq!(a.simple(whose).ok().value(), "1", "{sql}");
        assert_eq!(b.simple(whose).ok().value(), "2", "{sql}");
        for text in
            [format!("{sql}; {whose}"), format!("BEGIN; {sql}; {whose}; COMMIT AND CHAIN; {whose}; ROLLBACK; {whose}")]
        {
            let seen = a.simple(&text).texts();
            assert!(seen.iter().all(|row| row.iter().all(|it| it != "2" && !it.contains(','))), "{text}: {seen:?}");
            a.simple("ROLLBACK");
        }
        for open in ["BEGIN", "SELECT 1"] {
            a.simple(open).ok();
            let mut messages = Vec::new();
            for text in [sql, whose, "SAVEPOINT x", whose, "ROLLBACK TO x", whose] {
                messages.extend([parse("", text, &[]), bind("", "", &[], &[]), execute("", 0)]);
            }
            messages.push(sync());
            let reply = a.exchange(&messages, 1);
            let seen = reply.texts();
            assert!(seen.iter().flatten().all(|it| it != "2" && !it.contains(',')), "{sql}: {seen:?}");
            a.simple("ROLLBACK");
        }
        assert_eq!(b.simple(whose).ok().value(), "2", "{sql}");
        assert_eq!(a.simple(whose).ok().value(), "1", "{sql}");
    }
    for (name, value) in [
        ("app.tenant_id", "2"),
        ("options", "-c app.tenant_id=2"),
        ("options", "-c row_security=off"),
        ("role", "postgres"),
    ] {
        let (mut session, reply) = proxy.a().with(name, value).try_connect();
        assert!(reply.closed || session.simple(whose).value() == "1", "{name}={value}");
    }
}

/// Writes are kept apart too when one connection serves tenants in turn, and cancel requests fly.
#[test]
fn one_connection_serves_tenants_in_turn() {
    let lab = policed("rls_turns");
    let proxy = Proxy::start(lab, &Setup { pool: "{ size = 1 }".to_owned(), ..Setup::enforcing("rls", "rls_turns") });
    let mut sessions = [("1", proxy.a().connect()), ("2", proxy.b().connect())];
    for turn in 0..20 {
        for (own, session) in &mut sessions {
            let id = 100_000 + turn * 2 + own.parse::<i32>().unwrap();
            let sql = format!("INSERT INTO note (note_id, note) VALUES ({id}, 'x') RETURNING tenant_id");
            assert_eq!(session.simple(&sql).ok().value(), *own);
            let moved = session.extended("UPDATE note SET note = note RETURNING tenant_id", &[]).ok().first_column();
            assert!(!moved.is_empty() && moved.iter().all(|it| it == own), "{moved:?}");
            if let Some((pid, key)) = session.cancel_key.clone() {
                crate::support::session::cancel(proxy.port, pid, &key);
            }
        }
    }
}

/// A login that switches, at random: what it sees under policies alone is what it sees when statements are rewritten.
#[test]
fn a_login_that_switches_sees_under_policies_what_it_sees_rewritten() {
    let lab = policed("rls_switching");
    // Databases of their own: neither waits for the other's locks.
    lab.copy_of_shop("rewrite_switching");
    let ends = [("rls", "rls_switching"), ("rewrite", "rewrite_switching")];
    let ends = ends.map(|(mode, database)| (Proxy::start(lab, &Setup::enforcing(mode, database)), database));
    let mut sessions =
        ends.each_ref().map(|(proxy, database)| Endpoint::new(proxy.port, "app", "app_pw", database).connect());
    let steps = [
        "SET app.tenant_id = 'a'",
        "SET app.tenant_id = 'b'",
        "SET LOCAL app.tenant_id = 'a'",
        "SET LOCAL app.tenant_id = 'b'",
        "RESET app.tenant_id",
        "BEGIN",
        "COMMIT",
        "COMMIT AND CHAIN",
        "ROLLBACK",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "RELEASE s",
        "SELECT 1 / 0",
        "/* tenant='b' */ SELECT string_agg(DISTINCT tenant_id::text, ',') FROM orders",
        "SELECT string_agg(DISTINCT left(org_id::text, 8), ',') FROM invoices",
        "SELECT string_agg(DISTINCT account, ',') FROM events",
        "UPDATE note SET note = note WHERE note_id < 100 RETURNING tenant_id",
        "SELECT string_agg(DISTINCT tenant_id::text, ',') FROM orders",
    ];
    let mut random = 88_172_645_463_325_252_u64;
    for turn in 0..600 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let sql = steps[usize::try_from(random % steps.len() as u64).unwrap()];
        let extended = random & (1 << 40) != 0;
        let [policies, rewritten] = sessions.each_mut().map(|it| {
            let reply = if extended { it.extended(sql, &[]) } else { it.simple(sql) };
            let mut rows = reply.texts();
            rows.sort();
            (reply.sqlstate().to_owned(), reply.tags.clone(), rows)
        });
        assert_eq!(policies, rewritten, "turn {turn}: {sql}");
    }
}
