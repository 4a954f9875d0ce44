//! The checks, one function each.

mod bodies;
mod code;
mod indexes;
mod inside;
mod keys;
mod notes;
mod role;
mod tables;
mod types;

use tokio_postgres::{Client, Error, Row};

pub(super) use code::{functions, rules, views};
pub(super) use indexes::unusable_indexes;
pub(super) use inside::inside;
pub(super) use keys::{foreign_keys, sequences, unique_keys};
pub(super) use notes::noted;
pub(super) use role::role;
pub(super) use tables::{columns, indexes, statistics, unconfigured};
pub(super) use types::{casts, operators};

use super::{Finding, Severity};
use crate::base::Oid;
use crate::guard::{Policy, TableRule};

/// The tenant tables of a policy as parallel arrays, for queries that join them to the system catalogs.
pub(super) struct Schema {
    oids: Vec<Oid>,
    columns: Vec<String>,
    nulls: Vec<bool>,
}

/// `t(oid, col, nulls)`: the tenant tables, and whether rows without a tenant are everybody's by configuration. Parameters $1 to
/// $3 of every query that uses it.
const TENANT_TABLES: &str = "WITH t AS (SELECT * FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::text[]), \
                             pg_catalog.unnest($3::bool[])) AS t(oid, col, nulls))";

impl Schema {
    /// The tenant tables of a policy that are stored (no views).
    pub fn of(policy: &Policy) -> Self {
        let mut schema = Self { oids: Vec::new(), columns: Vec::new(), nulls: Vec::new() };
        for (name, rule) in &policy.tables {
            let TableRule::Tenant(table) = rule else { continue };
            // It has no tenant column.
            if table.through.is_some() {
                continue;
            }
            let Some(relation) = policy.catalog.relations.get(name) else { continue };
            if relation.kind.is_table() {
                schema.oids.push(relation.oid);
                schema.columns.push(table.column.clone());
                schema.nulls.push(table.null_is_shared);
            }
        }
        schema
    }

    /// What is to be said of each row of a query over the tenant tables.
    async fn findings(
        &self,
        client: &Client,
        rest: &str,
        finding: impl Fn(&Line<'_>) -> Option<Finding>,
    ) -> Result<Vec<Finding>, Error> {
        Ok(said_of(&self.query(client, rest).await?, finding))
    }

    /// The rows of a query over the tenant tables.
    async fn query(&self, client: &Client, rest: &str) -> Result<Vec<Row>, Error> {
        client.query(&format!("{TENANT_TABLES} {rest}"), &[&self.oids, &self.columns, &self.nulls]).await
    }
}

/// What is to be said of each row.
fn said_of(rows: &[Row], finding: impl Fn(&Line<'_>) -> Option<Finding>) -> Vec<Finding> {
    rows.iter().filter_map(|row| finding(&Line(row))).collect()
}

/// A row whose columns are text and boolean.
struct Line<'r>(&'r Row);

impl Line<'_> {
    fn text(&self, column: &str) -> String {
        self.0.get(column)
    }

    fn is(&self, column: &str) -> bool {
        self.0.get(column)
    }
}
