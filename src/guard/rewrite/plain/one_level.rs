//! Queries of one level: a SELECT that is no set operation, and has nothing but targets, FROM, WHERE, ORDER BY and LIMIT.

use pg_query::NodeEnum;
use pg_query::protobuf::{LimitOption, Node, SelectStmt, SetOperation, SubLink};

/// The clauses of such a query.
pub(super) struct OneLevel<'q> {
    pub targets: &'q [Node],
    pub from: &'q [Node],
    pub condition: Option<&'q Node>,
    pub sort: &'q [Node],
    pub limit: Option<&'q Node>,
    /// Of ORDER BY and LIMIT: whether rows that are equal to the last come along.
    pub limit_option: LimitOption,
}

impl<'q> OneLevel<'q> {
    /// The query of a sub-select, if it is of one level and has no other clauses.
    pub(super) fn of(link: &'q SubLink) -> Option<Self> {
        let Some(NodeEnum::SelectStmt(query)) = link.subselect.as_deref()?.node.as_ref() else { return None };
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
        let lists = [distinct_clause, group_clause, window_clause, values_lists, locking_clause];
        let plain = lists.iter().all(|list| list.is_empty())
            && query.op() == SetOperation::SetopNone
            && into_clause.is_none()
            && having_clause.is_none()
            && limit_offset.is_none()
            && with_clause.is_none()
            && larg.is_none()
            && rarg.is_none();
        plain.then(|| Self {
            targets: target_list,
            from: from_clause,
            condition: where_clause.as_deref(),
            sort: sort_clause,
            limit: limit_count.as_deref(),
            limit_option: query.limit_option(),
        })
    }
}
