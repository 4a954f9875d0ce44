//! `[tenancy]`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::tls::is_host_name;
use super::{Context, Upstreams, pattern, tenant_settings};
use crate::base::{Access, QualifiedName, UpstreamName};
use crate::config::diagnostics::{Span, did_you_mean};
use crate::config::model::{Source, TableOverride, Tenancy, Witness};
use crate::config::section::{Keys, Section, value_type};
use crate::config::values::parse_qualified_name;

const TENANCY: Keys = Keys {
    known: &[
        "upstream",
        "column",
        "setting",
        "identify",
        "shared_tables",
        "allow_functions",
        "complete_conflict_targets",
        "settings",
        "catalog_refresh",
        "catalog_max_age",
        "witness",
        "search_path",
        "common_schemas",
        "tables",
        "without_tenant",
        "domain",
        "pattern",
    ],
    later: &[],
};
const WITHOUT_TENANT: Keys = Keys { known: &["functions"], later: &[] };
const TABLE: Keys = Keys { known: &["column", "key", "null", "through", "write", "access"], later: &[] };

/// Longest identifier of Postgres, in bytes (NAMEDATALEN - 1).
pub(super) const MAX_IDENTIFIER: usize = 63;

pub(super) fn read(context: &Context<'_>, root: &Section<'_>, upstreams: &Upstreams) -> Option<Tenancy> {
    let Some(section) = root.table("tenancy", &TENANCY) else {
        if !root.has("tenancy") {
            context.findings.error_hint(
                &root.span,
                "section [tenancy] is missing",
                "[tenancy]\n          upstream = \"main\"\n          column = \"tenant_id\"",
            );
        }
        return None;
    };
    let upstream = section.required("upstream", "\"main\"");
    if let Some(name) = &upstream {
        upstreams.find(context, name.value, &name.span);
    }
    let column = match section.has("column") {
        true => identifier(context, &section, "column"),
        false => Some("tenant_id".to_owned()),
    };
    let shared_tables = names(context, &section, "shared_tables", "public.countries");
    let tables = read_tables(context, &section, &shared_tables);
    let identify = read_sources(context, &section);
    let domains = read_domains(context, &section, &identify);
    let upstream = UpstreamName::new(upstream.map_or("", |u| u.value));
    let allow_functions = names(context, &section, "allow_functions", "public.slugify");
    let pattern = pattern::read(context, &section, upstreams, &upstream);
    let setting = read_setting(context, &section);
    Some(Tenancy {
        upstream,
        pattern,
        column: column.unwrap_or_default(),
        settings: tenant_settings::read(context, &section, &setting),
        setting,
        identify,
        domains,
        shared_tables,
        complete_conflict_targets: section.bool("complete_conflict_targets").is_some_and(|it| it.value),
        without_tenant: read_without_tenant(context, &section, &allow_functions),
        allow_functions,
        catalog_refresh: section.duration("catalog_refresh", Duration::from_secs(1)).unwrap_or(Duration::from_secs(60)),
        catalog_max_age: section
            .duration("catalog_max_age", Duration::from_millis(100))
            .unwrap_or(Duration::from_secs(1)),
        witness: read_witness(context, &section),
        search_path: read_search_path(context, &section),
        common_schemas: read_common_schemas(context, &section),
        own_tables: Vec::new(),
        tables,
    })
}

/// A name as stored in the catalog, not longer than Postgres keeps.
pub(super) fn identifier(context: &Context<'_>, section: &Section<'_>, key: &str) -> Option<String> {
    let name = section.nonempty(key)?;
    if name.value.len() > MAX_IDENTIFIER {
        context.findings.error(&name.span, format!("\"{key}\" is longer than {MAX_IDENTIFIER} bytes"));
        return None;
    }
    Some(name.value.to_owned())
}

fn names(context: &Context<'_>, section: &Section<'_>, key: &str, example: &str) -> Vec<QualifiedName> {
    let mut found: Vec<QualifiedName> = Vec::new();
    for text in section.strings(key).unwrap_or_default() {
        let Some(name) = qualified(context, text.value, &text.span, example) else {
            continue;
        };
        if found.contains(&name) {
            context.findings.error(&text.span, format!("{name} is listed twice in \"{key}\""));
        } else {
            found.push(name);
        }
    }
    found
}

/// Functions of `without_tenant = { functions = [...] }`.
fn read_without_tenant(context: &Context<'_>, section: &Section<'_>, allowed: &[QualifiedName]) -> Vec<QualifiedName> {
    let Some(section) = section.table("without_tenant", &WITHOUT_TENANT) else { return Vec::new() };
    let functions = names(context, &section, "functions", "public.find_login");
    for name in functions.iter().filter(|name| allowed.contains(name)) {
        context.findings.error_hint(
            &section.span_of("functions"),
            format!("{name} stands in \"allow_functions\" too"),
            "a function in \"without_tenant\" is called by sessions that act for no tenant, and by no others",
        );
    }
    functions
}

pub(super) fn qualified(context: &Context<'_>, text: &str, span: &Span, example: &str) -> Option<QualifiedName> {
    let name = parse_qualified_name(text);
    if name.is_none() {
        context.findings.error_hint(
            span,
            format!("\"{text}\" is not a schema and a name"),
            format!("write the schema too, case as in the database: \"{example}\""),
        );
    }
    name
}

fn read_setting(context: &Context<'_>, section: &Section<'_>) -> String {
    let default = "app.tenant_id".to_owned();
    let Some(setting) = section.nonempty("setting") else {
        return default;
    };
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    if setting.value.contains('.') && setting.value.split('.').all(is_word) {
        return setting.value.to_owned();
    }
    context.findings.error_hint(
        &setting.span,
        format!("\"{}\" is no name for a setting", setting.value),
        "two or more words of lower-case letters, digits and _, with dots between: \"app.tenant_id\"",
    );
    default
}

fn read_sources(context: &Context<'_>, section: &Section<'_>) -> Vec<Source> {
    const KNOWN: [&str; 5] = ["user", "database", "option", "sni", "certificate"];
    let Some(words) = section.strings("identify") else {
        return vec![Source::Database, Source::User, Source::Option];
    };
    let mut sources = Vec::new();
    for word in words {
        let source = match word.value {
            "user" => Source::User,
            "database" => Source::Database,
            "option" => Source::Option,
            "sni" => Source::Sni,
            "certificate" => Source::Certificate,
            other => {
                let hint = did_you_mean(other, KNOWN).unwrap_or_else(|| format!("one of {}", KNOWN.join(", ")));
                let message = format!("a client cannot be identified by \"{other}\"");
                context.findings.error_hint(&word.span, message, hint);
                continue;
            }
        };
        if sources.contains(&source) {
            let message = format!("\"{}\" is listed twice in \"identify\"", word.value);
            context.findings.error(&word.span, message);
        } else {
            sources.push(source);
        }
    }
    sources
}

/// `domain`, which goes with `identify = ["sni"]`.
fn read_domains(context: &Context<'_>, section: &Section<'_>, sources: &[Source]) -> Vec<String> {
    let by_sni = sources.contains(&Source::Sni);
    let written = section.strings("domain").unwrap_or_default();
    if by_sni && written.is_empty() {
        context.findings.error_hint(
            &section.span_of("identify"),
            "identification by \"sni\" needs \"domain\": the host name below which tenants have theirs",
            "domain = \"db.example.com\"",
        );
    }
    if !by_sni && let Some(first) = written.first() {
        context.findings.error_hint(
            &first.span,
            "\"domain\" does nothing: \"identify\" does not list \"sni\"",
            "identify = [\"sni\", \"database\", \"user\", \"option\"]",
        );
    }
    let mut domains = Vec::new();
    for domain in written {
        if is_host_name(domain.value) {
            domains.push(domain.value.to_ascii_lowercase());
        } else {
            context.findings.error_hint(
                &domain.span,
                format!("\"{}\" is no host name", domain.value),
                "without the tenant's part: \"db.example.com\" for acme.db.example.com",
            );
        }
    }
    domains
}

fn read_witness(context: &Context<'_>, section: &Section<'_>) -> Witness {
    let Some(written) = section.nonempty("witness") else { return Witness::default() };
    Witness::ALL.into_iter().find(|it| it.as_str() == written.value).unwrap_or_else(|| {
        let names = Witness::ALL.map(Witness::as_str);
        let hint = did_you_mean(written.value, names)
            .unwrap_or_else(|| format!("one of {}", names.map(|it| format!("\"{it}\"")).join(", ")));
        let message = format!("\"{}\" is nothing that can become of what the witness says", written.value);
        context.findings.error_hint(&written.span, message, hint);
        Witness::default()
    })
}

fn read_search_path(context: &Context<'_>, section: &Section<'_>) -> Option<Vec<String>> {
    let written = section.strings("search_path")?;
    if written.is_empty() {
        context.findings.error_hint(
            &section.span_of("search_path"),
            "\"search_path\" is empty",
            "leave it out to take the upstream role's own",
        );
    }
    let mut path = Vec::new();
    for schema in written {
        let text = schema.value;
        if text.is_empty() || text == "$user" || text.starts_with("pg_temp") {
            context.findings.error(&schema.span, format!("\"{text}\" cannot stand in the pinned search path"));
        } else {
            path.push(text.to_owned());
        }
    }
    Some(path)
}

/// An empty list is one: no schema stands behind the tenant's.
fn read_common_schemas(context: &Context<'_>, section: &Section<'_>) -> Option<Vec<String>> {
    let mut schemas: Vec<String> = Vec::new();
    for schema in section.strings("common_schemas")? {
        let text = schema.value;
        if text.is_empty() || text.len() > MAX_IDENTIFIER {
            context.findings.error(&schema.span, format!("a schema's name has 1 to {MAX_IDENTIFIER} bytes"));
        } else if text == "$user" || text == "information_schema" || text.starts_with("pg_") {
            context.findings.error(&schema.span, format!("\"{text}\" cannot be common to tenants"));
        } else if schemas.iter().any(|it| it == text) {
            context.findings.error(&schema.span, format!("\"{text}\" is listed twice in \"common_schemas\""));
        } else {
            schemas.push(text.to_owned());
        }
    }
    Some(schemas)
}

fn read_tables(
    context: &Context<'_>,
    section: &Section<'_>,
    shared: &[QualifiedName],
) -> BTreeMap<QualifiedName, TableOverride> {
    let mut tables = BTreeMap::new();
    let Some(list) = section.open_table("tables") else {
        return tables;
    };
    for (name, value) in list.entries() {
        let Some(table) = qualified(context, name.value, &name.span, "public.invoices") else {
            continue;
        };
        if shared.contains(&table) {
            context.findings.error_hint(
                &name.span,
                format!("{table} stands in \"shared_tables\" too"),
                "a table belongs to tenants, or to all of them together",
            );
        }
        let DeValue::Table(inner) = value.value else {
            context.findings.error_hint(
                &value.span,
                format!("\"{}\" must be a table, not {}", name.value, value_type(value.value)),
                format!("\"{}\" = {{ column = \"org_id\", key = \"uuid\" }}", name.value),
            );
            continue;
        };
        let title = format!("[tenancy.tables] \"{}\"", name.value);
        let entry = Section::new(title, value.span, inner, context.findings).expect_keys(&TABLE);
        let over = match (entry.has("access"), entry.has("through")) {
            (true, _) => read_shared(context, &entry, &table),
            (false, true) => read_through(context, &entry),
            (false, false) => TableOverride::Tenant {
                column: identifier(context, &entry, "column"),
                key: entry.nonempty("key").map(|k| Arc::from(k.value)),
                null_is_shared: read_null(context, &entry),
                access: read_write(&entry),
            },
        };
        tables.insert(table, over);
    }
    tables
}

/// `write = false`
fn read_write(entry: &Section<'_>) -> Access {
    match entry.bool("write").is_none_or(|write| write.value) {
        true => Access::Write,
        false => Access::Read,
    }
}

/// `through = "order_id"`
fn read_through(context: &Context<'_>, entry: &Section<'_>) -> TableOverride {
    for key in ["column", "key", "null"] {
        if entry.has(key) {
            context.findings.error_hint(
                &entry.span_of(key),
                format!(
                    "\"{key}\" goes with a table that has the tenant column, and \"through\" with one that has not"
                ),
                "which tenant a row belongs to, and by which key, is said of the table that the foreign key leads to",
            );
        }
    }
    TableOverride::Through {
        column: identifier(context, entry, "through").unwrap_or_default(),
        access: read_write(entry),
    }
}

/// `null = "shared"`
fn read_null(context: &Context<'_>, entry: &Section<'_>) -> bool {
    let Some(written) = entry.nonempty("null") else { return false };
    if written.value != "shared" {
        context.findings.error_hint(
            &written.span,
            format!("\"{}\" is nothing that rows without a tenant can be", written.value),
            "\"shared\": all tenants read them, and operators write them; without the key, no tenant sees them",
        );
    }
    true
}

/// A table without tenants' rows, and what they may do with it.
fn read_shared(context: &Context<'_>, entry: &Section<'_>, table: &QualifiedName) -> TableOverride {
    for key in ["column", "key", "null", "through", "write"] {
        if entry.has(key) {
            context.findings.error_hint(
                &entry.span_of(key),
                format!("\"{key}\" goes with a table of tenants, \"access\" with one that is shared"),
                "a table belongs to tenants, or to all of them together",
            );
        }
    }
    let written = entry.nonempty("access");
    let named = |text: &str| Access::ALL.into_iter().find(|it| it.as_str() == text);
    let access = written.as_ref().map(|written| (written, named(written.value)));
    match access {
        Some((written, Some(access @ (Access::Insert | Access::Write)))) => {
            let what = match access {
                Access::Read | Access::Insert => "every tenant may add rows to",
                Access::Write => "every tenant may add, change and delete every row of",
            };
            context.findings.warning(
                &written.span,
                format!("{what} {table}: the others read them"),
                "for tables of frameworks (sessions, flags, job queues), in which no tenant's data stands",
            );
            TableOverride::Shared(access)
        }
        Some((written, None)) => {
            let names = Access::ALL.map(Access::as_str);
            let hint = did_you_mean(written.value, names)
                .unwrap_or_else(|| format!("one of {}", names.map(|it| format!("\"{it}\"")).join(", ")));
            let message = format!("\"{}\" is nothing that tenants may do with a table", written.value);
            context.findings.error_hint(&written.span, message, hint);
            TableOverride::Shared(Access::Read)
        }
        Some((_, Some(Access::Read))) | None => TableOverride::Shared(Access::Read),
    }
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 2] = [&TENANCY, &TABLE];
