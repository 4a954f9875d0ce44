//! Walks MERGE: the source guarded inside, the target in ON and in each branch that may see it.

use pg_query::NodeEnum;
use pg_query::protobuf::{CmdType, MergeMatchKind, MergeStmt, MergeWhenClause, Node, ResTarget};

use super::from::{Place, alias_of};
use super::insert::in_their_places;
use super::parent::foreign_parent;
use super::scope::Output;
use super::trial::Held;
use super::write::Target;
use super::{Rewriter, foreign_value, tree, unsupported};
use crate::base::{Access, Mode, Refusal};
use crate::catalog::Relation;
use crate::guard::TenantTable;
use crate::guard::fault::{Fault, planted};

impl<'p> Rewriter<'p> {
    pub(super) fn merge(&mut self, merge: &mut MergeStmt) -> Result<Option<Vec<Output>>, Refusal> {
        let MergeStmt { relation, source_relation, join_condition, merge_when_clauses, returning_clause, with_clause } =
            merge;
        let together = matches!(self.mode, Mode::Shared | Mode::Reader | Mode::Schema(_));
        if together && merge_when_clauses.iter().filter(|clause| assigns_subquery(clause)).count() > 1 {
            return Err(unsupported("MERGE with column lists set from subqueries in more than one branch"));
        }
        let depth = self.open_with(with_clause.as_mut())?;
        self.adds_rows(relation);
        let target = self.open_target(relation, Access::Write)?;
        let Some(source) = source_relation.as_deref_mut() else { return Err(unsupported("MERGE without a source")) };
        let mut pending = Vec::new();
        // A source row of another tenant that fails a condition in ON would count as NOT MATCHED: it must not be there.
        self.item_of_from(source, Place::Inside, &mut pending)?;
        if !pending.is_empty() {
            return Err(unsupported("this source of MERGE"));
        }
        let own: &[usize] = match target {
            Target::Tenant(..) => &[0],
            Target::Policed(..) | Target::Free => &[],
        };
        let on = if planted(Fault::MergeOn) { &[] } else { own };
        *join_condition = self.conditions(join_condition.take(), on, Held::Folded)?;
        let alias = relation.as_ref().map(|r| alias_of(r).aliasname).unwrap_or_default();
        for clause in merge_when_clauses {
            let Some(NodeEnum::MergeWhenClause(clause)) = clause.node.as_mut() else {
                return Err(unsupported("this branch of MERGE"));
            };
            self.when(clause, target, &alias, own)?;
        }
        if returning_clause.is_some() {
            self.since(170_000, "MERGE ... RETURNING")?;
        }
        let outputs = self.returning(returning_clause)?;
        self.put_fences(std::slice::from_mut(source), 1);
        self.levels.pop();
        self.close_with(with_clause.as_mut(), depth);
        if let Target::Tenant(_, found) = target {
            self.note(format!("{}: the tenant's rows only are merged into", found.name));
        }
        Ok(outputs)
    }

    fn when(
        &mut self,
        clause: &mut MergeWhenClause,
        target: Target<'p>,
        alias: &str,
        own: &[usize],
    ) -> Result<(), Refusal> {
        let (kind, command) = (clause.match_kind(), clause.command_type());
        let MergeWhenClause { match_kind: _, command_type: _, r#override: overriding, condition, target_list, values } =
            clause;
        target.keeps_given(*overriding)?;
        match kind {
            MergeMatchKind::MergeWhenMatched => *condition = self.conditions(condition.take(), own, Held::Folded)?,
            MergeMatchKind::MergeWhenNotMatchedBySource => {
                self.since(170_000, "WHEN NOT MATCHED BY SOURCE")?;
                let own = if planted(Fault::MergeBySource) { &[] } else { own };
                *condition = self.conditions(condition.take(), own, Held::Folded)?;
            }
            MergeMatchKind::MergeWhenNotMatchedByTarget => self.maybe(condition)?,
            MergeMatchKind::Undefined => return Err(unsupported("this branch of MERGE")),
        }
        match command {
            CmdType::CmdUpdate => {
                target.keeps_tenant()?;
                let names = [alias];
                self.assignments(target_list, target.table().map(|t| (t, names.as_slice())))
            }
            CmdType::CmdInsert => {
                for column in target_list.iter_mut() {
                    let Some(NodeEnum::ResTarget(column)) = column.node.as_mut() else {
                        return Err(unsupported("this column list"));
                    };
                    let ResTarget { name: _, indirection, val: _, location: _ } = column.as_mut();
                    self.subscripts(indirection)?;
                }
                self.exprs(values)?;
                match target {
                    Target::Tenant(table, found) => self.force_row(table, found, target_list, values),
                    Target::Policed(table, found) if table.through.is_some() => {
                        self.rewritten = true;
                        self.force_row(table, found, target_list, values)
                    }
                    Target::Policed(table, found) => self.fill_row(table, found, target_list, values),
                    Target::Free => Ok(()),
                }
            }
            CmdType::CmdDelete | CmdType::CmdNothing => Ok(()),
            CmdType::Undefined | CmdType::CmdUnknown | CmdType::CmdSelect | CmdType::CmdMerge | CmdType::CmdUtility => {
                Err(unsupported("this branch of MERGE"))
            }
        }
    }

    /// The row of `INSERT [(columns)] VALUES (...)` or `INSERT DEFAULT VALUES`.
    fn force_row(
        &mut self,
        table: &TenantTable,
        found: &Relation,
        columns: &mut Vec<Node>,
        values: &mut Vec<Node>,
    ) -> Result<(), Refusal> {
        let listed_by_count = columns.is_empty();
        if listed_by_count {
            *columns = found.columns.iter().take(values.len()).map(|c| tree::target(&c.name, None)).collect();
        }
        let at = columns.iter().position(|c| is_named(c, &table.column));
        let indirect = at.and_then(|i| columns.get(i)).is_some_and(has_indirection);
        if indirect {
            return Err(foreign_value(&table.column));
        }
        if at.is_some() || listed_by_count {
            in_their_places(values)?;
        }
        match at.map(|i| values.get_mut(i)) {
            Some(Some(value)) => self.own_value(value, table),
            // More columns than values: the server's error.
            Some(None) => Ok(()),
            None => {
                if let Some(through) = &table.through {
                    return Err(foreign_parent(through));
                }
                let slot = self.tenant_slot(table)?;
                columns.push(tree::target(&table.column, None));
                values.push(tree::param(self.param_number(slot)));
                Ok(())
            }
        }
    }
}

impl Rewriter<'_> {
    /// The tenant's value in a row that does not give one.
    fn fill_row(
        &mut self,
        table: &TenantTable,
        found: &Relation,
        columns: &mut Vec<Node>,
        values: &mut Vec<Node>,
    ) -> Result<(), Refusal> {
        let by_position = columns.is_empty() && found.columns.iter().take(values.len()).any(|c| c.name == table.column);
        if by_position || columns.iter().any(|c| is_named(c, &table.column)) {
            return Ok(());
        }
        self.rewritten = true;
        self.force_row(table, found, columns, values)
    }
}

fn is_named(column: &Node, name: &str) -> bool {
    matches!(column.node.as_ref(), Some(NodeEnum::ResTarget(target)) if target.name == name)
}

fn has_indirection(column: &Node) -> bool {
    matches!(column.node.as_ref(), Some(NodeEnum::ResTarget(target)) if !target.indirection.is_empty())
}

/// Whether a branch has `(a, b) = (SELECT ...)`. Postgres numbers the values of such subqueries anew in each branch (as seen on
/// 15.18): with two of them a branch may take the other one's values, of another type, which ends all sessions of the server.
fn assigns_subquery(clause: &Node) -> bool {
    let Some(NodeEnum::MergeWhenClause(clause)) = clause.node.as_ref() else { return false };
    clause.target_list.iter().any(|target| {
        let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() else { return false };
        let Some(NodeEnum::MultiAssignRef(multi)) = target.val.as_ref().and_then(|value| value.node.as_ref()) else {
            return false;
        };
        matches!(multi.source.as_ref().and_then(|source| source.node.as_ref()), Some(NodeEnum::SubLink(_)))
    })
}
