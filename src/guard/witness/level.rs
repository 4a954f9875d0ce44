//! A query level: the items of its FROM (and the target of a statement that writes), as its conditions may name them.

use sqlparser::ast::Ident;

use super::names::name;
use super::{Checker, Rules};
use crate::catalog::Relation;
use crate::guard::policy::TenantTable;

/// What a subquery gives.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    /// Names of its columns, where they can be told.
    pub columns: Option<Vec<String>>,
    /// Rows of a tenant relation are in it, or of a system relation: those have names of others.
    pub tenants: bool,
}

/// A common table expression.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub name: String,
    pub shape: Shape,
}

/// An item of FROM.
#[derive(Clone, Debug)]
pub(super) struct Item<'p> {
    /// By which its columns are named; `None`: by their own names only.
    pub qualifier: Option<String>,
    /// Of a relation without an alias.
    pub schema: Option<String>,
    pub columns: Option<Vec<String>>,
    pub behind: Behind<'p>,
}

/// Whose rows are behind an item.
#[derive(Clone, Copy, Debug)]
pub(super) enum Behind<'p> {
    /// Nobody's: a shared table, a function, values.
    Nobody,
    /// Those of the system catalogs. They stand as they are where they hold nothing of others; what hides rows of them is a query.
    System,
    /// Those of a tenant relation: the predicate must stand at this level.
    Tenant(&'p TenantTable),
    /// Those of a tenant relation that the server's policies guard.
    Policies,
    /// Those of a tenant relation further down.
    Query,
}

impl<'p> Item<'p> {
    /// A relation as it stands there.
    pub fn relation(relation: &Relation, qualifier: String, aliased: bool, behind: Behind<'p>) -> Self {
        Self {
            qualifier: Some(qualifier),
            schema: (!aliased).then(|| relation.name.schema.clone()),
            columns: Some(relation.columns.iter().map(|column| column.name.clone()).collect()),
            behind,
        }
    }

    /// A query, or what else has rows.
    pub fn derived(qualifier: Option<String>, shape: Shape) -> Self {
        let behind = if shape.tenants { Behind::Query } else { Behind::Nobody };
        Self { qualifier, schema: None, columns: shape.columns, behind }
    }

    /// Its first columns go by other names.
    pub fn rename(&mut self, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        match &mut self.columns {
            Some(columns) => {
                let rest = columns.split_off(names.len().min(columns.len()));
                *columns = names.into_iter().chain(rest).collect();
            }
            None => self.columns = None,
        }
    }

    pub fn has_tenants(&self) -> bool {
        match self.behind {
            Behind::Tenant(_) | Behind::Policies | Behind::Query | Behind::System => true,
            Behind::Nobody => false,
        }
    }

    /// A condition over it could tell of the rows of others, where it runs too early.
    fn is_at_stake(&self, rules: Rules) -> bool {
        match self.behind {
            Behind::Tenant(_) => true,
            Behind::Policies => rules.policed,
            Behind::Query => rules.derived,
            Behind::System | Behind::Nobody => false,
        }
    }

    fn has_column(&self, column: &str) -> bool {
        self.columns.as_ref().is_some_and(|columns| columns.iter().any(|c| c == column))
    }

    fn is_called(&self, qualifier: &str) -> bool {
        self.qualifier.as_deref() == Some(qualifier)
    }

    /// Whether a column's path leads to it.
    pub fn owns(&self, path: &[Ident], column: &str) -> bool {
        let is = |ident: &Ident, wanted: Option<&str>| wanted.is_some_and(|wanted| name(ident) == wanted);
        match path {
            [q, c] => is(q, self.qualifier.as_deref()) && is(c, Some(column)),
            [s, q, c] => is(s, self.schema.as_deref()) && is(q, self.qualifier.as_deref()) && is(c, Some(column)),
            _ => false,
        }
    }
}

/// Columns that every table has besides its own.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// The items of a level.
#[derive(Clone, Debug, Default)]
pub(super) struct Level<'p> {
    pub items: Vec<Item<'p>>,
}

impl<'p> Level<'p> {
    pub fn has_tenants(&self) -> bool {
        self.items.iter().any(Item::has_tenants)
    }

    /// Items that a bare name may mean: one with such a column, or the whole row of one of that name.
    fn by_name(&self, bare: &str) -> Vec<&Item<'p>> {
        self.items.iter().filter(|item| item.has_column(bare) || item.is_called(bare)).collect()
    }

    /// Items that a qualified name means.
    fn by_path(&self, path: &[Ident]) -> Vec<&Item<'p>> {
        let called = |item: &&Item<'p>| match path {
            [only] => item.is_called(&name(only)),
            [first, second, ..] => {
                item.is_called(&name(first))
                    || (item.schema.as_deref() == Some(&*name(first)) && item.is_called(&name(second)))
            }
            [] => false,
        };
        self.items.iter().filter(called).collect()
    }

    /// All items at stake.
    pub fn at_stake(&self, rules: Rules) -> Vec<&Item<'p>> {
        self.items.iter().filter(|item| item.is_at_stake(rules)).collect()
    }
}

/// A level around the place of the walk.
#[derive(Debug)]
pub(super) struct Around<'p> {
    pub level: Level<'p>,
    /// What is walked runs on rows that have passed its WHERE.
    pub filtered: bool,
}

/// An item at stake that an expression looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'l, 'p> {
    pub item: &'l Item<'p>,
    /// It is of the condition's own level, and not of one around it.
    pub own: bool,
}

impl<'p> Checker<'p> {
    /// The common table expression that an unqualified name means.
    pub(super) fn cte(&self, wanted: &str) -> Option<&Named> {
        self.ctes.iter().rev().find(|cte| cte.name == wanted)
    }

    /// Walks what can see the items of a level.
    pub(super) fn within(&mut self, level: &mut Level<'p>, filtered: bool, walk: impl FnOnce(&mut Self)) {
        self.around.push(Around { level: std::mem::take(level), filtered });
        walk(self);
        if let Some(around) = self.around.pop() {
            *level = around.level;
        }
    }

    /// Walks what sees no level around it, or of which that cannot be told.
    pub(super) fn apart(&mut self, walk: impl FnOnce(&mut Self)) {
        let around = std::mem::take(&mut self.around);
        walk(self);
        self.around = around;
    }

    /// Items at stake at a level and around it.
    pub(super) fn any_at_stake(&self, level: &Level<'p>) -> bool {
        let around = self.around.iter().filter(|around| !around.filtered).map(|around| &around.level);
        std::iter::once(level).chain(around).any(|level| !level.at_stake(self.rules).is_empty())
    }

    /// Items at stake that a bare name may mean.
    pub(super) fn meant_by_name<'l>(&'l self, bare: &str, level: &'l Level<'p>) -> Vec<Seen<'l, 'p>> {
        let found = self.meant(level, |level| level.by_name(bare));
        if found.is_empty() && SYSTEM_COLUMNS.contains(&bare) {
            let tables = level.items.iter().filter(|item| matches!(item.behind, Behind::Tenant(_)));
            return tables.map(|item| Seen { item, own: true }).collect();
        }
        found
    }

    /// Items at stake that a qualified name means.
    pub(super) fn meant_by_path<'l>(&'l self, path: &[Ident], level: &'l Level<'p>) -> Vec<Seen<'l, 'p>> {
        self.meant(level, |level| level.by_path(path))
    }

    /// The innermost items that a name means.
    fn meant<'l>(&'l self, level: &'l Level<'p>, by: impl Fn(&'l Level<'p>) -> Vec<&'l Item<'p>>) -> Vec<Seen<'l, 'p>> {
        let around = self.around.iter().rev().map(|around| (&around.level, false, around.filtered));
        for (level, own, filtered) in std::iter::once((level, true, false)).chain(around) {
            let found = by(level);
            if !found.is_empty() {
                let at_stake = found.into_iter().filter(|item| !filtered && item.is_at_stake(self.rules));
                return at_stake.map(|item| Seen { item, own }).collect();
            }
            if level.items.iter().any(|item| item.columns.is_none()) {
                // It may be a column of this.
                break;
            }
        }
        Vec::new()
    }
}
