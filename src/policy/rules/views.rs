//! Views among the shared tables: what they read is read with their owners' rights, and no predicate stands in it; what functions
//! read that they call, nobody sees. And views that are written to.

use std::collections::{HashMap, HashSet};

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, Node, ResTarget, SelectStmt};

use super::{Draft, is_own, is_system_schema};
use crate::base::{Enforcement, Oid, QualifiedName};
use crate::catalog::{Catalog, Generated, Identity, RelKind, Relation, View};
use crate::guard::{Policy, Protection, TableRule, TenantTable, tenants_may_call};
use crate::policy::{PolicyInput, PolicyNote};
use crate::sql::parse;

/// Views, by the relations that they are made of.
struct Views<'a> {
    enforcement: Enforcement,
    callable: &'a Policy,
    by_oid: &'a HashMap<Oid, &'a Relation>,
    draft: &'a Draft,
}

/// A shared view that reads a tenant table shows the rows of all tenants, and one may that calls what tenants may not call: it is no
/// longer shared.
pub(super) fn withdraw(
    enforcement: Enforcement,
    callable: &Policy,
    by_oid: &HashMap<Oid, &Relation>,
    draft: &mut Draft,
    notes: &mut Vec<PolicyNote>,
) {
    let views = Views { enforcement, callable, by_oid, draft };
    let shared = draft
        .iter()
        .filter(|(_, rule)| matches!(rule, Some(TableRule::Shared(_))))
        .filter_map(|(oid, _)| by_oid.get(oid));
    let mut found: Vec<(QualifiedName, Oid, PolicyNote)> = shared
        .filter_map(|view| {
            let name = view.name.clone();
            let note = match views.tenant_table(view, &mut HashSet::new()) {
                Some(table) => PolicyNote::SharedViewOfTenants { name, table: table.name.clone() },
                None => {
                    PolicyNote::SharedViewCalls { name, function: views.called(view, &mut HashSet::new())?.clone() }
                }
            };
            Some((view.name.clone(), view.oid, note))
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    for (_, oid, note) in found {
        draft.insert(oid, None);
        notes.push(note);
    }
}

impl Views<'_> {
    /// A tenant table whose rows the view shows; views that it reads are looked into.
    fn tenant_table(&self, view: &Relation, seen: &mut HashSet<Oid>) -> Option<&Relation> {
        if !seen.insert(view.oid) || self.is_bound(view) {
            return None;
        }
        let reads = self.callable.catalog.reads.get(&view.oid).map(Vec::as_slice).unwrap_or_default();
        let relations = reads.iter().filter_map(|oid| self.by_oid.get(oid).copied());
        let mut found: Vec<&Relation> = relations
            .filter_map(|relation| match self.draft.get(&relation.oid) {
                Some(Some(TableRule::Tenant(_))) => Some(relation),
                _ => self.tenant_table(relation, seen),
            })
            .collect();
        // The same one each time.
        found.sort_by(|one, other| one.name.cmp(&other.name));
        found.first().copied()
    }

    /// A function that tenants may not call, and that the view does; views that it reads are looked into.
    fn called(&self, view: &Relation, seen: &mut HashSet<Oid>) -> Option<&QualifiedName> {
        if !seen.insert(view.oid) {
            return None;
        }
        let Catalog { calls, reads, .. } = &*self.callable.catalog;
        let mut own = calls.get(&view.oid).into_iter().flatten();
        own.find(|function| !tenants_may_call(self.callable, function)).or_else(|| {
            let reads = reads.get(&view.oid).into_iter().flatten().filter_map(|oid| self.by_oid.get(oid));
            reads.filter_map(|relation| self.called(relation, seen)).min()
        })
    }

    /// With its caller's rights, the policies of the tables hold.
    fn is_bound(&self, view: &Relation) -> bool {
        view.kind == RelKind::View && view.security_invoker && self.enforcement.uses_rls() && !self.reads_views(view)
    }

    fn reads_views(&self, view: &Relation) -> bool {
        let reads = self.callable.catalog.reads.get(&view.oid).map(Vec::as_slice).unwrap_or_default();
        reads.iter().filter_map(|oid| self.by_oid.get(oid)).any(|relation| match relation.kind {
            RelKind::View | RelKind::MaterializedView | RelKind::ForeignTable => true,
            RelKind::Table
            | RelKind::PartitionedTable
            | RelKind::Sequence
            | RelKind::Index
            | RelKind::Toast
            | RelKind::CompositeType => false,
        })
    }
}

/// Gives the views that the configuration says nothing of, and that pass on the rows of one tenant table as they are, the rule of
/// that table: tenants may write through them.
pub(super) fn add_writable(input: &PolicyInput<'_>, catalog: &Catalog, private: &HashSet<&str>, draft: &mut Draft) {
    let tenancy = input.tenancy;
    let told = |name: &QualifiedName| {
        tenancy.tables.contains_key(name)
            || tenancy.shared_tables.contains(name)
            || tenancy.own_tables.contains(name)
            || is_own(input, name)
            || is_system_schema(&name.schema)
            || private.contains(name.schema.as_str())
    };
    let mut found = Vec::new();
    for (name, view) in catalog.views.iter().filter(|(name, view)| view.plain && !told(name)) {
        let Some(relation) = catalog.relations.get(name).filter(|it| it.kind == RelKind::View) else { continue };
        if let Some(table) = passed_on(catalog, view, draft)
            && relation.column(&table.column).is_some()
            && !draft.contains_key(&relation.oid)
        {
            found.push((relation.oid, Some(TableRule::Tenant(table))));
        }
    }
    draft.extend(found);
}

/// The rule of the table whose rows a view passes on, with the tenant column as the view names it. Conditions of the view are run on
/// the rows of all tenants: only comparisons with constants are taken, which can tell nothing.
fn passed_on(catalog: &Catalog, view: &View, draft: &Draft) -> Option<TenantTable> {
    parse::with_stack(view.query.len(), || {
        let mut statements = parse::reparse(&view.query).ok()?;
        let (Some(statement), true) = (statements.pop(), statements.is_empty()) else { return None };
        let Some(NodeEnum::SelectStmt(select)) = statement.stmt.as_deref().and_then(|it| it.node.as_ref()) else {
            return None;
        };
        let SelectStmt { target_list, from_clause, where_clause, .. } = select.as_ref();
        let [from] = from_clause.as_slice() else { return None };
        let Some(NodeEnum::RangeVar(table)) = from.node.as_ref() else { return None };
        let table = catalog.relation(&table.schemaname, &table.relname).filter(|it| it.kind.is_table())?;
        let Some(Some(TableRule::Tenant(rule))) = draft.get(&table.oid) else { return None };
        // Conditions of the client's on a column would be run on rows of all tenants by what it is computed of.
        let columns_alone = target_list.iter().all(|target| target_column(target).is_some());
        // What the server makes up of a column, it does not show of a view's.
        let given = table
            .column(&rule.column)
            .is_some_and(|column| column.identity == Identity::No && column.generated == Generated::No);
        let compares = where_clause.as_deref().is_none_or(compares);
        (rule.tells_own_rows() && given && is_bare(select) && columns_alone && compares).then_some(())?;
        let names = target_list.iter().filter_map(|target| column_as(target, &rule.column));
        let [column] = names.collect::<Vec<_>>().try_into().ok()?;
        Some(TenantTable { column, protection: Protection::Predicate, ..rule.clone() })
    })
}

/// SELECT, FROM and WHERE, and nothing else.
fn is_bare(select: &SelectStmt) -> bool {
    let rest = SelectStmt {
        target_list: Vec::new(),
        from_clause: Vec::new(),
        where_clause: None,
        limit_option: 0,
        op: 0,
        ..select.clone()
    };
    let plain = SelectStmt::default();
    rest == plain
}

/// The name that a target gives a column; a column that is computed from it cannot be written.
fn column_as(target: &Node, column: &str) -> Option<String> {
    let (given, name) = target_column(target)?;
    (given == column).then(|| if name.is_empty() { given.to_owned() } else { name.to_owned() })
}

/// The column that a target is, and the name that it gives it.
fn target_column(target: &Node) -> Option<(&str, &str)> {
    let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() else { return None };
    let ResTarget { name, val, .. } = target.as_ref();
    Some((column_name(val.as_deref()?)?, name))
}

fn column_name(node: &Node) -> Option<&str> {
    let Some(NodeEnum::ColumnRef(column)) = node.node.as_ref() else { return None };
    let Some(NodeEnum::String(name)) = column.fields.last().and_then(|it| it.node.as_ref()) else { return None };
    Some(&name.sval)
}

/// A column, read as text where it is kept as another kind of text.
fn operand(node: &Node) -> Option<&str> {
    let Some(NodeEnum::TypeCast(cast)) = node.node.as_ref() else { return column_name(node) };
    let names = cast.type_name.as_ref().map(|it| it.names.as_slice()).unwrap_or_default();
    let [name] = names else { return None };
    let is_text = matches!(name.node.as_ref(), Some(NodeEnum::String(name)) if name.sval == "text");
    cast.arg.as_deref().filter(|_| is_text).and_then(column_name)
}

/// Columns that are compared with constants, or are NULL or not.
fn compares(condition: &Node) -> bool {
    let Some(node) = condition.node.as_ref() else { return false };
    if let NodeEnum::BoolExpr(b) = node {
        b.args.iter().all(compares)
    } else if let NodeEnum::NullTest(test) = node {
        test.arg.as_deref().is_some_and(|arg| column_name(arg).is_some())
    } else if let NodeEnum::AExpr(e) = node {
        is_comparison(e)
    } else {
        column_name(condition).is_some()
    }
}

fn is_comparison(e: &AExpr) -> bool {
    let operator = match e.name.as_slice() {
        [only] => only.node.as_ref(),
        _ => None,
    };
    let Some(NodeEnum::String(operator)) = operator else { return false };
    let known = matches!(operator.sval.as_str(), "=" | "<>" | "<" | "<=" | ">" | ">=");
    let (Some(left), Some(right)) = (e.lexpr.as_deref(), e.rexpr.as_deref()) else { return false };
    let kind = matches!(e.kind(), AExprKind::AexprOp | AExprKind::AexprOpAny | AExprKind::AexprOpAll);
    known && kind && operand(left).is_some() && is_constant(right)
}

/// A literal, cast or not: it is the same for every row.
fn is_constant(node: &Node) -> bool {
    if let Some(NodeEnum::TypeCast(cast)) = node.node.as_ref() {
        return cast.arg.as_deref().is_some_and(is_constant);
    }
    if let Some(NodeEnum::AArrayExpr(array)) = node.node.as_ref() {
        return array.elements.iter().all(is_constant);
    }
    matches!(node.node, Some(NodeEnum::AConst(_)))
}
