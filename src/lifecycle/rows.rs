//! Which rows are a tenant's in shared tables: by the policy's own rules.

use std::collections::HashMap;

use super::error::LifecycleError;
use crate::base::{Oid, QualifiedName, TenantKeys};
use crate::catalog::{RelKind, Relation};
use crate::guard::{Policy, TableRule, TenantTable};
use crate::sql::{quote_identifier, quote_literal, quote_qualified};

/// A table with rows of tenants: one that stands for itself, or for its partitions.
#[derive(Clone, Copy)]
pub(super) struct OwnTable<'p> {
    pub relation: &'p Relation,
    pub rule: &'p TenantTable,
}

/// All of them, parents before those that refer to them. Tables of one group refer to each other.
pub(super) fn own_tables(policy: &Policy) -> Vec<Vec<OwnTable<'_>>> {
    let mut tables: Vec<OwnTable<'_>> = policy
        .tables
        .iter()
        .filter_map(|(name, rule)| match rule {
            TableRule::Tenant(rule) => Some(OwnTable { relation: policy.catalog.relations.get(name)?, rule }),
            TableRule::Shared(_) => None,
        })
        .filter(|table| table.relation.kind.is_table() && !is_part(policy, table.relation))
        .collect();
    tables.sort_by(|one, other| one.relation.name.cmp(&other.relation.name));
    in_order(policy, tables)
}

/// Whether a table is a partition of one that has a rule too.
fn is_part(policy: &Policy, relation: &Relation) -> bool {
    relation.is_partition && parents(policy, relation).any(|parent| policy.tables.contains_key(&parent.name))
}

fn parents<'p>(policy: &'p Policy, relation: &'p Relation) -> impl Iterator<Item = &'p Relation> {
    policy.catalog.relations.values().filter(|it| relation.parents.contains(&it.oid))
}

/// The table that a relation is a part of, or itself.
fn root_of(policy: &Policy, relation: &Relation) -> Oid {
    let parent = if relation.is_partition { parents(policy, relation).next() } else { None };
    parent.map_or(relation.oid, |parent| root_of(policy, parent))
}

fn in_order<'p>(policy: &Policy, mut open: Vec<OwnTable<'p>>) -> Vec<Vec<OwnTable<'p>>> {
    let by_oid: HashMap<Oid, &Relation> = policy.catalog.relations.values().map(|it| (it.oid, it)).collect();
    let refers =
        |table: &OwnTable<'_>, other: &OwnTable<'_>| {
            table.relation.oid != other.relation.oid
                && table.relation.foreign_keys.iter().any(|key| {
                    by_oid.get(&key.parent).is_some_and(|parent| root_of(policy, parent) == other.relation.oid)
                })
        };
    let mut groups = Vec::new();
    while !open.is_empty() {
        let free: Vec<bool> = open.iter().map(|it| !open.iter().any(|other| refers(it, other))).collect();
        if !free.contains(&true) {
            // They refer to each other, or to such.
            groups.push(std::mem::take(&mut open));
            continue;
        }
        let mut free = free.into_iter();
        let (ready, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(|_| free.next() == Some(true));
        groups.extend(ready.into_iter().map(|it| vec![it]));
        open = rest;
    }
    groups
}

impl OwnTable<'_> {
    /// Its name in SQL.
    pub fn name(&self) -> String {
        quote_qualified(&self.relation.name)
    }

    /// As FROM has it: a table that others inherit from without those, which stand for themselves.
    pub fn from(&self) -> String {
        match self.relation.kind {
            RelKind::PartitionedTable => self.name(),
            _ => format!("ONLY {}", self.name()),
        }
    }

    /// Whether a row of the table, called `t`, is the tenant's own.
    pub fn is_own(&self, keys: &TenantKeys) -> Result<String, LifecycleError> {
        condition(self.rule, "t", keys, 1, (Whose::Tenant, None))
    }

    /// Whether a row of the table, called `t`, is everybody's. `None`: it has no such rows.
    pub fn is_everybodys(&self) -> Option<String> {
        self.is_everybodys_in(None)
    }

    /// The same where the tables are in another schema.
    pub fn is_everybodys_in(&self, schema: Option<&str>) -> Option<String> {
        let none = TenantKeys::default();
        self.rule.null_is_shared.then(|| condition(self.rule, "t", &none, 1, (Whose::Everybody, schema)).ok()).flatten()
    }

    /// The tenant's value of the tenant column, as SQL. `None`: the table has no such column.
    pub fn value(&self, keys: &TenantKeys) -> Result<Option<String>, LifecycleError> {
        if self.rule.through.is_some() {
            return Ok(None);
        }
        value(self.rule, keys).map(Some)
    }
}

#[derive(Clone, Copy)]
enum Whose {
    Tenant,
    Everybody,
}

fn value(rule: &TenantTable, keys: &TenantKeys) -> Result<String, LifecycleError> {
    let key = keys.get(&rule.key).ok_or_else(|| {
        let name = rule.key.as_deref().map_or("key".to_owned(), |name| format!("key \"{name}\""));
        LifecycleError::refused(
            format!("the tenant has no {name}, by which rows of some tables are told"),
            "give it one: keys = { ... } in [[tenant]], --keys name=value of create, or the column \"keys\" of the table",
        )
    })?;
    Ok(format!("CAST({} AS {})", quote_literal(key), rule.type_name))
}

fn condition(
    rule: &TenantTable,
    alias: &str,
    keys: &TenantKeys,
    step: usize,
    (whose, schema): (Whose, Option<&str>),
) -> Result<String, LifecycleError> {
    let column = format!("{alias}.{}", quote_identifier(&rule.column));
    let Some(through) = &rule.through else {
        return Ok(match whose {
            Whose::Tenant => format!("{column} OPERATOR(pg_catalog.=) {}", value(rule, keys)?),
            Whose::Everybody => format!("{column} IS NULL"),
        });
    };
    let parent = format!("p{step}");
    let theirs = condition(&through.rule, &parent, keys, step + 1, (whose, schema))?;
    let table = schema
        .map_or_else(|| through.parent.clone(), |schema| QualifiedName::new(schema, through.parent.name.as_str()));
    Ok(format!(
        "EXISTS (SELECT FROM {} {parent} WHERE {parent}.{} OPERATOR(pg_catalog.=) {column} AND {theirs})",
        quote_qualified(&table),
        quote_identifier(&through.key),
    ))
}
