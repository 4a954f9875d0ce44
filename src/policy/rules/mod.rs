//! Which relation is whose.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{PolicyInput, PolicyNote};
use crate::base::{Access, KeyName, Oid, QualifiedName};
use crate::catalog::{Catalog, RelKind, Relation};
use crate::config::{Layout, TableOverride, Tenancy};
use crate::guard::{Policy, Protection, TableRule, TenantTable, ViewQuery};
use crate::sql::quote_qualified;

mod through;
mod views;

pub(in crate::policy) use through::proposal;

/// Rules by relation, while they are made. `None`: there must be none, whatever the parents say.
type Draft = HashMap<Oid, Option<TableRule>>;

/// Schemas of Postgres itself: never a tenant's.
pub(super) fn is_system_schema(schema: &str) -> bool {
    schema == "information_schema" || schema.starts_with("pg_")
}

fn is_readable(kind: RelKind) -> bool {
    match kind {
        RelKind::Table
        | RelKind::PartitionedTable
        | RelKind::View
        | RelKind::MaterializedView
        | RelKind::ForeignTable => true,
        RelKind::Sequence | RelKind::Index | RelKind::Toast | RelKind::CompositeType => false,
    }
}

/// The rules of all relations that have one. `callable`: which functions tenants may call.
pub(super) fn table_rules(
    input: &PolicyInput<'_>,
    callable: &Policy,
    notes: &mut Vec<PolicyNote>,
) -> HashMap<QualifiedName, TableRule> {
    let catalog = &*callable.catalog;
    let family = Family::new(catalog);
    let private = input.private_schemas(catalog);
    let mut draft = own_rules(input, catalog, &private, notes);
    through::resolve(input.tenancy, catalog, &family.by_oid, &mut draft, notes);
    inherit(input, &family, &mut draft, notes);
    withdraw_shared_parents(&family, &mut draft, notes);
    views::withdraw(input.enforcement, callable, &family.by_oid, &mut draft, notes);
    through::withdraw(catalog, &mut draft);
    views::add_writable(input, catalog, &private, &mut draft);
    let named = draft.into_iter().filter_map(|(oid, rule)| {
        let relation = family.by_oid.get(&oid)?;
        // A partition in a tenant's own schema is reached through its parent only.
        let reachable = !private.contains(relation.name.schema.as_str());
        rule.filter(|_| reachable).map(|rule| (relation.name.clone(), rule))
    });
    named.collect()
}

/// What each relation is by its own columns and the configuration.
fn own_rules(
    input: &PolicyInput<'_>,
    catalog: &Catalog,
    private: &HashSet<&str>,
    notes: &mut Vec<PolicyNote>,
) -> Draft {
    let tenancy = input.tenancy;
    let mut draft = Draft::new();
    let by_column = catalog.relations.values().filter(|r| {
        let somebodys = !private.contains(r.name.schema.as_str()) && !tenancy.own_tables.contains(&r.name);
        r.kind.is_table() && !is_system_schema(&r.name.schema) && somebodys
    });
    for relation in by_column {
        if let Some(table) = tenant_rule(catalog, relation, &tenancy.column, &None) {
            draft.insert(
                relation.oid,
                Some(TableRule::Tenant(table)).filter(|_| is_exact(relation, &tenancy.column, notes)),
            );
        }
    }
    for (name, over) in &tenancy.tables {
        let Some(relation) = listed(catalog, "[tenancy.tables]", name, private, notes) else { continue };
        match over {
            TableOverride::Tenant { column, key, null_is_shared, access } => {
                let column = column.as_ref().unwrap_or(&tenancy.column);
                let (null_is_shared, access) = (*null_is_shared, *access);
                let rule = tenant_rule(catalog, relation, column, key).map(|table| TenantTable {
                    null_is_shared,
                    access,
                    ..table
                });
                if rule.is_none() {
                    notes.push(PolicyNote::MissingColumn { name: name.clone(), column: column.clone() });
                }
                let rule = rule.filter(|_| is_exact(relation, column, notes));
                draft.insert(relation.oid, rule.map(TableRule::Tenant));
            }
            // When those are known that they lead to.
            TableOverride::Through { .. } => {
                draft.insert(relation.oid, None);
            }
            TableOverride::Shared(access) => share(tenancy, relation, *access, &mut draft, notes),
        }
    }
    for name in &tenancy.shared_tables {
        let Some(relation) = listed(catalog, "shared_tables", name, private, notes) else { continue };
        share(tenancy, relation, Access::Read, &mut draft, notes);
    }
    draft
}

/// Whether only a tenant's own key is equal to it in that column.
fn is_exact(relation: &Relation, column: &str, notes: &mut Vec<PolicyNote>) -> bool {
    let loose = relation.column(column).is_some_and(|column| column.loose);
    let told = |note: &PolicyNote| matches!(note, PolicyNote::LooseColumn { name, .. } if *name == relation.name);
    if loose && !notes.iter().any(told) {
        notes.push(PolicyNote::LooseColumn { name: relation.name.clone(), column: column.to_owned() });
    }
    !loose
}

/// A table that the configuration names as shared.
fn share(tenancy: &Tenancy, relation: &Relation, access: Access, draft: &mut Draft, notes: &mut Vec<PolicyNote>) {
    if relation.column(&tenancy.column).is_some() {
        notes.push(PolicyNote::SharedHasColumn { name: relation.name.clone() });
        return;
    }
    // Behind a view, a rule or a server stands what nobody looked at.
    let access = if relation.kind.is_table() { access } else { Access::Read };
    draft.insert(relation.oid, Some(TableRule::Shared(access)));
}

/// A relation that the configuration names.
fn listed<'c>(
    catalog: &'c Catalog,
    list: &'static str,
    name: &QualifiedName,
    private: &HashSet<&str>,
    notes: &mut Vec<PolicyNote>,
) -> Option<&'c Relation> {
    let name = name.clone();
    let note = match catalog.relations.get(&name) {
        None => PolicyNote::MissingRelation { list, name },
        Some(relation) if !is_readable(relation.kind) => PolicyNote::NotATable { list, name },
        Some(_) if is_system_schema(&name.schema) => PolicyNote::NotATable { list, name },
        Some(_) if private.contains(name.schema.as_str()) => PolicyNote::InPrivateSchema { list, name },
        Some(relation) => return Some(relation),
    };
    notes.push(note);
    None
}

fn tenant_rule(catalog: &Catalog, relation: &Relation, column: &str, key: &KeyName) -> Option<TenantTable> {
    let column = relation.column(column)?;
    Some(TenantTable {
        column: column.name.clone(),
        type_oid: column.base_type_oid,
        type_name: type_text(catalog, column.base_type_oid)?,
        key: key.clone(),
        null_is_shared: false,
        through: None,
        access: Access::Write,
        protection: Protection::Predicate,
    })
}

/// A type as schema-qualified SQL text. The names of Postgres's own types are plain words; others are quoted.
fn type_text(catalog: &Catalog, oid: Oid) -> Option<String> {
    let name = &catalog.types.get(&oid)?.name;
    Some(match name.schema.as_str() {
        "pg_catalog" => format!("pg_catalog.{}", name.name),
        _ => quote_qualified(name),
    })
}

/// Who inherits from whom, parents before children.
struct Family<'c> {
    by_oid: HashMap<Oid, &'c Relation>,
    /// Relations with parents, each after all of its parents.
    children: Vec<&'c Relation>,
}

impl<'c> Family<'c> {
    fn new(catalog: &'c Catalog) -> Self {
        let by_oid: HashMap<Oid, &Relation> = catalog.relations.values().map(|r| (r.oid, r)).collect();
        let mut depths = HashMap::new();
        let mut children: Vec<_> = catalog.relations.values().filter(|r| !r.parents.is_empty()).collect();
        for child in &children {
            depth(child.oid, &by_oid, &mut depths, 0);
        }
        children.sort_by_key(|r| (depths.get(&r.oid).copied(), r.oid));
        Self { by_oid, children }
    }
}

/// Length of the longest way up. Postgres allows no cycles; a bound keeps a broken catalog from hanging us.
fn depth(oid: Oid, by_oid: &HashMap<Oid, &Relation>, depths: &mut HashMap<Oid, usize>, level: usize) -> usize {
    if let Some(known) = depths.get(&oid) {
        return *known;
    }
    let parents = by_oid.get(&oid).map(|r| r.parents.as_slice()).unwrap_or_default();
    let found = match level {
        0..=1000 => parents.iter().map(|p| 1 + depth(*p, by_oid, depths, level + 1)).max().unwrap_or(0),
        _ => 0,
    };
    depths.insert(oid, found);
    found
}

/// Children are guarded as their parents: to read a parent is to read them.
fn inherit(input: &PolicyInput<'_>, family: &Family<'_>, draft: &mut Draft, notes: &mut Vec<PolicyNote>) {
    for child in &family.children {
        let from_parents: Vec<_> = child.parents.iter().filter_map(|p| draft.get(p)).cloned().collect();
        let mut tenant_rules = from_parents.iter().filter(|r| matches!(r, Some(TableRule::Tenant(_))));
        let own = draft.get(&child.oid);
        let listed = input.tenancy.tables.contains_key(&child.name) || matches!(own, Some(Some(TableRule::Shared(_))));
        let rule = match tenant_rules.next() {
            Some(first) => {
                // A child that merely has the usual tenant column too is guarded as its parent; one that is listed with
                // other rules contradicts it.
                let contradicted = listed && own.is_some_and(|own| own != first);
                if contradicted || tenant_rules.any(|r| r != first) {
                    notes.push(PolicyNote::ConflictingParents { name: child.name.clone() });
                    None
                } else {
                    first.clone()
                }
            }
            // No tenant's parents, but rows of tenants: `withdraw_shared_parents` sees to the parents.
            None if own.is_some() || from_parents.is_empty() => continue,
            None if child.column(&input.tenancy.column).is_some() => None,
            None => from_parents.into_iter().next().flatten(),
        };
        draft.insert(child.oid, rule);
    }
}

/// A shared table with a tenant table, or one that must have no rule, among its descendants would show their rows.
fn withdraw_shared_parents(family: &Family<'_>, draft: &mut Draft, notes: &mut Vec<PolicyNote>) {
    for child in family.children.iter().rev() {
        let child_access = match draft.get(&child.oid) {
            Some(Some(TableRule::Shared(access))) => Some(*access),
            Some(Some(TableRule::Tenant(_)) | None) | None => None,
        };
        for parent in &child.parents {
            let Some(Some(TableRule::Shared(access))) = draft.get(parent).cloned() else { continue };
            if let Some(child_access) = child_access {
                // To write to the parent is to write to the child.
                draft.insert(*parent, Some(TableRule::Shared(access.min(child_access))));
                continue;
            }
            draft.insert(*parent, None);
            if let Some(relation) = family.by_oid.get(parent) {
                let (name, child) = (relation.name.clone(), child.name.clone());
                notes.push(PolicyNote::SharedHasTenantChild { name, child });
            }
        }
    }
}

/// Functions and schemas that the configuration names.
pub(super) fn check_names(
    input: &PolicyInput<'_>,
    catalog: &Catalog,
    search_path: &[String],
    notes: &mut Vec<PolicyNote>,
) {
    for name in &input.tenancy.allow_functions {
        let functions = catalog.functions.get(&name.name).into_iter().flatten().map(|it| &it.name);
        let operators = catalog.operators.get(&name.name).into_iter().flatten().map(|it| &it.name);
        if !functions.chain(operators).any(|found| found == name) {
            notes.push(PolicyNote::MissingFunction { name: name.clone() });
        }
    }
    for cast in catalog.casts.iter().filter(|it| it.unwritten && !input.tenancy.allow_functions.contains(&it.function))
    {
        let mut functions = catalog.functions.get(&cast.function.name).into_iter().flatten();
        if functions.any(|it| it.name == cast.function && it.extension.is_none()) {
            let (target, function) = (cast.target.clone(), cast.function.clone());
            notes.push(PolicyNote::UnwrittenCast { target, function });
        }
    }
    for schema in input.tenancy.search_path.iter().flatten() {
        if !catalog.schemas.contains(schema) {
            notes.push(PolicyNote::MissingPathSchema { schema: schema.clone() });
        }
    }
    for tenant in input.tenants {
        if let Layout::Schema { schema, .. } = &tenant.layout
            && search_path.iter().any(|s| **s == **schema)
        {
            notes.push(PolicyNote::PrivateSchemaInPath { tenant: tenant.name.clone(), schema: schema.to_string() });
        }
    }
}

/// Schemas of the schema layout.
pub(super) fn check_schemas(input: &PolicyInput<'_>, catalog: &Catalog, notes: &mut Vec<PolicyNote>) {
    for tenant in input.tenants {
        if let Layout::Schema { schema, .. } = &tenant.layout
            && !catalog.schemas.contains(schema.as_ref())
        {
            notes.push(PolicyNote::MissingTenantSchema { tenant: tenant.name.clone(), schema: schema.to_string() });
        }
    }
}

/// A table of pgwarden's own: by its name, or the one that usage is kept in, with that of its writers.
pub(super) fn is_own(input: &PolicyInput<'_>, name: &QualifiedName) -> bool {
    let is_usage = |usage: &QualifiedName| {
        usage.schema == name.schema
            && name.name.strip_prefix(&usage.name).is_some_and(|rest| matches!(rest, "" | "_writers"))
    };
    name.name.starts_with("pgwarden_") || input.usage_table.is_some_and(is_usage)
}

/// Relations that tenants of the shared layout might look for in vain. Those of extensions are not meant for them.
pub(super) fn note_unconfigured(
    input: &PolicyInput<'_>,
    catalog: &Catalog,
    (tables, views): (&HashMap<QualifiedName, TableRule>, &HashMap<QualifiedName, ViewQuery>),
    notes: &mut Vec<PolicyNote>,
) {
    let private = input.private_schemas(catalog);
    let left_out: Vec<_> = notes.iter().filter_map(PolicyNote::left_out).map(|(name, _)| name.clone()).collect();
    let listed = input.tenancy.tables.keys().chain(&input.tenancy.shared_tables);
    let told: HashSet<&QualifiedName> = listed.chain(&left_out).collect();
    let open: BTreeMap<_, _> = catalog
        .relations
        .iter()
        .filter(|(name, r)| {
            is_readable(r.kind)
                && r.extension.is_none()
                && !tables.contains_key(name)
                && !views.contains_key(name)
                && !told.contains(name)
                && !is_own(input, name)
                && !is_system_schema(&name.schema)
                && !private.contains(name.schema.as_str())
        })
        .collect();
    for (name, relation) in open {
        let name = name.clone();
        notes.push(match relation.kind.is_table() {
            true => {
                let through = through::proposal(catalog, relation, tables);
                PolicyNote::Unconfigured { name, through }
            }
            false => PolicyNote::UnlistedView { name },
        });
    }
}
