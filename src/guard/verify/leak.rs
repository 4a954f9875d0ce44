//! The split guard: what runs before the tenant predicate must not be able to tell what it saw.
//!
//! The planner orders the conjuncts of a scan by cost, whatever their order in the text. So of the conditions that look at
//! a tenant relation only plain ones (columns, constants and leakproof operators) may stand beside its predicate; the
//! others must be inside a CASE whose condition is the tenant predicate. Subqueries are levels of their own, with their own
//! predicates: of what is inside them only the columns of this level count here (see [`super::correlated`]). What looks at no tenant relation by name, but at what is derived
//! from one (see [`super::derived`]), must be inside a CASE as well, on a predicate or on `(SELECT true)`.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, BoolExprType, Node, NullTestType, SelectStmt, SubLinkType};

use super::level::{Items, Seen, is_qualifier_in};
use super::plain::may_stand_beside;
use super::scope::Scope;
use super::tree::{conjuncts, is_bool, is_null, node, single_case, starred, strings};
use super::trial::{Beside, Held};
use super::{Outcome, Verifier};
use crate::sql::walk::kind;

/// What a CASE gives for rows that fail its test.
type Otherwise = fn(Option<&NodeEnum>) -> bool;

impl<'v, 'p> Verifier<'v, 'p> {
    /// The conjuncts of a WHERE, ON or HAVING at a level.
    pub(super) fn no_leaks(
        &self,
        conjuncts: &[&NodeEnum],
        level: Items<'_, 'v, 'p>,
        scope: &Scope<'_, 'v, 'p>,
        held: Held,
    ) -> Outcome {
        let held = if held == Held::Once && scope.in_exists() { Held::Folded } else { held };
        let beside = Beside::new(conjuncts, held);
        conjuncts.iter().try_for_each(|conjunct| {
            let kind = kind(conjunct);
            if self.predicates.is_any_predicate(conjunct) {
                return Ok(());
            }
            if may_stand_beside(self.policy, conjunct, &beside) && !self.params.run_late(self.policy, conjunct, &beside)
            {
                return match level.is_moved_by(conjunct) {
                    true => Err(format!("a condition of kind {kind} may be moved beside the tenant predicate")),
                    false => Ok(()),
                };
            }
            if (level.is_looked_at_by(conjunct) || self.queries_look_at(conjunct, level))
                && !self.is_guard(conjunct, level)
                && !self.is_equality_of_own_values(conjunct, level)
            {
                return Err(format!("a condition of kind {kind} runs beside the tenant predicate"));
            }
            if (level.is_near(conjunct, scope) || self.queries_are_near(conjunct, level))
                && !self.is_shielded(conjunct, level, scope)
            {
                return Err(format!("a condition of kind {kind} may be tried on values of others"));
            }
            Ok(())
        })
    }

    /// A condition, or the sides of the equality of a FULL JOIN, behind a CASE that the planner does not look into.
    fn is_shielded(&self, conjunct: &NodeEnum, level: Items<'_, 'v, 'p>, scope: &Scope<'_, 'v, 'p>) -> bool {
        let shields = |value: &NodeEnum, otherwise| self.is_shield(value, level, scope, otherwise);
        let of_equality = |side: &NodeEnum| !level.is_near(side, scope) || shields(side, is_null);
        shields(conjunct, is_false) || equality(conjunct).is_some_and(|sides| sides.into_iter().all(of_equality))
    }

    /// `CASE WHEN (SELECT true) THEN ... ELSE false END`, where what the result looks at is fenced; or a CASE on predicates,
    /// of what is not fenced too.
    fn is_shield(
        &self,
        value: &NodeEnum,
        level: Items<'_, 'v, 'p>,
        scope: &Scope<'_, 'v, 'p>,
        otherwise: Otherwise,
    ) -> bool {
        let Some((tests, result)) = case_of(value, otherwise) else { return false };
        let predicates = |qualifier: &str| {
            tests
                .iter()
                .any(|test| is_count(test) || self.predicates.qualifier(alternatives(test).0) == Some(qualifier))
        };
        let own = |test: &&NodeEnum| self.is_own_row(test) || is_count(test) || is_query_of_true(test);
        let around = scope.levels().flat_map(|level| level.items().derived);
        let moved = level.derived.iter().chain(around).any(|derived| {
            let named = |result| is_qualifier_in(derived.name, result);
            derived.open && !predicates(derived.name) && result.is_some_and(named)
        });
        !tests.is_empty() && tests.iter().all(own) && !moved
    }

    /// `CASE WHEN <tenant predicates> THEN ... ELSE false END`; in HAVING also `CASE WHEN count(*) >= 0 ...`: an aggregate
    /// cannot run before WHERE.
    fn is_guard(&self, conjunct: &NodeEnum, level: Items<'_, 'v, 'p>) -> bool {
        self.is_case_of_own_rows(conjunct, level, is_false)
    }

    /// `CASE WHEN <tenant predicates> THEN a ELSE NULL END = CASE ... END`, in the ON of a FULL JOIN; a side that looks at no
    /// tenant relation stands as it is.
    fn is_equality_of_own_values(&self, conjunct: &NodeEnum, level: Items<'_, 'v, 'p>) -> bool {
        let own = |side: &NodeEnum| !level.is_looked_at_by(side) || self.is_case_of_own_rows(side, level, is_null);
        equality(conjunct).is_some_and(|sides| sides.into_iter().all(own))
    }

    /// The tests are of the relations that the result looks at.
    fn is_case_of_own_rows(&self, value: &NodeEnum, level: Items<'_, 'v, 'p>, otherwise: Otherwise) -> bool {
        let Some((tests, result)) = case_of(value, otherwise) else { return false };
        let own = |test: &&NodeEnum| self.is_own_row(test) || is_count(test);
        let tested = |seen: &Seen<'_, '_>| tests.iter().any(|test| is_count(test) || self.is_own_row_of(test, seen));
        !tests.is_empty()
            && tests.iter().all(own)
            && result.is_none_or(|result| {
                level.is_covered(result, &tested) && self.queries_are_covered(result, level, &tested)
            })
    }

    /// The predicate, or the predicate OR the relation's whole row IS NULL (a row that an outer join made up).
    fn is_own_row(&self, test: &NodeEnum) -> bool {
        let test = self.predicates.or_null(test).unwrap_or(test);
        let (own, null) = alternatives(test);
        self.predicates.is_any_predicate(own) && null.is_none_or(|null| whole_row_null(null).is_some())
    }

    /// The same of one relation.
    fn is_own_row_of(&self, test: &NodeEnum, seen: &Seen<'_, '_>) -> bool {
        let (own, null) = alternatives(test);
        let of_it = |null| whole_row_null(null).is_some_and(|name| seen.reference.is(name));
        self.predicates.is_predicate(test, seen.reference, seen.table, true)
            || (self.predicates.is_predicate(own, seen.reference, seen.table, true) && null.is_none_or(of_it))
    }
}

fn is_false(value: Option<&NodeEnum>) -> bool {
    is_bool(value, false)
}

/// The tests and the result of `CASE WHEN <tests> THEN <result> ELSE <otherwise> END`.
fn case_of(value: &NodeEnum, otherwise: Otherwise) -> Option<(Vec<&NodeEnum>, Option<&NodeEnum>)> {
    let (when, default) = single_case(value)?;
    otherwise(default).then(|| (conjuncts(node(&when.expr)), node(&when.result)))
}

/// The sides of `a = b`, and of nothing like `= ANY`, whose right side is a list.
fn equality(conjunct: &NodeEnum) -> Option<[&NodeEnum; 2]> {
    let NodeEnum::AExpr(expr) = conjunct else { return None };
    let equal = expr.kind() == AExprKind::AexprOp && strings(&expr.name)? == ["="];
    equal.then_some([node(&expr.lexpr)?, node(&expr.rexpr)?])
}

/// `(SELECT true)`
fn is_query_of_true(test: &NodeEnum) -> bool {
    let NodeEnum::SubLink(link) = test else { return false };
    let Some(NodeEnum::SelectStmt(select)) = node(&link.subselect) else { return false };
    let [Node { node: Some(NodeEnum::ResTarget(target)) }] = select.target_list.as_slice() else { return false };
    link.sub_link_type() == SubLinkType::ExprSublink && is_bool(node(&target.val), true) && is_only_targets(select)
}

/// Whether a SELECT has nothing but targets.
fn is_only_targets(select: &SelectStmt) -> bool {
    let SelectStmt {
        distinct_clause,
        into_clause: None,
        target_list: _,
        from_clause,
        where_clause: None,
        group_clause,
        group_distinct: _,
        having_clause: None,
        window_clause,
        values_lists,
        sort_clause,
        limit_offset: None,
        limit_count: None,
        limit_option: _,
        locking_clause,
        with_clause: None,
        op: _,
        all: _,
        larg: None,
        rarg: None,
    } = select
    else {
        return false;
    };
    [distinct_clause, from_clause, group_clause, window_clause, values_lists, sort_clause, locking_clause]
        .into_iter()
        .all(Vec::is_empty)
}

/// A test, and what it may be otherwise: `own OR null`.
fn alternatives(test: &NodeEnum) -> (&NodeEnum, Option<&NodeEnum>) {
    match test {
        NodeEnum::BoolExpr(or) if or.boolop() == BoolExprType::OrExpr => match or.args.as_slice() {
            [own, null] => match (own.node.as_ref(), null.node.as_ref()) {
                (Some(own), Some(null)) => (own, Some(null)),
                (Some(_) | None, Some(_) | None) => (test, None),
            },
            _ => (test, None),
        },
        _ => (test, None),
    }
}

/// The relation of `relation.* IS NULL`.
fn whole_row_null(test: &NodeEnum) -> Option<&str> {
    let NodeEnum::NullTest(test) = test else { return None };
    let Some(NodeEnum::ColumnRef(column)) = node(&test.arg) else { return None };
    let whole = test.nulltesttype() == NullTestType::IsNull && strings(&column.fields).is_none();
    starred(column).filter(|_| whole)?.last().copied()
}

fn is_count(test: &NodeEnum) -> bool {
    let NodeEnum::AExpr(expr) = test else { return false };
    let Some(NodeEnum::FuncCall(call)) = node(&expr.lexpr) else { return false };
    call.agg_star
        && strings(&call.funcname).is_some_and(|name| name == ["pg_catalog", "count"])
        && strings(&expr.name).is_some_and(|name| name == ["pg_catalog", ">="])
}
