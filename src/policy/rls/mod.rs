//! Whether row-level security keeps tenants apart on an upstream: what is missing, table by table, and of the role. Pure.

mod expression;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use super::PolicyNote;
use crate::base::{Enforcement, QualifiedName, key_setting};
use crate::catalog::{Catalog, PolicyCommand, Relation, RowPolicy};
use crate::guard::{Protection, TableRule, TenantTable};
use crate::sql::quote_identifier;
use expression::Comparison;

/// Says of each tenant table what keeps its rows apart. Where policies should and do not, nothing of it is served.
pub(super) fn protect(
    enforcement: Enforcement,
    catalog: &Catalog,
    setting: &str,
    tables: &mut HashMap<QualifiedName, TableRule>,
    notes: &mut Vec<PolicyNote>,
) {
    if !enforcement.uses_rls() {
        return;
    }
    let served = enforcement == Enforcement::RewriteAndRls;
    let of_role = role_shortfalls(catalog, setting, tables);
    notes.extend(of_role.iter().map(|missing| PolicyNote::RoleAndPolicies { missing: missing.clone(), served }));
    let mut incomplete = Vec::new();
    for (name, rule) in tables.iter_mut() {
        let (TableRule::Tenant(table), Some(relation)) = (rule, catalog.relations.get(name)) else { continue };
        // What lets rows through by itself, or takes them from elsewhere, gets the predicate in every mode.
        if !relation.kind.is_table() {
            continue;
        }
        let missing = shortfalls(catalog, relation, table, setting);
        if !missing.is_empty() {
            incomplete.push((name.clone(), missing.join("; ")));
        }
        if !served {
            table.protection = match missing.first().or(of_role.first()) {
                Some(first) => Protection::Missing(first.as_str().into()),
                None => Protection::Policies,
            };
        }
    }
    incomplete.sort();
    notes.extend(incomplete.into_iter().map(|(name, missing)| PolicyNote::NoRowSecurity { name, missing, served }));
}

/// Why policies would not bind the upstream's role, or not fail closed.
pub fn role_shortfalls(catalog: &Catalog, setting: &str, tables: &HashMap<QualifiedName, TableRule>) -> Vec<String> {
    let role = quote_identifier(&catalog.role.name);
    let mut found = Vec::new();
    if catalog.role.superuser {
        found.push(format!("role {role} is a superuser, whom no policy binds: ALTER ROLE {role} NOSUPERUSER;"));
    }
    if catalog.role.bypasses_rls {
        found.push(format!("role {role} has BYPASSRLS: ALTER ROLE {role} NOBYPASSRLS;"));
    }
    let sealed: BTreeSet<String> = tables
        .values()
        .filter_map(|rule| match rule {
            TableRule::Tenant(table) => key_setting(setting, &table.key),
            TableRule::Shared(_) => None,
        })
        .collect();
    for name in sealed.iter().filter(|name| catalog.role.settings.contains(name)) {
        found.push(format!(
            "{name} has a value without a tenant, by ALTER ROLE or ALTER DATABASE ... SET: take it back with ALTER ROLE {role} \
             RESET {name}; or ALTER DATABASE ... RESET {name};"
        ));
    }
    found
}

/// What a table lacks for its policies to keep tenants apart, worst first; empty if nothing.
pub fn shortfalls(catalog: &Catalog, relation: &Relation, table: &TenantTable, setting: &str) -> Vec<String> {
    let mut missing = Vec::new();
    if !relation.row_security {
        missing.push("row-level security is not enabled".to_owned());
    }
    if relation.owned && !relation.force_row_security {
        missing.push("it is not forced, and pgwarden's role owns the table".to_owned());
    }
    let Some(setting) = key_setting(setting, &table.key) else {
        missing.push("the name of its key cannot stand in the name of a setting".to_owned());
        return missing;
    };
    let comparison = Comparison::new(catalog, relation, table, &setting);
    let covers = |expression: &Option<String>| expression.as_deref().is_some_and(|it| comparison.is_made_by(it));
    for (command, name) in COMMANDS {
        let applies = |policy: &&RowPolicy| policy.command == PolicyCommand::All || policy.command == command;
        let good = |policy: &RowPolicy| {
            let using = command == PolicyCommand::Insert || covers(&policy.using);
            // Without WITH CHECK, USING stands for it.
            let check = match command {
                PolicyCommand::Insert | PolicyCommand::Update => {
                    covers(policy.check.as_ref().map_or(&policy.using, |_| &policy.check))
                }
                PolicyCommand::All | PolicyCommand::Select | PolicyCommand::Delete => true,
            };
            using && check
        };
        let of_command = || relation.policies.iter().filter(applies);
        if !of_command().any(good) {
            missing.push(format!("{name}: no policy compares \"{}\" with the setting {setting}", table.column));
        }
        let restricted = of_command().any(|policy| !policy.permissive && good(policy));
        let of_everybody = |policy: &RowPolicy| {
            let nulls = || policy.using.as_deref().is_some_and(|it| comparison.is_of_everybody(it));
            command == PolicyCommand::Select && table.null_is_shared && nulls()
        };
        let loose = |policy: &&RowPolicy| policy.permissive && !good(policy) && !of_everybody(policy);
        for other in of_command().filter(|policy| loose(policy) && !restricted) {
            missing.push(format!("{name}: policy \"{}\" lets rows through without the setting", other.name));
        }
    }
    missing
}

const COMMANDS: [(PolicyCommand, &str); 4] = [
    (PolicyCommand::Select, "SELECT"),
    (PolicyCommand::Insert, "INSERT"),
    (PolicyCommand::Update, "UPDATE"),
    (PolicyCommand::Delete, "DELETE"),
];
