//! Views that no rule names: which stand for their queries, and when a new definition is met. What they show is for the oracle.

use std::time::Duration;

use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup};

fn stage(name: &str) -> Proxy {
    let lab = Lab::general();
    lab.copy_of_shop(name);
    lab.script(name, "fixture/views.sql");
    Proxy::start(lab, &Setup { database: name.to_owned(), ..Setup::default() })
}

#[test]
fn what_a_view_cannot_be_written_out_for_is_refused() {
    let proxy = stage("views_refused");
    let mut it = proxy.a().connect();
    for sql in [
        "SELECT * FROM secret",
        "SELECT * FROM tagged",
        "SELECT n FROM calls",
        "SELECT * FROM busy",
        "SELECT * FROM customer_totals",
        "UPDATE twice SET owner = 2",
        "UPDATE twice SET note = 'x'",
        "DELETE FROM twice",
        "INSERT INTO twice (id, owner, note) VALUES (9001, 2, 'x')",
        "UPDATE legacy_notes SET note = 'x'",
        "INSERT INTO legacy_notes VALUES (1, 'x')",
        "UPDATE inverse SET email = 'x'",
        "UPDATE paid SET owner = 2",
        "INSERT INTO paid (number, owner, status) VALUES (9001, 2, 'paid')",
        "DELETE FROM customers_public WHERE id = 3",
        "SELECT 1 FROM customers_public TABLESAMPLE SYSTEM (10)",
        "INSERT INTO orders_v (id) VALUES (9001)",
        "CREATE VIEW mine AS SELECT 1",
        "DROP VIEW orders_v",
    ] {
        it.simple(sql).refused("42501");
    }
    // A WITH query of the client's is not what a view reads.
    it.simple("WITH big AS (SELECT 1) SELECT 1 FROM with_steps, big").ok();
    it.simple("WITH pg_class AS (SELECT 'x'::name AS relname) SELECT 1 FROM tables_of_mine").refused("0A000");
    it.simple("SELECT v FROM customers c LEFT JOIN customers_public v ON v.id = c.id").refused("0A000");
}

#[test]
fn a_new_definition_is_met_at_once() {
    let lab = Lab::general();
    let proxy = stage("views_anew");
    let mut it = proxy.a().connect();
    assert_eq!(it.simple("SELECT count(*) FROM lonely").ok().value(), "3");
    lab.run("views_anew", "CREATE OR REPLACE VIEW lonely AS SELECT id, name FROM customers WHERE id = 1");
    let mut found = String::new();
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(100));
        found = it.simple("SELECT count(*) FROM lonely").ok().value();
        if found == "1" {
            break;
        }
    }
    assert_eq!(found, "1");
    // Nobody waits for who holds a table that a view reads; views that do not are as before.
    let mut holder = lab.superuser("views_anew");
    holder.simple("SET ROLE app_owner; BEGIN; CREATE VIEW held AS SELECT bio FROM profiles; COMMIT; BEGIN; LOCK TABLE profiles").ok();
    lab.run("views_anew", "SET ROLE app_owner; CREATE VIEW newest AS SELECT id FROM customers");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(it.simple("SELECT count(*) FROM newest").ok().value(), "8");
    it.simple("SELECT count(*) FROM held").refused("42501");
    holder.simple("COMMIT").ok();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(it.simple("SELECT count(*) FROM held").ok().value(), "5");
}

#[test]
fn a_long_statement_over_many_views_is_answered_or_refused() {
    let proxy = stage("views_many");
    let mut it = proxy.a().connect();
    let many = |count: usize, tail: &str| {
        let each = vec!["SELECT id FROM customers_public"; count].join(" UNION ALL ");
        format!("{each} UNION ALL SELECT length('{tail}')")
    };
    assert_eq!(it.simple(many(50, "x")).ok().texts().len(), 50 * 8 + 1);
    assert_eq!(it.simple(many(50, &"x".repeat(200_000))).ok().texts().len(), 50 * 8 + 1);
    it.simple(many(400, "x")).refused("54000");
    it.simple(many(400, &"x".repeat(200_000))).refused("54000");
    it.simple("SELECT id FROM customers_public").ok();
}

/// The server prints a view's constants by settings, and by the labels of enum types.
#[test]
fn constants_of_a_view_are_the_same_in_every_session() {
    let lab = Lab::general();
    let name = "views_constants";
    lab.copy_of_shop(name);
    lab.run(name, "ALTER DATABASE views_constants SET datestyle = 'SQL, DMY'");
    lab.run(
        name,
        "SET ROLE app_owner; CREATE TYPE public.light AS ENUM ('red', 'green');
         CREATE TABLE public.lamps (tenant_id int, day date, light public.light);
         INSERT INTO public.lamps VALUES (1, '2024-02-01', 'red'), (1, '2024-01-02', 'green'), (2, '2024-02-01', 'red');
         CREATE VIEW public.lit AS SELECT to_char(day, 'Mon') AS month FROM public.lamps WHERE day = DATE '2024-02-01';
         CREATE VIEW public.red AS SELECT to_char(day, 'Mon') AS month FROM public.lamps WHERE light = 'red'",
    );
    let proxy = Proxy::start(lab, &Setup { database: name.to_owned(), ..Setup::default() });
    let mut it = proxy.a().connect();
    for style in ["ISO, MDY", "SQL, DMY", "German, YMD"] {
        it.simple(format!("SET datestyle = '{style}'")).ok();
        assert_eq!(it.simple("SELECT month FROM lit").ok().texts(), [["Feb"]], "{style}");
    }
    assert_eq!(it.simple("SELECT month FROM red").ok().texts(), [["Feb"]]);
    lab.run(
        name,
        "ALTER TYPE light RENAME VALUE 'red' TO 'was_red'; ALTER TYPE light RENAME VALUE 'green' TO 'red'; ALTER TYPE light RENAME VALUE 'was_red' TO 'green'",
    );
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(it.simple("SELECT month FROM red").ok().texts(), [["Feb"]]);
}

/// What the server makes up for a column of the table behind it is not seen of a view.
#[test]
fn a_view_of_drawn_or_generated_tenants_is_not_written_through() {
    let lab = Lab::general();
    let name = "views_drawn";
    lab.copy_of_shop(name);
    lab.run(
        name,
        "SET ROLE app_owner;
         CREATE TABLE public.drawn (tenant_id int GENERATED BY DEFAULT AS IDENTITY (START 2), name text);
         CREATE TABLE public.followed (doc jsonb, tenant_id int GENERATED ALWAYS AS ((doc->>'t')::int) STORED);
         INSERT INTO public.followed VALUES ('{\"t\": 1}');
         CREATE VIEW public.v_drawn AS SELECT tenant_id, name FROM public.drawn;
         CREATE VIEW public.v_followed AS SELECT tenant_id, doc FROM public.followed",
    );
    let proxy = Proxy::start(lab, &Setup { database: name.to_owned(), ..Setup::default() });
    let mut it = proxy.a().connect();
    for sql in [
        "INSERT INTO v_drawn (name) OVERRIDING USER VALUE VALUES ('x')",
        "INSERT INTO v_drawn (name) VALUES ('x')",
        "UPDATE v_followed SET doc = '{\"t\": 2}'",
        "DELETE FROM v_followed",
    ] {
        it.simple(sql).refused("42501");
    }
    assert_eq!(it.simple("SELECT tenant_id FROM v_followed").ok().texts(), [["1"]]);
}
