//! Tables and their tenant columns.

use std::collections::{HashMap, HashSet};

use tokio_postgres::{Client, Error};

use super::keys::index_name;
use super::{Finding, Line, Schema, Severity};
use crate::base::Oid;
use crate::catalog::Relation;
use crate::guard::{Policy, TableRule};
use crate::policy::proposed_key;

/// Ordinary tables that are neither tenant tables nor shared: tenants cannot use them.
pub fn unconfigured(policy: &Policy) -> Vec<Finding> {
    let system = |schema: &str| schema == "information_schema" || schema.starts_with("pg_");
    let relations = policy.catalog.relations.values();
    relations
        .filter(|r| r.kind.is_table() && r.extension.is_none())
        .filter(|r| !system(&r.name.schema) && !policy.tables.contains_key(&r.name))
        .map(|r| {
            Finding::new(
                Severity::Low,
                "unconfigured-table",
                r.name.to_string(),
                "has no tenant column and is not listed as shared",
                "tenants are refused every statement on it",
            )
            .advice(belonging(policy, r))
        })
        .collect()
}

/// How a table without a rule could get one, by what its foreign keys, and those to it, say.
fn belonging(policy: &Policy, relation: &Relation) -> String {
    let name = &relation.name;
    if let Some(column) = proposed_key(policy, relation) {
        return format!(
            "\"{name}\" = {{ through = \"{column}\" }} in [tenancy.tables]: its rows belong to whom the rows belong that the key leads to"
        );
    }
    if let Some(column) = names_tenants(policy, relation) {
        return format!(
            "\"{name}\" = {{ column = \"{column}\" }} in [tenancy.tables]: tenant columns refer to it, so that each of its rows is a tenant"
        );
    }
    let column = "ALTER TABLE ... ADD COLUMN for the tenant column, fill it, and SET NOT NULL";
    if leads_to_tenants(policy, relation) {
        return format!(
            "{column}: its foreign keys lead to rows of tenants, so that its own are theirs as well, and it is not to be shared"
        );
    }
    format!(
        "{column}; or list \"{name}\" in [tenancy] shared_tables, if no row of it is any tenant's, and all may read all of it"
    )
}

/// The column of a table that tenant columns refer to.
fn names_tenants<'r>(policy: &'r Policy, relation: &Relation) -> Option<&'r str> {
    policy.catalog.relations.values().find_map(|child| {
        let TableRule::Tenant(rule) = policy.tables.get(&child.name)? else { return None };
        let keys = child.foreign_keys.iter().filter(|key| rule.through.is_none() && key.parent == relation.oid);
        let mut own = keys.filter(|key| key.columns.as_slice() == std::slice::from_ref(&rule.column));
        own.find_map(|key| key.parent_columns.first().map(String::as_str))
    })
}

/// Whether foreign keys lead to a tenant table, in however many steps.
fn leads_to_tenants(policy: &Policy, relation: &Relation) -> bool {
    let by_oid: HashMap<Oid, &Relation> = policy.catalog.relations.values().map(|it| (it.oid, it)).collect();
    let mut waiting = vec![relation];
    let mut seen = HashSet::from([relation.oid]);
    while let Some(at) = waiting.pop() {
        if matches!(policy.tables.get(&at.name), Some(TableRule::Tenant(_))) {
            return true;
        }
        let parents = at.foreign_keys.iter().filter_map(|key| by_oid.get(&key.parent).copied());
        waiting.extend(parents.filter(|it| seen.insert(it.oid)));
    }
    false
}

/// Tenant columns that may be NULL.
pub async fn columns(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT t.oid::regclass::text AS object, pg_catalog.quote_ident(t.col) AS col, c.relname::text AS table, \
                      EXISTS (SELECT 1 FROM pg_catalog.pg_stats s WHERE s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = t.col AND s.null_frac > 0) AS seen \
               FROM t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attname = t.col \
               JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE NOT a.attnotnull AND NOT t.nulls";
    schema.findings(client, sql, |line| Some(nullable(line))).await
}

fn nullable(line: &Line<'_>) -> Finding {
    let [object, column, table] = ["object", "col", "table"].map(|it| line.text(it));
    let finding = Finding::new(
        Severity::Medium,
        "nullable-tenant-column",
        &object,
        format!("the tenant column {column} may be NULL"),
        "rows without a tenant belong to nobody: no tenant sees them, and code beside the proxy may make them",
    );
    let decide = "fill it where it is NULL, or { null = \"shared\" } in [tenancy.tables] if such rows are everybody's";
    if line.is("seen") {
        return finding.advice(format!("some rows have none: {decide}"));
    }
    // With the constraint proven, SET NOT NULL does not read the table under its lock.
    let name = index_name(&[&table, &column, "not_null"]);
    finding
        .sql([
            format!("ALTER TABLE {object} ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID;"),
            format!("ALTER TABLE {object} VALIDATE CONSTRAINT {name};"),
            format!("ALTER TABLE {object} ALTER COLUMN {column} SET NOT NULL;"),
            format!("ALTER TABLE {object} DROP CONSTRAINT {name};"),
        ])
        .advice(format!("jobs that write rows past pgwarden must name the tenant; if it is not valid, {decide}"))
}

/// Tenant tables without an index that starts with the tenant column.
pub async fn indexes(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT t.oid::regclass::text AS object, pg_catalog.quote_ident(t.col) AS col, c.relkind = 'p' AS partitioned FROM t \
               JOIN pg_catalog.pg_class c ON c.oid = t.oid \
               JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attname = t.col \
               WHERE NOT c.relispartition \
                 AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid AND i.indisvalid AND i.indkey[0] = a.attnum)";
    let finding = |object: String, column: String, partitioned: bool| {
        let finding = Finding::new(
            Severity::Low,
            "no-tenant-index",
            &object,
            format!("no index starts with the tenant column {column}"),
            "every statement carries the tenant predicate; without an index, lists read all tenants' rows",
        );
        if partitioned {
            // Postgres cannot build one on a partitioned table concurrently.
            finding.sql([format!("CREATE INDEX ON {object} ({column});")]).advice(
                "writes wait meanwhile; on a large one, CREATE INDEX ON ONLY it, CONCURRENTLY on each partition, and ALTER INDEX ... ATTACH PARTITION",
            )
        } else {
            finding.sql([format!("CREATE INDEX CONCURRENTLY ON {object} ({column});")])
        }
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
    let finding = |object: String, name: String| {
        Finding::new(
            Severity::Low,
            "statistics-object",
            object,
            format!("the statistics object {name} keeps values of all tenants"),
            "the planner tries conditions on them. pgwarden lets only plain ones stand where it does, and refuses tenants the views that \
             show them; what connects past pgwarden is held to neither",
        )
        .sql([format!("DROP STATISTICS {name};")])
        .advice("plans that it was made for may get worse")
    };
    schema.findings(client, sql, |line| Some(finding(line.text("object"), line.text("name")))).await
}
