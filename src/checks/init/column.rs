//! The tenant column, by what most tables have, and the table that it leads to.

use std::collections::HashMap;

use super::{Schema, names};
use crate::base::QualifiedName;
use crate::catalog::{Catalog, Relation};

/// What somebody has said beforehand.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// `--tenant-column`
    pub column: Option<String>,
    /// `--tenants-table`
    pub table: Option<QualifiedName>,
}

/// The column, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its name.
    pub column: String,
    /// Why this one.
    pub why: String,
    /// Another that might be meant.
    pub rival: Option<String>,
    /// The table with one row for each tenant, and its column that holds the tenant's key.
    pub root: Option<(QualifiedName, String)>,
}

/// Why there is no choice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoColumn {
    /// Nothing to look at.
    #[error("the database has no tables of an app's: is it the right one?")]
    NoTables,
    /// What was asked for is not there.
    #[error("no table has a column \"{0}\"{hint}", hint = most(.1))]
    Missing(String, Vec<(String, usize)>),
    /// The table that was asked for is not there.
    #[error("there is no table {0}")]
    NoSuchTable(QualifiedName),
    /// Nothing tells which key of the table is the tenant's.
    #[error("{0} has no primary key or unique column that \"{1}\" could refer to")]
    NoKey(QualifiedName, String),
    /// Schemas with the same tables.
    #[error(
        "{count} schemas have the same tables: it looks like a schema for each tenant, which needs no tenant column. See the schema \
         layout in docs/configuration.md: [tenancy.pattern] schema = ...; or pass --tenant-column"
    )]
    Schemas {
        /// How many.
        count: usize,
    },
    /// No name that says so.
    #[error("no column is called as tenants usually are (tenant_id, org_id, account_id, ...): pass --tenant-column{hint}", hint = most(.0))]
    NotFound(Vec<(String, usize)>),
}

fn most(columns: &[(String, usize)]) -> String {
    let said: Vec<String> = columns.iter().map(|(name, count)| format!("{name} ({count})")).collect();
    if said.is_empty() {
        String::new()
    } else {
        format!(". Columns that refer to something, and how many tables have them: {}", said.join(", "))
    }
}

/// Chooses.
///
/// # Errors
/// As [`NoColumn`] says.
pub fn choose(catalog: &Catalog, wanted: &Wanted) -> Result<Choice, NoColumn> {
    let schema = Schema::new(catalog);
    let mut tables = schema.tables();
    tables.retain(|it| names::framework(&it.name.name).is_none());
    if tables.is_empty() {
        return Err(NoColumn::NoTables);
    }
    let counted = counted(&tables);
    let found = match &wanted.column {
        Some(column) => {
            let count = tables.iter().filter(|it| it.column(column).is_some()).count();
            if count == 0 {
                return Err(NoColumn::Missing(column.clone(), references(&counted)));
            }
            Found { column, why: format!("{count} of {} tables have it; you named it", tables.len()), rival: None }
        }
        None => by_frequency(&counted, &tables)?,
    };
    let root = root(&schema, &tables, found.column, wanted.table.as_ref())?;
    let why = match &root {
        Some((table, key)) => format!("{}; it leads to {table}, column {key}", found.why),
        None => found.why,
    };
    Ok(Choice { column: found.column.to_owned(), why, rival: found.rival, root })
}

struct Found<'c> {
    column: &'c str,
    why: String,
    rival: Option<String>,
}

/// Columns with the number of tables that have them, the most frequent first.
fn counted<'c>(tables: &[&'c Relation]) -> Vec<(&'c str, usize)> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for column in tables.iter().flat_map(|it| &it.columns) {
        *counts.entry(column.name.as_str()).or_default() += 1;
    }
    let mut counted: Vec<_> = counts.into_iter().collect();
    counted.sort_by(|(one, a), (other, b)| (b, one).cmp(&(a, other)));
    counted
}

fn references(counted: &[(&str, usize)]) -> Vec<(String, usize)> {
    let refers = |name: &str| {
        names::words(name).len() > 1 && names::referred(name).as_deref() != Some(&names::words(name).join("_"))
    };
    counted.iter().filter(|(name, _)| refers(name)).take(5).map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn by_frequency<'c>(counted: &[(&'c str, usize)], tables: &[&Relation]) -> Result<Found<'c>, NoColumn> {
    let mut usual = counted.iter().filter(|(name, _)| names::is_tenants(name));
    let Some((column, count)) = usual.next() else {
        return Err(match alike(tables) {
            0..=2 => NoColumn::NotFound(references(counted)),
            count => NoColumn::Schemas { count },
        });
    };
    // One that nearly as many tables have could be meant as well.
    let rival = usual.next().filter(|(_, other)| other * 2 > *count);
    Ok(Found {
        column,
        why: format!("{count} of {} tables have it, and it is called as tenants usually are", tables.len()),
        rival: rival.map(|(name, other)| format!("{name}, which {other} tables have")),
    })
}

/// How many schemas have the same tables.
fn alike(tables: &[&Relation]) -> usize {
    let mut schemas: HashMap<&str, Vec<&str>> = HashMap::new();
    for table in tables {
        schemas.entry(&table.name.schema).or_default().push(&table.name.name);
    }
    let mut counts: HashMap<Vec<&str>, usize> = HashMap::new();
    for mut names in schemas.into_values() {
        names.sort_unstable();
        *counts.entry(names).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

/// The table with one row for each tenant: where most foreign keys of the column lead, or one that is called so.
fn root(
    schema: &Schema<'_>,
    tables: &[&Relation],
    column: &str,
    wanted: Option<&QualifiedName>,
) -> Result<Option<(QualifiedName, String)>, NoColumn> {
    let mut leads: HashMap<(&QualifiedName, &str), usize> = HashMap::new();
    for key in tables.iter().flat_map(|it| schema.keys(it)).filter(|key| key.column == column) {
        *leads.entry((&key.parent.name, key.parent_column)).or_default() += 1;
    }
    let named = |(name, _): &(&QualifiedName, &str)| wanted.is_none_or(|it| it == *name);
    let best = leads.into_iter().filter(|(to, _)| named(to)).max_by(|(one, a), (other, b)| (a, other).cmp(&(b, one)));
    if let Some(((table, key), _)) = best {
        return Ok(Some((table.clone(), key.to_owned())));
    }
    let table = match wanted {
        Some(name) => {
            let found = tables.iter().find(|it| it.name == *name);
            Some(found.ok_or_else(|| NoColumn::NoSuchTable(name.clone()))?)
        }
        None => tables.iter().find(|it| names::may_be_table_of(&it.name.name, column)),
    };
    let Some(table) = table else { return Ok(None) };
    let types: Vec<_> = tables.iter().filter_map(|it| it.column(column)).map(|it| it.base_type_oid).collect();
    let fits = |name: &&String| table.column(name).is_some_and(|it| types.contains(&it.base_type_oid));
    let single = table.unique_keys.iter().filter_map(|it| if let [one] = it.as_slice() { Some(one) } else { None });
    match single.clone().find(fits) {
        Some(key) => Ok(Some((table.name.clone(), key.clone()))),
        None if wanted.is_some() => Err(NoColumn::NoKey(table.name.clone(), column.to_owned())),
        None => Ok(None),
    }
}
