//! Expressions of a definition, as far as names in strings are looked for in them: constants, columns and casts are made out of
//! the serialised tree again, all else is something that is computed.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, ColumnRef, Float, FuncCall, Integer, Node, SqlValueFunction, String as Name, TypeCast, TypeName, a_const,
};
use serde_json::Value;

use super::names::strings;

/// The expression of a serialised node.
pub(super) fn expression(value: &Value) -> Node {
    let inner = value.get("node").unwrap_or(value);
    let node = if let Some(constant) = inner.get("AConst") {
        NodeEnum::AConst(AConst { val: constant_value(constant), isnull: is_set(constant, "isnull"), location: 0 })
    } else if let Some(cast) = inner.get("TypeCast") {
        NodeEnum::TypeCast(Box::new(type_cast(cast)))
    } else if let Some(column) = inner.get("ColumnRef").filter(|column| names_one(column)) {
        NodeEnum::ColumnRef(ColumnRef { fields: column.get("fields").map(names).unwrap_or_default(), location: 0 })
    } else if inner.get("SqlvalueFunction").is_some() {
        NodeEnum::SqlvalueFunction(Box::<SqlValueFunction>::default())
    } else {
        NodeEnum::FuncCall(Box::<FuncCall>::default())
    };
    Node { node: Some(node) }
}

/// A cast and what it is of.
pub(super) fn type_cast(cast: &Value) -> TypeCast {
    let arg = cast.get("arg").map(|arg| Box::new(expression(arg)));
    TypeCast { arg, type_name: cast.get("type_name").map(type_name), location: 0 }
}

fn type_name(name: &Value) -> TypeName {
    // Of modifiers and bounds it counts that there are some.
    let some = |field: &str| vec![Node::default(); name.get(field).and_then(Value::as_array).map_or(0, Vec::len)];
    TypeName {
        names: name.get("names").map(names).unwrap_or_default(),
        setof: is_set(name, "setof"),
        pct_type: is_set(name, "pct_type"),
        typmods: some("typmods"),
        array_bounds: some("array_bounds"),
        ..TypeName::default()
    }
}

fn constant_value(constant: &Value) -> Option<a_const::Val> {
    let val = constant.get("val")?;
    if let Some(text) = val.pointer("/Sval/sval").and_then(Value::as_str) {
        Some(a_const::Val::Sval(Name { sval: text.to_owned() }))
    } else if let Some(number) = val.pointer("/Ival/ival").and_then(Value::as_i64) {
        Some(a_const::Val::Ival(Integer { ival: i32::try_from(number).unwrap_or(-1) }))
    } else if val.is_null() {
        None
    } else {
        // Of another kind: no name.
        Some(a_const::Val::Fval(Float::default()))
    }
}

fn is_set(fields: &Value, field: &str) -> bool {
    fields.get(field).and_then(Value::as_bool).unwrap_or(false)
}

/// No `t.*`
fn names_one(column: &Value) -> bool {
    let fields = column.get("fields").and_then(Value::as_array).map_or(0, Vec::len);
    column.get("fields").is_some_and(|names| strings(names).len() == fields)
}

fn names(list: &Value) -> Vec<Node> {
    strings(list).into_iter().map(|it| Node { node: Some(NodeEnum::String(Name { sval: it.to_owned() })) }).collect()
}
