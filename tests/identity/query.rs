//! Logins that are not in the file: the auth query.

use std::sync::Once;
use std::time::{Duration, Instant};

use pgwarden::auth::ScramVerifier;

use super::*;
use crate::support::lab::block_on;
use crate::support::proxy::{Setup as Fixture, tool};
use crate::support::reply::Reply;
use crate::support::session::{Endpoint, Session};

/// The file's logins: one of them stands in the table too, with other rights.
const LOGINS: &str = "[[login]]\nname = \"app\"\npassword = \"app_pw\"\ntenants = [\"a\"]\n";

/// A table, and a function that reads it for a role that may do nothing else. Look-ups take as long as `pause` says.
const SCHEMA: &str = "
CREATE TABLE logins (name text, password text, valid_until timestamptz, tenants text[], allow_from text[], role text);
CREATE TABLE pause (seconds float8 NOT NULL);
INSERT INTO pause VALUES (0);
CREATE FUNCTION pgwarden_login(asked text) RETURNS SETOF logins LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    AS 'SELECT pg_sleep(seconds) FROM pause WHERE seconds > 0; SELECT * FROM logins WHERE name = asked';
REVOKE ALL ON FUNCTION pgwarden_login FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgwarden_login TO pgwarden_auth;
INSERT INTO logins VALUES
    ('app', 'md50123456789abcdef0123456789abcdef', NULL, '{b}', NULL, NULL),
    ('nobodys', :v, NULL, NULL, NULL, NULL),
    ('empty', :v, NULL, '{}', NULL, NULL),
    ('boss', :v, NULL, '{*}', NULL, 'operator'),
    ('admin', :v, NULL, '{*}', NULL, 'admin'),
    ('plain', 'plain_pw', NULL, '{a}', NULL, NULL),
    ('dear', replace(:v, '$4096:', '$2000000000:'), NULL, '{a}', NULL, NULL),
    ('unset', NULL, NULL, '{a}', NULL, NULL),
    ('twice', :v, NULL, '{a}', NULL, NULL),
    ('twice', :v, NULL, '{b}', NULL, NULL),
    ('joe', :v, NULL, '{a}', NULL, 'tenant'),
    ('joe.smith', :v, NULL, '{b}', NULL, NULL),
    ('both', :v, NULL, '{a,b,elsewhere}', NULL, NULL),
    ('all', :v, 'infinity', '{*}', NULL, NULL),
    ('old', :v, now() - interval '1 second', '{a}', NULL, NULL),
    ('never', :v, '-infinity', '{a}', NULL, NULL),
    ('young', :v, now() + interval '1 hour', '{a}', NULL, NULL),
    ('far', :v, NULL, '{a}', '{10.0.0.0/8}', NULL),
    ('near', :v, NULL, '{a}', '{127.0.0.0/8,10.0.0.1}', NULL);
";
/// The password of all of them.
const PASSWORD: &str = "query_pw";
/// Nobody is held up or blocked.
const CALM: &str = "[auth]\nfailure_delay = \"0ms\"\naddress_failures = 0\nlogin_failures = 0\n";

/// A database with logins, and a proxy that asks it.
struct House {
    database: &'static str,
    proxy: Proxy,
}

impl House {
    fn new(database: &'static str, query: &str) -> Self {
        Self::with(database, query, &Setup::default())
    }

    fn with(database: &'static str, query: &str, setup: &Setup<'_>) -> Self {
        let lab = Lab::general();
        static ROLE: Once = Once::new();
        ROLE.call_once(|| lab.run("postgres", "CREATE ROLE pgwarden_auth LOGIN PASSWORD 'auth_pw'"));
        lab.create(database, None);
        let verifier = ScramVerifier::from_password(PASSWORD).to_text();
        lab.run(database, &SCHEMA.replace(":v", &format!("'{}'", verifier.expose())));
        let postgres = lab.cluster.port();
        let more = format!(
            "{LOGINS}{CALM}{}[upstream.logins]\nurl = \"postgres://pgwarden_auth:auth_pw@127.0.0.1:{postgres}/{database}\"\n\
             [auth_query]\nupstream = \"logins\"\n{query}\n",
            setup.more
        );
        Self { database, proxy: Setup { more: &more, ..*setup }.start() }
    }

    fn sql(&self, sql: &str) {
        Lab::general().run(self.database, sql);
    }

    fn end(&self, user: &str, password: &str) -> Endpoint {
        Endpoint::new(self.proxy.port, user, password, "shared")
    }

    /// What a client with the right password gets.
    fn answer(&self, user: &str) -> Answer {
        self.dial(user, PASSWORD)
    }

    fn dial(&self, user: &str, password: &str) -> Answer {
        psql(self.proxy.port, &format!("user={user} password={password} dbname=shared"), WHOSE)
    }

    /// The error of a client that must not be let in, with the user's name taken out.
    #[track_caller]
    fn told(&self, user: &str, password: &str) -> String {
        let (_, reply) = self.end(user, password).try_connect();
        assert!(!reply.errors.is_empty(), "{user} was let in");
        format!("{} {}", reply.sqlstate(), reply.text()).replace(&format!("\"{user}\""), "USER")
    }

    #[track_caller]
    fn logs(&self, part: &str) {
        self.proxy.wait_for(part, |proxy| proxy.log().contains(part));
    }

    /// Nobody can connect to the database of the logins.
    fn shut(&self) {
        let name = self.database;
        Lab::general().run(
            "postgres",
            &format!(
                "ALTER DATABASE {name} ALLOW_CONNECTIONS false; \
                 SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            ),
        );
    }

    fn open(&self) {
        Lab::general().run("postgres", &format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.database));
    }
}

/// The session was told to end with this SQLSTATE and a text that says why.
#[track_caller]
fn ended(mut session: Session, sqlstate: &str, word: &str) {
    let reply: Reply = session.collect(1);
    assert_eq!((reply.sqlstate(), reply.closed), (sqlstate, true), "{}", reply.text());
    assert!(reply.text().contains(word), "{}", reply.text());
}

#[test]
fn rows_are_logins_with_their_tenants() {
    let house = House::new("auth_query_rows", "");
    assert_eq!(house.answer("joe").as_deref(), Ok("1"));
    assert_eq!(house.answer("joe@a").as_deref(), Ok("1"));
    assert_eq!(house.answer("both@b").as_deref(), Ok("2"));
    assert_eq!(house.answer("all@b").as_deref(), Ok("2"));
    assert_eq!(house.answer("young").as_deref(), Ok("1"));
    assert_eq!(house.answer("near").as_deref(), Ok("1"));
    // A dot is part of the name.
    assert_eq!(house.answer("joe.smith").as_deref(), Ok("2"));
    // Only its own tenants, wherever they are named.
    refused(house.answer("joe@b"), "may not act for tenant \"b\"");
    refused(house.answer("both@asleep"), "may not act for tenant \"asleep\"");
    refused(house.answer("both@elsewhere"), "may not act for tenant \"elsewhere\"");
    refused(psql(house.proxy.port, "user=joe password=query_pw dbname=b", WHOSE), "database \"b\" does not exist");
    refused(house.answer("both"), "tenant context required");
    let mut session = house.end("both", PASSWORD).connect();
    for (tenant, key) in [("a", "1"), ("b", "2")] {
        session.simple(format!("SET app.tenant_id = '{tenant}'")).ok();
        assert_eq!(session.simple(WHOSE).ok().value(), key);
    }
    session.simple("SET app.tenant_id = 'asleep'").refused("28000");
    // The file's login of that name is another, and stands.
    assert_eq!(house.dial("app", "app_pw").as_deref(), Ok("1"));
    refused(house.dial("app", PASSWORD), "password authentication failed");
    // The console is not for them.
    refused(psql(house.proxy.port, "user=all password=query_pw dbname=pgwarden", "SHOW VERSION"), "does not exist");
    // A driver.
    block_on(async {
        let (client, connection) =
            tokio_postgres::connect(&house.end("joe", PASSWORD).url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        assert_eq!(client.query_one(WHOSE, &[]).await.unwrap().get::<_, &str>(0), "1");
    });
}

/// Whatever is in the way of a login, the client sees a wrong password; the log says what it was.
#[test]
fn what_is_no_login_looks_like_a_wrong_password() {
    let house = House::new("auth_query_bad", "");
    let wrong = house.told("joe", "wrong");
    assert!(wrong.starts_with("28P01") && wrong.contains("password authentication failed for user USER"), "{wrong}");
    for (user, why) in [
        ("nobody", "there is no such login"),
        ("nobodys", "it has no tenants"),
        ("empty", "it has no tenants"),
        ("boss", "its role is \\\"operator\\\""),
        ("admin", "its role is \\\"admin\\\""),
        ("plain", "neither a SCRAM verifier nor an md5 hash"),
        ("dear", "the iteration count is above 1000000"),
        ("unset", "it has no password"),
        ("twice", "it gives more than one row"),
        ("old", "the login has expired"),
        ("never", "the login has expired"),
        ("far", "not in the login's allow_from"),
        ("JOE", "there is no such login"),
    ] {
        for password in [PASSWORD, "plain_pw"] {
            assert_eq!(house.told(user, password), wrong, "{user}");
        }
        house.logs(why);
    }
    let long = "x".repeat(100);
    assert_eq!(house.told(&long, PASSWORD), wrong);
    assert_eq!(house.told("nobody@a", "x"), house.told("joe@nowhere", "x").replace("joe@nowhere", "nobody@a"));
    let log = house.proxy.log();
    assert!(!log.contains("SCRAM-SHA-256$") && !log.contains("plain_pw"), "{log}");
}

/// The best of many runs each: they differ by less than a look-up takes, here 20 ms.
#[test]
fn known_and_unknown_names_take_the_same_time() {
    let house = House::new("auth_query_time", "");
    house.sql("UPDATE pause SET seconds = 0.02");
    assert_eq!(house.answer("joe").as_deref(), Ok("1"));
    let time = |user: &str| {
        let start = Instant::now();
        house.told(user, "wrong");
        start.elapsed()
    };
    let mut times = [Duration::MAX; 4];
    for turn in 0..12 {
        let new = format!("nobody{turn}");
        for (least, user) in times.iter_mut().zip(["joe", "app", "nobody", &new]) {
            *least = time(user).min(*least);
        }
    }
    let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(*most - *least < Duration::from_millis(15), "{times:?}");
    assert!(*least >= Duration::from_millis(20), "{times:?}");
}

#[test]
fn roles_of_postgres_with_channel_binding() {
    let folder = Folder::new();
    let authority = Authority::new("an authority");
    folder.write("ca.crt", &authority.pem());
    authority.issue(&folder, "server", &["localhost"]);
    let listen = format!("[listen.tls]\ncert = \"{}\"\nkey = \"{}\"", folder.at("server.crt"), folder.at("server.key"));
    let query = "query = \"SELECT rolname, rolpassword, rolvaliduntil FROM role_of($1)\"\ntenants = [\"b\"]";
    let house = House::with("auth_query_roles", query, &Setup { listen: &listen, ..Setup::default() });
    house.sql(
        "CREATE FUNCTION role_of(asked name) RETURNS TABLE (rolname name, rolpassword text, rolvaliduntil timestamptz)
             LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
             AS 'SELECT rolname, rolpassword, rolvaliduntil FROM pg_authid WHERE rolcanlogin AND rolname = asked';
         REVOKE ALL ON FUNCTION role_of FROM PUBLIC;
         GRANT EXECUTE ON FUNCTION role_of TO pgwarden_auth;
         SET password_encryption = 'scram-sha-256';
         CREATE ROLE aq_scram LOGIN PASSWORD 'scram_pw' VALID UNTIL 'infinity';
         CREATE ROLE aq_group NOLOGIN PASSWORD 'scram_pw';
         CREATE ROLE aq_old LOGIN PASSWORD 'scram_pw' VALID UNTIL '2020-01-01';
         SET password_encryption = 'md5';
         CREATE ROLE aq_md5 LOGIN PASSWORD 'md5_pw'",
    );
    let root = folder.at("ca.crt");
    let tls = |settings: &str| {
        let settings = format!("host=localhost sslmode=verify-full sslrootcert={root} dbname=shared {settings}");
        psql(house.proxy.port, &settings, WHOSE)
    };
    assert_eq!(tls("user=aq_scram password=scram_pw channel_binding=require").as_deref(), Ok("2"));
    assert_eq!(house.dial("aq_md5", "md5_pw").as_deref(), Ok("2"));
    refused(house.dial("aq_md5", "scram_pw"), "password authentication failed");
    for (user, password) in [("aq_group", "scram_pw"), ("aq_old", "scram_pw"), ("aq_scram@b", "md5_pw")] {
        refused(tls(&format!("user={user} password={password}")), "authentication failed");
    }
    // The password changes: the next try but one knows it, however long the old one would be kept.
    house.sql("ALTER ROLE aq_scram PASSWORD 'new_pw'");
    std::thread::sleep(Duration::from_millis(2_100));
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut tries = 0;
    while house.dial("aq_scram", "new_pw").as_deref() != Ok("2") {
        tries += 1;
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!((1..5).contains(&tries), "{tries}");
    refused(house.dial("aq_scram", "scram_pw"), "password authentication failed");
}

/// A row that goes, or allows less: new sessions are refused, running ones end with their transactions.
#[test]
fn rights_are_withdrawn() {
    let house = House::new("auth_query_gone", "ttl = \"1s\"\nnegative_ttl = \"500ms\"");
    let (mut idle, mut busy) = (house.end("joe", PASSWORD).connect(), house.end("joe", PASSWORD).connect());
    let (mut switching, mut other) = (house.end("both", PASSWORD).connect(), house.end("both", PASSWORD).connect());
    switching.simple("SET app.tenant_id = 'b'").ok();
    other.simple("SET app.tenant_id = 'a'").ok();
    idle.simple(WHOSE).ok();
    busy.simple("BEGIN").ok();
    std::thread::sleep(Duration::from_millis(2_500));
    // They have been looked up again, and nothing has changed.
    idle.simple(WHOSE).ok();
    house.sql("DELETE FROM logins WHERE name = 'joe'; UPDATE logins SET tenants = '{a}' WHERE name = 'both'");
    ended(idle, "28000", "login \"joe\" was removed");
    ended(switching, "28000", "may no longer act for tenant \"b\"");
    assert_eq!(busy.simple(WHOSE).ok().value(), "1");
    let reply = busy.simple("COMMIT");
    assert_eq!(reply.tags, ["COMMIT"], "{}", reply.text());
    if reply.errors.is_empty() {
        ended(busy, "28000", "removed");
    }
    assert_eq!(house.told("joe", PASSWORD), house.told("nobody", PASSWORD));
    assert_eq!(other.simple(WHOSE).ok().value(), "1");
    other.simple("SET app.tenant_id = 'b'").refused("28000");
    // And comes back.
    house.sql("UPDATE logins SET name = 'joe' WHERE name = 'young'");
    house.proxy.wait_for("login", |_| house.answer("joe").as_deref() == Ok("1"));
}

/// While logins cannot be looked up, those that are known go on; nobody is told who is.
#[test]
fn an_upstream_that_is_away() {
    let house = House::new("auth_query_away", "ttl = \"6s\"\ntimeout = \"1s\"");
    let mut session = house.end("joe", PASSWORD).connect();
    let known = Instant::now();
    house.shut();
    let away = house.told("nobody", "x");
    assert!(away.starts_with("57P03") && away.contains("cannot be verified at the moment"), "{away}");
    assert_eq!(house.told("young", PASSWORD), away);
    assert_eq!(house.told("joe", "wrong"), away);
    assert_eq!(house.dial("app", "app_pw").as_deref(), Ok("1"));
    assert_eq!(house.answer("joe").as_deref(), Ok("1"));
    house.logs("the auth query cannot be asked");
    std::thread::sleep(Duration::from_secs(7).saturating_sub(known.elapsed()));
    assert_eq!(house.told("joe", PASSWORD), away);
    // What was open stays open.
    assert_eq!(session.simple(WHOSE).ok().value(), "1");
    house.open();
    house.proxy.wait_for("login", |_| house.answer("young").as_deref() == Ok("1"));
    assert_eq!(house.answer("joe").as_deref(), Ok("1"));
    house.logs("the auth query can be asked again");
}

#[test]
fn a_reload_forgets_what_was_looked_up() {
    let house = House::new("auth_query_reload", "ttl = \"1h\"\nnegative_ttl = \"1h\"");
    let session = house.end("joe", PASSWORD).connect();
    house.told("late", PASSWORD);
    house.sql(
        "UPDATE logins SET name = 'late' WHERE name = 'young'; UPDATE logins SET tenants = '{b}' WHERE name = 'both'",
    );
    let verifier = ScramVerifier::from_password("new_pw").to_text();
    house.sql(&format!("UPDATE logins SET password = '{}' WHERE name = 'joe'", verifier.expose()));
    assert_eq!(house.answer("joe").as_deref(), Ok("1"), "it is remembered");
    house.told("late", PASSWORD);
    house.proxy.reload(|text| text);
    assert_eq!(house.dial("joe", "new_pw").as_deref(), Ok("1"));
    assert_eq!(house.answer("late").as_deref(), Ok("1"));
    assert_eq!(house.answer("both").as_deref(), Ok("2"));
    // Without the query there are no such logins.
    let others = house.end("app", "app_pw").connect();
    house.proxy.reload(|text| {
        let start = text.find("[auth_query]").unwrap();
        text[..start].to_owned()
    });
    ended(session, "28000", "login \"joe\" was removed");
    assert_eq!(house.told("joe", "new_pw"), house.told("nobody", "x"));
    drop(others);
}

/// A client that tries very many names gets no more of the upstream than one at a time, and others are served beside it.
#[test]
fn many_names_do_not_flood_the_upstream() {
    let house = House::new("auth_query_flood", "connections = 3");
    house.sql("UPDATE pause SET seconds = 0.2");
    let port = house.proxy.port;
    let guess = |name: String| {
        std::thread::spawn(move || Endpoint::new(port, &name, "x", "shared").try_connect().1.sqlstate().to_owned())
    };
    let guesses: Vec<_> = (0..30).map(|number| guess(format!("guess{number}"))).collect();
    let asked = "SELECT count(*) FILTER (WHERE state = 'active'), count(*) FROM pg_stat_activity \
                 WHERE application_name = 'pgwarden logins' AND datname = 'auth_query_flood'";
    let mut watcher = Lab::general().superuser("postgres");
    let mut most = (0, 0);
    while guesses.iter().any(|it| !it.is_finished()) {
        let rows = watcher.simple(asked).ok().texts();
        let number = |at: usize| rows[0][at].parse::<u32>().unwrap();
        most = (most.0.max(number(0)), most.1.max(number(1)));
        // Known names do not wait.
        let start = Instant::now();
        assert_eq!(house.dial("app", "app_pw").as_deref(), Ok("1"));
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    }
    assert!(most.0 == 1 && most.1 <= 3, "{most:?}");
    assert!(guesses.into_iter().all(|it| it.join().unwrap() == "28P01"));
    // Many at once for one name: one look-up for all of them.
    let start = Instant::now();
    let clients: Vec<_> = (0..20)
        .map(|_| std::thread::spawn(move || drop(Endpoint::new(port, "joe", PASSWORD, "shared").connect())))
        .collect();
    clients.into_iter().for_each(|it| it.join().unwrap());
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

/// A table of logins that a tenant could write: whoever can insert a row can be anybody.
#[test]
fn tenants_must_not_make_logins() {
    let lab = Lab::general();
    lab.copy_of_shop("auth_query_home");
    lab.run(
        "auth_query_home",
        "CREATE TABLE logins (tenant_id int, name text, password text, tenants text[]); GRANT ALL ON logins TO app_owner;
         CREATE TABLE keys (name text, password text, tenants text[]); GRANT ALL ON keys TO app_owner",
    );
    let setup = |query: &str, tables: &str| Fixture {
        database: "auth_query_home".to_owned(),
        tables: tables.to_owned(),
        more: format!("[auth_query]\nquery = \"{query}\"\n"),
        ..Fixture::default()
    };
    let (own, other) = (
        "SELECT name, password, tenants FROM logins WHERE name = $1",
        "SELECT name, password, tenants FROM keys WHERE name = $1",
    );
    let (fine, said, error) = tool(lab, &setup(other, ""), &["check", "--connect"]);
    assert!(fine && said.contains("[auth_query] on upstream \"main\": ok"), "{said}{error}");
    let (fine, _, error) = tool(lab, &setup(own, ""), &["check", "--connect"]);
    assert!(!fine && error.contains("\"logins\"") && error.contains("make logins of their own"), "{error}");
    // Neither is it asked.
    let proxy = Proxy::start(lab, &setup(own, ""));
    let (_, reply) = Endpoint::new(proxy.port, "x", "x", "auth_query_home").try_connect();
    reply.refused("57P03");
    proxy.a().connect().simple("SELECT 1").ok();
    // One that the file gives them.
    let (fine, _, error) = tool(lab, &setup(other, "\"public.keys\" = { column = \"name\" }"), &["check"]);
    assert!(!fine && error.contains("tenants may use \"public.keys\""), "{error}");
}

#[test]
fn wrong_queries_are_said() {
    let lab = Lab::general();
    let check = |query: &str, more: &str| {
        let more = format!("[auth_query]\nquery = \"{query}\"\n{more}\n");
        let setup = Fixture { more, ..Fixture::default() };
        let (fine, _, error) = tool(lab, &setup, &["check", "--connect"]);
        assert!(!fine, "{query}");
        error
    };
    for (query, more, part) in [
        ("SELECT 'x' AS name, 'y' AS password WHERE $1 = 'x'", "", "no column \"tenants\""),
        ("SELECT 'x' AS name, '{a}'::text[] AS tenants WHERE $1 = 'x'", "", "no column \"password\""),
        ("SELECT 'x' AS name, 'y' AS password, 1 AS tenants WHERE $1 = 'x'", "", "must be text[] or text"),
        ("SELECT 'x' AS name, 'y' AS password, 2 AS colour WHERE $1 = 'x'", "tenants = \"*\"", "\"colour\""),
        ("SELECT 'x' AS name, 'y' AS password WHERE $1 = 1", "tenants = \"*\"", "$1 of the query is of type int4"),
        ("SELECT name, password FROM nonesuch WHERE name = $1", "tenants = \"*\"", "42P01"),
        ("SELECT 'x' AS name, 'y' AS password", "tenants = \"*\"", "it needs $1"),
        ("DELETE FROM x WHERE name = $1", "", "it is no SELECT"),
        ("SELECT 1; SELECT $1", "", "it is not one statement"),
        ("SELECT name FROM x WHERE name = $1", "tenants = [\"nonesuch\"]", "no tenant \"nonesuch\""),
    ] {
        let error = check(query, more);
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
}
