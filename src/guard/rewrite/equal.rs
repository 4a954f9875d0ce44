//! Whether two trees are the same but for where their parts stood in the text.

use pg_query::protobuf::Node;
use serde_json::Value;

/// A text that trees have in common if they are the same but for where their parts stood.
pub(super) fn shape(tree: &Node) -> Option<String> {
    let mut value = serde_json::to_value(tree).ok()?;
    forget_places(&mut value);
    Some(value.to_string())
}

fn forget_places(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !PLACES.contains(&key.as_str()));
            fields.values_mut().for_each(forget_places);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_places),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Fields that hold offsets into the text.
const PLACES: [&str; 8] = [
    "location",
    "list_start",
    "list_end",
    "rexpr_list_start",
    "rexpr_list_end",
    "name_location",
    "arg_location",
    "payload_location",
];

/// Compares two trees, places in the text aside.
pub(super) fn same_tree(a: &Node, b: &Node) -> bool {
    match (serde_json::to_value(a), serde_json::to_value(b)) {
        (Ok(a), Ok(b)) => same(&a, &b),
        _ => false,
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| {
                    PLACES.contains(&key.as_str()) || b.get(key).is_some_and(|other| same(value, other))
                })
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b,
    }
}
