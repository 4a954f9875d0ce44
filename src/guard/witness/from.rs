//! FROM: what its items are, and where the predicate of each must stand, join by join.

use sqlparser::ast::{
    Expr, FunctionArg, Join, JoinConstraint, JoinOperator, TableAlias, TableFactor, TableFunctionArgs, TableSample,
    TableSampleBucket, TableSampleKind, TableSampleQuantity, TableWithJoins, XmlNamespaceDefinition,
    XmlPassingArgument, XmlPassingClause, XmlTableColumn, XmlTableColumnOption,
};

use super::level::{Behind, Item, Level, Shape};
use super::names::{name, of_columns, qualified};
use super::predicate::conjuncts;
use super::{Checker, expression};

impl<'p> Checker<'p> {
    /// The items of a FROM; what is in them is walked.
    pub(super) fn from_clause(&mut self, from: &[TableWithJoins]) -> Level<'p> {
        let mut level = Level::default();
        self.add_from(from, &mut level);
        level
    }

    pub(super) fn add_from(&mut self, from: &[TableWithJoins], level: &mut Level<'p>) {
        from.iter().for_each(|tree| self.join_tree(tree, level));
    }

    fn join_tree(&mut self, tree: &TableWithJoins, level: &mut Level<'p>) {
        let TableWithJoins { relation, joins } = tree;
        let start = level.items.len();
        self.factor(relation, level);
        for Join { relation, global, join_operator } in joins {
            self.foreign(*global, "GLOBAL JOIN");
            self.factor(relation, level);
            let (_, constraint) = sides(join_operator);
            match constraint {
                Some(JoinConstraint::On(condition)) => self.within(level, false, |this| this.walk(condition)),
                Some(JoinConstraint::UsingAlias(_, alias)) => {
                    let tenants = level.items.iter().skip(start).any(Item::has_tenants);
                    level.items.push(Item::derived(Some(name(alias)), Shape { columns: None, tenants }));
                }
                Some(JoinConstraint::Using(_) | JoinConstraint::Natural | JoinConstraint::None) => {}
                None => self.unread("a join of another dialect"),
            }
        }
    }

    /// One item: a relation, a query, a function, or a join in parentheses.
    pub(super) fn factor(&mut self, factor: &TableFactor, level: &mut Level<'p>) {
        match factor {
            TableFactor::Table { .. } => self.table(factor, level),
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                self.foreign(sample.is_some(), "TABLESAMPLE of a query");
                let mut shape = Shape::default();
                // Only a lateral one sees what stands to its left.
                let mut seen = if *lateral { std::mem::take(level) } else { Level::default() };
                self.within(&mut seen, false, |this| shape = this.query(subquery));
                level.items.splice(0..0, seen.items);
                self.add(Item::derived(None, shape), alias.as_ref(), level);
            }
            TableFactor::Function { lateral: _, name: called, args, with_ordinality: _, alias } => {
                self.within(level, false, |this| this.arguments(args));
                let called = qualified(called).map(|(_, name)| name);
                self.add(Item::derived(called, Shape::default()), alias.as_ref(), level);
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset, with_offset_alias: _, with_ordinality: _ } => {
                self.foreign(*with_offset, "WITH OFFSET");
                self.within(level, false, |this| this.walk_all(array_exprs));
                self.add(Item::derived(Some("unnest".to_owned()), Shape::default()), alias.as_ref(), level);
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.join_tree(table_with_joins, level),
            TableFactor::NestedJoin { table_with_joins, alias: alias @ Some(_) } => {
                // The alias hides the names inside: no condition outside can mean them.
                let tree = std::slice::from_ref(&**table_with_joins);
                let inside = self.from_clause(tree);
                self.joins_covered(tree, &[], &inside, 0);
                let shape = Shape { columns: None, tenants: inside.has_tenants() };
                self.add(Item::derived(None, shape), alias.as_ref(), level);
            }
            TableFactor::XmlTable { namespaces, row_expression, passing, columns, alias } => {
                let XmlPassingClause { arguments } = passing;
                self.walk_all(namespaces.iter().map(|XmlNamespaceDefinition { uri, name: _ }| uri));
                self.walk(row_expression);
                self.walk_all(arguments.iter().map(|XmlPassingArgument { expr, alias: _, by_value: _ }| expr));
                for XmlTableColumn { name: _, option } in columns {
                    if let XmlTableColumnOption::NamedInfo { r#type: _, path, default, nullable: _ } = option {
                        self.walk_all(path.iter().chain(default));
                    }
                }
                self.add(Item::derived(None, Shape::default()), alias.as_ref(), level);
            }
            TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::TableFunction { .. }
            | TableFactor::Pivot { .. }
            | TableFactor::Unpivot { .. }
            | TableFactor::UnpivotExpr { .. }
            | TableFactor::MatchRecognize { .. }
            | TableFactor::SemanticView { .. } => {
                self.unread("an item of FROM");
                level.items.push(Item::derived(None, Shape::default()));
            }
        }
    }

    fn table(&mut self, factor: &TableFactor, level: &mut Level<'p>) {
        let TableFactor::Table {
            name: called,
            alias,
            args,
            with_hints,
            version,
            with_ordinality: _,
            partitions,
            json_path,
            sample,
            index_directives,
            inheritance: _,
        } = factor
        else {
            return;
        };
        let foreign = !with_hints.is_empty()
            || version.is_some()
            || !partitions.is_empty()
            || json_path.is_some()
            || !index_directives.is_empty();
        self.foreign(foreign, "options of a table");
        if let Some(sample) = sample {
            self.sample(sample);
        }
        let Some((schema, called)) = qualified(called) else {
            self.unread("the name of a table");
            level.items.push(Item::derived(None, Shape::default()));
            return;
        };
        if let Some(TableFunctionArgs { args, settings }) = args {
            self.foreign(settings.is_some(), "SETTINGS");
            self.within(level, false, |this| this.arguments(args));
            self.add(Item::derived(Some(called), Shape::default()), alias.as_ref(), level);
            return;
        }
        let cte = if schema.is_none() { self.cte(&called) } else { None };
        let item = match cte {
            Some(cte) => Item::derived(Some(called), cte.shape.clone()),
            None => self.named_item(schema, called, alias.as_ref()),
        };
        self.add(item, alias.as_ref(), level);
    }

    /// A relation that is no common table expression.
    pub(super) fn named_item(
        &mut self,
        schema: Option<String>,
        called: String,
        alias: Option<&TableAlias>,
    ) -> Item<'p> {
        let Some(relation) = self.relation(schema.as_deref(), &called) else {
            return Item::derived(Some(called), Shape::default());
        };
        let behind = match self.tenant_table(relation) {
            Some((table, true)) => Behind::Tenant(table),
            Some((_, false)) => Behind::Policies,
            None if is_system(&relation.name.schema) => Behind::System,
            None => Behind::Nobody,
        };
        match behind {
            Behind::Tenant(_) | Behind::Policies => self.seen += 1,
            Behind::Query | Behind::System | Behind::Nobody => {}
        }
        let called = alias.map_or(called, |alias| name(&alias.name));
        Item::relation(relation, called, alias.is_some(), behind)
    }

    /// Puts an item on the level, under its alias.
    fn add(&mut self, mut item: Item<'p>, alias: Option<&TableAlias>, level: &mut Level<'p>) {
        if let Some(TableAlias { explicit: _, name: called, columns, at }) = alias {
            self.foreign(at.is_some(), "AT of an alias");
            item.qualifier = Some(name(called));
            match (&item.columns, columns.is_empty()) {
                (None, false) => item.columns = Some(of_columns(columns)),
                (Some(_) | None, _) => item.rename(of_columns(columns)),
            }
        }
        level.items.push(item);
    }

    fn arguments(&mut self, args: &[FunctionArg]) {
        self.walk_parts(|take| args.iter().for_each(|argument| expression::argument(argument, take)));
    }

    fn sample(&mut self, sample: &TableSampleKind) {
        let (TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) = sample;
        let TableSample { modifier: _, name: _, quantity, seed: _, bucket, offset } = &**sample;
        self.walk_all(quantity.iter().map(|TableSampleQuantity { parenthesized: _, value, unit: _ }| value));
        if let Some(TableSampleBucket { bucket: _, total: _, on }) = bucket {
            self.walk_all(on);
        }
        self.walk_all(offset);
    }

    /// Each relation of a FROM stands behind its predicate. `conditions`: those of WHERE; `first`: where the level's items of
    /// it begin.
    pub(super) fn joins_covered(
        &mut self,
        from: &[TableWithJoins],
        conditions: &[&Expr],
        level: &Level<'p>,
        first: usize,
    ) {
        let mut items = level.items.get(first..).unwrap_or_default().iter();
        from.iter().for_each(|tree| self.tree_covered(tree, conditions, level, &mut items));
    }

    fn tree_covered<'l>(
        &mut self,
        tree: &TableWithJoins,
        conditions: &[&Expr],
        level: &'l Level<'p>,
        items: &mut std::slice::Iter<'l, Item<'p>>,
    ) {
        // From the outermost join inwards: what each side's rows must pass before they are seen.
        let mut outer = conditions.to_vec();
        let mut of_joined = Vec::with_capacity(tree.joins.len());
        for join in tree.joins.iter().rev() {
            let (kind, constraint) = sides(&join.join_operator);
            let on = match constraint {
                Some(JoinConstraint::On(condition)) => conjuncts(Some(condition)),
                Some(_) | None => Vec::new(),
            };
            self.no_leaks(&on, level);
            let (left, right) = match kind {
                Sides::Both => {
                    let both = [outer.as_slice(), on.as_slice()].concat();
                    (both.clone(), both)
                }
                Sides::Left => (outer, on),
                Sides::Right => (on, outer),
                Sides::Neither => (Vec::new(), Vec::new()),
            };
            outer = left;
            of_joined.push(right);
        }
        self.factor_covered(&tree.relation, &outer, level, items);
        for (join, conditions) in tree.joins.iter().zip(of_joined.iter().rev()) {
            self.factor_covered(&join.relation, conditions, level, items);
            if let (_, Some(JoinConstraint::UsingAlias(..))) = sides(&join.join_operator) {
                items.next();
            }
        }
    }

    /// `items`: those of the level, from this one on.
    pub(super) fn factor_covered<'l>(
        &mut self,
        factor: &TableFactor,
        conditions: &[&Expr],
        level: &'l Level<'p>,
        items: &mut std::slice::Iter<'l, Item<'p>>,
    ) {
        if let TableFactor::NestedJoin { table_with_joins, alias: None } = factor {
            self.tree_covered(table_with_joins, conditions, level, items);
        } else if let Some(item) = items.next() {
            let renamed = matches!(factor, TableFactor::Table { alias: Some(alias), .. } if !alias.columns.is_empty());
            // Where columns go by other names, no name can be trusted.
            self.must_be_covered(item, if renamed { &[] } else { conditions }, true);
        }
    }

    /// An item with a tenant relation behind it has its predicate among the conditions. `reads`: it is no target.
    pub(super) fn must_be_covered(&mut self, item: &Item<'p>, conditions: &[&Expr], reads: bool) {
        if let Behind::Tenant(_) = item.behind
            && !conditions.iter().any(|condition| self.values.is_predicate_of(condition, item, reads))
        {
            let called = item.qualifier.clone().unwrap_or_default();
            self.uncovered(|| format!("{called} stands without its tenant predicate"));
        }
    }
}

fn is_system(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema")
}

/// Which sides of a join its ON and what is outside of it guard.
#[derive(Clone, Copy)]
enum Sides {
    /// Both of them guard both sides.
    Both,
    /// The rows of the left side are kept: ON guards the right side only, what is outside the left side only.
    Left,
    Right,
    /// The rows of both are kept.
    Neither,
}

/// `None`: no join of Postgres's.
fn sides(operator: &JoinOperator) -> (Sides, Option<&JoinConstraint>) {
    match operator {
        JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => (Sides::Both, Some(on)),
        JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (Sides::Left, Some(on)),
        JoinOperator::Right(on) | JoinOperator::RightOuter(on) => (Sides::Right, Some(on)),
        JoinOperator::FullOuter(on) => (Sides::Neither, Some(on)),
        JoinOperator::Semi(_)
        | JoinOperator::LeftSemi(_)
        | JoinOperator::RightSemi(_)
        | JoinOperator::Anti(_)
        | JoinOperator::LeftAnti(_)
        | JoinOperator::RightAnti(_)
        | JoinOperator::CrossApply
        | JoinOperator::OuterApply
        | JoinOperator::AsOf { .. }
        | JoinOperator::StraightJoin(_)
        | JoinOperator::ArrayJoin
        | JoinOperator::LeftArrayJoin
        | JoinOperator::InnerArrayJoin => (Sides::Neither, None),
    }
}
