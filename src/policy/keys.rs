//! Whether each tenant's keys fit the columns that they stand in.

use std::collections::{BTreeMap, HashMap};

use super::{PolicyInput, PolicyNote};
use crate::base::{KeyName, Oid, QualifiedName, TenantName};
use crate::guard::value::TenantValue;
use crate::guard::{TableRule, TenantTable};

/// A key and a type that it must be a value of, with one table that wants it so.
type Wanted = BTreeMap<(KeyName, Oid), (QualifiedName, String)>;

/// Notes keys that are missing or malformed, and withdraws the rules of tables on which two tenants would be one.
pub(super) fn check_keys(
    input: &PolicyInput<'_>,
    tables: &mut HashMap<QualifiedName, TableRule>,
    notes: &mut Vec<PolicyNote>,
) {
    let mut refused = Vec::new();
    for ((key, type_oid), (table, type_name)) in wanted(tables) {
        let mut values: HashMap<TenantValue, &TenantName> = HashMap::new();
        for tenant in input.shared_tenants() {
            let bad = |reason: String| PolicyNote::BadKey {
                tenant: tenant.name.clone(),
                key: describe(&key),
                name: table.clone(),
                reason,
            };
            let Some(text) = tenant.keys.get(&key) else {
                notes.push(bad("it has none".to_owned()));
                continue;
            };
            let Some(value) = TenantValue::from_text(type_oid, text) else {
                notes.push(bad(format!("\"{text}\" is no {type_name}")));
                continue;
            };
            if let Some(first) = values.insert(folded(value), &tenant.name) {
                notes.push(PolicyNote::SameKey {
                    key: describe(&key),
                    first: TenantName::clone(first),
                    second: tenant.name.clone(),
                    name: table.clone(),
                });
                refused.push((key.clone(), type_oid));
            }
        }
    }
    tables.retain(|_, rule| match rule {
        TableRule::Shared(_) => true,
        TableRule::Tenant(TenantTable { type_oid, key, .. }) => {
            !refused.iter().any(|(k, oid)| k == key && oid == type_oid)
        }
    });
}

/// Of types whose equality is not known here (`citext`, `numeric` ...), spellings that may be one value count as one.
fn folded(value: TenantValue) -> TenantValue {
    match value {
        TenantValue::Other(text) => {
            let text = text.trim().to_lowercase();
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            TenantValue::Other(number.map_or(text, |number| number.to_string()))
        }
        TenantValue::Int(_) | TenantValue::Uuid(_) | TenantValue::Text(_) => value,
    }
}

fn wanted(tables: &HashMap<QualifiedName, TableRule>) -> Wanted {
    let mut wanted = Wanted::new();
    for (name, rule) in tables {
        let TableRule::Tenant(table) = rule else { continue };
        let entry = wanted
            .entry((table.key.clone(), table.type_oid))
            .or_insert_with(|| (name.clone(), table.type_name.clone()));
        // The same example each time, whatever the map's order.
        if *name < entry.0 {
            entry.0 = name.clone();
        }
    }
    wanted
}

fn describe(key: &KeyName) -> String {
    match key {
        None => "key".to_owned(),
        Some(name) => format!("key \"{name}\""),
    }
}
