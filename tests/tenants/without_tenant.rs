//! `without_tenant`: functions that tell whose a log-in is, for sessions that act for no tenant yet.

use pgwarden::test_cluster::Cluster;

use crate::support::lab::Lab;
use crate::support::message::{bind, execute, parse, sync};
use crate::support::proxy::{Proxy, free_port};
use crate::support::session::Endpoint;

/// `find_login` is one that Postgres puts into the query that calls it; `first_login` it does not.
const SCHEMA: &str = "CREATE TABLE members (tenant_id int NOT NULL, email text NOT NULL, hash text NOT NULL, UNIQUE (tenant_id, email));
    INSERT INTO members VALUES (1, 'ann@a', 'hash of ann'), (2, 'bob@b', 'hash of bob'), (2, 'zoe@b', 'hash of zoe');
    CREATE FUNCTION find_login(asked text) RETURNS TABLE (tenant text, email text, hash text) LANGUAGE sql STABLE
        AS 'SELECT CASE m.tenant_id WHEN 1 THEN ''a'' ELSE ''b'' END, m.email, m.hash FROM members m WHERE m.email = asked';
    CREATE FUNCTION first_login() RETURNS members LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public
        AS 'BEGIN RETURN (SELECT m FROM members m ORDER BY 1 LIMIT 1); END';
    CREATE FUNCTION of_row(m members) RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN m.hash; END';
    CREATE FUNCTION writes(asked text) RETURNS int LANGUAGE plpgsql STABLE
        AS 'BEGIN UPDATE members SET hash = asked; RETURN 1; END';
    CREATE FUNCTION loud() RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';
    CREATE FUNCTION turns(asked text) RETURNS text LANGUAGE sql STABLE AS 'SELECT set_config(''app.tenant_id'', asked, false)';";

fn config(port: u16, database: &str, functions: &str) -> String {
    format!(
        "[listen]\naddress = \"127.0.0.1:{port}\"\n[upstream.main]\nurl = \"postgres://{}@127.0.0.1:{}/{database}\"\npassword = \"{}\"\n\
         [tenancy]\nupstream = \"main\"\ncolumn = \"tenant_id\"\nwithout_tenant = {{ functions = [{functions}] }}\n\
         [[tenant]]\nname = \"a\"\nkey = 1\n[[tenant]]\nname = \"b\"\nkey = 2\n\
         [[login]]\nname = \"app\"\npassword = \"secret\"\ntenants = \"*\"\n[[login]]\nname = \"one\"\npassword = \"secret\"\ntenants = [\"a\"]\n",
        Cluster::SUPERUSER,
        Lab::general().cluster.port(),
        Lab::general().cluster.password(),
    )
}

fn start(database: &str) -> (Proxy, impl Fn(&str) -> Endpoint) {
    let lab = Lab::general();
    lab.create(database, None);
    lab.run(database, SCHEMA);
    let port = free_port();
    let functions = "\"public.find_login\", \"public.first_login\", \"public.of_row\", \"public.writes\"";
    let proxy = Proxy::launch(&config(port, database, functions), port);
    let database = database.to_owned();
    (proxy, move |login: &str| Endpoint::new(port, login, "secret", &database))
}

#[test]
fn a_session_finds_its_tenant_and_acts_for_it() {
    let (_proxy, end) = start("without_tenant");
    let mut app = end("app").connect();
    for _ in 0..3 {
        let found = app.extended("SELECT tenant, hash FROM find_login($1)", &[Some("bob@b")]).ok().texts();
        assert_eq!(found, [["b", "hash of bob"]]);
        app.simple(format!("SET app.tenant_id = '{}'", found[0][0])).ok();
        assert_eq!(app.simple("SELECT count(*) FROM members").ok().value(), "2");
        app.simple("RESET app.tenant_id").ok();
    }
    // In a transaction, before it names the tenant
    app.simple("BEGIN").ok();
    assert_eq!(app.simple("SELECT tenant FROM public.find_login('ann@a')").ok().value(), "a");
    app.simple("SET LOCAL app.tenant_id = 'a'").ok();
    assert_eq!(app.simple("SELECT min(email) FROM members").ok().value(), "ann@a");
    app.simple("SELECT tenant FROM find_login('bob@b')").refused("42501");
    app.simple("ROLLBACK").ok();
    assert_eq!(app.simple("SELECT count(*) FROM find_login('nobody')").ok().value(), "0");
}

#[test]
fn nobody_else_calls_them() {
    let (_proxy, end) = start("without_tenant_others");
    let mut one = end("one").connect();
    let mut app = end("app").connect();
    app.simple("SET app.tenant_id = 'a'").ok();
    for sql in [
        "SELECT tenant FROM find_login('bob@b')",
        "SELECT (find_login('bob@b')).hash",
        "SELECT email, (SELECT hash FROM find_login('bob@b')) FROM members",
        "SELECT m.email FROM members m, LATERAL find_login('bob@b')",
        "SELECT (first_login()).hash",
        "SELECT of_row(m) FROM members m",
        "SELECT m.of_row FROM members m",
        "SELECT (m).of_row FROM members m",
        "EXPLAIN SELECT find_login('bob@b')",
        "COPY (SELECT find_login('bob@b')) TO STDOUT",
        "PREPARE p AS SELECT find_login('bob@b')",
        "DECLARE c CURSOR WITH HOLD FOR SELECT find_login('bob@b')",
        "INSERT INTO members SELECT 1, email, hash FROM find_login('bob@b')",
        "UPDATE members SET hash = (SELECT hash FROM find_login('bob@b'))",
    ] {
        for session in [&mut one, &mut app] {
            for reply in [session.simple(sql), session.extended(sql, &[])] {
                assert_eq!(reply.sqlstate(), "42501", "{sql}: {}", reply.text());
            }
        }
    }
    // Prepared before there was a tenant
    let mut app = end("app").connect();
    app.exchange(&[parse("look", "SELECT hash FROM find_login($1)", &[]), sync()], 1).ok();
    let run = [bind("", "look", &[Some("bob@b")], &[]), execute("", 0), sync()];
    assert_eq!(app.exchange(&run, 1).ok().value(), "hash of bob");
    app.simple("SET app.tenant_id = 'a'").ok();
    app.exchange(&run, 1).refused("42501");
    app.simple("RESET app.tenant_id").ok();
    assert_eq!(app.exchange(&run, 1).ok().value(), "hash of bob");
}

#[test]
fn a_session_without_a_tenant_does_nothing_else_with_them() {
    let (_proxy, end) = start("without_tenant_only");
    let mut app = end("app").connect();
    for (sql, code) in [
        ("SELECT hash FROM members", "28000"),
        ("SELECT m.hash FROM find_login('bob@b') f JOIN members m ON m.email = f.email", "28000"),
        ("SELECT hash FROM members WHERE email = (SELECT email FROM find_login('bob@b'))", "28000"),
        ("SELECT of_row(m) FROM members m", "28000"),
        ("INSERT INTO members SELECT 1, email, hash FROM find_login('bob@b')", "28000"),
        ("COPY (SELECT find_login('bob@b')) TO STDOUT", "28000"),
        ("PREPARE p AS SELECT find_login('bob@b')", "42501"),
        ("EXPLAIN ANALYZE SELECT find_login('bob@b')", "42501"),
        // Declared STABLE, it writes nothing.
        ("SELECT writes('x')", "0A000"),
        // Not listed
        ("SELECT loud()", "42501"),
        ("SELECT turns('2')", "42501"),
    ] {
        let reply = app.simple(sql);
        assert_eq!(reply.sqlstate(), code, "{sql}: {}", reply.text());
    }
    // The planner puts the function's own query in its place: no condition runs on the rows that it leaves out.
    for sql in [
        "SELECT 1 FROM find_login('ann@a') f WHERE f.hash::int = 1",
        "SELECT 1 FROM find_login('ann@a') f WHERE 1 / (length(f.email) - length('bob@b')) > 0 AND f.hash::int = 1",
        "SELECT (f.hash::int) FROM find_login('ann@a') f",
    ] {
        let text = app.simple(sql).text();
        assert!(!text.contains("bob") && !text.contains("zoe"), "{sql}: {text}");
    }
    assert_eq!(app.simple("SELECT count(*) FROM find_login('bob@b')").ok().value(), "1");
}

#[test]
fn what_could_write_or_change_the_tenant_is_not_taken() {
    let lab = Lab::general();
    let database = "without_tenant_checked";
    lab.create(database, None);
    lab.run(database, SCHEMA);
    let port = free_port();
    let functions = "\"public.loud\", \"public.turns\", \"public.nosuch\", \"public.find_login\"";
    let proxy = Proxy::launch(&config(port, database, functions), port);
    let mut app = Endpoint::new(port, "app", "secret", database).connect();
    app.simple("SELECT loud()").refused("42501");
    app.simple("SELECT turns('2')").refused("42501");
    app.simple("SELECT nosuch()").refused("42883");
    assert_eq!(app.simple("SELECT tenant FROM find_login('ann@a')").ok().value(), "a");
    let log = proxy.log();
    for said in
        ["public.loud, which is VOLATILE", "public.turns, which sets or resets", "public.nosuch, which does not exist"]
    {
        assert!(log.contains(said), "{said}: {log}");
    }
}
