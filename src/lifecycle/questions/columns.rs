//! The columns of an answer: they must be the same for all tenants.

use tokio_postgres::types::Type;

use crate::sql::quote_identifier;

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as `pg_type` names it.
    pub type_name: String,
    /// It is one of Postgres's own, the same in every database.
    pub is_system_type: bool,
}

/// Name of the column that tells whose a row is.
pub(super) const TENANT: &str = "tenant";

/// Those of a statement.
pub(super) fn of(columns: &[tokio_postgres::Column]) -> Result<Vec<Column>, String> {
    if columns.iter().any(|column| column.name() == TENANT) {
        return Err(format!(
            "a column is called \"{TENANT}\", as the one that tells whose a row is: give it another name"
        ));
    }
    Ok(reduced(columns))
}

/// Those of the statement that finishes an answer, whatever they are called.
pub(super) fn reduced(columns: &[tokio_postgres::Column]) -> Vec<Column> {
    let column = |it: &tokio_postgres::Column| Column {
        name: it.name().to_owned(),
        type_name: it.type_().name().to_owned(),
        is_system_type: is_system(it.type_()),
    };
    columns.iter().map(column).collect()
}

fn is_system(it: &Type) -> bool {
    it.schema() == "pg_catalog"
}

/// As an error lists them.
pub(super) fn listed(columns: &[Column]) -> String {
    let one = |column: &Column| format!("{} {}", column.name, column.type_name);
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// As CREATE TABLE has them, the tenant's first. What is no type of Postgres's own is there in some databases only: a text.
pub(super) fn definition(columns: &[Column]) -> String {
    let one = |column: &Column| {
        let type_name = if column.is_system_type { column.type_name.as_str() } else { "text" };
        format!("{} pg_catalog.{}", quote_identifier(&column.name), quote_identifier(type_name))
    };
    let own = format!("{} pg_catalog.text", quote_identifier(TENANT));
    std::iter::once(own).chain(columns.iter().map(one)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_others_do_not_have_become_texts() {
        let column = |name: &str, type_name: &str, is_system_type| Column {
            name: name.into(),
            type_name: type_name.into(),
            is_system_type,
        };
        assert_eq!(
            definition(&[column("n", "int8", true), column("My state", "order_status", false)]),
            r#""tenant" pg_catalog.text, "n" pg_catalog."int8", "My state" pg_catalog."text""#
        );
    }
}
