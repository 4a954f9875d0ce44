//! What names mean at a place in a statement: common table expressions, visible as Postgres makes them visible, and the
//! items of the query levels around whose rows are not filtered yet.

use std::collections::HashMap;

use pg_query::NodeEnum;
use pg_query::protobuf::{CommonTableExpr, Node, WithClause};

use super::Verifier;
use super::derived::Holds;
use super::level::Level;
use super::tree::node;
use crate::sql::walk::kind;

/// A common table expression in scope.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cte<'v> {
    pub(super) name: &'v str,
    /// Its query.
    pub(super) query: Option<&'v NodeEnum>,
    /// What stands behind it.
    pub(super) holds: Holds,
    /// Nothing keeps a condition from being moved into it.
    pub(super) open: bool,
}

/// The common table expressions of one WITH, by name.
pub(super) type Ctes<'v> = HashMap<&'v str, Cte<'v>>;

/// Names around a place: one WITH or one level, and what is around that.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s, 'v, 'p> {
    around: Option<&'s Scope<'s, 'v, 'p>>,
    here: Here<'s, 'v, 'p>,
}

#[derive(Clone, Copy)]
enum Here<'s, 'v, 'p> {
    /// The statement as a whole.
    Statement,
    /// Where these may be meant by unqualified names of relations.
    With(&'s Ctes<'v>),
    /// In a level's WHERE, ON or FROM.
    Level(&'s Level<'v, 'p>),
    /// In an EXISTS, whose WHERE may become the condition of a join.
    Exists,
}

impl<'v, 'p> Scope<'_, 'v, 'p> {
    /// Where no names are known.
    pub fn outermost() -> Self {
        Self { around: None, here: Here::Statement }
    }

    /// The scope of what sees a WITH.
    pub fn with<'s>(&'s self, ctes: &'s Ctes<'v>) -> Scope<'s, 'v, 'p> {
        if ctes.is_empty() { *self } else { Scope { around: Some(self), here: Here::With(ctes) } }
    }

    /// The scope of what stands in a level's FROM and WHERE.
    pub fn within<'s>(&'s self, level: &'s Level<'v, 'p>) -> Scope<'s, 'v, 'p> {
        Scope { around: Some(self), here: Here::Level(level) }
    }

    /// The scope of what stands in an EXISTS.
    pub fn exists<'s>(&'s self) -> Scope<'s, 'v, 'p> {
        Scope { around: Some(self), here: Here::Exists }
    }

    /// Whether the place is in an EXISTS.
    pub fn in_exists(&self) -> bool {
        self.frames().any(|here| matches!(here, Here::Exists))
    }

    fn frames(&self) -> impl Iterator<Item = &Here<'_, 'v, 'p>> {
        std::iter::successors(Some(self), |scope| scope.around).map(|scope| &scope.here)
    }

    fn withs(&self) -> impl Iterator<Item = &Ctes<'v>> {
        self.frames().filter_map(|here| match here {
            Here::With(ctes) => Some(*ctes),
            Here::Level(_) | Here::Exists | Here::Statement => None,
        })
    }

    /// Levels around in whose WHERE, ON or FROM the place is.
    pub fn levels(&self) -> impl Iterator<Item = &Level<'v, 'p>> {
        self.frames().filter_map(|here| match here {
            Here::Level(level) => Some(*level),
            Here::With(_) | Here::Exists | Here::Statement => None,
        })
    }

    /// Whether an unqualified name is a CTE here.
    pub fn has(&self, name: &str) -> bool {
        self.cte(name).is_some()
    }

    /// The CTE that an unqualified name means here.
    pub fn cte(&self, name: &str) -> Option<&Cte<'v>> {
        self.withs().find_map(|ctes| {
            super::count_step();
            ctes.get(name)
        })
    }
}

impl<'v, 'p> Verifier<'v, 'p> {
    /// Walks a WITH clause and gives what the statement's body sees. Without RECURSIVE a CTE sees those before it; with it,
    /// all of them and itself (SELECT, "WITH Clause").
    pub(super) fn with_clause(
        &self,
        clause: Option<&'v WithClause>,
        scope: &Scope<'_, 'v, 'p>,
    ) -> Result<Ctes<'v>, String> {
        let mut ctes = Ctes::new();
        let Some(WithClause { ctes: list, recursive, location: _ }) = clause else { return Ok(ctes) };
        let list: Vec<&CommonTableExpr> = list.iter().map(cte_of).collect::<Result<_, _>>()?;
        if *recursive {
            ctes = self.recursive(&list, scope);
            let visible = scope.with(&ctes);
            list.iter().try_for_each(|cte| self.walk(*cte, &visible))?;
            return Ok(ctes);
        }
        for cte in list {
            let visible = scope.with(&ctes);
            let query = node(&cte.ctequery);
            let holds = query.map(|query| self.holds(query, &visible)).unwrap_or_default();
            self.walk(cte, &visible)?;
            let open = self.cte_is_open(cte, false);
            ctes.insert(&cte.ctename, Cte { name: &cte.ctename, query, holds, open });
        }
        Ok(ctes)
    }

    /// What stands behind each of a WITH RECURSIVE, those that it refers to, itself and later ones, included.
    fn recursive(&self, list: &[&'v CommonTableExpr], scope: &Scope<'_, 'v, 'p>) -> Ctes<'v> {
        let position: HashMap<&str, usize> =
            list.iter().enumerate().map(|(i, cte)| (cte.ctename.as_str(), i)).collect();
        let mut holds = vec![Holds::default(); list.len()];
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); list.len()];
        for (i, (cte, own)) in list.iter().zip(&mut holds).enumerate() {
            let Some(query) = node(&cte.ctequery) else { continue };
            *own = self.survey.holds(query);
            for name in self.survey.bare_names(query) {
                super::count_step();
                if *own == Holds::ALL {
                    break;
                }
                let sibling = position.get(name).copied();
                if let Some(used_by) = sibling.and_then(|j| users.get_mut(j)) {
                    used_by.push(i);
                }
                // A name that only this or a later one takes from what is around counts as both.
                if sibling.is_none_or(|j| j >= i) {
                    *own = own.or(scope.cte(name).map(|cte| cte.holds).unwrap_or_default());
                }
            }
        }
        spread(&mut holds, &users);
        let ctes = list.iter().zip(holds).map(|(cte, holds)| {
            let name = cte.ctename.as_str();
            (name, Cte { name, query: node(&cte.ctequery), holds, open: self.cte_is_open(cte, true) })
        });
        ctes.collect()
    }

    /// What stands in a query, its own subqueries included.
    pub(super) fn holds(&self, query: &NodeEnum, scope: &Scope<'_, 'v, 'p>) -> Holds {
        let mut all = self.survey.holds(query);
        for name in self.survey.bare_names(query) {
            super::count_step();
            if all == Holds::ALL {
                break;
            }
            all = all.or(scope.cte(name).map(|cte| cte.holds).unwrap_or_default());
        }
        all
    }
}

fn cte_of(node: &Node) -> Result<&CommonTableExpr, String> {
    match node.node.as_ref() {
        Some(NodeEnum::CommonTableExpr(cte)) => Ok(cte),
        other => Err(format!("{} is no common table expression", other.map_or("nothing", kind))),
    }
}

/// What one holds, those hold that use it.
fn spread(holds: &mut [Holds], users: &[Vec<usize>]) {
    let mut learnt: Vec<usize> = (0..holds.len()).collect();
    while let Some(j) = learnt.pop() {
        let (Some(of_it), Some(used_by)) = (holds.get(j).copied(), users.get(j)) else { continue };
        for &i in used_by {
            super::count_step();
            if let Some(user) = holds.get_mut(i).filter(|user| user.or(of_it) != **user) {
                *user = user.or(of_it);
                learnt.push(i);
            }
        }
    }
}
