//! Walks INSERT: the column list made explicit, the tenant's value in every row.

use std::cmp::Ordering;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    Alias, InsertStmt, List, Node, OnConflictAction, OverridingKind, ResTarget, SelectStmt, SetOperation,
};

use super::from::alias_of;
use super::outputs::gives_many;
use super::parent::foreign_parent;
use super::scope::Output;
use super::write::Target;
use super::{Rewriter, foreign_value, tree, unsupported};
use crate::base::{Access, OWN_VALUE_ONLY, Refusal, RefusalKind, SqlState};
use crate::catalog::{Identity, Relation};
use crate::guard::{Names, TenantTable};

/// The alias of the subquery that stands between a query and its INSERT.
const WRAPPER: &str = "pgwarden_rows";

impl<'p> Rewriter<'p> {
    pub(super) fn insert(&mut self, insert: &mut InsertStmt) -> Result<Option<Vec<Output>>, Refusal> {
        let InsertStmt {
            relation,
            cols,
            select_stmt,
            on_conflict_clause,
            returning_clause,
            with_clause,
            r#override: overriding,
        } = insert;
        let given = OverridingKind::try_from(*overriding) == Ok(OverridingKind::OverridingSystemValue);
        let depth = self.open_with(with_clause.as_mut())?;
        // The source sees neither the target nor its level.
        let source = match select_stmt.as_deref_mut() {
            Some(query) => self.any_query(query)?.outputs,
            None => Some(Vec::new()),
        };
        let changes = on_conflict_clause.as_ref().is_some_and(|it| it.action() != OnConflictAction::OnconflictNothing);
        self.adds_rows(relation);
        let target = self.open_target(relation, if changes { Access::Write } else { Access::Insert })?;
        for column in cols.iter_mut() {
            let Some(NodeEnum::ResTarget(column)) = column.node.as_mut() else {
                return Err(unsupported("this column list"));
            };
            let ResTarget { name: _, indirection, val: _, location: _ } = column.as_mut();
            self.subscripts(indirection)?;
        }
        target.keeps_given(*overriding)?;
        match target {
            Target::Tenant(table, found) => {
                if !given {
                    not_generated(table, found)?;
                }
                self.force(table, found, cols, select_stmt, source)?;
                self.note(format!("{}: the tenant's value in every row", found.name));
            }
            Target::Policed(table, found) if table.through.is_some() => {
                self.rewritten = true;
                self.force(table, found, cols, select_stmt, source)?;
            }
            Target::Policed(table, found) => self.fill(table, found, cols, select_stmt, source.as_deref())?,
            Target::Free => {}
        }
        if let Some(clause) = on_conflict_clause.as_deref_mut() {
            let alias = relation.as_ref().map(|r| alias_of(r).aliasname).unwrap_or_default();
            self.on_conflict(clause, target, &alias)?;
        }
        let outputs = self.returning(returning_clause)?;
        self.levels.pop();
        self.close_with(with_clause.as_mut(), depth);
        Ok(outputs)
    }

    fn force(
        &mut self,
        table: &TenantTable,
        found: &Relation,
        cols: &mut Vec<Node>,
        source: &mut Option<Box<Node>>,
        outputs: Option<Vec<Output>>,
    ) -> Result<(), Refusal> {
        if cols.is_empty() {
            // Of a temporary table's columns nothing is known: there must be as many as here, which the server counts.
            let all = Some(found.columns.len()).filter(|_| self.policy.names == Names::Temporary);
            let width = outputs.as_ref().map(Vec::len).or(all).ok_or_else(|| {
                unsupported("INSERT without a column list from a query whose columns cannot be counted")
                    .hint("Name the columns: INSERT INTO table (column, ...) SELECT ...")
            })?;
            if width > found.columns.len() {
                return Err(too_many());
            }
            *cols = found.columns.iter().take(width).map(|c| tree::target(&c.name, None)).collect();
        }
        if let (Some(_), Some(outputs)) = (&source, &outputs) {
            match outputs.len().cmp(&cols.len()) {
                Ordering::Less => return Err(too_few()),
                Ordering::Greater => return Err(too_many()),
                Ordering::Equal => {}
            }
        }
        let at = position(cols, &table.column)?;
        if let (None, Some(through)) = (at, &table.through) {
            return Err(foreign_parent(through));
        }
        if at.is_none() {
            cols.push(tree::target(&table.column, None));
        }
        let slot = self.tenant_slot(table)?;
        let own = tree::param(self.param_number(slot));
        let Some(query) = source.as_deref_mut() else {
            // DEFAULT VALUES
            *source = tree::boxed(NodeEnum::SelectStmt(Box::new(one_row(own))));
            return Ok(());
        };
        let Some(NodeEnum::SelectStmt(select)) = query.node.as_mut() else {
            return Err(unsupported("this source of INSERT"));
        };
        match at {
            None => append(select, &own),
            Some(at) if has_star(select) || (table.through.is_some() && is_computed(select, at)) => {
                self.wrap(select, cols.len(), at, table, outputs.is_some())
            }
            Some(at) => self.check_column(select, at, table),
        }
    }

    /// The tenant's value where the client gives none; what it gives, the server's policies check.
    fn fill(
        &mut self,
        table: &TenantTable,
        found: &Relation,
        cols: &mut Vec<Node>,
        source: &mut Option<Box<Node>>,
        outputs: Option<&[Output]>,
    ) -> Result<(), Refusal> {
        let names: Vec<&str> = match (cols.as_slice(), outputs) {
            // By position, and nobody knows how many: the server counts.
            ([], None) => return Ok(()),
            ([], Some(outputs)) => found.columns.iter().take(outputs.len()).map(|c| c.name.as_str()).collect(),
            (given, _) => given.iter().filter_map(column_name).collect(),
        };
        match names.iter().position(|name| *name == table.column) {
            Some(at) if source.as_deref().is_some_and(|query| has_default(query, at)) => {
                let slot = self.tenant_slot(table)?;
                let own = tree::param(self.param_number(slot));
                source.iter_mut().for_each(|query| replace_defaults(query, at, &own));
            }
            Some(_) => return Ok(()),
            None => {
                let named: Vec<Node> = names.iter().map(|name| tree::target(name, None)).collect();
                if cols.is_empty() {
                    *cols = named;
                }
                cols.push(tree::target(&table.column, None));
                let slot = self.tenant_slot(table)?;
                let own = tree::param(self.param_number(slot));
                match source.as_deref_mut().map(|query| query.node.as_mut()) {
                    Some(Some(NodeEnum::SelectStmt(select))) => append(select, &own)?,
                    Some(_) => return Err(unsupported("this source of INSERT")),
                    // DEFAULT VALUES
                    None => *source = tree::boxed(NodeEnum::SelectStmt(Box::new(one_row(own)))),
                }
            }
        }
        self.rewritten = true;
        self.note(format!("{}: the tenant's value filled in", found.name));
        Ok(())
    }

    /// Checks or replaces column `at` of a query without `*`, in each arm of set operations.
    fn check_column(&mut self, select: &mut SelectStmt, at: usize, table: &TenantTable) -> Result<(), Refusal> {
        match select.op() {
            SetOperation::SetopUnion | SetOperation::SetopIntersect | SetOperation::SetopExcept => {
                for arm in [select.larg.as_deref_mut(), select.rarg.as_deref_mut()].into_iter().flatten() {
                    self.check_column(arm, at, table)?;
                }
                Ok(())
            }
            SetOperation::SetopNone | SetOperation::Undefined => {
                for row in &mut select.values_lists {
                    let Some(NodeEnum::List(List { items })) = row.node.as_mut() else {
                        return Err(unsupported("this VALUES"));
                    };
                    in_their_places(items)?;
                    let value = items.get_mut(at).ok_or_else(too_few)?;
                    self.own_value(value, table)?;
                }
                if !select.values_lists.is_empty() {
                    return Ok(());
                }
                let target = select.target_list.get_mut(at).ok_or_else(too_few)?;
                let Some(NodeEnum::ResTarget(target)) = target.node.as_mut() else {
                    return Err(unsupported("this target list"));
                };
                let value = target.val.as_deref_mut().ok_or_else(|| unsupported("this target list"))?;
                self.own_value(value, table)
            }
        }
    }

    /// `SELECT q.c1, CASE WHEN q.c2 = $n ..., q.c3 FROM (query) q(c1, c2, c3)`
    /// `counted`: it is known that the query has so many columns; else the server makes sure.
    fn wrap(
        &mut self,
        select: &mut SelectStmt,
        width: usize,
        at: usize,
        table: &TenantTable,
        counted: bool,
    ) -> Result<(), Refusal> {
        let mut inner = std::mem::take(select);
        // A WITH that writes may stand at the top only.
        let with = inner.with_clause.take();
        let inner = if counted { inner } else { of_width(inner, width) };
        let (targets, rows) = self.checked_columns(inner, width, at, table)?;
        *select = tree::select(targets, rows, None, false);
        select.with_clause = with;
        Ok(())
    }

    /// A query of `width` columns as an item of FROM, and its columns, of which the one at `at` is compared with the tenant's
    /// value when the statement runs.
    pub(super) fn checked_columns(
        &mut self,
        query: SelectStmt,
        width: usize,
        at: usize,
        table: &TenantTable,
    ) -> Result<(Vec<Node>, Node), Refusal> {
        let names: Vec<String> = (1..=width).map(|i| format!("c{i}")).collect();
        let prefix = [WRAPPER.to_owned()];
        let mut targets = Vec::with_capacity(width);
        for (i, name) in names.iter().enumerate() {
            let column = tree::column(&prefix, name);
            let value = if i == at { self.checked(column, table)? } else { column };
            targets.push(tree::target("", Some(value)));
        }
        let alias = Alias { aliasname: WRAPPER.to_owned(), colnames: names.iter().map(|n| tree::string(n)).collect() };
        Ok((targets, tree::subselect(query, alias, false)))
    }
}

/// `SELECT * FROM (query) pgwarden_rows UNION ALL SELECT NULL, ... WHERE false`: an error unless the query has so many columns.
fn of_width(query: SelectStmt, width: usize) -> SelectStmt {
    let star = tree::target("", Some(tree::star()));
    let alias = Alias { aliasname: WRAPPER.to_owned(), colnames: vec![] };
    let none = (0..width).map(|_| tree::target("", Some(tree::null()))).collect();
    tree::union_all(tree::select(vec![star], tree::subselect(query, alias, false), None, false), tree::no_rows(none))
}

/// A value that the server makes up names nobody, or another tenant.
fn not_generated(table: &TenantTable, found: &Relation) -> Result<(), Refusal> {
    match found.column(&table.column).map(|column| column.identity) {
        Some(Identity::Always) => Err(Refusal::new(
            RefusalKind::ForeignTenant,
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("column \"{}\" {OWN_VALUE_ONLY}, and is generated", table.column),
        )
        .hint("A row that makes a tenant is inserted by an operator; the tenant's own with OVERRIDING SYSTEM VALUE.")
        .about(&found.name)),
        Some(Identity::No | Identity::ByDefault) | None => Ok(()),
    }
}

/// Where the tenant column stands in the column list.
fn position(cols: &[Node], column: &str) -> Result<Option<usize>, Refusal> {
    for (i, col) in cols.iter().enumerate() {
        if let Some(NodeEnum::ResTarget(target)) = col.node.as_ref()
            && target.name == column
        {
            if !target.indirection.is_empty() {
                return Err(foreign_value(column));
            }
            return Ok(Some(i));
        }
    }
    Ok(None)
}

/// Items of a row of which one is the tenant's value: none may become several.
pub(super) fn in_their_places(items: &[Node]) -> Result<(), Refusal> {
    if items.iter().any(gives_many) {
        return Err(unsupported("a row with * in it beside a value for the tenant column")
            .hint("Write the fields out, or leave the tenant column to pgwarden."));
    }
    Ok(())
}

fn column_name(col: &Node) -> Option<&str> {
    match col.node.as_ref() {
        Some(NodeEnum::ResTarget(target)) => Some(&target.name),
        Some(_) | None => None,
    }
}

/// The rows of `VALUES`, if the query is that.
fn rows(query: &Node) -> &[Node] {
    match query.node.as_ref() {
        Some(NodeEnum::SelectStmt(select)) => &select.values_lists,
        Some(_) | None => &[],
    }
}

/// Whether any row of `VALUES` gives DEFAULT in that place.
fn has_default(query: &Node, at: usize) -> bool {
    rows(query).iter().any(|row| match row.node.as_ref() {
        Some(NodeEnum::List(List { items })) => items.get(at).is_some_and(is_default),
        Some(_) | None => false,
    })
}

fn replace_defaults(query: &mut Node, at: usize, own: &Node) {
    let Some(NodeEnum::SelectStmt(select)) = query.node.as_mut() else { return };
    for row in &mut select.values_lists {
        if let Some(NodeEnum::List(List { items })) = row.node.as_mut()
            && let Some(value) = items.get_mut(at).filter(|value| is_default(value))
        {
            *value = own.clone();
        }
    }
}

fn is_default(value: &Node) -> bool {
    matches!(value.node.as_ref(), Some(NodeEnum::SetToDefault(_)))
}

fn too_many() -> Refusal {
    Refusal::new(RefusalKind::Syntax, SqlState::SYNTAX_ERROR, "INSERT has more expressions than target columns")
}

fn too_few() -> Refusal {
    Refusal::new(RefusalKind::Syntax, SqlState::SYNTAX_ERROR, "INSERT has more target columns than expressions")
}

/// Adds the tenant's value as the last column.
fn append(select: &mut SelectStmt, own: &Node) -> Result<(), Refusal> {
    match select.op() {
        SetOperation::SetopUnion | SetOperation::SetopIntersect | SetOperation::SetopExcept => {
            for arm in [select.larg.as_deref_mut(), select.rarg.as_deref_mut()].into_iter().flatten() {
                append(arm, own)?;
            }
        }
        SetOperation::SetopNone | SetOperation::Undefined if select.values_lists.is_empty() => {
            select.target_list.push(tree::target("", Some(own.clone())));
        }
        SetOperation::SetopNone | SetOperation::Undefined => {
            for row in &mut select.values_lists {
                let Some(NodeEnum::List(List { items })) = row.node.as_mut() else {
                    return Err(unsupported("this VALUES"));
                };
                items.push(own.clone());
            }
        }
    }
    Ok(())
}

/// Whether the place of a column in the target list cannot be told by counting.
fn has_star(select: &SelectStmt) -> bool {
    let star = |target: &Node| {
        let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() else { return true };
        target.val.as_deref().is_some_and(gives_many)
    };
    select.target_list.iter().any(star)
        || select.larg.as_deref().is_some_and(has_star)
        || select.rarg.as_deref().is_some_and(has_star)
}

/// Whether the column of a query without `*` is more than a column, a constant or a parameter in any of its arms: it may hold
/// aggregates, which belong to this query and to none inside.
fn is_computed(select: &SelectStmt, at: usize) -> bool {
    let arms = [select.larg.as_deref(), select.rarg.as_deref()];
    if arms.iter().any(Option::is_some) {
        return arms.into_iter().flatten().any(|arm| is_computed(arm, at));
    }
    let Some(NodeEnum::ResTarget(target)) = select.target_list.get(at).and_then(|it| it.node.as_ref()) else {
        return false;
    };
    !target.val.as_deref().is_some_and(is_simple)
}

fn is_simple(value: &Node) -> bool {
    match value.node.as_ref() {
        Some(NodeEnum::ColumnRef(_) | NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast
            .arg
            .as_deref()
            .is_some_and(|arg| matches!(arg.node.as_ref(), Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)))),
        Some(_) | None => false,
    }
}

/// `VALUES (own)`
fn one_row(own: Node) -> SelectStmt {
    SelectStmt {
        values_lists: vec![tree::node(NodeEnum::List(List { items: vec![own] }))],
        limit_option: pg_query::protobuf::LimitOption::Default.into(),
        op: SetOperation::SetopNone.into(),
        ..SelectStmt::default()
    }
}
