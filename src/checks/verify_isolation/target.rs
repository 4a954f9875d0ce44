//! A tenant table as the attacks see it: what the other tenant has in it, and what tells its rows from the attacker's.

use std::collections::HashSet;

use super::VerifyError;
use super::client::{Answer, Session};
use super::corpus::Template;
use crate::base::{Oid, QualifiedName};
use crate::catalog::{Column, Generated, Identity, Relation};
use crate::sql::{quote_identifier, quote_literal, quote_qualified};

/// Rows of the other tenant that attacks and marks are made from.
const SAMPLE: usize = 20;
/// Rows of the attacker that are read to know which values are its own as well.
const OWN_SAMPLE: usize = 10_000;

/// text, varchar, bpchar
const TEXTS: [Oid; 3] = [25, 1043, 1042];

/// One table.
#[derive(Clone, Debug)]
pub struct Target {
    /// Schema and name.
    pub name: QualifiedName,
    /// The attacker's value of the tenant column.
    pub own_key: String,
    /// The other tenant's.
    pub other_key: String,
    /// Rows of the attacker.
    pub own_rows: u64,
    /// Rows of the other tenant.
    pub other_rows: u64,
    /// What places of a template stand for.
    places: Vec<(&'static str, String)>,
    /// The other's row as COPY data.
    copy_row: Option<String>,
    /// SQL that sums up all rows of the other tenant.
    fingerprint: String,
}

/// A table with the tenants' keys in it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// As the catalog has it.
    pub relation: &'a Relation,
    /// The tenant column.
    pub column: &'a str,
    /// The attacker's value.
    pub own_key: &'a str,
    /// The other's value.
    pub other_key: &'a str,
    /// The other's name.
    pub other_name: &'a str,
    /// The sealed setting.
    pub setting: &'a str,
}

/// A table of the other tenant alone, or its rows of one.
#[derive(Clone, Copy, Debug)]
pub struct Foreign<'a> {
    /// As the catalog has it.
    pub relation: &'a Relation,
    /// What picks its rows out, if the table is not all its own.
    pub filter: Option<&'a str>,
    /// Its database.
    pub database: &'a str,
    /// The role that it works as.
    pub role: &'a str,
    /// Its name.
    pub other_name: &'a str,
    /// The sealed setting.
    pub setting: &'a str,
}

/// What a look at a table gave.
#[derive(Debug)]
pub struct Examined {
    /// The table.
    pub target: Target,
    /// Values of the attacker's rows.
    pub own: HashSet<String>,
    /// Values of the other's rows.
    pub other: HashSet<String>,
}

/// The values that a tenant holds in a table, up to a limit: what it holds itself tells of nobody else.
///
/// # Errors
/// It cannot read its own rows.
pub async fn held(
    relation: &Relation,
    filter: Option<&str>,
    session: &Session,
) -> Result<HashSet<String>, VerifyError> {
    let sql = select(&all_columns(relation), relation, filter, OWN_SAMPLE);
    own_answer(session, &relation.name, &sql).await.map(|answer| values(&answer))
}

fn all_columns(relation: &Relation) -> String {
    let list: Vec<String> = relation.columns.iter().map(|it| quote_identifier(&it.name)).collect();
    list.join(", ")
}

fn select(what: &str, relation: &Relation, filter: Option<&str>, limit: usize) -> String {
    format!("SELECT {what} FROM {} WHERE {} LIMIT {limit}", quote_qualified(&relation.name), filter.unwrap_or("true"))
}

impl Target {
    /// Reads both tenants' rows, each with the tenant's own session.
    ///
    /// # Errors
    /// A tenant cannot read its own rows: nothing could be proven.
    pub async fn examine(subject: Subject<'_>, a: &Session, b: &Session) -> Result<Examined, VerifyError> {
        let Subject { relation, column, own_key, other_key, other_name, setting } = subject;
        let table = quote_qualified(&relation.name);
        let filter = |key: &str| format!("{} = {}", quote_identifier(column), quote_literal(key));
        let query = |what: &str, key: &str, limit: usize| select(what, relation, Some(&filter(key)), limit);
        let list = all_columns(relation);
        let other = own_answer(b, &relation.name, &query(&list, other_key, SAMPLE)).await?;
        let own = own_answer(a, &relation.name, &query(&list, own_key, OWN_SAMPLE)).await?;
        let own_rows = counted(a, &relation.name, &query("count(*)", own_key, 1)).await?;
        let other_rows = counted(b, &relation.name, &query("count(*)", other_key, 1)).await?;
        let mut target = Self {
            name: relation.name.clone(),
            own_key: own_key.to_owned(),
            other_key: other_key.to_owned(),
            own_rows,
            other_rows,
            places: vec![
                ("{t}", table.clone()),
                ("{name}", relation.name.name.replace('\'', "''")),
                ("{col}", quote_identifier(column)),
                ("{a}", quote_literal(own_key)),
                ("{b}", quote_literal(other_key)),
                ("{bname}", quote_literal(other_name)),
                ("{setting}", setting.to_owned()),
            ],
            copy_row: None,
            fingerprint: fingerprint(&table, &relation.columns, &filter(other_key)),
        };
        target.tell_apart(&relation.columns, column, &values(&own), &other);
        if let Some(row) = target.copy_row.as_mut() {
            row.push('\t');
            row.push_str(&copy_text(other_key));
        }
        Ok(Examined { target, own: values(&own), other: values(&other) })
    }

    /// Reads the other tenant's rows of a table that the attacker has no business with. `own`: the attacker's values.
    ///
    /// # Errors
    /// The other tenant cannot read its own rows.
    pub async fn beyond(foreign: Foreign<'_>, own: &HashSet<String>, b: &Session) -> Result<Examined, VerifyError> {
        let Foreign { relation, filter, database, role, other_name, setting } = foreign;
        let name = &relation.name;
        let other = own_answer(b, name, &select(&all_columns(relation), relation, filter, SAMPLE)).await?;
        let other_rows = counted(b, name, &select("count(*)", relation, filter, 1)).await?;
        let mut target = Self {
            name: name.clone(),
            own_key: String::new(),
            other_key: String::new(),
            own_rows: 0,
            other_rows,
            places: vec![
                ("{t}", quote_qualified(name)),
                ("{bare}", quote_identifier(&name.name)),
                ("{schema}", quote_identifier(&name.schema)),
                ("{db}", quote_identifier(database)),
                ("{dbname}", database.replace('\'', "''")),
                ("{role}", quote_identifier(role)),
                ("{bname}", quote_literal(other_name)),
                ("{setting}", setting.to_owned()),
            ],
            copy_row: None,
            fingerprint: fingerprint(&quote_qualified(name), &relation.columns, filter.unwrap_or("true")),
        };
        target.tell_apart(&relation.columns, "", own, &other);
        Ok(Examined { target, own: HashSet::new(), other: values(&other) })
    }

    /// Finds the columns that the templates need.
    fn tell_apart(&mut self, columns: &[Column], tenant_column: &str, held: &HashSet<String>, other: &Answer) {
        if let Some((id, value)) =
            first_value(columns, other, |it, value| it.name != tenant_column && !held.contains(value))
        {
            self.places.push(("{id}", quote_identifier(&id.name)));
            self.places.push(("{bid}", format!("CAST({} AS {})", quote_literal(value), id.type_name)));
        }
        let telling = |it: &Column, value: &str| {
            TEXTS.contains(&it.base_type_oid)
                && it.name != tenant_column
                && value.len() > 2
                && !held.iter().any(|own| own.contains(value))
        };
        if let Some((text, value)) = first_value(columns, other, telling) {
            let pattern = escaped(value);
            self.places.push(("{text}", format!("{}::text", quote_identifier(&text.name))));
            self.places.push(("{like}", quote_literal(&format!("%{pattern}%"))));
            let begins: String = value.chars().take(value.chars().count().saturating_sub(1)).collect();
            if !held.iter().any(|own| own.starts_with(&begins)) {
                self.places.push(("{raise}", quote_literal(&format!("{}\\", escaped(&begins)))));
            }
        }
        let settable =
            |it: &&Column| it.name != tenant_column && it.generated == Generated::No && it.identity != Identity::Always;
        if let Some(last) = columns.iter().rfind(settable) {
            self.places.push(("{set}", quote_identifier(&last.name)));
        }
        let Some(row) = other.rows.first() else { return };
        let cells: Vec<(&Column, &Option<String>)> =
            columns.iter().zip(row).filter(|(column, _)| settable(column)).collect();
        if cells.is_empty() {
            return;
        }
        let names: Vec<String> = cells.iter().map(|(column, _)| quote_identifier(&column.name)).collect();
        let literals: Vec<String> = cells
            .iter()
            .map(|(_, value)| value.as_ref().map_or_else(|| "NULL".to_owned(), |it| quote_literal(it)))
            .collect();
        let copied: Vec<String> = cells
            .iter()
            .map(|(_, value)| value.as_ref().map_or_else(|| "\\N".to_owned(), |it| copy_text(it)))
            .collect();
        self.places.push(("{cols}", names.join(", ")));
        self.places.push(("{vals}", literals.join(", ")));
        self.copy_row = Some(copied.join("\t"));
    }

    /// The statements of an attack on this table; `None` if the table has not what it takes.
    pub fn fill(&self, template: &Template) -> Option<Vec<String>> {
        template.steps.iter().map(|step| self.fill_one(step)).collect()
    }

    fn fill_one(&self, step: &str) -> Option<String> {
        const PLACES: [&str; 20] = [
            "{bname}",
            "{bare}",
            "{schema}",
            "{db}",
            "{dbname}",
            "{role}",
            "{t}",
            "{name}",
            "{col}",
            "{a}",
            "{b}",
            "{setting}",
            "{id}",
            "{bid}",
            "{text}",
            "{like}",
            "{raise}",
            "{set}",
            "{cols}",
            "{vals}",
        ];
        let mut filled = String::with_capacity(step.len() * 2);
        let mut rest = step;
        // Values that are put in may hold braces: the text is walked once.
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            filled.push_str(before);
            let place = PLACES.iter().find(|it| from.starts_with(**it))?;
            let (_, value) = self.places.iter().find(|(name, _)| name == place)?;
            filled.push_str(value);
            rest = from.get(place.len()..)?;
        }
        filled.push_str(rest);
        Some(filled)
    }

    /// The other's row as COPY data, if there is one.
    pub fn copy_row(&self) -> Option<&str> {
        self.copy_row.as_deref()
    }

    /// Sums up the other tenant's rows, as the other tenant.
    pub async fn fingerprint(&self, b: &Session) -> Answer {
        b.simple(&self.fingerprint).await
    }
}

/// A row of the other tenant and its value in the first column of which a test holds.
fn first_value<'c, 'a>(
    columns: &'c [Column],
    other: &'a Answer,
    fits: impl Fn(&Column, &str) -> bool,
) -> Option<(&'c Column, &'a str)> {
    let row = other.rows.first()?;
    columns.iter().zip(row).find_map(|(column, value)| {
        let value = value.as_deref()?;
        fits(column, value).then_some((column, value))
    })
}

fn fingerprint(table: &str, columns: &[Column], filter: &str) -> String {
    let parts: Vec<String> =
        columns.iter().map(|it| format!("coalesce({}::text, '-')", quote_identifier(&it.name))).collect();
    format!(
        "SELECT count(*), md5(string_agg(md5(concat_ws('|', {})), '' ORDER BY md5(concat_ws('|', {})))) FROM {table} \
         WHERE {filter}",
        parts.join(", "),
        parts.join(", ")
    )
}

async fn own_answer(session: &Session, table: &QualifiedName, sql: &str) -> Result<Answer, VerifyError> {
    let answer = session.simple(sql).await;
    match &answer.error {
        None => Ok(answer),
        Some(error) => {
            Err(VerifyError::Blind { table: table.to_string(), error: format!("{} ({})", error.message, error.code) })
        }
    }
}

async fn counted(session: &Session, table: &QualifiedName, sql: &str) -> Result<u64, VerifyError> {
    let answer = own_answer(session, table, sql).await?;
    Ok(answer.value().and_then(|it| it.parse().ok()).unwrap_or(0))
}

fn values(answer: &Answer) -> HashSet<String> {
    answer.rows.iter().flatten().flatten().cloned().collect()
}

/// A value as a pattern of LIKE that only it matches.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// A value in COPY's text format.
fn copy_text(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}
