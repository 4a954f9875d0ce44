//! Walks SELECT, VALUES, set operations and WITH.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CommonTableExpr, CteCycleClause, CteMaterialize, CteSearchClause, LimitOption, LockingClause, Node, SelectStmt,
    SetOperation, WithClause,
};

use super::from::Place;
use super::outputs::{self, of_targets};
use super::scope::{Cte, CteFrame, Item, Level, Locking, Merges, Output, Refs, Shape, Source};
use super::tree::{self, as_string};
use super::trial::Held;
use super::{Met, Rewriter, unsupported};
use crate::base::{Refusal, RefusalKind, SqlState};
use crate::guard::fault::{Fault, planted};

impl Rewriter<'_> {
    /// Walks a query or a statement that writes, at the top or anywhere inside.
    pub(super) fn any_query(&mut self, query: &mut Node) -> Result<Shape, Refusal> {
        self.query_locked(query, Locking::None)
    }

    /// The same of an item of a FROM, whose tables are locked with it.
    pub(super) fn query_locked(&mut self, query: &mut Node, locking: Locking) -> Result<Shape, Refusal> {
        let locking = std::mem::replace(&mut self.locking, locking);
        let shape = self.walk_query(query);
        self.locking = locking;
        shape
    }

    fn walk_query(&mut self, query: &mut Node) -> Result<Shape, Refusal> {
        let around = std::mem::take(&mut self.met);
        self.refs.push(Refs::default());
        let outcome = match query.node.as_mut() {
            Some(NodeEnum::SelectStmt(select)) => self.select(select),
            Some(NodeEnum::InsertStmt(insert)) => self.insert(insert),
            Some(NodeEnum::UpdateStmt(update)) => self.update(update),
            Some(NodeEnum::DeleteStmt(delete)) => self.delete(delete),
            Some(NodeEnum::MergeStmt(merge)) => self.merge(merge),
            Some(other) => Err(unsupported(outputs::construct(other))),
            None => Err(unsupported("this query")),
        };
        let looks_at = self.refs.pop().unwrap_or_default().below(self.levels.len());
        if let Some(around) = self.refs.last_mut() {
            around.absorb(&looks_at);
        }
        let Met { tenant, shared, private } = self.met;
        let shape = Shape { outputs: outcome?, tenant, shared, private, looks_at };
        self.met.absorb(around);
        Ok(shape)
    }

    fn select(&mut self, select: &mut SelectStmt) -> Result<Option<Vec<Output>>, Refusal> {
        if select.into_clause.is_some() && self.guarding() {
            return Err(Refusal::new(
                RefusalKind::Statement,
                SqlState::INSUFFICIENT_PRIVILEGE,
                "permission denied to create a table",
            )
            .about("SELECT INTO")
            .hint("SELECT INTO makes a table that would be shared by all tenants."));
        }
        let mut with = select.with_clause.take();
        let depth = self.open_with(with.as_mut())?;
        self.levels.push(Level::default());
        let outcome = self.select_body(select);
        self.levels.pop();
        self.close_with(with.as_mut(), depth);
        select.with_clause = with;
        outcome
    }

    fn select_body(&mut self, select: &mut SelectStmt) -> Result<Option<Vec<Output>>, Refusal> {
        let operation = select.op();
        let SelectStmt {
            distinct_clause,
            into_clause: _,
            target_list,
            from_clause,
            where_clause,
            group_clause,
            group_distinct: _,
            having_clause,
            window_clause,
            values_lists,
            sort_clause,
            limit_offset,
            limit_count,
            limit_option: _,
            locking_clause,
            with_clause: _,
            op: _,
            all: _,
            larg,
            rarg,
        } = select;
        if self.locking != Locking::All && !locking_clause.is_empty() {
            self.locking = locked_by(locking_clause);
        }
        let outputs = match operation {
            SetOperation::SetopUnion | SetOperation::SetopIntersect | SetOperation::SetopExcept => {
                let (Some(left), Some(right)) = (larg.as_deref_mut(), rarg.as_deref_mut()) else {
                    return Err(unsupported("this set operation"));
                };
                let outputs = self.select(left)?;
                self.select(right)?;
                outputs.map(computed)
            }
            SetOperation::SetopNone | SetOperation::Undefined => {
                self.walk_from_and_where(from_clause, where_clause)?;
                self.values(values_lists)?;
                match values_lists.first() {
                    Some(row) => value_columns(row),
                    None => of_targets(&self.levels, target_list),
                }
            }
        };
        self.exprs_but_outputs(distinct_clause, outputs.as_deref())?;
        self.exprs(target_list)?;
        self.exprs_but_outputs(group_clause, outputs.as_deref())?;
        *having_clause = self.having(having_clause.take())?;
        self.exprs(window_clause)?;
        self.exprs_but_outputs(sort_clause, outputs.as_deref())?;
        self.maybe(limit_offset)?;
        self.maybe(limit_count)?;
        self.locks(locking_clause)?;
        self.put_fences(from_clause, 0);
        Ok(outputs)
    }

    fn walk_from_and_where(&mut self, from: &mut [Node], condition: &mut Option<Box<Node>>) -> Result<(), Refusal> {
        let mut pending = Vec::new();
        for item in from {
            self.item_of_from(item, Place::Outside, &mut pending)?;
        }
        if planted(Fault::Where) {
            pending.clear();
        }
        *condition = self.conditions(condition.take(), &pending, Held::Once)?;
        self.semi_joins(condition, &pending)?;
        self.rows_are_filtered();
        Ok(())
    }

    fn values(&mut self, rows: &mut [Node]) -> Result<(), Refusal> {
        self.exprs(rows)
    }

    /// GROUP BY, ORDER BY, DISTINCT ON: a bare name that is an output column's looks at nothing new.
    fn exprs_but_outputs(&mut self, nodes: &mut [Node], outputs: Option<&[Output]>) -> Result<(), Refusal> {
        let is_output = |name: &str| outputs.into_iter().flatten().any(|o| o.name.as_deref() == Some(name));
        for node in nodes {
            if !bare_column(node).is_some_and(is_output) {
                self.expr(node)?;
            }
        }
        Ok(())
    }

    /// FOR UPDATE and its kin. Row locks on shared tables would hold other tenants up: without a list, it is sent as OF the
    /// tenant's tables.
    fn locks(&mut self, clauses: &mut [Node]) -> Result<(), Refusal> {
        for clause in clauses {
            let Some(NodeEnum::LockingClause(LockingClause { locked_rels, strength: _, wait_policy: _ })) =
                clause.node.as_mut()
            else {
                return Err(unsupported("this locking clause"));
            };
            let mut names: Vec<&str> = Vec::with_capacity(locked_rels.len());
            for relation in locked_rels.iter() {
                let Some(NodeEnum::RangeVar(relation)) = relation.node.as_ref() else {
                    return Err(unsupported("this locking clause"));
                };
                names.push(&relation.relname);
            }
            let named = |name: &Option<String>| name.as_deref().is_some_and(|n| names.contains(&n));
            let items = || self.levels.last().into_iter().flat_map(|level| &level.items);
            if !self.guarding() || !items().any(|i| i.shared && (names.is_empty() || named(&i.name))) {
                continue;
            }
            let own = names.is_empty().then(|| own_tables(items())).flatten().ok_or_else(|| {
                Refusal::new(
                    RefusalKind::Relation,
                    SqlState::INSUFFICIENT_PRIVILEGE,
                    "permission denied to lock rows of a shared table",
                )
                .hint("Name the tenant tables to lock: FOR UPDATE OF ...")
            })?;
            *locked_rels = own.iter().map(|name| tree::relation(name)).collect();
            self.rewritten = true;
            self.note("rows of the tenant's tables only are locked, not those of shared ones");
        }
        Ok(())
    }

    /// Puts the names of a WITH in scope, walking its queries. Returns how many WITHs were in scope before.
    pub(super) fn open_with(&mut self, with: Option<&mut WithClause>) -> Result<usize, Refusal> {
        let depth = self.ctes.len();
        let Some(WithClause { ctes, recursive, location: _ }) = with else { return Ok(depth) };
        self.ctes.push(CteFrame::default());
        if *recursive {
            for cte in ctes.iter() {
                let cte = as_cte(cte)?;
                self.name_cte(depth, &cte.ctename, unread());
            }
        }
        for (index, cte) in ctes.iter_mut().enumerate() {
            let Some(NodeEnum::CommonTableExpr(cte)) = cte.node.as_mut() else { return Err(unsupported("this WITH")) };
            let shape = self.cte_body(cte, depth, index)?;
            if *recursive {
                let slot = self.ctes.get_mut(depth).and_then(|f| f.ctes.get_mut(index));
                if let Some(known) = slot {
                    known.shape = shape;
                }
            } else {
                self.name_cte(depth, &cte.ctename, shape);
            }
        }
        Ok(depth)
    }

    fn name_cte(&mut self, frame: usize, name: &str, shape: Shape) {
        if let Some(frame) = self.ctes.get_mut(frame) {
            frame.ctes.push(Cte { name: name.to_owned(), shape, recursive: false, fence: false });
        }
    }

    fn cte_body(&mut self, cte: &mut CommonTableExpr, frame: usize, index: usize) -> Result<Shape, Refusal> {
        let CommonTableExpr {
            ctename: _,
            aliascolnames,
            ctematerialized: _,
            ctequery,
            search_clause,
            cycle_clause,
            location: _,
            cterecursive: _,
            cterefcount: _,
            ctecolnames: _,
            ctecoltypes: _,
            ctecoltypmods: _,
            ctecolcollations: _,
        } = cte;
        self.walking(frame, Some(index));
        let query = ctequery.as_deref_mut().ok_or_else(|| unsupported("this WITH"))?;
        let mut shape = self.any_query(query)?;
        self.walking(frame, None);
        let names: Vec<String> = aliascolnames.iter().filter_map(as_string).map(str::to_owned).collect();
        shape.outputs = outputs::renamed(shape.outputs, &names);
        if let Some(CteSearchClause {
            search_col_list: _,
            search_breadth_first: _,
            search_seq_column: _,
            location: _,
        }) = search_clause
        {
            shape.outputs = None;
        }
        if let Some(cycle) = cycle_clause.as_deref_mut() {
            let CteCycleClause {
                cycle_col_list: _,
                cycle_mark_column: _,
                cycle_mark_value,
                cycle_mark_default,
                cycle_path_column: _,
                location: _,
                cycle_mark_type: _,
                cycle_mark_typmod: _,
                cycle_mark_collation: _,
                cycle_mark_neop: _,
            } = cycle;
            self.maybe(cycle_mark_value)?;
            self.maybe(cycle_mark_default)?;
            shape.outputs = None;
        }
        Ok(shape)
    }

    fn walking(&mut self, frame: usize, index: Option<usize>) {
        if let Some(frame) = self.ctes.get_mut(frame) {
            frame.walking = index;
        }
    }

    /// Takes the names of a WITH out of scope, and fences the queries into which a condition might be pushed.
    pub(super) fn close_with(&mut self, with: Option<&mut WithClause>, depth: usize) {
        let frame = if self.ctes.len() > depth { self.ctes.pop() } else { None };
        let (Some(with), Some(frame)) = (with, frame) else { return };
        for (cte, known) in with.ctes.iter_mut().zip(frame.ctes) {
            let Some(NodeEnum::CommonTableExpr(cte)) = cte.node.as_mut() else { continue };
            // A query that refers to itself is never merged into the one that reads it, nor is a materialised one.
            let open = !known.recursive && cte.ctematerialized() != CteMaterialize::Always;
            if known.fence
                && open
                && let Some(NodeEnum::SelectStmt(query)) = cte.ctequery.as_mut().and_then(|q| q.node.as_mut())
            {
                put_fence(query);
                self.rewritten = true;
            }
        }
    }

    /// Fences the leaves of a FROM that conditions outside might be pushed into; `first` is the number of its first leaf.
    pub(super) fn put_fences(&mut self, from: &mut [Node], first: usize) {
        let Some(level) = self.levels.last() else { return };
        if level.fenced.is_empty() {
            return;
        }
        let fenced = level.fenced.clone();
        let mut leaf = first;
        from.iter_mut().for_each(|item| fence_leaves(item, &fenced, &mut leaf));
        self.rewritten = true;
        self.note("a subquery is fenced (OFFSET 0), since a condition outside of it is not plain");
    }
}

/// What the clauses lock.
fn locked_by(clauses: &[Node]) -> Locking {
    let mut names = Vec::new();
    for clause in clauses {
        let Some(NodeEnum::LockingClause(clause)) = clause.node.as_ref() else { return Locking::All };
        if clause.locked_rels.is_empty() {
            return Locking::All;
        }
        for relation in &clause.locked_rels {
            let Some(NodeEnum::RangeVar(relation)) = relation.node.as_ref() else { return Locking::All };
            names.push(relation.relname.clone());
        }
    }
    Locking::Of(names)
}

/// The names of the items whose rows are the tenant's own; `None` if there are none, or if one of them cannot be told from shared
/// ones.
fn own_tables<'i, 'p: 'i>(items: impl Iterator<Item = &'i Item<'p>>) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for item in items {
        let is_own = match &item.source {
            Source::Relation { .. } => item.guard.is_some() || item.policed || (item.wrapped && item.private),
            // A common table expression cannot be locked.
            Source::Query(shape) => shape.tenant && item.merges != Merges::Never,
            Source::Other => false,
            Source::Hidden => return None,
        };
        if is_own && item.shared {
            return None;
        }
        if is_own {
            names.push(item.name.clone()?);
        }
    }
    (!names.is_empty()).then_some(names)
}

fn fence_leaves(item: &mut Node, fenced: &BTreeSet<usize>, leaf: &mut usize) {
    if let Some(NodeEnum::JoinExpr(join)) = item.node.as_mut() {
        for side in [join.larg.as_deref_mut(), join.rarg.as_deref_mut()].into_iter().flatten() {
            fence_leaves(side, fenced, leaf);
        }
        return;
    }
    if fenced.contains(leaf)
        && let Some(NodeEnum::RangeSubselect(sub)) = item.node.as_mut()
        && let Some(NodeEnum::SelectStmt(query)) = sub.subquery.as_mut().and_then(|q| q.node.as_mut())
    {
        put_fence(query);
    }
    *leaf += 1;
}

/// A LIMIT or OFFSET is a fence: no condition is pushed across it.
fn put_fence(query: &mut SelectStmt) {
    if query.limit_offset.is_none() && query.limit_count.is_none() {
        query.limit_offset = Some(Box::new(tree::integer(0)));
        query.limit_option = LimitOption::Count.into();
    }
}

fn as_cte(node: &Node) -> Result<&CommonTableExpr, Refusal> {
    let Some(NodeEnum::CommonTableExpr(cte)) = node.node.as_ref() else { return Err(unsupported("this WITH")) };
    Ok(cte)
}

/// The name in an item of GROUP BY, ORDER BY or DISTINCT ON that is nothing but a name.
fn bare_column(node: &Node) -> Option<&str> {
    let mut inner = node.node.as_ref()?;
    if let NodeEnum::SortBy(sort) = inner
        && sort.use_op.is_empty()
    {
        inner = sort.node.as_deref()?.node.as_ref()?;
    }
    let NodeEnum::ColumnRef(column) = inner else { return None };
    let [only] = column.fields.as_slice() else { return None };
    as_string(only)
}

/// A query of a recursive WITH that was not walked yet: anything may be in it.
fn unread() -> Shape {
    Shape { outputs: None, tenant: true, shared: true, private: true, looks_at: Refs::default() }
}

fn computed(outputs: Vec<Output>) -> Vec<Output> {
    outputs.into_iter().map(|o| Output { name: o.name, passed_on: None }).collect()
}

/// `column1`, `column2` ..., if they can be counted.
fn value_columns(row: &Node) -> Option<Vec<Output>> {
    let Some(NodeEnum::List(list)) = row.node.as_ref() else { return None };
    if list.items.iter().any(outputs::gives_many) {
        return None;
    }
    Some((1..=list.items.len()).map(|i| Output { name: Some(format!("column{i}")), passed_on: None }).collect())
}
