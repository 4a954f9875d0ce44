//! MERGE: the target behind its predicate in ON, and in the branches of rows that ON does not reach.

use sqlparser::ast::{
    Expr, Merge, MergeAction, MergeClause, MergeClauseKind, MergeInsertExpr, MergeInsertKind, MergeUpdateExpr,
    MergeUpdateKind, OutputClause,
};

use super::Checker;
use super::insert::{gives_many, own_of, place};
use super::level::{Behind, Item, Level, Shape};
use super::predicate::conjuncts;

impl<'p> Checker<'p> {
    pub(super) fn merge(&mut self, merge: &Merge) -> Shape {
        let Merge { merge_token: _, optimizer_hints, into: _, table, source, on, clauses, output } = merge;
        self.foreign(!optimizer_hints.is_empty(), "hints");
        let Some(target) = self.target_of(table) else { return Shape::default() };
        let mut level = Level { items: vec![target.clone()] };
        self.factor(source, &mut level);
        let conditions = conjuncts(Some(on));
        self.no_leaks(&conditions, &level);
        self.must_be_covered(&target, &conditions, false);
        // Rows of the source without a match are kept: ON does not guard them.
        self.factor_covered(source, &[], &level, &mut level.items.get(1..).unwrap_or_default().iter());
        self.within(&mut level, false, |this| this.walk(on));
        clauses.iter().for_each(|clause| self.clause(clause, &target, &level));
        match output {
            None => {}
            Some(OutputClause::Returning { returning_token: _, select_items }) => self.outputs(select_items),
            Some(OutputClause::Output { .. }) => self.unread("OUTPUT"),
        }
        Shape { columns: None, tenants: level.has_tenants() }
    }

    fn clause(&mut self, clause: &MergeClause, target: &Item<'p>, level: &Level<'p>) {
        let MergeClause { when_token: _, clause_kind, predicate, action } = clause;
        let conditions = conjuncts(predicate.as_ref());
        match clause_kind {
            MergeClauseKind::Matched => self.no_leaks(&conditions, level),
            MergeClauseKind::NotMatchedBySource => {
                self.no_leaks(&conditions, level);
                self.must_be_covered(target, &conditions, false);
            }
            // It sees the source only, after the join.
            MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget => {}
        }
        self.walk_all(predicate);
        match action {
            MergeAction::Insert(insert) => self.merge_insert(insert, target),
            MergeAction::Update(MergeUpdateExpr { update_token: _, kind, update_predicate, delete_predicate }) => {
                self.foreign(update_predicate.is_some() || delete_predicate.is_some(), "WHERE of a branch");
                match kind {
                    MergeUpdateKind::Set(assignments) => self.assignments(assignments, target, false),
                    MergeUpdateKind::Wildcard => self.unread("UPDATE *"),
                }
            }
            MergeAction::Delete { delete_token: _ } | MergeAction::DoNothing { do_token: _, nothing_token: _ } => {}
        }
    }

    fn merge_insert(&mut self, insert: &MergeInsertExpr, target: &Item<'p>) {
        let MergeInsertExpr { insert_token: _, columns, kind_token: _, kind, insert_predicate } = insert;
        self.foreign(insert_predicate.is_some(), "WHERE of a branch");
        let values = match kind {
            MergeInsertKind::Values(values) => values,
            MergeInsertKind::Row | MergeInsertKind::Wildcard => {
                self.unread("INSERT ROW");
                return;
            }
        };
        values.rows.iter().for_each(|row| self.walk_all(&row.content));
        let Behind::Tenant(table) = target.behind else { return };
        let own = place(columns, table).is_some_and(|at| {
            values.rows.iter().all(|row| {
                let row: &[Expr] = &row.content;
                let many = row.iter().any(gives_many);
                own_of(row, at, columns.len(), many).is_some_and(|value| self.is_own(value, table))
            })
        });
        if !own {
            self.uncovered(|| "a MERGE does not insert the tenant's own value".to_owned());
        }
    }
}
