//! Queries: WITH, set operations, SELECT, VALUES.

use sqlparser::ast::{
    Cte, Distinct, Expr, Fetch, GroupByExpr, GroupByWithModifier, Ident, LimitClause, NamedWindowDefinition, Offset,
    OrderBy, OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Table, TableAlias,
    Values, With,
};

use super::level::{Item, Level, Named, Shape};
use super::names::{name, of_columns, path};
use super::predicate::{bare, conjuncts};
use super::{Checker, expression};

impl<'p> Checker<'p> {
    pub(super) fn query(&mut self, query: &Query) -> Shape {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        self.foreign(for_clause.is_some() || settings.is_some() || format_clause.is_some(), "a clause behind a query");
        if !locks.is_empty() {
            self.only_for_one("a lock");
        }
        self.foreign(!pipe_operators.is_empty(), "a pipe");
        let depth = self.open_with(with.as_ref());
        let shape = self.body(body);
        self.apart(|this| {
            if let Some(order_by) = order_by {
                this.order_by(order_by);
            }
            if let Some(limit) = limit_clause {
                this.limit(limit);
            }
            if let Some(Fetch { with_ties: _, percent: _, quantity }) = fetch {
                this.walk_all(quantity);
            }
        });
        self.close_with(depth);
        shape
    }

    /// Puts the names of a WITH in scope. Without RECURSIVE one sees those before it; with it, all of them and itself.
    pub(super) fn open_with(&mut self, with: Option<&With>) -> usize {
        let depth = self.ctes.len();
        let Some(With { with_token: _, recursive, cte_tables }) = with else { return depth };
        if *recursive {
            // Not walked yet: anything may be in it.
            let unknown =
                |cte: &Cte| Named { name: name(&cte.alias.name), shape: Shape { columns: None, tenants: true } };
            self.ctes.extend(cte_tables.iter().map(unknown));
        }
        for (number, cte) in cte_tables.iter().enumerate() {
            let Cte { alias, query, from, materialized: _, closing_paren_token: _ } = cte;
            self.foreign(from.is_some(), "FROM of a WITH");
            let mut shape = self.query(query);
            let TableAlias { explicit: _, name: named, columns, at } = alias;
            self.foreign(at.is_some(), "AT of an alias");
            if !columns.is_empty() {
                shape.columns = Some(of_columns(columns));
            }
            match self.ctes.get_mut(depth + number).filter(|_| *recursive) {
                Some(known) => known.shape = shape,
                None => self.ctes.push(Named { name: name(named), shape }),
            }
        }
        depth
    }

    pub(super) fn close_with(&mut self, depth: usize) {
        self.ctes.truncate(depth);
    }

    fn body(&mut self, body: &SetExpr) -> Shape {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, op: _, set_quantifier: _, right } => {
                let (left, right) = (self.body(left), self.body(right));
                Shape { columns: left.columns, tenants: left.tenants || right.tenants }
            }
            SetExpr::Values(Values { explicit_row: _, value_keyword: _, rows }) => {
                rows.iter().for_each(|row| self.walk_all(&row.content));
                let columns = rows.first().map(|row| (1..=row.content.len()).map(|i| format!("column{i}")).collect());
                Shape { columns, tenants: false }
            }
            SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement)
            | SetExpr::Merge(statement) => self.statement(statement),
            SetExpr::Table(table) => {
                let Table { table_name, schema_name } = &**table;
                let Some(table) = table_name else {
                    self.unread("TABLE");
                    return Shape::default();
                };
                // Nothing can stand between it and its rows.
                let item = self.named_item(schema_name.as_ref().map(name), name(table), None);
                self.must_be_covered(&item, &[], true);
                Shape { tenants: item.has_tenants(), columns: item.columns }
            }
        }
    }

    fn select(&mut self, select: &Select) -> Shape {
        let Select {
            select_token: _,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor: _,
        } = select;
        self.foreign(into.is_some(), "SELECT INTO");
        let foreign = !optimizer_hints.is_empty()
            || select_modifiers.is_some()
            || top.is_some()
            || exclude.is_some()
            || !lateral_views.is_empty()
            || prewhere.is_some()
            || !connect_by.is_empty()
            || !cluster_by.is_empty()
            || !distribute_by.is_empty()
            || !sort_by.is_empty()
            || qualify.is_some()
            || value_table_mode.is_some();
        self.foreign(foreign, "a clause of another dialect");
        let mut level = self.from_clause(from);
        let conditions = conjuncts(selection.as_ref());
        self.no_leaks(&conditions, &level);
        // What holds no aggregate is moved to WHERE.
        self.apart(|this| this.no_leaks(&conjuncts(having.as_ref()), &level));
        self.joins_covered(from, &conditions, &level, 0);
        self.within(&mut level, false, |this| this.walk_all(selection));
        self.within(&mut level, true, |this| {
            this.walk_all(having);
            match distinct {
                None | Some(Distinct::All | Distinct::Distinct) => {}
                Some(Distinct::On(columns)) => this.walk_all(columns),
            }
            this.outputs(projection);
            this.group_by(group_by);
            for NamedWindowDefinition(_, window) in named_window {
                this.walk_parts(|take| expression::named_window(window, take));
            }
        });
        Shape { columns: column_names(projection, &level), tenants: level.has_tenants() }
    }

    /// A target list, or RETURNING.
    pub(super) fn outputs(&mut self, items: &[SelectItem]) {
        for item in items {
            match item {
                SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, alias: _ } => self.walk(e),
                SelectItem::ExprWithAliases { .. } => self.unread("several aliases of a value"),
                SelectItem::QualifiedWildcard(what, options) => {
                    if let SelectItemQualifiedWildcardKind::Expr(e) = what {
                        self.walk(e);
                    }
                    self.walk_parts(|take| expression::wildcard(options, take));
                }
                SelectItem::Wildcard(options) => self.walk_parts(|take| expression::wildcard(options, take)),
            }
        }
    }

    fn group_by(&mut self, group_by: &GroupByExpr) {
        let (expressions, modifiers) = match group_by {
            GroupByExpr::All(modifiers) => (&[][..], modifiers),
            GroupByExpr::Expressions(expressions, modifiers) => (expressions.as_slice(), modifiers),
        };
        self.walk_all(expressions);
        for modifier in modifiers {
            match modifier {
                GroupByWithModifier::GroupingSets(sets) => self.walk(sets),
                GroupByWithModifier::Rollup | GroupByWithModifier::Cube | GroupByWithModifier::Totals => {
                    self.unread("GROUP BY ... WITH");
                }
            }
        }
    }

    fn order_by(&mut self, order_by: &OrderBy) {
        let OrderBy { kind, interpolate } = order_by;
        self.foreign(interpolate.is_some(), "INTERPOLATE");
        match kind {
            OrderByKind::All(_) => self.unread("ORDER BY ALL"),
            OrderByKind::Expressions(orders) => {
                self.walk_parts(|take| orders.iter().for_each(|order| expression::order(order, take)));
            }
        }
    }

    fn limit(&mut self, limit: &LimitClause) {
        match limit {
            LimitClause::LimitOffset { limit, offset, limit_by } => {
                self.foreign(!limit_by.is_empty(), "LIMIT BY");
                self.walk_all(limit.iter().chain(offset.iter().map(|Offset { value, rows: _ }| value)));
            }
            LimitClause::OffsetCommaLimit { offset, limit } => self.walk_all([offset, limit]),
        }
    }
}

/// The names of a query's columns, as far as they can be told.
fn column_names(projection: &[SelectItem], level: &Level<'_>) -> Option<Vec<String>> {
    let mut names = Vec::with_capacity(projection.len());
    for item in projection {
        match item {
            SelectItem::UnnamedExpr(e) => names.push(column_name(e)),
            SelectItem::ExprWithAlias { expr: _, alias } => names.push(name(alias)),
            SelectItem::ExprWithAliases { .. } => return None,
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(object), _) => {
                let of = path(object)?.pop()?;
                let item = level.items.iter().find(|item| item.qualifier.as_ref() == Some(&of))?;
                names.extend(item.columns.clone()?);
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(_), _) => return None,
            SelectItem::Wildcard(_) => {
                for Item { columns, .. } in &level.items {
                    names.extend(columns.clone()?);
                }
            }
        }
    }
    Some(names)
}

/// The name that a value of a target list goes by.
fn column_name(value: &Expr) -> String {
    let last = |idents: &[Ident]| idents.last().map(name).unwrap_or_default();
    match bare(value) {
        Expr::Identifier(ident) => name(ident),
        Expr::CompoundIdentifier(idents) => last(idents),
        Expr::Function(call) => path(&call.name).and_then(|mut path| path.pop()).unwrap_or_default(),
        Expr::Cast { kind: _, expr, data_type: _, format: _ } => column_name(expr),
        // Named after what it is, which nobody can write without quotes.
        _other => String::new(),
    }
}
