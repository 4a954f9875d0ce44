//! Catalogs for tests.

use super::facts::{Facts, Table};
use crate::base::Oid;
use crate::base::oid::{INT4, TEXT};
use crate::catalog::{Catalog, Column, ForeignKey, RelKind, Relation};
use crate::guard::fixture;

/// `orgs: id slug`, `notes: id org_id>orgs.id kind_id?>kinds.id`: tables with columns, `>` for foreign keys, `?` for NULL. Names
/// in `id` are numbers, others texts.
pub fn catalog(tables: &[&str]) -> Catalog {
    let oid = |table: &str| {
        tables
            .iter()
            .position(|it| it.split(':').next() == Some(table))
            .map_or(0, |at| Oid::try_from(at).unwrap() + 100)
    };
    let mut catalog = Catalog { search_path: vec!["public".to_owned()], ..Catalog::default() };
    for text in tables {
        let (table, columns) = text.split_once(':').unwrap();
        let mut relation = Relation { oid: oid(table), ..fixture::relation(table, RelKind::Table, []) };
        for (at, text) in columns.split_whitespace().enumerate() {
            let (text, parent) = text.split_once('>').map_or((text, None), |(text, parent)| (text, Some(parent)));
            let column = text.trim_end_matches(['?', '!']);
            let type_oid = if column.ends_with("id") { INT4 } else { TEXT };
            relation.columns.push(Column {
                attnum: i16::try_from(at).unwrap() + 1,
                type_name: "x".to_owned(),
                not_null: !text.ends_with('?'),
                ..fixture::column(column, type_oid)
            });
            if column == "id" || text.ends_with('!') {
                relation.unique_keys.push(vec![column.to_owned()]);
            }
            if let Some((parent, key)) = parent.map(|it| it.split_once('.').unwrap()) {
                relation.foreign_keys.push(ForeignKey {
                    name: format!("{table}_{column}"),
                    columns: vec![column.to_owned()],
                    parent: oid(parent),
                    parent_columns: vec![key.to_owned()],
                });
            }
        }
        catalog.relations.insert(relation.name.clone(), relation);
    }
    catalog
}

/// Each table has so many rows.
pub fn facts(catalog: &Catalog, rows: i64) -> Facts {
    let table = Table { rows: Some(rows), changes: 0, has_null_keys: false };
    Facts { tables: catalog.relations.values().map(|it| (it.oid, table)).collect(), ..Facts::default() }
}
