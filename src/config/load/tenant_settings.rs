//! `[tenancy.settings]`

use toml::de::DeValue;

use super::Context;
use crate::config::section::{Section, value_type};
use crate::config::tenant_settings::{Amount, TenantSetting, TenantValues};

/// Reads the table. `setting`: the tenant's own, which nobody sets.
pub(super) fn read(context: &Context<'_>, tenancy: &Section<'_>, setting: &str) -> Vec<TenantSetting> {
    let Some(section) = tenancy.open_table("settings") else { return Vec::new() };
    let mut settings: Vec<TenantSetting> = Vec::new();
    for (name, value) in section.entries() {
        let lower = name.value.to_ascii_lowercase();
        let prefix = lower.strip_suffix('*');
        let bare = prefix.unwrap_or(&lower);
        if !is_name(bare) || prefix.is_some_and(|prefix| !prefix.ends_with('.')) {
            context.findings.error_hint(
                &name.span,
                format!("\"{}\" is no name of a setting", name.value),
                "work_mem, \"audit.actor\", or \"request.*\" for all that begin so",
            );
            continue;
        }
        let Some(values) = values(value.value) else {
            context.findings.error_hint(
                &value.span,
                format!("\"{}\" must be true, false or a greatest value, not {}", name.value, value_type(value.value)),
                "work_mem = \"64MB\", \"audit.actor\" = true",
            );
            continue;
        };
        let read = TenantSetting { name: bare.to_owned(), prefix: prefix.is_some(), values };
        if values != TenantValues::None && !read.prefix && read.name == setting {
            context
                .findings
                .error(&name.span, format!("\"{setting}\" is the tenant's setting: pgwarden alone sets it"));
            continue;
        }
        settings.push(read);
    }
    // The longest name that fits decides.
    settings.sort_by_key(|it| (it.prefix, std::cmp::Reverse(it.name.len())));
    settings
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'$' | b'-'))
}

fn values(value: &DeValue<'_>) -> Option<TenantValues> {
    Some(match value {
        DeValue::Boolean(true) => TenantValues::Any,
        DeValue::Boolean(false) => TenantValues::None,
        DeValue::String(text) => TenantValues::UpTo(Amount::parse(text)?),
        DeValue::Integer(number) => TenantValues::UpTo(Amount::parse(number.as_str())?),
        DeValue::Float(number) => TenantValues::UpTo(Amount::parse(number.as_str())?),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => return None,
    })
}
