//! What holds values of others at one query level, as its conditions may name it.

use std::collections::HashMap;
use std::ops::Range;

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, JoinExpr, RangeSubselect, RangeVar};

use super::Verifier;
use super::correlated::{Key, Numbered};
use super::derived::Derived;
use super::predicate::Reference;
use super::scope::Scope;
use super::tree::{alias_name, any_column, column_parts, node};
use crate::catalog::Relation;
use crate::guard::nodes as groups;
use crate::guard::policy::TenantTable;
use crate::sql::walk::Part;

/// The items of FROM of one query level, or of a statement that writes, its target included.
#[derive(Default)]
pub(super) struct Level<'v, 'p> {
    relations: Vec<Seen<'v, 'p>>,
    derived: Vec<Derived<'v>>,
    /// Names of all its items.
    names: Vec<&'v str>,
    /// What stands in each join, by the join's place in memory. The three lists are filled from left to right.
    joins: HashMap<*const JoinExpr, Range<[usize; 3]>>,
    /// Columns of these items that queries in the statement name.
    correlated: Vec<Numbered<'v>>,
}

/// Items of a level that a condition can name: all of them, or those in a join.
#[derive(Clone, Copy)]
pub(super) struct Items<'l, 'v, 'p> {
    relations: &'l [Seen<'v, 'p>],
    pub(super) derived: &'l [Derived<'v>],
    names: &'l [&'v str],
    pub(super) correlated: &'l [Numbered<'v>],
}

/// Whether a tenant relation is tested.
pub(super) type Test<'t, 'v, 'p> = &'t dyn Fn(&Seen<'v, 'p>) -> bool;

/// A tenant relation of a level.
pub(super) struct Seen<'v, 'p> {
    pub(super) reference: Reference<'v>,
    relation: &'p Relation,
    pub(super) table: &'p TenantTable,
}

impl Seen<'_, '_> {
    /// Whether a bare name may mean this relation, or a column of it.
    fn is_named(&self, name: &str) -> bool {
        self.reference.is(name) || self.relation.columns.iter().any(|column| column.name == name)
    }
}

impl<'v, 'p> Verifier<'v, 'p> {
    /// The tenant relations among the FROM items of a statement, joins included, and what is derived from such.
    pub(super) fn level(
        &self,
        statement: Key,
        target: Option<&'v RangeVar>,
        from: impl IntoIterator<Item = &'v NodeEnum>,
        scope: &Scope<'_, 'v, 'p>,
    ) -> Level<'v, 'p> {
        let mut level = Level { correlated: self.survey.correlated(statement).to_vec(), ..Level::default() };
        if let Some(target) = target {
            self.collect_relation(target, &mut level, scope);
        }
        from.into_iter().for_each(|item| self.collect(item, &mut level, scope));
        level
    }

    #[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
    fn collect(&self, item: &'v NodeEnum, level: &mut Level<'v, 'p>, scope: &Scope<'_, 'v, 'p>) {
        super::count_step();
        match item {
            NodeEnum::RangeVar(relation) => self.collect_relation(relation, level, scope),
            NodeEnum::JoinExpr(join) => self.collect_join(join, level, scope),
            NodeEnum::RangeTableSample(sample) => {
                node(&sample.relation).into_iter().for_each(|item| self.collect(item, level, scope));
            }
            NodeEnum::RangeSubselect(subselect) => {
                level.names.push(alias_name(subselect.alias.as_ref()));
                let derived = self.subselect(subselect, scope).or_else(|| self.lateral(subselect, level));
                level.derived.extend(derived);
            }
            NodeEnum::RangeFunction(function) => {
                level.names.push(alias_name(function.alias.as_ref()));
                level.derived.extend(self.function(function));
            }
            NodeEnum::RangeTableFunc(function) => level.names.push(alias_name(function.alias.as_ref())),
            NodeEnum::JsonTable(table) => level.names.push(alias_name(table.alias.as_ref())),
            // None of these is an item of FROM: the walk over FROM refuses them.
            groups::statement!() | groups::part!() => {}
        }
    }

    fn collect_join(&self, join: &'v JoinExpr, level: &mut Level<'v, 'p>, scope: &Scope<'_, 'v, 'p>) {
        let start = level.ends();
        let arms = [&join.larg, &join.rarg].into_iter().filter_map(node);
        arms.for_each(|arm| self.collect(arm, level, scope));
        let range = start..level.ends();
        let inside = level.items_in(&range);
        let private = !(inside.relations.is_empty() && inside.derived.is_empty());
        let open = !inside.relations.is_empty() || inside.derived.iter().any(|derived| derived.open);
        level.joins.insert(join, range);
        for alias in [&join.alias, &join.join_using_alias].into_iter().flatten() {
            level.names.push(&alias.aliasname);
            level.derived.extend(private.then(|| Derived::join(alias, open)));
        }
    }

    fn collect_relation(&self, range_var: &'v RangeVar, level: &mut Level<'v, 'p>, scope: &Scope<'_, 'v, 'p>) {
        let alias = alias_name(range_var.alias.as_ref());
        level.names.push(if alias.is_empty() { &range_var.relname } else { alias });
        if let Some(cte) = scope.cte(&range_var.relname).filter(|_| range_var.schemaname.is_empty()) {
            level.derived.extend(self.cte_reference(range_var, cte));
        } else if let (Some((relation, table)), Some(reference)) =
            (super::any_tenant_table(self.policy, range_var), Reference::of(range_var))
        {
            level.relations.push(Seen { reference, relation, table });
        }
    }

    /// A lateral subquery that is nothing but what it looks at in this FROM: merged into the query around it, a condition on
    /// it is one on that.
    fn lateral(&self, item: &'v RangeSubselect, level: &Level<'v, 'p>) -> Option<Derived<'v>> {
        let query = node(&item.subquery).filter(|_| item.lateral)?;
        let items = level.items();
        let named = self.survey.columns(query).iter().any(|column| {
            super::count_step();
            items.holds(column) || items.is_derived_column(column)
        });
        named.then(|| Derived::lateral(item.alias.as_ref(), query))
    }
}

impl<'v, 'p> Level<'v, 'p> {
    /// All items.
    pub(super) fn items(&self) -> Items<'_, 'v, 'p> {
        self.items_in(&([0; 3]..self.ends()))
    }

    /// What the ON of a join can name: the items in it.
    pub(super) fn of_join(&self, join: &JoinExpr) -> Items<'_, 'v, 'p> {
        self.joins.get(&std::ptr::from_ref(join)).map_or_else(|| self.items(), |range| self.items_in(range))
    }

    fn items_in(&self, range: &Range<[usize; 3]>) -> Items<'_, 'v, 'p> {
        let Range { start: [r0, d0, n0], end: [r1, d1, n1] } = *range;
        Items {
            relations: self.relations.get(r0..r1).unwrap_or_default(),
            derived: self.derived.get(d0..d1).unwrap_or_default(),
            names: self.names.get(n0..n1).unwrap_or_default(),
            correlated: &self.correlated,
        }
    }

    fn ends(&self) -> [usize; 3] {
        [self.relations.len(), self.derived.len(), self.names.len()]
    }
}

impl<'v, 'p> Items<'_, 'v, 'p> {
    /// Whether an expression names a column, or the whole row, of a tenant relation among these.
    pub(super) fn is_looked_at_by(&self, value: &NodeEnum) -> bool {
        any_column(Part::Node(value), &mut |column| self.holds(column))
    }

    pub(super) fn holds(&self, column_ref: &ColumnRef) -> bool {
        // A star, or anything else that is no plain name, may mean every relation.
        let Some(parts) = column_parts(column_ref) else { return !self.relations.is_empty() };
        self.relations.iter().any(|seen| match parts.as_slice() {
            [name] => seen.is_named(name),
            [first, second] | [first, second, _] => seen.reference.is(first) || seen.reference.is(second),
            // With the name of a database
            [] | [_, _, _, _, ..] => true,
        })
    }

    /// Whether a condition names a column where something derived stands, or something of a level around that holds values
    /// of others.
    pub(super) fn is_near(&self, value: &NodeEnum, scope: &Scope<'_, '_, '_>) -> bool {
        any_column(Part::Node(value), &mut |column| match column_parts(column).unwrap_or_default().as_slice() {
            // `s.t.x`: a relation, and no alias.
            [_, qualifier, _] | [qualifier, _] if self.names.contains(qualifier) => self.is_derived(qualifier),
            [_, qualifier, _] | [qualifier, _] => scope.levels().any(|level| level.items().is_private(qualifier)),
            // A bare name, or a star, may be a column of anything.
            [] | [_] => !self.derived.is_empty(),
            [_, _, _, _, ..] => true,
        })
    }

    /// Whether a column reference names something derived.
    pub(super) fn is_derived_column(&self, column: &ColumnRef) -> bool {
        match column_parts(column).unwrap_or_default().as_slice() {
            [_, qualifier, _] | [qualifier, _] => self.is_derived(qualifier),
            [_, _, _, _, ..] => true,
            // What a bare name or a star means cannot be told: in a query that is merged, the rules for that query see it.
            [] | [_] => false,
        }
    }

    fn is_derived(&self, name: &str) -> bool {
        self.derived.iter().any(|derived| derived.name == name)
    }

    fn is_private(&self, name: &str) -> bool {
        self.is_derived(name) || self.relations.iter().any(|r| r.reference.is(name))
    }

    /// Whether a condition, which is plain by its form, looks at a computed column of an unfenced query.
    pub(super) fn is_moved_by(&self, value: &NodeEnum) -> bool {
        let mut open = self.derived.iter().filter(|derived| derived.open);
        any_column(Part::Node(value), &mut |column| match column_parts(column).unwrap_or_default().as_slice() {
            [qualifier, column] => open.clone().any(|d| d.name == *qualifier && d.computes(column)),
            [column] => open.clone().any(|d| d.computes(column)),
            // With a schema: a table. A star is no value that is compared.
            [] | [_, _, _] => false,
            [_, _, _, _, ..] => open.next().is_some(),
        })
    }

    /// Whether all that an expression looks at passes a test.
    pub(super) fn is_covered(&self, value: &NodeEnum, tested: Test<'_, 'v, 'p>) -> bool {
        !any_column(Part::Node(value), &mut |column| !self.is_column_covered(column, tested))
    }

    pub(super) fn is_column_covered(&self, column_ref: &ColumnRef, tested: Test<'_, 'v, 'p>) -> bool {
        let parts = column_parts(column_ref).unwrap_or_default();
        let means = |seen: &&Seen<'v, 'p>| match parts.as_slice() {
            [name] => seen.is_named(name),
            [relation, _] | [_, relation, _] => seen.reference.is(relation),
            [] | [_, _, _, _, ..] => true,
        };
        let mut meant = self.relations.iter().filter(means).peekable();
        match parts.as_slice() {
            // A star, or anything else that is no plain name, may mean every relation.
            [] | [_, _, _, _, ..] => meant.all(tested),
            // A bare name means one relation, or what a USING joined.
            [_] | [_, _] | [_, _, _] => meant.peek().is_none() || meant.any(tested),
        }
    }
}

/// Whether any column that an expression names with a qualifier, outside of its subqueries, has this one.
pub(super) fn is_qualifier_in(qualifier: &str, value: &NodeEnum) -> bool {
    any_column(
        Part::Node(value),
        &mut |column| matches!(column_parts(column).as_deref(), Some([first, _, ..]) if *first == qualifier),
    )
}
