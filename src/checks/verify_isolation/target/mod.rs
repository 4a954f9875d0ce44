//! A tenant table as the attacks see it: what the other tenant has in it, and what tells its rows from the attacker's.

mod apart;

use std::collections::HashSet;

use apart::{copy_text, telling};

use super::VerifyError;
use super::client::{Answer, Session};
use super::corpus::Template;
use super::owner::{Rows, condition};
use super::plant::{PLANTED, Row};
use crate::base::QualifiedName;
use crate::catalog::{Column, Relation};
use crate::config::Tenant;
use crate::guard::TenantTable;
use crate::sql::{quote_identifier, quote_literal, quote_qualified};

/// Rows of the other tenant that attacks and marks are made from.
const SAMPLE: usize = 20;
/// Insufficient privilege.
const DENIED: &str = "42501";
/// Rows of the attacker that are read to know which values are its own as well.
const OWN_SAMPLE: usize = 5_000;

/// One table.
#[derive(Clone, Debug)]
pub struct Target {
    /// Schema and name.
    pub name: QualifiedName,
    /// The attacker's value of the tenant column.
    pub own_key: String,
    /// The other tenant's.
    pub other_key: String,
    /// Rows that the attacker may read.
    pub own_rows: u64,
    /// Rows without a tenant are everybody's.
    pub null_is_shared: bool,
    /// It has no tenant column, but a foreign key by which its rows belong to somebody.
    pub is_through: bool,
    /// Rows of the other tenant.
    pub other_rows: u64,
    /// What places of a template stand for.
    places: Vec<(&'static str, String)>,
    /// The other's row as COPY data.
    copy_row: Option<String>,
    /// SQL that sums up all rows of the other tenant.
    fingerprint: String,
}

/// A table with the tenants whose rows are in it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// As the catalog has it.
    pub relation: &'a Relation,
    /// How it is guarded.
    pub rule: &'a TenantTable,
    /// The attacker.
    pub attacker: &'a Tenant,
    /// The other tenant.
    pub other: &'a Tenant,
    /// The sealed setting.
    pub setting: &'a str,
    /// The other's row that was planted.
    pub planted: Option<&'a Row>,
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
    /// Its row that was planted.
    pub planted: Option<&'a Row>,
}

/// What a look at a table gave.
#[derive(Debug)]
pub struct Examined {
    /// The table.
    pub target: Target,
    /// What the attacker holds in it.
    pub own: Held,
    /// Texts and uuids of the other's rows.
    pub telling: Vec<Vec<String>>,
}

/// Values of the attacker's, and where there are more.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Those that were read.
    pub values: HashSet<String>,
    /// Of a table with more rows than were read: how to ask whether one of them holds a value. It is to stand for NUL, which no
    /// name holds.
    pub further: Vec<String>,
}

impl Held {
    /// Takes what is held elsewhere in.
    pub fn extend(&mut self, other: Self) {
        self.values.extend(other.values);
        self.further.extend(other.further);
    }
}

/// The values that a tenant holds in a table: what it holds itself tells of nobody else.
///
/// # Errors
/// It cannot read its own rows.
pub async fn held(relation: &Relation, filter: Option<&str>, session: &Session) -> Result<Held, VerifyError> {
    let all = select(&all_columns(relation), relation, filter, OWN_SAMPLE);
    let answer = own_answer(session, &relation.name, &all).await?;
    let values: HashSet<String> = answer.rows.iter().flatten().flatten().cloned().collect();
    let further = if answer.rows.len() < OWN_SAMPLE {
        Vec::new()
    } else {
        let texts: Vec<String> =
            relation.columns.iter().map(|it| format!("{}::text", quote_identifier(&it.name))).collect();
        let holds = format!("({}) AND \0 IN ({})", filter.unwrap_or("true"), texts.join(", "));
        vec![select("1", relation, Some(&holds), 1)]
    };
    Ok(Held { values, further })
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
        let Subject { relation, rule, attacker, other: tenant, setting, planted } = subject;
        let name = &relation.name;
        let keyless = |who: &Tenant| VerifyError::Nothing(format!("{} has no key for {name}", who.name));
        let readable = condition(rule, attacker, Rows::Readable).ok_or_else(|| keyless(attacker))?;
        let others = condition(rule, tenant, Rows::Own).ok_or_else(|| keyless(tenant))?;
        let other = own_answer(b, name, &select(&all_columns(relation), relation, Some(&others), SAMPLE)).await?;
        let own = held(relation, Some(&readable), a).await?;
        let own_rows = counted(a, name, &select("count(*)", relation, Some(&readable), 1)).await?;
        let other_rows = counted(b, name, &select("count(*)", relation, Some(&others), 1)).await?;
        let mut places = vec![
            ("{t}", quote_qualified(name)),
            ("{name}", name.name.replace('\'', "''")),
            ("{bare}", quote_identifier(&name.name)),
            ("{schema}", quote_identifier(&name.schema)),
            ("{bname}", quote_literal(tenant.name.as_str())),
            ("{setting}", setting.to_owned()),
        ];
        let mut target = Self {
            name: name.clone(),
            own_key: String::new(),
            other_key: String::new(),
            own_rows,
            null_is_shared: rule.null_is_shared,
            is_through: rule.through.is_some(),
            other_rows,
            places: Vec::new(),
            copy_row: None,
            fingerprint: fingerprint(&quote_qualified(name), &relation.columns, &others),
        };
        let keys = (attacker.keys.get(&rule.key), tenant.keys.get(&rule.key));
        if let (false, (Some(own_key), Some(other_key)), Some(column)) =
            (target.is_through, keys, relation.column(&rule.column))
        {
            // As the column gives it back: of a uuid in small letters.
            let literal = quote_literal(own_key);
            let sql = format!("SELECT CAST({literal} AS {})", column.type_name);
            target.own_key = own_answer(a, name, &sql).await?.value().unwrap_or(own_key).to_owned();
            target.other_key = other_key.to_string();
            places.extend([
                ("{col}", quote_identifier(&rule.column)),
                ("{a}", literal),
                ("{b}", quote_literal(other_key)),
                ("{differs}", if rule.null_is_shared { "<>" } else { "IS DISTINCT FROM" }.to_owned()),
            ]);
        }
        target.places = places;
        let tenant_column = if target.is_through { "" } else { rule.column.as_str() };
        target.tell_apart(relation, tenant_column, &own, &other, planted);
        if target.is_through {
            target.name_the_way(relation, &rule.column, &own, &other, planted);
        } else if let Some(row) = target.copy_row.as_mut() {
            row.push('\t');
            row.push_str(&copy_text(&target.other_key));
        }
        let telling = telling(relation, tenant_column, &other);
        Ok(Examined { target, own, telling })
    }

    /// Reads the other tenant's rows of a table that the attacker has no business with. `own`: the attacker's values.
    ///
    /// # Errors
    /// The other tenant cannot read its own rows.
    pub async fn beyond(foreign: Foreign<'_>, own: &Held, b: &Session) -> Result<Examined, VerifyError> {
        let Foreign { relation, filter, database, role, other_name, setting, planted } = foreign;
        let name = &relation.name;
        let other = own_answer(b, name, &select(&all_columns(relation), relation, filter, SAMPLE)).await?;
        let other_rows = counted(b, name, &select("count(*)", relation, filter, 1)).await?;
        let mut target = Self {
            name: name.clone(),
            own_key: String::new(),
            other_key: String::new(),
            own_rows: 0,
            null_is_shared: false,
            is_through: false,
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
        target.tell_apart(relation, "", own, &other, planted);
        Ok(Examined { target, own: Held::default(), telling: telling(relation, "", &other) })
    }

    /// The statements of an attack on this table; `None` if the table has not what it takes.
    pub fn fill(&self, template: &Template) -> Option<Vec<String>> {
        template.steps.iter().map(|step| self.fill_one(step)).collect()
    }

    fn fill_one(&self, step: &str) -> Option<String> {
        const PLACES: [&str; 23] = [
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
            "{differs}",
            "{fk}",
            "{bfk}",
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

/// What is planted, by this run or by another one at the same time, is left out.
fn fingerprint(table: &str, columns: &[Column], filter: &str) -> String {
    let parts: Vec<String> =
        columns.iter().map(|it| format!("coalesce({}::text, '-')", quote_identifier(&it.name))).collect();
    let row = format!("concat_ws('|', {})", parts.join(", "));
    format!(
        "SELECT count(*), md5(string_agg(md5({row}), '' ORDER BY md5({row}))) FROM {table} WHERE ({filter}) AND {row} !~ '{PLANTED}'"
    )
}

async fn own_answer(session: &Session, table: &QualifiedName, sql: &str) -> Result<Answer, VerifyError> {
    let answer = session.simple(sql).await;
    match &answer.error {
        None => Ok(answer),
        Some(error) => Err(VerifyError::Blind {
            table: table.to_string(),
            error: format!("{} ({})", error.message, error.code),
            denied: error.code == DENIED,
        }),
    }
}

async fn counted(session: &Session, table: &QualifiedName, sql: &str) -> Result<u64, VerifyError> {
    let answer = own_answer(session, table, sql).await?;
    Ok(answer.value().and_then(|it| it.parse().ok()).unwrap_or(0))
}
