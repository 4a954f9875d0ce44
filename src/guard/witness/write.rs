//! UPDATE and DELETE, and what all statements that write share: the target, assignments, the tenant's own value.

use sqlparser::ast::{
    Assignment, AssignmentTarget, CaseWhen, CastKind, DataType, Delete, Expr, FromTable, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query,
    SelectItem, SetExpr, TableFactor, TableWithJoins, Update, UpdateTableFromKind, Value,
};

use super::Checker;
use super::condition::is_query_of_true;
use super::level::{Behind, Item, Level, Shape};
use super::names::{name, path, qualified};
use super::predicate::{bare, conjuncts, is_system_operator, row};
use crate::guard::policy::TenantTable;

impl<'p> Checker<'p> {
    pub(super) fn update(&mut self, update: &Update) -> Shape {
        let Update {
            update_token: _,
            optimizer_hints,
            table,
            on_cluster,
            assignments,
            from,
            selection,
            returning,
            output,
            or,
            order_by,
            limit,
            settings,
        } = update;
        let foreign = !optimizer_hints.is_empty()
            || on_cluster.is_some()
            || output.is_some()
            || or.is_some()
            || !order_by.is_empty()
            || limit.is_some()
            || settings.is_some();
        self.foreign(foreign, "a clause of another dialect");
        let from = match from {
            None => &[][..],
            Some(UpdateTableFromKind::AfterSet(from)) => from.as_slice(),
            Some(UpdateTableFromKind::BeforeSet(from)) => {
                self.unread("FROM before SET");
                from.as_slice()
            }
        };
        let Some(target) = self.target(std::slice::from_ref(table)) else { return Shape::default() };
        self.assignments(assignments, &target, false);
        self.filtered(target, from, selection.as_ref(), returning.as_deref())
    }

    pub(super) fn delete(&mut self, delete: &Delete) -> Shape {
        let Delete {
            delete_token: _,
            optimizer_hints,
            tables,
            from,
            on_cluster,
            using,
            selection,
            returning,
            output,
            order_by,
            limit,
            settings,
        } = delete;
        let foreign = !optimizer_hints.is_empty()
            || !tables.is_empty()
            || on_cluster.is_some()
            || output.is_some()
            || !order_by.is_empty()
            || limit.is_some()
            || settings.is_some();
        self.foreign(foreign, "a clause of another dialect");
        let (FromTable::WithFromKeyword(targets) | FromTable::WithoutKeyword(targets)) = from;
        let Some(target) = self.target(targets) else { return Shape::default() };
        self.filtered(target, using.as_deref().unwrap_or_default(), selection.as_ref(), returning.as_deref())
    }

    /// The target of an UPDATE or DELETE, which is never a common table expression.
    fn target(&mut self, targets: &[TableWithJoins]) -> Option<Item<'p>> {
        let [TableWithJoins { relation, joins }] = targets else {
            self.unread("several targets");
            return None;
        };
        self.foreign(!joins.is_empty(), "a join as a target");
        self.target_of(relation)
    }

    pub(super) fn target_of(&mut self, relation: &TableFactor) -> Option<Item<'p>> {
        let TableFactor::Table { name: called, alias, args: None, .. } = relation else {
            self.unread("this target");
            return None;
        };
        let Some((schema, called)) = qualified(called) else {
            self.unread("this target");
            return None;
        };
        self.foreign(alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()), "columns of a target's alias");
        Some(self.named_item(schema, called, alias.as_ref()))
    }

    /// WHERE, the items beside the target, and RETURNING.
    fn filtered(
        &mut self,
        target: Item<'p>,
        from: &[TableWithJoins],
        selection: Option<&Expr>,
        returning: Option<&[SelectItem]>,
    ) -> Shape {
        let mut level = Level { items: vec![target] };
        self.add_from(from, &mut level);
        let conditions = conjuncts(selection);
        self.no_leaks(&conditions, &level);
        if let Some(target) = level.items.first() {
            self.must_be_covered(target, &conditions, false);
        }
        self.joins_covered(from, &conditions, &level, 1);
        self.within(&mut level, false, |this| this.walk_all(selection));
        self.within(&mut level, true, |this| this.outputs(returning.unwrap_or_default()));
        Shape { columns: None, tenants: level.has_tenants() }
    }

    /// SET leaves the tenant column alone, or sets it to the tenant's own value. `excluded`: the row that ON CONFLICT found in
    /// the way, which is the tenant's own too, may be meant.
    pub(super) fn assignments(&mut self, assignments: &[Assignment], target: &Item<'p>, excluded: bool) {
        for Assignment { target: assigned, value } in assignments {
            self.walk(value);
            let Behind::Tenant(table) = target.behind else { continue };
            let own = match assigned {
                AssignmentTarget::ColumnName(column) => {
                    !is_column(column, table) || self.stays(value, target, table, excluded)
                }
                AssignmentTarget::Tuple(columns) => match columns.iter().position(|c| is_column(c, table)) {
                    None => true,
                    Some(at) => match bare(value) {
                        Expr::Subquery(query) => {
                            value_of(query, at, columns.len()).is_some_and(|value| self.is_own(value, table))
                        }
                        _other => row(value)
                            .filter(|row| row.len() == columns.len())
                            .and_then(|row| row.into_iter().nth(at))
                            .is_some_and(|value| self.stays(value, target, table, excluded)),
                    },
                },
            };
            if !own {
                self.uncovered(|| format!("an assignment may change the tenant column {}", table.column));
            }
        }
    }

    fn stays(&self, value: &Expr, target: &Item<'_>, table: &'p TenantTable, excluded: bool) -> bool {
        let is_itself = match bare(value) {
            Expr::Identifier(column) => name(column) == table.column,
            Expr::CompoundIdentifier(path) => {
                target.owns(path, &table.column) || (excluded && is_excluded(path, table))
            }
            _other => false,
        };
        is_itself || self.is_own(value, table)
    }

    /// Whether an expression is the tenant's value: our parameter, or the client's value under a check.
    pub(super) fn is_own(&self, value: &Expr, table: &'p TenantTable) -> bool {
        if table.through.is_some() {
            let value = match bare(value) {
                Expr::Subquery(query) => value_of(query, 0, 1),
                value => Some(value),
            };
            return value.is_some_and(|value| self.values.is_checked_parent(value, table, always_fails));
        }
        match bare(value) {
            Expr::Value(_) => self.values.is_value(value, table) || self.values.is_checked(value),
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type: _, format: None } => {
                self.is_own(expr, table)
            }
            Expr::Case { case_token: _, end_token: _, operand: None, conditions, else_result: Some(otherwise) } => {
                let [CaseWhen { condition, result }] = conditions.as_slice() else { return false };
                let compared = match bare(condition) {
                    Expr::BinaryOp { left: _, op, right } => {
                        is_system_operator(op, "=") && self.values.is_value(right, table)
                    }
                    _other => false,
                };
                compared && self.values.is_value(result, table) && always_fails(otherwise)
            }
            _other => false,
        }
    }
}

fn is_column(column: &ObjectName, table: &TenantTable) -> bool {
    // `a.f` assigns to a field of a column.
    path(column).is_none_or(|path| path.first() == Some(&table.column))
}

/// One value of `(SELECT x, y FROM (SELECT true) a LEFT JOIN ... ON true)`, which has a row for certain.
fn value_of(query: &Query, at: usize, width: usize) -> Option<&Expr> {
    let Query { with: None, body, order_by: None, limit_clause: None, fetch: None, .. } = query else { return None };
    let SetExpr::Select(select) = &**body else { return None };
    let [TableWithJoins { relation: TableFactor::Derived { subquery, .. }, joins }] = select.from.as_slice() else {
        return None;
    };
    let [Join { join_operator: JoinOperator::Left(on) | JoinOperator::LeftOuter(on), .. }] = joins.as_slice() else {
        return None;
    };
    let JoinConstraint::On(on) = on else { return None };
    let rows_stay = select.selection.is_none() && select.having.is_none() && select.distinct.is_none();
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let one = is_true(on) && is_query_of_true(subquery) && rows_stay && ungrouped;
    match select.projection.get(at) {
        Some(SelectItem::UnnamedExpr(value)) if one && select.projection.len() == width => Some(value),
        Some(_) | None => None,
    }
}

pub(super) fn is_true(value: &Expr) -> bool {
    matches!(bare(value), Expr::Value(value) if value.value == Value::Boolean(true))
}

fn is_excluded(path: &[Ident], table: &TenantTable) -> bool {
    matches!(path, [q, c] if name(q) == "excluded" && name(c) == table.column)
}

/// A cast of `pg_catalog.concat(<a sentence>)` to bool, whatever is around it.
fn always_fails(value: &Expr) -> bool {
    let Expr::Cast { kind: _, expr, data_type, format: _ } = bare(value) else { return false };
    let Expr::Function(Function { name: called, args: FunctionArguments::List(list), .. }) = bare(expr) else {
        return always_fails(expr);
    };
    let sentence = |argument: &FunctionArg| {
        matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))
            if matches!(value.value, Value::SingleQuotedString(_)))
    };
    matches!(data_type, DataType::Bool | DataType::Boolean)
        && path(called).is_some_and(|path| path == ["pg_catalog", "concat"])
        && matches!(list.args.as_slice(), [only] if sentence(only))
}
