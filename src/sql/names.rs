//! What a query of the configuration names.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use serde_json::Value;

use super::parse;
use crate::sql::StatementLimits;

/// A name as it stands in a text: with its schema, or without one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// The schema, if it is written.
    pub schema: Option<String>,
    /// The name.
    pub name: String,
}

/// What one SELECT names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryNames {
    /// Relations, those that a WITH of it makes left out.
    pub relations: BTreeSet<Named>,
    /// Functions.
    pub functions: BTreeSet<Named>,
    /// The greatest `$n`.
    pub params: u16,
}

/// Reads a query of the configuration.
///
/// # Errors
/// It is no single SELECT; the grammar's message.
pub fn names_of_select(sql: &str) -> Result<QueryNames, String> {
    let statements = parse::parse(sql, &StatementLimits::default(), u32::MAX)
        .map_err(|refusal| refusal.error.message.clone().into_owned())?;
    let [statement] = statements.as_slice() else { return Err("it is not one statement".to_owned()) };
    if !matches!(statement.tree.node, Some(NodeEnum::SelectStmt(_))) {
        return Err("it is no SELECT".to_owned());
    }
    let tree = serde_json::to_value(&statement.tree).map_err(|error| error.to_string())?;
    let mut found = Found::default();
    found.walk(&tree);
    let Found { mut relations, functions, made } = found;
    relations.retain(|named| named.schema.is_some() || !made.contains(&named.name));
    Ok(QueryNames { relations, functions, params: statement.params })
}

#[derive(Default)]
struct Found {
    relations: BTreeSet<Named>,
    functions: BTreeSet<Named>,
    /// By WITH.
    made: BTreeSet<String>,
}

impl Found {
    fn walk(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                // A node, or a struct that stands in its place where the grammar allows nothing else.
                if fields.contains_key("relname") && fields.contains_key("schemaname") {
                    let schema = text(value, "schemaname");
                    self.relations.insert(Named {
                        schema: (!schema.is_empty()).then(|| schema.to_owned()),
                        name: text(value, "relname").to_owned(),
                    });
                }
                if fields.contains_key("ctename") {
                    self.made.insert(text(value, "ctename").to_owned());
                }
                if let Some(name) = fields.get("funcname").and_then(Value::as_array) {
                    self.functions.extend(function(name));
                }
                fields.values().for_each(|value| self.walk(value));
            }
            Value::Array(values) => values.iter().for_each(|value| self.walk(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn function(parts: &[Value]) -> Option<Named> {
    let mut parts = parts.iter().map(|part| part.pointer("/node/String/sval").and_then(Value::as_str));
    let name = parts.next_back()??.to_owned();
    Some(Named { schema: parts.next_back().flatten().map(str::to_owned), name })
}

fn text<'v>(fields: &'v Value, name: &str) -> &'v str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &BTreeSet<Named>) -> Vec<String> {
        names.iter().map(|it| [it.schema.as_deref().unwrap_or("-"), &it.name].join(".")).collect()
    }

    #[test]
    fn every_relation_and_function_is_found() {
        let found = names_of_select(
            "WITH w AS (SELECT * FROM a.inside) SELECT f(1), (SELECT max(x) FROM \"Odd\") FROM w JOIN b USING (i), \
             LATERAL s.g($1) WHERE EXISTS (SELECT FROM c WHERE n = $2) UNION SELECT 1, 2 FROM d",
        )
        .unwrap();
        assert_eq!(named(&found.relations), ["-.Odd", "-.b", "-.c", "-.d", "a.inside"]);
        assert_eq!(named(&found.functions), ["-.f", "-.max", "s.g"]);
        assert_eq!(found.params, 2);
        for bad in ["", "SELECT 1; SELECT 2", "DELETE FROM a", "SELECT FROM WHERE", "SET x = 1"] {
            assert!(names_of_select(bad).is_err(), "{bad}");
        }
    }
}
