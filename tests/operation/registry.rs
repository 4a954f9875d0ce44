//! Tenants from a table, and by pattern.

use std::time::{Duration, Instant};

use super::{CONSOLE, console, psql};
use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup};
use crate::support::session::{Endpoint, Session};

const TABLE: &str = "CREATE TABLE public.pgwarden_tenants (
        name text, key text, keys jsonb, layout text DEFAULT 'shared', schema text, role text, upstream text,
        database text, suspended boolean DEFAULT false);
    GRANT ALL ON public.pgwarden_tenants TO app_owner;
    CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY pgwarden_tenants; RETURN NULL; END $$;
    CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON public.pgwarden_tenants FOR EACH STATEMENT EXECUTE FUNCTION public.tell();";

/// Keys for the tables that ask for others than the default.
fn keys(name: &str) -> String {
    let uuid = match name {
        "a" => "00000000-0000-4000-8000-00000000000a".to_owned(),
        _ => {
            let hex: String = name.bytes().rev().take(6).map(|byte| format!("{byte:02x}")).collect();
            format!("cccccccc-0000-4000-8000-{hex:0>12}")
        }
    };
    format!("{{\"uuid\": \"{uuid}\", \"account\": \"acc_{name}\"}}")
}

const SOURCE: &str = "
[tenants_from]
query = \"SELECT * FROM public.pgwarden_tenants\"
channel = \"pgwarden_tenants\"
interval = \"2s\"
[[login]]
name = \"all\"
password = \"all_pw\"
tenants = \"*\"
";

fn start(database: &'static str, rows: &str) -> Proxy {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    lab.run(database, TABLE);
    lab.run(database, rows);
    let more = [CONSOLE, SOURCE].concat();
    let proxy = Proxy::start(lab, &Setup { database: database.to_owned(), more, ..Setup::default() });
    // With very many of them, on a busy machine, without optimisation.
    let started = Instant::now();
    while !proxy.log().contains("tenants read from their table") {
        assert!(started.elapsed() < Duration::from_secs(120), "the table is not read in time");
        std::thread::sleep(Duration::from_millis(20));
    }
    proxy
}

fn tenant(proxy: &Proxy, name: &str) -> Endpoint {
    Endpoint { user: format!("all@{name}"), password: "all_pw".to_owned(), ..proxy.login("all") }
}

fn count(session: &mut Session) -> String {
    session.simple("SELECT count(*) FROM customers").ok().value()
}

fn insert(name: &str, key: &str) -> String {
    format!("INSERT INTO public.pgwarden_tenants (name, key, keys) VALUES ('{name}', '{key}', '{}');", keys(name))
}

/// Connects as soon as the tenant is known.
#[track_caller]
fn soon(proxy: &Proxy, name: &str) -> Session {
    let started = Instant::now();
    loop {
        let (session, reply) = tenant(proxy, name).try_connect();
        if reply.errors.is_empty() {
            return session;
        }
        assert!(started.elapsed() < Duration::from_secs(15), "{}", reply.text());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn tenants_come_and_go_with_their_rows() {
    let database = "op_table";
    let proxy = start(database, &insert("carol", "77"));
    let lab = Lab::general();
    // One that is there, one that comes, those of the file beside them.
    let mut carol = tenant(&proxy, "carol").connect();
    assert_eq!(count(&mut carol), "0");
    carol.simple("INSERT INTO customers (id, name, email) VALUES (900001, 'of carol', 'c@x')").ok();
    assert_eq!(count(&mut carol), "1");
    let mut a = proxy.a().connect();
    let of_a = count(&mut a);
    tenant(&proxy, "dave").try_connect().1.refused("28000");
    lab.run(database, &insert("dave", "78"));
    let mut dave = soon(&proxy, "dave");
    assert_eq!(count(&mut dave), "0");
    // Suspended: in a transaction it may end that, then the session ends.
    dave.simple("BEGIN; SELECT 1").ok();
    lab.run(database, "UPDATE public.pgwarden_tenants SET suspended = true WHERE name = 'dave'");
    proxy.wait_for("refusal", |proxy| !tenant(proxy, "dave").try_connect().1.errors.is_empty());
    dave.simple("SELECT 2").ok();
    let reply = dave.simple("COMMIT");
    assert_eq!(reply.tags, ["COMMIT"], "{}", reply.text());
    let end = if reply.errors.is_empty() { dave.collect(1) } else { reply };
    assert_eq!(end.sqlstate(), "28000", "{}", end.text());
    assert!(end.text().contains("\"dave\" is suspended"), "{}", end.text());
    // Deleted: an idle session ends by itself. The others go on.
    lab.run(database, "DELETE FROM public.pgwarden_tenants WHERE name = 'carol'");
    let end = carol.collect(1);
    assert_eq!((end.sqlstate(), end.closed), ("28000", true), "{}", end.text());
    tenant(&proxy, "carol").try_connect().1.refused("28000");
    assert_eq!(count(&mut a), of_a);
    // A reload counts those of the table too, and pgwarden's own tables are nothing to warn of.
    proxy.reload(|text| text);
    let log = proxy.log();
    let line = log.lines().rfind(|line| line.contains("configuration reloaded")).unwrap();
    let file = std::fs::read_to_string(proxy.config()).unwrap().matches("[[tenant]]").count();
    let (_, rows) = psql(&console(&proxy).url(), "SHOW TENANTS");
    assert!(rows.lines().count() > file, "{rows}");
    assert!(line.contains(&format!("tenants={}", rows.lines().count())), "{line}\n{rows}");
    assert!(!log.contains("public.pgwarden_tenants has no tenant column"), "{log}");
}

#[test]
fn a_bad_row_leaves_its_tenant_out_and_no_other() {
    let database = "op_table_bad";
    let rows = [
        insert("good", "77"),
        insert("nonumber", "seven"),
        insert("twin1", "80"),
        insert("twin2", "080"),
        insert("thief", "1"),
        insert("a", "81"),
        insert("bad name", "82"),
        "INSERT INTO public.pgwarden_tenants (name, layout, key) VALUES ('odd', 'cloud', '83'), ('nokeys', 'shared', '84');".to_owned(),
    ];
    let proxy = start(database, &rows.concat());
    count(&mut tenant(&proxy, "good").connect());
    for out in ["twin1", "twin2", "thief", "odd", "nokeys"] {
        let (_, reply) = tenant(&proxy, out).try_connect();
        assert_eq!(reply.sqlstate(), "28000", "{out}: {}", reply.text());
    }
    let (_, reply) = tenant(&proxy, "nonumber").try_connect();
    assert!(reply.text().contains("does not fit"), "{}", reply.text());
    // The file's a is what it was.
    assert_ne!(count(&mut proxy.a().connect()), "0");
    let (_, rejected) = psql(&console(&proxy).url(), "SHOW REJECTED");
    for (name, why) in [
        ("twin1", "same key"),
        ("twin2", "same key"),
        ("thief", "same key"),
        ("a", "the file"),
        ("bad name", "no name"),
        ("odd", "no layout"),
        ("nokeys", "no key"),
        ("nonumber", "no pg_catalog.int"),
    ] {
        let line = rejected.lines().find(|line| line.starts_with(&format!("{name}|")));
        assert!(line.is_some_and(|line| line.contains(why)), "{name}: {why}\n{rejected}");
    }
    let log = proxy.log();
    assert!(log.contains("left out") && log.contains("tenant=\"odd\""), "{log}");
    // What is mended is in.
    Lab::general().run(database, "UPDATE public.pgwarden_tenants SET key = '90' WHERE name = 'twin2'");
    soon(&proxy, "twin2");
    soon(&proxy, "twin1");
}

/// Tenants of the other layouts, and that they are closed when they go.
#[test]
fn rows_lead_to_schemas_and_databases() {
    let database = "op_table_layouts";
    let rows = "INSERT INTO public.pgwarden_tenants (name, layout, schema, role, upstream) VALUES
            ('schemed', 'schema', 't_c', NULL, 'schemas');
        INSERT INTO public.pgwarden_tenants (name, layout, database) VALUES ('based', 'database', 'op_table_based')";
    Lab::general().run("schemas", "CREATE SCHEMA IF NOT EXISTS t_c; GRANT ALL ON SCHEMA t_c TO spt_pool");
    Lab::general().copy_of_shop("op_table_based");
    let proxy = start(database, rows);
    let mut schemed = tenant(&proxy, "schemed").connect();
    assert_eq!(schemed.simple("SELECT current_schema()").ok().value(), "t_c");
    schemed.simple("SELECT * FROM t_a.customers").refused("42501");
    let mut based = tenant(&proxy, "based").connect();
    assert_eq!(based.simple("SELECT current_database()").ok().value(), "op_table_based");
    Lab::general().run(database, "DELETE FROM public.pgwarden_tenants");
    let end = based.collect(1);
    assert_eq!(end.sqlstate(), "28000", "{}", end.text());
    proxy.wait_for("end of its pool", |proxy| !psql(&console(proxy).url(), "SHOW POOLS").1.contains("op_table_based"));
}

/// The server of the table gone in mid-flight: nothing is open that was shut, and nothing shut that was open.
#[test]
fn without_its_upstream_what_is_known_stays() {
    let lab = Lab::general();
    lab.create("op_table_server", None);
    lab.run("op_table_server", TABLE);
    lab.run("op_table_server", &[insert("carol", "77"), insert("shut", "78")].concat());
    lab.run("op_table_server", "UPDATE pgwarden_tenants SET suspended = true WHERE name = 'shut'");
    lab.copy_of_shop("op_table_gone");
    let port = lab.cluster.port();
    let upstream = format!(
        "[upstream.registry]\nurl = \"postgres://app_owner:app_owner_pw@127.0.0.1:{port}/op_table_server\"\n{}",
        SOURCE.replace("[tenants_from]\n", "[tenants_from]\nupstream = \"registry\"\n")
    );
    let setup = Setup { database: "op_table_gone".to_owned(), more: [CONSOLE, &upstream].concat(), ..Setup::default() };
    let proxy = Proxy::start(lab, &setup);
    let mut carol = soon(&proxy, "carol");
    carol.simple("BEGIN; SELECT 1").ok();
    lab.run(
        "postgres",
        "ALTER DATABASE op_table_server ALLOW_CONNECTIONS false;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'op_table_server'",
    );
    proxy.wait_for("complaint", |proxy| proxy.log().contains("the tenants known so far stay in force"));
    assert_eq!(count(&mut carol), "0");
    carol.simple("COMMIT").ok();
    count(&mut tenant(&proxy, "carol").connect());
    count(&mut proxy.a().connect());
    for out in ["shut", "dave"] {
        let (_, reply) = tenant(&proxy, out).try_connect();
        reply.refused("28000");
    }
    // A reload without the table keeps to what is known, too.
    proxy.reload(|text| text);
    count(&mut carol);
    tenant(&proxy, "shut").try_connect().1.refused("28000");
    lab.run("postgres", "ALTER DATABASE op_table_server ALLOW_CONNECTIONS true");
    lab.run(
        "op_table_server",
        "DELETE FROM pgwarden_tenants WHERE name = 'carol'; UPDATE pgwarden_tenants SET suspended = false",
    );
    soon(&proxy, "shut");
    let end = carol.collect(1);
    assert_eq!((end.sqlstate(), end.closed), ("28000", true), "{}", end.text());
}

#[test]
fn without_the_table_what_is_known_stays() {
    let database = "op_table_away";
    let proxy = start(database, &insert("carol", "77"));
    let lab = Lab::general();
    lab.run(database, "ALTER TABLE public.pgwarden_tenants RENAME TO elsewhere");
    proxy.wait_for("complaint", |proxy| proxy.log().contains("the tenants known so far stay in force"));
    count(&mut tenant(&proxy, "carol").connect());
    let (_, said) = psql(&console(&proxy).url(), "SHOW REGISTRY");
    assert!(said.lines().any(|line| line.contains("|stale|1|0|") && line.contains("42P01")), "{said}");
    lab.run(database, "ALTER TABLE public.elsewhere RENAME TO pgwarden_tenants");
    lab.run(database, &insert("dave", "78"));
    soon(&proxy, "dave");
    let (_, said) = psql(&console(&proxy).url(), "SHOW REGISTRY");
    assert!(said.lines().any(|line| line.contains("|loaded|2|0|")), "{said}");
    // A query that gives something else is as good as none.
    proxy.reload(|text| text.replace("SELECT * FROM public", "SELECT *, 1 AS colour FROM public"));
    proxy.wait_for("complaint", |proxy| proxy.log().contains("\\\"colour\\\"") || proxy.log().contains("\"colour\""));
    count(&mut tenant(&proxy, "dave").connect());
    // No table is wanted any more: its tenants go, the file's stay.
    let mut dave = tenant(&proxy, "dave").connect();
    proxy.reload(|text| {
        let start = text.find("[tenants_from]").unwrap();
        let end = start + text[start..].find("[[login]]").unwrap();
        format!("{}{}", &text[..start], &text[end..])
    });
    dave.collect(1).refused("28000");
    count(&mut proxy.a().connect());
}

/// While 100,000 tenants are read again and again, a session's statements do not stand still.
#[test]
fn a_hundred_thousand_tenants_are_no_pause() {
    let database = "op_table_many";
    let many = format!(
        "INSERT INTO public.pgwarden_tenants (name, key, keys) SELECT 't' || i, i::text,
            jsonb_build_object('uuid', gen_random_uuid(), 'account', 'acc' || i) FROM generate_series(1000, 100999) i;{}",
        insert("carol", "77")
    );
    let proxy = start(database, &many);
    let mut carol = tenant(&proxy, "carol").connect();
    let mut a = proxy.a().connect();
    a.simple("SELECT 1").ok();
    let before = proxy.log().matches("tenants changed").count();
    let (mut longest, mut statements) = (Duration::ZERO, 0);
    Lab::general().run(database, "UPDATE public.pgwarden_tenants SET suspended = true WHERE name = 't5000'");
    let started = Instant::now();
    while proxy.log().matches("tenants changed").count() == before {
        assert!(started.elapsed() < Duration::from_secs(150));
        let at = Instant::now();
        a.simple("SELECT 1").ok();
        longest = longest.max(at.elapsed());
        statements += 1;
    }
    println!("{statements} statements in {:?}, the longest {longest:?}", started.elapsed());
    assert!(statements > 10, "{statements} statements while the tenants were read");
    count(&mut carol);
    tenant(&proxy, "t5000").try_connect().1.refused("28000");
    soon(&proxy, "t77777");
    assert!(psql(&console(&proxy).url(), "SHOW REGISTRY").1.contains("|loaded|100001|0|"));
}

#[test]
fn patterns_make_tenants_of_names() {
    let lab = Lab::general();
    lab.copy_of_shop("op_pattern");
    lab.copy_of_shop("op_pattern_db_x1");
    lab.run("schemas", "CREATE SCHEMA IF NOT EXISTS pt_x1; GRANT ALL ON SCHEMA pt_x1 TO spt_pool");
    let pattern = |lines: &str| {
        let more = format!(
            "{CONSOLE}[[login]]\nname = \"all\"\npassword = \"all_pw\"\ntenants = \"*\"\n\n[tenancy.pattern]\n{lines}\n"
        );
        Proxy::start(lab, &Setup { database: "op_pattern".to_owned(), more, ..Setup::default() })
    };
    let proxy = pattern("schema = \"pt_{name}\"\nupstream = \"schemas\"");
    let mut x1 = tenant(&proxy, "x1").connect();
    assert_eq!(x1.simple("SELECT current_schema()").ok().value(), "pt_x1");
    x1.simple("SELECT * FROM t_a.customers").refused("42501");
    // By the database's name too.
    Endpoint { database: "x1".to_owned(), password: "all_pw".to_owned(), ..proxy.login("all") }.connect();
    let unknown = |proxy: &Proxy, name: &str| {
        let (_, reply) = tenant(proxy, name).try_connect();
        assert_eq!(reply.sqlstate(), "28000", "{name}: {}", reply.text());
        let told = format!("login \"all\" may not act for tenant \"{name}\"");
        assert_eq!(reply.errors[0][&'M'], told, "{name}");
    };
    for name in ["x2", "x1; DROP", "x1\"", "../x1", "", "pgwarden.x", &"x".repeat(61)] {
        unknown(&proxy, name);
    }
    // Not for logins that list their tenants.
    let (_, reply) = Endpoint { user: "app@x1".to_owned(), ..proxy.login("app") }.try_connect();
    reply.refused("28000");
    drop(proxy);
    let proxy = pattern("database = \"op_pattern_db_{name}\"");
    let mut x1 = tenant(&proxy, "x1").connect();
    assert_eq!(x1.simple("SELECT current_database()").ok().value(), "op_pattern_db_x1");
    unknown(&proxy, "x2");
    unknown(&proxy, "x2");
    let (_, pools) = psql(&console(&proxy).url(), "SHOW POOLS");
    assert!(!pools.contains("op_pattern_db_x2"), "{pools}");
    drop(proxy);
    // Another's key is not to be had by name.
    let keys = "key = \"{name}\"";
    let lab_tables = |text: String| {
        let start = text.find("[tenancy.tables]").unwrap();
        let end = start + text[start..].find("[[tenant]]").unwrap();
        format!("{}{}", &text[..start], &text[end..])
    };
    let proxy = pattern("database = \"op_pattern_db_{name}\"");
    proxy.reload(|text| lab_tables(text).replace("database = \"op_pattern_db_{name}\"", keys));
    let mut new = tenant(&proxy, "4711").connect();
    assert_eq!(count(&mut new), "0");
    for name in ["1", "01", "2", "x"] {
        unknown(&proxy, name);
    }
}

/// pgwarden that was started just now, with the tenants' table read by this query.
fn at_once(database: &'static str, query: &str) -> (Proxy, Instant) {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    lab.run(database, TABLE);
    lab.run(database, &insert("carol", "77"));
    let more = SOURCE.replace("SELECT * FROM public.pgwarden_tenants", query);
    let begun = Instant::now();
    (Proxy::start(lab, &Setup { database: database.to_owned(), more, ..Setup::default() }), begun)
}

/// Nobody is served before the table was read once, or could not be.
#[test]
fn the_first_client_finds_the_tables_tenants() {
    let (proxy, _) = at_once("op_first", "SELECT t.* FROM public.pgwarden_tenants t, pg_sleep(1)");
    tenant(&proxy, "carol").connect();
    let log = proxy.log();
    let at = |words: &str| log.find(words).unwrap_or_else(|| panic!("no {words}: {log}"));
    assert!(at("tenants read from their table") < at("pgwarden is ready"), "{log}");
}

#[test]
fn a_table_that_cannot_be_read_keeps_nobody_waiting() {
    let (proxy, begun) = at_once("op_unread", "SELECT * FROM public.nonesuch");
    proxy.a().connect();
    assert!(begun.elapsed() < Duration::from_secs(9), "as long as for one that is slow");
    assert!(proxy.log().contains("only the file's tenants are served until it can"), "{}", proxy.log());
    tenant(&proxy, "carol").try_connect().1.refused("28000");
}

#[test]
fn a_table_that_is_slow_does_not_keep_the_files_tenants_waiting_for_ever() {
    let (proxy, begun) = at_once("op_slow", "SELECT t.* FROM public.pgwarden_tenants t, pg_sleep(60)");
    proxy.wait_for("service", |proxy| proxy.log().contains("pgwarden is ready"));
    assert!(begun.elapsed() < Duration::from_secs(30));
    proxy.a().connect();
    assert!(proxy.log().contains("the tenants' table has not been read in time"), "{}", proxy.log());
    tenant(&proxy, "carol").try_connect().1.refused("28000");
}
