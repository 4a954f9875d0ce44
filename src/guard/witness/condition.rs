//! Conditions of the client's at a level with rows of tenants.
//!
//! The planner orders a scan's conditions by cost, and estimates them on statistics that hold the values of all tenants: what
//! is neither a predicate nor plain may stand only where it is evaluated late, in a CASE that tests the predicate or, where
//! there is none to test, `(SELECT true)`, which the planner cannot fold.

use sqlparser::ast::{
    CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SelectItem, SetExpr, Value,
};

use super::Checker;
use super::level::{Behind, Item, Level, Seen};
use super::names::path;
use super::predicate::{bare, conjuncts, is_system_operator};

impl<'p> Checker<'p> {
    /// No condition of a WHERE, ON or HAVING at this level runs where it could tell of the rows of others.
    pub(super) fn no_leaks(&mut self, conditions: &[&Expr], level: &Level<'p>) {
        if !self.any_at_stake(level) {
            return;
        }
        for condition in conditions {
            if !self.values.is_predicate(condition)
                && let Some(what) = self.leak(condition, level)
            {
                self.uncovered(|| format!("{what} stands where it could run on the rows of others"));
            }
        }
    }

    /// `CASE WHEN <tests> THEN ... ELSE false END`, where the tests hold on the tenant's own rows only. Of each tenant relation
    /// that the result looks at there is a test.
    pub(super) fn is_fence(&self, case: &Expr, level: &Level<'p>) -> bool {
        let Expr::Case { case_token: _, end_token: _, operand: None, conditions, else_result: Some(otherwise) } = case
        else {
            return false;
        };
        let [CaseWhen { condition, result }] = conditions.as_slice() else { return false };
        let tests = conjuncts(Some(condition));
        let is_test = |test: &&Expr| self.values.is_own_row(test) || is_late(test);
        // After aggregation all rows have passed WHERE.
        let filtered = tests.iter().any(|test| is_count(test));
        let tested = |seen: &Seen<'_, '_>| match seen.item.behind {
            // What cannot be named from inside is fenced where it stands.
            Behind::Tenant(_) if !seen.own => true,
            Behind::Tenant(_) => filtered || tests.iter().any(|test| self.values.is_own_row_of(test, seen.item)),
            Behind::Policies | Behind::Query | Behind::System | Behind::Nobody => true,
        };
        is_nothing(otherwise) && tests.iter().all(is_test) && self.looked_at(result, level).iter().all(tested)
    }
}

impl<'p> Checker<'p> {
    /// `CASE WHEN <predicate of the target> THEN true ELSE <an error> END`, where ON CONFLICT may meet another tenant's row.
    pub(super) fn fails_for_others(&self, condition: &Expr, target: &Item<'p>) -> bool {
        let Expr::Case { case_token: _, end_token: _, operand: None, conditions, else_result: Some(otherwise) } =
            bare(condition)
        else {
            return false;
        };
        let [CaseWhen { condition, result }] = conditions.as_slice() else { return false };
        let level = Level { items: vec![target.clone()] };
        self.values.is_predicate_of(condition, target, false)
            && matches!(bare(result), Expr::Value(value) if value.value == Value::Boolean(true))
            && matches!(bare(otherwise), Expr::Cast { .. })
            && self.looked_at(otherwise, &level).is_empty()
    }
}

/// A test that tells nothing, and cannot be evaluated before there are rows.
fn is_late(test: &Expr) -> bool {
    is_count(test) || matches!(bare(test), Expr::Subquery(query) if is_query_of_true(query))
}

/// `pg_catalog.count(*) OPERATOR(pg_catalog.>=) 0`
fn is_count(test: &Expr) -> bool {
    let Expr::BinaryOp { left, op, right } = bare(test) else { return false };
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = bare(left) else { return false };
    is_system_operator(op, ">=")
        && matches!(bare(right), Expr::Value(value) if matches!(&value.value, Value::Number(zero, _) if zero == "0"))
        && path(name).is_some_and(|name| name == ["pg_catalog", "count"])
        && matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)])
}

/// `(SELECT true)`
pub(super) fn is_query_of_true(query: &Query) -> bool {
    let Query { with: None, body, order_by: None, limit_clause: None, fetch: None, .. } = query else {
        return false;
    };
    let SetExpr::Select(select) = &**body else { return false };
    let [SelectItem::UnnamedExpr(Expr::Value(value))] = select.projection.as_slice() else { return false };
    value.value == Value::Boolean(true)
        && select.from.is_empty()
        && select.selection.is_none()
        && select.having.is_none()
        && select.distinct.is_none()
}

/// `false` or `NULL`
pub(super) fn is_nothing(value: &Expr) -> bool {
    matches!(bare(value), Expr::Value(value) if matches!(value.value, Value::Boolean(false) | Value::Null))
}
