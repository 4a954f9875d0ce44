//! The checks, one function each.

use std::collections::HashMap;

use tokio_postgres::{Client, Error, Row};

use super::{Finding, Severity};
use crate::catalog::RelKind;
use crate::guard::{Policy, TableRule};
use crate::ids::Oid;

/// The tenant tables of a policy as parallel arrays, for queries that join them to the system catalogs.
pub(super) struct Schema {
    oids: Vec<Oid>,
    columns: Vec<String>,
}

/// `t(oid, col)`: the tenant tables. Parameters $1 and $2 of every query that uses it.
const TENANT_TABLES: &str =
    "WITH t AS (SELECT * FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::text[])) AS t(oid, col))";

impl Schema {
    /// The tenant tables of a policy that are stored (no views).
    pub fn of(policy: &Policy) -> Self {
        let mut schema = Self { oids: Vec::new(), columns: Vec::new() };
        for (name, rule) in &policy.tables {
            let TableRule::Tenant(table) = rule else { continue };
            let Some(relation) = policy.catalog.relations.get(name) else { continue };
            if matches!(relation.kind, RelKind::Table | RelKind::PartitionedTable) {
                schema.oids.push(relation.oid);
                schema.columns.push(table.column.clone());
            }
        }
        schema
    }

    async fn query(&self, client: &Client, rest: &str) -> Result<Vec<Row>, Error> {
        client.query(&format!("{TENANT_TABLES} {rest}"), &[&self.oids, &self.columns]).await
    }
}

/// Ordinary tables that are neither tenant tables nor shared: tenants cannot use them.
pub(super) fn unconfigured(policy: &Policy) -> Vec<Finding> {
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
            fix: format!(
                "add the tenant column, or list \"{}\" in [tenancy] shared_tables if all tenants may read all of it",
                r.name
            ),
        })
        .collect()
}

/// Tenant columns that may be NULL.
pub(super) async fn columns(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let rows = schema
        .query(
            client,
            "SELECT t.oid::regclass::text AS object, pg_catalog.quote_ident(t.col) AS col FROM t \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attname = t.col WHERE NOT a.attnotnull",
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let (object, column): (String, String) = (row.get("object"), row.get("col"));
            Finding {
                severity: Severity::Medium,
                check: "nullable-tenant-column",
                what: format!("the tenant column {column} may be NULL"),
                why: "rows without a tenant belong to nobody: no tenant sees them, and code beside the proxy may make them",
                fix: format!("ALTER TABLE {object} ALTER COLUMN {column} SET NOT NULL;"),
                object,
            }
        })
        .collect())
}

/// Unique indexes and exclusion constraints that do not hold the tenant column.
pub(super) async fn unique_keys(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let rows = schema
        .query(
            client,
            "SELECT t.oid::regclass::text AS object, i.indexrelid::regclass::text AS index, i.indisprimary AS primary, i.indisexclusion AS exclusion, \
                    pg_catalog.quote_ident(t.col) AS col, \
                    (SELECT pg_catalog.string_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k, true), ', ' ORDER BY k) FROM pg_catalog.generate_series(1, i.indnkeyatts) k) AS keys, \
                    EXISTS (SELECT 1 FROM pg_catalog.pg_attribute k WHERE k.attrelid = t.oid AND k.attnum = i.indkey[0] \
                            AND k.atttypid IN ('uuid'::regtype)) AS unguessable \
             FROM t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid \
             WHERE (i.indisunique OR i.indisexclusion) AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a \
                   WHERE a.attrelid = t.oid AND a.attname = t.col AND a.attnum = ANY (i.indkey::int2[]))",
        )
        .await?;
    Ok(rows.iter().map(unique_key).collect())
}

fn unique_key(row: &Row) -> Finding {
    let (object, index, column, keys): (String, String, String, String) =
        (row.get("object"), row.get("index"), row.get("col"), row.get("keys"));
    let (primary, exclusion, unguessable): (bool, bool, bool) =
        (row.get("primary"), row.get("exclusion"), row.get("unguessable"));
    let kind = match (primary, exclusion) {
        (true, _) => "primary key",
        (false, true) => "exclusion constraint",
        (false, false) => "unique index",
    };
    Finding {
        severity: if primary || unguessable { Severity::Low } else { Severity::Medium },
        check: "global-unique-key",
        what: format!("the {kind} {index} ({keys}) does not hold the tenant column {column}"),
        why: "an INSERT that fails with a duplicate key tells that another tenant has that value (existence oracle)",
        fix: match (primary, exclusion) {
            (true, _) => format!(
                "make the primary key ({column}, {keys}), or fill it from a generator that tenants cannot steer"
            ),
            (false, true) => format!("add {column} WITH = to the exclusion constraint"),
            (false, false) => {
                format!("CREATE UNIQUE INDEX CONCURRENTLY ON {object} ({column}, {keys}); then drop {index}")
            }
        },
        object,
    }
}

/// Foreign keys between tenant tables that do not pair the tenant columns.
pub(super) async fn foreign_keys(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let rows = schema
        .query(
            client,
            "SELECT t.oid::regclass::text AS object, c.conname::text AS name, p.oid::regclass::text AS target, \
                    c.confdeltype::text IN ('c', 'n', 'd') OR c.confupdtype::text IN ('c', 'n', 'd') AS acts \
             FROM t JOIN pg_catalog.pg_constraint c ON c.conrelid = t.oid AND c.contype = 'f' AND c.conparentid = 0 \
             JOIN t p ON p.oid = c.confrelid \
             JOIN pg_catalog.pg_attribute ta ON ta.attrelid = t.oid AND ta.attname = t.col \
             JOIN pg_catalog.pg_attribute pa ON pa.attrelid = p.oid AND pa.attname = p.col \
             WHERE NOT EXISTS (SELECT 1 FROM ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey)) AS k(ours, theirs) \
                               WHERE k.ours = ta.attnum AND k.theirs = pa.attnum)",
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let (object, name, target, acts): (String, String, String, bool) =
                (row.get("object"), row.get("name"), row.get("target"), row.get("acts"));
            Finding {
                severity: if acts { Severity::High } else { Severity::Medium },
                check: "foreign-key-crosses",
                what: format!("the foreign key {name} to {target} does not pair the tenant columns"),
                why: if acts {
                    "a row may hang below another tenant's, whose DELETE or UPDATE then changes it (ON DELETE/UPDATE acts across tenants)"
                } else {
                    "a row may point at another tenant's: the check tells whether that key exists"
                },
                fix: format!("give {target} a unique key that starts with its tenant column, and put the tenant column into {name}"),
                object,
            }
        })
        .collect())
}

/// Tenant tables without an index that starts with the tenant column.
pub(super) async fn indexes(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let rows = schema
        .query(
            client,
            "SELECT t.oid::regclass::text AS object, pg_catalog.quote_ident(t.col) AS col FROM t \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attname = t.col \
             WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid AND i.indisvalid AND i.indkey[0] = a.attnum)",
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let (object, column): (String, String) = (row.get("object"), row.get("col"));
            Finding {
                severity: Severity::Low,
                check: "no-tenant-index",
                what: format!("no index starts with the tenant column {column}"),
                why: "every statement carries the tenant predicate; without an index, lists read all tenants' rows",
                fix: format!("CREATE INDEX CONCURRENTLY ON {object} ({column});"),
                object,
            }
        })
        .collect())
}

/// Views, materialised views and rules that read tenant tables with their owner's rights.
pub(super) async fn views(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let rows = schema
        .query(
            client,
            "SELECT DISTINCT v.oid::regclass::text AS object, v.relkind::text AS kind, \
                    coalesce('security_invoker=true' = ANY (v.reloptions) OR 'security_invoker=on' = ANY (v.reloptions), false) AS invoker \
             FROM t JOIN pg_catalog.pg_depend d ON d.refobjid = t.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass \
                  AND d.classid = 'pg_catalog.pg_rewrite'::regclass \
             JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid JOIN pg_catalog.pg_class v ON v.oid = r.ev_class \
             WHERE v.relkind IN ('v', 'm')",
        )
        .await?;
    let bypassing = rows.iter().filter(|row| !row.get::<_, bool>("invoker"));
    Ok(bypassing
        .map(|row| {
            let (object, kind): (String, String) = (row.get("object"), row.get("kind"));
            let view = kind == "v";
            Finding {
                severity: Severity::Medium,
                check: if view { "view-bypasses" } else { "materialized-view" },
                what: format!("{} tenant tables", if view { "reads, with its owner's rights," } else { "holds rows of" }),
                why: "row-level security does not bind it; pgwarden refuses it unless it shows the tenant column and is listed",
                fix: if view {
                    format!("ALTER VIEW {object} SET (security_invoker = true); and list it in [tenancy.tables] if it shows the tenant column")
                } else {
                    format!("list {object} in [tenancy.tables] if it holds the tenant column; keep it from tenants otherwise")
                },
                object,
            }
        })
        .collect())
}

/// SECURITY DEFINER functions that the application could call, and functions that tenants may call by configuration.
pub(super) async fn functions(client: &Client, policy: &Policy) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(
            "SELECT p.oid::regprocedure::text AS object, n.nspname::text AS schema, p.proname::text AS name, p.prosecdef AS definer, \
                    l.lanname IN ('sql', 'plpgsql', 'plpython3u', 'plperl', 'plperlu', 'pltcl') AS runs_sql, \
                    EXISTS (SELECT 1 FROM pg_catalog.pg_trigger g WHERE g.tgfoid = p.oid) AS trigger \
             FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
             WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' \
               AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')",
            &[],
        )
        .await?;
    Ok(rows.iter().filter_map(|row| function(row, policy)).collect())
}

fn function(row: &Row, policy: &Policy) -> Option<Finding> {
    let (object, schema, name): (String, String, String) = (row.get("object"), row.get("schema"), row.get("name"));
    let (definer, runs_sql, trigger): (bool, bool, bool) =
        (row.get("definer"), row.get("runs_sql"), row.get("trigger"));
    let allowed = policy.allow_functions.contains(&crate::catalog::QualifiedName::new(schema, name));
    let (severity, check, what, why) = if allowed && runs_sql {
        (
            Severity::High,
            "allowed-function",
            "is on allow_functions and runs SQL of its own".to_owned(),
            "SQL inside a function is not seen by the proxy: it reads every tenant's rows unless row-level security binds it",
        )
    } else if definer && trigger {
        (
            Severity::Low,
            "definer-trigger",
            "is a SECURITY DEFINER trigger function".to_owned(),
            "it runs with its owner's rights on every tenant's statements: check that it writes for the row's own tenant only",
        )
    } else {
        return None;
    };
    Some(Finding {
        severity,
        check,
        what,
        why,
        fix: format!("read {object} with care; make it SECURITY INVOKER over tables with FORCE ROW LEVEL SECURITY"),
        object,
    })
}

/// Sequences behind columns of tenant tables.
pub(super) async fn sequences(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let rows = schema
        .query(
            client,
            "SELECT t.oid::regclass::text AS object, s.oid::regclass::text AS sequence FROM t \
             JOIN pg_catalog.pg_depend d ON d.refobjid = t.oid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') \
                  AND d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass \
             JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'",
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let (object, sequence): (String, String) = (row.get("object"), row.get("sequence"));
            Finding {
                severity: Severity::Low,
                check: "shared-sequence",
                what: format!("its keys come from the sequence {sequence}, which all tenants share"),
                why: "the gaps between a tenant's own keys tell how many rows the others make",
                fix: "use random keys (uuid) where that matters".into(),
                object,
            }
        })
        .collect())
}

/// Rights of the role that pgwarden connects as.
pub(super) async fn role(client: &Client, role: &str) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(
            "SELECT r.rolsuper AS superuser, r.rolbypassrls AS bypassrls, r.rolcreaterole AS createrole, r.rolreplication AS replication, \
                    pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'TEMP') AS temp, \
                    EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                            WHERE c.relowner = r.oid AND c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%') AS owner, \
                    pg_catalog.pg_has_role(r.oid, 'pg_read_all_stats', 'MEMBER') OR pg_catalog.pg_has_role(r.oid, 'pg_read_server_files', 'MEMBER') \
                    OR pg_catalog.pg_has_role(r.oid, 'pg_execute_server_program', 'MEMBER') AS member \
             FROM pg_catalog.pg_roles r WHERE r.rolname = $1",
            &[&role],
        )
        .await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let rights: HashMap<&str, bool> =
        ["superuser", "bypassrls", "createrole", "replication", "temp", "owner", "member"]
            .map(|r| (r, row.get(r)))
            .into();
    let has = |right: &str| rights.get(right).copied().unwrap_or(false);
    let quoted = format!("\"{}\"", role.replace('"', "\"\""));
    let table = [
        ("superuser", Severity::High, "is a superuser", format!("ALTER ROLE {quoted} NOSUPERUSER;")),
        ("bypassrls", Severity::Medium, "has BYPASSRLS", format!("ALTER ROLE {quoted} NOBYPASSRLS;")),
        ("createrole", Severity::Medium, "has CREATEROLE", format!("ALTER ROLE {quoted} NOCREATEROLE;")),
        ("replication", Severity::Medium, "has REPLICATION", format!("ALTER ROLE {quoted} NOREPLICATION;")),
        (
            "member",
            Severity::Medium,
            "is a member of a pg_read_* or pg_execute_* role",
            format!("REVOKE that membership FROM {quoted};"),
        ),
        (
            "owner",
            Severity::Low,
            "owns tables",
            format!("let another role own the tables and GRANT {quoted} DML on them"),
        ),
        ("temp", Severity::Low, "may create temporary tables", "REVOKE TEMP ON DATABASE ... FROM PUBLIC;".to_owned()),
    ];
    Ok(table
        .into_iter()
        .filter(|(right, ..)| has(right))
        .map(|(_, severity, what, fix)| Finding {
            severity,
            check: "role-too-strong",
            object: format!("role {role}"),
            what: what.to_owned(),
            why: "what the proxy's role may not do, no statement that slips through can do either",
            fix,
        })
        .collect())
}
