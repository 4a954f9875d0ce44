//! Conditions that stand beside the predicate although their operators are not leakproof, and what tries their operands.

use std::sync::Arc;

use super::fixture::{policy, text};
use crate::base::oid::{BOOL, BPCHAR, INT4, INT8, TEXT, TIMESTAMPTZ, VARCHAR};
use crate::base::{Mode, Oid, Refusal};
use crate::catalog::{Operator, Texts, TypeInfo, Volatility};
use crate::guard::{Plan, Policy, Protocol, TableRule, fixture, plan_statements};

const JSONB: Oid = 3802;
const TSVECTOR: Oid = 3614;
const TSQUERY: Oid = 3615;
const TEXTS: Oid = 1009;
const TSTZRANGE: Oid = 3910;
const NUMRANGE: Oid = 3906;
const CITEXT: Oid = 20_001;
const BOX: Oid = 603;

const TYPES: &[(Oid, &str)] = &[
    (JSONB, "jsonb"),
    (TSVECTOR, "tsvector"),
    (TSQUERY, "tsquery"),
    (TEXTS, "_text"),
    (TSTZRANGE, "tstzrange"),
    (NUMRANGE, "numrange"),
    (BPCHAR, "bpchar"),
    (1186, "interval"),
    (BOX, "box"),
];

/// Of `event`, a tenant table with columns of many types.
fn world(texts: Texts) -> Policy {
    let mut policy = policy();
    let columns = [
        ("id", INT8),
        ("tenant_id", INT4),
        ("email", TEXT),
        ("code", BPCHAR),
        ("at", TIMESTAMPTZ),
        ("doc", JSONB),
        ("other", JSONB),
        ("body", TSVECTOR),
        ("tags", TEXTS),
        ("labels", TEXTS),
        ("during", TSTZRANGE),
        ("price", NUMRANGE),
        ("login", CITEXT),
        ("area", BOX),
        ("place", BOX),
    ];
    let catalog = Arc::make_mut(&mut policy.catalog);
    catalog.texts = texts;
    catalog.types.extend(fixture::types(TYPES));
    let citext = TypeInfo { oid: CITEXT, name: fixture::named("extensions.citext"), typtype: 'b', base: CITEXT };
    catalog.types.insert(CITEXT, citext);
    let table = fixture::table("event", &columns);
    catalog.relations.insert(table.name.clone(), table);
    let mut add = |name: &str, left, right, result, extension: Option<&str>| {
        let full = format!("{}.{name}", if extension.is_some() { "extensions" } else { "pg_catalog" });
        let operator = Operator {
            result,
            extension: extension.map(str::to_owned),
            ..fixture::operator(&full, left, right, false)
        };
        catalog.operators.entry(name.to_owned()).or_default().push(operator);
    };
    for name in ["@>", "<@"] {
        add(name, JSONB, JSONB, BOOL, None);
        add(name, 2277, 2277, BOOL, None);
        add(name, 3831, 3831, BOOL, None);
        add(name, BOX, BOX, BOOL, None);
    }
    add("@>", 3831, 2283, BOOL, None);
    add("&&", 2277, 2277, BOOL, None);
    add("=", 2277, 2277, BOOL, None);
    add("?", JSONB, TEXT, BOOL, None);
    add("->", JSONB, TEXT, JSONB, None);
    add("->>", JSONB, TEXT, TEXT, None);
    add("@@", TSVECTOR, TSQUERY, BOOL, None);
    for name in ["~~", "~~*", "!~~", "!~~*"] {
        add(name, BPCHAR, TEXT, BOOL, None);
        add(name, TEXT, TEXT, BOOL, None);
        add(name, CITEXT, CITEXT, BOOL, Some("citext"));
    }
    add("=", CITEXT, CITEXT, BOOL, Some("citext"));
    for joined in catalog.operators.get_mut("||").into_iter().flatten() {
        joined.result = TEXT;
    }
    for name in ["plainto_tsquery", "upper", "date_trunc"] {
        let volatility = if name == "upper" { Volatility::Immutable } else { Volatility::Stable };
        let mut function = fixture::function(&format!("pg_catalog.{name}"), volatility);
        if name == "plainto_tsquery" {
            function.returns = TSQUERY;
        }
        if name == "date_trunc" {
            (function.arg_types, function.returns) = (vec![TEXT, TIMESTAMPTZ], TIMESTAMPTZ);
        }
        catalog.functions.insert(name.to_owned(), vec![function]);
    }
    policy.tables.insert(fixture::named("event"), TableRule::Tenant(fixture::tenant_table("tenant_id")));
    policy
}

fn planned(texts: Texts, sql: &str) -> Result<Plan, Refusal> {
    plan_statements(&world(texts), &Mode::Shared, Protocol::Extended { param_types: &[] }, sql)
        .map(|mut all| all.remove(0))
}

const UTF8: Texts = Texts { utf8: true, loose_collations: false };

/// What is sent for a condition on `event`, with the predicate left out.
fn sent(condition: &str) -> String {
    let plan = planned(UTF8, &format!("SELECT id FROM event e WHERE {condition}"))
        .unwrap_or_else(|refusal| panic!("{condition}: {:?}", refusal.error));
    let text = text(&plan);
    let (_, rest) = text.split_once("WHERE e.tenant_id OPERATOR(pg_catalog.=) $").unwrap_or_else(|| panic!("{text}"));
    rest.split_once(" AND ").map_or("", |it| it.1).to_owned()
}

fn is_guarded(condition: &str) -> bool {
    sent(condition).starts_with("CASE WHEN e.tenant_id OPERATOR(pg_catalog.=) $")
}

fn is_tried(condition: &str) -> bool {
    let sent = sent(condition);
    !is_guarded(condition)
        && ["ELSE true END", "OPERATOR(pg_catalog.>) 0", "OPERATOR(pg_catalog.>=) 0 END"]
            .iter()
            .any(|it| sent.ends_with(it))
}

#[test]
fn what_fails_on_nothing_stands_bare() {
    for condition in [
        "lower(email) = $1",
        "lower(email) = lower($1)",
        "email = upper('x')",
        "doc ->> 'k' = 'v'",
        "doc -> 'a' ->> $1 = 'v'",
        "doc ? 'k'",
        "tags && ARRAY['a', 'b']",
        "tags && '{a}'",
        "tags && labels",
        "tags = $1",
        "login = $1",
        "($1 IS NULL OR id = $1)",
        "($1::int8 IS NULL OR id = $1::int8)",
        "at <= now()",
        "NOT (tags && $1)",
        "lower(email) IS NULL",
    ] {
        let sent = sent(condition);
        assert!(!sent.contains("CASE"), "{condition}: {sent}");
    }
    for (condition, spelled) in [
        ("tags @> $1", "tags @> $1::pg_catalog._text"),
        ("during @> $1::timestamptz", "during @> $1::timestamptz"),
        ("during @> now()", "during @> now()"),
    ] {
        assert!(sent(condition).starts_with(spelled), "{condition}: {}", sent(condition));
    }
}

#[test]
fn what_could_fail_is_tried() {
    for condition in [
        "at >= now() - interval '1 hour'",
        "at >= now() - $1::interval",
        "at BETWEEN date_trunc('day', now()) AND now()",
        "at IN (now() - interval '1 hour', now())",
        "email LIKE 'a%'",
        "email NOT LIKE $1",
        "email ILIKE '%' || $1 || '%'",
        "lower(email) LIKE lower($1)",
        "code LIKE 'a%'",
        "login LIKE $1",
        "($1 IS NULL OR email LIKE $1)",
        "doc ->> 'k' LIKE 'v%'",
        "body @@ plainto_tsquery('x')",
        "body @@ $1",
        "doc @> '{}'",
        "doc @> $1::jsonb",
        "during @> (now() - interval '1 hour')",
    ] {
        assert!(is_tried(condition), "{condition}: {}", sent(condition));
    }
}

#[test]
fn what_fails_by_a_value_stays_behind_the_case() {
    for condition in [
        // patterns, documents and queries from a column
        "'x' LIKE email",
        "email LIKE email",
        "email LIKE email || '%'",
        "email LIKE '%' || doc::text",
        "email LIKE 'a\\'",
        "email LIKE $1 || 'a\\'",
        "doc @> other",
        "doc @> (doc -> 'x')",
        "other <@ doc",
        "tags @> labels",
        "area @> place",
        // not known when the planner tries it on statistics
        "email LIKE concat('%', $1)",
        "email LIKE now()::text",
        "doc @> to_jsonb(now())",
        // other operators, casts, volatile and unknown functions
        "email ~ 'a'",
        "email SIMILAR TO 'a%'",
        "(doc ->> 'k')::int = 5",
        "length(email) = 5",
        "lower(email || 'x') = 'x'",
        "at >= clock_timestamp()",
        "at >= now() - at",
        "price @> 5.0",
        "price && price",
        "email = query_to_text($1)",
        "email LIKE ANY (ARRAY['a%'])",
        "email LIKE 'a%' COLLATE \"C\"",
        // where the other side of OR is true, it must not fail
        "(id = 1 OR at >= now() - interval '1 hour')",
        "NOT (body @@ plainto_tsquery('x'))",
    ] {
        match planned(UTF8, &format!("SELECT id FROM event e WHERE {condition}")) {
            Ok(_) => assert!(is_guarded(condition), "{condition}: {}", sent(condition)),
            // The gate does not know it.
            Err(refusal) => assert_eq!(refusal.error.code.to_string(), "42883", "{condition}: {:?}", refusal.error),
        }
    }
}

/// A parameter that has another type than it is cast to is cast when the statement runs: that may fail.
#[test]
fn casts_of_parameters_that_have_another_type_are_tried() {
    let sent = |types: &[Oid], condition: &str| {
        let sql = format!("SELECT id FROM event e WHERE {condition}");
        let protocol = Protocol::Extended { param_types: types };
        text(&plan_statements(&world(UTF8), &Mode::Shared, protocol, &sql).unwrap().remove(0))
    };
    let tried = "CASE WHEN $1::bigint IS NULL THEN true ELSE true END";
    let any = "CASE WHEN $1::bigint[] IS NULL THEN true ELSE true END";
    for (types, condition, trial) in [
        (&[][..], "id = $1::bigint", None),
        (&[0], "($1::bigint IS NULL OR id = $1::bigint)", None),
        (&[], "($1::bigint IS NULL OR id = $1)", None),
        (&[INT8], "id = $1::bigint", None),
        (&[INT4], "id = $1::bigint", None),
        (&[TEXT], "id = $1::bigint", Some(tried)),
        (&[TEXT], "id IN ($1::bigint, 5)", Some(tried)),
        (&[TEXT], "id BETWEEN $1::bigint AND 5", Some(tried)),
        // The first place gives it its type.
        (&[], "email = $1 AND id = $1::bigint", Some(tried)),
        (&[], "email = $1::text AND id = $1::bigint", Some(tried)),
        (&[], "id = ANY ($1::bigint[])", None),
        (&[TEXT], "id = ANY ($1::bigint[])", Some(any)),
        (&[], "id = ANY (ARRAY[$1, $2]::bigint[])", None),
        (&[VARCHAR], "email = $1::text", None),
        (&[TEXT], "doc @> $1::jsonb", Some("'$.**{500}'")),
        (&[], "email = $1 AND tags @> $1", Some("CASE WHEN $1::pg_catalog._text IS NULL")),
    ] {
        let sent = sent(types, condition);
        assert_eq!(sent.contains("CASE"), trial.is_some(), "{types:?} {condition}: {sent}");
        assert!(trial.is_none_or(|trial| sent.contains(trial)), "{types:?} {condition}: {sent}");
    }
    for (types, condition) in [
        (&[TEXT][..], "(id = $1::bigint OR email = 'x')"),
        (&[], "(email = $1 OR id = $1::bigint)"),
        (&[], "($1::bigint IS NULL OR id = $1) AND email = $1::text"),
        (&[TEXT], "($1::bigint IS NULL OR id = 5)"),
    ] {
        let sent = sent(types, condition);
        assert!(sent.contains("CASE WHEN e.tenant_id OPERATOR"), "{types:?} {condition}: {sent}");
    }
    // PREPARE declares types too.
    let prepared = |argtypes: &str| {
        let sql = format!("PREPARE p{argtypes} AS SELECT id FROM event e WHERE id = $1::bigint");
        text(&plan_statements(&world(UTF8), &Mode::Shared, Protocol::Simple, &sql).unwrap().remove(0))
    };
    assert!(!prepared("").contains("CASE") && !prepared("(bigint)").contains("CASE"), "{}", prepared(""));
    assert!(prepared("(text)").contains(tried) && prepared("(x.y)").contains(tried), "{}", prepared("(text)"));
}

/// Hundreds of them are planned in a moment: each trial is looked for once.
#[test]
fn many_trials_are_quickly_planned() {
    let conditions: Vec<String> = (0..400).map(|n| format!("email LIKE 'a{n}%'")).collect();
    let started = std::time::Instant::now();
    let sent = sent(&conditions.join(" AND "));
    assert_eq!(sent.matches("ELSE (pg_catalog.length").count(), 400, "{sent:.300}");
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn other_encodings_and_collations_keep_texts_behind_the_case() {
    for texts in [Texts { utf8: false, loose_collations: false }, Texts { utf8: true, loose_collations: true }] {
        let sent = |condition: &str| text(&planned(texts, &format!("SELECT id FROM event WHERE {condition}")).unwrap());
        assert!(sent("email LIKE 'a%'").contains("THEN email LIKE"), "{texts:?}");
        assert_eq!(sent("lower(email) = 'a'").contains("THEN lower(email)"), !texts.utf8, "{texts:?}");
        assert_eq!(sent("login = 'a'").contains("THEN login"), !texts.utf8, "{texts:?}");
    }
}

#[test]
fn a_trial_is_held_once_or_not_at_all() {
    let sent = |sql: &str| text(&planned(UTF8, sql).unwrap());
    let hour = "e.at >= now() - interval '1 hour'";
    let tried = "CASE WHEN now() - '1 hour'::interval IS NULL THEN true ELSE true END";
    for (sql, once) in [
        (format!("SELECT 1 FROM event e WHERE {hour}"), true),
        (format!("SELECT 1 FROM orders o JOIN event e ON e.id = o.id AND {hour}"), true),
        (format!("UPDATE event e SET email = 'x' WHERE {hour}"), true),
        (format!("SELECT 1 FROM orders o LEFT JOIN event e ON e.id = o.id AND {hour}"), false),
        (format!("SELECT 1 FROM orders o WHERE EXISTS (SELECT 1 FROM event e WHERE e.id = o.id AND {hour})"), false),
        (format!("SELECT at FROM event e GROUP BY at HAVING {hour}"), false),
    ] {
        assert_eq!(sent(&sql).contains(tried), once, "{sql}: {}", sent(&sql));
        assert_eq!(sent(&sql).contains("THEN e.at >="), !once, "{sql}: {}", sent(&sql));
    }
    // The planner knows a literal everywhere.
    let literal = "SELECT 1 FROM orders o LEFT JOIN event e ON e.id = o.id AND e.email LIKE 'a%'";
    assert!(sent(literal).contains("pg_catalog.repeat(pg_catalog.chr(92), 2)"), "{}", sent(literal));
    assert!(sent(&literal.replace("'a%'", "$1")).contains("THEN e.email LIKE $1"));
    // Two of one kind share it.
    assert_eq!(sent(&format!("SELECT 1 FROM event e WHERE {hour} AND id > 5 AND {hour}")).matches(tried).count(), 1);
}
