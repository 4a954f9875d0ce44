//! FROM items: where a tenant relation's predicate must stand, join by join.

use pg_query::NodeEnum;
use pg_query::protobuf::{JoinExpr, JoinType, Node, RangeTableSample, RangeVar};

use super::level::Level;
use super::predicate::Reference;
use super::scope::Scope;
use super::tree::{conjuncts, node};
use super::trial::Held;
use super::{Outcome, Verifier};
use crate::guard::nodes;
use crate::sql::walk::kind;

/// Conditions that a row of a relation must pass before it is seen.
pub(super) type Conditions<'v> = Vec<&'v NodeEnum>;

impl<'v, 'p> Verifier<'v, 'p> {
    /// A FROM item under conditions. For a relation on the nullable side of a join, WHERE is none of them: it would
    /// drop rows of the other side that only matched other tenants' rows.
    #[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
    pub(super) fn item_of_from(
        &self,
        item: &'v NodeEnum,
        conditions: &Conditions<'v>,
        level: &Level<'v, 'p>,
        scope: &Scope<'_, 'v, 'p>,
    ) -> Outcome {
        match item {
            NodeEnum::RangeVar(relation) => self.guarded_relation(relation, conditions, scope),
            NodeEnum::JoinExpr(join) => self.join(join, conditions, level, scope),
            NodeEnum::RangeTableSample(sample) => {
                let RangeTableSample { relation, method, args, repeatable, location: _ } = &**sample;
                self.field_of_from(relation, conditions, level, scope)?;
                self.walk_all(&[method, args, repeatable], scope)
            }
            // Levels of their own, and expressions.
            NodeEnum::RangeSubselect(_)
            | NodeEnum::RangeFunction(_)
            | NodeEnum::RangeTableFunc(_)
            | NodeEnum::JsonTable(_) => self.walk_node(item, scope),
            other @ (nodes::statement!() | nodes::part!()) => Err(format!("{} is no item of FROM", kind(other))),
        }
    }

    /// All items of a FROM or USING.
    pub(super) fn from_clause(
        &self,
        items: &'v [Node],
        conditions: &Conditions<'v>,
        level: &Level<'v, 'p>,
        scope: &Scope<'_, 'v, 'p>,
    ) -> Outcome {
        super::tree::nodes(items).try_for_each(|item| self.item_of_from(item, conditions, level, scope))
    }

    pub(super) fn field_of_from(
        &self,
        field: &'v Option<Box<Node>>,
        conditions: &Conditions<'v>,
        level: &Level<'v, 'p>,
        scope: &Scope<'_, 'v, 'p>,
    ) -> Outcome {
        node(field).map_or(Ok(()), |item| self.item_of_from(item, conditions, level, scope))
    }

    fn join(
        &self,
        join: &'v JoinExpr,
        conditions: &Conditions<'v>,
        level: &Level<'v, 'p>,
        scope: &Scope<'_, 'v, 'p>,
    ) -> Outcome {
        let JoinExpr {
            jointype: _,
            is_natural: _,
            larg,
            rarg,
            using_clause,
            join_using_alias,
            quals,
            alias,
            rtindex: _,
        } = join;
        let on = conjuncts(node(quals));
        let held = if join.jointype() == JoinType::JoinInner { Held::Once } else { Held::Folded };
        self.no_leaks(&on, level.of_join(join), scope, held)?;
        // An alias over the join hides the names inside: no outer condition can mean them.
        let outer = if alias.is_none() { conditions.clone() } else { Conditions::new() };
        let (left, right) = match join.jointype() {
            JoinType::JoinInner => {
                let both: Conditions<'_> = outer.into_iter().chain(on).collect();
                (both.clone(), both)
            }
            JoinType::JoinLeft => (outer, on),
            JoinType::JoinRight => (on, outer),
            JoinType::JoinFull => (Conditions::new(), Conditions::new()),
            // Those of the planner.
            other @ (JoinType::Undefined
            | JoinType::JoinSemi
            | JoinType::JoinAnti
            | JoinType::JoinRightSemi
            | JoinType::JoinRightAnti
            | JoinType::JoinUniqueOuter
            | JoinType::JoinUniqueInner) => return Err(format!("join type {} is not known", other.as_str_name())),
        };
        self.field_of_from(larg, &left, level, scope)?;
        self.field_of_from(rarg, &right, level, scope)?;
        self.walk_all(&[using_clause, join_using_alias, quals, alias], scope)
    }

    fn guarded_relation(&self, relation: &RangeVar, conditions: &Conditions<'_>, scope: &Scope<'_, '_, '_>) -> Outcome {
        if relation.schemaname.is_empty() && scope.has(&relation.relname) {
            return Ok(());
        }
        self.behind_predicate(relation, conditions, true)
    }

    /// A tenant relation must have its predicate among the conditions; any other relation needs none. `reads`: it is no target.
    pub(super) fn behind_predicate(&self, relation: &RangeVar, conditions: &Conditions<'_>, reads: bool) -> Outcome {
        let Some(table) = self.tenant_table(relation) else { return Ok(()) };
        let guarded = Reference::of(relation).is_some_and(|reference| {
            conditions.iter().any(|condition| {
                super::count_step();
                self.predicates.is_predicate(condition, reference, table, reads)
            })
        });
        if guarded { Ok(()) } else { Err(format!("{} stands without its tenant predicate", relation.relname)) }
    }
}
