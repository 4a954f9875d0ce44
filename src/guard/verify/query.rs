//! The walk over every field, and SELECT.

use serde_json::Value;

use super::from::Conditions;
use super::scope::Scope;
use super::tree::{conjuncts, field, items, node, text};
use super::{Outcome, Verifier};
use crate::guard::nodes;

/// Statements that may hold a query, or that tenants may send without one; with COPY, and the queries themselves, these are
/// all that leave in the shared layout.
const AROUND_QUERIES: &[&str] = &[
    "CallStmt",
    "ClosePortalStmt",
    "ConstraintsSetStmt",
    "DeallocateStmt",
    "DeclareCursorStmt",
    "DiscardStmt",
    "ExecuteStmt",
    "ExplainStmt",
    "FetchStmt",
    "PrepareStmt",
    "TransactionStmt",
    "UnlistenStmt",
    "VariableSetStmt",
    "VariableShowStmt",
];

impl<'p> Verifier<'p> {
    /// Walks anything. A relation that is met here, and not by one of the rules for its place, must not be a tenant's.
    pub(super) fn walk<'v>(&self, value: &'v Value, scope: &Scope<'v, 'p>) -> Outcome {
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.walk(item, scope)),
            Value::Object(fields) => match node(value) {
                Some((kind, inner)) => self.walk_struct(kind, inner, scope),
                // A struct without a node around it: the arms of a set operation are SELECTs, a target is a RangeVar.
                None if fields.contains_key("values_lists") => self.select(value, scope),
                None if fields.contains_key("relname") => self.bare_relation(value, scope),
                None => self.walk_fields(value, scope, &[]),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn walk_struct<'v>(&self, kind: &str, fields: &'v Value, scope: &Scope<'v, 'p>) -> Outcome {
        match kind {
            "SelectStmt" => self.select(fields, scope),
            "InsertStmt" => self.insert(fields, scope),
            "UpdateStmt" => self.update(fields, scope),
            "DeleteStmt" => self.delete(fields, scope),
            "MergeStmt" => self.merge(fields, scope),
            "CopyStmt" => self.copy(fields, scope),
            "RangeVar" => self.bare_relation(fields, scope),
            // `FOR UPDATE OF name`: names of FROM items, not of relations
            "LockingClause" => Ok(()),
            kind if nodes::is_in_queries(kind) || AROUND_QUERIES.contains(&kind) => {
                self.walk_fields(fields, scope, &[])
            }
            kind => Err(format!("{kind} has no place in a statement of a tenant")),
        }
    }

    /// A relation in a place that no rule covers.
    fn bare_relation(&self, range_var: &Value, scope: &Scope<'_, '_>) -> Outcome {
        let (schema, name) = (text(range_var, "schemaname"), text(range_var, "relname"));
        if (schema.is_empty() && scope.has(name)) || self.tenant_table(schema, name).is_none() {
            return Ok(());
        }
        Err(format!("{name} stands in a place that cannot be guarded"))
    }

    fn select<'v>(&self, fields: &'v Value, scope: &Scope<'v, 'p>) -> Outcome {
        let scope = self.with_clause(fields, scope)?;
        let conditions: Conditions<'_> = conjuncts(field(fields, "where_clause"));
        let level = self.level(items(fields, "from_clause"), &scope);
        self.no_leaks(&conditions, &level, &scope)?;
        // The planner moves conditions of HAVING that hold no aggregate into WHERE.
        self.no_leaks(&conjuncts(field(fields, "having_clause")), &level, &scope)?;
        let inside = scope.within(&level);
        for item in items(fields, "from_clause") {
            self.item_of_from(item, &conditions, &level, &inside)?;
        }
        self.walk(field(fields, "where_clause"), &inside)?;
        self.walk_fields(fields, &scope, &["from_clause", "where_clause", "with_clause"])
    }
}
