//! The first configuration for a database: what is guessed of it, why, and what somebody must decide.
//!
//! All decisions are made here of what a catalog and a few [`Facts`] say, without asking the server again. What would open a
//! table to all tenants is guessed only where much speaks for it: a wrong guess of that kind shows one tenant's rows to others.
//! Everything else that is not sure stays refused, with a remark.

mod column;
mod facts;
#[cfg(test)]
mod fixture;
mod functions;
mod names;
mod policies;
mod tables;
mod tenants;
#[cfg(test)]
mod tests;
mod views;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub use column::{Choice, Wanted, choose};
use facts::Body;
pub use facts::{Facts, Owner, read};
pub use tenants::Tenants;

use crate::base::{Access, Oid, QualifiedName};
use crate::catalog::{Catalog, RelKind, Relation};
use crate::guard::Policy;

/// What becomes of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It has the tenant column: nothing need be said of it.
    ByColumn,
    /// `{ column = "id" }`, perhaps with the name of a key.
    Column {
        /// The column that holds the tenant's key.
        column: String,
        /// Which of the tenant's keys.
        key: Option<String>,
    },
    /// The tenants' own table, which says who is one: `{ column = "id", write = false }`, or without `column` where it has the
    /// tenant column.
    Tenants(Option<String>),
    /// `{ through = "order_id" }`
    Through(String),
    /// In `shared_tables`.
    Shared,
    /// `{ access = "write" }`
    Open(Access),
    /// None: it is refused.
    Refused,
}

/// How sure a guess is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// It stands, until somebody knows better.
    Sure,
    /// It stands, and somebody should look at it.
    Look,
    /// It does not stand until somebody says so: what would be written then, if there is one thing that fits.
    Open(Option<Rule>),
}

/// What is guessed of a relation, or of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// What stands now.
    pub rule: Rule,
    /// Why, in words for a remark beside it.
    pub why: String,
    /// How sure it is.
    pub certainty: Certainty,
}

impl Guess {
    fn sure(rule: Rule, why: impl Into<String>) -> Self {
        Self { rule, why: why.into(), certainty: Certainty::Sure }
    }

    fn look(rule: Rule, why: impl Into<String>) -> Self {
        Self { rule, why: why.into(), certainty: Certainty::Look }
    }

    fn open(proposal: Option<Rule>, why: impl Into<String>) -> Self {
        Self { rule: Rule::Refused, why: why.into(), certainty: Certainty::Open(proposal) }
    }

    /// Somebody has answered.
    fn answered(self, yes: bool) -> Self {
        let Certainty::Open(Some(rule)) = self.certainty else { return self };
        let (rule, said) = if yes { (rule, "you said so") } else { (Rule::Refused, "you said no") };
        Self { rule, why: format!("{}; {said}", self.why), certainty: Certainty::Sure }
    }
}

/// Something that cannot be told from the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// What it is about.
    pub name: &'a QualifiedName,
    /// What a yes would write.
    pub rule: &'a Rule,
    /// What speaks for and against it.
    pub why: &'a str,
}

/// A whole first configuration, but for addresses and passwords.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The tenant column, and where it leads.
    pub choice: Choice,
    /// Every relation that statements could name, extensions' and the system's aside.
    pub relations: BTreeMap<QualifiedName, Guess>,
    /// Functions that are worth a word: `Shared` stands for those that tenants may call.
    pub functions: BTreeMap<QualifiedName, Guess>,
    /// Where tenants stand.
    pub tenants: Tenants,
    /// The setting that policies of the app's own tell tenants apart by.
    pub setting: Option<String>,
    /// Remarks for somebody to decide that belong to no relation.
    pub remarks: Vec<String>,
    /// The search path of the shared layout.
    pub search_path: Vec<String>,
}

impl Plan {
    /// How many relations, and functions, have such a rule.
    pub fn count(&self, is: impl Fn(&Guess) -> bool) -> usize {
        self.relations.values().chain(self.functions.values()).filter(|it| is(it)).count()
    }
}

/// Makes the plan. `ask` answers what cannot be decided: nothing, where nobody is there to be asked.
pub fn decide(
    catalog: &Catalog,
    facts: &Facts,
    choice: Choice,
    ask: &mut dyn FnMut(&Question<'_>) -> Option<bool>,
) -> Plan {
    let schema = Schema::new(catalog);
    let mut remarks = Vec::new();
    let mut relations = tables::guess(&schema, facts, &choice);
    answer(&mut relations, ask);
    // Of views it hangs on the answers what they show.
    let callable = Policy { catalog: Arc::new(catalog.clone()), ..Policy::empty() };
    let mut views = views::guess(&schema, facts, &choice, &relations, &callable);
    answer(&mut views, ask);
    relations.extend(views);
    let mut functions = functions::guess(catalog, facts);
    answer(&mut functions, ask);
    let setting = policies::setting(&schema, &relations, &mut remarks);
    unnamed(catalog, &relations, &mut remarks);
    let tenants = tenants::query(&schema, facts, &choice, &relations, setting.as_deref(), &mut remarks);
    Plan { search_path: catalog.search_path.clone(), choice, relations, functions, tenants, setting, remarks }
}

/// Schemas with tables of tenants that names without a schema do not lead to.
fn unnamed(catalog: &Catalog, relations: &BTreeMap<QualifiedName, Guess>, remarks: &mut Vec<String>) {
    let used = relations.iter().filter(|(_, guess)| tables::is_tenants(guess)).map(|(name, _)| name.schema.as_str());
    let unnamed: BTreeSet<&str> = used.filter(|it| !catalog.search_path.iter().any(|path| path == it)).collect();
    if !unnamed.is_empty() {
        let unnamed = listed(unnamed);
        remarks.push(format!("tables in {unnamed} are found by names with their schema only: if the app leaves it out, search_path needs it"));
    }
}

/// Asks what is open.
fn answer(guesses: &mut BTreeMap<QualifiedName, Guess>, ask: &mut dyn FnMut(&Question<'_>) -> Option<bool>) {
    for (name, guess) in guesses {
        let Certainty::Open(Some(rule)) = &guess.certainty else { continue };
        if let Some(yes) = ask(&Question { name, rule, why: &guess.why }) {
            *guess = guess.clone().answered(yes);
        }
    }
}

/// A catalog without what is not the app's.
struct Schema<'c> {
    catalog: &'c Catalog,
    by_oid: HashMap<Oid, &'c Relation>,
}

impl<'c> Schema<'c> {
    fn new(catalog: &'c Catalog) -> Self {
        Self { catalog, by_oid: catalog.relations.values().map(|it| (it.oid, it)).collect() }
    }

    /// Relations of the app, by name.
    fn relations(&self, wanted: impl Fn(RelKind) -> bool) -> Vec<&'c Relation> {
        let is_system = |schema: &str| schema == "information_schema" || schema.starts_with("pg_");
        let all = self.catalog.relations.values();
        let mut found: Vec<_> = all
            .filter(|it| wanted(it.kind) && it.extension.is_none() && !is_system(&it.name.schema))
            .filter(|it| !it.name.name.starts_with("pgwarden_"))
            .collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        found
    }

    /// Tables that stand for themselves: partitions and children are guarded as their parents.
    fn tables(&self) -> Vec<&'c Relation> {
        let mut found = self.relations(RelKind::is_table);
        found.retain(|it| it.parents.is_empty());
        found
    }

    /// A foreign key leads to rows of the table itself, and to none of inheritance children.
    fn has_heirs(&self, table: &Relation) -> bool {
        self.catalog.relations.values().any(|it| !it.is_partition && it.parents.contains(&table.oid))
    }
}

/// A foreign key of one column: that column, where it leads, and the column there.
struct Key<'c> {
    column: &'c str,
    parent: &'c Relation,
    parent_column: &'c str,
}

impl<'c> Schema<'c> {
    fn keys(&self, relation: &'c Relation) -> Vec<Key<'c>> {
        let single = relation.foreign_keys.iter().filter_map(|key| {
            let ([column], [parent_column]) = (key.columns.as_slice(), key.parent_columns.as_slice()) else {
                return None;
            };
            Some(Key { column, parent: self.by_oid.get(&key.parent)?, parent_column })
        });
        single.collect()
    }
}

/// Names in a row, for a remark: not more than a few.
fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.get(..4) {
        Some(first) if names.len() > 5 => format!("{} and {} more", first.join(", "), names.len() - 4),
        _ => names.join(", "),
    }
}
