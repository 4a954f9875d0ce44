//! What stands in each query of a statement, its own subqueries included: seen in one walk over the whole statement before
//! the rules are asked, so that a query within queries is not walked again at each level around it.

use std::collections::HashMap;
use std::ops::Range;

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, RangeVar, RawStmt};

use super::correlated::{Correlated, Frames, Key, Numbered};
use super::derived::Holds;
use crate::guard::nodes;
use crate::guard::policy::Policy;
use crate::sql::walk::{Part, Walk};

/// All relations and columns that a statement names, in the order of a walk. A query has a range of each.
#[derive(Default)]
pub(super) struct Survey<'v> {
    /// Names of relations without a schema.
    bare: Vec<&'v str>,
    columns: Vec<&'v ColumnRef>,
    /// Relations of tenants.
    tenant: usize,
    /// Those, and the system's.
    private: usize,
    correlated: Correlated<'v>,
    /// By the place of the query's node in memory.
    queries: HashMap<*const NodeEnum, Range<Marks>>,
}

/// How much was seen up to a place.
#[derive(Clone, Copy)]
struct Marks {
    bare: usize,
    columns: usize,
    tenant: usize,
    private: usize,
}

impl<'v> Survey<'v> {
    pub(super) fn of(policy: &Policy, statement: &'v RawStmt) -> Self {
        let mut survey = Self::default();
        let mut frames = Frames::default();
        statement.fields(&mut |part| survey.see(policy, part, &mut frames));
        survey
    }

    fn see<'s>(&mut self, policy: &'s Policy, part: Part<'v>, frames: &mut Frames<'s>) -> bool
    where
        'v: 's,
    {
        super::count_step();
        let start = self.marks();
        let entered = frames.enter(policy, part);
        if let Some(relation) = part.range_var() {
            self.relation(policy, relation);
        }
        if let Part::Node(NodeEnum::ColumnRef(column)) = part {
            if let Some(statement) = frames.meant_by(column) {
                self.correlated.entry(statement).or_default().push((self.columns.len(), column));
            }
            self.columns.push(column);
        }
        part.fields(&mut |inner| self.see(policy, inner, frames));
        if entered {
            frames.leave();
        }
        if let Part::Node(query @ nodes::query!()) = part {
            self.queries.insert(query, start..self.marks());
        }
        false
    }

    /// The text that is sent names relations with their schemas: a bare name is a CTE.
    fn relation(&mut self, policy: &Policy, relation: &'v RangeVar) {
        if relation.schemaname.is_empty() {
            self.bare.push(&relation.relname);
            return;
        }
        let tenant = super::any_tenant_table(policy, relation).is_some();
        let system = matches!(relation.schemaname.as_str(), "pg_catalog" | "information_schema");
        self.tenant += usize::from(tenant);
        self.private += usize::from(tenant || system);
    }

    fn marks(&self) -> Marks {
        Marks { bare: self.bare.len(), columns: self.columns.len(), tenant: self.tenant, private: self.private }
    }

    /// What the relations in a query that are named with their schema hold. What is no query of the statement holds all.
    pub(super) fn holds(&self, query: &NodeEnum) -> Holds {
        match self.queries.get(&std::ptr::from_ref(query)) {
            Some(Range { start, end }) => {
                Holds { tenant: end.tenant > start.tenant, private: end.private > start.private }
            }
            None => Holds::ALL,
        }
    }

    /// The relations in a query that are named without a schema.
    pub(super) fn bare_names(&self, query: &NodeEnum) -> &[&'v str] {
        let query = self.queries.get(&std::ptr::from_ref(query));
        query.and_then(|at| self.bare.get(at.start.bare..at.end.bare)).unwrap_or_default()
    }

    /// Which of the statement's columns, by their number, stand in a query.
    pub(super) fn column_numbers(&self, query: &NodeEnum) -> Range<usize> {
        let query = self.queries.get(&std::ptr::from_ref(query));
        query.map_or(0..usize::MAX, |at| at.start.columns..at.end.columns)
    }

    /// The columns that queries in a statement or query name of it.
    pub(super) fn correlated(&self, statement: Key) -> &[Numbered<'v>] {
        self.correlated.get(&statement).map(Vec::as_slice).unwrap_or_default()
    }

    /// The columns that a query names.
    pub(super) fn columns(&self, query: &NodeEnum) -> &[&'v ColumnRef] {
        let query = self.queries.get(&std::ptr::from_ref(query));
        query.and_then(|at| self.columns.get(at.start.columns..at.end.columns)).unwrap_or_default()
    }
}
