//! `pgwarden rls check`

use std::collections::HashMap;

use tokio_postgres::{Client, Error, Row};

use super::{quoted, quoted_table, tables};
use crate::catalog::Relation;
use crate::guard::{Policy, TenantTable, key_setting};

/// What is missing on an upstream. Empty lists: nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Why policies do not bind the role that pgwarden connects as.
    pub role: Vec<String>,
    /// By table.
    pub tables: Vec<TableReport>,
}

/// One tenant table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableReport {
    /// Schema and name, quoted.
    pub table: String,
    /// What is missing, worst first.
    pub missing: Vec<String>,
}

impl Report {
    /// Nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.role.is_empty() && self.tables.iter().all(|table| table.missing.is_empty())
    }
}

/// A row of `pg_policies`, as far as it matters.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) permissive: bool,
    /// ALL, SELECT, INSERT, UPDATE or DELETE.
    pub(super) command: String,
    pub(super) using: Option<String>,
    pub(super) check: Option<String>,
}

/// Looks at an upstream. `role` is the role that pgwarden connects as.
///
/// # Errors
/// Whatever the upstream answers to a catalog query.
pub async fn check(client: &Client, policy: &Policy, role: &str) -> Result<Report, Error> {
    let rights =
        client.query_opt("SELECT rolsuper, rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = $1", &[&role]).await?;
    let policies = policies(client).await?;
    let owned = owned(client, role).await?;
    let tables = tables(policy)
        .into_iter()
        .map(|(relation, table)| {
            let found = policies.get(&relation.oid).map_or(&[][..], Vec::as_slice);
            let missing = missing(relation, table, &policy.setting, found, owned.contains(&relation.oid));
            TableReport { table: quoted_table(relation), missing }
        })
        .collect();
    Ok(Report { role: rights.map(|row| exemptions(&row, role)).unwrap_or_default(), tables })
}

fn exemptions(row: &Row, role: &str) -> Vec<String> {
    let role = quoted(role);
    let texts = [
        (row.get::<_, bool>(0), format!("role {role} is a superuser: ALTER ROLE {role} NOSUPERUSER;")),
        (row.get::<_, bool>(1), format!("role {role} has BYPASSRLS: ALTER ROLE {role} NOBYPASSRLS;")),
    ];
    texts.into_iter().filter_map(|(has, text)| has.then_some(text)).collect()
}

async fn policies(client: &Client) -> Result<HashMap<u32, Vec<Found>>, Error> {
    let sql = "SELECT p.polrelid, p.polname::text, p.polpermissive, \
                      CASE p.polcmd WHEN '*' THEN 'ALL' WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' ELSE 'DELETE' END, \
                      pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) \
               FROM pg_catalog.pg_policy p ORDER BY p.polname";
    let mut found: HashMap<u32, Vec<Found>> = HashMap::new();
    for row in client.query(sql, &[]).await? {
        found.entry(row.get(0)).or_default().push(Found {
            name: row.get(1),
            permissive: row.get(2),
            command: row.get(3),
            using: row.get(4),
            check: row.get(5),
        });
    }
    Ok(found)
}

/// Tables that the role owns, or is a member of the owner of: policies bind it only where they are forced.
async fn owned(client: &Client, role: &str) -> Result<Vec<u32>, Error> {
    let sql = "SELECT c.oid FROM pg_catalog.pg_class c, pg_catalog.pg_roles r \
               WHERE c.relkind IN ('r', 'p') AND r.rolname = $1 AND pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE')";
    Ok(client.query(sql, &[&role]).await?.iter().map(|row| row.get(0)).collect())
}

pub(super) fn missing(
    relation: &Relation,
    table: &TenantTable,
    setting: &str,
    policies: &[Found],
    owned: bool,
) -> Vec<String> {
    let mut missing = Vec::new();
    if !relation.row_security {
        missing.push("row-level security is not enabled".to_owned());
    }
    if owned && !relation.force_row_security {
        missing.push("it is not forced, and pgwarden's role owns the table".to_owned());
    }
    let Some(setting) = key_setting(setting, &table.key) else {
        missing.push("the name of its key cannot stand in the name of a setting".to_owned());
        return missing;
    };
    let covers = |expression: &Option<String>| expression.as_deref().is_some_and(|it| compares(it, table, &setting));
    for command in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
        let applies = |policy: &&Found| policy.command == "ALL" || policy.command == command;
        let good = |policy: &Found| {
            let using = command == "INSERT" || covers(&policy.using);
            // Without WITH CHECK, USING stands for it.
            let check = match command {
                "INSERT" | "UPDATE" => covers(policy.check.as_ref().map_or(&policy.using, |_| &policy.check)),
                _ => true,
            };
            using && check
        };
        if !policies.iter().filter(applies).any(good) {
            missing.push(format!("{command}: no policy compares \"{}\" with the setting {setting}", table.column));
        }
        let restricted = policies.iter().filter(applies).any(|policy| !policy.permissive && good(policy));
        for other in policies.iter().filter(applies).filter(|policy| policy.permissive && !good(policy) && !restricted)
        {
            missing.push(format!("{command}: policy \"{}\" lets rows through without the setting", other.name));
        }
    }
    missing
}

/// The expression is the comparison alone, as the server prints it. Anything beside it may let more rows through.
fn compares(expression: &str, table: &TenantTable, setting: &str) -> bool {
    let plain = expression.replace([' ', '\n', '(', ')'], "");
    let one_setting = plain.matches("current_setting").count() == 1 && expression.contains(&format!("'{setting}'"));
    let bare = [table.column.clone(), quoted(&table.column)];
    let column = bare.iter().map(|it| it.replace([' ', '(', ')'], "")).any(|it| {
        plain.starts_with(&format!("{it}="))
            || plain.starts_with(&format!("{it}::"))
            || plain.starts_with(&format!("{it}OPERATORpg_catalog.="))
    });
    let words = format!(" {} ", expression.replace(['(', ')'], " "));
    one_setting
        && column
        && !words.contains(" OR ")
        && !words.contains(" CASE ")
        && !words.to_ascii_uppercase().contains("COALESCE")
}
