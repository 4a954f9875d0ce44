//! Which table is whose.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::facts::SMALL;
use super::names::{self, Framework};
use super::{Choice, Facts, Guess, Key, Rule, Schema, listed};
use crate::base::oid::{INT2, INT4, INT8, UUID};
use crate::base::{Oid, QualifiedName};
use crate::catalog::Relation;

/// The longest way to a tenant column.
const MAX_STEPS: usize = 8;

/// A guess for every table.
pub(super) fn guess(schema: &Schema<'_>, facts: &Facts, choice: &Choice) -> BTreeMap<QualifiedName, Guess> {
    let tables = schema.tables();
    let mut found: HashMap<Oid, Guess> = HashMap::new();
    for table in &tables {
        if let Some(guess) = own(schema, facts, choice, table) {
            found.insert(table.oid, guess);
        }
    }
    through(schema, &tables, &mut found);
    let leading = leading(&tables, &found);
    for table in &tables {
        if !found.contains_key(&table.oid) {
            let guess = match leading.get(&table.oid) {
                Some(parent) => by_several(parent),
                None => rest(schema, facts, &tables, &found, table),
            };
            found.insert(table.oid, guess);
        }
    }
    tables.iter().filter_map(|it| Some((it.name.clone(), found.remove(&it.oid)?))).collect()
}

/// Whether its rows are tenants'.
pub(super) fn is_tenants(guess: &Guess) -> bool {
    match guess.rule {
        Rule::ByColumn | Rule::Column { .. } | Rule::Tenants(_) | Rule::Through(_) => true,
        Rule::Shared | Rule::Open(_) | Rule::Refused => false,
    }
}

/// What its own columns, its name and its foreign keys to the tenants' table say.
fn own(schema: &Schema<'_>, facts: &Facts, choice: &Choice, table: &Relation) -> Option<Guess> {
    if let Some((_, key)) = choice.root.as_ref().filter(|(root, _)| *root == table.name) {
        return Some(of_root(key, choice));
    }
    if table.column(&choice.column).is_some() {
        return Some(by_column(schema, facts, choice, table));
    }
    match names::framework(&table.name.name) {
        Some(Framework::Open(why)) => return Some(Guess::sure(Rule::Shared, why)),
        Some(Framework::Books(why)) => return Some(Guess::sure(Rule::Refused, why)),
        Some(Framework::Mixed(..)) | None => {}
    }
    let (root, root_key) = choice.root.as_ref()?;
    let mut keys: Vec<Key<'_>> = schema.keys(table).into_iter().filter(|key| key.parent.name == *root).collect();
    keys.sort_by_key(|key| key.column);
    keys.dedup_by_key(|key| key.column);
    match keys.as_slice() {
        [] => None,
        [key] => Some(by_key(table, key, root, root_key)),
        several => {
            let columns = listed(several.iter().map(|key| key.column));
            Some(Guess::open(
                None,
                format!("{columns} all lead to {root}: {{ column = ... }} with the one whose tenant the row is"),
            ))
        }
    }
}

/// A foreign key to the tenants' table.
fn by_key(table: &Relation, key: &Key<'_>, root: &QualifiedName, root_key: &str) -> Guess {
    let named = (key.parent_column != root_key).then(|| key.parent_column.to_owned());
    let rule = Rule::Column { column: key.column.to_owned(), key: named };
    let why = format!("its {} leads to {root}, column {}", key.column, key.parent_column);
    let passing = ["current", "last", "default", "active", "selected"];
    if names::words(key.column).first().is_some_and(|it| passing.contains(&it.as_str())) {
        return Guess::open(
            Some(rule),
            format!("{why}, and sounds as if it changed: does a row belong to that tenant alone?"),
        );
    }
    match table.column(key.column).is_some_and(|it| it.not_null) {
        true => Guess::sure(rule, why),
        false => Guess::look(rule, format!("{why}; rows without it are nobody's")),
    }
}

/// The tenants' own table. Who writes it decides who is a tenant, by which name, and what it may.
fn of_root(key: &str, choice: &Choice) -> Guess {
    let rule = Rule::Tenants((key != choice.column).then(|| key.to_owned()));
    Guess::sure(
        rule,
        format!(
            "the tenants themselves: {} leads here, and {key} is the tenant's key. A tenant reads its own row and does not write it, or \
             it could take another name; what the app changes in it, it changes by an operator's login",
            choice.column
        ),
    )
}

fn by_column(schema: &Schema<'_>, facts: &Facts, choice: &Choice, table: &Relation) -> Guess {
    let column = &choice.column;
    let elsewhere = schema
        .keys(table)
        .into_iter()
        .find(|key| key.column == column && choice.root.as_ref().is_some_and(|(root, _)| key.parent.name != *root));
    if let Some(key) = elsewhere {
        return Guess::look(
            Rule::ByColumn,
            format!(
                "its {column} leads to {}, not to the tenants' table: is it the tenant's key? If not, {{ column = ... }} or {{ through = ... }}",
                key.parent.name
            ),
        );
    }
    let root = choice.root.as_ref().and_then(|(root, key)| schema.catalog.relations.get(root)?.column(key));
    if let (Some(root), Some(own)) = (root, table.column(column))
        && !is_alike(root.base_type_oid, own.base_type_oid)
    {
        return Guess::look(
            Rule::ByColumn,
            format!(
                "its {column} is {}, the tenant's key {}: {{ column = \"{column}\", key = ... }} with a further key of each tenant",
                own.type_name, root.type_name
            ),
        );
    }
    match facts.tables.get(&table.oid).is_some_and(|it| it.has_null_keys) {
        true => Guess::look(
            Rule::ByColumn,
            format!(
                "some rows have no {column}, and no tenant sees them: {{ null = \"shared\" }} if all tenants may read them"
            ),
        ),
        false => Guess::sure(Rule::ByColumn, format!("has {column}")),
    }
}

/// Whether a value of one type can be one of the other.
fn is_alike(one: Oid, other: Oid) -> bool {
    let number = |oid| matches!(oid, INT2 | INT4 | INT8);
    let exact = |oid| number(oid) || oid == UUID;
    one == other || (number(one) && number(other)) || !(exact(one) || exact(other))
}

/// Tables that lead to tenant tables. The best key of a table may lead to one that is found out later: it waits for that, unless
/// all that are left wait for each other.
fn through(schema: &Schema<'_>, tables: &[&Relation], found: &mut HashMap<Oid, Guess>) {
    let mut steps: HashMap<Oid, usize> =
        found.iter().filter(|(_, guess)| is_tenants(guess)).map(|(oid, _)| (*oid, 0)).collect();
    let mut open: Vec<(&Relation, Vec<Key<'_>>)> = reaching(schema, tables, found, &steps);
    while !open.is_empty() {
        let known = |key: &Key<'_>| steps.get(&key.parent.oid).is_some_and(|it| *it < MAX_STEPS);
        let ready =
            |(table, keys): &(&Relation, Vec<Key<'_>>)| best(table, keys.iter()).filter(|key| known(key)).is_some();
        let waits = !open.iter().any(ready);
        let mut more: Vec<(Oid, usize, Guess)> = Vec::new();
        for (table, keys) in open.iter().filter(|it| waits || ready(it)) {
            let usable: Vec<&Key<'_>> = keys.iter().filter(|key| known(key)).collect();
            if let Some(key) = best(table, usable.iter().copied()) {
                let step = steps.get(&key.parent.oid).copied().unwrap_or_default() + 1;
                more.push((table.oid, step, leads(table, key, keys)));
            }
        }
        if more.is_empty() {
            return;
        }
        for (oid, step, guess) in more {
            steps.insert(oid, step);
            found.insert(oid, guess);
        }
        open.retain(|(table, _)| !found.contains_key(&table.oid));
    }
}

/// Tables that some way of foreign keys leads away from to a tenant table, with the keys that such ways begin with.
fn reaching<'c>(
    schema: &Schema<'c>,
    tables: &[&'c Relation],
    found: &HashMap<Oid, Guess>,
    steps: &HashMap<Oid, usize>,
) -> Vec<(&'c Relation, Vec<Key<'c>>)> {
    let mut open: Vec<(&Relation, Vec<Key<'_>>)> = tables
        .iter()
        .filter(|it| !found.contains_key(&it.oid))
        .map(|it| {
            (
                *it,
                schema
                    .keys(it)
                    .into_iter()
                    .filter(|key| key.parent.oid != it.oid && !schema.has_heirs(key.parent))
                    .collect(),
            )
        })
        .collect();
    let mut reached: HashSet<Oid> = steps.keys().copied().collect();
    loop {
        let before = reached.len();
        for (table, keys) in &open {
            if keys.iter().any(|key| reached.contains(&key.parent.oid)) {
                reached.insert(table.oid);
            }
        }
        if reached.len() == before {
            break;
        }
    }
    open.iter_mut().for_each(|(_, keys)| keys.retain(|key| reached.contains(&key.parent.oid)));
    open.retain(|(_, keys)| !keys.is_empty());
    open
}

/// Tables that keys lead away from to a tenant's table, of whatever columns: each with the table that its key leads to.
fn leading<'c>(tables: &[&'c Relation], found: &HashMap<Oid, Guess>) -> HashMap<Oid, &'c Relation> {
    let names: HashMap<Oid, &Relation> = tables.iter().map(|it| (it.oid, *it)).collect();
    let mut leading: HashMap<Oid, &Relation> = HashMap::new();
    loop {
        let before = leading.len();
        for table in tables.iter().filter(|it| !found.contains_key(&it.oid)) {
            let leads = |parent: &Oid| found.get(parent).is_some_and(is_tenants) || leading.contains_key(parent);
            let parent = table.foreign_keys.iter().map(|key| key.parent).find(|it| *it != table.oid && leads(it));
            if let Some(parent) = parent.and_then(|it| names.get(&it)) {
                leading.insert(table.oid, parent);
            }
        }
        if leading.len() == before {
            return leading;
        }
    }
}

/// One that `through` is not for: its key has several columns, or leads to such a table.
fn by_several(parent: &Relation) -> Guess {
    Guess::open(
        None,
        format!(
            "it belongs to {}, by a way that pgwarden does not go (a key of several columns, inheritance, or more than {MAX_STEPS} \
             steps): add the tenant column to it",
            parent.name
        ),
    )
}

fn is_optional(table: &Relation, key: &Key<'_>) -> bool {
    table.column(key.column).is_none_or(|it| !it.not_null)
}

/// The best of some foreign keys: of a row that must be there, of what the table is called after (order_items, OrderItem), and
/// sooner of things than of people.
fn best<'k, 'c>(table: &Relation, keys: impl Iterator<Item = &'k Key<'c>>) -> Option<&'k Key<'c>>
where
    'c: 'k,
{
    let own = names::words(&table.name.name).join("_");
    let part = |key: &Key<'_>| own.starts_with(&names::singular(&key.parent.name.name));
    let place = |key: &Key<'_>| table.columns.iter().position(|it| it.name == key.column);
    keys.min_by_key(|key| (is_optional(table, key), !part(key), names::is_people(&key.parent.name.name), place(key)))
}

fn leads(table: &Relation, key: &Key<'_>, keys: &[Key<'_>]) -> Guess {
    let rule = Rule::Through(key.column.to_owned());
    let why = format!("belongs to {} by {}", key.parent.name, key.column);
    let others: Vec<&str> = keys.iter().map(|it| it.column).filter(|it| *it != key.column).collect();
    let why = if others.is_empty() { why } else { format!("{why} (it could by {})", listed(others)) };
    match is_optional(table, key) {
        true => Guess::look(rule, format!("{why}; rows without it are nobody's")),
        false => Guess::sure(rule, why),
    }
}

/// A column that is called after a table, as a foreign key to it would be.
fn sounding<'c>(
    table: &'c Relation,
    others: impl Iterator<Item = &'c &'c Relation> + Clone,
) -> Option<(&'c str, &'c Relation)> {
    let is_reference =
        |name: &str| names::words(name).last().is_some_and(|it| matches!(it.as_str(), "id" | "uuid" | "guid"));
    table.columns.iter().map(|it| it.name.as_str()).filter(|it| is_reference(it)).find_map(|column| {
        let parent = others.clone().find(|it| it.oid != table.oid && names::may_be_table_of(&it.name.name, column));
        parent.map(|it| (column, *it))
    })
}

/// Tables that no foreign key leads away from to a tenant.
fn rest(
    schema: &Schema<'_>,
    facts: &Facts,
    tables: &[&Relation],
    found: &HashMap<Oid, Guess>,
    table: &Relation,
) -> Guess {
    if let Some(Framework::Mixed(why, access)) = names::framework(&table.name.name) {
        return Guess::open(access.map(Rule::Open), why);
    }
    let private: Vec<&str> =
        table.columns.iter().map(|it| it.name.as_str()).filter(|it| names::is_private(it)).collect();
    if !private.is_empty() || names::is_people(&table.name.name) {
        let holds = if private.is_empty() { "people".to_owned() } else { listed(private) };
        return Guess::open(
            None,
            format!(
                "nothing says which tenant a row belongs to, and it holds {holds}: add the tenant column to it, or use it by a login of its own"
            ),
        );
    }
    let is_tenants = |oid: &Oid| found.get(oid).is_some_and(is_tenants);
    if let Some((column, parent)) = sounding(table, tables.iter().filter(|it| is_tenants(&it.oid))) {
        return Guess::open(
            None,
            format!(
                "its {column} sounds as if it led to {}, and no foreign key says so: with one, {{ through = \"{column}\" }}; else add the \
                 tenant column to it",
                parent.name
            ),
        );
    }
    let users =
        tables.iter().filter(|it| is_tenants(&it.oid) && it.foreign_keys.iter().any(|key| key.parent == table.oid));
    let users = listed(users.map(|it| it.name.name.as_str()));
    let open =
        |why: String| Guess::open(Some(Rule::Shared), format!("{why}: shared if all tenants may read all of it"));
    let known = facts.tables.get(&table.oid).copied().unwrap_or_default();
    match known.rows {
        None => open("nothing leads to a tenant, and its rows could not be counted".to_owned()),
        Some(0) => open("nothing leads to a tenant, and it is empty".to_owned()),
        Some(rows) if rows > SMALL => open(format!("nothing leads to a tenant, and it has more than {SMALL} rows")),
        Some(rows) if known.changes > rows => open("nothing leads to a tenant, and it changes often".to_owned()),
        Some(_) if users.is_empty() => open("nothing leads to a tenant, and no tenant's table refers to it".to_owned()),
        Some(_) if !schema.keys(table).is_empty() => open("it refers to a table that is not a tenant's".to_owned()),
        Some(rows) => {
            let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
            Guess::sure(
                Rule::Shared,
                format!("{rows}, seldom changed; {users} refer to it, and it refers to no tenant's"),
            )
        }
    }
}
