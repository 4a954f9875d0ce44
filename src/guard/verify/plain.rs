//! Which conditions tell nothing of the rows that they are evaluated on, by their form.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, BoolExprType, FuncCall, Node, SubLink, SubLinkType, TypeCast, a_const};

use super::sure::is_sure;
use super::tree::{any_column, is_null, node, single_case, strings};
use super::trial::Beside;
use crate::catalog::Volatility;
use crate::guard::facts::{self, Trial};
use crate::guard::policy::Policy;
use crate::sql::walk::Part;

/// A plain condition, an EXISTS, NOT EXISTS or IN, which become joins, or a comparison with a query that is evaluated late.
pub(super) fn may_stand_beside(policy: &Policy, conjunct: &NodeEnum, beside: &Beside<'_, '_>) -> bool {
    match conjunct {
        NodeEnum::SubLink(link) => becomes_join(policy, link),
        NodeEnum::BoolExpr(not) if not.boolop() == BoolExprType::NotExpr && is_exists(&not.args) => true,
        NodeEnum::AExpr(expr) => {
            let tried = |side: &NodeEnum| {
                let query = late(side).flatten().filter(|query| is_query(Some(query)));
                query.is_some_and(|query| is_sure(policy, query))
                    || (is_free(policy, side) && beside.tries(Trial::Value, side))
            };
            comparison(policy, expr, &|side| is_plain_or_late(policy, side, &tried))
                || is_listed(policy, expr, beside, true)
        }
        _ => is_condition(policy, conjunct, beside) || is_late_comparison(policy, conjunct),
    }
}

/// Not at the top, where an operand that could fail can be tried.
fn is_condition(policy: &Policy, value: &NodeEnum, beside: &Beside<'_, '_>) -> bool {
    super::count_step();
    match value {
        NodeEnum::BoolExpr(expr) => all(&expr.args, &|value| is_condition(policy, value, beside)),
        NodeEnum::AExpr(expr) => is_plain(policy, value) || is_listed(policy, expr, beside, false),
        _ => is_plain(policy, value),
    }
}

/// A comparison by an operator that has its name on the list of harmless ones, with what its operand without columns must
/// have passed.
fn is_listed(policy: &Policy, expr: &AExpr, beside: &Beside<'_, '_>, top: bool) -> bool {
    let simple = matches!(expr.kind(), AExprKind::AexprOp | AExprKind::AexprLike | AExprKind::AexprIlike);
    let names = strings(&expr.name);
    let (true, Some([name] | ["pg_catalog", name])) = (simple, names.as_deref()) else { return false };
    let (Some(left), Some(right)) = (node(&expr.lexpr), node(&expr.rexpr)) else { return false };
    let has_columns = |side: &NodeEnum| any_column(Part::Node(side), &mut |_| true);
    let trial = facts::trial_by_name(name);
    let (column, operand, on_the_right) = match (has_columns(left), has_columns(right)) {
        (true, false) => (left, right, true),
        (false, true) => (right, left, false),
        (true, true) => {
            return facts::is_listed(name) && trial.is_none() && is_plain(policy, left) && is_plain(policy, right);
        }
        (false, false) => return false,
    };
    let tried = |trial| beside.tries(trial, operand);
    let value = || is_plain(policy, operand) || (top && is_free(policy, operand) && tried(Trial::Value));
    facts::is_listed(name)
        && is_plain(policy, column)
        && match trial {
            None | Some(Trial::Value) => value(),
            Some(Trial::Pattern) if !policy.catalog.texts.utf8 || policy.catalog.texts.loose_collations => false,
            Some(Trial::Pattern) => on_the_right && is_pattern(operand) && tried(Trial::Pattern),
            Some(Trial::Query) => top && is_text_search(operand) && tried(Trial::Query),
            // `@>` and `<@` of arrays and ranges go no deeper than the types: those show.
            Some(Trial::Depth) if is_no_document(operand) => value(),
            Some(Trial::Depth) => is_given(operand) && tried(Trial::Depth),
        }
}

/// A cast to another type than `jsonb`, an array, a time, a text.
fn is_no_document(operand: &NodeEnum) -> bool {
    match operand {
        NodeEnum::TypeCast(cast) => {
            cast.type_name.as_ref().and_then(|it| strings(&it.names)).is_some_and(|it| it.last() != Some(&"jsonb"))
        }
        NodeEnum::AArrayExpr(_) | NodeEnum::SqlvalueFunction(_) => true,
        NodeEnum::FuncCall(call) => called(call).is_some_and(|name| facts::QUIET_FUNCTIONS.contains(&name)),
        _ => false,
    }
}

/// Texts, parameters, and what is put together of them.
fn is_pattern(operand: &NodeEnum) -> bool {
    let side = |side: &Option<Box<Node>>| node(side).is_some_and(is_pattern);
    match operand {
        NodeEnum::AConst(value) => matches!(value.val, Some(a_const::Val::Sval(_))),
        NodeEnum::ParamRef(_) => true,
        NodeEnum::TypeCast(cast) => {
            let names = cast.type_name.as_ref().and_then(|it| strings(&it.names)).unwrap_or_default();
            matches!(names.last(), Some(&("text" | "varchar"))) && side(&cast.arg)
        }
        NodeEnum::AExpr(expr) => {
            expr.kind() == AExprKind::AexprOp
                && matches!(strings(&expr.name).as_deref(), Some(["||"] | ["pg_catalog", "||"]))
                && side(&expr.lexpr)
                && side(&expr.rexpr)
        }
        NodeEnum::FuncCall(call) => {
            matches!(called(call), Some("lower" | "upper" | "like_escape")) && all(&call.args, &is_pattern)
        }
        _ => false,
    }
}

fn is_text_search(operand: &NodeEnum) -> bool {
    match operand {
        NodeEnum::FuncCall(call) => {
            let makes_query = called(call).is_some_and(|name| facts::QUERY_FUNCTIONS.contains(&name));
            makes_query && all(&call.args, &is_quiet)
        }
        _ => is_constant(operand),
    }
}

/// An operand without columns that has one value for a statement, and no effect.
fn is_free(policy: &Policy, value: &NodeEnum) -> bool {
    super::count_step();
    let free = |value: &NodeEnum| is_free(policy, value);
    let side = |side: &Option<Box<Node>>| node(side).is_none_or(free);
    let steady = |volatility: Volatility| volatility != Volatility::Volatile;
    match value {
        NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::SqlvalueFunction(_) => true,
        NodeEnum::TypeCast(cast) => side(&cast.arg),
        NodeEnum::NamedArgExpr(named) => side(&named.arg),
        NodeEnum::AArrayExpr(array) => all(&array.elements, &free),
        NodeEnum::CoalesceExpr(expr) => all(&expr.args, &free),
        NodeEnum::MinMaxExpr(expr) => all(&expr.args, &free),
        NodeEnum::AExpr(expr) => {
            let names = strings(&expr.name);
            let (AExprKind::AexprOp, Some([name] | ["pg_catalog", name])) = (expr.kind(), names.as_deref()) else {
                return false;
            };
            let named = policy.catalog.operators.get(*name).into_iter().flatten();
            let mut named = named.filter(|o| o.name.schema == "pg_catalog").peekable();
            named.peek().is_some() && named.all(|o| steady(o.volatility)) && side(&expr.lexpr) && side(&expr.rexpr)
        }
        NodeEnum::FuncCall(call) => {
            let Some(name) = called(call) else { return false };
            let known = facts::FREE_FUNCTIONS.contains(&name) || facts::QUIET_FUNCTIONS.contains(&name);
            let all_of_it = policy.catalog.functions.get(name).into_iter().flatten();
            let mut system = all_of_it.filter(|f| f.name.schema == "pg_catalog");
            known && system.all(|f| steady(f.volatility)) && all(&call.args, &free)
        }
        _ => false,
    }
}

/// A constant, or what a function makes of constants that fails on nothing.
fn is_quiet(value: &NodeEnum) -> bool {
    match value {
        NodeEnum::SqlvalueFunction(_) => true,
        NodeEnum::FuncCall(call) => {
            called(call).is_some_and(|name| facts::QUIET_FUNCTIONS.contains(&name)) && all(&call.args, &is_quiet)
        }
        NodeEnum::AArrayExpr(array) => all(&array.elements, &is_quiet),
        NodeEnum::CoalesceExpr(expr) => all(&expr.args, &is_quiet),
        NodeEnum::MinMaxExpr(expr) => all(&expr.args, &is_quiet),
        _ => is_constant(value),
    }
}

/// The function that a plain call names, without a schema or with `pg_catalog`.
fn called(call: &FuncCall) -> Option<&str> {
    let plain = call.agg_order.is_empty()
        && call.agg_filter.is_none()
        && call.over.is_none()
        && !(call.agg_within_group || call.agg_star || call.agg_distinct || call.func_variadic);
    match strings(&call.funcname)?.as_slice() {
        [name] | ["pg_catalog", name] if plain => Some(name),
        _ => None,
    }
}

/// The query is a level of its own; of this level it looks at what it is compared with.
fn becomes_join(policy: &Policy, link: &SubLink) -> bool {
    match link.sub_link_type() {
        SubLinkType::ExistsSublink => true,
        SubLinkType::AnySublink => node(&link.testexpr).is_some_and(|test| is_plain(policy, test)),
        SubLinkType::Undefined
        | SubLinkType::AllSublink
        | SubLinkType::RowcompareSublink
        | SubLinkType::ExprSublink
        | SubLinkType::MultiexprSublink
        | SubLinkType::ArraySublink
        | SubLinkType::CteSublink => false,
    }
}

fn is_exists(args: &[Node]) -> bool {
    let exists = |arg: &Node| is_sublink(arg.node.as_ref(), SubLinkType::ExistsSublink);
    !args.is_empty() && args.iter().all(exists)
}

fn is_sublink(value: Option<&NodeEnum>, kind: SubLinkType) -> bool {
    matches!(value, Some(NodeEnum::SubLink(link)) if link.sub_link_type() == kind)
}

/// `(SELECT ...)`, of one value.
fn is_query(value: Option<&NodeEnum>) -> bool {
    is_sublink(value, SubLinkType::ExprSublink)
}

/// Plain, or tried; or a sure query in `CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE (SELECT ...) END`, where the call
/// makes it dearer than the predicate. Or a row of such values.
fn is_plain_or_late(policy: &Policy, side: &NodeEnum, tried: &dyn Fn(&NodeEnum) -> bool) -> bool {
    match side {
        NodeEnum::RowExpr(row) => all(&row.args, &|value| is_plain_or_late(policy, value, tried)),
        NodeEnum::List(list) => all(&list.items, &|value| is_plain(policy, value) || tried(value)),
        NodeEnum::AArrayExpr(array) => {
            is_plain(policy, side) || all(&array.elements, &|value| is_plain(policy, value) || tried(value))
        }
        _ => is_plain(policy, side) || tried(side),
    }
}

/// A comparison with a query, evaluated late as a whole.
fn is_late_comparison(policy: &Policy, conjunct: &NodeEnum) -> bool {
    let side = |side: &NodeEnum| is_query(Some(side)) || is_plain_or_late(policy, side, &|_| false);
    matches!(late(conjunct), Some(Some(NodeEnum::AExpr(expr))) if comparison(policy, expr, &side))
}

/// What `CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE ... END` gives.
fn late(value: &NodeEnum) -> Option<Option<&NodeEnum>> {
    let (when, otherwise) = single_case(value)?;
    let Some(NodeEnum::NullTest(test)) = node(&when.expr) else { return None };
    let Some(NodeEnum::FuncCall(call)) = node(&test.arg) else { return None };
    let now = strings(&call.funcname)? == ["pg_catalog", "now"];
    (now && is_null(node(&when.result))).then_some(otherwise)
}

/// An operator of which a leakproof one exists, between such sides.
fn comparison(policy: &Policy, expr: &AExpr, side: &dyn Fn(&NodeEnum) -> bool) -> bool {
    is_leakproof(policy, expr) && [&expr.lexpr, &expr.rexpr].into_iter().all(|operand| node(operand).is_none_or(side))
}

fn all(list: &[Node], test: &dyn Fn(&NodeEnum) -> bool) -> bool {
    list.iter().all(|item| item.node.as_ref().is_some_and(test))
}

/// Columns, constants, parameters, NULL tests, and operators of which a leakproof one exists, joined by AND, OR and NOT.
pub(super) fn is_plain(policy: &Policy, value: &NodeEnum) -> bool {
    super::count_step();
    let plain = |value: &NodeEnum| is_plain(policy, value);
    let field = |field| node(field).is_some_and(plain);
    match value {
        NodeEnum::ColumnRef(_) | NodeEnum::ParamRef(_) | NodeEnum::AConst(_) | NodeEnum::SqlvalueFunction(_) => true,
        NodeEnum::BoolExpr(expr) => all(&expr.args, &plain),
        NodeEnum::NullTest(test) => field(&test.arg),
        NodeEnum::BooleanTest(test) => field(&test.arg),
        NodeEnum::RowExpr(row) => all(&row.args, &plain),
        NodeEnum::List(list) => all(&list.items, &plain),
        NodeEnum::AArrayExpr(_) | NodeEnum::CoalesceExpr(_) | NodeEnum::MinMaxExpr(_) => is_quiet(value),
        // What a listed function gives of a column fails on no value of it.
        NodeEnum::FuncCall(call) => {
            let listed =
                |name| facts::QUIET_FUNCTIONS.contains(&name) || facts::VALUE_FUNCTIONS.iter().any(|it| it.0 == name);
            // Its argument may be a column.
            policy.catalog.texts.utf8 && called(call).is_some_and(listed) && all(&call.args, &plain) || is_quiet(value)
        }
        // A cast of a constant: the planner folds it before any row is read.
        NodeEnum::TypeCast(cast) => is_cast_early(cast),
        NodeEnum::AExpr(expr) => {
            let names = strings(&expr.name);
            let gives_value = matches!(names.as_deref(), Some([it] | ["pg_catalog", it]) if facts::gives_value(it));
            comparison(policy, expr, &plain)
                || (gives_value && expr.kind() == AExprKind::AexprOp && field(&expr.lexpr) && field(&expr.rexpr))
        }
        _ => false,
    }
}

fn is_constant(value: &NodeEnum) -> bool {
    match value {
        NodeEnum::AConst(_) | NodeEnum::ParamRef(_) => true,
        NodeEnum::TypeCast(cast) => is_cast_early(cast),
        NodeEnum::AArrayExpr(array) => all(&array.elements, &is_constant),
        _ => false,
    }
}

/// A cast of a literal, or what gives a parameter its type. A plan that is kept makes other casts of parameters when it runs.
fn is_cast_early(cast: &TypeCast) -> bool {
    let bare = cast.type_name.as_ref().is_some_and(|name| name.typmods.is_empty());
    let literal = |element: &Node| element.node.as_ref().is_some_and(is_literal);
    match node(&cast.arg) {
        Some(NodeEnum::ParamRef(_)) => bare,
        Some(NodeEnum::AArrayExpr(array)) => {
            let given = |it: &Node| matches!(it.node, Some(NodeEnum::ParamRef(_)));
            array.elements.iter().all(|it| literal(it) || (bare && given(it)))
        }
        Some(value) => is_literal(value),
        None => false,
    }
}

/// What is evaluated with its trial, at the latest.
fn is_given(value: &NodeEnum) -> bool {
    match value {
        NodeEnum::TypeCast(cast) => node(&cast.arg).is_some_and(is_given),
        _ => is_constant(value),
    }
}

/// A literal of the text, cast or not.
fn is_literal(value: &NodeEnum) -> bool {
    match value {
        NodeEnum::AConst(_) => true,
        NodeEnum::TypeCast(cast) => node(&cast.arg).is_some_and(is_literal),
        _ => false,
    }
}

fn is_leakproof(policy: &Policy, expr: &AExpr) -> bool {
    let leakproof = |name: &str| policy.catalog.operators.get(name).is_some_and(|all| all.iter().any(|o| o.leakproof));
    match expr.kind() {
        // They call the named operator and nothing else.
        AExprKind::AexprOp
        | AExprKind::AexprOpAny
        | AExprKind::AexprOpAll
        | AExprKind::AexprDistinct
        | AExprKind::AexprNotDistinct
        | AExprKind::AexprIn => match strings(&expr.name).as_deref() {
            Some(["pg_catalog", name] | [name]) => leakproof(name),
            Some(_) | None => false,
        },
        // They call `<=` and `>=`.
        AExprKind::AexprBetween | AExprKind::AexprNotBetween => leakproof("<=") && leakproof(">="),
        AExprKind::Undefined
        | AExprKind::AexprNullif
        | AExprKind::AexprLike
        | AExprKind::AexprIlike
        | AExprKind::AexprSimilar
        | AExprKind::AexprBetweenSym
        | AExprKind::AexprNotBetweenSym => false,
    }
}
