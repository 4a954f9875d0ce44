//! `pgwarden rls check`

use super::tables;
use crate::guard::Policy;
use crate::policy::rls::{role_shortfalls, shortfalls};
use crate::sql::quote_qualified;

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

    /// Everything that is missing, one line each.
    pub fn findings(&self) -> Vec<String> {
        let of_tables = self
            .tables
            .iter()
            .filter(|table| !table.missing.is_empty())
            .map(|table| format!("{}: {}", table.table, table.missing.join("; ")));
        self.role.iter().cloned().chain(of_tables).collect()
    }
}

/// Looks at the catalog that a policy was made of, as the upstream's role saw it.
pub fn check(policy: &Policy) -> Report {
    let catalog = &policy.catalog;
    let tables = tables(policy)
        .into_iter()
        .map(|(relation, table)| TableReport {
            table: quote_qualified(&relation.name),
            missing: shortfalls(catalog, relation, table, &policy.setting),
        })
        .collect();
    Report { role: role_shortfalls(catalog, &policy.setting, &policy.tables), tables }
}
