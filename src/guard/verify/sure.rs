//! Queries that a column may be compared with though it shows in nothing whether they were evaluated: at most one row, of
//! tables, by conditions that tell nothing.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, FuncCall, LimitOption, Node, SelectStmt, SetOperation, a_const};

use super::plain::is_plain;
use super::tree::{conjuncts, node, strings};
use crate::catalog::RelKind;
use crate::guard::policy::Policy;

/// Whether the value of `(SELECT ...)` is there without fail.
pub(super) fn is_sure(policy: &Policy, query: &NodeEnum) -> bool {
    let NodeEnum::SubLink(link) = query else { return false };
    let Some(NodeEnum::SelectStmt(select)) = node(&link.subselect) else { return false };
    let SelectStmt {
        distinct_clause,
        into_clause: None,
        target_list,
        from_clause,
        where_clause,
        group_clause,
        group_distinct: false,
        having_clause: None,
        window_clause,
        values_lists,
        sort_clause,
        limit_offset: None,
        limit_count,
        limit_option: _,
        locking_clause,
        with_clause: None,
        op: _,
        all: _,
        larg: None,
        rarg: None,
    } = select.as_ref()
    else {
        return false;
    };
    let no_more = [distinct_clause, group_clause, window_clause, values_lists, locking_clause];
    let [Node { node: Some(NodeEnum::ResTarget(target)) }] = target_list.as_slice() else { return false };
    let one_row = match node(&target.val) {
        Some(NodeEnum::AConst(_)) if from_clause.is_empty() => true,
        Some(NodeEnum::FuncCall(call)) => limit_count.is_none() && is_aggregate(policy, call),
        Some(value) if is_field(policy, value) => {
            let limited = select.limit_option() == LimitOption::Count && is_one(node(limit_count));
            limited || (limit_count.is_none() && is_one_by_key(policy, from_clause, node(where_clause)))
        }
        Some(_) | None => false,
    };
    let sorted = |sort: &Node| match sort.node.as_ref() {
        Some(NodeEnum::SortBy(sort)) => {
            sort.use_op.is_empty() && node(&sort.node).is_some_and(|value| is_field(policy, value))
        }
        Some(_) | None => false,
    };
    select.op() == SetOperation::SetopNone
        && no_more.into_iter().all(Vec::is_empty)
        && one_row
        && sort_clause.iter().all(sorted)
        && from_clause.iter().all(|item| item.node.as_ref().is_some_and(|item| is_stored(policy, item)))
        && node(where_clause).is_none_or(|condition| is_plain(policy, condition))
}

/// `max(x)` and its kin, which take any value.
fn is_aggregate(policy: &Policy, call: &FuncCall) -> bool {
    let bare = call.agg_order.is_empty()
        && call.agg_filter.is_none()
        && call.over.is_none()
        && !(call.agg_within_group || call.agg_distinct || call.func_variadic);
    let value = |arg: &Node| {
        let value = arg.node.as_ref();
        value.is_some_and(|value| matches!(value, NodeEnum::AConst(_)) || is_field(policy, value))
    };
    match strings(&call.funcname).as_deref() {
        Some([name] | ["pg_catalog", name]) => {
            bare && matches!(*name, "bool_and" | "bool_or" | "count" | "every" | "max" | "min")
                && call.args.iter().all(value)
        }
        Some(_) | None => false,
    }
}

/// A name that no function of rows has.
fn is_field(policy: &Policy, value: &NodeEnum) -> bool {
    let NodeEnum::ColumnRef(column) = value else { return false };
    let Some(name) = strings(&column.fields).and_then(|names| names.last().copied()) else { return false };
    !policy.catalog.functions.get(name).into_iter().flatten().any(|function| function.takes_row)
}

fn is_one(limit: Option<&NodeEnum>) -> bool {
    let Some(NodeEnum::AConst(limit)) = limit else { return false };
    matches!(&limit.val, Some(a_const::Val::Ival(number)) if (0..=1).contains(&number.ival))
}

/// One table, by `=` for each column of a key that is unique in all of it.
fn is_one_by_key(policy: &Policy, from: &[Node], condition: Option<&NodeEnum>) -> bool {
    let [Node { node: Some(NodeEnum::RangeVar(table)) }] = from else { return false };
    let Some(relation) = policy.catalog.relation(&table.schemaname, &table.relname) else { return false };
    let has_children = || policy.catalog.relations.values().any(|other| other.parents.contains(&relation.oid));
    let fixed: Vec<&str> = conjuncts(condition).into_iter().filter_map(fixed_column).collect();
    let is_fixed = |key: &Vec<String>| !key.is_empty() && key.iter().all(|column| fixed.contains(&column.as_str()));
    relation.unique_keys.iter().any(is_fixed) && (relation.kind == RelKind::PartitionedTable || !has_children())
}

/// The column of `column = constant`.
fn fixed_column(condition: &NodeEnum) -> Option<&str> {
    let NodeEnum::AExpr(expr) = condition else { return None };
    let equal = expr.kind() == AExprKind::AexprOp
        && matches!(strings(&expr.name).as_deref(), Some(["="] | ["pg_catalog", "="]));
    let (NodeEnum::ColumnRef(column), value) = (node(&expr.lexpr)?, node(&expr.rexpr)?) else { return None };
    let constant = match value {
        NodeEnum::AConst(_) | NodeEnum::ParamRef(_) => true,
        NodeEnum::TypeCast(cast) => matches!(node(&cast.arg), Some(NodeEnum::AConst(_))),
        _ => false,
    };
    strings(&column.fields)?.last().copied().filter(|_| equal && constant)
}

/// A table, or a join of tables on a plain condition.
fn is_stored(policy: &Policy, item: &NodeEnum) -> bool {
    match item {
        NodeEnum::RangeVar(name) => policy
            .catalog
            .relation(&name.schemaname, &name.relname)
            .is_some_and(|it| matches!(it.kind, RelKind::Table | RelKind::PartitionedTable)),
        NodeEnum::JoinExpr(join) => {
            let stored = |side| node(side).is_some_and(|side| is_stored(policy, side));
            stored(&join.larg) && stored(&join.rarg) && node(&join.quals).is_none_or(|quals| is_plain(policy, quals))
        }
        _ => false,
    }
}
