//! The split guard: the tenant's predicates and the plain conjuncts as they are, all others behind a CASE.
//!
//! Why at run time: the planner orders a scan's conditions by cost, not by place, so that a cheap condition of the client (an
//! error with the value in it is enough) would run on rows of others before the tenant's predicate. A CASE is evaluated in
//! order.
//!
//! Why at plan time: the planner estimates a condition by evaluating its operator on what ANALYZE kept of the column, most
//! common values and histogram bounds (`clause_selectivity` and the estimators that `pg_operator.oprrest` names; statistics
//! objects in `mcv_get_match_bitmap`): values of all tenants, whatever fences and predicates stand between the column and the
//! condition, since a column is followed through subqueries, common table expressions and joins to its table
//! (`examine_variable` in selfuncs.c). It opens AND, OR, NOT and IS TRUE to get there; a CASE it takes as a whole. What
//! else the planner evaluates early holds nothing of others: constant folding, bounds of LIMIT and TABLESAMPLE, partition
//! pruning and index predicates compare constants of the statement with constants of the statement or of the schema; GROUP
//! BY, DISTINCT and set operations only use counts of distinct values; USING and merge or hash joins only compare with `=`
//! and `<` of the columns' types. HAVING is estimated as WHERE is.
//!
//! So no condition that is not plain stands bare where values of others are behind it: it is in a CASE on the tenant's
//! predicate or, where no table with a predicate can be named (a fenced subquery, a common table expression, a join with an
//! alias, a masked system relation), on a subquery, `CASE WHEN (SELECT true) THEN ...`, which is not folded away.

use std::cell::RefCell;
use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, Node};

use super::plain::{Plain, Trials, Verdict, becomes_join, deferred};
use super::scope::{self, Fence, Guard, Item, Merges, Refs, at_stake};
use super::trial::Held;
use super::{Rewriter, tree, unsupported};
use crate::base::Refusal;
use crate::guard::fault::{Fault, planted};

/// Level and item.
type Place = (usize, usize);

/// What a condition that is not plain stands behind.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cover {
    /// Nothing: no values of others are near.
    None,
    /// The predicates of these items.
    Rows(BTreeSet<Place>),
    /// A subquery that the planner does not look into: what the condition looks at is fenced.
    Query,
}

impl<'p> Rewriter<'p> {
    /// `t.tenant_id OPERATOR(pg_catalog.=) $n`, or what [`Rewriter::is_own`] makes of it.
    pub(super) fn predicate(&mut self, guard: &Guard<'p>) -> Result<Node, Refusal> {
        self.is_own(tree::column(&guard.prefix, &guard.column), guard.table, guard.reads)
    }

    /// What holds of every row of the item that the statement may see: its predicate, or that an outer join made the row
    /// up.
    fn row_is_own(&mut self, place: Place) -> Result<Option<Node>, Refusal> {
        let Some(item) = self.item(place) else { return Ok(None) };
        // A row that an outer join made up has NULL in the tenant column too.
        let nullable = item.nullable && !item.guard.as_ref().is_some_and(Guard::has_nulls);
        let Some(guard) = item.guard.clone() else { return Ok(None) };
        let own = self.predicate(&guard)?;
        Ok(if nullable { tree::either(own, tree::row_is_null(&guard.prefix)) } else { Some(own) })
    }

    /// `CASE WHEN <cover> THEN value ELSE otherwise END`
    fn behind(&mut self, cover: &Cover, value: Node, otherwise: Node) -> Result<Node, Refusal> {
        let test = match cover {
            Cover::None => None,
            Cover::Rows(places) => {
                let mut own = Vec::with_capacity(places.len());
                for place in places {
                    own.extend(self.row_is_own(*place)?);
                }
                tree::all_of(own)
            }
            Cover::Query => Some(tree::query_of_true()),
        };
        let left_out = match cover {
            Cover::None => false,
            Cover::Rows(_) => planted(Fault::Case),
            Cover::Query => planted(Fault::CaseOnQuery),
        };
        let Some(test) = test.filter(|_| !left_out) else { return Ok(value) };
        self.note("conditions that are not plain are evaluated on the tenant's own rows only (CASE)");
        self.rewritten = true;
        Ok(tree::case(test, value, otherwise))
    }

    /// Walks and guards the condition of a WHERE or ON at the innermost level; the predicates of the items in `pending` come
    /// first.
    pub(super) fn conditions(
        &mut self,
        condition: Option<Box<Node>>,
        pending: &[usize],
        held: Held,
    ) -> Result<Option<Box<Node>>, Refusal> {
        let stake = self.any_at_stake_around();
        let mut tried = Vec::new();
        let mut parts = Vec::with_capacity(pending.len());
        for item in pending {
            parts.extend(self.own_predicate(*item)?);
        }
        let mut given = Vec::new();
        if let Some(condition) = condition {
            tree::conjuncts(*condition, &mut given);
        }
        let mut guarded: Vec<(Cover, Vec<Node>)> = Vec::new();
        for mut conjunct in given {
            let queries = self.closed.len();
            let refs = self.looking_at(|this| this.expr(&mut conjunct))?;
            let queries = self.closed.len() > queries;
            self.rewritten |= stake && self.judge(true, Trials::Nowhere).spell_out(&mut conjunct);
            let asked = RefCell::default();
            let trials =
                if held == Held::Once && !self.in_exists { Trials::Once(&asked) } else { Trials::Folded(&asked) };
            let cover = match self.judge_in(&conjunct, true, trials) {
                verdict @ (Verdict::Plain | Verdict::Fenced) => {
                    if verdict == Verdict::Fenced {
                        self.looked_at(&refs);
                    }
                    tried.append(&mut asked.take());
                    Cover::None
                }
                Verdict::Guarded => self.cover(&refs)?,
            };
            if cover == Cover::None {
                if !self.defer_queries(&mut conjunct) && queries && self.is_policed() && !becomes_join(&conjunct) {
                    deferred::put_late(&mut conjunct);
                    self.rewritten = true;
                }
                parts.push(conjunct);
                continue;
            }
            match guarded.iter_mut().find(|(c, _)| *c == cover) {
                Some((_, same)) => same.push(conjunct),
                None => guarded.push((cover, vec![conjunct])),
            }
        }
        for (cover, conjuncts) in guarded {
            if let Some(theirs) = tree::all_of(conjuncts) {
                parts.push(self.behind(&cover, theirs, tree::boolean(false))?);
            }
        }
        self.try_ahead(tried, &mut parts);
        Ok(tree::all_of(parts).map(Box::new))
    }

    /// Walks and guards the ON of a FULL JOIN, which Postgres can only run with an equality at the top: an equality that is not
    /// plain keeps its place, and each of its sides is evaluated on the tenant's own rows only.
    pub(super) fn full_join_condition(&mut self, condition: Option<Box<Node>>) -> Result<Option<Box<Node>>, Refusal> {
        let Some(condition) = condition else { return Ok(None) };
        let mut given = Vec::new();
        tree::conjuncts(*condition, &mut given);
        let (mut parts, mut others) = (Vec::new(), Vec::new());
        for mut conjunct in given {
            let Some(NodeEnum::AExpr(equality)) = conjunct.node.as_mut().filter(|it| is_equality(it)) else {
                others.push(conjunct);
                continue;
            };
            let mut sides = Vec::new();
            for side in [&mut equality.lexpr, &mut equality.rexpr].into_iter().flatten() {
                sides.push(self.looking_at(|this| this.expr(side))?);
            }
            let verdict = self.judge_in(&conjunct, true, Trials::Nowhere);
            self.defer_queries(&mut conjunct);
            let Some(NodeEnum::AExpr(equality)) = conjunct.node.as_mut() else { continue };
            for (side, refs) in [&mut equality.lexpr, &mut equality.rexpr].into_iter().flatten().zip(&sides) {
                if verdict == Verdict::Plain {
                    continue;
                }
                let cover = self.cover(refs)?;
                if verdict == Verdict::Guarded {
                    **side = self.behind(&cover, std::mem::take(side), tree::null())?;
                }
            }
            parts.push(conjunct);
        }
        if let Some(others) = tree::all_of(others) {
            parts.extend(self.conditions(Some(Box::new(others)), &[], Held::Folded)?.map(|it| *it));
        }
        Ok(tree::all_of(parts).map(Box::new))
    }

    /// Whether values of others stand behind anything here or around.
    pub(super) fn any_at_stake_around(&self) -> bool {
        self.levels.iter().any(|level| level.items.iter().any(at_stake))
    }

    /// A condition that stays beside the predicates is evaluated behind them. Returns whether it compares with a query.
    fn defer_queries(&mut self, conjunct: &mut Node) -> bool {
        let deferred = self.any_at_stake_around() && !planted(Fault::Defer) && deferred::defer(conjunct);
        if deferred {
            self.note("a query that is compared with a column is evaluated on the tenant's own rows only");
            self.rewritten = true;
        }
        deferred
    }

    /// Whether the server's policies guard a table around here. They are evaluated before what is not leakproof only, and
    /// the value of a query counts as leakproof.
    fn is_policed(&self) -> bool {
        self.levels.iter().any(|level| level.items.iter().any(|item| item.policed))
    }

    /// Walks and guards a HAVING. What holds no aggregate would be moved to WHERE, before the tenant's predicate; an aggregate
    /// that is always true keeps it where it stands.
    pub(super) fn having(&mut self, condition: Option<Box<Node>>) -> Result<Option<Box<Node>>, Refusal> {
        let Some(condition) = condition else { return Ok(None) };
        let mut given = Vec::new();
        tree::conjuncts(*condition, &mut given);
        let (mut parts, mut held) = (Vec::new(), Vec::new());
        let at_stake = !planted(Fault::Having) && self.levels.last().is_some_and(|l| l.items.iter().any(at_stake));
        for mut conjunct in given {
            self.expr(&mut conjunct)?;
            if self.judge_in(&conjunct, false, Trials::Nowhere) == Verdict::Plain || !at_stake {
                parts.push(conjunct);
            } else {
                held.push(conjunct);
            }
        }
        if let Some(held) = tree::all_of(held) {
            let mut count = tree::system_call("count", vec![]);
            count.agg_star = true;
            let count = tree::node(NodeEnum::FuncCall(Box::new(count)));
            let always = tree::system_operator(count, ">=", tree::integer(0));
            parts.push(tree::case(always, held, tree::boolean(false)));
            self.rewritten = true;
        }
        Ok(tree::all_of(parts).map(Box::new))
    }

    /// Runs a walk and tells what it looked at.
    pub(super) fn looking_at(&mut self, walk: impl FnOnce(&mut Self) -> Result<(), Refusal>) -> Result<Refs, Refusal> {
        self.refs.push(Refs::default());
        let outcome = walk(self);
        let refs = self.refs.pop().unwrap_or_default();
        if let Some(outer) = self.refs.last_mut() {
            outer.absorb(&refs);
        }
        outcome.map(|()| refs)
    }

    /// The predicate of an item of the innermost level.
    pub(super) fn own_predicate(&mut self, item: usize) -> Result<Option<Node>, Refusal> {
        let guard = self.levels.last().and_then(|level| level.items.get(item)?.guard.clone());
        guard.map(|guard| self.predicate(&guard)).transpose()
    }

    /// How a condition of the innermost level, which was walked, may stand; with `queries` in it, or without.
    fn judge_in(&self, condition: &Node, queries: bool, trials: Trials<'_>) -> Verdict {
        let casts = self.casts.within(condition);
        Plain { casts: &casts, ..self.judge(queries, trials) }.condition(condition)
    }

    fn judge<'a>(&'a self, queries: bool, trials: Trials<'a>) -> Plain<'a, 'p> {
        Plain {
            policy: self.policy,
            mode: self.mode,
            levels: &self.levels,
            param_types: &self.param_types,
            casts: &self.casts,
            closed: &self.closed,
            queries,
            top: true,
            trials,
        }
    }

    fn item(&self, (level, item): Place) -> Option<&Item<'p>> {
        self.levels.get(level)?.items.get(item)
    }

    /// What a condition must stand behind: the guarded items that it may look at too early, or a query where what it looks
    /// at cannot be guarded by name; that is fenced.
    fn cover(&mut self, refs: &Refs) -> Result<Cover, Refusal> {
        let mut cover = self.looked_at(refs);
        let exposed = !refs.is_empty() && (self.any_private(&cover) || self.is_private_here());
        cover.retain(|place| self.item(*place).is_some_and(|i| i.guard.is_some()));
        self.leave_out_unnamed(&mut cover, refs)?;
        let mut hidden = Vec::new();
        for place in &cover {
            match scope::hidden_by(&self.levels, *place) {
                None => {}
                Some(true) => hidden.push(*place),
                Some(false) => {
                    return Err(unsupported("a subquery with the same alias as a table around it that it looks at")
                        .hint("Give the inner table another alias."));
                }
            }
        }
        hidden.iter().for_each(|place| {
            cover.remove(place);
        });
        Ok(match cover.is_empty() {
            false => Cover::Rows(cover),
            true if exposed => Cover::Query,
            true => Cover::None,
        })
    }

    /// Takes those out of a cover that the condition cannot name: it is the ON of a join behind them, and looks at them through
    /// lateral items of the join. Those are fenced, so that it runs on rows that have passed the predicates.
    fn leave_out_unnamed(&mut self, cover: &mut BTreeSet<Place>, refs: &Refs) -> Result<(), Refusal> {
        let innermost = self.levels.len().saturating_sub(1);
        let first = self.levels.last().map_or(0, |level| level.named_from);
        let unnamed: BTreeSet<Place> = cover.iter().filter(|(l, i)| *l == innermost && *i < first).copied().collect();
        if unnamed.is_empty() {
            return Ok(());
        }
        for place in refs.items.iter().filter(|(l, i)| *l == innermost && *i >= first) {
            let Some(item) = self.item(*place).filter(|item| !item.looks_at.items.is_disjoint(&unnamed)) else {
                continue;
            };
            match item.merges {
                Merges::Never => {}
                Merges::Leaf(leaf) => self.put_up(innermost, Fence::Leaf(leaf)),
                Merges::Always => {
                    return Err(unsupported("a condition of ON over a lateral function written in SQL")
                        .hint("Write the condition in WHERE."));
                }
            }
        }
        cover.retain(|place| !unnamed.contains(place));
        Ok(())
    }

    fn any_private(&self, places: &BTreeSet<Place>) -> bool {
        places.iter().any(|place| self.item(*place).is_some_and(at_stake))
    }

    /// Whether something stands in the innermost FROM whose columns, perhaps unknown, hold values of others.
    fn is_private_here(&self) -> bool {
        self.levels.last().is_some_and(|level| {
            level.items.iter().any(|item| item.private || item.wrapped || item.fence != Fence::None)
        })
    }

    /// The items that a condition may look at before they are filtered; those that can be fenced are.
    fn looked_at(&mut self, refs: &Refs) -> BTreeSet<Place> {
        let innermost = self.levels.len().saturating_sub(1);
        let mut places: BTreeSet<Place> = refs.items.clone();
        let mut whole: BTreeSet<usize> = refs.levels.clone();
        if refs.is_empty() {
            // A constant or volatile condition: how often it runs must not tell how many rows others have.
            whole.insert(innermost);
        }
        for level in whole {
            let count = self.levels.get(level).map_or(0, |l| l.items.len());
            places.extend((0..count).map(|item| (level, item)));
        }
        places.retain(|(level, _)| self.levels.get(*level).is_some_and(|l| !l.filtered));
        let fences: Vec<(usize, Fence)> =
            places.iter().filter_map(|place| Some((place.0, self.item(*place)?.fence))).collect();
        for (level, fence) in fences {
            self.put_up(level, fence);
        }
        places
    }

    /// From here on, what is walked at the innermost level runs on rows that have passed its WHERE.
    pub(super) fn rows_are_filtered(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.filtered = true;
        }
    }

    pub(super) fn put_up(&mut self, level: usize, fence: Fence) {
        match if planted(Fault::Fence) { Fence::None } else { fence } {
            Fence::None => {}
            Fence::Leaf(leaf) => {
                if let Some(level) = self.levels.get_mut(level) {
                    level.fenced.insert(leaf);
                }
            }
            Fence::Cte(frame, index) => {
                if let Some(cte) = self.ctes.get_mut(frame).and_then(|f| f.ctes.get_mut(index)) {
                    cte.fence = true;
                }
            }
        }
    }
}

/// `a = b`, which a FULL JOIN can be run with
fn is_equality(node: &NodeEnum) -> bool {
    let NodeEnum::AExpr(expr) = node else { return false };
    expr.kind() == AExprKind::AexprOp
        && !deferred::is_row_and_query(expr.lexpr.as_deref(), expr.rexpr.as_deref())
        && matches!(expr.name.as_slice(), [name] if tree::as_string(name) == Some("="))
}
