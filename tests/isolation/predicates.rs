//! Leaky predicates: a client's condition must never be evaluated on another tenant's row, whatever the planner does. The
//! probes are conditions that tell (a notice, an error) on which rows they ran; each is tried with the planner free and with
//! sequential scans forced, through pgwarden and, as the counter-check, on plain Postgres with the tenant's predicate merely
//! ANDed in front.

use std::fmt::Write as _;

use crate::support::lab::Lab;
use crate::support::proxy::{Proxy, Setup};
use crate::support::session::Session;

/// 50 tenants of 400 rows. `n` counts through all rows, so that a value of it is one tenant's; `secret` names its tenant.
const TABLE: &str = "
    CREATE TABLE big (id bigint PRIMARY KEY, tenant_id int NOT NULL, n int NOT NULL, secret text NOT NULL, created int NOT NULL);
    INSERT INTO big SELECT i, 1 + i % 50, i, 'T' || 1 + i % 50 || '_' || i, i / 50 FROM generate_series(0, 19999) i;
    CREATE INDEX ON big (tenant_id, created);
    CREATE INDEX ON big (tenant_id, id);
    CREATE INDEX ON big (n);
    CREATE FUNCTION probe_free(s text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS
        'BEGIN IF s NOT LIKE ''T1\\_%'' THEN RAISE WARNING ''LEAK %'', s; END IF; RETURN true; END';
    CREATE FUNCTION probe_cheap(s text) RETURNS bool LANGUAGE plpgsql COST 1 AS
        'BEGIN IF s NOT LIKE ''T1\\_%'' THEN RAISE WARNING ''LEAK %'', s; END IF; RETURN true; END';
    CREATE FUNCTION probe_dear(s text) RETURNS bool LANGUAGE plpgsql COST 100 AS
        'BEGIN IF s NOT LIKE ''T1\\_%'' THEN RAISE WARNING ''LEAK %'', s; END IF; RETURN true; END';
    ALTER TABLE big OWNER TO app_owner;
    ANALYZE big;";

const FORCED: &str = "enable_indexscan enable_indexonlyscan enable_bitmapscan";

/// What a probe is: name, FROM and ON, WHERE, and what comes after. `<own>` stands for the inner table's predicate in the naive form.
const PROBES: &[(&str, &str, &str, &str)] = &[
    ("0", "big t", "probe_cheap(t.secret)", ""),
    ("1", "big t", "probe_free(t.secret)", ""),
    ("2", "big t", "probe_dear(t.secret)", ""),
    ("3", "big t", "has_table_privilege(t.secret, 'SELECT')", ""),
    ("4", "big t", "1 / (t.n - 7001) > 5", ""),
    ("5", "big t", "t.secret::int = 5", ""),
    ("6", "big t", "t.n BETWEEN 7000 AND 7020 AND probe_cheap(t.secret)", ""),
    ("7", "big t", "t.n BETWEEN 7000 AND 7020 AND probe_free(t.secret)", ""),
    ("8", "big t", "t.n BETWEEN 7000 AND 7020 AND probe_dear(t.secret)", ""),
    ("9", "big t", "t.n BETWEEN 7001 AND 7020 AND has_table_privilege(t.secret, 'SELECT')", ""),
    ("10", "big t", "t.n BETWEEN 7001 AND 7020 AND t.secret::int = 5", ""),
    ("11", "big t", "t.n = 7001 AND 1 / (t.n - 7001) > 5", ""),
    ("12", "big t", "t.n = 7001 OR probe_cheap(t.secret)", ""),
    ("13", "big t", "probe_cheap(t.secret) IS NOT NULL", ""),
    ("15", "big t", "true", "GROUP BY t.secret HAVING probe_cheap(t.secret)"),
    ("16", "big t", "probe_free(t.secret) AND t.id IN (SELECT id FROM big u WHERE probe_free(u.secret) AND <own>)", ""),
    ("J1", "big t JOIN big u ON u.id = t.id AND <own> AND probe_cheap(t.secret)", "true", ""),
    ("J2", "big t JOIN big u ON u.id = t.id AND <own> AND probe_cheap(u.secret)", "true", ""),
    ("J3", "big t LEFT JOIN big u ON u.id = t.id AND <own> AND probe_cheap(u.secret)", "true", ""),
    ("J4", "big t LEFT JOIN big u ON u.id = t.id AND <own> AND probe_free(u.secret)", "true", ""),
    (
        "J5",
        "big t JOIN big u ON u.n = t.n AND <own>",
        "t.n BETWEEN 7000 AND 7100 AND probe_cheap(t.secret || u.secret)",
        "",
    ),
];

fn text((_, from, condition, rest): &(&str, &str, &str, &str), naive: bool) -> String {
    let inner = |part: &str| part.replace("<own>", if naive { "u.tenant_id = 1" } else { "true" });
    let own = if naive { "t.tenant_id = 1 AND " } else { "" };
    format!("SELECT count(*) FROM {} WHERE {own}({}) {rest}", inner(from), inner(condition))
}

/// Whether the answer tells of a row of others: a notice of the probes, an error with another's value, or a division by zero
/// that only another's row can cause.
fn tells(session: &mut Session, sql: &str) -> bool {
    let reply = session.simple(sql);
    let text = reply.text();
    let others = regex::Regex::new(r"\bT([2-9]|[1-4][0-9]|50|1[0-9])_").expect("a regular expression");
    assert!(!reply.timed_out && !reply.closed, "{sql}: {text}");
    others.is_match(&text) || reply.sqlstate() == "22012"
}

fn database(name: &str, forced: bool) {
    let lab = Lab::general();
    lab.copy_of_shop(name);
    lab.run(name, TABLE);
    if forced {
        for setting in FORCED.split(' ') {
            lab.run("postgres", &format!("ALTER DATABASE {name} SET {setting} = off"));
        }
    }
}

fn proxy(database: &str) -> Proxy {
    Proxy::start(Lab::general(), &Setup { database: database.to_owned(), ..Setup::default() })
}

#[test]
fn no_condition_runs_on_rows_of_others() {
    let lab = Lab::general();
    let (mut leaks, mut naive_leaks, mut table) = (Vec::new(), 0, String::new());
    for (name, forced) in [("predicates", false), ("predicates_forced", true)] {
        database(name, forced);
        let proxy = proxy(name);
        let mut guarded = proxy.a().connect();
        let mut naive = lab.owner(name).connect();
        for probe in PROBES {
            let by_guard = tells(&mut guarded, &text(probe, false));
            let by_and = tells(&mut naive, &text(probe, true));
            let mark = |leak| if leak { 'L' } else { '.' };
            let _ = writeln!(table, "{name} {:>3} guard {} AND {}", probe.0, mark(by_guard), mark(by_and));
            naive_leaks += usize::from(by_and);
            if by_guard {
                leaks.push(format!("{name} {}", probe.0));
            }
        }
    }
    println!("{table}");
    assert!(leaks.is_empty(), "{leaks:?}");
    // The probes bite: with the predicate merely ANDed they tell.
    assert!(naive_leaks >= 5, "{naive_leaks}\n{table}");
}

/// Probes that pass tell nothing because they ran on the tenant's own rows, not because they were refused: the counts are
/// those of the naive form.
#[test]
fn guarded_probes_count_the_tenants_rows() {
    let lab = Lab::general();
    database("predicates_counted", false);
    let proxy = proxy("predicates_counted");
    let (mut guarded, mut naive) = (proxy.a().connect(), lab.owner("predicates_counted").connect());
    for probe in PROBES {
        let wanted = naive.simple(text(probe, true));
        let got = guarded.simple(text(probe, false));
        // The first is refused by name, the other two are errors of the naive form itself.
        if wanted.errors.is_empty() {
            assert_eq!(got.ok().texts(), wanted.texts(), "{}", probe.0);
        }
    }
}

/// The plan as EXPLAIN shows it without costs: nodes and index conditions.
fn plan(session: &mut Session, sql: &str) -> Vec<String> {
    let reply = session.simple(format!("EXPLAIN (COSTS OFF) {sql}"));
    let lines = reply.ok().texts().into_iter().map(|row| row.join("").trim().to_owned());
    lines.filter(|line| !line.starts_with("Filter") && !line.starts_with("Join Filter")).collect()
}

/// What it costs: the same plans and index conditions as with the predicate written by hand.
#[test]
fn plans_are_those_of_predicates_written_by_hand() {
    let lab = Lab::general();
    database("predicates_plans", false);
    let proxy = proxy("predicates_plans");
    let (mut guarded, mut by_hand) = (proxy.a().connect(), lab.owner("predicates_plans").connect());
    for (client, hand) in [
        ("SELECT * FROM big WHERE id = 50", "SELECT * FROM big WHERE tenant_id = 1 AND id = 50"),
        (
            "SELECT * FROM big WHERE id = 50 AND length(secret) > 3",
            "SELECT * FROM big WHERE tenant_id = 1 AND id = 50 AND length(secret) > 3",
        ),
        (
            "SELECT * FROM big WHERE n BETWEEN 100 AND 120",
            "SELECT * FROM big WHERE tenant_id = 1 AND n BETWEEN 100 AND 120",
        ),
        (
            "SELECT * FROM big ORDER BY created DESC LIMIT 10",
            "SELECT * FROM big WHERE tenant_id = 1 ORDER BY created DESC LIMIT 10",
        ),
        (
            "SELECT * FROM big WHERE secret LIKE '%9' ORDER BY created DESC LIMIT 10",
            "SELECT * FROM big WHERE tenant_id = 1 AND secret LIKE '%9' ORDER BY created DESC LIMIT 10",
        ),
        (
            "SELECT * FROM big a JOIN big b ON b.id = a.n WHERE a.id = 50",
            "SELECT * FROM big a JOIN big b ON b.id = a.n AND b.tenant_id = 1 WHERE a.tenant_id = 1 AND a.id = 50",
        ),
        ("UPDATE big SET n = n WHERE id = 50", "UPDATE big SET n = n WHERE tenant_id = 1 AND id = 50"),
    ] {
        assert_eq!(plan(&mut guarded, client), plan(&mut by_hand, hand), "{client}");
    }
}

/// FOR UPDATE locks the rows that it gives, and no others.
#[test]
fn row_locks_are_those_of_predicates_written_by_hand() {
    let lab = Lab::general();
    database("predicates_locks", false);
    let proxy = proxy("predicates_locks");
    for (sql, locked) in [
        ("SELECT id FROM big WHERE id = 50 FOR UPDATE", 1),
        ("SELECT id FROM big WHERE id IN (50, 100, 101) AND length(secret) > 3 FOR UPDATE", 2),
        ("SELECT id FROM big WHERE length(secret) > 3 ORDER BY created LIMIT 1 FOR UPDATE SKIP LOCKED", 1),
        ("SELECT id FROM big WHERE secret = 'T2_1' OR length(secret) = 0 FOR UPDATE", 0),
    ] {
        let mut holder = proxy.a().connect();
        holder.simple("BEGIN").ok();
        holder.simple(sql).ok();
        let free = lab
            .superuser("predicates_locks")
            .simple("SELECT count(*) FROM (SELECT 1 FROM big FOR UPDATE SKIP LOCKED) x");
        assert_eq!(free.ok().value(), (20_000 - locked).to_string(), "{sql}");
        holder.simple("ROLLBACK").ok();
    }
}

/// Which operators are plain is what the upstream's catalog says of their functions.
#[test]
fn plain_operators_are_the_upstreams() {
    let lab = Lab::general();
    database("predicates_marks", false);
    let indexed = |proxy: &Proxy| {
        let lines = plan(&mut proxy.a().connect(), "SELECT * FROM big WHERE id = 50");
        lines.iter().any(|line| line.starts_with("Index Cond") && line.contains("id = 50"))
    };
    assert!(indexed(&proxy("predicates_marks")));
    lab.run("predicates_marks", "UPDATE pg_proc SET proleakproof = false WHERE proname = 'int84eq'");
    assert!(!indexed(&proxy("predicates_marks")), "a comparison that is not leakproof stands beside the predicate");
}
