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
                    pg_catalog.quote_ident(pg_catalog.current_database()) AS database, \
                    (SELECT coalesce(pg_catalog.string_agg(g.rolname::text, ', '), 'pg_read_all_stats, pg_read_server_files, pg_execute_server_program') \
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
    let (database, granted): (String, String) = (row.get("database"), row.get("granted"));
    let quoted = quote_identifier(role);
    let table = [
        ("superuser", Severity::High, "is a superuser", format!("ALTER ROLE {quoted} NOSUPERUSER;")),
        ("bypassrls", Severity::Medium, "has BYPASSRLS", format!("ALTER ROLE {quoted} NOBYPASSRLS;")),
        ("createrole", Severity::Medium, "has CREATEROLE", format!("ALTER ROLE {quoted} NOCREATEROLE;")),
        ("replication", Severity::Medium, "has REPLICATION", format!("ALTER ROLE {quoted} NOREPLICATION;")),
        (
            "member",
            Severity::Medium,
            "is a member of a pg_read_* or pg_execute_* role",
            format!("REVOKE {granted} FROM {quoted};"),
        ),
        (
            "owner",
            Severity::Low,
            "owns tables",
            format!(
                "REASSIGN OWNED BY {quoted} TO ...; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ... TO {quoted};"
            ),
        ),
        (
            "temp",
            Severity::Low,
            "may create temporary tables",
            format!("REVOKE TEMP ON DATABASE {database} FROM PUBLIC, {quoted};"),
        ),
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
