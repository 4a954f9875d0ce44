//! Observed logins: nothing is enforced for them, what would be refused is told of, and nobody else is any less guarded.

use std::fs;
use std::process::Command;

use super::{CONSOLE, console, psql};
use crate::support::lab::Lab;
use crate::support::message;
use crate::support::proxy::{Proxy, Setup, program};
use crate::support::session::{CopyIn, Endpoint, Session};

const WATCHED: &str = "\n[[login]]\nname = \"watched\"\npassword = \"watched_pw\"\nrole = \"observed\"\ntenants = [\"a\", \"b\", \"sa\"]\n";

fn setup(database: &str) -> Setup {
    Setup {
        database: database.to_owned(),
        listen: "observe = true".to_owned(),
        more: [CONSOLE, WATCHED].concat(),
        ..Setup::default()
    }
}

fn start(database: &'static str) -> Proxy {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    Proxy::start(lab, &setup(database))
}

/// What is observed of one object: `count kind tenant`.
fn observed(proxy: &Proxy, object: &str) -> Vec<String> {
    let (ok, said) = psql(&console(proxy).url(), "SHOW REFUSALS");
    assert!(ok, "{said}");
    let rows = said.lines().map(|line| line.split('|').collect::<Vec<_>>());
    let rows = rows.filter(|row| row[0] == "observed" && row[3] == object);
    rows.map(|row| format!("{} {} {}", row[1], row[2], row[8])).collect()
}

fn count(session: &mut Session) -> String {
    session.simple("SELECT count(*) FROM customers").ok().value()
}

#[test]
fn statements_go_out_as_they_are_and_are_judged() {
    let proxy = start("op_observed");
    let mut app = proxy.login("watched").connect();
    let none: [&str; 0] = [];
    // All rows, of a table that tenants may not name, and what tenants may not run.
    assert_eq!(count(&mut app), "24");
    assert_eq!(observed(&proxy, "app.tenant_id"), ["1 foreign_tenant "], "nobody is acted for");
    app.simple("SELECT count(*) FROM order_tags").ok();
    assert_eq!(observed(&proxy, "public.order_tags"), ["1 relation "]);
    app.simple("SET deadlock_timeout = '2s'").refused("42501");
    app.simple("CREATE TEMP TABLE mine (a int); INSERT INTO mine VALUES (1)").ok();
    assert_eq!(app.simple("SELECT a FROM mine").ok().value(), "1", "it has a server connection of its own");
    assert_eq!(observed(&proxy, "CREATE TABLE"), none, "tenants may have temporary tables");

    // Whose rows they are is seen where the result has the tenant column.
    app.simple("SELECT id FROM customers").ok();
    app.simple("SELECT id, tenant_id FROM customers WHERE tenant_id = 2").ok();
    assert_eq!(observed(&proxy, "public.customers"), none);
    app.simple("SELECT id, tenant_id FROM customers").ok();
    assert_eq!(observed(&proxy, "public.customers"), ["1 foreign_tenant "], "rows of several tenants");
    app.simple("SET app.tenant_id = 'a'").ok();
    app.simple("SELECT * FROM customers WHERE tenant_id = 1").ok();
    assert_eq!(observed(&proxy, "public.customers").len(), 1);
    app.simple("SELECT tenant_id FROM customers WHERE tenant_id = 2").ok();
    assert_eq!(observed(&proxy, "public.customers").len(), 2, "of another tenant than the one that is named");
    assert!(observed(&proxy, "public.customers").contains(&"1 foreign_tenant a".to_owned()));

    // The same in the extended protocol, with values and rows in both formats.
    let before = observed(&proxy, "public.orders").len();
    app.extended("SELECT note, tenant_id FROM orders WHERE tenant_id = $1", &[Some("1")]).ok();
    assert_eq!(observed(&proxy, "public.orders").len(), before);
    app.extended("SELECT note, tenant_id FROM orders WHERE tenant_id <> $1", &[Some("1")]).ok();
    assert_eq!(observed(&proxy, "public.orders").len(), before + 1);
    let insert = "INSERT INTO customers (tenant_id, email, name) VALUES ($1, $2, 'n')";
    app.extended(insert, &[Some("1"), Some("mine@x.test")]).ok();
    assert_eq!(observed(&proxy, "tenant column"), none);
    app.extended(insert, &[Some("2"), Some("theirs@x.test")]).ok();
    assert_eq!(observed(&proxy, "tenant column"), ["1 foreign_tenant a"]);
    assert_eq!(count(&mut app), "26");

    // SET LOCAL lasts as long as its transaction, and a tenant that is none is told of.
    let named = || {
        observed(&proxy, "app.tenant_id")
            .iter()
            .map(|row| row.split(' ').next().unwrap().to_owned())
            .collect::<String>()
    };
    let before = named();
    app.extended("SELECT set_config('app.tenant_id', $1, true)", &[Some("b")]).ok();
    app.simple("BEGIN; SET LOCAL app.tenant_id = 'b'; SELECT tenant_id FROM customers WHERE tenant_id = 2; COMMIT")
        .ok();
    assert_eq!(named(), before);
    app.simple("SET app.tenant_id = 'nonesuch'").ok();
    assert_ne!(named(), before);

    // The trail has every statement; it and the console say what that login is, and so do the metrics of a scrape.
    let log = proxy.log();
    assert!(log.contains("login is OBSERVED: NOTHING is enforced for it"), "{log}");
    assert!(
        log.contains("event=\"observed\"")
            && log.contains("event=\"would_refuse\"")
            && !log.contains("event=\"operator\"")
    );
    let (_, clients) = psql(&console(&proxy).url(), "SHOW CLIENTS");
    assert!(clients.contains("|observed|watched|"), "{clients}");
    assert!(clients.contains("NOTHING is enforced for logins that are observed: \"watched\""), "{clients}");
}

/// A prepared statement whose columns are described before it is bound, with binary results.
#[test]
fn rows_of_prepared_statements_are_looked_at() {
    let proxy = start("op_observed_prepared");
    let mut app = Endpoint { user: "watched@a".to_owned(), ..proxy.login("watched") }.connect();
    let prepare = [
        message::parse("s", "SELECT id, tenant_id FROM orders WHERE tenant_id = $1", &[23]),
        message::describe('S', "s"),
        message::sync(),
    ];
    app.exchange(&prepare, 1).ok();
    let run = |app: &mut Session, tenant: i32| {
        let value = tenant.to_be_bytes();
        let bind = message::bind_raw("", "s", &[1], &[Some(&value[..])], &[1]);
        app.exchange(&[bind, message::execute("", 0), message::sync()], 1).ok().rows.len()
    };
    assert_eq!(run(&mut app, 1), 15);
    assert!(observed(&proxy, "public.orders").is_empty());
    assert_eq!(run(&mut app, 2), 15);
    assert_eq!(observed(&proxy, "public.orders"), ["1 foreign_tenant a"]);
}

/// Rows that UPDATE and DELETE touch and nothing shows: of the tenant's own nothing is told, of others each statement that touches
/// one, in both protocols, in transactions and through foreign keys.
#[test]
fn rows_that_are_written_unseen_are_asked_for() {
    let lab = Lab::general();
    lab.copy_of_shop("op_observed_writes");
    let tables = "\"public.order_tags\" = { through = \"order_id\" }".to_owned();
    let proxy = Proxy::start(lab, &Setup { tables, ..setup("op_observed_writes") });
    let mut app = Endpoint { user: "watched@a".to_owned(), ..proxy.login("watched") }.connect();
    let none: [&str; 0] = [];
    let total = |object: &str| {
        let counts =
            observed(&proxy, object).into_iter().map(|row| row.split(' ').next().unwrap().parse::<u32>().unwrap());
        counts.sum::<u32>()
    };

    // The tenant's own rows: named by the tenant column, or by what only its own rows are.
    let own = [
        "UPDATE orders SET note = 'x' WHERE tenant_id = 1",
        "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE tenant_id = 1) AND false",
        "UPDATE orders o SET note = note FROM customers c WHERE c.id = o.customer_id AND c.tenant_id = 1 AND o.tenant_id = c.tenant_id",
        "UPDATE order_tags SET tag = 'own_' || tag WHERE order_id IN (SELECT id FROM orders WHERE tenant_id = 1)",
    ];
    for sql in own {
        app.simple(sql).ok();
    }
    app.extended(
        "UPDATE orders SET note = $1 WHERE id = (SELECT min(id) FROM orders WHERE tenant_id = $2)",
        &[Some("y"), Some("1")],
    )
    .ok();
    app.extended("DELETE FROM orders WHERE tenant_id = $1 AND note = $2", &[Some("1"), Some("none such")]).ok();
    assert_eq!(observed(&proxy, "public.orders"), none);
    assert_eq!(observed(&proxy, "public.order_tags"), none);

    // Those of others, which are touched all the same.
    assert_eq!(app.simple("UPDATE orders SET note = 'all'").ok().tags, ["UPDATE 45"]);
    assert_eq!(observed(&proxy, "public.orders"), ["1 foreign_tenant a"]);
    app.simple("UPDATE orders SET note = 'theirs' WHERE tenant_id = 2").ok();
    assert_eq!(total("public.orders"), 2);
    app.simple("BEGIN; UPDATE orders SET note = 'x' WHERE id = (SELECT max(id) FROM orders WHERE tenant_id = 2) RETURNING id; COMMIT").ok();
    assert_eq!(total("public.orders"), 3);
    let sql = "UPDATE orders SET note = $1 WHERE id = (SELECT min(id) FROM orders WHERE tenant_id = $2)";
    app.extended(sql, &[Some("y"), Some("2")]).ok();
    app.extended(sql, &[Some("y"), Some("1")]).ok();
    assert_eq!(total("public.orders"), 4);
    app.simple("BEGIN").ok();
    app.extended("DELETE FROM order_tags WHERE order_id IN (SELECT id FROM orders WHERE tenant_id = $1)", &[Some("2")])
        .ok();
    assert_eq!(observed(&proxy, "public.order_tags"), ["1 foreign_tenant a"], "a table that belongs through a key");
    app.simple("ROLLBACK").ok();

    // A prepared statement with a parameter in binary.
    let prepare = [message::parse("w", "UPDATE orders SET note = 'b' WHERE tenant_id = $1", &[23]), message::sync()];
    app.exchange(&prepare, 1).ok();
    for (tenant, told) in [(1_i32, 4), (2, 5)] {
        let value = tenant.to_be_bytes();
        let bind = message::bind_raw("", "w", &[1], &[Some(&value[..])], &[]);
        assert_eq!(app.exchange(&[bind, message::execute("", 0), message::sync()], 1).ok().tags, ["UPDATE 15"]);
        assert_eq!(total("public.orders"), told);
    }

    // Rows that RETURNING shows are told of as they pass, once.
    app.simple("UPDATE orders SET note = 'r' RETURNING tenant_id").ok();
    assert_eq!(total("public.orders"), 6);

    // What cannot be told in time goes out all the same.
    app.simple("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").ok();
    assert_eq!(app.simple("DELETE FROM orders WHERE id < 0").ok().tags, ["DELETE 0"]);
    app.simple("ROLLBACK").ok();
    assert_eq!(total("public.orders"), 6);
}

/// Streams of COPY, both ways and in each format: they pass as they are, and rows of others in them are told of.
#[test]
fn rows_of_copy_are_looked_at() {
    let proxy = start("op_observed_copy");
    let mut app = Endpoint { user: "watched@a".to_owned(), ..proxy.login("watched") }.connect();
    let none: [&str; 0] = [];
    let rows = |app: &mut Session, sql: &str, data: &[u8]| {
        app.copy_in = CopyIn::Data(data.to_vec());
        app.simple(sql).ok().tags.join(",")
    };
    let text = "COPY customers (tenant_id, email, name) FROM STDIN";
    assert_eq!(rows(&mut app, text, b"1\tone@x.test\tn\n1\ttwo@x.test\tn\n"), "COPY 2");
    assert_eq!(observed(&proxy, "COPY"), none);
    assert_eq!(
        rows(&mut app, text, b"1\tthree@x.test\tn\n2\tfour@x.test\tn\n2\tfive@x.test\tn\n"),
        "COPY 3",
        "nothing is enforced"
    );
    assert_eq!(observed(&proxy, "COPY"), ["1 foreign_tenant a"], "once for a stream");
    let csv = "COPY public.customers (email, tenant_id, name) FROM STDIN WITH (FORMAT csv, HEADER)";
    assert_eq!(rows(&mut app, csv, b"email,tenant_id,name\nsix@x.test,1,n\n"), "COPY 1");
    assert_eq!(observed(&proxy, "COPY").concat(), "1 foreign_tenant a");
    assert_eq!(rows(&mut app, csv, b"email,tenant_id,name\n\"seven@x.test\",3,\"a\nb\"\n"), "COPY 1");
    assert_eq!(observed(&proxy, "COPY").concat(), "2 foreign_tenant a");
    // Without the column there is nothing to tell them by.
    app.simple("COPY customers (id, email) TO STDOUT").ok();
    app.simple("COPY (SELECT * FROM customers WHERE tenant_id = 1) TO STDOUT").ok();
    assert_eq!(observed(&proxy, "public.customers"), none);
    for (sql, count) in [
        ("COPY customers TO STDOUT", 1),
        ("COPY public.customers (email, tenant_id) TO STDOUT WITH (FORMAT csv, HEADER)", 2),
        ("COPY customers (email, tenant_id, name) TO STDOUT WITH (FORMAT binary)", 3),
    ] {
        let reply = app.simple(sql).ok();
        assert!(!reply.copy_out.is_empty() && reply.tags == ["COPY 31"], "{sql}: {}", reply.text());
        assert_eq!(observed(&proxy, "public.customers").concat(), format!("{count} foreign_tenant a"), "{sql}");
    }
}

/// Beside an observed login all others are guarded, also for the same texts, and get no server connection after it.
#[test]
fn nobody_else_is_less_guarded() {
    let lab = Lab::general();
    lab.copy_of_shop("op_observed_beside");
    lab.run(
        "op_observed_beside",
        "CREATE FUNCTION public.leave_path() RETURNS void LANGUAGE sql AS $$
            SELECT set_config('search_path', 'pg_temp, public', false), set_config('app.tenant_id', '2', false);
            CREATE TEMP TABLE customers AS TABLE public.customers $$;
         GRANT EXECUTE ON FUNCTION public.leave_path() TO PUBLIC",
    );
    let pool = r#"{ mode = "transaction", size = 2 }"#.to_owned();
    let proxy = Proxy::start(lab, &Setup { pool, ..setup("op_observed_beside") });
    let (mut app, mut guarded) = (proxy.login("watched").connect(), proxy.a().connect());
    let text = "SELECT id, tenant_id FROM customers";
    for _ in 0..3 {
        assert_eq!(app.extended(text, &[]).ok().rows.len(), 24);
        assert_eq!(guarded.extended(text, &[]).ok().rows.len(), 8);
        assert_eq!(app.simple(text).ok().rows.len(), 24);
        assert_eq!(guarded.simple(text).ok().rows.len(), 8);
    }
    guarded.simple("SELECT tag FROM order_tags").refused("42501");
    let pid = app.simple("SELECT pg_backend_pid()").ok().value();
    assert_eq!(app.simple("SELECT pg_backend_pid()").ok().value(), pid);
    app.simple("SELECT leave_path()").ok();
    drop(app);
    // Its server connection is closed, and never another's.
    proxy.wait_for("an end of the server connection", |_| superuser_count(lab, &pid) == "0");
    for _ in 0..4 {
        assert_eq!(proxy.a().connect().simple(text).ok().rows.len(), 8);
        assert_eq!(count(&mut guarded), "8");
    }
}

fn superuser_count(lab: &Lab, pid: &str) -> String {
    lab.superuser("postgres").simple(format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")).ok().value()
}

/// From observed to guarded: sessions that were not guarded end.
#[test]
fn the_login_is_guarded_from_a_reload_on() {
    let proxy = start("op_observed_switch");
    let mut app = proxy.login("watched").connect();
    assert_eq!(count(&mut app), "24");
    proxy.reload(|text| text.replace("role = \"observed\"", "role = \"tenant\"").replace("observe = true", ""));
    let reply = app.collect(1);
    assert_eq!(reply.sqlstate(), "57P01", "{}", reply.text());
    let mut app = Endpoint { user: "watched@a".to_owned(), ..proxy.login("watched") }.connect();
    assert_eq!(count(&mut app), "8");
    app.simple("SELECT tag FROM order_tags").refused("42501");
    // And a guarded session does not become an observed one: it ends.
    proxy.reload(|text| {
        let text = text.replace("[listen]\n", "[listen]\nobserve = true\n");
        text.replace(
            "name = \"watched\"\npassword = \"watched_pw\"\nrole = \"tenant\"",
            "name = \"watched\"\npassword = \"watched_pw\"\nrole = \"observed\"",
        )
    });
    let reply = app.collect(1);
    assert_eq!(reply.sqlstate(), "57P01", "{}", reply.text());
    assert_eq!(count(&mut proxy.login("watched").connect()), "24");
}

/// It takes two keys, and a proof of who it is.
#[test]
fn nothing_is_observed_by_accident() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgwarden.toml");
    let check = |change: &dyn Fn(String) -> String| {
        fs::write(&path, change(setup("shared").text(Lab::general(), 6432))).unwrap();
        let output = Command::new(program()).args(["check", "--config"]).arg(&path).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), said)
    };
    let (ok, said) = check(&|text| text);
    assert!(ok && said.contains("login \"watched\" is OBSERVED: NOTHING is enforced"), "{said}");
    assert!(said.contains("OBSERVED logins: 1; NOTHING is enforced for them"), "{said}");
    let (ok, said) = check(&|text| text.replace("observe = true", ""));
    assert!(!ok && said.contains("[listen] does not allow it"), "{said}");
    let (ok, said) = check(&|text| text.replace("role = \"observed\"\n", ""));
    assert!(ok && said.contains("all are guarded") && !said.contains("OBSERVED"), "{said}");
    let (ok, said) = check(&|text| text.replace("password = \"watched_pw\"", "auth = \"trust\""));
    assert!(!ok && said.contains("proves nothing"), "{said}");
    let (ok, said) = check(&|text| text.replace("\"observed\"", "\"observer\""));
    assert!(!ok && said.contains("no role of a login"), "{said}");
    let (ok, said) = check(&|text| format!("{text}\n[admin]\nlogins = [\"watched\"]\n"));
    assert!(!ok && said.contains("must not use the console"), "{said}");
}
