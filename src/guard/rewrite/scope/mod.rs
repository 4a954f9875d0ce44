//! What a name means at a place in a statement: common table expressions, relations of the query levels around, columns.
//!
//! Where this cannot be told for certain (columns of functions, of `*` over unknown things) it answers with all that it may
//! be; a guard that covers too much costs a little, one that covers too little leaks.

mod names;

use std::collections::BTreeSet;

use crate::base::{Oid, QualifiedName};
use crate::catalog::{Column, Generated, RelKind, Relation};
use crate::guard::TenantTable;

pub(super) use self::names::{
    Meaning, Refs, bare_name, hidden_by, is_lost, is_opaque, is_row, item_named, lost_schema, qualified_name, star,
};

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
    /// It is the query of this view: its row is of the view's type.
    pub(super) view: Option<&'p QualifiedName>,
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
            view: None,
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
