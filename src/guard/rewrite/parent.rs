//! Tables that belong through a foreign key: a row is the tenant's if the row is that its key leads to.
//!
//! The predicate is `(SELECT true FROM parent p WHERE <p is the tenant's> AND p.key = t.column)`, a value and no EXISTS: the
//! planner would make a join of that, and evaluate what is computed of a row before it. As a value it stays a condition of
//! the table's own scan, as the comparison of a tenant column is. Beside it stands the EXISTS, from which the planner
//! learns that it may begin with the tenant's own parents and come to the rows by an index.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, RangeVar, SelectStmt, SubLinkType};

use super::{Rewriter, tree, unsupported};
use crate::base::{Arity, Refusal, RefusalKind, SqlState};
use crate::guard::fault::{Fault, planted};
use crate::guard::policy::{TenantTable, Through};

/// How the tables are called that a predicate looks at, with a number behind it.
const PARENT: &str = "pgwarden_parent";

/// Whether the client calls something so: a predicate could look at that instead.
pub(super) fn is_name_of_parent(name: &str) -> bool {
    name.starts_with(PARENT)
}

impl Rewriter<'_> {
    /// Whether a value of a table's column is the tenant's own, or leads to a row that is. `reads`: or to one of everybody.
    pub(super) fn is_own(&mut self, value: Node, table: &TenantTable, reads: bool) -> Result<Node, Refusal> {
        self.is_own_at(value, table, reads, 1)
    }

    fn is_own_at(&mut self, value: Node, table: &TenantTable, reads: bool, step: usize) -> Result<Node, Refusal> {
        if let Some(through) = &table.through {
            let parent = self.own_parent(value, through, reads, false, step)?;
            return Ok(tree::sublink(SubLinkType::ExprSublink, parent));
        }
        let slot = self.tenant_slot(table)?;
        let key = tree::param(self.param_number(slot));
        let own = match self.mode.arity() {
            Arity::Several if !planted(Fault::Any) => tree::equals_any(value.clone(), key),
            Arity::One | Arity::Several => tree::system_operator(value.clone(), "=", key),
        };
        if !(reads && table.null_is_shared) {
            return Ok(own);
        }
        tree::either(own, tree::is_null(value)).ok_or_else(|| unsupported("this predicate"))
    }

    /// `SELECT true FROM parent p WHERE <p is the tenant's> AND p.key OPERATOR(pg_catalog.=) value`. `joins`: the way goes on by
    /// EXISTS too.
    fn own_parent(
        &mut self,
        value: Node,
        through: &Through,
        reads: bool,
        joins: bool,
        step: usize,
    ) -> Result<SelectStmt, Refusal> {
        let name = format!("{PARENT}{step}");
        let prefix = [name.clone()];
        let column = tree::column(&prefix, &through.rule.column);
        let mut conditions = vec![self.is_own_at(column.clone(), &through.rule, reads, step + 1)?];
        conditions.push(tree::system_operator(tree::column(&prefix, &through.key), "=", value));
        if let Some(next) = through.rule.through.as_ref().filter(|_| joins) {
            let parent = self.own_parent(column, next, reads, joins, step + 1)?;
            conditions.push(tree::sublink(SubLinkType::ExistsSublink, parent));
        }
        let from = tree::node(NodeEnum::RangeVar(RangeVar {
            catalogname: String::new(),
            schemaname: through.parent.schema.clone(),
            relname: through.parent.name.clone(),
            inh: true,
            relpersistence: "p".to_owned(),
            alias: Some(Alias { aliasname: name, colnames: vec![] }),
            location: 0,
        }));
        let targets = vec![tree::target("", Some(tree::boolean(true)))];
        Ok(tree::select(targets, from, tree::all_of(conditions), false))
    }

    /// Adds to a condition of the innermost level what lets the planner begin with the parents of these items.
    pub(super) fn semi_joins(&mut self, condition: &mut Option<Box<Node>>, items: &[usize]) -> Result<(), Refusal> {
        let mut parts: Vec<Node> = condition.take().map(|it| *it).into_iter().collect();
        for item in items {
            let guard = self.levels.last().and_then(|level| level.items.get(*item)?.guard.clone());
            let Some((guard, through)) = guard.and_then(|guard| Some((guard.clone(), guard.table.through.clone()?)))
            else {
                continue;
            };
            let value = tree::column(&guard.prefix, &guard.column);
            let parent = self.own_parent(value, &through, guard.reads, true, 1)?;
            parts.push(tree::sublink(SubLinkType::ExistsSublink, parent));
        }
        *condition = tree::all_of(parts).map(Box::new);
        Ok(())
    }

    /// `(SELECT CASE WHEN <q.c1 leads to an own row> THEN q.c1 ELSE <error> END FROM (SELECT true) LEFT JOIN (SELECT value) q(c1)
    /// ON true)`: the value is evaluated once.
    pub(super) fn checked_parent(&mut self, value: Node, table: &TenantTable) -> Result<Node, Refusal> {
        let (targets, rows) = self.checked_columns(tree::select_one(value), 1, 0, table)?;
        let query = tree::select(targets, tree::one_row_at_least(rows), None, false);
        Ok(tree::sublink(SubLinkType::ExprSublink, query))
    }
}

/// 23503, as of a key that leads nowhere: a row of another tenant and none at all are the same.
pub(super) fn foreign_parent(through: &Through) -> Refusal {
    Refusal::new(RefusalKind::ForeignTenant, SqlState::FOREIGN_KEY_VIOLATION, violation(through))
        .hint("The row belongs to whom the row belongs that this column names: it must name one of the tenant's own.")
        .about(&through.constraint)
}

/// The message of both.
pub(super) fn violation(through: &Through) -> String {
    format!(
        "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
        through.child, through.constraint
    )
}
