//! Names as Postgres reads them.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart, TableAliasColumnDef};

/// A name: folded where it stands without quotes.
pub(super) fn name(ident: &Ident) -> String {
    match ident.quote_style {
        None => ident.value.to_ascii_lowercase(),
        Some(_) => ident.value.replace("\"\"", "\""),
    }
}

pub(super) fn is(ident: &Ident, wanted: &str) -> bool {
    name(ident) == wanted
}

/// `a.b.c`; `None` for what is no name in Postgres.
pub(super) fn path(object: &ObjectName) -> Option<Vec<String>> {
    object
        .0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Some(name(ident)),
            ObjectNamePart::Function(_) => None,
        })
        .collect()
}

/// Schema and name of a relation or function; a database's name before them is left out.
pub(super) fn qualified(object: &ObjectName) -> Option<(Option<String>, String)> {
    let mut path = path(object)?;
    let last = path.pop()?;
    Some((path.pop(), last))
}

pub(super) fn of_columns(columns: &[TableAliasColumnDef]) -> Vec<String> {
    columns.iter().map(|column| name(&column.name)).collect()
}
