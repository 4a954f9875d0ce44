//! What is in a schema as single facts, each with a name: for comparing it with another.

use std::collections::BTreeMap;

use super::read::{self, Found, Printed};
use super::write::{columns_of, each};
use crate::lifecycle::admin::Admin;
use crate::lifecycle::error::LifecycleError;
use crate::sql::quote_identifier;

/// What a thing is called (`column orders.total`), and how it is defined, without its schema's name.
pub type Facts = BTreeMap<String, String>;

/// Reads a schema but for some relations, in the transaction that the connection is in. `None`: there is no such schema.
///
/// # Errors
/// The server's.
pub async fn facts(admin: &Admin, schema: &str, without: &[String]) -> Result<Option<Facts>, LifecycleError> {
    let oid = admin.value::<u32>("SELECT oid FROM pg_namespace WHERE nspname = $1", &[&schema]).await?;
    let Some(oid) = oid else { return Ok(None) };
    let mut found = read::read(admin, oid).await?;
    found.leave_out(without);
    admin.run(&format!("SET LOCAL search_path = {}", quote_identifier(schema))).await?;
    let printed = found.print(admin).await?;
    admin.run("SET LOCAL search_path = ''").await?;
    Ok(Some(all(&found, &printed, schema)))
}

/// A function's text without its schema, which is printed whatever the search path.
fn bare(text: &str, schema: &str) -> String {
    let (head, body) = text.split_once('\n').unwrap_or((text, ""));
    let head = [quote_identifier(schema), schema.to_owned()]
        .iter()
        .fold(head.to_owned(), |head, schema| head.replacen(&format!(" {schema}."), " ", 1));
    format!("{head}\n{body}")
}

fn all(found: &Found, printed: &Printed, schema: &str) -> Facts {
    let mut facts = Facts::new();
    relations(found, printed, &mut facts);
    for (it, text) in each(&found.constraints, &printed.constraints) {
        facts.insert(format!("constraint {}.{}", it.relation, it.name), text.to_owned());
    }
    for (it, text) in each(&found.indexes, &printed.indexes) {
        facts.insert(format!("index {}", it.name), text.to_owned());
    }
    for (it, text) in each(&found.triggers, &printed.triggers) {
        facts.insert(format!("trigger {}.{}", it.relation, it.name), format!("{text} {}", it.kind));
    }
    for ((it, using), check) in each(&found.policies, &printed.using).zip(&printed.checks) {
        let text = format!("{} {} {} USING ({using}) CHECK ({check})", it.permissive, it.command, it.roles);
        facts.insert(format!("policy {}.{}", it.relation, it.name), text);
    }
    for (signature, text) in printed.signatures.iter().zip(&printed.functions) {
        facts.insert(format!("function {signature}"), bare(text, schema));
    }
    for (it, base) in each(&found.types, &printed.bases) {
        let checks =
            printed.domain_checks.iter().filter(|(domain, _)| *domain == it.oid).map(|(_, check)| check.as_str());
        let text = [&*it.kind, base, &it.labels.join(", "), it.default.as_deref().unwrap_or_default()];
        facts.insert(format!("type {}", it.name), text.into_iter().chain(checks).collect::<Vec<_>>().join(" "));
    }
    for it in &found.sequences {
        facts.insert(format!("sequence {}", it.name), it.definition.clone());
    }
    for it in &found.left_out {
        facts.insert(it.clone(), String::new());
    }
    facts
}

fn relations(found: &Found, printed: &Printed, facts: &mut Facts) {
    let mut views = printed.views.iter();
    let (mut keys, mut bounds) = (printed.partition_keys.iter(), printed.bounds.iter());
    for it in &found.relations {
        let (word, text) = match it.kind.as_str() {
            "v" => ("view", views.next().cloned().unwrap_or_default()),
            "m" => ("materialized view", views.next().cloned().unwrap_or_default()),
            "c" => ("row type", String::new()),
            kind => {
                let mut text = Vec::new();
                text.extend(it.unlogged.then(|| "unlogged".to_owned()));
                text.extend(it.heir_of.iter().map(|parents| format!("inherits {parents}")));
                text.extend((kind == "p").then(|| keys.next()).flatten().map(|key| format!("partition by {key}")));
                text.extend(it.parent.iter().map(|parent| {
                    format!("partition of {parent} {}", bounds.next().map(String::as_str).unwrap_or_default())
                }));
                text.extend(it.row_security.then(|| "row security".to_owned()));
                text.extend(it.force_row_security.then(|| "forced".to_owned()));
                ("table", text.join(", "))
            }
        };
        let options = it.options.iter().map(|options| format!(" with ({options})")).collect::<String>();
        facts.insert(format!("{word} {}", it.name), text + &options);
        for (column, line) in columns_of(found, printed, it) {
            facts.insert(format!("column {}.{column}", it.name), line);
        }
    }
}
