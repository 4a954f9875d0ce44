//! `[[tenant]]`

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use toml::de::DeValue;

use super::auth::read_allow_from;
use super::tenancy::identifier;
use super::{Context, Upstreams, limits, quota, upstream};
use crate::base::{AllowList, CONSOLE_DATABASE, TenantKeys, TenantName, UpstreamName, is_tenant_name};
use crate::config::diagnostics::did_you_mean;
use crate::config::limits::Limits;
use crate::config::model::{Layout, Share, Tenancy, Tenant, Upstream};
use crate::config::quota::{Quota, QuotaConfig};
use crate::config::section::{At, Keys, Section, value_type};

const TENANT: Keys = Keys {
    known: &[
        "name",
        "key",
        "keys",
        "layout",
        "schema",
        "role",
        "upstream",
        "suspended",
        "allow_from",
        "quota",
        "limits",
        "weight",
        "pool",
    ],
    later: &["domain"],
};

/// All tenants: the names of all that are declared, and those that could be read.
pub(super) struct Tenants {
    pub(super) names: BTreeMap<String, super::Span>,
    pub(super) read: Vec<At<Arc<Tenant>>>,
}

pub(super) fn read_all(
    context: &Context<'_>,
    root: &Section<'_>,
    tenancy: Option<&Tenancy>,
    quota: Option<&QuotaConfig>,
    upstreams: &mut Upstreams,
    defaults: &Limits,
) -> Tenants {
    let mut tenants = Tenants { names: BTreeMap::new(), read: Vec::new() };
    for section in root.tables("tenant", &TENANT) {
        let name = read_name(context, &section, &mut tenants);
        let terms = read_terms(context, &section, quota, root.has("quota"), defaults);
        if let Some(tenant) = read(context, &section, name, tenancy, upstreams) {
            let TenantTerms { allow_from, limits, share, quota } = terms;
            let tenant = Tenant { allow_from, limits, share, quota, ..tenant };
            tenants.read.push(At { value: Arc::new(tenant), span: section.span.clone() });
        }
    }
    tenants
}

fn read_name(context: &Context<'_>, section: &Section<'_>, tenants: &mut Tenants) -> Option<String> {
    let name = section.required("name", "\"acme\"")?;
    if !is_tenant_name(name.value) {
        context.findings.error_hint(
            &name.span,
            format!("\"{}\" is no name for a tenant", name.value),
            "letters, digits, _ and -, starting with a letter or digit, at most 63",
        );
    }
    if name.value == CONSOLE_DATABASE {
        context
            .findings
            .error(&name.span, format!("\"{CONSOLE_DATABASE}\" is the name of the console: no tenant can have it"));
    }
    if tenants.names.insert(name.value.to_owned(), name.span.clone()).is_some() {
        let message = format!("tenant \"{}\" is configured twice", name.value);
        context.findings.error(&name.span, message);
    }
    Some(name.value.to_owned())
}

fn read(
    context: &Context<'_>,
    section: &Section<'_>,
    name: Option<String>,
    tenancy: Option<&Tenancy>,
    upstreams: &mut Upstreams,
) -> Option<Tenant> {
    let layout = read_layout(context, section);
    let keys = read_keys(context, section, layout.as_ref(), tenancy);
    let suspended = section.bool("suspended").is_some_and(|b| b.value);
    let name = name?;
    let upstream = read_upstream(context, section, &name, layout.as_ref(), tenancy, upstreams);
    Some(Tenant {
        name: TenantName::new(name),
        layout: layout?,
        keys,
        upstream: upstream?,
        suspended,
        allow_from: None,
        limits: Limits::default(),
        share: Share::default(),
        quota: None,
    })
}

/// What a tenant may take, and from where; not where it lives.
#[derive(Clone, Debug, Default)]
pub struct TenantTerms {
    /// As [`Tenant::allow_from`].
    pub allow_from: Option<AllowList>,
    /// As [`Tenant::limits`].
    pub limits: Limits,
    /// As [`Tenant::share`].
    pub share: Share,
    /// As [`Tenant::quota`].
    pub quota: Option<Arc<Quota>>,
}

/// `with_quota`: there is a section `[quota]`, well-formed or not.
pub(super) fn read_terms(
    context: &Context<'_>,
    section: &Section<'_>,
    quota: Option<&QuotaConfig>,
    with_quota: bool,
    defaults: &Limits,
) -> TenantTerms {
    TenantTerms {
        allow_from: read_allow_from(context, section),
        limits: limits::read(context, section).or(defaults),
        share: read_share(context, section),
        quota: quota::of_tenant(context, section, quota, with_quota),
    }
}

const POOL: Keys = Keys { known: &["min", "max"], later: &[] };

fn read_share(context: &Context<'_>, section: &Section<'_>) -> Share {
    let weight = section.number("weight", 1..=1_000).map_or(1, |n| u32::try_from(n.value).unwrap_or(1));
    let Some(pool) = section.table("pool", &POOL) else { return Share { weight, ..Share::default() } };
    let min = pool.number("min", 0..=10_000).map_or(0, |n| n.value);
    let max = pool.number("max", 1..=10_000);
    if let Some(max) = max.as_ref().filter(|max| max.value < min) {
        context.findings.error(&max.span, format!("\"max\" ({}) is smaller than \"min\" ({min})", max.value));
    }
    Share { weight, min, max: max.map(|n| n.value), ..Share::default() }
}

fn read_layout(context: &Context<'_>, section: &Section<'_>) -> Option<Layout> {
    const KNOWN: [&str; 3] = ["shared", "schema", "database"];
    let word = match section.has("layout") {
        true => section.nonempty("layout")?,
        false => At { value: "shared", span: section.span.clone() },
    };
    let layout = match word.value {
        "shared" => Layout::Shared,
        "database" => Layout::Database,
        "schema" => Layout::Schema {
            schema: read_schema(context, section)?,
            role: identifier(context, section, "role").map(Arc::from),
        },
        other => {
            let hint = did_you_mean(other, KNOWN).unwrap_or_else(|| format!("one of {}", KNOWN.join(", ")));
            let message = format!("\"{other}\" is no layout");
            context.findings.error_hint(&word.span, message, hint);
            return None;
        }
    };
    if !matches!(layout, Layout::Schema { .. }) {
        for key in ["schema", "role"] {
            if section.has(key) {
                context.findings.error_hint(
                    &section.span_of(key),
                    format!("\"{key}\" does nothing in layout \"{}\"", word.value),
                    "remove it, or use layout = \"schema\"",
                );
            }
        }
    }
    Some(layout)
}

fn read_schema(context: &Context<'_>, section: &Section<'_>) -> Option<Arc<str>> {
    if !section.has("schema") {
        context.findings.error_hint(
            &section.span_of("layout"),
            "layout \"schema\" needs \"schema\"",
            "schema = \"acme\"",
        );
        return None;
    }
    let schema = identifier(context, section, "schema")?;
    if schema.starts_with("pg_") || schema == "information_schema" {
        context.findings.error(&section.span_of("schema"), format!("\"{schema}\" is one of Postgres's own schemas"));
        return None;
    }
    Some(Arc::from(schema))
}

fn read_keys(
    context: &Context<'_>,
    section: &Section<'_>,
    layout: Option<&Layout>,
    tenancy: Option<&Tenancy>,
) -> TenantKeys {
    let mut keys = TenantKeys::default();
    for (key, value) in section.entries().filter(|(k, _)| k.value == "key") {
        keys.default = key_value(context, key.value, &value);
    }
    let named = section.open_table("keys");
    for (key, value) in named.iter().flat_map(Section::entries) {
        if let Some(text) = key_value(context, key.value, &value) {
            keys.named.insert(Arc::from(key.value), text);
        }
        let used = tenancy.is_none_or(|t| t.tables.values().any(|o| o.key().is_some_and(|used| **used == *key.value)));
        if !used {
            context.findings.warning(
                &key.span,
                format!("no table of [tenancy.tables] uses the key \"{}\"", key.value),
                format!("\"schema.table\" = {{ key = \"{}\" }}", key.value),
            );
        }
    }
    match layout {
        Some(Layout::Shared) => check_shared_keys(context, section, &keys, tenancy),
        Some(Layout::Schema { .. } | Layout::Database) if named.is_some() => {
            context.findings.error_hint(
                &section.span_of("keys"),
                "\"keys\" does nothing outside of layout \"shared\"",
                "remove it",
            );
        }
        Some(Layout::Schema { .. } | Layout::Database) | None => {}
    }
    keys
}

/// A key's value as text in its type's input format.
fn key_value(context: &Context<'_>, key: &str, value: &At<&DeValue<'_>>) -> Option<Arc<str>> {
    let text = match value.value {
        DeValue::String(s) if s.is_empty() || s.contains('\0') => None,
        DeValue::String(s) => Some(Arc::from(s.as_ref())),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).ok().map(|n| Arc::from(n.to_string())),
        DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    };
    if text.is_none() {
        context.findings.error_hint(
            &value.span,
            format!(
                "key \"{key}\" cannot be {}: it is the value that stands in the tenant column",
                match value.value {
                    DeValue::String(_) => "empty",
                    other => value_type(other),
                }
            ),
            "a whole number, or a string: 42, \"acme\", \"6f1c0f5e-...\"",
        );
    }
    text
}

fn check_shared_keys(context: &Context<'_>, section: &Section<'_>, keys: &TenantKeys, tenancy: Option<&Tenancy>) {
    if keys.default.is_none() && !section.has("key") {
        context.findings.error_hint(
            &section.span,
            "layout \"shared\" needs \"key\": the tenant's value of the tenant column",
            "key = 42, or layout = \"schema\" or \"database\"",
        );
    }
    let mut missing: HashMap<&str, String> = HashMap::new();
    for (table, over) in tenancy.iter().flat_map(|t| &t.tables) {
        if let Some(name) = over.key().map(AsRef::as_ref)
            && !keys.named.contains_key(name)
        {
            missing.entry(name).or_insert_with(|| table.to_string());
        }
    }
    for (name, table) in missing {
        context.findings.error_hint(
            &section.span,
            format!("this tenant has no key \"{name}\", which [tenancy.tables] \"{table}\" asks for"),
            format!("keys = {{ {name} = ... }}"),
        );
    }
}

fn read_upstream(
    context: &Context<'_>,
    section: &Section<'_>,
    tenant: &str,
    layout: Option<&Layout>,
    tenancy: Option<&Tenancy>,
    upstreams: &mut Upstreams,
) -> Option<Arc<Upstream>> {
    let Some((_, value)) = section.entries().find(|(k, _)| k.value == "upstream") else {
        if matches!(layout, Some(Layout::Database)) {
            context.findings.error_hint(
                &section.span_of("layout"),
                "layout \"database\" needs an upstream of its own",
                "upstream = { url = \"postgres://app@127.0.0.1:5432/acme\" }, or the name of one",
            );
            return None;
        }
        let (_, upstream) = upstreams.0.get(&tenancy?.upstream)?;
        return upstream.clone();
    };
    match value.value {
        DeValue::String(name) => upstreams.find(context, name, &value.span),
        DeValue::Table(table) => {
            let inline =
                Section::new(format!("upstream of tenant \"{tenant}\""), value.span.clone(), table, context.findings)
                    .expect_keys(&upstream::UPSTREAM);
            let name = UpstreamName::new(format!("tenant/{tenant}"));
            let read = upstream::read(context, &inline, name.clone());
            upstreams.0.insert(name, (value.span, read.clone()));
            read
        }
        other => {
            context.findings.error(
                &value.span,
                format!("\"upstream\" must be the name of one or a table, not {}", value_type(other)),
            );
            None
        }
    }
}

/// The line of a configuration's text in which a tenant's `[[tenant]]` begins.
pub fn line_of_tenant(text: &str, name: &str) -> Option<usize> {
    let document = toml::de::DeTable::parse(text).ok()?;
    let DeValue::Array(tenants) = document.get_ref().get("tenant")?.get_ref() else { return None };
    let found = tenants.iter().find(|it| {
        let name_of = |table: &toml::de::DeTable<'_>| Some(table.get("name")?.get_ref().as_str()? == name);
        matches!(it.get_ref(), DeValue::Table(table) if name_of(table) == Some(true))
    })?;
    Some(text.get(..found.span().start)?.matches('\n').count() + 1)
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 2] = [&TENANT, &POOL];
