//! Indexes that conditions of tenants do not reach, since the guard evaluates those on the tenant's own rows first: it is asked
//! about each.

use tokio_postgres::{Client, Error};

use super::{Finding, Line, Schema, Severity};
use crate::base::Mode;
use crate::guard::{Policy, Protocol, plan_statements};

/// Keys that are expressions, keys of access methods for more than comparison, and predicates of partial indexes.
const KEYS: &str = "SELECT t.oid::regclass::text AS object, pg_catalog.format('%I.%I', n.nspname, c.relname) AS relation, i.indexrelid::regclass::text AS index, \
           pg_catalog.quote_ident(t.col) AS col, m.amname::text AS method, k.n = 0 AS partial, k.n > 0 AND i.indkey[k.n - 1] = 0 AS expression, \
           CASE WHEN k.n = 0 THEN pg_catalog.pg_get_expr(i.indpred, i.indrelid) ELSE pg_catalog.pg_get_indexdef(i.indexrelid, k.n, true) END AS key, \
           coalesce(pg_catalog.format_type(a.atttypid, a.atttypmod), '') AS type, coalesce(y.typcategory::text, '') AS category \
    FROM t JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_index i ON i.indrelid = t.oid AND i.indisvalid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = x.relam \
    CROSS JOIN LATERAL pg_catalog.generate_series(0, i.indnkeyatts) AS k(n) \
    LEFT JOIN pg_catalog.pg_attribute a ON k.n > 0 AND a.attrelid = t.oid AND a.attnum = i.indkey[k.n - 1] AND a.attnum > 0 \
    LEFT JOIN pg_catalog.pg_type y ON y.oid = a.atttypid \
    WHERE NOT c.relispartition AND CASE WHEN k.n = 0 THEN i.indpred IS NOT NULL ELSE i.indkey[k.n - 1] = 0 OR m.amname IN ('gin', 'gist') END";

/// Indexes whose conditions stand behind a CASE.
pub async fn unusable_indexes(client: &Client, schema: &Schema, policy: &Policy) -> Result<Vec<Finding>, Error> {
    schema.findings(client, KEYS, |line| unusable(line, policy)).await
}

fn unusable(line: &Line<'_>, policy: &Policy) -> Option<Finding> {
    let [object, relation, index, column, key] = ["object", "relation", "index", "col", "key"].map(|it| line.text(it));
    let partial = line.is("partial");
    let condition = if partial { key.clone() } else { condition(line)? };
    let sql = format!("SELECT 1 FROM {relation} WHERE {condition}");
    // What is refused is found elsewhere.
    let plans = plan_statements(policy, &Mode::Shared, Protocol::Extended { param_types: &[] }, &sql).ok()?;
    if !plans.iter().flat_map(|plan| &plan.notes).any(|note| note.contains("not plain")) {
        return None;
    }
    let what = if partial {
        format!(
            "conditions that imply the predicate of {index} ({key}) are evaluated on the tenant's rows only, and do not reach it"
        )
    } else {
        format!("conditions like {condition} are evaluated on the tenant's rows only, and do not reach {index}")
    };
    let serves = if partial {
        format!("an index that begins with {column}, without that predicate or with one of plain comparisons")
    } else if key.starts_with("to_tsvector") {
        format!(
            "a column of type tsvector GENERATED ALWAYS AS ({key}) STORED, with an index USING gin, and conditions on that column"
        )
    } else if line.is("expression") {
        format!(
            "a column GENERATED ALWAYS AS ({key}) STORED, with an index on ({column}, that column), and conditions on it; or compare what is \
             within the expression; or an index that begins with {column}, where a tenant has few rows; a function of your own may be \
             marked LEAKPROOF, if it is"
        )
    } else {
        format!(
            "an index that begins with {column}, where a tenant has few rows; or a condition of another kind beside it"
        )
    };
    let why = "such a condition may fail on a row, and the error would tell of another tenant's: so the index costs writes and serves operators only";
    Some(Finding::new(Severity::Low, "index-not-reached", object, what, why).advice(format!("what serves: {serves}")))
}

/// A condition that an index key is made for.
fn condition(line: &Line<'_>) -> Option<String> {
    let [key, method, kind, category] = ["key", "method", "type", "category"].map(|it| line.text(it));
    let text_search = kind == "tsvector" || key.starts_with("to_tsvector");
    match (method.as_str(), kind.as_str(), category.as_str()) {
        ("gin" | "gist", ..) if text_search => Some(format!("{key} @@ plainto_tsquery('simple', 'x')")),
        ("gin", "jsonb", _) => Some(format!("{key} @> '{{\"a\": 1}}'")),
        ("gin" | "gist", _, "S") => Some(format!("{key} LIKE '%abc%'")),
        ("gin", _, "A") => Some(format!("{key} @> $1")),
        ("gist", range, "R") => Some(format!("{key} && 'empty'::{range}")),
        ("btree" | "hash" | "brin", ..) => Some(format!("({key}) = $1")),
        _ => None,
    }
}
