//! Views: which show one tenant's rows, and which nothing but shared ones.

use std::collections::BTreeMap;

use super::facts::is_view;
use super::{Choice, Facts, Guess, Rule, Schema, listed, tables};
use crate::base::QualifiedName;
use crate::catalog::{RelKind, Relation};
use crate::guard::{Policy, tenants_may_call};

/// A guess for every view, materialised view and foreign table; `tables` has those of tables, and `callable` says which functions
/// tenants may call.
pub(super) fn guess(
    schema: &Schema<'_>,
    facts: &Facts,
    choice: &Choice,
    tables: &BTreeMap<QualifiedName, Guess>,
    callable: &Policy,
) -> BTreeMap<QualifiedName, Guess> {
    let views = schema.relations(is_view).into_iter();
    views.map(|view| (view.name.clone(), of(schema, facts, choice, tables, view, callable))).collect()
}

fn of(
    schema: &Schema<'_>,
    facts: &Facts,
    choice: &Choice,
    guesses: &BTreeMap<QualifiedName, Guess>,
    view: &Relation,
    callable: &Policy,
) -> Guess {
    let listable = view.column(&choice.column).map(|_| Rule::Column { column: choice.column.clone(), key: None });
    if view.kind == RelKind::ForeignTable {
        return Guess::open(listable, "a foreign table: what stands behind it cannot be seen from here");
    }
    let reads = schema.catalog.reads.get(&view.oid).map(Vec::as_slice).unwrap_or_default();
    let reads: Vec<&Relation> = reads.iter().filter_map(|oid| schema.by_oid.get(oid).copied()).collect();
    let (mut shared, mut tenants, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for relation in reads {
        let list = match guesses.get(&relation.name) {
            Some(guess) if tables::is_tenants(guess) => &mut tenants,
            Some(Guess { rule: Rule::Shared, .. }) => &mut shared,
            _ => &mut others,
        };
        list.push(relation.name.name.as_str());
    }
    let definition = Definition::new(facts.views.get(&view.oid).map_or("", String::as_str));
    let own = facts.bodies.iter().map(|it| it.name.name.as_str()).find(|it| definition.has(&it.to_lowercase()));
    if let Some(function) = own {
        return Guess::open(listable, format!("a view that calls {function}: does it stay with the row's tenant?"));
    }
    let calls = schema.catalog.calls.get(&view.oid).into_iter().flatten();
    if let Some(function) = calls.into_iter().find(|it| !tenants_may_call(callable, it)) {
        return Guess::open(
            listable,
            format!("a view that calls {function}: what that reads cannot be seen from here"),
        );
    }
    if !others.is_empty() {
        return Guess::open(
            listable,
            format!("a view that reads {}, which nobody has given to tenants", listed(others)),
        );
    }
    match (tenants.as_slice(), listable) {
        ([], _) if shared.is_empty() => {
            Guess::open(Some(Rule::Shared), "a view that reads no table, and calls only what computes")
        }
        ([], _) => Guess::sure(Rule::Shared, format!("a view of nothing but shared tables ({})", listed(shared))),
        (_, None) => Guess::open(
            None,
            format!("a view of {} without {}: add the column to it, and list it", listed(tenants), choice.column),
        ),
        ([table], Some(rule)) => match definition.mixes(&choice.column, shared.len() + 1) {
            None => Guess::sure(rule, format!("a view of {table} that shows its {}", choice.column)),
            Some(what) => Guess::open(
                Some(rule),
                format!("a view of {table} with {what}: does each of its rows come from rows of one tenant?"),
            ),
        },
        (several, Some(rule)) => Guess::open(
            Some(rule),
            format!("a view of {}: do its joins stay within a tenant?", listed(several.iter().copied())),
        ),
    }
}

/// What a view is made of, as the server prints it: its words, and commas.
struct Definition(Vec<String>);

impl Definition {
    fn new(text: &str) -> Self {
        let text = text.replace(',', " , ");
        let split = text.split(|it: char| !(it.is_alphanumeric() || matches!(it, '_' | '$' | ',' | '\'')));
        Self(split.filter(|word| !word.is_empty()).map(str::to_lowercase).collect())
    }

    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|it| it == word)
    }

    /// What may put rows of several tenants into one, so that the tenant column no longer says whose it is.
    /// `relations` is how many different ones it reads.
    fn mixes(&self, column: &str, relations: usize) -> Option<&'static str> {
        let column = column.to_lowercase();
        let words: Vec<&str> = self.0.iter().map(String::as_str).collect();
        for (word, what) in [
            ("over", "a window"),
            ("union", "UNION"),
            ("intersect", "INTERSECT"),
            ("except", "EXCEPT"),
            ("limit", "LIMIT"),
            ("offset", "OFFSET"),
            ("fetch", "FETCH"),
            ("distinct", "DISTINCT"),
            ("with", "WITH"),
            ("lateral", "LATERAL"),
        ] {
            if words.contains(&word) {
                return Some(what);
            }
        }
        if words.iter().filter(|it| **it == "select").count() != 1 {
            return Some("a subquery");
        }
        if words.windows(2).any(|pair| matches!(pair, ["as", name] if *name == column)) {
            return Some("a computed tenant column");
        }
        if self.joined() != relations {
            return Some("one table joined several times");
        }
        let grouped = words.windows(2).position(|pair| pair == ["group", "by"]);
        let groups = grouped.and_then(|at| words.get(at..)).unwrap_or_default();
        (grouped.is_some() && !groups.contains(&column.as_str())).then_some("groups of several tenants")
    }

    /// How many relations FROM has, or more: a literal might hold any word.
    fn joined(&self) -> usize {
        let from = self.0.iter().skip_while(|it| *it != "from");
        let literal = self.0.iter().any(|it| it.contains('\''));
        let ends = |it: &str| !literal && matches!(it, "where" | "group" | "order" | "having");
        1 + from.take_while(|it| !ends(it)).filter(|it| matches!(it.as_str(), "join" | ",")).count()
    }
}

#[cfg(test)]
mod tests {
    use super::Definition;

    #[test]
    fn what_mixes_tenants() {
        for text in [
            " SELECT orders.id, orders.org_id FROM orders WHERE orders.open;",
            " SELECT o.org_id, count(*) AS n FROM orders o GROUP BY o.org_id;",
        ] {
            assert_eq!(Definition::new(text).mixes("org_id", 1), None, "{text}");
        }
        for text in [
            " SELECT o.org_id, count(*) OVER () AS n FROM orders o;",
            " SELECT max(o.org_id) AS org_id, o.status FROM orders o GROUP BY o.status;",
            " SELECT o.org_id FROM orders o UNION SELECT p.org_id FROM orders p;",
            " SELECT o.org_id, ( SELECT count(*) FROM orders) AS n FROM orders o;",
            " SELECT o.org_id, o.id FROM orders o LIMIT 3;",
            " SELECT o.buyer_org AS org_id FROM orders o;",
            " SELECT DISTINCT ON (o.status) o.org_id FROM orders o;",
            " SELECT o.org_id, p.total FROM orders o, orders p;",
            " SELECT o.org_id, p.total FROM (orders o JOIN orders p ON ((p.id < o.id)));",
            " SELECT o.org_id FROM orders o WHERE o.a = ' where ' AND o.b = ANY (ARRAY['x', 'y']);",
            "",
        ] {
            assert!(Definition::new(text).mixes("org_id", 1).is_some(), "{text}");
        }
    }
}
