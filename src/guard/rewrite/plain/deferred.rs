//! Comparisons with a query: `column op (SELECT ...)`.
//!
//! Postgres runs a query that looks at nothing around it once, when its value is first needed: an error in it ("division by
//! zero", "more than one row") tells that a row was compared. To the planner its value costs nothing, so that the comparison
//! could come before the tenant's predicate. Wrapped in a CASE that calls a function, the comparison is dearer than the
//! predicate and so comes behind it (`order_qual_clauses` in Postgres's createplan.c), and is still an index condition.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, Node, SubLink, SubLinkType};

use crate::guard::rewrite::tree;

/// The query, if the side of a comparison is one: `(SELECT ...)`.
pub(super) fn query_of(side: &Node) -> Option<&SubLink> {
    let NodeEnum::SubLink(link) = side.node.as_ref()? else { return None };
    (link.sub_link_type() == SubLinkType::ExprSublink).then_some(link)
}

/// Wraps the queries that a plain condition compares with. Returns whether there was one.
pub(in crate::guard::rewrite) fn defer(condition: &mut Node) -> bool {
    let Some(NodeEnum::AExpr(comparison)) = condition.node.as_mut().filter(|c| is_comparison(c)) else { return false };
    let AExpr { lexpr, rexpr, kind: _, name: _, rexpr_list_start: _, rexpr_list_end: _, location: _ } =
        comparison.as_mut();
    if is_row_and_query(lexpr.as_deref(), rexpr.as_deref()) {
        // The query gives several columns: it cannot stand in a CASE by itself.
        put_late(condition);
        return true;
    }
    let mut any = false;
    for side in [lexpr, rexpr].into_iter().flatten() {
        match side.node.as_mut() {
            Some(NodeEnum::RowExpr(row)) => row.args.iter_mut().for_each(|field| any |= wrap(field)),
            Some(_) | None => any |= wrap(side),
        }
    }
    any
}

/// `(a, b) op (SELECT ...)`, which compares with a row of the query.
pub(in crate::guard::rewrite) fn is_row_and_query(left: Option<&Node>, right: Option<&Node>) -> bool {
    let is_row = |node: &Node| matches!(node.node, Some(NodeEnum::RowExpr(_)));
    left.is_some_and(is_row) && right.is_some_and(|right| query_of(right).is_some())
}

fn is_comparison(node: &NodeEnum) -> bool {
    let NodeEnum::AExpr(e) = node else { return false };
    matches!(e.kind(), AExprKind::AexprOp | AExprKind::AexprDistinct | AExprKind::AexprNotDistinct)
}

/// Wraps a side, if it is a query.
fn wrap(side: &mut Node) -> bool {
    if query_of(side).is_none() {
        return false;
    }
    put_late(side);
    true
}

/// `CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE expression END`: dearer than a predicate, and not leakproof.
pub(in crate::guard::rewrite) fn put_late(expression: &mut Node) {
    let now = tree::node(NodeEnum::FuncCall(Box::new(tree::system_call("now", vec![]))));
    *expression = tree::case(tree::is_null(now), tree::null(), std::mem::take(expression));
}
