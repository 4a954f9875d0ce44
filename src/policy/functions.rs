//! Listed functions where policies keep tenants apart: a function that changes the setting which they read changes the tenant,
//! and one that runs as a role whom no policy binds sees every row.

use std::collections::HashSet;

use super::{PolicyInput, PolicyNote};
use crate::base::{Enforcement, QualifiedName};
use crate::catalog::{Catalog, Volatility};

/// The functions that tenants may call by configuration.
pub(super) fn allowed(
    input: &PolicyInput<'_>,
    catalog: &Catalog,
    notes: &mut Vec<PolicyNote>,
) -> HashSet<QualifiedName> {
    let mut allowed: HashSet<_> = input.tenancy.allow_functions.iter().cloned().collect();
    if !input.enforcement.uses_rls() {
        return allowed;
    }
    let served = input.enforcement == Enforcement::RewriteAndRls;
    let setting = input.tenancy.setting.to_ascii_lowercase();
    let changes = |name: &QualifiedName| {
        catalog.setters.iter().any(|setter| setter.name == *name && changes_tenant(&setter.text, &setting))
    };
    for name in &input.tenancy.allow_functions {
        if changes(name) {
            notes.push(PolicyNote::FunctionChangesTenant { name: name.clone(), served });
            if !served {
                allowed.remove(name);
            }
        }
        if catalog.unbound_definers.contains(name) {
            notes.push(PolicyNote::UnboundDefiner { name: name.clone() });
        }
    }
    allowed
}

/// The functions that sessions call which act for no tenant. One that could write is none of them, nor one that changes who is acted
/// for.
pub(super) fn without_tenant(
    input: &PolicyInput<'_>,
    catalog: &Catalog,
    notes: &mut Vec<PolicyNote>,
) -> HashSet<QualifiedName> {
    let setting = input.tenancy.setting.to_ascii_lowercase();
    let mut taken = HashSet::new();
    for name in &input.tenancy.without_tenant {
        let mut found =
            catalog.functions.get(&name.name).into_iter().flatten().filter(|it| it.name == *name).peekable();
        let mut setters = catalog.setters.iter().filter(|setter| setter.name == *name);
        let objection = if found.peek().is_none() {
            Some("does not exist")
        } else if found.any(|it| it.volatility == Volatility::Volatile) {
            Some("is VOLATILE: declare it STABLE, so that Postgres lets it write nothing")
        } else if setters.any(|setter| changes_tenant(&setter.text, &setting)) {
            Some("sets or resets the tenant's setting, or one whose name is computed")
        } else {
            None
        };
        match objection {
            Some(why) => notes.push(PolicyNote::UnfitLookUp { name: name.clone(), why }),
            None => drop(taken.insert(name.clone())),
        }
    }
    taken
}

/// Whether the text of a function sets the setting or one that begins with its name, all settings, or one whose name is
/// computed. Who wrote it is trusted: this finds mistakes, not what is hidden.
fn changes_tenant(text: &str, setting: &str) -> bool {
    let text = text.to_ascii_lowercase().replace('"', "");
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ").replace("set_config (", "set_config(").replace("set_config( ", "set_config(");
    let set =
        ["set ", "set local ", "set session ", "reset "].iter().any(|verb| text.contains(&format!("{verb}{setting}")));
    let calls = text.split("set_config(").skip(1).any(|arguments| match arguments.strip_prefix('\'') {
        Some(name) => name.starts_with(setting),
        None => true,
    });
    set || calls || text.contains("reset all") || text.contains("discard all")
}

#[cfg(test)]
mod tests {
    use super::changes_tenant;

    #[test]
    fn what_changes_the_tenant() {
        for text in [
            "SELECT set_config('app.tenant_id', '2', true)",
            "BEGIN PERFORM SET_CONFIG ( 'App.Tenant_id', x, false); END",
            "BEGIN PERFORM set_config('app.tenant_id_uuid', x, false); END",
            "BEGIN PERFORM set_config(name, x, false); END",
            "BEGIN SET  LOCAL \"app\".tenant_id = '2'; END",
            "SET app.tenant_id=2; SELECT 1",
            "BEGIN RESET app.tenant_id; END",
            "RESET ALL",
        ] {
            assert!(changes_tenant(text, "app.tenant_id"), "{text}");
        }
        for text in [
            "SELECT current_setting('app.tenant_id')",
            "UPDATE t SET x = current_setting('app.tenant_id')",
            "SELECT set_config('app.language', 'de', true)",
            "SET LOCAL work_mem = '1GB'",
        ] {
            assert!(!changes_tenant(text, "app.tenant_id"), "{text}");
        }
    }
}
