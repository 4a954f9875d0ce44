//! Joins: which side's predicate the ON can hold, and what an alias over a join hides.

use std::ops::Range;

use pg_query::protobuf::{Alias, JoinExpr, JoinType};

use super::Place;
use crate::base::Refusal;
use crate::guard::fault::{Fault, planted};
use crate::guard::rewrite::scope::{Fence, Item, Refs, Source, at_stake};
use crate::guard::rewrite::tree::as_string;
use crate::guard::rewrite::trial::Held;
use crate::guard::rewrite::{Rewriter, unsupported};

impl Rewriter<'_> {
    pub(super) fn join(&mut self, join: &mut JoinExpr, place: Place, pending: &mut Vec<usize>) -> Result<(), Refusal> {
        let kind = join.jointype();
        let JoinExpr { jointype: _, is_natural, larg, rarg, using_clause, join_using_alias, quals, alias, rtindex: _ } =
            join;
        let (Some(left), Some(right)) = (larg.as_deref_mut(), rarg.as_deref_mut()) else {
            return Err(unsupported("this join"));
        };
        let merged = *is_natural || !using_clause.is_empty();
        let inner_place = if alias.is_some() { Place::Fenced } else { place };
        let (left_place, right_place) = match kind {
            JoinType::JoinInner => (inner_place, inner_place),
            JoinType::JoinLeft => (inner_place, inner_place.nullable_side(!merged)),
            JoinType::JoinRight => (inner_place.nullable_side(!merged), inner_place),
            JoinType::JoinFull => (inner_place.both_sides(), inner_place.both_sides()),
            JoinType::Undefined
            | JoinType::JoinSemi
            | JoinType::JoinAnti
            | JoinType::JoinRightSemi
            | JoinType::JoinRightAnti
            | JoinType::JoinUniqueOuter
            | JoinType::JoinUniqueInner => return Err(unsupported("this kind of join")),
        };
        let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
        let start = self.items_here();
        self.item_of_from(left, left_place, &mut of_left)?;
        let middle = self.items_here();
        self.item_of_from(right, right_place, &mut of_right)?;
        let end = self.items_here();
        if merged {
            let names: Vec<String> = using_clause.iter().filter_map(as_string).map(str::to_owned).collect();
            self.merge_columns(start..end, &names)?;
        }
        let mut here: Vec<usize> = match kind {
            JoinType::JoinLeft => std::mem::take(&mut of_right),
            JoinType::JoinRight => std::mem::take(&mut of_left),
            JoinType::JoinInner
            | JoinType::JoinFull
            | JoinType::Undefined
            | JoinType::JoinSemi
            | JoinType::JoinAnti
            | JoinType::JoinRightSemi
            | JoinType::JoinRightAnti
            | JoinType::JoinUniqueOuter
            | JoinType::JoinUniqueInner => Vec::new(),
        };
        if planted(Fault::On) {
            here.clear();
        }
        if quals.is_some() || !here.is_empty() {
            let on = quals.take();
            let around = self.name_from(start);
            *quals = match kind {
                JoinType::JoinFull => self.full_join_condition(on)?,
                JoinType::JoinInner => self.conditions(on, &here, Held::Once)?,
                JoinType::JoinLeft
                | JoinType::JoinRight
                | JoinType::Undefined
                | JoinType::JoinSemi
                | JoinType::JoinAnti
                | JoinType::JoinRightSemi
                | JoinType::JoinRightAnti
                | JoinType::JoinUniqueOuter
                | JoinType::JoinUniqueInner => self.conditions(on, &here, Held::Folded)?,
            };
            self.semi_joins(quals, &here)?;
            self.name_from(around);
        }
        match kind {
            JoinType::JoinLeft => self.made_nullable(middle..end),
            JoinType::JoinRight => self.made_nullable(start..middle),
            JoinType::JoinFull => self.made_nullable(start..end),
            JoinType::JoinInner
            | JoinType::Undefined
            | JoinType::JoinSemi
            | JoinType::JoinAnti
            | JoinType::JoinRightSemi
            | JoinType::JoinRightAnti
            | JoinType::JoinUniqueOuter
            | JoinType::JoinUniqueInner => {}
        }
        pending.append(&mut of_left);
        pending.append(&mut of_right);
        if let Some(alias) = join_using_alias {
            let (looks_at, private) = (self.all_since(start), self.any_at_stake(start));
            self.add(Item { looks_at, private, ..Item::unknown(Some(alias.aliasname.clone())) });
        }
        if let Some(alias) = alias.clone() {
            self.hide(start, &alias);
        }
        Ok(())
    }

    /// USING and NATURAL compare columns without a condition that could be guarded: what is compared must be columns of
    /// tables, or come out of a fence. No `names`: any column may be compared.
    fn merge_columns(&mut self, items: Range<usize>, names: &[String]) -> Result<(), Refusal> {
        let level = self.levels.len().saturating_sub(1);
        for index in items {
            let Some(item) = self.levels.last().and_then(|l| l.items.get(index)) else { continue };
            let untouched = match &item.source {
                Source::Relation { .. } | Source::Hidden => true,
                Source::Query(shape) => shape.passes_on(names),
                Source::Other => false,
            };
            let hidden = |(l, i): &(usize, usize)| {
                let item = self.levels.get(*l).and_then(|l| l.items.get(*i));
                item.is_some_and(|i| matches!(i.source, Source::Hidden))
            };
            let closed = item.looks_at.levels.is_empty() && item.looks_at.items.iter().all(hidden);
            if untouched {
                continue;
            }
            match item.fence {
                Fence::None if closed => {}
                Fence::None => {
                    return Err(unsupported("USING or NATURAL with a lateral subquery or function")
                        .hint("Write the condition in ON."));
                }
                fence => self.put_up(level, fence),
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.merged = true;
        }
        Ok(())
    }

    /// From which item on conditions can name what stands here. Returns where that was before.
    fn name_from(&mut self, first: usize) -> usize {
        self.levels.last_mut().map_or(0, |level| std::mem::replace(&mut level.named_from, first))
    }

    fn items_here(&self) -> usize {
        self.levels.last().map_or(0, |l| l.items.len())
    }

    fn made_nullable(&mut self, items: Range<usize>) {
        let level = self.levels.last_mut();
        let here = level.and_then(|l| l.items.get_mut(items));
        here.into_iter().flatten().for_each(|item| item.nullable = true);
    }

    /// All items of this level from `start` on, and what they look at.
    fn all_since(&self, start: usize) -> Refs {
        let mut refs = Refs::default();
        let level = self.levels.len().saturating_sub(1);
        for (i, item) in self.levels.last().into_iter().flat_map(|l| l.items.iter().enumerate().skip(start)) {
            refs.items.insert((level, i));
            refs.absorb(&item.looks_at);
        }
        refs
    }

    /// An alias over a join hides the names in it. What it hides stands fenced, and loses its guards, which no condition
    /// outside could name.
    fn hide(&mut self, start: usize, alias: &Alias) {
        let (looks_at, private) = (self.all_since(start), self.any_at_stake(start));
        let Some(level) = self.levels.last_mut() else { return };
        level.merged = true;
        for item in level.items.iter_mut().skip(start) {
            item.name = None;
            item.schema = None;
            item.guard = None;
            item.source = Source::Hidden;
        }
        self.add(Item { looks_at, private, ..Item::unknown(Some(alias.aliasname.clone())) });
    }

    /// Whether values of others stand behind an item of this level from `start` on.
    fn any_at_stake(&self, start: usize) -> bool {
        self.levels.last().is_some_and(|level| level.items.iter().skip(start).any(at_stake))
    }
}
