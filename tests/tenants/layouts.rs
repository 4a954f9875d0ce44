//! Tenants of three layouts behind one listener.

use std::net::TcpListener;

use super::PROXY;
use crate::support::lab::Lab;
use crate::support::message::{parse, sync};
use crate::support::proxy::{Proxy, Setup, free_port};
use crate::support::session::Endpoint;

#[test]
fn each_layout_gives_its_tenant_its_own() {
    let proxy = PROXY.get();
    let cases = [
        ("tenant_a", "ALPHA_name_1"),
        ("tenant_b", "CANARY_B_name_1"),
        ("schema_a", "ALPHA_name_1"),
        ("schema_b", "CANARY_B_name_1"),
        ("database_a", "ALPHA_name_1"),
    ];
    for (login, name) in cases {
        let mut session = proxy.login(login).connect();
        assert_eq!(session.simple("SELECT min(name) FROM customers").ok().value(), name, "{login}");
        let reply =
            session.extended("SELECT name FROM customers WHERE id % 1000 = $1 ORDER BY id LIMIT 1", &[Some("1")]);
        assert_eq!(reply.ok().value(), name, "{login}");
    }
}

#[test]
fn the_schema_tenant_stays_in_its_schema() {
    let mut session = PROXY.get().login("schema_a").connect();
    let reaches = [
        "SELECT * FROM t_b.customers",
        "SET search_path = t_b",
        "SELECT set_config('search_path', 't_b', false)",
        "SET ROLE t_b_role",
        "CREATE TABLE t_b.planted (x int)",
        "DO $$ BEGIN PERFORM 1; END $$",
    ];
    for sql in reaches {
        let reply = session.simple(sql);
        assert_eq!(reply.sqlstate(), "42501", "{sql}: {}", reply.text());
    }
    // What puts back a role that the client has not set changes nothing.
    session.simple("RESET ROLE").ok();
    assert_eq!(session.simple("SELECT count(*) FROM customers").ok().value(), "5");
    assert_eq!(session.simple("SELECT current_schema()").ok().value(), "t_a");
    assert_eq!(session.simple("SELECT current_user").ok().value(), "t_a_role");
}

/// Texts that differ in comments are planned once. What is not rewritten goes out as the client wrote it, so that the server's
/// log has the comments, and errors point at the client's text.
#[test]
fn comments_arrive_where_nothing_is_rewritten() {
    let proxy = PROXY.get();
    let mut through = proxy.login("database_a").connect();
    let mut directly = Lab::general().owner("db_tenant_a").connect();
    for round in 0..3 {
        let sql = format!("/*traceparent='{round}'*/ SELECT current_query() -- ä {round}");
        assert_eq!(through.simple(&sql).ok().value(), sql);
        assert_eq!(through.extended(&sql, &[]).ok().value(), sql);
        for sql in [
            format!("/* ä{round} */ SELECT nosuch -- {round}"),
            format!("SELECT 1, /*{round}*/ 'a'; /* ää */ SELECT /*{round}*/ nosuch, 2"),
            format!(";; /*{round}*/ SELECT name FROM customers WHERE id = 1 + /* */ nosuch"),
            format!("SELECT 'a' -- {round}\n'b', nosuch"),
            format!("SELECT 1 /* {round} /* */ */, nosuch"),
            format!("SELECT 'a' /* {round} */\n'b'"),
        ] {
            let wanted = directly.simple(&sql).errors;
            assert_eq!(through.simple(&sql).errors[0].get(&'P'), wanted[0].get(&'P'), "{sql}");
        }
        // Under a name the server has the text without the comment, in which the position is another.
        let named = format!("/* ä{round} */ SELECT nosuch");
        let reply = through.exchange(&[parse("s", &named, &[]), sync()], 1).refused("42703");
        assert_eq!(reply.errors[0].get(&'P'), directly.simple(&named).errors[0].get(&'P'));
    }
    let mut tenant = proxy.login("tenant_a").connect();
    for round in 0..3 {
        let sql = format!("SELECT /*{round} '*/ min(name) /*--*/ FROM customers -- {round}\n WHERE id > 0 /*{round}*/");
        assert_eq!(tenant.simple(&sql).ok().value(), "ALPHA_name_1");
        assert_eq!(tenant.extended(&sql, &[]).ok().value(), "ALPHA_name_1");
    }
}

/// A statement that is rewritten before it is sent: the server's position is one in another text.
#[test]
fn errors_point_into_the_text_of_the_client() {
    let mut tenant = PROXY.get().login("tenant_a").connect();
    let mut owner = Lab::general().owner("shop").connect();
    for sql in [
        "SELECT name, nosuch FROM customers WHERE name = 'ä'",
        "SELECT name FROM customers c WHERE c.id = 1 AND c.nosuch > 2",
        "SELECT name FROM customers WHERE lower(name) = lower(nosuch)",
        "SELECT o.id FROM customers c JOIN orders o ON o.customer_id = c.nosuch WHERE c.id = 1",
        "SELECT 'ä', (SELECT max(id) FROM orders WHERE nosuch = 1) FROM customers",
        "UPDATE customers SET name = 'x', nosuch = 1 WHERE id = 1",
        "SELECT name FROM customers WHERE id = 'abc'",
        "/* ä */ SELECT id FROM customers /* b */ WHERE nosuch",
        "SELECT id FROM customers WHERE id = 1; SELECT nosuch FROM customers",
        // Errors of the guard's own.
        "SELECT 'ä' /* a */, id FROM FROM customers",
        "SELECT 1; /* ä */ SELECT id FROM customers WHERE -- b\n",
        "SELECT 'ä' /* a */ FROM nosuch, customers",
        "SELECT id FROM customers WHERE id = (SELECT 1 FROM public.nosuch)",
        "SELECT 'ä' /* a */, nosuch(1)",
        "INSERT INTO nosuch VALUES (1)",
        "SELECT 1; SELECT 'ä', 'open",
        "SELECT 'ä', 1x",
    ] {
        let wanted = owner.simple(sql).errors;
        for round in 0..3 {
            let found = tenant.simple(sql).errors;
            assert_eq!(found[0].get(&'C'), wanted[0].get(&'C'), "{sql}: {:?}", found[0]);
            assert_eq!(found[0].get(&'P'), wanted[0].get(&'P'), "{sql}, round {round}");
        }
        if !sql.contains(';') {
            let named = tenant.exchange(&[parse("s", sql, &[]), sync()], 1);
            assert_eq!(named.errors[0].get(&'P'), wanted[0].get(&'P'), "{sql}");
        }
    }
}

#[test]
fn ddl_is_the_database_tenants_own_business() {
    let mut session = PROXY.get().login("database_a").connect();
    let script = [
        "CREATE TABLE own_table (id int PRIMARY KEY, body text)",
        "INSERT INTO own_table VALUES (1, 'x')",
        "CREATE VIEW own_view AS SELECT * FROM own_table",
        "CREATE FUNCTION own_function() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM own_table'",
        "CREATE INDEX ON own_table (body)",
        "DROP VIEW own_view",
        "TRUNCATE own_table",
    ];
    for sql in script {
        session.simple(sql).ok();
    }
    assert_eq!(session.simple("SELECT own_function()").ok().value(), "0");
    session.simple("DROP FUNCTION own_function(); DROP TABLE own_table").ok();
}

/// pgwarden starts without its upstream, says so to clients, and serves when it comes.
#[test]
fn an_upstream_that_is_down_at_start_may_come_back() {
    let lab = Lab::general();
    let (listen, upstream) = (free_port(), TcpListener::bind("127.0.0.1:0").unwrap());
    let upstream_port = upstream.local_addr().unwrap().port();
    drop(upstream);
    let text = crate::support::lab::read("fixture/pgwarden.toml")
        .replace("{port}", &listen.to_string())
        .replace("{postgres}", &upstream_port.to_string())
        .replace("{database}", "shared")
        .replace("{pool}", "{ size = 2, wait_timeout = \"1s\" }");
    let proxy = Proxy::launch(&text, listen);
    let end = Endpoint { database: "shared".to_owned(), ..proxy.a() };
    let (_, reply) = end.try_connect();
    let (state, log) = (reply.sqlstate().to_owned(), proxy.log());
    assert!(state.starts_with("08") || state.starts_with("57P"), "{}", reply.text());
    assert!(log.contains("127.0.0.1") || log.contains("main"), "the log does not name the upstream:\n{log}");
    // Now it listens: a relay to the real one.
    let relay = TcpListener::bind(("127.0.0.1", upstream_port)).unwrap();
    let postgres = lab.cluster.port();
    std::thread::spawn(move || {
        for client in relay.incoming().map_while(Result::ok) {
            let server = std::net::TcpStream::connect(("127.0.0.1", postgres)).unwrap();
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    let served = (0..60).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(250));
        let (mut session, reply) = end.try_connect();
        reply.errors.is_empty() && !reply.closed && session.simple("SELECT min(name) FROM customers").errors.is_empty()
    });
    assert!(served, "{}", proxy.log());
}

/// The pool's mode may differ by upstream, and a tenant of the shared layout may live elsewhere.
#[test]
fn a_shared_tenant_on_another_upstream() {
    let lab = Lab::general();
    lab.copy_of_shop("elsewhere");
    let postgres = lab.cluster.port();
    let more = format!(
        r#"
[upstream.second]
url = "postgres://app_owner@127.0.0.1:{postgres}/elsewhere"
password = "app_owner_pw"
pool = {{ mode = "session", size = 2 }}
[[tenant]]
name = "c"
key = 3
keys = {{ uuid = "cccccccc-0000-4000-8000-00000000000c", account = "charlie" }}
upstream = "second"
[[login]]
name = "tenant_c"
password = "tenant_c_pw"
tenants = ["c"]
"#
    );
    let proxy = Proxy::start(lab, &Setup { more, ..Setup::default() });
    let end = Endpoint { database: "elsewhere".to_owned(), ..proxy.login("tenant_c") };
    assert_eq!(end.connect().simple("SELECT min(name) FROM customers").ok().value(), "CANARY_C_name_1");
}
