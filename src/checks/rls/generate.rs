//! `pgwarden rls generate`

use std::fmt::Write as _;

use super::{NULL_POLICY_NAME, POLICY_NAME, tables};
use crate::base::key_setting;
use crate::guard::{Policy, TenantTable};
use crate::sql::{quote_identifier, quote_literal, quote_qualified};

/// The DDL for every tenant table, in one transaction; it can be run again. Nothing in it names a tenant.
pub fn generate(policy: &Policy) -> String {
    let mut ddl = String::from(
        "-- Row-level security for the tenant tables, made by pgwarden. Run it as the tables' owner.\n\
         -- FORCE binds the owner too: migrations that touch rows of all tenants need a role with BYPASSRLS.\n\
         BEGIN;\n",
    );
    for (relation, table) in tables(policy) {
        let name = quote_qualified(&relation.name);
        let Some(condition) = condition(table, &policy.setting) else {
            let _ = writeln!(ddl, "\n-- {name}: the name of its key cannot stand in the name of a setting; left out");
            continue;
        };
        let _ = write!(
            ddl,
            "\nALTER TABLE {name} ENABLE ROW LEVEL SECURITY;\n\
             ALTER TABLE {name} FORCE ROW LEVEL SECURITY;\n\
             DROP POLICY IF EXISTS {POLICY_NAME} ON {name};\n\
             CREATE POLICY {POLICY_NAME} ON {name}\n  USING ({condition})\n  WITH CHECK ({condition});\n\
             DROP POLICY IF EXISTS {NULL_POLICY_NAME} ON {name};\n",
        );
        if table.null_is_shared {
            let condition = of_everybody(table, &policy.setting).unwrap_or_else(|| "false".to_owned());
            let _ = writeln!(ddl, "CREATE POLICY {NULL_POLICY_NAME} ON {name} FOR SELECT\n  USING ({condition});");
        }
    }
    ddl.push_str("\nCOMMIT;\n");
    ddl
}

/// The subquery is evaluated once a statement. Unset, or reset to nothing, it is NULL: no row is visible, none can be written.
pub(super) fn condition(table: &TenantTable, setting: &str) -> Option<String> {
    own(quote_identifier(&table.column), table, setting, false, 1)
}

/// Whether a value of the table's column is the tenant's, or leads to a row that is. `nulls`: or to one of everybody.
fn own(value: String, table: &TenantTable, setting: &str, nulls: bool, step: usize) -> Option<String> {
    if let Some(through) = &table.through {
        let parent = format!("pgwarden_parent{step}");
        let column = |name: &str| format!("{parent}.{}", quote_identifier(name));
        let own = own(column(&through.rule.column), &through.rule, setting, nulls, step + 1)?;
        let (from, key) = (quote_qualified(&through.parent), column(&through.key));
        return Some(format!(
            "EXISTS (SELECT FROM {from} {parent} WHERE {key} OPERATOR(pg_catalog.=) {value} AND {own})"
        ));
    }
    let setting = key_setting(setting, &table.key)?;
    let own = format!(
        "{value} OPERATOR(pg_catalog.=) (SELECT CAST(NULLIF(pg_catalog.current_setting({}, true), '') AS {}))",
        quote_literal(&setting),
        table.type_name
    );
    Some(if nulls && table.null_is_shared { format!("({own} OR {value} IS NULL)") } else { own })
}

/// Whose rows all tenants read: those without a tenant, or those that lead to one.
fn of_everybody(table: &TenantTable, setting: &str) -> Option<String> {
    let column = quote_identifier(&table.column);
    match table.through {
        None => Some(format!("{column} IS NULL")),
        Some(_) => own(column, table, setting, true, 1),
    }
}
