//! A parse tree as plain data: structs are objects, and a `Node` is `{"node": {"Kind": {...}}}`.

use serde_json::Value;

/// A node's kind and fields.
pub(super) fn node(value: &Value) -> Option<(&str, &Value)> {
    let inner = value.as_object()?.get("node")?.as_object()?;
    inner.iter().next().map(|(kind, fields)| (kind.as_str(), fields))
}

/// The fields of a node of that kind.
pub(super) fn node_of<'v>(value: &'v Value, kind: &str) -> Option<&'v Value> {
    node(value).and_then(|(found, fields)| (found == kind).then_some(fields))
}

/// A field; null where there is none.
pub(super) fn field<'v>(fields: &'v Value, name: &str) -> &'v Value {
    fields.get(name).unwrap_or(&Value::Null)
}

/// A list field's items.
pub(super) fn items<'v>(fields: &'v Value, name: &str) -> &'v [Value] {
    field(fields, name).as_array().map_or(&[], Vec::as_slice)
}

/// A text field; empty where there is none.
pub(super) fn text<'v>(fields: &'v Value, name: &str) -> &'v str {
    field(fields, name).as_str().unwrap_or_default()
}

/// A number field: enums are their protobuf numbers.
pub(super) fn number(fields: &Value, name: &str) -> i64 {
    field(fields, name).as_i64().unwrap_or_default()
}

/// A list of `String` nodes as texts; `None` if any is something else.
pub(super) fn strings<'v>(fields: &'v Value, name: &str) -> Option<Vec<&'v str>> {
    items(fields, name).iter().map(|item| Some(text(node_of(item, "String")?, "sval"))).collect()
}

/// The top-level conjuncts of a condition: AND is flattened, nothing else is looked into.
pub(super) fn conjuncts(condition: &Value) -> Vec<&Value> {
    /// `BoolExprType::AndExpr`
    const AND: i64 = 1;
    match node_of(condition, "BoolExpr") {
        Some(expr) if number(expr, "boolop") == AND => items(expr, "args").iter().flat_map(conjuncts).collect(),
        Some(_) => vec![condition],
        None if condition.is_null() => vec![],
        None => vec![condition],
    }
}

/// The constant NULL.
pub(super) fn is_null(value: &Value) -> bool {
    value.pointer("/node/AConst/isnull").is_some_and(|b| b == true)
}
