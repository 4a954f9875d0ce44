//! Columns that a query in a condition names of the level around it: a condition whose query looks at a row is one on that row.

use std::collections::HashMap;
use std::ops::Range;

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, RangeVar, SelectStmt};

use super::Verifier;
use super::level::{Items, Test};
use super::tree::{alias_name, column_parts, node, nodes, targets};
use crate::guard::nodes as groups;
use crate::guard::policy::Policy;
use crate::sql::walk::Part;

/// A statement or query, by its place in memory.
pub(super) type Key = *const ();

/// A column, and which one of the statement's columns it is, in the order of the walk.
pub(super) type Numbered<'v> = (usize, &'v ColumnRef);

/// The columns that queries name of what is around them, by that.
pub(super) type Correlated<'v> = HashMap<Key, Vec<Numbered<'v>>>;

/// The key of a statement that has items which columns in it may mean.
pub(super) fn key<T>(statement: &T) -> Key {
    std::ptr::from_ref(statement).cast()
}

/// What columns can mean in a statement or query.
struct Frame<'v> {
    statement: Key,
    /// Names of items.
    qualifiers: Vec<&'v str>,
    /// Names of columns, and of targets, which ORDER BY may mean.
    columns: Vec<&'v str>,
    /// There are items whose columns are not known.
    opaque: bool,
}

impl<'v> Frame<'v> {
    fn of(policy: &'v Policy, part: Part<'v>) -> Option<Self> {
        match part {
            Part::Select(select) => Some(Self::of_select(policy, select)),
            Part::Node(NodeEnum::SelectStmt(select)) => Some(Self::of_select(policy, select)),
            Part::Node(NodeEnum::UpdateStmt(it)) => {
                Some(Self::with(policy, key(&**it), it.relation.as_ref(), nodes(&it.from_clause)))
            }
            Part::Node(NodeEnum::DeleteStmt(it)) => {
                Some(Self::with(policy, key(&**it), it.relation.as_ref(), nodes(&it.using_clause)))
            }
            Part::Node(NodeEnum::MergeStmt(it)) => {
                Some(Self::with(policy, key(&**it), it.relation.as_ref(), node(&it.source_relation)))
            }
            Part::Node(NodeEnum::InsertStmt(it)) => Some(Self::with(policy, key(&**it), it.relation.as_ref(), None)),
            Part::Node(_) | Part::RangeVar(_) => None,
        }
    }

    fn of_select(policy: &'v Policy, select: &'v SelectStmt) -> Self {
        let mut frame = Self::with(policy, key(select), None, nodes(&select.from_clause));
        let names = targets(&select.target_list).map(|target| target.name.as_str());
        frame.columns.extend(names.filter(|name| !name.is_empty()));
        frame
    }

    fn with(
        policy: &'v Policy,
        statement: Key,
        target: Option<&'v RangeVar>,
        items: impl IntoIterator<Item = &'v NodeEnum>,
    ) -> Self {
        let mut frame = Self { statement, qualifiers: Vec::new(), columns: Vec::new(), opaque: false };
        target.into_iter().for_each(|target| frame.relation(policy, target));
        items.into_iter().for_each(|item| frame.item(policy, item));
        frame
    }

    #[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
    fn item(&mut self, policy: &'v Policy, item: &'v NodeEnum) {
        super::count_step();
        match item {
            NodeEnum::RangeVar(relation) => self.relation(policy, relation),
            NodeEnum::JoinExpr(join) => {
                [&join.larg, &join.rarg].into_iter().filter_map(node).for_each(|arm| self.item(policy, arm));
                let aliases = [&join.alias, &join.join_using_alias].into_iter().flatten();
                self.qualifiers.extend(aliases.map(|alias| alias.aliasname.as_str()));
            }
            NodeEnum::RangeTableSample(sample) => {
                node(&sample.relation).into_iter().for_each(|item| self.item(policy, item));
            }
            NodeEnum::RangeSubselect(item) => self.unknown(alias_name(item.alias.as_ref())),
            NodeEnum::RangeFunction(item) => self.unknown(alias_name(item.alias.as_ref())),
            NodeEnum::RangeTableFunc(item) => self.unknown(alias_name(item.alias.as_ref())),
            NodeEnum::JsonTable(item) => self.unknown(alias_name(item.alias.as_ref())),
            // None of these is an item of FROM: the walk over FROM refuses them.
            groups::statement!() | groups::part!() => {}
        }
    }

    fn relation(&mut self, policy: &'v Policy, name: &'v RangeVar) {
        let alias = alias_name(name.alias.as_ref());
        let renamed = name.alias.as_ref().is_some_and(|alias| !alias.colnames.is_empty());
        // A name without a schema is a CTE in the text that is sent.
        let Some(relation) = policy.catalog.relation(&name.schemaname, &name.relname).filter(|_| !renamed) else {
            return self.unknown(if alias.is_empty() { &name.relname } else { alias });
        };
        self.qualifiers.push(if alias.is_empty() { &name.relname } else { alias });
        self.columns.extend(relation.columns.iter().map(|column| column.name.as_str()));
    }

    fn unknown(&mut self, name: &'v str) {
        self.qualifiers.push(name);
        self.opaque = true;
    }
}

/// The statements and queries around a place. A name is looked up at once, however deep the place is.
#[derive(Default)]
pub(super) struct Frames<'v> {
    around: Vec<Frame<'v>>,
    qualifiers: Places<'v>,
    columns: Places<'v>,
    opaque: Vec<usize>,
}

/// Which of the frames know a name, the innermost last.
type Places<'v> = HashMap<&'v str, Vec<usize>>;

impl<'v> Frames<'v> {
    /// Enters a part of a statement, and says whether it is one that columns in it may mean something of.
    pub(super) fn enter(&mut self, policy: &'v Policy, part: Part<'v>) -> bool {
        let Some(frame) = Frame::of(policy, part) else { return false };
        let at = self.around.len();
        frame.qualifiers.iter().for_each(|name| self.qualifiers.entry(name).or_default().push(at));
        frame.columns.iter().for_each(|name| self.columns.entry(name).or_default().push(at));
        self.opaque.extend(frame.opaque.then_some(at));
        self.around.push(frame);
        true
    }

    /// Leaves what was entered last.
    pub(super) fn leave(&mut self) {
        let Some(frame) = self.around.pop() else { return };
        let forget = |places: &mut Places<'v>, names: &[&'v str]| {
            names.iter().filter_map(|name| places.get_mut(*name)?.pop()).for_each(drop);
        };
        forget(&mut self.qualifiers, &frame.qualifiers);
        forget(&mut self.columns, &frame.columns);
        if frame.opaque {
            self.opaque.pop();
        }
    }

    /// The statement or query that a column is of. What a bare name means where there are items whose columns are not
    /// known is taken to be one of theirs.
    pub(super) fn meant_by(&self, column: &ColumnRef) -> Option<Key> {
        super::count_step();
        let last = |places: &Places<'v>, name: &str| places.get(name).and_then(|at| at.last().copied());
        let at = match column_parts(column)?.as_slice() {
            [name] => {
                let known = last(&self.columns, name).max(last(&self.qualifiers, name));
                known.max(self.opaque.last().copied())
            }
            [qualifier, _] | [_, qualifier, _] => last(&self.qualifiers, qualifier),
            // With the name of a database; such a text is not sent.
            [] | [_, _, _, _, ..] => None,
        };
        self.around.get(at?).map(|frame| frame.statement)
    }
}

impl<'v, 'p> Verifier<'v, 'p> {
    /// The columns of a level that the queries in an expression name.
    fn correlated_in<'l>(
        &self,
        value: &NodeEnum,
        level: Items<'l, 'v, 'p>,
    ) -> impl Iterator<Item = &'v ColumnRef> + 'l {
        let mut ranges = Vec::new();
        if !level.correlated.is_empty() {
            self.queries_in(Part::Node(value), &mut ranges);
        }
        ranges.into_iter().flat_map(move |range| {
            let at = |number: usize| level.correlated.partition_point(|(it, _)| *it < number);
            level.correlated.get(at(range.start)..at(range.end)).unwrap_or_default().iter().map(|(_, column)| *column)
        })
    }

    /// Which of the statement's columns stand in the queries of an expression.
    fn queries_in(&self, part: Part<'_>, ranges: &mut Vec<Range<usize>>) {
        super::count_step();
        match part {
            Part::Node(query @ groups::query!()) => ranges.push(self.survey.column_numbers(query)),
            _ => {
                part.fields(&mut |inner| {
                    self.queries_in(inner, ranges);
                    false
                });
            }
        }
    }

    /// Whether the queries in a condition look at tenant relations of its level.
    pub(super) fn queries_look_at(&self, value: &NodeEnum, level: Items<'_, 'v, 'p>) -> bool {
        self.correlated_in(value, level).any(|column| level.holds(column))
    }

    /// Whether the queries in a condition look at what is derived from such.
    pub(super) fn queries_are_near(&self, value: &NodeEnum, level: Items<'_, 'v, 'p>) -> bool {
        self.correlated_in(value, level).any(|column| level.is_derived_column(column))
    }

    /// Whether all that the queries in an expression look at passes a test.
    pub(super) fn queries_are_covered(
        &self,
        value: &NodeEnum,
        level: Items<'_, 'v, 'p>,
        tested: Test<'_, 'v, 'p>,
    ) -> bool {
        self.correlated_in(value, level).all(|column| level.is_column_covered(column, tested))
    }
}
