//! Names of common table expressions, visible as Postgres makes them visible.

use serde_json::Value;

use super::tree::{field, items, node_of, text};
use super::{Outcome, Verifier};

/// The CTE names that an unqualified relation name may mean.
#[derive(Clone, Default)]
pub(super) struct Scope<'v> {
    ctes: Vec<&'v str>,
}

impl<'v> Scope<'v> {
    /// Whether an unqualified name is a CTE here.
    pub fn has(&self, name: &str) -> bool {
        self.ctes.contains(&name)
    }

    fn with(&self, names: impl Iterator<Item = &'v str>) -> Self {
        Self { ctes: self.ctes.iter().copied().chain(names).collect() }
    }
}

impl Verifier<'_> {
    /// Walks the WITH clause of a statement and gives the scope of its body. Without RECURSIVE a CTE sees those before it;
    /// with it, all of them and itself (SELECT, "WITH Clause").
    pub(super) fn with_clause<'v>(&self, statement: &'v Value, scope: &Scope<'v>) -> Result<Scope<'v>, String> {
        let clause = field(statement, "with_clause");
        let ctes: Vec<&Value> = items(clause, "ctes").iter().filter_map(|c| node_of(c, "CommonTableExpr")).collect();
        let names = || ctes.iter().map(|cte| text(cte, "ctename"));
        let body = scope.with(names());
        let recursive = field(clause, "recursive").as_bool().unwrap_or_default();
        for (i, cte) in ctes.iter().enumerate() {
            let visible = if recursive { body.clone() } else { scope.with(names().take(i)) };
            self.walk_fields(cte, &visible, &[])?;
        }
        Ok(body)
    }

    /// Walks all fields of a struct but those named.
    pub(super) fn walk_fields(&self, fields: &Value, scope: &Scope<'_>, but: &[&str]) -> Outcome {
        let Some(fields) = fields.as_object() else { return Ok(()) };
        fields
            .iter()
            .filter(|(name, _)| !but.contains(&name.as_str()))
            .try_for_each(|(_, value)| self.walk(value, scope))
    }
}
