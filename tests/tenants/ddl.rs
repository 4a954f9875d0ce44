//! The database changes past pgwarden: what was decided by the old catalog is not what the names mean now. From the bound on,
//! nothing of others is shown.

use std::time::{Duration, Instant};

use crate::support::lab::Lab;
use crate::support::message::{bind, execute, parse, sync};
use crate::support::proxy::{Proxy, Setup, police};
use crate::support::session::Session;

/// `catalog_max_age` by default.
const BOUND: Duration = Duration::from_secs(1);
/// What stands for others' rows is looked for so much longer than they may be seen.
const BEYOND: Duration = Duration::from_millis(1_500);

/// Runs a statement of A again and again before and after a change, and gives the time after the change at which the last one was
/// sent that showed what is B's; none if none did.
#[track_caller]
fn shown_for(lab: &Lab, database: &str, change: &str, mut look: impl FnMut() -> String) -> Option<Duration> {
    let before = look();
    assert!(!before.contains("CANARY_"), "{before}");
    lab.run(database, change);
    let changed = Instant::now();
    let mut last = None;
    while changed.elapsed() < BOUND + BEYOND {
        let sent = changed.elapsed();
        if look().contains("CANARY_") {
            last = Some(sent);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{change}\n  was shown for {last:?}");
    last
}

#[track_caller]
fn bounded(lab: &Lab, database: &str, change: &str, look: impl FnMut() -> String) {
    let last = shown_for(lab, database, change, look);
    assert!(last.is_none_or(|last| last <= BOUND), "{change}: shown for {last:?}");
}

fn prepared(session: &mut Session, name: &str) -> String {
    session.exchange(&[bind("", name, &[], &[]), execute("", 0), sync()], 1).text()
}

const SCHEMA: &str = "
    CREATE TABLE plain (v text);
    INSERT INTO plain VALUES ('ALPHA');
    CREATE TABLE owned (tenant_id int, v text);
    INSERT INTO owned VALUES (1, 'ALPHA'), (2, 'CANARY_B_swapped');
    GRANT ALL ON plain, owned TO app_owner;
    CREATE TYPE boxed AS (v text);
    CREATE FUNCTION harvest() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT string_agg(v, '','') FROM owned'";

const SWAP: &str = "BEGIN; ALTER TABLE plain RENAME TO was_plain; ALTER TABLE owned RENAME TO plain; COMMIT";

fn setup(database: &str) -> Setup {
    // Nothing but looking finds it.
    let tenancy = "catalog_refresh = \"1h\"".to_owned();
    Setup { database: database.to_owned(), tenancy, ..Setup::default() }
}

/// `plain` is one of the tables that all may read.
fn shared(database: &str) -> (&'static Lab, Proxy) {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    lab.run(database, SCHEMA);
    let port = crate::support::proxy::free_port();
    let text = setup(database).text(lab, port);
    let text = text.replace("[\"public.countries\"]", "[\"public.countries\", \"public.plain\"]");
    (lab, Proxy::launch(&text, port))
}

#[test]
fn a_table_takes_anothers_name() {
    for how in ["Query", "Bind", "EXECUTE", "switching"] {
        let database = format!("ddl_swap_{}", how.to_lowercase());
        let (lab, proxy) = shared(&database);
        let end =
            |name: &str| crate::support::session::Endpoint::new(proxy.port, name, &format!("{name}_pw"), &database);
        let mut a = end(if how == "switching" { "app" } else { "tenant_a" }).connect();
        if how == "switching" {
            a.simple("SET app.tenant_id = 'a'").ok();
        }
        let sql = "SELECT v FROM plain";
        match how {
            "EXECUTE" => a.simple(format!("PREPARE known AS {sql}")).ok(),
            _ => a.exchange(&[parse("known", sql, &[]), sync()], 1).ok(),
        };
        bounded(lab, &database, SWAP, || match how {
            "Query" => a.simple(sql).text(),
            "EXECUTE" => a.simple("EXECUTE known").text(),
            _ => prepared(&mut a, "known"),
        });
        if how == "EXECUTE" {
            a.simple("EXECUTE known").refused("0A000");
            a.simple("DEALLOCATE ALL").ok();
        }
        // It is a table of tenants now, or none that may be read.
        let reply = a.simple(sql).text();
        assert!(!reply.contains("CANARY_"), "{reply}");
    }
}

/// Where the database tells of DDL, nobody has to look for it.
#[test]
fn an_event_trigger_tells_at_once() {
    let database = "ddl_told";
    let lab = Lab::general();
    lab.copy_of_shop(database);
    lab.run(database, SCHEMA);
    let printed = std::process::Command::new(crate::support::proxy::program()).arg("ddl-trigger").output().unwrap();
    assert!(printed.status.success());
    lab.run(database, &String::from_utf8(printed.stdout).unwrap());
    let port = crate::support::proxy::free_port();
    let never = "catalog_refresh = \"1h\"\ncatalog_max_age = \"1h\"".to_owned();
    let text = Setup { tenancy: never, ..setup(database) }.text(lab, port);
    let proxy =
        Proxy::launch(&text.replace("[\"public.countries\"]", "[\"public.countries\", \"public.plain\"]"), port);
    let mut a = crate::support::session::Endpoint::new(proxy.port, "tenant_a", "tenant_a_pw", database).connect();
    a.simple("SELECT v FROM plain").ok();
    let mut superuser = lab.superuser(database);
    let listens = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'pgwarden catalog' AND state = 'idle'";
    while superuser.simple(listens).ok().value() == "0" {
        std::thread::sleep(Duration::from_millis(20));
    }
    bounded(lab, database, SWAP, || a.simple("SELECT v FROM plain").text());
}

#[test]
fn a_function_an_operator_or_a_cast_comes_between() {
    let (lab, proxy) = shared("ddl_overload");
    let mut a = crate::support::session::Endpoint::new(proxy.port, "tenant_a", "tenant_a_pw", "ddl_overload").connect();
    for (sql, change) in [
        (
            "SELECT upper('x'::varchar(9))",
            "CREATE FUNCTION public.upper(varchar) RETURNS text LANGUAGE sql AS 'SELECT public.harvest()'",
        ),
        (
            "SELECT 'x'::varchar(9) %> 'y'::varchar(9)",
            "CREATE FUNCTION public.glue(varchar, varchar) RETURNS text LANGUAGE sql AS 'SELECT public.harvest()';
             CREATE OPERATOR public.%> (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = public.glue)",
        ),
        (
            "SELECT ('x'::text)::boxed",
            "CREATE FUNCTION public.box(text) RETURNS boxed LANGUAGE sql AS 'SELECT ROW(public.harvest())::public.boxed';
             CREATE CAST (text AS boxed) WITH FUNCTION public.box(text)",
        ),
    ] {
        bounded(lab, "ddl_overload", change, || a.simple(sql).text());
        a.simple(sql).refused("42501");
    }
}

#[test]
fn a_view_no_longer_goes_by_who_asks() {
    let lab = Lab::general();
    lab.copy_of_shop("ddl_view");
    let view = "CREATE OR REPLACE VIEW names WITH (security_invoker = true) AS SELECT tenant_id, name FROM customers";
    if lab.superuser("postgres").simple("SHOW server_version_num").value().parse::<u32>().unwrap() < 150_000 {
        return;
    }
    lab.run("ddl_view", &format!("{view}; GRANT SELECT ON names TO app_owner"));
    police(lab, "ddl_view");
    let setup = Setup {
        upstream: "enforcement = \"rls\"".to_owned(),
        tables: "\"public.names\" = {}".to_owned(),
        ..setup("ddl_view")
    };
    let proxy = Proxy::start(lab, &setup);
    let mut a = proxy.a().connect();
    bounded(lab, "ddl_view", &view.replace("true", "false"), || a.simple("SELECT name FROM names").text());
    bounded(lab, "ddl_view", "ALTER TABLE customers NO FORCE ROW LEVEL SECURITY", || {
        a.simple("SELECT name FROM customers").text()
    });
}

/// The bound holds where the database cannot be looked at: statements wait and then fail.
#[test]
fn what_cannot_be_looked_at_is_not_decided() {
    let (lab, proxy) = shared("ddl_blind");
    let mut a = crate::support::session::Endpoint::new(proxy.port, "tenant_a", "tenant_a_pw", "ddl_blind").connect();
    a.simple("SELECT v FROM plain").ok();
    lab.run("postgres", "ALTER DATABASE ddl_blind CONNECTION LIMIT 1");
    lab.run("postgres", "ALTER DATABASE ddl_blind ALLOW_CONNECTIONS false");
    lab.run(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = 'ddl_blind' AND application_name = 'pgwarden catalog'",
    );
    std::thread::sleep(BOUND + Duration::from_millis(100));
    // The connection that it has is alive.
    let reply = a.simple("SELECT v FROM plain");
    assert!(reply.sqlstate().starts_with("08") || reply.sqlstate().starts_with("5"), "{}", reply.text());
    assert!(!reply.text().contains("ALPHA"), "{}", reply.text());
    lab.run("postgres", "ALTER DATABASE ddl_blind ALLOW_CONNECTIONS true CONNECTION LIMIT -1");
    a.simple("SELECT v FROM plain").ok();
}
