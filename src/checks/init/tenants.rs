//! Where the tenants stand.

use std::collections::{BTreeMap, BTreeSet};

use super::{Choice, Facts, Guess, Rule, Schema, names};
use crate::base::QualifiedName;
use crate::catalog::Relation;
use crate::sql::{quote_identifier, quote_literal, quote_qualified};

/// Where pgwarden learns of tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenants {
    /// `[tenants_from]`
    Query {
        /// The query.
        query: String,
        /// The tenants' role does not see its rows: policies bind it.
        by_operator: bool,
        /// Why it is so.
        why: String,
    },
    /// `[tenancy.pattern]`: a tenant's name is its key.
    Pattern {
        /// Why.
        why: String,
    },
}

/// The query on the table that the tenant column leads to.
pub(super) fn query(
    schema: &Schema<'_>,
    facts: &Facts,
    choice: &Choice,
    relations: &BTreeMap<QualifiedName, Guess>,
    setting: Option<&str>,
    remarks: &mut Vec<String>,
) -> Tenants {
    let root = choice.root.as_ref().and_then(|(name, key)| Some((schema.catalog.relations.get(name)?, key)));
    let Some((root, key)) = root else {
        return Tenants::Pattern {
            why: format!(
                "{} leads to no table that lists the tenants (--tenants-table names one): so a tenant's name is its key, and every key \
                 is a tenant's",
                choice.column
            ),
        };
    };
    let by_key = format!("{}::text", quote_identifier(key));
    let (name, why) = match (setting, facts.names.usable.first()) {
        (Some(setting), _) => (
            by_key,
            format!("the key is the name: where the app sets {setting} to it, it names the tenant to pgwarden by that"),
        ),
        (None, Some(column)) if column == key => {
            (quote_identifier(column), format!("{column} names a tenant, and is its key"))
        }
        (None, Some(column)) => {
            (quote_identifier(column), format!("{column} is unique, and every value of it can be a tenant's name"))
        }
        (None, None) => {
            let unusable = facts.names.unusable.first().map(|(column, count)| {
                format!("; {count} of the values in {column} cannot be one: letters, digits, _ and -, at most 63")
            });
            (by_key, format!("the key is the name{}", unusable.unwrap_or_default()))
        }
    };
    suspension(root, remarks);
    let further: BTreeSet<&str> = relations
        .values()
        .filter_map(|guess| match &guess.rule {
            Rule::Column { key, .. } => key.as_deref(),
            Rule::ByColumn | Rule::Tenants(_) | Rule::Through(_) | Rule::Shared | Rule::Open(_) | Rule::Refused => None,
        })
        .collect();
    let pairs: Vec<String> =
        further.iter().map(|it| format!("{}, {}", quote_literal(it).trim(), quote_identifier(it))).collect();
    let keys =
        if pairs.is_empty() { String::new() } else { format!(", jsonb_build_object({}) AS keys", pairs.join(", ")) };
    let query =
        format!("SELECT {name} AS name, {} AS key{keys} FROM {}", quote_identifier(key), quote_qualified(&root.name));
    Tenants::Query { query, by_operator: root.row_security, why }
}

/// A column that says that a tenant is no longer served: whether its people may log in then, the app knows.
fn suspension(root: &Relation, remarks: &mut Vec<String>) {
    let expression = root.columns.iter().find_map(|column| {
        let words = names::words(&column.name);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let name = quote_identifier(&column.name);
        match (words.as_slice(), column.type_name.as_str()) {
            (
                ["suspended" | "disabled" | "archived" | "deleted"]
                | ["is", "suspended" | "disabled" | "archived" | "deleted"],
                "boolean",
            ) => Some(name),
            (["active"] | ["is", "active"] | ["enabled"], "boolean") => Some(format!("NOT {name}")),
            (["suspended" | "disabled" | "deleted" | "archived" | "discarded" | "deactivated", "at" | "on"], _) => {
                Some(format!("{name} IS NOT NULL"))
            }
            _ => None,
        }
    });
    if let Some(expression) = expression {
        remarks.push(format!("tenants are served whatever their row says: add \", {expression} AS suspended\" to the query if such a one is to be refused"));
    }
}
