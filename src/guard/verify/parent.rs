//! Tables that belong through a foreign key: `(SELECT true FROM parent p WHERE <p's predicate> AND p.key = t.column)`, and the
//! same of a value that is written.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, ColumnRef, JoinType, Node, RangeVar, SelectStmt, SubLinkType};

use super::predicate::{Predicates, Reference};
use super::tree::{conjuncts, is_bool, node, single_case, strings, target};
use super::write::{gives_many, target_value};
use crate::guard::policy::{TenantTable, Through};

/// `SELECT true FROM parent p WHERE <conditions>`
struct Parent<'v> {
    relation: &'v RangeVar,
    reference: Reference<'v>,
    conditions: Vec<&'v NodeEnum>,
}

impl<'v> Parent<'v> {
    /// Reads a value that is nothing but such a query.
    fn of(value: &'v NodeEnum) -> Option<Self> {
        let NodeEnum::SubLink(link) = value else { return None };
        let NodeEnum::SelectStmt(select) = node(&link.subselect)? else { return None };
        let [Node { node: Some(NodeEnum::RangeVar(relation)) }] = select.from_clause.as_slice() else { return None };
        let [only] = select.target_list.as_slice() else { return None };
        let is_true = is_bool(node(&target(only.node.as_ref()?)?.val), true);
        let named = relation.alias.as_ref().is_some_and(|alias| alias.colnames.is_empty());
        let reads = link.sub_link_type() == SubLinkType::ExprSublink && is_true && named && is_bare(select);
        let conditions = conjuncts(node(&select.where_clause));
        reads.then_some(Self { relation, reference: Reference::of(relation)?, conditions })
    }

    /// The column that its key is compared with, which must not be one of its own.
    fn child(&self, key: &str) -> Option<&'v ColumnRef> {
        self.conditions.iter().find_map(|condition| {
            super::count_step();
            let NodeEnum::AExpr(expr) = condition else { return None };
            let equal = expr.kind() == AExprKind::AexprOp && strings(&expr.name)? == ["pg_catalog", "="];
            let (Some(NodeEnum::ColumnRef(own)), Some(NodeEnum::ColumnRef(child))) =
                (node(&expr.lexpr), node(&expr.rexpr))
            else {
                return None;
            };
            let outside = matches!(strings(&child.fields)?.as_slice(), [first, _, ..] if !self.reference.is(first));
            (equal && outside && self.reference.has_column(own, key)).then_some(child)
        })
    }
}

/// Nothing but targets, a FROM and a WHERE.
fn is_bare(select: &SelectStmt) -> bool {
    let rest = SelectStmt { target_list: vec![], from_clause: vec![], where_clause: None, ..select.clone() };
    rest == SelectStmt { op: select.op, limit_option: select.limit_option, ..SelectStmt::default() }
}

impl Predicates<'_> {
    /// The column of which a condition says that it leads to a row of the tenant's.
    pub(super) fn leads_to_own<'v>(
        &self,
        condition: &'v NodeEnum,
        through: &Through,
        reads: bool,
    ) -> Option<&'v ColumnRef> {
        let parent = Parent::of(condition)?;
        let (schema, name) = (parent.relation.schemaname.as_str(), parent.relation.relname.as_str());
        let is_it = schema == through.parent.schema && name == through.parent.name;
        let own = |condition: &&NodeEnum| self.is_predicate(condition, parent.reference, &through.rule, reads);
        (is_it && parent.conditions.iter().any(own)).then(|| parent.child(&through.key)).flatten()
    }

    /// The same of any table that belongs to the one that the condition looks at.
    pub(super) fn leads_to_any<'v>(&self, condition: &'v NodeEnum) -> Option<&'v ColumnRef> {
        Parent::of(condition)?;
        let mut keys = self.policy.tables.values().filter_map(|rule| rule.through());
        keys.find_map(|(column, through)| {
            let found = self.leads_to_own(condition, through, true)?;
            (strings(&found.fields)?.last() == Some(&column)).then_some(found)
        })
    }

    /// `CASE WHEN <q.c leads to an own row> THEN q.c ELSE <an error> END`
    pub(super) fn is_checked_parent(
        &self,
        case: &NodeEnum,
        table: &TenantTable,
        fails: impl FnOnce(&NodeEnum) -> bool,
    ) -> bool {
        let (Some(through), Some((when, otherwise))) = (&table.through, single_case(case)) else { return false };
        let Some(NodeEnum::ColumnRef(result)) = node(&when.result) else { return false };
        let tested = node(&when.expr).and_then(|test| self.leads_to_own(test, through, false));
        let same = tested.and_then(|tested| Some(strings(&tested.fields)? == strings(&result.fields)?));
        same == Some(true) && otherwise.is_some_and(fails)
    }
}

/// `SELECT columns and CASEs FROM (SELECT true) x LEFT JOIN ... ON true`: not less than one row, and more are an error.
pub(super) fn has_one_row(select: &SelectStmt) -> bool {
    let [Node { node: Some(NodeEnum::JoinExpr(join)) }] = select.from_clause.as_slice() else { return false };
    let first = match node(&join.larg) {
        Some(NodeEnum::RangeSubselect(sub)) => node(&sub.subquery),
        _ => None,
    };
    let values = |select: &SelectStmt, one: fn(&NodeEnum) -> bool| {
        select.target_list.iter().all(|item| target_value(item).is_some_and(one))
    };
    let rows_stay = |select: &SelectStmt| {
        let rest = SelectStmt { target_list: vec![], from_clause: vec![], ..select.clone() };
        rest == SelectStmt { op: select.op, limit_option: select.limit_option, ..SelectStmt::default() }
    };
    let true_only = |value: &NodeEnum| is_bool(Some(value), true);
    let one_each = |value: &NodeEnum| match value {
        NodeEnum::ColumnRef(_) => !gives_many(value),
        other => matches!(other, NodeEnum::CaseExpr(_)),
    };
    join.jointype() == JoinType::JoinLeft
        && is_bool(node(&join.quals), true)
        && matches!(first, Some(NodeEnum::SelectStmt(first))
            if first.from_clause.is_empty() && rows_stay(first) && !first.target_list.is_empty() && values(first, true_only))
        && rows_stay(select)
        && values(select, one_each)
}
