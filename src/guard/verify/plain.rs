//! Which conditions tell nothing of the rows that they are evaluated on, by their form.

use serde_json::Value;

use super::tree::{field, is_null, items, node, node_of, number, strings};
use crate::guard::policy::Policy;

/// A plain condition, an EXISTS, NOT EXISTS or IN, which become joins, or a comparison with a query that is evaluated late.
pub(super) fn may_stand_beside(policy: &Policy, conjunct: &Value) -> bool {
    match node(conjunct) {
        Some(("SubLink", link)) => becomes_join(policy, link),
        Some(("BoolExpr", not)) if number(not, "boolop") == NOT && is_exists(items(not, "args")) => true,
        Some(("AExpr", expr)) => comparison(policy, expr, &|side| is_plain(policy, side) || is_late(policy, side)),
        Some(_) | None => is_plain(policy, conjunct) || is_late_comparison(policy, conjunct),
    }
}

/// `BoolExprType::NotExpr`
const NOT: i64 = 3;

/// `SubLinkType`s
pub(super) mod sublink {
    pub const EXISTS: i64 = 1;
    pub const ANY: i64 = 3;
    pub const EXPR: i64 = 5;
}

/// The query is a level of its own; of this level it looks at what it is compared with.
fn becomes_join(policy: &Policy, link: &Value) -> bool {
    match number(link, "sub_link_type") {
        sublink::EXISTS => true,
        sublink::ANY => is_plain(policy, field(link, "testexpr")),
        _ => false,
    }
}

fn is_exists(args: &[Value]) -> bool {
    let exists = |arg: &Value| node_of(arg, "SubLink").is_some_and(|l| number(l, "sub_link_type") == sublink::EXISTS);
    !args.is_empty() && args.iter().all(exists)
}

/// `CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE (SELECT ...) END`: the call makes it dearer than the predicate. Or a
/// row of such and of plain values.
fn is_late(policy: &Policy, side: &Value) -> bool {
    match node(side) {
        Some(("RowExpr", row)) => items(row, "args").iter().all(|v| is_plain(policy, v) || is_late(policy, v)),
        Some(("CaseExpr", _)) => late(side).is_some_and(is_query),
        Some(_) | None => false,
    }
}

/// A comparison with a query, evaluated late as a whole.
fn is_late_comparison(policy: &Policy, conjunct: &Value) -> bool {
    let side = |side: &Value| is_plain(policy, side) || is_query(side) || is_late(policy, side);
    late(conjunct).is_some_and(|inner| node_of(inner, "AExpr").is_some_and(|expr| comparison(policy, expr, &side)))
}

/// What `CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE ... END` gives.
fn late(value: &Value) -> Option<&Value> {
    let case = node_of(value, "CaseExpr")?;
    let [when] = items(case, "args") else { return None };
    let when = node_of(when, "CaseWhen")?;
    let call = node_of(field(node_of(field(when, "expr"), "NullTest")?, "arg"), "FuncCall")?;
    let now = strings(call, "funcname").is_some_and(|name| name == ["pg_catalog", "now"]);
    let simple = field(case, "arg").is_null() && is_null(field(when, "result"));
    (now && simple).then(|| field(case, "defresult"))
}

fn is_query(value: &Value) -> bool {
    node_of(value, "SubLink").is_some_and(|link| number(link, "sub_link_type") == sublink::EXPR)
}

/// An operator of which a leakproof one exists, between such sides.
fn comparison(policy: &Policy, expr: &Value, side: &dyn Fn(&Value) -> bool) -> bool {
    let operands = [field(expr, "lexpr"), field(expr, "rexpr")];
    is_leakproof(policy, expr) && operands.into_iter().all(|o| o.is_null() || side(o))
}

/// Columns, constants, parameters, NULL tests, and operators of which a leakproof one exists, joined by AND, OR and NOT.
fn is_plain(policy: &Policy, value: &Value) -> bool {
    let plain = |value: &Value| is_plain(policy, value);
    match node(value) {
        Some(("ColumnRef" | "ParamRef" | "AConst" | "SqlvalueFunction", _)) => true,
        Some(("BoolExpr", expr)) => items(expr, "args").iter().all(plain),
        Some(("NullTest" | "BooleanTest", test)) => plain(field(test, "arg")),
        Some(("RowExpr", row)) => items(row, "args").iter().all(plain),
        Some(("List", list)) => items(list, "items").iter().all(plain),
        Some(("AArrayExpr", array)) => items(array, "elements").iter().all(is_constant),
        // A cast of a constant: the planner folds it before any row is read.
        Some(("TypeCast", cast)) => is_constant(field(cast, "arg")),
        Some(("AExpr", expr)) => comparison(policy, expr, &plain),
        Some(_) | None => false,
    }
}

fn is_constant(value: &Value) -> bool {
    match node(value) {
        Some(("AConst" | "ParamRef", _)) => true,
        Some(("TypeCast", cast)) => is_constant(field(cast, "arg")),
        Some(("AArrayExpr", array)) => items(array, "elements").iter().all(is_constant),
        Some(_) | None => false,
    }
}

/// `A_Expr_Kind`s that call the named operator and nothing else: `op`, `op ANY`, `op ALL`, IS [NOT] DISTINCT FROM, IN.
const COMPARISONS: [i64; 6] = [1, 2, 3, 4, 5, 7];
/// ... and BETWEEN, NOT BETWEEN, which call `<=` and `>=`.
const RANGES: [i64; 2] = [11, 12];

fn is_leakproof(policy: &Policy, expr: &Value) -> bool {
    let kind = number(expr, "kind");
    let leakproof = |name: &str| policy.catalog.operators.get(name).is_some_and(|all| all.iter().any(|o| o.leakproof));
    if RANGES.contains(&kind) {
        return leakproof("<=") && leakproof(">=");
    }
    match strings(expr, "name").as_deref() {
        Some(["pg_catalog", name] | [name]) => COMPARISONS.contains(&kind) && leakproof(name),
        _ => false,
    }
}
