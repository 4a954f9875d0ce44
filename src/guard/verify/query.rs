//! The walk over every field, and SELECT.

use pg_query::NodeEnum;
use pg_query::protobuf::{RangeVar, SelectStmt, SubLinkType};

use super::correlated::key;
use super::scope::Scope;
use super::tree::{conjuncts, node, nodes as nodes_of};
use super::trial::Held;
use super::{Outcome, Verifier};
use crate::guard::nodes;
use crate::sql::walk::{Part, Walk, kind};

impl<'v, 'p> Verifier<'v, 'p> {
    /// Walks anything. A relation that is met here, and not by one of the rules for its place, must not be a tenant's.
    pub(super) fn walk(&self, value: &'v (impl Walk + ?Sized), scope: &Scope<'_, 'v, 'p>) -> Outcome {
        let mut outcome = Ok(());
        value.met(&mut |part| {
            outcome = match part {
                Part::Node(node) => self.walk_node(node, scope),
                Part::Select(select) => self.select(select, scope),
                Part::RangeVar(relation) => self.bare_relation(relation, scope),
            };
            outcome.is_err()
        });
        outcome
    }

    /// Walks several fields.
    pub(super) fn walk_all(&self, fields: &[&'v dyn Walk], scope: &Scope<'_, 'v, 'p>) -> Outcome {
        fields.iter().try_for_each(|field| self.walk(*field, scope))
    }

    #[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
    pub(super) fn walk_node(&self, node: &'v NodeEnum, scope: &Scope<'_, 'v, 'p>) -> Outcome {
        super::count_step();
        if let Some(outcome) = self.temporary(node, scope) {
            return outcome;
        }
        match node {
            NodeEnum::SelectStmt(select) => self.select(select, scope),
            NodeEnum::InsertStmt(insert) => self.insert(insert, scope),
            NodeEnum::UpdateStmt(update) => self.update(update, scope),
            NodeEnum::DeleteStmt(delete) => self.delete(delete, scope),
            NodeEnum::MergeStmt(merge) => self.merge(merge, scope),
            NodeEnum::CopyStmt(copy) => self.copy(copy, scope),
            NodeEnum::RangeVar(relation) => self.bare_relation(relation, scope),
            NodeEnum::SubLink(link) if link.sub_link_type() == SubLinkType::ExistsSublink => {
                self.walk(node, &scope.exists())
            }
            // `FOR UPDATE OF name`: names of FROM items, not of relations
            NodeEnum::LockingClause(_) => Ok(()),
            // Names of constraints
            NodeEnum::ConstraintsSetStmt(_) => Ok(()),
            // Statements that may hold a query, or that tenants may send without one; with COPY, and the queries themselves,
            // these are all that leave in the shared layout.
            NodeEnum::CallStmt(_)
            | NodeEnum::ClosePortalStmt(_)
            | NodeEnum::DeallocateStmt(_)
            | NodeEnum::DeclareCursorStmt(_)
            | NodeEnum::DiscardStmt(_)
            | NodeEnum::ExecuteStmt(_)
            | NodeEnum::ExplainStmt(_)
            | NodeEnum::FetchStmt(_)
            | NodeEnum::ListenStmt(_)
            | NodeEnum::NotifyStmt(_)
            | NodeEnum::PrepareStmt(_)
            | NodeEnum::TransactionStmt(_)
            | NodeEnum::VariableSetStmt(_)
            | NodeEnum::VariableShowStmt(_) => self.walk(node, scope),
            nodes::expression!() | nodes::json!() | nodes::from_item!() | nodes::literal!() | nodes::query_part!() => {
                self.walk(node, scope)
            }
            other @ (nodes::statement!() | nodes::definition_part!() | nodes::planned!()) => {
                Err(format!("{} has no place in a statement of a tenant", kind(other)))
            }
        }
    }

    /// A relation in a place that no rule covers.
    fn bare_relation(&self, relation: &RangeVar, scope: &Scope<'_, '_, '_>) -> Outcome {
        let is_cte = relation.schemaname.is_empty() && scope.has(&relation.relname);
        if is_cte || self.tenant_table(relation).is_none() {
            return Ok(());
        }
        Err(format!("{} stands in a place that cannot be guarded", relation.relname))
    }

    fn select(&self, select: &'v SelectStmt, scope: &Scope<'_, 'v, 'p>) -> Outcome {
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
        } = select;
        let ctes = self.with_clause(with_clause.as_ref(), scope)?;
        let scope = scope.with(&ctes);
        let conditions = conjuncts(node(where_clause));
        let level = self.level(key(select), None, nodes_of(from_clause), &scope);
        self.no_leaks(&conditions, level.items(), &scope, Held::Once)?;
        // The planner moves conditions of HAVING that hold no aggregate into WHERE.
        self.no_leaks(&conjuncts(node(having_clause)), level.items(), &scope, Held::Nowhere)?;
        let inside = scope.within(&level);
        self.from_clause(from_clause, &conditions, &level, &inside)?;
        self.walk(where_clause, &inside)?;
        self.walk_all(
            &[distinct_clause, into_clause, target_list, group_clause, having_clause, window_clause],
            &scope,
        )?;
        self.walk_all(&[values_lists, sort_clause, limit_offset, limit_count, locking_clause, larg, rarg], &scope)
    }
}
