//! What a condition compares with is evaluated whether or not anybody has rows that other conditions want: of two indexes,
//! Postgres asks the second only where the first had found any row, of whomever.

use super::{Mode, Setup};
use crate::support::lab::Lab;
use crate::support::message;
use crate::support::proxy::{Proxy, police};
use crate::support::session::Session;

/// Tenant 1 has no row with `a = 5`, others have; nobody has one with `a = 5000`.
const TABLE: &str = "
    CREATE TABLE lazy (tenant_id int NOT NULL, id int PRIMARY KEY, a int, b int, n numeric, c text, pad text);
    ALTER TABLE lazy OWNER TO app_owner;
    INSERT INTO lazy SELECT 1 + g % 20, g, CASE WHEN g % 20 = 0 THEN 7 ELSE g % 499 END, g % 503, g % 503, 'x' || g % 503,
        repeat('x', 100) FROM generate_series(1, 60000) g;
    DELETE FROM lazy WHERE tenant_id = 1 AND a = 5;
    CREATE INDEX ON lazy (a);
    CREATE INDEX ON lazy (b);
    CREATE INDEX ON lazy (n);
    CREATE INDEX ON lazy (c);
    CREATE INDEX ON lazy (tenant_id);
    ANALYZE lazy;";

/// Beside `a = ...`: each is an error, if it is evaluated.
const CONDITIONS: &[&str] = &[
    "b = (SELECT 1/0)",
    "b = (SELECT 1/(random() * 0)::int)",
    "b = (SELECT 1/(id - id) FROM lazy LIMIT 1)",
    "b = (SELECT id FROM lazy WHERE id < 1000)",
    "b = (SELECT max(id) FROM lazy WHERE id / 0 > 1)",
    "b = (SELECT max(1 / (id - id)) FROM lazy)",
    "b = (SELECT max(b) FROM lazy GROUP BY a)",
    "b = (SELECT x.v FROM (VALUES (1), (2)) AS x (v))",
    "b = (SELECT 1 UNION ALL SELECT 2)",
    "b = (SELECT b FROM lazy ORDER BY 1 / (id - id) LIMIT 1)",
    "b = (SELECT b FROM lazy ORDER BY id LIMIT (SELECT 1/0))",
    "b = (SELECT max(b) FROM lazy WHERE b = (SELECT 1/0))",
    "(b, c) = (SELECT 1/0, 'x')",
    "(b, c) = ((SELECT 1/0), 'x')",
    "b BETWEEN 3 AND (SELECT 1/0)",
    "b IN (3, (SELECT 1/0))",
    "b IS NOT DISTINCT FROM (SELECT 1/0)",
    "id IN (SELECT b FROM lazy WHERE b = (SELECT 1/0))",
    "EXISTS (SELECT 1 FROM lazy x WHERE x.id = lazy.id AND x.b = (SELECT 1/0))",
];

/// The same with a parameter of type text, whose value is another's than its type.
const WITH_PARAMETER: &[&str] = &[
    "b = $1::int",
    "b = $1::text::int",
    "n = $1::numeric(2, 1)",
    "b IN (3, $1::int)",
    "b = ANY ($1::int[])",
    "b = ANY (ARRAY[$1::int])",
    "b = ANY (ARRAY[$1]::int[])",
    "b BETWEEN 3 AND $1::int",
    "(b, c) = ($1::int, 'x')",
    "b = (SELECT max(b) FROM lazy WHERE b > $1::int)",
    "c = lower($1)::int::text",
];

fn proxy(mode: Mode) -> Proxy {
    let name = format!("lazy_{mode:?}").to_lowercase();
    let lab = Lab::general();
    lab.copy_of_shop(&name);
    lab.run(&name, TABLE);
    if mode != Mode::Rewrite {
        police(lab, &name);
    }
    Proxy::start(lab, &Setup::enforcing(mode.enforcement(), &name))
}

fn outcome(session: &mut Session, text: &str, value: Option<&str>) -> (String, usize) {
    const TEXT: u32 = 25;
    let reply = match value {
        None => session.simple(text),
        Some(value) => {
            let run = [message::bind("", "", &[Some(value)], &[]), message::execute("", 0), message::sync()];
            session.exchange(&[&[message::parse("", text, &[TEXT])][..], &run].concat(), 1)
        }
    };
    (reply.sqlstate().to_owned(), reply.texts().len())
}

fn holds(mode: Mode) {
    let proxy = proxy(mode);
    let mut session = proxy.a().connect();
    session.simple("SET plan_cache_mode = force_generic_plan").ok();
    let cases = CONDITIONS.iter().map(|it| (it, None)).chain(WITH_PARAMETER.iter().map(|it| (it, Some("none"))));
    let mut told = Vec::new();
    for (condition, value) in cases {
        let [others, nobodys] = [5, 5000]
            .map(|a| outcome(&mut session, &format!("SELECT 1 FROM lazy WHERE a = {a} AND {condition}"), value));
        if others != nobodys {
            told.push(format!("{condition}: {others:?} {nobodys:?}"));
        }
    }
    assert!(told.is_empty(), "{mode:?}: {told:#?}");
}

#[test]
fn nobody_is_told_by_an_error_in_rewrite() {
    holds(Mode::Rewrite);
}

#[test]
fn nobody_is_told_by_an_error_in_rls() {
    holds(Mode::Rls);
}

#[test]
fn nobody_is_told_by_an_error_in_both() {
    holds(Mode::Both);
}
