//! What a condition costs: with the guard, an index is used as with the tenant's predicate written by hand. A matrix of access
//! methods and conditions; the plans are compared node by node, index conditions included.

use crate::support::lab::Lab;
use crate::support::message;
use crate::support::proxy::{Proxy, Setup};
use crate::support::session::Session;

/// Two tenants of 20,000 events, with an index of each kind.
const TABLE: &str = "
    CREATE TABLE public.event (
        tenant_id int NOT NULL, id bigint NOT NULL, project_id bigint, at timestamptz NOT NULL, due date, day timestamp,
        email text, title text, handle extensions.citext, doc jsonb, body tsvector, tags text[], during tstzrange, spot point,
        note text, done boolean NOT NULL);
    INSERT INTO public.event SELECT t, n, n % 2000, now() - (n || ' minutes')::interval, current_date - n / 40,
        '2026-01-01'::timestamp + (n || ' minutes')::interval, CASE t WHEN 1 THEN 'u' || n || '@One.test' ELSE 'b2u' || n || '@two.test' END,
        'title ' || n, 'Handle' || n, jsonb_build_object('k', n, 'word', 'w' || n), to_tsvector('simple', 'word' || n),
        ARRAY['tag' || n, 'all'], tstzrange('2026-01-01'::timestamptz + (n || ' hours')::interval, '2026-01-01'::timestamptz + (n + 1 || ' hours')::interval),
        point(n % 200, n / 200), 'some longer note ' || md5(n::text), n % 100 = 0
    FROM generate_series(1, 2) t, generate_series(1, 20000) n;
    ALTER TABLE public.event OWNER TO app_owner;
    CREATE INDEX event_tenant ON public.event (tenant_id, id);
    CREATE INDEX event_at ON public.event (at);
    CREATE INDEX event_due ON public.event (tenant_id, due);
    CREATE INDEX event_project ON public.event (project_id);
    CREATE INDEX event_lower ON public.event (lower(email));
    CREATE INDEX event_email ON public.event (email text_pattern_ops);
    CREATE INDEX event_title ON public.event (title);
    CREATE INDEX event_handle ON public.event (handle);
    CREATE INDEX event_word ON public.event ((doc ->> 'word'));
    CREATE INDEX event_number ON public.event (((doc ->> 'k')::int));
    CREATE INDEX event_open ON public.event (at) WHERE done;
    CREATE INDEX event_doc ON public.event USING gin (doc);
    CREATE INDEX event_body ON public.event USING gin (body);
    CREATE INDEX event_tags ON public.event USING gin (tags);
    CREATE INDEX event_note ON public.event USING gin (note extensions.gin_trgm_ops);
    CREATE INDEX event_during ON public.event USING gist (during);
    CREATE INDEX event_spot ON public.event USING gist (spot);
    CREATE INDEX event_day ON public.event USING brin (day);
    CREATE INDEX event_hash ON public.event USING hash (title);
    ANALYZE public.event;";

/// What the access method is, the condition, what is bound, and what stands behind WHERE besides.
type Cell = (&'static str, &'static str, &'static [&'static str], &'static str);

/// Cells whose plans are those of predicates by hand.
const SAME: &[Cell] = &[
    ("btree", "at >= now() - interval '1 hour'", &[], ""),
    ("btree", "at >= now() - $1::interval", &["1 hour"], ""),
    ("btree", "at >= timestamptz '2026-01-01 00:00+00' + interval '200 years'", &[], ""),
    ("btree", "at BETWEEN now() - interval '2 hours' AND now() - interval '1 hour'", &[], ""),
    ("btree", "at >= date_trunc('minute', now())", &[], ""),
    ("btree", "due < current_date - 495", &[], ""),
    ("btree", "due = $1::date + 1", &["2026-01-01"], ""),
    ("btree", "title = lower($1)", &["TITLE 5"], ""),
    ("btree", "title = lower('TITLE 5')", &[], ""),
    ("btree", "title = coalesce($1, 'title 5')", &["title 7"], ""),
    ("btree", "title IN (lower('TITLE 5'), upper($1))", &["x"], ""),
    ("btree", "id = (SELECT max(id) FROM event)", &[], ""),
    ("btree", "($1::bigint IS NULL OR project_id = $1)", &["5"], ""),
    ("btree", "at >= now() - interval '1 hour'", &[], "ORDER BY at DESC LIMIT 10"),
    ("btree pattern", "email LIKE 'u77@%'", &[], ""),
    ("btree pattern", "email LIKE $1", &["u77@%"], ""),
    ("btree pattern", "email LIKE $1 || '%'", &["u77@"], ""),
    ("expression", "lower(email) = 'u5@one.test'", &[], ""),
    ("expression", "lower(email) = lower($1)", &["U5@One.Test"], ""),
    ("expression", "doc ->> 'word' = 'w77'", &[], ""),
    ("expression", "doc ->> 'word' IN ('w77', 'w78')", &[], ""),
    ("citext", "handle = 'handle77'", &[], ""),
    ("citext", "handle = $1", &["handle77"], ""),
    ("partial", "done AND at >= now() - interval '1 day'", &[], ""),
    ("gin", "doc @> '{\"k\": 77}'", &[], ""),
    ("gin", "doc @> $1", &["{\"k\": 77}"], ""),
    ("gin", "doc ? 'absent'", &[], ""),
    ("gin", "body @@ websearch_to_tsquery('simple', 'word77')", &[], ""),
    ("gin", "body @@ plainto_tsquery('simple', $1)", &["word77"], ""),
    ("gin", "body @@ plainto_tsquery('word77')", &[], ""),
    ("gin", "body @@ $1", &["word77"], ""),
    ("gin", "tags && ARRAY['tag77', 'tag78']", &[], ""),
    ("gin", "tags @> $1", &["{tag77}"], ""),
    ("gin_trgm", "note LIKE '%note abc%'", &[], ""),
    ("gin_trgm", "note ILIKE '%NOTE abcd%'", &[], ""),
    ("gin_trgm", "note ILIKE '%' || $1 || '%'", &["note abcd"], ""),
    ("gin_trgm", "note % 'some longer note abc'", &[], ""),
    ("gist", "during @> timestamptz '2026-02-01 00:30+00'", &[], ""),
    ("gist", "during @> $1::timestamptz", &["2026-02-01 00:30+00"], ""),
    ("gist", "during && tstzrange('2026-02-01', '2026-02-02')", &[], ""),
    ("gist", "spot <@ box '((1,1),(2,2))'", &[], ""),
    ("gist order", "true", &[], "ORDER BY spot <-> point '(3,3)' LIMIT 5"),
    ("brin", "day >= '2026-01-13 00:00'::timestamp + interval '20 hours'", &[], ""),
    ("brin", "day BETWEEN $1 AND $1::timestamp + interval '1 hour'", &["2026-01-03 00:00"], ""),
    ("hash", "title = 'title 77'", &[], ""),
];

/// Cells whose index is lost, as docs/performance.md says: the condition could fail by the value of a row.
const LOST: &[Cell] = &[
    ("expression", "(doc ->> 'k')::int = 5", &[], ""),
    ("gin_trgm", "note ~ 'note abcd'", &[], ""),
    ("gin_trgm", "note LIKE concat('%', $1::text, '%')", &["note abcd"], ""),
];

/// The plan as EXPLAIN shows it without costs: nodes and index conditions. Filters are left out, and the one-time filter that
/// tries an operand, with its node; and what puts off a query that is compared with.
fn plan(session: &mut Session, sql: &str, values: &[&str]) -> Vec<String> {
    let sql = format!("EXPLAIN (COSTS OFF) {sql}");
    let values: Vec<Option<&str>> = values.iter().copied().map(Some).collect();
    session.send(&match values.as_slice() {
        [] => message::query(&sql),
        values => [message::extended(&sql, values), message::sync()].concat(),
    });
    let lines = session.collect(1).ok().first_column();
    let lines = lines.iter().map(|line| line.trim().trim_start_matches("-> ").trim().replace("event.", ""));
    let late =
        regex::Regex::new(r"CASE WHEN \(now\(\) IS NULL\) THEN NULL::\w+ ELSE (.+?) END").expect("an expression");
    let lines = lines.map(|line| late.replace(&line, "$1").into_owned());
    let left_out = ["Filter", "Join Filter", "One-Time Filter", "Result", "Rows Removed"];
    lines.filter(|line| !left_out.iter().any(|it| line.starts_with(it))).collect()
}

fn text((_, condition, _, rest): &Cell, own: &str) -> String {
    let condition =
        condition.replace("FROM event", if own.is_empty() { "FROM event" } else { "FROM event WHERE tenant_id = 1" });
    format!("SELECT id FROM event WHERE {own}{condition} {rest}")
}

fn sessions(database: &str) -> (Proxy, Session, Session) {
    sessions_with(database, &[])
}

fn sessions_with(database: &str, settings: &[&str]) -> (Proxy, Session, Session) {
    let lab = Lab::general();
    lab.copy_of_shop(database);
    lab.run(database, TABLE);
    for setting in settings {
        lab.run("postgres", &format!("ALTER DATABASE {database} SET {setting}"));
    }
    let proxy = Proxy::start(lab, &Setup { database: database.to_owned(), ..Setup::default() });
    let guarded = proxy.a().connect();
    let by_hand = lab.owner(database).connect();
    (proxy, guarded, by_hand)
}

#[test]
fn plans_are_those_of_predicates_by_hand() {
    let (_proxy, mut guarded, mut by_hand) = sessions("plans_matrix");
    let mut other = Vec::new();
    for cell in SAME {
        let (method, condition, values, _) = cell;
        let wanted = plan(&mut by_hand, &text(cell, "tenant_id = 1 AND "), values);
        let got = plan(&mut guarded, &text(cell, ""), values);
        if got != wanted {
            other.push(format!("{method}: {condition}\n    by hand {wanted:?}\n    guarded {got:?}"));
        }
    }
    assert!(other.is_empty(), "{} of {} differ:\n{}", other.len(), SAME.len(), other.join("\n"));
}

/// The same rows come out, of the tenant's own.
#[test]
fn rows_are_those_of_predicates_by_hand() {
    let (_proxy, mut guarded, mut by_hand) = sessions("plans_rows");
    for cell in SAME.iter().chain(LOST) {
        let rows = |session: &mut Session, sql: String| {
            let values: Vec<Option<&str>> = cell.2.iter().copied().map(Some).collect();
            let mut rows = match values.as_slice() {
                [] => session.simple(sql),
                values => session.extended(&sql, values),
            }
            .ok()
            .first_column();
            rows.sort();
            rows
        };
        let wanted = rows(&mut by_hand, text(cell, "tenant_id = 1 AND "));
        assert_eq!(rows(&mut guarded, text(cell, "")), wanted, "{}", cell.1);
    }
}

/// What docs/performance.md lists as lost is: else it would have to be moved to the others.
#[test]
fn what_could_fail_by_a_value_loses_its_index() {
    let (_proxy, mut guarded, mut by_hand) = sessions("plans_lost");
    for cell in LOST {
        let wanted = plan(&mut by_hand, &text(cell, "tenant_id = 1 AND "), cell.2);
        assert_ne!(plan(&mut guarded, &text(cell, ""), cell.2), wanted, "{}", cell.1);
    }
}

/// `pg_type.oid` of text.
const TEXT: u32 = 25;

/// An operand that fails when it is evaluated fails whoever has rows: with an index over them that finds some, with one that finds
/// none, and on a table that holds nothing of the tenant's. The plans are generic, so that nothing is known when they are made.
#[test]
fn what_is_tried_fails_for_everybody() {
    let settings = ["plan_cache_mode = force_generic_plan"];
    let (_proxy, mut guarded, mut by_hand) = sessions_with("plans_tried", &settings);
    let mut bites = 0;
    for (number, (condition, value, types)) in [
        ("at >= date_trunc($1, now())", "bogus", &[][..]),
        ("at >= now() - $1::text::interval", "bogus", &[]),
        ("due = current_date + $1::int", "2147483647", &[]),
        ("title LIKE $1", "\\", &[]),
        ("title LIKE 'title%' || $1", "\\", &[]),
        ("note ILIKE $1::text", "%\\", &[]),
        ("body @@ to_tsquery('simple', $1)", "a &", &[]),
        ("doc @> ($1::text)::jsonb", "{", &[]),
        // Parameters that have another type than they are cast to: as declared, or as their first place says.
        ("due = $1::date", "bogus", &[TEXT]),
        ("due = ANY ($1::date[])", "bogus", &[TEXT]),
        ("title <> $1 AND due = $1::date", "bogus", &[]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut outcomes = Vec::new();
        // Rows of both, of nobody.
        for range in ["project_id BETWEEN 3 AND 30", "project_id BETWEEN -30 AND -3"] {
            let run = |session: &mut Session, own: &str, name: &str| {
                let sql = format!("SELECT 1 FROM event WHERE {own}{range} AND {condition}");
                session.send(
                    &[
                        message::parse(name, &sql, types),
                        message::bind("", name, &[Some(value)], &[]),
                        message::execute("", 0),
                        message::sync(),
                    ]
                    .concat(),
                );
                let reply = session.collect(1);
                println!("{name}: {}", reply.text());
                reply.sqlstate().to_owned()
            };
            let name = format!("tried_{number}_{}", outcomes.len());
            outcomes.push((run(&mut guarded, "", &name), run(&mut by_hand, "tenant_id = 1 AND ", &name)));
        }
        let [(some, naive_some), (none, naive_none)] = outcomes.as_slice() else { panic!("two ranges") };
        bites += usize::from(naive_some != naive_none);
        assert_eq!(some, none, "{condition} tells whether there are rows");
        println!("{condition}: {some:?} {none:?}, by hand {naive_some:?} {naive_none:?}");
    }
    assert!(bites > 2, "by hand, {bites} of them tell");
}
