//! Walks ON CONFLICT: the rows in the way that are the tenant's own are updated.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{IndexElem, InferClause, Node, OnConflictAction, OnConflictClause};

use super::scope::{Item, Source};
use super::sets::failure;
use super::trial::Held;
use super::write::Target;
use super::{Rewriter, tree, unsupported};
use crate::base::{FOREIGN_ROW, Refusal};
use crate::catalog::Relation;
use crate::guard::TenantTable;
use crate::guard::fault::{Fault, planted};

impl<'p> Rewriter<'p> {
    /// Adds the tenant column to `ON CONFLICT (columns)` where that is what makes them a unique key.
    fn complete(&mut self, infer: &mut InferClause, table: &TenantTable, found: &Relation) {
        if !self.policy.complete_conflict_targets || table.through.is_some() {
            return;
        }
        let Some(names) = plain_columns(infer).filter(|names| !names.contains(&table.column.as_str())) else { return };
        let own: BTreeSet<&str> = names.into_iter().collect();
        let with: BTreeSet<&str> = own.iter().copied().chain([table.column.as_str()]).collect();
        let is_key = |wanted: &BTreeSet<&str>| {
            found.unique_keys.iter().any(|key| key.iter().map(String::as_str).collect::<BTreeSet<_>>() == *wanted)
        };
        let Some(element) = infer.index_elems.last().filter(|_| !is_key(&own) && is_key(&with)) else { return };
        let mut element = element.clone();
        if let Some(NodeEnum::IndexElem(it)) = element.node.as_mut() {
            it.name.clone_from(&table.column);
        }
        infer.index_elems.push(element);
        self.rewritten = true;
        self.note(format!("{}: the tenant column is part of the conflict's key", found.name));
    }

    pub(super) fn on_conflict(
        &mut self,
        clause: &mut OnConflictClause,
        target: Target<'p>,
        alias: &str,
    ) -> Result<(), Refusal> {
        let action = clause.action();
        let OnConflictClause { action: _, infer, target_list, where_clause, location: _ } = clause;
        if let Target::Tenant(_, found) | Target::Policed(_, found) = target
            && let Some(level) = self.levels.last_mut()
        {
            level.items.push(Item {
                source: Source::Relation { relation: found, renamed: vec![] },
                ..Item::unknown(Some("excluded".to_owned()))
            });
        }
        if let Some(infer) = infer.as_deref_mut() {
            let InferClause { index_elems, where_clause, conname: _, location: _ } = infer;
            for element in index_elems {
                let Some(NodeEnum::IndexElem(element)) = element.node.as_mut() else {
                    return Err(unsupported("this ON CONFLICT"));
                };
                let IndexElem {
                    name: _,
                    expr,
                    indexcolname: _,
                    collation: _,
                    opclass: _,
                    opclassopts: _,
                    ordering: _,
                    nulls_ordering: _,
                } = element.as_mut();
                self.maybe(expr)?;
            }
            // It is matched with an index's predicate, and never evaluated.
            self.maybe(where_clause)?;
            if let Target::Tenant(table, found) | Target::Policed(table, found) = target {
                self.complete(infer, table, found);
            }
        }
        match action {
            OnConflictAction::OnconflictNothing => Ok(()),
            OnConflictAction::OnconflictUpdate => {
                target.keeps_tenant()?;
                let names = [alias, "excluded"];
                self.assignments(target_list, target.table().map(|t| (t, names.as_slice())))?;
                let pending: &[usize] = match target {
                    Target::Tenant(..) if !planted(Fault::ConflictWhere) => &[0],
                    Target::Tenant(..) | Target::Policed(..) | Target::Free => &[],
                };
                let condition = self.conditions(where_clause.take(), pending, Held::Folded)?.map(|it| *it);
                let others = match target {
                    Target::Tenant(table, _) if !pending.is_empty() && !names_tenant(infer.as_deref(), table) => {
                        Some(self.refused_to_others(table)?)
                    }
                    Target::Tenant(..) | Target::Policed(..) | Target::Free => None,
                };
                *where_clause = tree::all_of(others.into_iter().chain(condition).collect()).map(Box::new);
                Ok(())
            }
            OnConflictAction::Undefined | OnConflictAction::OnconflictNone => Err(unsupported("this ON CONFLICT")),
        }
    }
}

impl Rewriter<'_> {
    /// `CASE WHEN <predicate of the target> THEN true ELSE <error> END`. Where a key does not have the tenant column, the row in the
    /// way may be another's: alone, the tenant would have added its own, so that to leave it out without a word would be wrong.
    /// The error ends the lock on that row too.
    fn refused_to_others(&mut self, table: &TenantTable) -> Result<Node, Refusal> {
        self.note(format!("a row in the way whose {} is not the tenant's: 23505", table.column));
        let own = self.own_predicate(0)?.ok_or_else(|| unsupported("this ON CONFLICT"))?;
        Ok(tree::case(own, tree::boolean(true), failure(FOREIGN_ROW, "pg_catalog.bool")?))
    }
}

/// Whether the key that conflicts has the tenant column: the row in the way is the tenant's own.
fn names_tenant(infer: Option<&InferClause>, table: &TenantTable) -> bool {
    infer.and_then(plain_columns).is_some_and(|names| names.contains(&table.column.as_str()))
}

/// The columns of `ON CONFLICT (columns)`, if it names columns and nothing else.
fn plain_columns(infer: &InferClause) -> Option<Vec<&str>> {
    if infer.where_clause.is_some() || !infer.conname.is_empty() {
        return None;
    }
    let name = |element| match element {
        &Node { node: Some(NodeEnum::IndexElem(ref it)) }
            if it.expr.is_none() && it.collation.is_empty() && it.opclass.is_empty() =>
        {
            Some(it.name.as_str())
        }
        Node { node: Some(_) | None } => None,
    };
    infer.index_elems.iter().map(name).collect()
}
