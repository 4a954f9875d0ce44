//! Tables and their tenant columns.

use tokio_postgres::{Client, Error};

use super::{Finding, Schema, Severity};
use crate::catalog::RelKind;
use crate::guard::Policy;
use crate::policy::proposed_key;

/// Ordinary tables that are neither tenant tables nor shared: tenants cannot use them.
pub fn unconfigured(policy: &Policy) -> Vec<Finding> {
    let system = |schema: &str| schema == "information_schema" || schema.starts_with("pg_");
    let relations = policy.catalog.relations.values();
    relations
        .filter(|r| matches!(r.kind, RelKind::Table | RelKind::PartitionedTable) && r.extension.is_none())
        .filter(|r| !system(&r.name.schema) && !policy.tables.contains_key(&r.name))
        .map(|r| Finding {
            severity: Severity::Low,
            check: "unconfigured-table",
            object: r.name.to_string(),
            what: "has no tenant column and is not listed as shared".into(),
            why: "tenants are refused every statement on it",
            fix: proposed_key(policy, r).map(|column| format!(
                "\"{}\" = {{ through = \"{column}\" }} in [tenancy.tables]: its rows belong to whom the rows belong that the key leads to",
                r.name
            )).unwrap_or_else(|| format!(
                "ALTER TABLE {0} ADD COLUMN ... (the tenant column, NOT NULL once it is filled); or list \"{0}\" in [tenancy] shared_tables \
                 if all tenants may read all of it",
                r.name
            )),
        })
        .collect()
}

/// Tenant columns that may be NULL.
pub async fn columns(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT t.oid::regclass::text AS object, pg_catalog.quote_ident(t.col) AS col FROM t \
               JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attname = t.col WHERE NOT a.attnotnull";
    let finding = |object: String, column: String| Finding {
        severity: Severity::Medium,
        check: "nullable-tenant-column",
        what: format!("the tenant column {column} may be NULL"),
        why: "rows without a tenant belong to nobody: no tenant sees them, and code beside the proxy may make them",
        fix: format!("ALTER TABLE {object} ALTER COLUMN {column} SET NOT NULL;"),
        object,
    };
    schema.findings(client, sql, |line| Some(finding(line.text("object"), line.text("col")))).await
}

/// Tenant tables without an index that starts with the tenant column.
pub async fn indexes(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT t.oid::regclass::text AS object, pg_catalog.quote_ident(t.col) AS col, c.relkind = 'p' AS partitioned FROM t \
               JOIN pg_catalog.pg_class c ON c.oid = t.oid \
               JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attname = t.col \
               WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid AND i.indisvalid AND i.indkey[0] = a.attnum)";
    let finding = |object: String, column: String, partitioned: bool| Finding {
        severity: Severity::Low,
        check: "no-tenant-index",
        what: format!("no index starts with the tenant column {column}"),
        why: "every statement carries the tenant predicate; without an index, lists read all tenants' rows",
        // Postgres cannot build one on a partitioned table concurrently.
        fix: format!("CREATE INDEX {}ON {object} ({column});", if partitioned { "" } else { "CONCURRENTLY " }),
        object,
    };
    schema
        .findings(client, sql, |line| Some(finding(line.text("object"), line.text("col"), line.is("partitioned"))))
        .await
}

/// Statistics objects that keep values: most common combinations, and those of expressions.
pub async fn statistics(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT t.oid::regclass::text AS object, pg_catalog.format('%I.%I', n.nspname, s.stxname) AS name FROM t \
               JOIN pg_catalog.pg_statistic_ext s ON s.stxrelid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace \
               WHERE s.stxkind::text[] && ARRAY['m', 'e']";
    let finding = |object: String, name: String| Finding {
        severity: Severity::Low,
        check: "statistics-object",
        what: format!("the statistics object {name} keeps values of all tenants"),
        why: "the planner tries conditions on them. pgwarden lets only plain ones stand where it does, and refuses tenants the views that \
              show them; what connects past pgwarden is held to neither",
        fix: format!("DROP STATISTICS {name}; where no plan needs it"),
        object,
    };
    schema.findings(client, sql, |line| Some(finding(line.text("object"), line.text("name")))).await
}
