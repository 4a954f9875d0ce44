//! SQL functions that compute on their arguments alone: they may be called without being listed. Their bodies are read
//! with Postgres's grammar; whatever is not known to be harmless makes a function unlisted again.

use serde_json::Value;

use super::{lists, reach};
use crate::base::Mode;
use crate::catalog::{Function, Operator, Volatility};
use crate::guard::Policy;
use crate::sql::parse;

/// Whether a function is `LANGUAGE sql`, runs with its caller's rights, and is one SELECT without a relation in it, of
/// immutable functions and operators of `pg_catalog`.
pub(super) fn is_pure(policy: &Policy, mode: &Mode, function: &Function) -> bool {
    let Some(body) = function.body.as_deref().filter(|_| function.language == "sql" && !function.security_definer)
    else {
        return false;
    };
    let Ok(statements) = parse::reparse(body) else { return false };
    let [statement] = statements.as_slice() else { return false };
    let Ok(tree) = serde_json::to_value(statement) else { return false };
    tree.pointer("/stmt/node/SelectStmt").is_some() && Body { policy, mode }.is_harmless(&tree)
}

struct Body<'p> {
    policy: &'p Policy,
    mode: &'p Mode,
}

impl Body<'_> {
    fn is_harmless(&self, value: &Value) -> bool {
        match value {
            Value::Array(items) => items.iter().all(|item| self.is_harmless(item)),
            Value::Object(fields) => match fields.get("node").and_then(Value::as_object) {
                Some(node) => {
                    node.iter().all(|(kind, inner)| self.is_harmless_node(kind, inner) && self.are_harmless(inner))
                }
                None => self.are_harmless(value),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }

    /// The fields of a struct.
    fn are_harmless(&self, fields: &Value) -> bool {
        let Some(fields) = fields.as_object() else { return self.is_harmless(fields) };
        !fields.contains_key("relname")
            && fields
                .iter()
                .all(|(name, inner)| (name != "type_name" || is_harmless_type(inner)) && self.is_harmless(inner))
    }

    fn is_harmless_node(&self, kind: &str, fields: &Value) -> bool {
        match kind {
            "FuncCall" => names(fields, "funcname").is_some_and(|name| self.is_harmless_call(&name)),
            "AExpr" => names(fields, "name").is_some_and(|name| self.is_system_operator(&name)),
            "ColumnRef" => {
                names(fields, "fields").is_some_and(|name| !self.is_function_in_disguise(name.last().copied()))
            }
            "TypeName" => is_harmless_type(fields),
            kind => INERT.contains(&kind),
        }
    }

    fn is_harmless_call(&self, name: &[&str]) -> bool {
        let (schema, bare) = match name {
            [bare] => (None, *bare),
            ["pg_catalog", bare] => (Some("pg_catalog"), *bare),
            _ => return false,
        };
        let found = super::candidates(self.policy, self.mode, schema, bare);
        let harmless = |f: &&Function| f.name.schema == "pg_catalog" && f.volatility == Volatility::Immutable;
        !found.is_empty() && !lists::DENIED.contains(&bare) && found.iter().all(harmless)
    }

    fn is_system_operator(&self, name: &[&str]) -> bool {
        let bare = match name {
            [bare] | ["pg_catalog", bare] => *bare,
            _ => return false,
        };
        let overloads = self.policy.catalog.operators.get(bare).map_or(&[][..], Vec::as_slice);
        let harmless = |o: &Operator| {
            o.name.schema == "pg_catalog" || o.extension.as_deref().is_some_and(reach::extension_is_safe)
        };
        // BETWEEN and its kin carry a keyword here, which has none.
        overloads.iter().all(harmless)
    }

    /// `x.f`, where `x` may be an argument of any type.
    fn is_function_in_disguise(&self, field: Option<&str>) -> bool {
        let Some(field) = field else { return false };
        let harmless = |f: &Function| {
            f.name.schema == "pg_catalog"
                && !lists::DENIED.contains(&field)
                && !super::fields::needs_parentheses(self.mode, field)
                && (f.volatility == Volatility::Immutable || lists::ALLOWED.contains(&field))
        };
        let mut found = super::candidates(self.policy, self.mode, None, field).into_iter().filter(|f| f.takes_one);
        found.any(|f| !harmless(f))
    }
}

/// `regclass` and its kin look names up.
fn is_harmless_type(name: &Value) -> bool {
    name.is_null() || names(name, "names").is_some_and(|name| !name.last().is_some_and(|n| n.starts_with("reg")))
}

/// Nodes that run nothing but what stands in them.
const INERT: &[&str] = &[
    "AArrayExpr",
    "AConst",
    "BitString",
    "BoolExpr",
    "Boolean",
    "BooleanTest",
    "CaseExpr",
    "CaseWhen",
    "CoalesceExpr",
    "CollateClause",
    "Float",
    "Integer",
    "List",
    "MinMaxExpr",
    "NamedArgExpr",
    "NullTest",
    "ParamRef",
    "ResTarget",
    "RowExpr",
    "SelectStmt",
    "SqlvalueFunction",
    "String",
    "TypeCast",
];

/// A name's parts; `None` where one of them is no plain text (a star).
fn names<'v>(fields: &'v Value, list: &str) -> Option<Vec<&'v str>> {
    let parts = fields.get(list)?.as_array()?;
    parts.iter().map(|part| part.pointer("/node/String/sval")?.as_str()).collect()
}
