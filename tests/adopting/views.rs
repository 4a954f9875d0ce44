//! Views that call functions: which of them can be everybody's.

use std::fs;

use super::adopted::Adopted;
use crate::support::lab::Lab;
use crate::support::session::Session;

fn column(session: &mut Session, sql: &str) -> String {
    session.simple(sql).ok().first_column().join(",")
}

/// A view shows what the functions that it calls read. Only one that calls what tenants may call can be everybody's: `init` does not
/// propose another, and listed all the same it is refused, and said to be.
#[test]
fn views_over_functions() {
    let schema = "CREATE TABLE accounts (id int PRIMARY KEY, slug text UNIQUE NOT NULL);
        CREATE TABLE plans (id int PRIMARY KEY, name text, since timestamptz DEFAULT now());
        CREATE TABLE users (id int PRIMARY KEY, account_id int NOT NULL REFERENCES accounts);
        CREATE TABLE tasks (id int PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, plan_id int REFERENCES plans, title text);
        INSERT INTO accounts VALUES (1, 'acme'), (2, 'globex'); INSERT INTO plans VALUES (1, 'pro');
        INSERT INTO tasks VALUES (1, 1, 1, 'mine'), (2, 2, 1, 'CANARY theirs');
        CREATE FUNCTION recent() RETURNS TABLE (title text) LANGUAGE sql STABLE AS 'SELECT title FROM tasks';
        CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)';
        CREATE VIEW all_recent AS SELECT title FROM recent();
        CREATE VIEW dump AS SELECT p.name, query_to_xml('SELECT * FROM tasks', true, true, '') AS rows FROM plans p;
        CREATE VIEW over_dump AS SELECT name, rows FROM dump;
        CREATE VIEW months AS SELECT m::date AS month FROM generate_series('2024-01-01'::date, '2024-03-01', '1 month') m;
        CREATE VIEW prices AS SELECT shout(name) AS name, date_trunc('day', since) < now() AS old, count(*) OVER () AS n, since::date FROM plans";
    let app = Adopted::new("init_views", schema);
    app.adopt();
    let text = app.text("pgwarden.toml");
    let line = |it: &str| text.lines().any(|line| line == it);
    assert!(
        text.contains("DECIDE: public.all_recent is refused") && text.contains("DECIDE: public.dump is refused"),
        "{text}"
    );
    assert!(text.contains("calls pg_catalog.query_to_xml: what that reads cannot be seen from here"), "{text}");
    assert!(line("    # \"public.months\","), "{text}");
    // Somebody lists them all.
    let views = ["all_recent", "dump", "over_dump", "months", "prices"];
    let text = text.replace("    # \"public.months\",", &views.map(|it| format!("    \"public.{it}\",\n")).concat());
    fs::write(app.path("all.toml"), &text).unwrap();
    let rights = views.map(|it| format!("GRANT SELECT ON {it} TO pgwarden_init_views_tenants;"));
    Lab::general().run("init_views", &rights.concat());
    let ran = app.pgwarden(&["check", "--connect", "--config", "all.toml"]);
    for (view, function) in
        [("all_recent", "public.recent"), ("dump", "pg_catalog.query_to_xml"), ("over_dump", "pg_catalog.query_to_xml")]
    {
        let said = format!("shared_tables names public.{view}, a view that calls {function}");
        assert!(ran.err.contains(&said) || ran.out.contains(&said), "{}{}", ran.err, ran.out);
    }
    let _proxy = app.serve_as(&text);
    let mut acme = app.tenant("acme");
    for refused in ["all_recent", "dump", "over_dump"] {
        let reply = acme.simple(format!("SELECT * FROM {refused}"));
        assert_eq!(reply.sqlstate(), "42501", "{}", reply.text());
        assert!(!reply.text().contains("CANARY"), "{}", reply.text());
    }
    assert_eq!(column(&mut acme, "SELECT count(*) FROM months"), "3");
    assert_eq!(column(&mut acme, "SELECT name FROM prices"), "PRO");
    // The function is listed: it is the operator's word.
    drop(acme);
    drop(_proxy);
    let listed = text.replacen("allow_functions = [", "allow_functions = [\n    \"public.recent\",", 1);
    let _proxy = app.serve_as(&listed);
    assert_eq!(column(&mut app.tenant("acme"), "SELECT count(*) FROM all_recent"), "2");
}
