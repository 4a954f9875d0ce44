//! Every relation, type and function that a definition names, wherever it stands: in the schema layout they must be the
//! tenant's own or the system's.
//!
//! The tree is walked generically, as serialised, so that no place is forgotten: what looks like a name is one.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, RangeVar};
use serde_json::Value;

use super::expressions;
use crate::base::{Mode, Refusal, RefusalKind, SqlState};
use crate::guard::gate::dispatch::unsupported;
use crate::guard::gate::functions::{self, Before};
use crate::guard::gate::names::{ambiguous, denied, foreign_schema, may_be_named, parts, schema_is_own, truncated};
use crate::guard::gate::operators;
use crate::guard::gate::types::{self, Modifier};
use crate::guard::{Effect, Policy};

/// Checks every name in the tree.
pub(super) fn check(policy: &Policy, mode: &Mode, tree: &Node) -> Result<(), Refusal> {
    let value = serde_json::to_value(tree).map_err(|_| unsupported("this statement cannot be read"))?;
    walk(policy, mode, &value, matches!(tree.node, Some(NodeEnum::SelectStmt(_))))
}

/// `in_query`: names without a schema are seen to by the query's guard, which knows those of WITH.
fn walk(policy: &Policy, mode: &Mode, value: &Value, in_query: bool) -> Result<(), Refusal> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| walk(policy, mode, item, in_query)),
        Value::Object(fields) => {
            if let (Some(catalog), Some(schema), Some(name)) = (
                fields.get("catalogname").and_then(Value::as_str),
                fields.get("schemaname").and_then(Value::as_str),
                fields.get("relname"),
            ) {
                relation(mode, catalog, schema)?;
                if !in_query {
                    is_own_alone(policy, mode, schema, name.as_str().unwrap_or_default())?;
                }
            }
            if fields.contains_key("pct_type")
                && let Some(names) = fields.get("names")
            {
                let names = strings(names);
                type_name(policy, mode, &names)?;
                let modifiers = fields.get("typmods").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                if !modifiers.iter().all(|modifier| types::is_modifier(&names, kind(modifier))) {
                    return Err(types::bad_modifier());
                }
            }
            if let Some(cast) = fields.get("TypeCast") {
                types::check_lookup(policy, mode, &expressions::type_cast(cast))?;
            }
            if let (Some(_), Some(name)) = (fields.get("rexpr"), fields.get("name")) {
                operator(policy, mode, &strings(name))?;
            }
            if let Some(name) = fields.get("funcname") {
                function(policy, mode, &strings(name), fields.get("args"))?;
            }
            if let Some(list) = fields.get("indirection") {
                let mut names = strings(list).into_iter();
                names.try_for_each(|it| functions::check_field(policy, mode, Before::Value, it).map(|_| ()))?;
            }
            fields.iter().try_for_each(|(key, field)| walk(policy, mode, field, in_query || key == "query"))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn relation(mode: &Mode, catalog: &str, schema: &str) -> Result<(), Refusal> {
    if !catalog.is_empty() {
        return Err(Refusal::new(
            RefusalKind::Relation,
            SqlState::FEATURE_NOT_SUPPORTED,
            "cross-database references are not implemented",
        ));
    }
    if schema.is_empty() || schema == "pg_temp" || schema_is_own(mode, schema) {
        return Ok(());
    }
    Err(foreign_schema(schema))
}

/// A name that goes without its schema, or with that of temporary objects, must not be one that a common schema has: those that
/// can be named with the tenant's schema are by now.
fn is_own_alone(policy: &Policy, mode: &Mode, schema: &str, name: &str) -> Result<(), Refusal> {
    let Mode::Schema(own) = mode else { return Ok(()) };
    let open = schema.is_empty() || schema.starts_with("pg_temp");
    if open && policy.is_held_in_common(truncated(name)) { Err(ambiguous(own, name)) } else { Ok(()) }
}

fn type_name(policy: &Policy, mode: &Mode, names: &[&str]) -> Result<(), Refusal> {
    match names {
        [.., schema, _] if may_be_named(policy, mode, schema) => Ok(()),
        [.., schema, _] => Err(foreign_schema(schema)),
        // It is found on the search path, which is pinned.
        [_] => Ok(()),
        [] => Err(unsupported("this form of a name is not supported here")),
    }
}

fn kind(modifier: &Value) -> Option<Modifier> {
    if let Some(constant) = modifier.pointer("/node/AConst") {
        let is_integer = constant.pointer("/val/Ival").is_some();
        return Some(if is_integer { Modifier::Integer } else { Modifier::Constant });
    }
    let fields = modifier.pointer("/node/ColumnRef/fields")?;
    (strings(fields).len() == 1 && fields.as_array()?.len() == 1).then_some(Modifier::Name)
}

fn nodes_of(names: &[&str]) -> Vec<Node> {
    let node =
        |name: &&str| Node { node: Some(NodeEnum::String(pg_query::protobuf::String { sval: (*name).to_owned() })) };
    names.iter().map(node).collect()
}

/// An operator in a default, a check, an index. One without a schema that the catalog does not know (BETWEEN and its kin carry a
/// keyword) is the server's to refuse.
fn operator(policy: &Policy, mode: &Mode, names: &[&str]) -> Result<(), Refusal> {
    match names {
        [bare] if !policy.catalog.operators.contains_key(truncated(bare)) => Ok(()),
        _ => operators::check(policy, mode, &nodes_of(names)),
    }
}

/// A call in a default, a check, an index: by name, for it will run on rows to come. A sequence's name must be the tenant's.
fn function(policy: &Policy, mode: &Mode, names: &[&str], args: Option<&Value>) -> Result<(), Refusal> {
    let nodes = nodes_of(names);
    let given = args.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let given: Vec<Node> = match mode {
        Mode::Schema(_) => given.iter().map(expressions::expression).collect(),
        Mode::Shared | Mode::Reader | Mode::Database | Mode::Operator => Vec::new(),
    };
    let effects = functions::check(policy, mode, &nodes, &given)?;
    let held = names.last().is_some_and(|bare| functions::Printed::is_by(bare));
    if held && matches!(mode, Mode::Shared | Mode::Reader | Mode::Schema(_)) {
        return Err(denied(
            RefusalKind::Function,
            format!("permission denied for function {}", names.last().copied().unwrap_or_default()),
            "Which objects it may be asked about is looked at in a statement, not in a definition.",
        )
        .about(names.join(".")));
    }
    // Whoever sets it off later is not seen to: a lock or a seed would stay with the server connection, for its next client. What
    // is drawn is looked for where rows are added.
    let leaves = effects.iter().any(|effect| *effect != Effect::Draws) || functions::is_notify(&nodes);
    if leaves && matches!(mode, Mode::Schema(_)) {
        return Err(denied(
            RefusalKind::Function,
            format!("permission denied for function {}", names.last().copied().unwrap_or_default()),
            "What it leaves behind in the server's session cannot be followed from a definition. Call it in a statement.",
        )
        .about(names.join(".")));
    }
    if names.last() == Some(&"nextval") && matches!(mode, Mode::Schema(_)) {
        let name = args.and_then(only_literal).filter(|text| !functions::is_oid(text)).and_then(functions::split_name);
        return match name.as_deref() {
            Some([name]) => is_own_alone(policy, mode, "", name),
            Some([schema, _]) if schema_is_own(mode, schema) => Ok(()),
            Some([schema, _]) => Err(foreign_schema(schema)),
            _ => Err(denied(
                RefusalKind::Function,
                "permission denied for function nextval",
                "nextval() needs the sequence's name as a literal here.",
            )
            .about("nextval")),
        };
    }
    Ok(())
}

/// The texts of a list of `String` nodes.
pub(super) fn strings(list: &Value) -> Vec<&str> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| find(item, "sval")).filter_map(Value::as_str).collect()
}

/// The one argument, if it is a string literal, also under casts that leave it as it is.
fn only_literal(args: &Value) -> Option<&str> {
    let [argument] = args.as_array()?.as_slice() else { return None };
    let mut argument = argument;
    while let Some(cast) = argument.pointer("/node/TypeCast") {
        let name = cast.get("type_name")?;
        let bare =
            ["typmods", "array_bounds"].iter().all(|list| name.get(list).is_some_and(|it| it == &Value::Array(vec![])));
        let names = strings(name.get("names")?);
        if !bare || !matches!(names.as_slice(), ["text" | "regclass"] | ["pg_catalog", "text" | "varchar" | "regclass"])
        {
            return None;
        }
        argument = cast.get("arg")?;
    }
    argument.pointer("/node/AConst/val/Sval/sval")?.as_str()
}

/// The first field of that name, depth first.
fn find<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(fields) => fields.get(key).or_else(|| fields.values().find_map(|field| find(field, key))),
        Value::Array(items) => items.iter().find_map(|item| find(item, key)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// A relation that is made: in the tenant's schema, or temporary.
pub(super) fn range_var(policy: &Policy, mode: &Mode, name: Option<&RangeVar>) -> Result<(), Refusal> {
    match name {
        Some(name) => {
            relation(mode, &name.catalogname, &name.schemaname)?;
            is_own_alone(policy, mode, &name.schemaname, &name.relname)
        }
        None => Ok(()),
    }
}

/// A qualified name as a list of strings, of which the last `own_parts` are below the schema.
pub(super) fn list(policy: &Policy, mode: &Mode, names: &[Node], own_parts: usize) -> Result<(), Refusal> {
    let names = parts(names).ok_or_else(|| unsupported("this form of a name is not supported here"))?;
    match names.len().checked_sub(own_parts) {
        Some(0) => is_own_alone(policy, mode, "", names.first().copied().unwrap_or_default()),
        Some(1) => match names.first() {
            Some(schema) => relation(mode, "", schema),
            None => Ok(()),
        },
        _ => Err(unsupported("this form of a name is not supported here")),
    }
}

/// Whether a type is made in the temporary schema.
pub(super) fn in_temporary(names: &[Node]) -> bool {
    matches!(parts(names).as_deref(), Some([schema, _]) if schema.starts_with("pg_temp"))
}

/// `OWNED BY schema.table.column`
pub(super) fn owned_by(policy: &Policy, mode: &Mode, option: &Node) -> Result<(), Refusal> {
    let Some(NodeEnum::DefElem(elem)) = option.node.as_ref() else {
        return Err(unsupported("an unknown option"));
    };
    let Some(NodeEnum::List(names)) = elem.arg.as_deref().and_then(|a| a.node.as_ref()) else { return Ok(()) };
    if elem.defname == "owned_by" && names.items.len() > 1 {
        return list(policy, mode, &names.items, 2);
    }
    Ok(())
}
