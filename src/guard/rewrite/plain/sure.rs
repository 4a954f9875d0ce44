//! Queries whose value is there without fail: one row at most, and nothing in them that could raise an error.
//!
//! `b = (SELECT max(id) FROM orders)`: when Postgres evaluates the query depends on rows of others, also where it stands behind
//! the predicate (of two indexes it asks the second only if the first had any row). With such a query that shows in nothing.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, FuncCall, LimitOption, Node, SelectStmt, SetOperation, SubLink, a_const};

use crate::catalog::{RelKind, Volatility};
use crate::guard::Policy;
use crate::guard::rewrite::tree::{as_string, system_name};
use crate::sql::walk::Part;

/// Aggregates that fail on no value of a type that has them.
const AGGREGATES: &[&str] = &["bool_and", "bool_or", "count", "every", "max", "min"];

/// Whether the value of a query, as it stands after the walk, is there without fail.
pub(super) fn is_sure(policy: &Policy, link: &SubLink) -> bool {
    let Some(NodeEnum::SelectStmt(query)) = link.subselect.as_deref().and_then(|q| q.node.as_ref()) else {
        return false;
    };
    let SelectStmt {
        distinct_clause,
        into_clause,
        target_list,
        from_clause,
        where_clause,
        group_clause,
        group_distinct: _,
        having_clause,
        window_clause,
        values_lists,
        sort_clause,
        limit_offset,
        limit_count,
        limit_option: _,
        locking_clause,
        with_clause,
        op: _,
        all: _,
        larg,
        rarg,
    } = query.as_ref();
    let [target] = target_list.as_slice() else { return false };
    let lists = [distinct_clause, group_clause, window_clause, values_lists, locking_clause];
    let plain = lists.iter().all(|list| list.is_empty())
        && query.op() == SetOperation::SetopNone
        && into_clause.is_none()
        && having_clause.is_none()
        && limit_offset.is_none()
        && with_clause.is_none()
        && larg.is_none()
        && rarg.is_none();
    let literal = matches!(value_of(target), Some(NodeEnum::AConst(_))) && from_clause.is_empty();
    let one_row = literal
        || is_aggregate(policy, target) && limit_count.is_none()
        || value_of(target).is_some_and(|value| is_column(policy, value))
            && query.limit_option() == LimitOption::Count
            && limit_count.as_deref().is_some_and(is_one);
    plain
        && one_row
        && sort_clause.iter().all(|sort| is_sort_by_column(policy, sort))
        && from_clause.iter().all(|item| is_table(policy, item))
        && where_clause.as_deref().is_none_or(|condition| is_calm(policy, condition))
}

/// Whether a query can be evaluated once more without anybody seeing it.
pub(super) fn is_steady(policy: &Policy, link: &SubLink) -> bool {
    !any(Part::Node(&NodeEnum::SubLink(Box::new(link.clone()))), &mut |node| is_unsteady(policy, node))
}

fn any<'v>(part: Part<'v>, test: &mut dyn FnMut(&'v NodeEnum) -> bool) -> bool {
    if let Part::Node(node) = part
        && test(node)
    {
        return true;
    }
    part.fields(&mut |part| any(part, test))
}

fn is_unsteady(policy: &Policy, node: &NodeEnum) -> bool {
    let last = |names: &[Node]| names.last().and_then(as_string).map(str::to_owned);
    match node {
        NodeEnum::LockingClause(_) | NodeEnum::RangeTableSample(_) => true,
        NodeEnum::FuncCall(call) => {
            let known = last(&call.funcname).and_then(|name| policy.catalog.functions.get(&name));
            known.is_none_or(|all| all.iter().any(|it| it.volatility == Volatility::Volatile))
        }
        NodeEnum::AExpr(e) => {
            let known = last(&e.name).and_then(|name| policy.catalog.operators.get(&name));
            known.is_some_and(|all| all.iter().any(|it| it.volatility == Volatility::Volatile))
        }
        _ => false,
    }
}

fn value_of(target: &Node) -> Option<&NodeEnum> {
    let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() else { return None };
    target.val.as_deref()?.node.as_ref().filter(|_| target.indirection.is_empty())
}

/// A column, and not a function that takes a row, which may be named as one.
fn is_column(policy: &Policy, value: &NodeEnum) -> bool {
    let NodeEnum::ColumnRef(column) = value else { return false };
    let names: Option<Vec<&str>> = column.fields.iter().map(as_string).collect();
    let Some(name) = names.as_ref().and_then(|names| names.last()) else { return false };
    policy.catalog.functions.get(*name).is_none_or(|all| all.iter().all(|it| !it.takes_row))
}

fn is_aggregate(policy: &Policy, target: &Node) -> bool {
    let Some(NodeEnum::FuncCall(call)) = value_of(target) else { return false };
    if call.agg_star {
        let all = FuncCall { agg_star: false, ..FuncCall::clone(call) };
        return system_name(&all) == Some("count");
    }
    let value =
        |arg: &Node| arg.node.as_ref().is_some_and(|it| matches!(it, NodeEnum::AConst(_)) || is_column(policy, it));
    system_name(call).is_some_and(|name| AGGREGATES.contains(&name)) && call.args.iter().all(value)
}

fn is_one(limit: &Node) -> bool {
    let Some(NodeEnum::AConst(value)) = limit.node.as_ref() else { return false };
    matches!(&value.val, Some(a_const::Val::Ival(it)) if it.ival <= 1)
}

fn is_sort_by_column(policy: &Policy, sort: &Node) -> bool {
    let Some(NodeEnum::SortBy(sort)) = sort.node.as_ref() else { return false };
    let value = sort.node.as_deref().and_then(|it| it.node.as_ref());
    sort.use_op.is_empty() && value.is_some_and(|it| is_column(policy, it))
}

/// A table, or a join of tables.
fn is_table(policy: &Policy, item: &Node) -> bool {
    match item.node.as_ref() {
        Some(NodeEnum::RangeVar(name)) => {
            let kind = policy.catalog.relation(&name.schemaname, &name.relname).map(|it| it.kind);
            matches!(kind, Some(RelKind::Table | RelKind::PartitionedTable))
        }
        Some(NodeEnum::JoinExpr(join)) => {
            let sides = [join.larg.as_deref(), join.rarg.as_deref()];
            sides.iter().all(|side| side.is_some_and(|it| is_table(policy, it)))
                && join.quals.as_deref().is_none_or(|condition| is_calm(policy, condition))
        }
        Some(_) | None => false,
    }
}

/// Columns, literals and parameters, joined by operators of which a leakproof one exists, which fail on nothing.
fn is_calm(policy: &Policy, condition: &Node) -> bool {
    let calm = |node: &Node| is_calm(policy, node);
    match condition.node.as_ref() {
        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::SqlvalueFunction(_)) => true,
        Some(column @ NodeEnum::ColumnRef(_)) => is_column(policy, column),
        Some(NodeEnum::TypeCast(cast)) => matches!(cast.arg.as_deref(), Some(Node { node: Some(NodeEnum::AConst(_)) })),
        Some(NodeEnum::BoolExpr(b)) => b.args.iter().all(calm),
        Some(NodeEnum::NullTest(test)) => test.arg.as_deref().is_some_and(calm),
        Some(NodeEnum::BooleanTest(test)) => test.arg.as_deref().is_some_and(calm),
        Some(NodeEnum::List(list)) => list.items.iter().all(calm),
        Some(NodeEnum::AExpr(e)) => {
            is_harmless(policy, e) && [&e.lexpr, &e.rexpr].into_iter().all(|side| side.as_deref().is_some_and(calm))
        }
        Some(_) | None => false,
    }
}

fn is_harmless(policy: &Policy, e: &AExpr) -> bool {
    let compares = matches!(e.kind(), AExprKind::AexprOp | AExprKind::AexprIn);
    let names: Option<Vec<&str>> = e.name.iter().map(as_string).collect();
    let (true, Some([name] | ["pg_catalog", name])) = (compares, names.as_deref()) else { return false };
    let leakproof = policy.catalog.operators.get(*name).is_some_and(|all| all.iter().any(|it| it.leakproof));
    matches!(*name, "=" | "<>" | "<" | ">" | "<=" | ">=") && leakproof
}
