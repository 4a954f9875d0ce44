//! FROM items: where a tenant relation's predicate must stand, join by join.

use serde_json::Value;

use super::leak::Level;
use super::predicate::Reference;
use super::scope::Scope;
use super::tree::{conjuncts, field, node, number, text};
use super::{Outcome, Verifier};

/// Conditions that a row of a relation must pass before it is seen.
pub(super) type Conditions<'v> = Vec<&'v Value>;

/// `JoinType` of the grammar; the others are the planner's.
mod join {
    pub const INNER: i64 = 1;
    pub const LEFT: i64 = 2;
    pub const FULL: i64 = 3;
    pub const RIGHT: i64 = 4;
}

impl<'p> Verifier<'p> {
    /// A FROM item under conditions. For a relation on the nullable side of a join, WHERE is none of them: it would
    /// drop rows of the other side that only matched other tenants' rows.
    pub(super) fn item_of_from<'v>(
        &self,
        item: &'v Value,
        conditions: &Conditions<'v>,
        level: &Level<'v, 'p>,
        scope: &Scope<'v, 'p>,
    ) -> Outcome {
        match node(item) {
            Some(("RangeVar", fields)) => self.guarded_relation(fields, conditions, scope),
            Some(("JoinExpr", fields)) => self.join(fields, conditions, level, scope),
            Some(("RangeTableSample", fields)) => {
                self.item_of_from(field(fields, "relation"), conditions, level, scope)?;
                self.walk_fields(fields, scope, &["relation"])
            }
            // Subqueries and functions are levels of their own.
            Some(_) | None => self.walk(item, scope),
        }
    }

    fn join<'v>(
        &self,
        fields: &'v Value,
        conditions: &Conditions<'v>,
        level: &Level<'v, 'p>,
        scope: &Scope<'v, 'p>,
    ) -> Outcome {
        let on = conjuncts(field(fields, "quals"));
        self.no_leaks(&on, &level.of_join(fields), scope)?;
        // An alias over the join hides the names inside: no outer condition can mean them.
        let outer = if field(fields, "alias").is_null() { conditions.clone() } else { Conditions::new() };
        let both: Conditions<'_> = outer.iter().copied().chain(on.iter().copied()).collect();
        let (left, right) = match number(fields, "jointype") {
            join::INNER => (both.clone(), both),
            join::LEFT => (outer, on),
            join::RIGHT => (on, outer),
            join::FULL => (Conditions::new(), Conditions::new()),
            other => return Err(format!("join type {other} is not known")),
        };
        self.item_of_from(field(fields, "larg"), &left, level, scope)?;
        self.item_of_from(field(fields, "rarg"), &right, level, scope)?;
        self.walk_fields(fields, scope, &["larg", "rarg"])
    }

    fn guarded_relation(&self, range_var: &Value, conditions: &Conditions<'_>, scope: &Scope<'_, '_>) -> Outcome {
        let (schema, name) = (text(range_var, "schemaname"), text(range_var, "relname"));
        if schema.is_empty() && scope.has(name) {
            return Ok(());
        }
        self.behind_predicate(range_var, conditions)
    }

    /// A tenant relation must have its predicate among the conditions; any other relation needs none.
    pub(super) fn behind_predicate(&self, range_var: &Value, conditions: &Conditions<'_>) -> Outcome {
        let (schema, name) = (text(range_var, "schemaname"), text(range_var, "relname"));
        let Some(table) = self.tenant_table(schema, name) else { return Ok(()) };
        let guarded = Reference::of(range_var)
            .is_some_and(|reference| conditions.iter().any(|c| self.predicates.is_predicate(c, reference, table)));
        if guarded { Ok(()) } else { Err(format!("{name} stands without its tenant predicate")) }
    }
}
