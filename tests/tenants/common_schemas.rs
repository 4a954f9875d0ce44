//! The schema layout with schemas behind the tenant's own.

use super::PROXY;
use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup, free_port, tool};
use crate::support::session::Endpoint;

/// What tells the right meaning of a name from another: with the extension's schema off the path, the first compares with case.
const CITEXT: &str = "SELECT 'A'::citext = 'a'";

/// Tenant `sa`, wherever its database is.
fn schema_a(proxy: &Proxy) -> Endpoint {
    Endpoint::new(proxy.port, "schema_a", "schema_a_pw", "sa")
}

/// A database of the schema layout for one test.
fn schemas(lab: &Lab, database: &str) {
    lab.create(database, None);
    lab.script(database, "fixture/schemas.sql");
}

#[test]
fn extensions_are_there_without_their_schema() {
    let mut session = PROXY.get().login("schema_a").connect();
    for (sql, value) in [
        (CITEXT, "t"),
        ("SELECT 'A'::extensions.citext = 'a'::citext", "t"),
        ("SELECT name FROM customers WHERE email::citext = 'alpha_email_1@X.TEST'", "ALPHA_name_1"),
        ("SELECT similarity('abc', 'abd') > 0", "t"),
        ("SELECT extensions.similarity('abc', 'abd') > 0", "t"),
        ("SELECT 'abc' % 'abd'", "t"),
        ("SELECT 'extensions.citext'::regtype", "citext"),
        ("SELECT current_schemas(false)", "{t_a,extensions,public}"),
    ] {
        assert_eq!(session.simple(sql).ok().value(), value, "{sql}");
        assert_eq!(session.extended(sql, &[]).ok().value(), value, "{sql}");
    }
    for sql in ["SELECT dblink('x', 'y')", "SELECT * FROM extensions.pg_stat_statements", "SELECT app_lookup(1)"] {
        assert_eq!(session.simple(sql).sqlstate(), "42501", "{sql}");
    }
}

#[test]
fn names_are_the_tenants_own_first() {
    let mut session = PROXY.get().login("schema_a").connect();
    // `public` has a table of that name, open to every role.
    assert_eq!(session.simple("SELECT min(name) FROM customers").ok().value(), "ALPHA_name_1");
    assert_eq!(
        session.simple("SELECT customers.name FROM customers WHERE id = 2 FOR UPDATE OF customers").ok().value(),
        "ALPHA_name_2"
    );
    let cte = "WITH customers AS (SELECT 'mine' AS name) SELECT name FROM customers";
    assert_eq!(session.simple(cte).ok().value(), "mine");
    // What is shared stands behind; what is not is as if it were not there.
    assert_eq!(session.simple("SELECT name FROM countries WHERE code = 'DE'").ok().value(), "Germany");
    assert_eq!(session.simple("SELECT * FROM ledger").sqlstate(), "42P01");
    assert_eq!(session.simple("DELETE FROM countries").sqlstate(), "42501");
}

/// What a tenant makes within a transaction is what its names mean from then on, whatever common schemas have.
#[test]
fn what_is_made_in_a_transaction_is_met_in_it() {
    let lab = Lab::general();
    schemas(lab, "common_made");
    lab.run("common_made", "GRANT CREATE ON SCHEMA t_a TO t_a_role");
    lab.run("common_made", "CREATE TABLE public.board (memo text); GRANT ALL ON public.board TO PUBLIC");
    let port = free_port();
    let tables = "\"public.board\" = { access = \"write\" }".to_owned();
    let text = Setup { tables, ..Setup::default() }.text(lab, port).replace("/schemas\"", "/common_made\"");
    let proxy = Proxy::launch(&text, port);
    let mut session = schema_a(&proxy).connect();
    session.simple("BEGIN").ok();
    session.simple("CREATE TABLE ledger (memo text, n serial)").ok();
    session.simple("INSERT INTO ledger VALUES ('mine')").ok();
    assert_eq!(session.simple("SELECT memo FROM ledger").ok().value(), "mine");
    session.simple("CREATE TABLE countries (name text)").ok();
    assert_eq!(session.simple("SELECT count(*) FROM countries").ok().value(), "0");
    // A table that all tenants write
    session.simple("CREATE TABLE board (memo text)").ok();
    session.simple("INSERT INTO board SELECT memo FROM ledger; UPDATE board SET memo = memo || '!'").ok();
    session.copy("COPY board FROM STDIN", b"copied\n").ok();
    assert_eq!(
        session.simple("SELECT string_agg(memo, ',' ORDER BY memo) FROM t_a.board").ok().value(),
        "copied,mine!"
    );
    assert_eq!(session.simple("SELECT count(*) FROM public.board").ok().value(), "0");
    session.simple("CREATE TYPE mood AS ENUM ('sad')").ok();
    session.simple("CREATE TABLE person (of int, feels mood DEFAULT 'sad')").ok();
    session
        .simple("ALTER TABLE ledger ADD PRIMARY KEY (n); ALTER TABLE person ADD FOREIGN KEY (of) REFERENCES ledger")
        .ok();
    session.simple("DROP TABLE person; DROP TYPE mood; DROP TABLE ledger, countries").ok();
    assert_eq!(session.simple("SELECT * FROM ledger").sqlstate(), "42P01");
    session.simple("ROLLBACK").ok();
    assert_eq!(session.simple("SELECT count(*) FROM countries").ok().value(), "4");
    session.simple("INSERT INTO board VALUES ('for all')").ok();
    session.copy("COPY board FROM STDIN", b"copied\n").ok();
    assert_eq!(session.simple("SELECT count(*) FROM public.board").ok().value(), "2");
}

/// By default it is the schemas that hold nothing but extensions; not one in which a tenant could create.
#[test]
fn what_is_common_by_default() {
    let lab = Lab::general();
    let start = |database: &str| {
        schemas(lab, database);
        let port = free_port();
        let text = Setup::default().text(lab, port).replace("/schemas\"", &format!("/{database}\""));
        let text: String =
            text.lines().filter(|line| !line.starts_with("common_schemas")).map(|it| format!("{it}\n")).collect();
        Proxy::launch(&text, port)
    };
    let proxy = start("common_default");
    let mut session = schema_a(&proxy).connect();
    assert_eq!(session.simple("SELECT current_schemas(false)").ok().value(), "{t_a,extensions}");
    assert_eq!(session.simple(CITEXT).ok().value(), "t");
    assert_eq!(session.simple("SELECT * FROM countries").sqlstate(), "42P01");
    // A table of the operator's in it, which tenants have rights on: at once, in the middle of a transaction too.
    session.simple("BEGIN; SELECT 1").ok();
    lab.run(
        "common_default",
        "CREATE TABLE extensions.bait AS SELECT 'CANARY_N_bait_1' AS x; GRANT ALL ON extensions.bait TO PUBLIC",
    );
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(session.simple("SELECT * FROM bait").sqlstate(), "0A000");
    session.simple("ROLLBACK").ok();
    assert_eq!(session.simple("SELECT * FROM bait").sqlstate(), "42P01");
    assert_eq!(session.simple("SELECT current_schemas(false)").ok().value(), "{t_a}");
    lab.run("common_default", "DROP TABLE extensions.bait");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(session.simple(CITEXT).ok().value(), "t");
    // Rights of a role that a tenant acts as
    lab.run("common_default", "GRANT CREATE ON SCHEMA extensions TO t_b_role");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(session.simple("SELECT current_schemas(false)").ok().value(), "{t_a}");
}

#[test]
fn check_tells_what_cannot_be_common() {
    let lab = Lab::general();
    let (_, out, error) = tool(lab, &Setup::default(), &["check", "--connect"]);
    assert!(!format!("{out}{error}").contains("common"), "{out}{error}");
    schemas(lab, "common_check");
    lab.run("common_check", "GRANT CREATE ON SCHEMA extensions TO PUBLIC");
    let setup = |schemas: &str| {
        let text = Setup::default().text(lab, free_port()).replace("/schemas\"", "/common_check\"");
        text.replace("[\"extensions\", \"public\"]", schemas)
    };
    for (schemas, told) in [
        ("[\"extensions\"]", "schema \"extensions\" is not put behind the tenants' own: PUBLIC may create in it"),
        ("[\"nosuch\"]", "common_schemas names schema \"nosuch\", which does not exist"),
        ("[\"t_b\"]", "common_schemas names schema \"t_b\", which belongs to tenant \"sb\" alone"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgwarden.toml");
        std::fs::write(&path, setup(schemas)).unwrap();
        let output = std::process::Command::new(crate::support::proxy::program())
            .args(["check", "--connect", "--config"])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains(told), "{said}");
    }
}
