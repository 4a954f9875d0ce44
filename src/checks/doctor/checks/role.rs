//! The role that pgwarden connects as.

use std::collections::HashMap;

use tokio_postgres::{Client, Error};

use super::{Finding, Severity};
use crate::sql::quote_identifier;

/// Rights of the role that pgwarden connects as.
pub async fn role(client: &Client, role: &str) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(
            "SELECT r.rolsuper AS superuser, r.rolbypassrls AS bypassrls, r.rolcreaterole AS createrole, r.rolreplication AS replication, \
                    pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'TEMP') AS temp, \
                    EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                            WHERE c.relowner = r.oid AND c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%') AS owner, \
                    pg_catalog.pg_has_role(r.oid, 'pg_read_all_stats', 'MEMBER') OR pg_catalog.pg_has_role(r.oid, 'pg_read_server_files', 'MEMBER') \
                    OR pg_catalog.pg_has_role(r.oid, 'pg_execute_server_program', 'MEMBER') AS member, \
                    (SELECT coalesce(pg_catalog.string_agg(pg_catalog.quote_ident(g.rolname), ', '), '') \
                     FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid \
                     WHERE m.member = r.oid AND g.rolname ~ '^pg_') AS granted \
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
    let granted: String = row.get("granted");
    let quoted = quote_identifier(role);
    let own = "give tenants a role of their own, that owns nothing and has SELECT, INSERT, UPDATE and DELETE on their tables, and let \
               pgwarden connect as it; migrations go through an operator's login on another upstream";
    let table = [
        ("superuser", Severity::High, "is a superuser", Vec::new(), own),
        (
            "bypassrls",
            Severity::Medium,
            "has BYPASSRLS",
            Vec::new(),
            "ALTER ROLE ... NOBYPASSRLS once the policies of its tables show each tenant its rows: tables with policies that do not would be empty",
        ),
        ("createrole", Severity::Medium, "has CREATEROLE", vec![format!("ALTER ROLE {quoted} NOCREATEROLE;")], ""),
        ("replication", Severity::Medium, "has REPLICATION", vec![format!("ALTER ROLE {quoted} NOREPLICATION;")], ""),
        (
            "member",
            Severity::Medium,
            "is a member of a pg_read_* or pg_execute_* role",
            if granted.is_empty() { Vec::new() } else { vec![format!("REVOKE {granted} FROM {quoted};")] },
            if granted.is_empty() { "it is one by another role: take that from it" } else { "" },
        ),
        ("owner", Severity::Low, "owns tables", Vec::new(), own),
        (
            "temp",
            Severity::Low,
            "may create temporary tables",
            Vec::new(),
            "REVOKE TEMP ON DATABASE, from PUBLIC as well, where the app and what else connects make none",
        ),
    ];
    let why = "what the proxy's role may not do, no statement that slips through can do either";
    Ok(table
        .into_iter()
        .filter(|(right, ..)| has(right))
        .map(|(_, severity, what, sql, advice)| {
            Finding::new(severity, "role-too-strong", format!("role {role}"), what, why).sql(sql).advice(advice)
        })
        .collect())
}
