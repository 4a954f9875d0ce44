//! What only shows when all sections are seen together. Most of it keeps one tenant's data from being another's by mistake.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Context, Upstreams};
use crate::base::{Access, NamePattern};
use crate::config::auth_query::AuthQuery;
use crate::config::model::{
    Address, GlobalPool, Layout, Listen, Login, LoginAuth, Role, Source, TableOverride, Tenancy, Tenant, TenantsFrom,
    TokenConfig, Upstream,
};
use crate::config::quota::QuotaConfig;
use crate::config::section::At;
use crate::sql::names_of_select;

/// The sections as read.
pub(super) struct Found<'f> {
    pub(super) listen: &'f Listen,
    pub(super) pool: &'f GlobalPool,
    pub(super) tenancy: &'f Tenancy,
    /// Tenants come from elsewhere too.
    pub(super) more_tenants: bool,
    pub(super) upstreams: &'f Upstreams,
    pub(super) tenants: &'f [At<Arc<Tenant>>],
    pub(super) logins: &'f [At<Arc<Login>>],
    /// `[jwt]`, if it is there, and if it can be read.
    pub(super) tokens: Option<Option<&'f TokenConfig>>,
    pub(super) quota: Option<&'f QuotaConfig>,
    pub(super) auth_query: Option<&'f AuthQuery>,
    pub(super) tenants_from: Option<&'f TenantsFrom>,
}

pub(super) fn run(context: &Context<'_>, found: &Found<'_>) {
    same_place(context, found.tenants);
    same_key(context, found.tenants);
    same_role(context, found.tenants);
    trust_beyond_loopback(context, found);
    pool_caps(context, found);
    guarantees(context, found);
    names_taken_for_others(context, found);
    tenants_without_host(context, found);
    certificates_that_name(context, found);
    tokens_that_bind(context, found);
    observed_logins(context, found);
    super::readers::check(context, found);
    tables_in_a_tenants_hands(context, found);
    tenants_that_write_tenants(context, found);
}

/// A tenant with a database of its own may do there what it likes.
fn tables_in_a_tenants_hands(context: &Context<'_>, found: &Found<'_>) {
    let usage = found.quota.map(|quota| ("quota", "keeps its table", &quota.upstream));
    let logins = found.auth_query.map(|query| ("auth_query", "looks for logins", &query.upstream));
    let registry = found.tenants_from.and_then(|from| found.upstreams.0.get(&from.upstream)?.1.as_ref());
    let registry = registry.map(|upstream| ("tenants_from", "looks for tenants", upstream));
    for (section, does, upstream) in usage.into_iter().chain(logins).chain(registry) {
        for tenant in found.tenants {
            if tenant.value.layout == Layout::Database && place(&tenant.value.upstream) == place(upstream) {
                context.findings.error_hint(
                    &tenant.span,
                    format!(
                        "[{section}] {does} in the database of tenant \"{}\", which could change what is there",
                        tenant.value.name
                    ),
                    format!("keep it in another database: upstream = \"...\" in [{section}]"),
                );
            }
        }
    }
}

/// Who writes what tenants come from decides who is a tenant, and where it lives.
fn tenants_that_write_tenants(context: &Context<'_>, found: &Found<'_>) {
    let Some(names) = found.tenants_from.and_then(|from| names_of_select(&from.query).ok()) else { return };
    for (table, rule) in &found.tenancy.tables {
        let access = match rule {
            TableOverride::Tenant { access, .. } | TableOverride::Through { access, .. } => *access,
            TableOverride::Shared(access) => *access,
        };
        let named = names
            .relations
            .iter()
            .any(|it| it.name == table.name && it.schema.as_ref().is_none_or(|schema| *schema == table.schema));
        if named && access != Access::Read {
            context.findings.warning(
                &(0..0),
                format!("tenants may write {table}, from which [tenants_from] has its tenants: one that changes its name there, or where it lives, can put others out"),
                match rule {
                    TableOverride::Shared(_) => "access = \"read\" in [tenancy.tables]",
                    TableOverride::Tenant { .. } | TableOverride::Through { .. } => "write = false in [tenancy.tables]",
                },
            );
        }
    }
}

/// A database, wherever it is named.
fn place(upstream: &Upstream) -> (&Address, &str) {
    (&upstream.address, &upstream.database)
}

/// A tenant's own database or schema must be nobody else's.
fn same_place(context: &Context<'_>, tenants: &[At<Arc<Tenant>>]) {
    let mut by_place: HashMap<_, Vec<&At<Arc<Tenant>>>> = HashMap::new();
    for tenant in tenants {
        by_place.entry(place(&tenant.value.upstream)).or_default().push(tenant);
    }
    for tenants in by_place.into_values() {
        own_database(context, &tenants);
        own_schemas(context, &tenants);
    }
}

/// Of the tenants of one database, one of layout "database" must be the only one. Of two of that kind the later is reported.
fn own_database(context: &Context<'_>, tenants: &[&At<Arc<Tenant>>]) {
    let [first, _, ..] = tenants else { return };
    let lone = |tenant: &At<Arc<Tenant>>| tenant.value.layout == Layout::Database;
    let other_than_database = tenants.iter().find(|tenant| !lone(tenant));
    for (i, tenant) in tenants.iter().enumerate().filter(|(_, tenant)| lone(tenant)) {
        let other = match (i, other_than_database) {
            (_, Some(other)) => other,
            (0, None) => continue,
            (_, None) => first,
        };
        context.findings.error_hint(
            &tenant.span,
            format!(
                "tenant \"{}\" has layout \"database\", but tenant \"{}\" lives in the same database",
                tenant.value.name, other.value.name
            ),
            "give it an upstream of its own, or layout = \"schema\"",
        );
    }
}

fn own_schemas(context: &Context<'_>, tenants: &[&At<Arc<Tenant>>]) {
    let mut seen = HashMap::new();
    for tenant in tenants {
        let Layout::Schema { schema, .. } = &tenant.value.layout else { continue };
        let name = &tenant.value.name;
        if let Some(other) = seen.insert(schema, name) {
            let message = format!("tenants \"{other}\" and \"{name}\" have the same schema \"{schema}\"");
            context.findings.error(&tenant.span, message);
        }
    }
}

/// Two tenants of the shared layout with one key would see each other's rows.
fn same_key(context: &Context<'_>, tenants: &[At<Arc<Tenant>>]) {
    let mut seen = HashMap::new();
    for tenant in tenants {
        let Tenant { name, layout, keys, upstream, .. } = &*tenant.value;
        if *layout != Layout::Shared {
            continue;
        }
        let default = keys.default.iter().map(|value| (None, value));
        let named = keys.named.iter().map(|(key, value)| (Some(key), value));
        for (key, value) in default.chain(named) {
            let other = seen.insert((place(upstream), key, value), name);
            if let Some(other) = other {
                let what = key.map_or_else(|| "key".to_owned(), |k| format!("key \"{k}\""));
                context.findings.error(
                    &tenant.span,
                    format!("tenants \"{other}\" and \"{name}\" have the same {what}, \"{value}\": they would see each other's rows"),
                );
            }
        }
    }
}

/// What functions and DO blocks do in a database of one's own is bounded by the role's rights, and a role sees and ends its own
/// sessions in every database. The later of two is reported, once for each role.
fn same_role(context: &Context<'_>, tenants: &[At<Arc<Tenant>>]) {
    let mut first = HashMap::new();
    for tenant in tenants.iter().filter(|tenant| tenant.value.layout == Layout::Database) {
        let upstream = &tenant.value.upstream;
        let (count, other) = first.entry((&upstream.address, &upstream.user)).or_insert((0, &tenant.value.name));
        *count += 1;
        if *count == 2 {
            context.findings.warning(
                &tenant.span,
                format!(
                    "tenants \"{other}\" and \"{}\" have databases of their own on one server, but the same role \"{}\": a DO block or \
                     function of one can see and end the sessions of the other",
                    tenant.value.name, upstream.user
                ),
                "give each tenant's database a role of its own",
            );
        }
    }
}

fn trust_beyond_loopback(context: &Context<'_>, found: &Found<'_>) {
    let Some(address) = found.listen.addresses.iter().find(|a| !a.ip().is_loopback()) else {
        return;
    };
    for login in found.logins {
        if matches!(login.value.auth, LoginAuth::Trust) {
            context.findings.error_hint(
                &login.span,
                format!("login \"{}\" has auth = \"trust\", but pgwarden listens on {address}", login.value.name),
                "trust is for tests on loopback addresses only",
            );
        }
    }
}

fn pool_caps(context: &Context<'_>, found: &Found<'_>) {
    let cap = found.pool.max_server_connections;
    for (name, (span, upstream)) in &found.upstreams.0 {
        if let Some(upstream) = upstream.as_ref().filter(|u| u.pool.size > cap) {
            context.findings.error(
                span,
                format!(
                    "the pool of upstream \"{name}\" ({}) is larger than [pool] max_server_connections ({cap})",
                    upstream.pool.size
                ),
            );
        }
    }
}

/// What is guaranteed to all tenants of a pool together must be there.
fn guarantees(context: &Context<'_>, found: &Found<'_>) {
    let mut promised = HashMap::new();
    for tenant in found.tenants.iter().filter(|tenant| tenant.value.share.min > 0) {
        let upstream = &tenant.value.upstream;
        let sum = promised.entry(upstream.name.clone()).or_insert(0);
        *sum += tenant.value.share.min;
        if *sum > upstream.pool.size {
            context.findings.error_hint(
                &tenant.span,
                format!(
                    "the tenants of upstream \"{}\" are promised more server connections than its pool has ({})",
                    upstream.name, upstream.pool.size
                ),
                "lower \"min\" in their \"pool\", or raise the pool's \"size\"",
            );
            return;
        }
    }
}

/// Names that a client may give for one thing and pgwarden takes for another.
fn names_taken_for_others(context: &Context<'_>, found: &Found<'_>) {
    let for_tenants =
        || found.logins.iter().all(|l| matches!(l.value.role, Role::Tenant | Role::Observed | Role::Reader { .. }));
    if !found.more_tenants && found.tenants.is_empty() && for_tenants() {
        context.findings.warning(
            &(0..0),
            "no [[tenant]] is configured",
            "[[tenant]]\n          name = \"acme\"\n          key = 42",
        );
    }
    for tenant in found.tenants {
        let name = tenant.value.name.as_str();
        let database = found.upstreams.0.get(&found.tenancy.upstream).and_then(|(_, u)| u.as_ref());
        if database.is_some_and(|u| u.database == name) {
            context.findings.warning(
                &tenant.span,
                format!("tenant \"{name}\" is called like the database of upstream \"{}\"", found.tenancy.upstream),
                format!("a client that asks for database \"{name}\" names the tenant"),
            );
        }
    }
}

/// Tenants that a host name cannot name, as host names are in lower case.
fn tenants_without_host(context: &Context<'_>, found: &Found<'_>) {
    if !found.tenancy.identify.contains(&Source::Sni) {
        return;
    }
    if found.listen.tls.is_none() {
        context.findings.error_hint(
            &(0..0),
            "identification by \"sni\" needs TLS",
            "[listen.tls]\n          cert = \"server.crt\"\n          key = \"server.key\"",
        );
    }
    for tenant in found.tenants.iter().filter(|t| t.value.name.as_str().bytes().any(|b| b.is_ascii_uppercase())) {
        context.findings.warning(
            &tenant.span,
            format!("tenant \"{}\" cannot be named by a host name: those are in lower case", tenant.value.name),
            "its clients name it in another place",
        );
    }
}

/// What relies on names in certificates needs patterns that find them, and the other way round.
fn certificates_that_name(context: &Context<'_>, found: &Found<'_>) {
    const HINT: &str = "[listen.tls]\n          client_ca = \"clients-ca.crt\"\n          client_patterns = [\"{login}.{tenant}.clients.example.com\"]";
    let patterns = found.listen.tls.as_ref().map_or(&[][..], |tls| &tls.client_patterns);
    let source = found.tenancy.identify.contains(&Source::Certificate);
    match (source, patterns.iter().any(NamePattern::names_tenant)) {
        (true, false) => context.findings.error_hint(
            &(0..0),
            "identification by \"certificate\" needs a pattern with {tenant}",
            HINT,
        ),
        (false, true) => context.findings.error_hint(
            &(0..0),
            "a pattern of \"client_patterns\" names tenants, but \"identify\" does not list \"certificate\"",
            "identify = [\"certificate\", \"database\", \"user\", \"option\"]",
        ),
        (true, true) | (false, false) => {}
    }
    if patterns.iter().any(NamePattern::names_login) {
        return;
    }
    for login in found.logins.iter().filter(|l| matches!(l.value.auth, LoginAuth::Certificate)) {
        context.findings.error_hint(
            &login.span,
            format!(
                "login \"{}\" has auth = \"cert\", but no pattern finds {{login}} in a certificate",
                login.value.name
            ),
            HINT,
        );
    }
}

/// Nothing is enforced for an observed login: it takes two keys that say so, and a proof of who it is.
fn observed_logins(context: &Context<'_>, found: &Found<'_>) {
    let observes = found.listen.observe;
    let mut observed = found.logins.iter().filter(|login| login.value.role == Role::Observed).peekable();
    if observes && observed.peek().is_none() {
        context.findings.warning(
            &(0..0),
            "listen.observe is on, and no login has the role \"observed\": all are guarded",
            "remove it when the last login is guarded",
        );
    }
    for login in observed {
        let name = &login.value.name;
        if !observes {
            context.findings.error_hint(
                &login.span,
                format!("login \"{name}\" is to be observed, and [listen] does not allow it"),
                "observe = true in [listen], if NOTHING is to be enforced for this login; else role = \"tenant\"",
            );
        } else if matches!(login.value.auth, LoginAuth::Trust) {
            context.findings.error_hint(
                &login.span,
                format!("login \"{name}\" is to be observed, and proves nothing"),
                "a password: nothing is enforced for it",
            );
        } else {
            context.findings.warning(
                &login.span,
                format!(
                    "login \"{name}\" is OBSERVED: NOTHING is enforced for it, it reads and changes every tenant's rows"
                ),
                "role = \"tenant\" guards it",
            );
        }
    }
}

/// Logins that rely on tokens need rules for them; an operator's token must be its own.
fn tokens_that_bind(context: &Context<'_>, found: &Found<'_>) {
    for login in found.logins.iter().filter(|l| matches!(l.value.auth, LoginAuth::Token | LoginAuth::OAuth)) {
        let name = &login.value.name;
        match (&found.tokens, &login.value.role) {
            (None, _) => context.findings.error_hint(
                &login.span,
                format!("login \"{name}\" is known by tokens, but there is no section [jwt]"),
                "[jwt]\n          issuer = \"https://id.example.com\"\n          audience = \"pgwarden\"\n          public_keys = [\"issuer.pem\"]",
            ),
            (Some(Some(tokens)), role @ (Role::Operator { .. } | Role::Observed))
                if tokens.rules.login_claim.is_none() =>
            {
                let who = if *role == Role::Observed { "observed login" } else { "operator" };
                context.findings.error_hint(
                    &login.span,
                    format!("any token of the issuer would serve as {who} \"{name}\""),
                    "login_claim = \"sub\" in [jwt]: the claim that must name the login",
                );
            }
            (Some(_), _) => {}
        }
    }
}
