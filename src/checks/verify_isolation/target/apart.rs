//! What tells the other tenant's rows from the attacker's, and a row to write once more.

use super::{Held, Target};
use crate::base::Oid;
use crate::catalog::{Column, Generated, Identity, Relation};
use crate::checks::verify_isolation::client::Answer;
use crate::checks::verify_isolation::plant::Row;
use crate::sql::{quote_identifier, quote_literal};

/// text, varchar, bpchar
const TEXTS: [Oid; 3] = [25, 1043, 1042];
const UUID: Oid = 2950;
/// json, xml, point, box, path, polygon
const NOT_COMPARED: [Oid; 6] = [114, 142, 600, 603, 602, 604];

impl Target {
    /// The foreign key by which its rows belong to somebody.
    pub(super) fn name_the_way(
        &mut self,
        relation: &Relation,
        key: &str,
        own: &Held,
        other: &Answer,
        planted: Option<&Row>,
    ) {
        let Some((at, column)) = relation.columns.iter().enumerate().find(|(_, it)| it.name == key) else { return };
        let first = planted.map(|row| &row.values).or_else(|| other.rows.first());
        let value = first.and_then(|row| row.get(at)?.as_deref());
        // Nothing else tells the two apart.
        let Some(value) = value.filter(|it| planted.is_some() || !own.values.contains(*it)) else { return };
        self.places.push(("{fk}", quote_identifier(key)));
        self.places.push(("{bfk}", format!("CAST({} AS {})", quote_literal(value), column.type_name)));
    }

    /// Finds the columns that the templates need. What was planted is the other tenant's for certain; of its own rows, what the
    /// attacker does not hold.
    pub(super) fn tell_apart(
        &mut self,
        relation: &Relation,
        tenant_column: &str,
        own: &Held,
        other: &Answer,
        planted: Option<&Row>,
    ) {
        let columns = &relation.columns;
        let is_telling = |it: &Column| it.name != tenant_column;
        let all_is_known = own.further.is_empty();
        let canary = |it: &Column| {
            let row = planted.filter(|row| row.canaries.contains(&it.name))?;
            row.values.get(columns.iter().position(|other| other.name == it.name)?)?.as_deref()
        };
        let is_key = |it: &Column| relation.unique_keys.iter().any(|key| key.as_slice() == [it.name.as_str()]);
        let known = |it: &Column| Some((it.clone(), canary(it).filter(|_| comparable(it))?.to_owned()));
        let of_rows = || {
            let apart = |it: &Column, value: &str| is_telling(it) && !own.values.contains(value) && comparable(it);
            first_value(columns, other, apart).filter(|_| all_is_known)
        };
        let id = columns.iter().filter(|it| is_key(it)).find_map(known).or_else(|| columns.iter().find_map(known));
        let id = id.or_else(|| of_rows().map(|(column, value)| (column.clone(), value.to_owned())));
        if let Some((id, value)) = id {
            self.places.push(("{id}", quote_identifier(&id.name)));
            self.places.push(("{bid}", format!("CAST({} AS {})", quote_literal(&value), id.type_name)));
        }
        let real = |it: &Column| {
            let apart = |column: &Column, value: &str| {
                column.name == it.name && value.len() > 2 && !own.values.iter().any(|held| held.contains(value))
            };
            first_value(columns, other, apart).filter(|_| all_is_known).map(|(_, value)| value)
        };
        let texts = || columns.iter().filter(|it| TEXTS.contains(&it.base_type_oid) && is_telling(it));
        let text = texts().find(|it| canary(it).is_some()).or_else(|| texts().find(|it| real(it).is_some()));
        if let Some((text, value)) = text.and_then(|it| Some((it, canary(it).or_else(|| real(it))?))) {
            self.places.push(("{text}", format!("{}::text", quote_identifier(&text.name))));
            self.places.push(("{like}", quote_literal(&format!("%{}%", escaped(value)))));
            // What was there before is in the statistics; what was planted is not.
            let value = real(text).unwrap_or(value);
            let begins: String = value.chars().take(value.chars().count().saturating_sub(1)).collect();
            if !own.values.iter().any(|held| held.starts_with(&begins)) {
                self.places.push(("{raise}", quote_literal(&format!("{}\\", escaped(&begins)))));
            }
        }
        self.copy(columns, tenant_column, planted.map(|row| &row.values).or_else(|| other.rows.first()));
    }

    /// A row to be written once more.
    fn copy(&mut self, columns: &[Column], tenant_column: &str, row: Option<&Vec<Option<String>>>) {
        let settable =
            |it: &&Column| it.name != tenant_column && it.generated == Generated::No && it.identity != Identity::Always;
        if let Some(last) = columns.iter().rfind(settable) {
            self.places.push(("{set}", quote_identifier(&last.name)));
        }
        let Some(row) = row else { return };
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

/// Texts and uuids of rows, without the tenant's own key.
pub(super) fn telling(relation: &Relation, tenant_column: &str, answer: &Answer) -> Vec<Vec<String>> {
    let tells = |column: &Column| {
        (TEXTS.contains(&column.base_type_oid) || column.base_type_oid == UUID) && column.name != tenant_column
    };
    let of_row = |row: &Vec<Option<String>>| {
        let cells = relation.columns.iter().zip(row).filter(|(column, _)| tells(column));
        cells.filter_map(|(_, value)| value.clone()).collect()
    };
    answer.rows.iter().map(of_row).collect()
}

/// Its values can be compared with each other.
fn comparable(column: &Column) -> bool {
    !NOT_COMPARED.contains(&column.base_type_oid)
}

/// A value as a pattern of LIKE that only it matches.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// A value in COPY's text format.
pub(super) fn copy_text(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}
