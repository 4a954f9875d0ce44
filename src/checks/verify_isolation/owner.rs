//! Whose the rows of a table are, as a condition that holds without the proxy.

use crate::base::QualifiedName;
use crate::config::Tenant;
use crate::guard::{Policy, TableRule, TenantTable};
use crate::sql::{quote_identifier, quote_literal, quote_qualified};

/// What of a table is a tenant's, or may be read by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Its own.
    Own,
    /// And those that are everybody's.
    Readable,
}

/// A condition for a tenant's rows of a table; `None` if it has no key for it.
pub fn condition(table: &TenantTable, tenant: &Tenant, rows: Rows) -> Option<String> {
    let column = quote_identifier(&table.column);
    if let Some(through) = &table.through {
        let inner = condition(&through.rule, tenant, rows)?;
        let (key, parent) = (quote_identifier(&through.key), quote_qualified(&through.parent));
        return Some(format!("{column} IN (SELECT {key} FROM {parent} WHERE {inner})"));
    }
    let own = format!("{column} = {}", quote_literal(tenant.keys.get(&table.key)?));
    Some(match rows {
        Rows::Readable if table.null_is_shared => format!("({own} OR {column} IS NULL)"),
        Rows::Own | Rows::Readable => own,
    })
}

/// The rule of a tenant table.
pub fn rule<'p>(policy: &'p Policy, name: &QualifiedName) -> Option<&'p TenantTable> {
    match policy.tables.get(name)? {
        TableRule::Tenant(rule) => Some(rule),
        TableRule::Shared(_) => None,
    }
}
