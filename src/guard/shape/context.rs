//! In which places of a statement a literal's value cannot change the verdict.
//!
//! The guard looks at literals as arguments of functions (`nextval('...')`), under casts to `regclass` and its kin, in
//! type modifiers, in utility statements. Those stay part of the shape. Operands of operators, rows of VALUES, values
//! of SET and LIMIT are data: for them the guard asks at most whether they are the tenant's own key, and that is a
//! `TenantCheck`, made anew for each text.

use std::collections::HashSet;

use pg_query::protobuf::RawStmt;
use serde_json::{Map, Value};

/// Types to which a literal may be cast without the guard caring for its value. `regclass` and its kin are not among them.
const PLAIN_TYPES: [&str; 19] = [
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "bool",
    "text",
    "varchar",
    "bpchar",
    "uuid",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "interval",
    "json",
    "jsonb",
    "bytea",
];

/// Byte positions of the constants that may differ within a shape.
pub(super) fn data_positions(trees: &[RawStmt]) -> HashSet<usize> {
    let mut found = HashSet::new();
    if let Ok(Value::Array(statements)) = serde_json::to_value(trees) {
        let nodes: Vec<_> =
            statements.iter().filter_map(|raw| raw.pointer("/stmt/node")?.as_object()?.iter().next()).collect();
        if nodes.iter().all(|(kind, _)| QUERIES.contains(&kind.as_str())) {
            nodes.iter().for_each(|(kind, fields)| walk_node(kind, fields, Place::Elsewhere, &mut found));
        }
    }
    found
}

/// Statements whose literals can be data.
const QUERIES: [&str; 6] = ["SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "NotifyStmt"];

/// What a node's parent makes of the literals directly below it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Data: any value gives the same verdict.
    Data,
    /// The value may matter.
    Elsewhere,
}

fn walk_node(kind: &str, fields: &Value, place: Place, found: &mut HashSet<usize>) {
    if kind == "AConst" {
        if place == Place::Data {
            found.extend(position(fields.get("location")));
        }
        return;
    }
    let Some(fields) = fields.as_object() else { return };
    match kind {
        // Without a payload it says 0, where the statement begins.
        "NotifyStmt" => found.extend(position(fields.get("payload_location")).filter(|at| *at > 0)),
        "FuncCall" if is_notify(fields) => {
            fields
                .get("args")
                .and_then(|args| args.get(1))
                .into_iter()
                .for_each(|it| walk_value(it, Place::Data, found));
        }
        _ => {}
    }
    for (name, value) in fields {
        walk_value(value, place_below(kind, name, fields, place), found);
    }
}

fn place_below(kind: &str, field: &str, fields: &Map<String, Value>, place: Place) -> Place {
    match (kind, field) {
        ("AExpr", "lexpr" | "rexpr") | ("ResTarget", "val") => Place::Data,
        ("CoalesceExpr", "args") | ("CaseExpr", "arg" | "defresult") | ("CaseWhen", "expr" | "result") => Place::Data,
        ("SelectStmt", "limit_count" | "limit_offset" | "values_lists") => Place::Data,
        ("BoolExpr" | "RowExpr", "args") | ("List", "items") | ("AArrayExpr", "elements") => place,
        ("TypeCast", "arg") if is_plain_cast(fields) => place,
        _ => Place::Elsewhere,
    }
}

fn walk_value(value: &Value, place: Place, found: &mut HashSet<usize>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk_value(item, place, found)),
        Value::Object(fields) => match fields.get("node").and_then(Value::as_object) {
            Some(node) => node.iter().for_each(|(kind, inner)| walk_node(kind, inner, place, found)),
            // A struct that stands in its field without a node around it: a nested SelectStmt, an ON CONFLICT clause ...
            None => fields.iter().for_each(|(name, inner)| {
                walk_value(inner, place_below("", name, fields, Place::Elsewhere), found);
            }),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn position(location: Option<&Value>) -> Option<usize> {
    location.and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok())
}

fn parts(names: Option<&Value>) -> Vec<&str> {
    let names = names.and_then(Value::as_array).into_iter().flatten();
    names.filter_map(|name| name.pointer("/node/String/sval").and_then(Value::as_str)).collect()
}

/// Whether it is a call of `pg_notify`, whose payload is data.
fn is_notify(call: &Map<String, Value>) -> bool {
    matches!(parts(call.get("funcname")).as_slice(), ["pg_notify"] | ["pg_catalog", "pg_notify"])
}

fn is_plain_cast(cast: &Map<String, Value>) -> bool {
    match parts(cast.get("type_name").and_then(|it| it.get("names"))).as_slice() {
        ["pg_catalog", name] | [name] => PLAIN_TYPES.contains(name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(sql: &str) -> Vec<&str> {
        let trees = crate::sql::parse::reparse(sql).unwrap();
        let mut found: Vec<_> = data_positions(&trees).into_iter().collect();
        found.sort_unstable();
        found.into_iter().map(|at| sql[at..].split([' ', ',', ')', ':', ';']).next().unwrap()).collect()
    }

    #[test]
    fn operands_and_rows_are_data() {
        assert_eq!(
            data("SELECT a FROM t WHERE b = 5 AND NOT (c IN (1, 2) OR d LIKE 'x') LIMIT 7 OFFSET 8"),
            ["5", "1", "2", "'x'", "7", "8"]
        );
        assert_eq!(data("INSERT INTO t VALUES (1, 'a'), ('2'::int, (3))"), ["1", "'a'", "'2'", "3"]);
        assert_eq!(data("UPDATE t SET a = 5, b = coalesce(c, 6) WHERE c = '7'::text"), ["5", "6", "'7'"]);
        assert_eq!(
            data("SELECT pg_notify('c', 'p'), pg_catalog.pg_notify('c' || 'd', 'q')"),
            ["'p'", "'c'", "'d'", "'q'"]
        );
        assert_eq!(data("NOTIFY c, 'p'"), ["'p'"]);
        assert_eq!(data("NOTIFY c"), [""; 0]);
        assert_eq!(data("SELECT 1 FROM t JOIN u ON t.a = 3 UNION SELECT 2"), ["1", "3", "2"]);
    }

    #[test]
    fn where_the_guard_may_look_it_is_not() {
        for sql in [
            "SELECT nextval('s'), f('a'::text)",
            "SELECT a FROM t WHERE b = 'c'::regclass AND d = 'x'::mine",
            "SELECT a::varchar(10) FROM t ORDER BY 1",
            "SET a = 5",
            "EXPLAIN SELECT a FROM t WHERE b = 5",
        ] {
            assert!(data(sql).is_empty(), "{sql}: {:?}", data(sql));
        }
    }
}
