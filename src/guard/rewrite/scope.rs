//! What a name means at a place in a statement: common table expressions, relations of the query levels around, columns.
//!
//! Where this cannot be told for certain (columns of functions, of `*` over unknown things) it answers with all that it may
//! be; a guard that covers too much costs a little, one that covers too little leaks.

use std::collections::BTreeSet;

use crate::base::Oid;
use crate::catalog::{Column, Generated, RelKind, Relation};
use crate::guard::TenantTable;

/// System columns of tables: they exist beside the declared ones and are lost under a subquery.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"];

/// Whether it is the name of a system column.
pub(super) fn is_system_column(name: &str) -> bool {
    SYSTEM_COLUMNS.contains(&name)
}

/// A column that a query gives, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Output {
    /// Its name; `None` where Postgres makes one up.
    pub(super) name: Option<String>,
    /// It is a column of a table, untouched: its base type.
    pub(super) passed_on: Option<Oid>,
}

/// What a walked query is, seen from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    /// Its columns in order, if their number is known.
    pub(super) outputs: Option<Vec<Output>>,
    /// A tenant relation stands in it.
    pub(super) tenant: bool,
    /// Values of others stand behind it: a tenant relation, or a system relation.
    pub(super) private: bool,
    /// A shared table stands in it.
    pub(super) shared: bool,
    /// What it looks at around it.
    pub(super) looks_at: Refs,
}

impl Shape {
    /// Whether its columns of these names (of any, if there are none) are columns of tables, untouched.
    pub(super) fn passes_on(&self, names: &[String]) -> bool {
        let Some(outputs) = &self.outputs else { return false };
        outputs.iter().all(|output| {
            let compared = match &output.name {
                Some(name) => names.is_empty() || names.contains(name),
                None => true,
            };
            !compared || output.passed_on.is_some()
        })
    }
}

/// The tenant's predicate on an item of FROM.
#[derive(Clone, Debug)]
pub(super) struct Guard<'p> {
    /// What names the item: alias, or schema and table.
    pub(super) prefix: Vec<String>,
    /// The tenant column as it is named there.
    pub(super) column: String,
    /// Whose value it is compared with.
    pub(super) table: &'p TenantTable,
    /// Its rows are read, and neither written nor locked: those of everybody are among them.
    pub(super) reads: bool,
}

impl Guard<'_> {
    /// Whether rows whose tenant column is NULL pass.
    pub(super) fn has_nulls(&self) -> bool {
        self.reads && self.table.null_is_shared && self.table.through.is_none()
    }
}

/// What stands behind an item of FROM.
#[derive(Clone, Debug)]
pub(super) enum Source<'p> {
    /// A relation, kept as it is or wrapped in a subquery with all its columns.
    Relation {
        relation: &'p Relation,
        /// Names given by the alias to the first columns.
        renamed: Vec<String>,
    },
    /// A subquery, or a common table expression.
    Query(Shape),
    /// Anything else: functions, XMLTABLE, joins with an alias, relations that the catalog does not know.
    Other,
    /// Something whose names an alias over a join hides.
    Hidden,
}

/// What to do so that no condition from outside gets into an item before its own predicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fence {
    /// Nothing: it has a guard of its own, or no tenant's rows in it.
    None,
    /// Fence the subquery that is leaf number `.0` of this FROM.
    Leaf(usize),
    /// Fence the common table expression: frame and index.
    Cte(usize, usize),
}

/// Which items of a FROM the locking clauses of its query lock, or of the query around it that it is an item of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Locking {
    /// None.
    #[default]
    None,
    /// Those of these names.
    Of(Vec<String>),
    /// All.
    All,
}

impl Locking {
    /// Whether it locks the item of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Of(names) => names.iter().any(|it| it == name),
            Self::All => true,
        }
    }
}

/// One item of a FROM.
#[derive(Clone, Debug)]
pub(super) struct Item<'p> {
    /// The name by which columns refer to it; `None`: a function or subquery without an alias.
    pub(super) name: Option<String>,
    /// Schema, if `schema.table.column` refers to it.
    pub(super) schema: Option<String>,
    /// Schema by which the client could refer to it before a subquery took its place.
    pub(super) lost_schema: Option<String>,
    /// A subquery that the client did not write has taken the relation's place: its system columns are lost.
    pub(super) wrapped: bool,
    pub(super) source: Source<'p>,
    pub(super) guard: Option<Guard<'p>>,
    /// An outer join may have made up its row.
    pub(super) nullable: bool,
    pub(super) fence: Fence,
    /// It is, or holds, a shared table.
    pub(super) shared: bool,
    /// The server's policies guard it: its guard stands in the CASE around conditions only.
    pub(super) policed: bool,
    /// Values of others stand behind it, which the planner might try a condition on (statistics).
    pub(super) private: bool,
    /// The name of its only column, where it is a function that may give values and no rows: the item's name is such a value then.
    pub(super) value: Option<String>,
    /// What a lateral function or subquery looks at besides: before it, and around it.
    pub(super) looks_at: Refs,
    /// Whether what it looks at is looked at by a condition on it as well, since its query is merged into that around it.
    pub(super) merges: Merges,
}

/// Whether an item of FROM may be merged into the query around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merges {
    Never,
    /// A subquery: unless it is fenced as leaf number `.0` of this FROM.
    Leaf(usize),
    /// A function that the planner replaces by its query.
    Always,
}

/// Whether values of others could be seen through it before they are filtered.
pub(super) fn at_stake(item: &Item<'_>) -> bool {
    item.guard.is_some() || item.fence != Fence::None || item.policed || item.private
}

/// Whether reading the column runs no expression: not in a view, not a virtual generated column.
fn is_stored(relation: &Relation, column: &Column) -> bool {
    relation.kind != RelKind::View && column.generated != Generated::Virtual
}

/// How a column name relates to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    /// An untouched column of a table, of this base type.
    Yes(Oid),
    /// A column with an expression behind it.
    Computed,
    No,
    Perhaps,
}

impl Item<'_> {
    /// An item of which nothing but the name is known.
    pub(super) fn unknown(name: Option<String>) -> Self {
        Item {
            name,
            schema: None,
            lost_schema: None,
            wrapped: false,
            source: Source::Other,
            guard: None,
            nullable: false,
            fence: Fence::None,
            shared: false,
            policed: false,
            private: false,
            value: None,
            looks_at: Refs::default(),
            merges: Merges::Never,
        }
    }

    fn is_of(&self, schema: &str) -> bool {
        [&self.schema, &self.lost_schema].into_iter().any(|s| s.as_deref() == Some(schema))
    }

    fn has(&self, column: &str) -> Has {
        match &self.source {
            Source::Relation { relation, renamed } => {
                let at = renamed.iter().position(|r| r == column);
                let found = match at {
                    Some(at) => relation.columns.get(at),
                    None => relation.columns.iter().skip(renamed.len()).find(|c| c.name == column),
                };
                match found {
                    Some(c) if is_stored(relation, c) => Has::Yes(c.base_type_oid),
                    Some(_) => Has::Computed,
                    None if is_system_column(column) => Has::Perhaps,
                    None => Has::No,
                }
            }
            Source::Query(Shape { outputs: Some(outputs), .. }) => {
                match outputs.iter().find(|o| o.name.as_deref() == Some(column)) {
                    Some(Output { passed_on: Some(oid), .. }) => Has::Yes(*oid),
                    Some(Output { passed_on: None, .. }) => Has::Computed,
                    None if outputs.iter().all(|o| o.name.is_some()) => Has::No,
                    None => Has::Perhaps,
                }
            }
            Source::Query(_) | Source::Other => Has::Perhaps,
            Source::Hidden => Has::No,
        }
    }

    /// Its columns in order, as `*` gives them.
    fn outputs(&self) -> Option<Vec<Output>> {
        match &self.source {
            Source::Relation { relation, renamed } => Some(
                relation
                    .columns
                    .iter()
                    .enumerate()
                    .map(|(i, c)| Output {
                        name: Some(renamed.get(i).unwrap_or(&c.name).clone()),
                        passed_on: is_stored(relation, c).then_some(c.base_type_oid),
                    })
                    .collect(),
            ),
            Source::Query(shape) => shape.outputs.clone(),
            Source::Other => None,
            Source::Hidden => Some(Vec::new()),
        }
    }
}

/// One query level: the FROM of a SELECT, or the target and FROM of a statement that writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Level<'p> {
    pub(super) items: Vec<Item<'p>>,
    /// A NATURAL or USING join: `*` does not give each item's columns one after the other.
    pub(super) merged: bool,
    /// Leaves of FROM seen so far, in the order of the text.
    pub(super) leaves: usize,
    /// Leaves to be fenced.
    pub(super) fenced: BTreeSet<usize>,
    /// The first item that the condition at hand can name: an ON names nothing that stands before its join.
    pub(super) named_from: usize,
    /// WHERE is behind: what is walked now runs on rows that have passed it.
    pub(super) filtered: bool,
}

/// What an expression may look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Refs {
    /// Level and item.
    pub(super) items: BTreeSet<(usize, usize)>,
    /// Levels of which it may look at any item.
    pub(super) levels: BTreeSet<usize>,
}

impl Refs {
    pub(super) fn absorb(&mut self, other: &Refs) {
        self.items.extend(&other.items);
        self.levels.extend(&other.levels);
    }

    /// What is left of it outside of `level`.
    pub(super) fn below(&self, level: usize) -> Refs {
        Refs {
            items: self.items.iter().copied().filter(|(l, _)| *l < level).collect(),
            levels: self.levels.iter().copied().filter(|l| *l < level).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
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
pub(super) struct Meaning {
    pub(super) refs: Refs,
    /// It is for certain an untouched column of a table: its base type.
    pub(super) column: Option<Oid>,
    /// It may be a function in disguise: `x.f` for `f(x)`.
    pub(super) maybe_function: bool,
    /// ... of a value that need not be a row.
    pub(super) of_value: bool,
}

impl Meaning {
    /// `*`: all of the innermost level.
    pub(super) fn of_star(levels: &[Level<'_>]) -> Self {
        let mut meaning = Self::default();
        if let Some(innermost) = levels.len().checked_sub(1) {
            meaning.refs.add_level(levels, innermost);
        }
        meaning
    }
}

/// Resolves `name`, innermost level first.
pub(super) fn bare_name(levels: &[Level<'_>], name: &str) -> Meaning {
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
pub(super) fn qualified_name(
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
pub(super) fn is_row(levels: &[Level<'_>], name: &str) -> bool {
    for level in levels.iter().rev() {
        if level.items.iter().any(|item| item.has(name) != Has::No) {
            return false;
        }
        if let Some(item) = level.items.iter().find(|item| item.name.as_deref() == Some(name)) {
            return item.value.is_none();
        }
    }
    false
}

/// Whether `schema.qualifier` means something that a subquery has replaced, so that only `qualifier` still reaches it.
/// `None`: another item of that name stands in between.
pub(super) fn lost_schema(levels: &[Level<'_>], schema: &str, qualifier: &str) -> Option<bool> {
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
pub(super) fn is_lost(levels: &[Level<'_>], qualifier: Option<&str>) -> bool {
    let mut items = levels.iter().rev().flat_map(|l| &l.items);
    match qualifier {
        Some(qualifier) => items.any(|i| i.wrapped && i.name.as_deref() == Some(qualifier)),
        None => items.any(|i| i.wrapped),
    }
}

/// Whether a name of `levels[place.0]` means another item where the walk is; `Some(true)`: one that has all its columns, so
/// that nothing here can mean the outer one.
pub(super) fn hidden_by(levels: &[Level<'_>], place: (usize, usize)) -> Option<bool> {
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
pub(super) fn is_opaque(levels: &[Level<'_>], qualifier: &str) -> bool {
    let found = levels.iter().rev().find_map(|l| l.items.iter().find(|i| i.name.as_deref() == Some(qualifier)));
    found.is_some_and(|item| match item.source {
        Source::Relation { .. } | Source::Hidden => false,
        Source::Query(_) | Source::Other => item.fence != Fence::None || item.looks_at.is_empty(),
    })
}

/// The columns that `*` (or `qualifier.*`) gives at the innermost level, if that is known.
pub(super) fn star(levels: &[Level<'_>], qualifier: Option<&str>) -> Option<Vec<Output>> {
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

/// One common table expression in scope.
#[derive(Clone, Debug)]
pub(super) struct Cte {
    pub(super) name: String,
    pub(super) shape: Shape,
    /// Referred to from its own body.
    pub(super) recursive: bool,
    /// A condition above it might be pushed into it.
    pub(super) fence: bool,
}

/// The names of one WITH, as far as they are in scope.
#[derive(Clone, Debug, Default)]
pub(super) struct CteFrame {
    pub(super) ctes: Vec<Cte>,
    /// Index of the body being walked.
    pub(super) walking: Option<usize>,
}

/// Frame and index of the common table expression that an unqualified name means.
pub(super) fn find_cte(frames: &[CteFrame], name: &str) -> Option<(usize, usize)> {
    frames.iter().enumerate().rev().find_map(|(f, frame)| {
        let at = frame.ctes.iter().position(|c| c.name == name)?;
        Some((f, at))
    })
}
