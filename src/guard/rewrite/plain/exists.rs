//! EXISTS of a simple query.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SelectStmt, SetOperation, SubLink};

/// Whether nothing in an EXISTS is evaluated on the rows around it but conditions, each guarded where it stands.
pub(super) fn is_simple(link: &SubLink) -> bool {
    let Some(NodeEnum::SelectStmt(query)) = link.subselect.as_deref().and_then(|q| q.node.as_ref()) else {
        return false;
    };
    let SelectStmt {
        distinct_clause,
        into_clause,
        target_list,
        from_clause,
        where_clause: _,
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
    let lists = [distinct_clause, group_clause, window_clause, values_lists, sort_clause, locking_clause];
    lists.iter().all(|list| list.is_empty())
        && query.op() == SetOperation::SetopNone
        && into_clause.is_none()
        && having_clause.is_none()
        && limit_offset.is_none()
        && limit_count.is_none()
        && with_clause.is_none()
        && larg.is_none()
        && rarg.is_none()
        && target_list.iter().all(is_trivial_target)
        && from_clause.iter().all(is_table)
}

/// `1`, `x`, `*`
fn is_trivial_target(target: &Node) -> bool {
    let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() else { return false };
    let value = target.val.as_deref().and_then(|v| v.node.as_ref());
    target.indirection.is_empty() && matches!(value, Some(NodeEnum::AConst(_) | NodeEnum::ColumnRef(_)))
}

/// A table, or a join of tables, as it stands after the walk.
fn is_table(item: &Node) -> bool {
    if let Some(NodeEnum::JoinExpr(join)) = item.node.as_ref() {
        return [join.larg.as_deref(), join.rarg.as_deref()].iter().all(|side| side.is_some_and(is_table));
    }
    matches!(item.node, Some(NodeEnum::RangeVar(_)))
}
