//! Tables that belong through a foreign key: `(SELECT true FROM parent p WHERE <p's predicate> AND p.key = t.column)`.

use sqlparser::ast::{
    CaseWhen, Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins,
};

use super::level::{Behind, Item};
use super::names::{name, path};
use super::predicate::{Values, bare, conjuncts, is_system_operator};
use super::write::is_true;
use crate::guard::policy::{TenantTable, Through};

/// `SELECT true FROM parent p WHERE <conditions>`
struct Parent<'s> {
    relation: Vec<String>,
    alias: String,
    conditions: Vec<&'s Expr>,
}

impl<'s> Parent<'s> {
    fn of(value: &'s Expr) -> Option<Self> {
        let Expr::Subquery(query) = bare(value) else { return None };
        let Query { with: None, body, order_by: None, limit_clause: None, fetch: None, .. } = &**query else {
            return None;
        };
        let SetExpr::Select(select) = &**body else { return None };
        let [SelectItem::UnnamedExpr(only)] = select.projection.as_slice() else { return None };
        let [
            TableWithJoins {
                relation: TableFactor::Table { name: called, alias: Some(alias), args: None, sample: None, .. },
                joins,
            },
        ] = select.from.as_slice()
        else {
            return None;
        };
        let reads = is_true(only) && joins.is_empty() && alias.columns.is_empty() && is_plain(select);
        let conditions = conjuncts(select.selection.as_ref());
        reads.then_some(Self { relation: path(called)?, alias: name(&alias.name), conditions })
    }

    /// The path of the column that its key is compared with.
    fn child(&self, key: &str) -> Option<&'s [Ident]> {
        self.conditions.iter().find_map(|condition| {
            let Expr::BinaryOp { left, op, right } = bare(condition) else { return None };
            let (Expr::CompoundIdentifier(own), Expr::CompoundIdentifier(child)) = (bare(left), bare(right)) else {
                return None;
            };
            let is_key = matches!(own.as_slice(), [q, c] if name(q) == self.alias && name(c) == key);
            let outside = child.first().is_some_and(|first| name(first) != self.alias);
            (is_key && outside && is_system_operator(op, "=")).then_some(child.as_slice())
        })
    }
}

fn is_plain(select: &Select) -> bool {
    select.having.is_none()
        && select.distinct.is_none()
        && select.qualify.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty())
}

impl<'p> Values<'p> {
    /// The path of the column of which a condition says that it leads to a row of the tenant's.
    pub(super) fn leads_to_own<'s>(&self, test: &'s Expr, through: &'p Through, reads: bool) -> Option<&'s [Ident]> {
        let parent = Parent::of(test)?;
        let is_it = parent.relation == [through.parent.schema.as_str(), through.parent.name.as_str()];
        let item = Item {
            qualifier: Some(parent.alias.clone()),
            schema: None,
            columns: None,
            behind: Behind::Tenant(&through.rule),
        };
        let own = parent.conditions.iter().any(|condition| self.is_predicate_of(condition, &item, reads));
        (is_it && own).then(|| parent.child(&through.key)).flatten()
    }

    /// The same of any table that belongs to the one that the condition looks at.
    pub(super) fn leads_to_any<'s>(&self, test: &'s Expr) -> Option<&'s [Ident]> {
        Parent::of(test)?;
        let mut keys = self.policy.tables.values().filter_map(|rule| rule.through());
        keys.find_map(|(column, through)| {
            let found = self.leads_to_own(test, through, true)?;
            found.last().is_some_and(|last| name(last) == column).then_some(found)
        })
    }

    /// `CASE WHEN <q.c leads to an own row> THEN q.c ELSE <an error> END`
    pub(super) fn is_checked_parent(
        &self,
        value: &Expr,
        table: &'p TenantTable,
        fails: impl FnOnce(&Expr) -> bool,
    ) -> bool {
        let Some(through) = &table.through else { return false };
        let Expr::Case { case_token: _, end_token: _, operand: None, conditions, else_result: Some(otherwise) } =
            bare(value)
        else {
            return false;
        };
        let [CaseWhen { condition, result }] = conditions.as_slice() else { return false };
        let Expr::CompoundIdentifier(result) = bare(result) else { return false };
        self.leads_to_own(condition, through, false) == Some(result.as_slice()) && fails(otherwise)
    }
}
