//! What names mean at a place in a statement: common table expressions, visible as Postgres makes them visible, and the
//! items of the query levels around whose rows are not filtered yet.

use serde_json::Value;

use super::derived::{self, Holds};
use super::leak::Level;
use super::tree::{field, items, node_of, text};
use super::{Outcome, Verifier};

/// A common table expression in scope.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cte<'v> {
    pub(super) name: &'v str,
    /// Its query.
    pub(super) query: &'v Value,
    /// What stands behind it.
    pub(super) holds: Holds,
    /// Nothing keeps a condition from being moved into it.
    pub(super) open: bool,
}

/// Names around a place.
#[derive(Clone, Default)]
pub(super) struct Scope<'v, 'p> {
    /// The CTE names that an unqualified relation name may mean, innermost last.
    ctes: Vec<Cte<'v>>,
    /// Levels around in whose WHERE, ON or FROM the place is.
    pub(super) around: Vec<Level<'v, 'p>>,
}

impl<'v, 'p> Scope<'v, 'p> {
    /// Whether an unqualified name is a CTE here.
    pub fn has(&self, name: &str) -> bool {
        self.cte(name).is_some()
    }

    /// The CTE that an unqualified name means here.
    pub fn cte(&self, name: &str) -> Option<&Cte<'v>> {
        self.ctes.iter().rev().find(|cte| cte.name == name)
    }

    /// The scope of what stands in a level's FROM and WHERE.
    pub fn within(&self, level: &Level<'v, 'p>) -> Self {
        let mut inner = self.clone();
        inner.around.push(level.clone());
        inner
    }

    fn with(&self, ctes: &[Cte<'v>]) -> Self {
        let mut more = self.clone();
        more.ctes.extend(ctes);
        more
    }
}

impl<'p> Verifier<'p> {
    /// Walks the WITH clause of a statement and gives the scope of its body. Without RECURSIVE a CTE sees those before it;
    /// with it, all of them and itself (SELECT, "WITH Clause").
    pub(super) fn with_clause<'v>(&self, statement: &'v Value, scope: &Scope<'v, 'p>) -> Result<Scope<'v, 'p>, String> {
        let clause = field(statement, "with_clause");
        let ctes: Vec<&Value> = items(clause, "ctes").iter().filter_map(|c| node_of(c, "CommonTableExpr")).collect();
        let recursive = field(clause, "recursive").as_bool().unwrap_or_default();
        let known = self.ctes(&ctes, recursive, scope);
        let body = scope.with(&known);
        for (i, cte) in ctes.iter().enumerate() {
            let visible = if recursive { body.clone() } else { scope.with(known.get(..i).unwrap_or_default()) };
            self.walk_fields(cte, &visible, &[])?;
        }
        Ok(body)
    }

    /// What stands behind each, those that it refers to included.
    fn ctes<'v>(&self, ctes: &[&'v Value], recursive: bool, scope: &Scope<'v, 'p>) -> Vec<Cte<'v>> {
        let mut known: Vec<Cte<'v>> = Vec::with_capacity(ctes.len());
        for cte in ctes {
            let name = text(cte, "ctename");
            let holds = self.holds(field(cte, "ctequery"), &scope.with(&known));
            known.push(Cte { name, query: field(cte, "ctequery"), holds, open: derived::cte_is_open(cte, recursive) });
        }
        // A recursive WITH may refer forward: until nothing is learnt any more.
        let mut learnt = recursive;
        while learnt {
            let visible = scope.with(&known);
            learnt = false;
            for cte in &mut known {
                let holds = self.holds(cte.query, &visible);
                learnt |= holds != cte.holds;
                cte.holds = holds;
            }
        }
        known
    }

    /// Walks all fields of a struct but those named.
    pub(super) fn walk_fields<'v>(&self, fields: &'v Value, scope: &Scope<'v, 'p>, but: &[&str]) -> Outcome {
        let Some(fields) = fields.as_object() else { return Ok(()) };
        fields
            .iter()
            .filter(|(name, _)| !but.contains(&name.as_str()))
            .try_for_each(|(_, value)| self.walk(value, scope))
    }
}
