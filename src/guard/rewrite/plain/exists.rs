//! EXISTS of a simple query.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SubLink};

use super::one_level::OneLevel;

/// Whether nothing in an EXISTS is evaluated on the rows around it but conditions, each guarded where it stands.
pub(super) fn is_simple(link: &SubLink) -> bool {
    let Some(query) = OneLevel::of(link) else { return false };
    let OneLevel { targets, from, condition: _, sort, limit, limit_option: _ } = query;
    sort.is_empty() && limit.is_none() && targets.iter().all(is_trivial_target) && from.iter().all(is_table)
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
