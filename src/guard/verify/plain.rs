//! Which conditions tell nothing of the rows that they are evaluated on, by their form.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, BoolExprType, Node, SubLink, SubLinkType};

use super::tree::{is_null, node, single_case, strings};
use crate::guard::policy::Policy;

/// A plain condition, an EXISTS, NOT EXISTS or IN, which become joins, or a comparison with a query that is evaluated late.
pub(super) fn may_stand_beside(policy: &Policy, conjunct: &NodeEnum) -> bool {
    match conjunct {
        NodeEnum::SubLink(link) => becomes_join(policy, link),
        NodeEnum::BoolExpr(not) if not.boolop() == BoolExprType::NotExpr && is_exists(&not.args) => true,
        NodeEnum::AExpr(expr) => comparison(policy, expr, &|side| is_plain_or_late(policy, side)),
        _ => is_plain(policy, conjunct) || is_late_comparison(policy, conjunct),
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

/// Plain, or `CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE (SELECT ...) END`: the call makes it dearer than the predicate.
/// Or a row of such values.
fn is_plain_or_late(policy: &Policy, side: &NodeEnum) -> bool {
    match side {
        NodeEnum::RowExpr(row) => all(&row.args, &|value| is_plain_or_late(policy, value)),
        NodeEnum::CaseExpr(_) => late(side).is_some_and(is_query),
        _ => is_plain(policy, side),
    }
}

/// A comparison with a query, evaluated late as a whole.
fn is_late_comparison(policy: &Policy, conjunct: &NodeEnum) -> bool {
    let side = |side: &NodeEnum| is_query(Some(side)) || is_plain_or_late(policy, side);
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
fn is_plain(policy: &Policy, value: &NodeEnum) -> bool {
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
        NodeEnum::AArrayExpr(array) => all(&array.elements, &is_constant),
        // A cast of a constant: the planner folds it before any row is read.
        NodeEnum::TypeCast(cast) => node(&cast.arg).is_some_and(is_constant),
        NodeEnum::AExpr(expr) => comparison(policy, expr, &plain),
        _ => false,
    }
}

fn is_constant(value: &NodeEnum) -> bool {
    match value {
        NodeEnum::AConst(_) | NodeEnum::ParamRef(_) => true,
        NodeEnum::TypeCast(cast) => node(&cast.arg).is_some_and(is_constant),
        NodeEnum::AArrayExpr(array) => all(&array.elements, &is_constant),
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
