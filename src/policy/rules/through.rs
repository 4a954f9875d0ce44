//! Tables that have no tenant column and belong through a foreign key.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Draft, type_text};
use crate::base::{Access, Oid, QualifiedName};
use crate::catalog::{Catalog, ForeignKey, Relation};
use crate::config::{TableOverride, Tenancy};
use crate::guard::{Protection, TableRule, TenantTable, Through};
use crate::policy::PolicyNote;

/// The longest way to a tenant column.
const MAX_STEPS: usize = 8;

/// Gives the tables that the configuration lists so their rules, those first whose parents have one.
pub(super) fn resolve(
    tenancy: &Tenancy,
    catalog: &Catalog,
    by_oid: &HashMap<Oid, &Relation>,
    draft: &mut Draft,
    notes: &mut Vec<PolicyNote>,
) {
    let mut open: Vec<(&Relation, &str, Access)> = Vec::new();
    for (name, over) in &tenancy.tables {
        let TableOverride::Through { column, access } = over else { continue };
        let Some(relation) = catalog.relations.get(name).filter(|it| draft.get(&it.oid) == Some(&None)) else {
            continue;
        };
        match relation.column(column) {
            Some(_) => open.push((relation, column, *access)),
            None => notes.push(PolicyNote::MissingColumn { name: name.clone(), column: column.clone() }),
        }
    }
    for _ in 0..MAX_STEPS {
        open.retain(|(relation, column, access)| match rule(catalog, by_oid, draft, relation, column) {
            Some(table) => {
                draft.insert(relation.oid, Some(TableRule::Tenant(TenantTable { access: *access, ..table })));
                false
            }
            None => true,
        });
    }
    notes.extend(open.into_iter().map(|(relation, column, _)| PolicyNote::LeadsNowhere {
        name: relation.name.clone(),
        column: column.to_owned(),
    }));
}

/// The rule of a table whose column leads to a table that has one.
fn rule(
    catalog: &Catalog,
    by_oid: &HashMap<Oid, &Relation>,
    draft: &Draft,
    relation: &Relation,
    column: &str,
) -> Option<TenantTable> {
    keys(relation).filter(|(_, own, _)| *own == column).find_map(|(key, _, parent_column)| {
        let parent = by_oid.get(&key.parent)?;
        let Some(Some(TableRule::Tenant(rule))) = draft.get(&parent.oid) else { return None };
        let alone = parent.kind.is_table() && !has_heirs(catalog, parent);
        if !alone || steps(rule) >= MAX_STEPS {
            return None;
        }
        let through = Through {
            parent: parent.name.clone(),
            key: parent_column.to_owned(),
            rule: TenantTable { access: Access::Write, protection: Protection::Predicate, ..rule.clone() },
            child: relation.name.name.clone(),
            constraint: key.name.clone(),
            type_name: type_text(catalog, relation.column(column)?.base_type_oid)?,
        };
        Some(TenantTable { column: column.to_owned(), through: Some(Arc::new(through)), ..rule.clone() })
    })
}

/// Foreign keys of one column, and that column on either side.
fn keys(relation: &Relation) -> impl Iterator<Item = (&ForeignKey, &str, &str)> {
    relation.foreign_keys.iter().filter_map(|key| match (key.columns.as_slice(), key.parent_columns.as_slice()) {
        ([own], [parent]) => Some((key, own.as_str(), parent.as_str())),
        _ => None,
    })
}

/// A key holds rows of the table itself together, and none of its inheritance children: two rows might have one value.
fn has_heirs(catalog: &Catalog, parent: &Relation) -> bool {
    catalog.relations.values().any(|it| !it.is_partition && it.parents.contains(&parent.oid))
}

fn steps(rule: &TenantTable) -> usize {
    std::iter::successors(rule.through.as_ref(), |through| through.rule.through.as_ref()).count()
}

/// Takes the rules back of tables whose parents have lost theirs, or got others.
pub(super) fn withdraw(catalog: &Catalog, draft: &mut Draft) {
    for _ in 0..=MAX_STEPS {
        let leads = |through: &Through| {
            let parent = catalog.relations.get(&through.parent).and_then(|it| draft.get(&it.oid));
            matches!(parent, Some(Some(TableRule::Tenant(rule))) if is_same(rule, &through.rule))
        };
        let lost: Vec<Oid> = draft
            .iter()
            .filter_map(|(oid, rule)| match rule {
                Some(TableRule::Tenant(TenantTable { through: Some(through), .. })) if !leads(through) => Some(*oid),
                Some(TableRule::Tenant(_) | TableRule::Shared(_)) | None => None,
            })
            .collect();
        lost.iter().for_each(|oid| {
            draft.insert(*oid, None);
        });
    }
}

/// What is read of a parent: all but what may be done with it.
fn is_same(one: &TenantTable, other: &TenantTable) -> bool {
    let bare =
        |rule: &TenantTable| TenantTable { access: Access::Write, protection: Protection::Predicate, ..rule.clone() };
    bare(one) == bare(other)
}

/// The column by which a table without a rule could belong.
pub(in crate::policy) fn proposal(
    catalog: &Catalog,
    relation: &Relation,
    tables: &HashMap<QualifiedName, TableRule>,
) -> Option<String> {
    let found = keys(relation).find(|(key, _, _)| {
        let parent = catalog.relations.values().find(|it| it.oid == key.parent);
        matches!(parent.and_then(|it| tables.get(&it.name)), Some(TableRule::Tenant(_)))
    });
    found.map(|(_, column, _)| column.to_owned())
}
