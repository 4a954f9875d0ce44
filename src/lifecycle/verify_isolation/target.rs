//! A tenant table as the attacks see it: what the other tenant has in it, and what tells its rows from the attacker's.

use std::collections::HashSet;

use super::VerifyError;
use super::client::{Answer, Session};
use super::corpus::Template;
use crate::catalog::{Column, Generated, Identity, QualifiedName, Relation};
use crate::guard::value::quote_literal;
use crate::ids::Oid;

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

/// An SQL identifier, quoted.
fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Target {
    /// Reads both tenants' rows, each with the tenant's own session.
    ///
    /// # Errors
    /// A tenant cannot read its own rows: nothing could be proven.
    pub async fn examine(subject: Subject<'_>, a: &Session, b: &Session) -> Result<Examined, VerifyError> {
        let Subject { relation, column, own_key, other_key, other_name, setting } = subject;
        let table = format!("{}.{}", ident(&relation.name.schema), ident(&relation.name.name));
        let query = |what: &str, key: &str, limit: usize| {
            format!("SELECT {what} FROM {table} WHERE {} = {} LIMIT {limit}", ident(column), quote_literal(key))
        };
        let list: Vec<String> = relation.columns.iter().map(|it| ident(&it.name)).collect();
        let list = list.join(", ");
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
                ("{col}", ident(column)),
                ("{a}", quote_literal(own_key)),
                ("{b}", quote_literal(other_key)),
                ("{bname}", quote_literal(other_name)),
                ("{setting}", setting.to_owned()),
            ],
            copy_row: None,
            fingerprint: fingerprint(&table, &relation.columns, column, other_key),
        };
        target.tell_apart(&relation.columns, column, &own, &other);
        Ok(Examined { target, own: values(&own), other: values(&other) })
    }

    /// Finds the columns that the templates need.
    fn tell_apart(&mut self, columns: &[Column], tenant_column: &str, own: &Answer, other: &Answer) {
        let held = values(own);
        if let Some((id, value)) =
            first_value(columns, other, |it, value| it.name != tenant_column && !held.contains(value))
        {
            self.places.push(("{id}", ident(&id.name)));
            self.places.push(("{bid}", format!("CAST({} AS {})", quote_literal(value), id.type_name)));
        }
        let telling = |it: &Column, value: &str| {
            TEXTS.contains(&it.base_type_oid)
                && it.name != tenant_column
                && value.len() > 2
                && !held.iter().any(|own| own.contains(value))
        };
        if let Some((text, value)) = first_value(columns, other, telling) {
            let pattern = value.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            self.places.push(("{text}", format!("{}::text", ident(&text.name))));
            self.places.push(("{like}", quote_literal(&format!("%{pattern}%"))));
        }
        let settable =
            |it: &&Column| it.name != tenant_column && it.generated == Generated::No && it.identity != Identity::Always;
        if let Some(last) = columns.iter().rfind(settable) {
            self.places.push(("{set}", ident(&last.name)));
        }
        let Some(row) = other.rows.first() else { return };
        let cells: Vec<(&Column, &Option<String>)> =
            columns.iter().zip(row).filter(|(column, _)| settable(column)).collect();
        if cells.is_empty() {
            return;
        }
        let names: Vec<String> = cells.iter().map(|(column, _)| ident(&column.name)).collect();
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
        self.copy_row = Some(format!("{}\t{}\n", copied.join("\t"), copy_text(&self.other_key)));
    }

    /// The statements of an attack on this table; `None` if the table has not what it takes.
    pub fn fill(&self, template: &Template) -> Option<Vec<String>> {
        template.steps.iter().map(|step| self.fill_one(step)).collect()
    }

    fn fill_one(&self, step: &str) -> Option<String> {
        const PLACES: [&str; 14] = [
            "{bname}",
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

fn fingerprint(table: &str, columns: &[Column], column: &str, key: &str) -> String {
    let parts: Vec<String> = columns.iter().map(|it| format!("coalesce({}::text, '-')", ident(&it.name))).collect();
    format!(
        "SELECT count(*), md5(string_agg(md5(concat_ws('|', {})), '' ORDER BY md5(concat_ws('|', {})))) FROM {table} \
         WHERE {} = {}",
        parts.join(", "),
        parts.join(", "),
        ident(column),
        quote_literal(key)
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

/// A value in COPY's text format.
fn copy_text(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}
