//! What a row of a tenants' table says of its tenant in the words of `[[tenant]]`: JSON with the same keys, values and checks.

use std::path::Path;

use serde_json::Value as Json;
use toml::de::DeTable;

use super::Context;
use super::tenant::{TenantTerms, read_terms};
use crate::config::diagnostics::Findings;
use crate::config::model::Config;
use crate::config::section::{Keys, Section};

/// The columns that may say it.
pub const TERM_COLUMNS: [&str; 5] = ["allow_from", "limits", "weight", "pool", "quota"];

const ROW: Keys = Keys { known: &TERM_COLUMNS, later: &[] };

/// Reads columns of [`TERM_COLUMNS`], each with the text of its value; what they do not say is as the configuration has it for
/// all tenants.
///
/// # Errors
/// What is wrong with them, in words for an operator.
pub fn terms_of_row<'v>(
    config: &Config,
    columns: impl IntoIterator<Item = (&'static str, &'v str)>,
) -> Result<TenantTerms, String> {
    let mut written = toml::Table::new();
    for (column, text) in columns {
        if let Some(value) = value(column, text)? {
            written.insert(column.to_owned(), value);
        }
    }
    if written.is_empty() {
        return Ok(TenantTerms { limits: config.limits.clone(), ..TenantTerms::default() });
    }
    let text = written.to_string();
    let document = DeTable::parse(&text).map_err(|error| error.message().to_owned())?;
    let findings = Findings::new(Path::new(""), &text);
    let terms = {
        let section = Section::new("the row", 0..0, document.get_ref(), &findings).expect_keys(&ROW);
        let context = Context { findings: &findings, base: Path::new(""), env: &|_| None };
        let quota = config.quota.as_deref();
        read_terms(&context, &section, quota, quota.is_some(), &config.limits)
    };
    let (errors, _) = findings.finish();
    if errors.is_empty() {
        return Ok(terms);
    }
    let said = errors.into_iter().map(|error| match error.hint {
        Some(hint) => format!("{} ({hint})", error.message),
        None => error.message,
    });
    Err(said.collect::<Vec<_>>().join("; "))
}

/// A column's JSON as TOML has it. `None`: it is null.
fn value(column: &str, text: &str) -> Result<Option<toml::Value>, String> {
    let json = match serde_json::from_str::<Json>(text) {
        Ok(json) => without_nulls(json),
        // One network needs no quotes.
        Err(_) if column == "allow_from" => Json::String(text.to_owned()),
        Err(error) => return Err(format!("\"{column}\" is no JSON: {error}")),
    };
    if json.is_null() {
        return Ok(None);
    }
    toml::Value::try_from(json).map(Some).map_err(|error| format!("\"{column}\" cannot be read: {error}"))
}

/// What is null is not said: `jsonb_build_object` makes such members of columns that are NULL.
fn without_nulls(json: Json) -> Json {
    match json {
        Json::Object(members) => {
            let said = members.into_iter().filter(|(_, value)| !value.is_null());
            Json::Object(said.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        other => other,
    }
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&ROW];
