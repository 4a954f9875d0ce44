//! `[auth_query]`

use std::sync::Arc;
use std::time::Duration;

use super::login::named_tenants;
use super::tenant::Tenants;
use super::{Context, Upstreams};
use crate::base::QualifiedName;
use crate::config::auth_query::AuthQuery;
use crate::config::diagnostics::Span;
use crate::config::limits::Limits;
use crate::config::model::{Tenancy, TenantScope, Upstream};
use crate::config::section::{Keys, Section};
use crate::sql::{Named, QueryNames, names_of_select, quote_identifier};

const AUTH_QUERY: Keys =
    Keys { known: &["upstream", "query", "tenants", "ttl", "negative_ttl", "timeout", "connections"], later: &[] };

/// The query where none is written.
const QUERY: &str = "SELECT * FROM pgwarden_login($1)";

/// What is known of the rest of the configuration.
pub(super) struct Known<'k> {
    pub(super) tenancy: Option<&'k Tenancy>,
    pub(super) upstreams: &'k Upstreams,
    pub(super) tenants: &'k Tenants,
    pub(super) limits: &'k Limits,
}

pub(super) fn read(context: &Context<'_>, root: &Section<'_>, known: &Known<'_>) -> Option<AuthQuery> {
    let section = root.table("auth_query", &AUTH_QUERY)?;
    let upstream = read_upstream(context, &section, known);
    let (query, names) = read_query(context, &section)?;
    let tenants = read_tenants(context, root, &section, known);
    let seconds = |key: &str, least: u64, usual: u64| {
        section.duration(key, Duration::from_millis(least)).unwrap_or(Duration::from_secs(usual))
    };
    let (ttl, negative_ttl, timeout) =
        (seconds("ttl", 0, 60), seconds("negative_ttl", 0, 5), seconds("timeout", 100, 5));
    let connections = section.number("connections", 1..=100).map_or(2, |number| number.value);
    let (upstream, tenancy) = (upstream?, known.tenancy?);
    keep_from_tenants(context, &section.span_of("query"), tenancy, &names);
    let more_tenants = root.has("tenants_from");
    let shared = more_tenants || is_home_of_tenants(&upstream, tenancy, known);
    Some(AuthQuery {
        upstream,
        query,
        relations: names.relations.iter().map(quoted).collect(),
        tenant_column: shared.then(|| tenancy.column.clone()),
        tenants,
        ttl,
        negative_ttl,
        timeout,
        connections,
        limits: known.limits.clone(),
    })
}

fn read_upstream(context: &Context<'_>, section: &Section<'_>, known: &Known<'_>) -> Option<Arc<Upstream>> {
    match section.nonempty("upstream") {
        Some(name) => known.upstreams.find(context, name.value, &name.span),
        None if section.has("upstream") => None,
        None => known.upstreams.0.get(&known.tenancy?.upstream).and_then(|(_, upstream)| upstream.clone()),
    }
}

fn read_query(context: &Context<'_>, section: &Section<'_>) -> Option<(String, QueryNames)> {
    let query = match section.has("query") {
        true => section.nonempty("query")?.value,
        false => QUERY,
    };
    let wrong = |what: String| {
        let hint = "for instance query = \"SELECT name, password, valid_until, tenants FROM pgwarden_login($1)\"";
        context.findings.error_hint(&section.span_of("query"), format!("\"query\" in [auth_query]: {what}"), hint);
    };
    match names_of_select(query) {
        Ok(names) if names.params == 1 => Some((query.to_owned(), names)),
        Ok(_) => {
            wrong("it needs $1, the name that a client gives, and no other parameter".to_owned());
            None
        }
        Err(error) => {
            wrong(error);
            None
        }
    }
}

fn read_tenants(
    context: &Context<'_>,
    root: &Section<'_>,
    section: &Section<'_>,
    known: &Known<'_>,
) -> Option<TenantScope> {
    let written = section.strings("tenants")?;
    if written.is_empty() {
        context.findings.error_hint(
            &section.span_of("tenants"),
            "\"tenants\" in [auth_query] is empty: its logins could do nothing",
            "leave it out where the query has a column \"tenants\"",
        );
    }
    match written.as_slice() {
        [all] if all.value == "*" => Some(TenantScope::All),
        _ => Some(TenantScope::Only(named_tenants(context, written, known.tenants, root.has("tenants_from")))),
    }
}

/// Tenants must neither read nor write what logins are made of.
fn keep_from_tenants(context: &Context<'_>, span: &Span, tenancy: &Tenancy, names: &QueryNames) {
    let is = |named: &Named, other: &QualifiedName| {
        named.name == other.name && named.schema.as_ref().is_none_or(|schema| *schema == other.schema)
    };
    let tables = || tenancy.shared_tables.iter().chain(tenancy.tables.keys());
    let table = tables().find(|table| names.relations.iter().any(|named| is(named, table)));
    let function = tenancy.allow_functions.iter().find(|function| names.functions.iter().any(|it| is(it, function)));
    for (what, place) in [(table, "shared_tables and [tenancy.tables]"), (function, "allow_functions")] {
        if let Some(what) = what {
            context.findings.error_hint(
                span,
                format!("tenants may use \"{what}\", as [tenancy] has it, and logins come from it"),
                format!("take it out of {place}, or keep logins in another place"),
            );
        }
    }
}

/// Whether tenants live in the upstream's database.
fn is_home_of_tenants(upstream: &Upstream, tenancy: &Tenancy, known: &Known<'_>) -> bool {
    let by_name = [Some(&tenancy.upstream), tenancy.pattern.as_ref().map(|pattern| &pattern.upstream)];
    let by_name = by_name.into_iter().flatten().filter_map(|name| known.upstreams.0.get(name)?.1.as_ref());
    let mut homes = by_name.chain(known.tenants.read.iter().map(|tenant| &tenant.value.upstream));
    homes.any(|home| home.address == upstream.address && home.database == upstream.database)
}

fn quoted(named: &Named) -> String {
    let parts: Vec<_> = named.schema.iter().chain([&named.name]).map(|part| quote_identifier(part)).collect();
    parts.join(".")
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&AUTH_QUERY];
