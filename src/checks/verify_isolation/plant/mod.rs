//! Rows of the other tenant with canaries in them. They are committed, so that an attacker who can read more than its own
//! reads them, and deleted again at the end.
//!
//! The other tenant inserts them itself, through the proxy, with the rights that its app has. Before, it does so in a
//! transaction that is rolled back, the DELETE included: a row that could not be taken away again is not planted.

mod facts;
mod nonce;

use std::collections::{HashMap, HashSet};

pub use facts::Facts;
pub use nonce::{Nonce, PLANTED};

use super::client::{Answer, Session};
use crate::base::{Oid, QualifiedName};
use crate::catalog::{Column, Generated, Identity, Relation};
use crate::sql::{quote_identifier, quote_literal, quote_qualified};

/// A table in which a row may be planted.
#[derive(Clone, Debug)]
pub struct Plot<'a> {
    /// As the catalog has it.
    pub relation: &'a Relation,
    /// The tenant column and the other tenant's value, if it has one.
    pub owner: Option<(&'a str, &'a str)>,
    /// The rows of the other tenant.
    pub filter: Option<String>,
    /// The configuration lets tenants insert and delete.
    pub writable: bool,
}

/// A row that was planted.
#[derive(Clone, Debug)]
pub struct Row {
    name: QualifiedName,
    /// Its values, in the order of the table's columns.
    pub values: Vec<Option<String>>,
    by_column: HashMap<String, Option<String>>,
    /// The columns that hold canaries.
    pub canaries: HashSet<String>,
    delete: String,
}

/// All that was planted.
#[derive(Clone, Debug)]
pub struct Planted {
    /// What the canaries have in common.
    pub nonce: Nonce,
    /// Canaries that are numbers.
    pub numbers: HashSet<String>,
    rows: HashMap<Oid, Row>,
    /// In the order in which they came.
    order: Vec<Oid>,
    /// Tables without one, and why.
    pub without: Vec<(QualifiedName, String)>,
}

/// How much of a row is made up: the less, the fewer constraints stand against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    All,
    /// Texts that no CHECK looks at, and keys.
    Texts,
    Keys,
}

impl Planted {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            nonce: Nonce::new(),
            numbers: HashSet::new(),
            rows: HashMap::new(),
            order: Vec::new(),
            without: Vec::new(),
        }
    }

    /// The row of a table.
    pub fn row(&self, table: Oid) -> Option<&Row> {
        self.rows.get(&table)
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Plants a row in a table, if one can be taken away again. Its parents come first.
    pub async fn add(&mut self, plot: &Plot<'_>, facts: &Facts, session: &Session) {
        match self.plant(plot, facts, session).await {
            Ok(row) => {
                self.rows.insert(plot.relation.oid, row);
                self.order.push(plot.relation.oid);
            }
            Err(why) => self.without.push((plot.relation.name.clone(), why)),
        }
    }

    async fn plant(&mut self, plot: &Plot<'_>, facts: &Facts, session: &Session) -> Result<Row, String> {
        if !plot.relation.kind.is_table() {
            return Err("it is no table".to_owned());
        }
        if !plot.writable {
            return Err("tenants may not insert into it and delete from it".to_owned());
        }
        if facts.fires.contains(&plot.relation.oid) {
            return Err("a trigger or rule of it answers to INSERT or DELETE, and what that does would stay".to_owned());
        }
        let list = columns(plot.relation);
        let table = quote_qualified(&plot.relation.name);
        let filter = plot.filter.as_deref().unwrap_or("true");
        let like = session.simple(&format!("SELECT {list} FROM {table} WHERE {filter} LIMIT 1")).await;
        let mut why = String::new();
        for level in [Level::All, Level::Texts, Level::Keys] {
            let Some(draft) = self.draft(plot, facts, like.rows.first(), level) else { continue };
            match draft.carry_out(&list, session).await {
                Ok(row) => {
                    self.numbers.extend(draft.numbers);
                    return Ok(row);
                }
                Err(error) => why = error,
            }
        }
        Err(if why.is_empty() { "it has no column for a canary".to_owned() } else { why })
    }

    /// A row like another, with canaries; `None` if there is no place for any.
    fn draft(&self, plot: &Plot<'_>, facts: &Facts, like: Option<&Vec<Option<String>>>, level: Level) -> Option<Draft> {
        let relation = plot.relation;
        let of = |all: &HashMap<Oid, HashSet<String>>, column: &Column| {
            all.get(&relation.oid).is_some_and(|it| it.contains(&column.name))
        };
        let made_up = |column: &Column| match level {
            Level::All => true,
            Level::Texts => of(&facts.unique, column) || (nonce::is_text(column) && !of(&facts.checked, column)),
            Level::Keys => of(&facts.unique, column),
        };
        let mut draft = Draft::new(relation);
        for (at, column) in relation.columns.iter().enumerate() {
            if column.generated != Generated::No || column.identity == Identity::Always {
                continue;
            }
            let base = like.and_then(|row| row.get(at)).cloned();
            let is_key = relation.foreign_keys.iter().any(|key| key.columns.contains(&column.name));
            // Each canary of a run is another one.
            let number = (self.order.len() + self.without.len()) * 1000 + at;
            let value = match plot.owner {
                Some((owner, key)) if owner == column.name => Some(Some(key.to_owned())),
                _ => match self.of_parent(relation, &column.name) {
                    Some(value) => Some(value),
                    None if is_key || !made_up(column) => base,
                    None => match nonce::canary(column, &self.nonce, number) {
                        Some(canary) => {
                            draft.mark(column, &canary);
                            Some(Some(canary))
                        }
                        None => base,
                    },
                },
            };
            if let Some(value) = value {
                draft.set(column, value);
            }
        }
        (!draft.condition.is_empty()).then_some(draft)
    }

    /// The value of a foreign key's column that leads to a row that was planted.
    fn of_parent(&self, relation: &Relation, column: &str) -> Option<Option<String>> {
        relation.foreign_keys.iter().filter(|key| key.parent != relation.oid).find_map(|key| {
            let at = key.columns.iter().position(|it| it == column)?;
            self.rows.get(&key.parent)?.by_column.get(key.parent_columns.get(at)?).cloned()
        })
    }

    /// Takes all of it away, the children first; the statements that did not, and why.
    pub async fn remove(&self, session: &mut Session) -> Vec<String> {
        let mut left = Vec::new();
        for row in self.order.iter().rev().filter_map(|oid| self.rows.get(oid)) {
            let answer = match session.revive().await {
                Ok(()) => session.simple(&row.delete).await,
                Err(error) => Answer::broken(error),
            };
            let why = match answer.error {
                Some(error) => error.message,
                None if answer.affected == 1 => continue,
                None => format!("{} rows instead of one", answer.affected),
            };
            left.push(format!("{}: the planted row is still there ({why}): {}", row.name, row.delete));
        }
        left
    }
}

/// A row to be inserted.
#[derive(Debug)]
struct Draft {
    name: QualifiedName,
    all: Vec<String>,
    columns: Vec<String>,
    values: Vec<String>,
    /// What tells it from all others.
    condition: Vec<String>,
    canaries: HashSet<String>,
    numbers: HashSet<String>,
}

impl Draft {
    fn new(relation: &Relation) -> Self {
        Self {
            name: relation.name.clone(),
            all: relation.columns.iter().map(|it| it.name.clone()).collect(),
            columns: Vec::new(),
            values: Vec::new(),
            condition: Vec::new(),
            canaries: HashSet::new(),
            numbers: HashSet::new(),
        }
    }

    fn mark(&mut self, column: &Column, canary: &str) {
        self.canaries.insert(column.name.clone());
        if nonce::is_number(column) {
            self.numbers.insert(canary.to_owned());
        }
        if nonce::is_comparable(column) {
            self.condition.push(format!("{} = {}", quote_identifier(&column.name), quote_literal(canary)));
        }
    }

    fn set(&mut self, column: &Column, value: Option<String>) {
        self.columns.push(quote_identifier(&column.name));
        self.values.push(value.map_or_else(|| "NULL".to_owned(), |it| quote_literal(&it)));
    }

    /// Tries it, and does it.
    async fn carry_out(&self, returning: &str, session: &Session) -> Result<Row, String> {
        let table = quote_qualified(&self.name);
        let [columns, values] = [&self.columns, &self.values].map(|it| it.join(", "));
        let insert = format!("INSERT INTO {table} ({columns}) VALUES ({values}) RETURNING {returning}");
        let delete = format!("DELETE FROM {table} WHERE {}", self.condition.join(" AND "));
        session.simple("BEGIN").await;
        let mut tried = session.simple(&insert).await;
        if tried.error.is_none() {
            tried = session.simple(&delete).await;
        }
        session.simple("ROLLBACK").await;
        match tried.error {
            Some(error) => return Err(format!("{} ({})", error.message, error.code)),
            None if tried.affected != 1 => return Err("a row of its own could not be deleted again".to_owned()),
            None => {}
        }
        let answer = session.simple(&insert).await;
        match (answer.error, answer.rows.into_iter().next()) {
            (Some(error), _) => Err(format!("{} ({})", error.message, error.code)),
            (None, None) => Err("no row came back".to_owned()),
            (None, Some(values)) => Ok(Row {
                name: self.name.clone(),
                by_column: self.all.iter().cloned().zip(values.iter().cloned()).collect(),
                values,
                canaries: self.canaries.clone(),
                delete,
            }),
        }
    }
}

/// Parents before the tables whose foreign keys lead to them; what leads in a circle comes last.
pub fn parents_first(plots: &mut Vec<Plot<'_>>) {
    let mut waiting = std::mem::take(plots);
    let mut open: HashSet<Oid> = waiting.iter().map(|it| it.relation.oid).collect();
    loop {
        let leads_to_open = |plot: &Plot<'_>| {
            let mut keys = plot.relation.foreign_keys.iter();
            keys.any(|key| key.parent != plot.relation.oid && open.contains(&key.parent))
        };
        let (later, now): (Vec<_>, Vec<_>) = waiting.into_iter().partition(leads_to_open);
        if now.is_empty() {
            plots.extend(later);
            return;
        }
        for plot in &now {
            open.remove(&plot.relation.oid);
        }
        plots.extend(now);
        waiting = later;
    }
}

fn columns(relation: &Relation) -> String {
    relation.columns.iter().map(|it| quote_identifier(&it.name)).collect::<Vec<_>>().join(", ")
}
