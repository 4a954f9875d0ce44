//! INSERT: every row has the tenant's own value.

use sqlparser::ast::{
    ConflictTarget, DoUpdate, Expr, Insert, InsertOverriding, ObjectName, OnConflict, OnConflictAction, OnInsert,
    Query, SelectItem, SetExpr, TableObject,
};

use super::Checker;
use super::level::{Behind, Item, Level, Shape};
use super::names::{name, path, qualified};
use super::predicate::conjuncts;
use crate::catalog::{Identity, Relation};
use crate::guard::policy::TenantTable;

impl<'p> Checker<'p> {
    pub(super) fn insert(&mut self, insert: &Insert) -> Shape {
        let Insert {
            insert_token: _,
            optimizer_hints,
            or,
            ignore,
            into: _,
            table,
            table_alias,
            columns,
            by_name,
            overwrite,
            source,
            assignments,
            partitioned,
            after_columns,
            overriding,
            has_table_keyword,
            on,
            returning,
            output,
            replace_into,
            priority,
            insert_alias,
            settings,
            format_clause,
            multi_table_insert_type,
            multi_table_into_clauses,
            multi_table_when_clauses,
            multi_table_else_clause,
        } = insert;
        let foreign = !optimizer_hints.is_empty()
            || or.is_some()
            || *ignore
            || *by_name
            || *overwrite
            || !assignments.is_empty()
            || partitioned.is_some()
            || !after_columns.is_empty()
            || *has_table_keyword
            || output.is_some()
            || *replace_into
            || priority.is_some()
            || insert_alias.is_some()
            || settings.is_some()
            || format_clause.is_some()
            || multi_table_insert_type.is_some()
            || !multi_table_into_clauses.is_empty()
            || !multi_table_when_clauses.is_empty()
            || multi_table_else_clause.is_some();
        self.foreign(foreign, "a clause of another dialect");
        let called = match table {
            TableObject::TableName(table) => qualified(table),
            TableObject::TableFunction(_) | TableObject::TableQuery(_) => None,
        };
        let Some((schema, called)) = called else {
            self.unread("this target");
            return Shape::default();
        };
        if let Some(source) = source {
            self.query(source);
        }
        let relation = self.relation(schema.as_deref(), &called);
        let mut target = self.named_item(schema, called, None);
        if let Some(alias) = table_alias {
            target.qualifier = Some(name(&alias.alias));
            target.schema = None;
        }
        if let Behind::Tenant(table) = target.behind
            && !self.inserts_own(columns, source.as_deref(), table)
        {
            self.uncovered(|| format!("an INSERT does not put the tenant's own value into {}", table.column));
        }
        if let Behind::Tenant(table) = target.behind
            && matches!(overriding, Some(InsertOverriding::User))
            && !relation.is_some_and(|it| stores_what_is_given(it, table))
        {
            self.uncovered(|| format!("OVERRIDING USER VALUE may change {}", table.column));
        }
        match on {
            None => {}
            Some(OnInsert::OnConflict(conflict)) => self.on_conflict(conflict, &target),
            // The list is open: sqlparser may add to it.
            Some(OnInsert::DuplicateKeyUpdate(_) | _) => self.unread("ON DUPLICATE KEY"),
        }
        self.outputs(returning.as_deref().unwrap_or_default());
        Shape { columns: None, tenants: target.has_tenants() }
    }

    fn inserts_own(&self, columns: &[ObjectName], source: Option<&Query>, table: &'p TenantTable) -> bool {
        let Some(at) = place(columns, table) else { return false };
        source.is_some_and(|source| self.gives_own(&source.body, at, columns.len(), table))
    }

    fn gives_own(&self, body: &SetExpr, at: usize, width: usize, table: &'p TenantTable) -> bool {
        match body {
            SetExpr::Query(query) => self.gives_own(&query.body, at, width, table),
            SetExpr::SetOperation { left, op: _, set_quantifier: _, right } => {
                self.gives_own(left, at, width, table) && self.gives_own(right, at, width, table)
            }
            SetExpr::Values(values) => values.rows.iter().all(|row| {
                let many = row.content.iter().any(gives_many);
                own_of(&row.content, at, width, many).is_some_and(|value| self.is_own(value, table))
            }),
            SetExpr::Select(select) => {
                let many = select.projection.iter().any(is_star);
                match own_of(&select.projection, at, width, many) {
                    Some(SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, alias: _ }) => {
                        self.is_own(value, table)
                    }
                    Some(
                        SelectItem::ExprWithAliases { .. }
                        | SelectItem::QualifiedWildcard(..)
                        | SelectItem::Wildcard(_),
                    )
                    | None => false,
                }
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) | SetExpr::Table(_) => {
                false
            }
        }
    }

    fn on_conflict(&mut self, conflict: &OnConflict, target: &Item<'p>) {
        let OnConflict { conflict_target, action } = conflict;
        match conflict_target {
            // Its condition is matched with an index's predicate, and never evaluated.
            Some(ConflictTarget::Columns { columns: _, predicate }) => self.walk_all(predicate),
            Some(ConflictTarget::OnConstraint(_)) | None => {}
        }
        let DoUpdate { assignments, selection } = match action {
            OnConflictAction::DoNothing => return,
            OnConflictAction::DoUpdate(update) => update,
        };
        self.assignments(assignments, target, true);
        let conditions = conjuncts(selection.as_ref());
        let judged = |condition: &&Expr| !self.fails_for_others(condition, target);
        let conditions: Vec<_> = conditions.into_iter().filter(judged).collect();
        self.no_leaks(&conditions, &Level { items: vec![target.clone()] });
        self.must_be_covered(target, &conditions, false);
        self.walk_all(selection);
    }
}

/// Where a column list names the tenant column, if it does so once.
pub(super) fn place(columns: &[ObjectName], table: &TenantTable) -> Option<usize> {
    let is_it = |column: &ObjectName| path(column).is_some_and(|path| path == [table.column.as_str()]);
    let mut at = columns.iter().enumerate().filter(|(_, column)| is_it(column));
    match (at.next(), at.next()) {
        (Some((i, _)), None) => Some(i),
        (Some(_) | None, _) => None,
    }
}

/// The value in a place. Where one of them gives many, only the last can be told, and the server counts them.
pub(super) fn own_of<T>(values: &[T], at: usize, width: usize, many: bool) -> Option<&T> {
    if many { values.last().filter(|_| at + 1 == width) } else { values.get(at) }
}

/// `*`, `t.*`
pub(super) fn gives_many(value: &Expr) -> bool {
    matches!(value, Expr::Wildcard(_) | Expr::QualifiedWildcard(..))
}

/// Whether no sequence's next value takes the place of the tenant's.
fn stores_what_is_given(relation: &Relation, table: &TenantTable) -> bool {
    let drawn = relation.column(&table.column).is_none_or(|column| column.identity != Identity::No);
    relation.kind.is_table() && !drawn
}

fn is_star(item: &SelectItem) -> bool {
    match item {
        SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, alias: _ } => gives_many(value),
        SelectItem::ExprWithAliases { .. } | SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => true,
    }
}
