//! What a name means, innermost level first.

use std::collections::BTreeSet;

use super::{Fence, Has, Item, Level, Output, Source, is_system_column};
use crate::base::Oid;

/// What an expression may look at.
#[derive(Clone, Debug, Default)]
pub(in crate::guard::rewrite) struct Refs {
    /// Level and item.
    pub(in crate::guard::rewrite) items: BTreeSet<(usize, usize)>,
    /// Levels of which it may look at any item.
    pub(in crate::guard::rewrite) levels: BTreeSet<usize>,
}

impl Refs {
    pub(in crate::guard::rewrite) fn absorb(&mut self, other: &Refs) {
        self.items.extend(&other.items);
        self.levels.extend(&other.levels);
    }

    /// What is left of it outside of `level`.
    pub(in crate::guard::rewrite) fn below(&self, level: usize) -> Refs {
        Refs {
            items: self.items.iter().copied().filter(|(l, _)| *l < level).collect(),
            levels: self.levels.iter().copied().filter(|l| *l < level).collect(),
        }
    }

    pub(in crate::guard::rewrite) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.levels.is_empty()
    }

    fn add_level(&mut self, levels: &[Level<'_>], level: usize) {
        self.levels.insert(level);
        for item in levels.get(level).into_iter().flat_map(|l| &l.items) {
            self.absorb(&item.looks_at);
        }
    }

    fn add_item(&mut self, levels: &[Level<'_>], level: usize, item: usize) {
        self.items.insert((level, item));
        if let Some(item) = levels.get(level).and_then(|l| l.items.get(item)) {
            self.absorb(&item.looks_at);
        }
    }
}

/// What a column reference means.
#[derive(Clone, Debug, Default)]
pub(in crate::guard::rewrite) struct Meaning {
    pub(in crate::guard::rewrite) refs: Refs,
    /// It is for certain an untouched column of a table: its base type.
    pub(in crate::guard::rewrite) column: Option<Oid>,
    /// It may be a function in disguise: `x.f` for `f(x)`.
    pub(in crate::guard::rewrite) maybe_function: bool,
    /// ... of a value that need not be a row.
    pub(in crate::guard::rewrite) of_value: bool,
}

impl Meaning {
    /// `*`: all of the innermost level.
    pub(in crate::guard::rewrite) fn of_star(levels: &[Level<'_>]) -> Self {
        let mut meaning = Self::default();
        if let Some(innermost) = levels.len().checked_sub(1) {
            meaning.refs.add_level(levels, innermost);
        }
        meaning
    }
}

/// Resolves `name`, innermost level first.
pub(in crate::guard::rewrite) fn bare_name(levels: &[Level<'_>], name: &str) -> Meaning {
    let mut meaning = Meaning::default();
    for (l, level) in levels.iter().enumerate().rev() {
        let mut types = Vec::new();
        let mut perhaps = false;
        for (i, item) in level.items.iter().enumerate() {
            match item.has(name) {
                Has::Yes(oid) => types.push((i, Some(oid))),
                Has::Computed => types.push((i, None)),
                Has::Perhaps => perhaps = true,
                Has::No if item.name.as_deref() == Some(name) => types.push((i, None)),
                Has::No => {}
            }
        }
        // Two of one name: a merged column of USING, or ambiguous and an error of Postgres's.
        if perhaps && (types.is_empty() || level.merged) {
            meaning.refs.add_level(levels, l);
        }
        types.iter().for_each(|(i, _)| meaning.refs.add_item(levels, l, *i));
        if let Some((_, first)) = types.first() {
            let same = types.iter().all(|(_, oid)| oid == first);
            meaning.column = first.filter(|_| same && meaning.refs.levels.is_empty());
            return meaning;
        }
    }
    meaning
}

/// Resolves `qualifier.name` or `schema.qualifier.name`; `name` is `None` for `*`.
pub(in crate::guard::rewrite) fn qualified_name(
    levels: &[Level<'_>],
    schema: Option<&str>,
    qualifier: &str,
    name: Option<&str>,
) -> Meaning {
    let mut meaning = Meaning::default();
    for (l, level) in levels.iter().enumerate().rev() {
        let found = level
            .items
            .iter()
            .enumerate()
            .find(|(_, item)| item.name.as_deref() == Some(qualifier) && schema.is_none_or(|s| item.is_of(s)));
        let Some((i, item)) = found else { continue };
        meaning.refs.add_item(levels, l, i);
        match name.map(|n| item.has(n)) {
            Some(Has::Yes(oid)) => meaning.column = Some(oid).filter(|_| meaning.refs.levels.is_empty()),
            Some(Has::No | Has::Perhaps) => {
                meaning.maybe_function = !name.is_some_and(is_system_column);
                meaning.of_value = item.value.as_ref().is_some_and(|column| Some(column.as_str()) != name);
            }
            Some(Has::Computed) | None => {}
        }
        return meaning;
    }
    // Not there: an error of Postgres's, or a name hidden by a join's alias.
    (0..levels.len()).for_each(|l| meaning.refs.add_level(levels, l));
    meaning.maybe_function = name.is_some();
    meaning.of_value = true;
    meaning
}

/// Whether a bare name is a whole row, of a relation or a query, and no column.
pub(in crate::guard::rewrite) fn is_row(levels: &[Level<'_>], name: &str) -> bool {
    item_named(levels, name).is_some_and(|item| item.value.is_none())
}

/// The item that a bare name means as a whole, since it is no column.
pub(in crate::guard::rewrite) fn item_named<'l, 'p>(levels: &'l [Level<'p>], name: &str) -> Option<&'l Item<'p>> {
    for level in levels.iter().rev() {
        if level.items.iter().any(|item| item.has(name) != Has::No) {
            return None;
        }
        if let Some(item) = level.items.iter().find(|item| item.name.as_deref() == Some(name)) {
            return Some(item);
        }
    }
    None
}

/// Whether `schema.qualifier` means something that a subquery has replaced, so that only `qualifier` still reaches it.
/// `None`: another item of that name stands in between.
pub(in crate::guard::rewrite) fn lost_schema(levels: &[Level<'_>], schema: &str, qualifier: &str) -> Option<bool> {
    let named = levels.iter().rev().flat_map(|l| l.items.iter()).filter(|i| i.name.as_deref() == Some(qualifier));
    let mut between = false;
    for item in named {
        if item.is_of(schema) {
            let lost = item.lost_schema.is_some();
            return (!(lost && between)).then_some(lost);
        }
        between = true;
    }
    Some(false)
}

/// Whether a system column, so qualified or not at all, may be that of a relation which a subquery has replaced.
pub(in crate::guard::rewrite) fn is_lost(levels: &[Level<'_>], qualifier: Option<&str>) -> bool {
    let mut items = levels.iter().rev().flat_map(|l| &l.items);
    match qualifier {
        Some(qualifier) => items.any(|i| i.wrapped && i.name.as_deref() == Some(qualifier)),
        None => items.any(|i| i.wrapped),
    }
}

/// Whether a name of `levels[place.0]` means another item where the walk is; `Some(true)`: one that has all its columns, so
/// that nothing here can mean the outer one.
pub(in crate::guard::rewrite) fn hidden_by(levels: &[Level<'_>], place: (usize, usize)) -> Option<bool> {
    let outer = levels.get(place.0)?.items.get(place.1)?;
    let inner = levels.iter().skip(place.0 + 1).flat_map(|l| &l.items);
    // A name with its schema reaches past an alias; an alias is hidden by any item of that name.
    let by_schema = outer.schema.is_some();
    let hides = |i: &&Item<'_>| i.name.is_some() && i.name == outer.name && (!by_schema || i.schema == outer.schema);
    let mut hiding = inner.filter(hides).peekable();
    hiding.peek()?;
    Some(hiding.any(|i| match (&i.source, &outer.source) {
        (Source::Relation { relation: a, renamed }, Source::Relation { relation: b, .. }) => {
            a.oid == b.oid && renamed.is_empty()
        }
        (
            Source::Relation { .. } | Source::Query(_) | Source::Other | Source::Hidden,
            Source::Relation { .. } | Source::Query(_) | Source::Other | Source::Hidden,
        ) => false,
    }))
}

/// Whether the innermost item of that name gives only values that may be compared with a column of a table: a subquery
/// that can be fenced, or something that looks at nothing of a tenant's.
pub(in crate::guard::rewrite) fn is_opaque(levels: &[Level<'_>], qualifier: &str) -> bool {
    let found = levels.iter().rev().find_map(|l| l.items.iter().find(|i| i.name.as_deref() == Some(qualifier)));
    found.is_some_and(|item| match item.source {
        Source::Relation { .. } | Source::Hidden => false,
        Source::Query(_) | Source::Other => item.fence != Fence::None || item.looks_at.is_empty(),
    })
}

/// The columns that `*` (or `qualifier.*`) gives at the innermost level, if that is known.
pub(in crate::guard::rewrite) fn star(levels: &[Level<'_>], qualifier: Option<&str>) -> Option<Vec<Output>> {
    let level = levels.last()?;
    match qualifier {
        Some(name) => level.items.iter().find(|i| i.name.as_deref() == Some(name))?.outputs(),
        None if level.merged => None,
        None => level.items.iter().map(Item::outputs).try_fold(Vec::new(), |mut all, outputs| {
            all.extend(outputs?);
            Some(all)
        }),
    }
}
