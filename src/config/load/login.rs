//! `[[login]]`

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::auth::read_allow_from;
use super::tenancy::{MAX_IDENTIFIER, identifier};
use super::tenant::Tenants;
use super::{Context, Upstreams, limits};
use crate::auth::{Md5Verifier, ScramVerifier};
use crate::base::{LoginName, Secret, TenantName, UpstreamName, is_tenant_name};
use crate::config::diagnostics::{Span, did_you_mean};
use crate::config::limits::Limits;
use crate::config::model::{Login, LoginAuth, Role, Tenancy, TenantScope};
use crate::config::section::{At, Keys, Section};

const LOGIN: Keys = Keys {
    known: &[
        "name",
        "password",
        "password_env",
        "password_file",
        "auth",
        "tenants",
        "role",
        "upstream",
        "database",
        "allow_from",
        "limits",
    ],
    later: &["valid_until"],
};
const AUTHS: [&str; 6] = ["scram", "md5", "cert", "jwt", "oauth", "trust"];

pub(super) fn read_all(
    context: &Context<'_>,
    root: &Section<'_>,
    tenancy: Option<&Tenancy>,
    tenants: &Tenants,
    upstreams: &Upstreams,
    defaults: &Limits,
) -> Vec<At<Arc<Login>>> {
    let mut names: BTreeMap<String, ()> = BTreeMap::new();
    let mut logins = Vec::new();
    let sections = root.tables("login", &LOGIN);
    if sections.is_empty() && !root.has("login") && !root.has("auth_query") {
        context.findings.error_hint(
            &root.span,
            "no [[login]] is configured: nobody could connect",
            "[[login]]\n          name = \"app\"\n          password = \"SCRAM-SHA-256$...\"   # made by: pgwarden hash-password\n          tenants = [\"acme\"]",
        );
    }
    for section in sections {
        let name = read_name(context, &section, &mut names);
        let auth = read_auth(context, &section);
        let role = read_role(context, &section, tenancy, upstreams);
        let tenants = read_scope(context, &section, role.as_ref(), tenants, root.has("tenants_from"));
        let allow_from = read_allow_from(context, &section);
        let limits = limits::read(context, &section);
        // The defaults are for tenants' logins: an operator and a reader have those of their own only.
        let limits = if role == Some(Role::Tenant) { limits.or(defaults) } else { limits };
        if let (Some(name), Some(auth), Some(role), Some(tenants)) = (name, auth, role, tenants) {
            logins.push(At {
                value: Arc::new(Login { name: LoginName::new(name), auth, tenants, role, allow_from, limits }),
                span: section.span.clone(),
            });
        }
    }
    logins
}

fn read_name<'s>(context: &Context<'_>, section: &Section<'s>, names: &mut BTreeMap<String, ()>) -> Option<&'s str> {
    let name = section.required("name", "\"app\"")?;
    if name.value.len() > MAX_IDENTIFIER || name.value.contains(|c: char| c.is_control() || c == '/') {
        context.findings.error_hint(
            &name.span,
            "this is no name for a login",
            "at most 63 bytes, no slash, no control characters",
        );
    }
    if names.insert(name.value.to_owned(), ()).is_some() {
        let message = format!("login \"{}\" is configured twice", name.value);
        context.findings.error(&name.span, message);
    }
    Some(name.value)
}

/// What the stored password is.
enum Stored {
    Verifier(Secret),
    Md5(Secret),
    Plain(Secret),
}

fn read_auth(context: &Context<'_>, section: &Section<'_>) -> Option<LoginAuth> {
    let wanted = section.nonempty("auth");
    if let Some(word) = wanted.as_ref().filter(|w| !AUTHS.contains(&w.value)) {
        let hint = did_you_mean(word.value, AUTHS).unwrap_or_else(|| format!("one of {}", AUTHS.join(", ")));
        let message = format!("\"{}\" is no way to authenticate", word.value);
        context.findings.error_hint(&word.span, message, hint);
        return None;
    }
    let key = context.at_most_one(section, &["password", "password_env", "password_file"]);
    let Some(key) = key else {
        match wanted.as_ref().map(|w| w.value) {
            Some("trust") => return Some(LoginAuth::Trust),
            Some("cert") => return Some(LoginAuth::Certificate),
            Some("jwt") => return Some(LoginAuth::Token),
            Some("oauth") => return Some(LoginAuth::OAuth),
            _ => {}
        }
        context.findings.error_hint(
            &section.span,
            "[[login]] needs \"password\", \"password_env\" or \"password_file\"",
            "make a verifier with: pgwarden hash-password",
        );
        return None;
    };
    let span = section.span_of(key);
    let stored = read_stored(context, section, key, &span)?;
    match (wanted.as_ref().map(|w| w.value), stored) {
        (Some(auth @ ("trust" | "cert" | "jwt" | "oauth")), _) => {
            let message = format!("\"{key}\" does nothing with auth = \"{auth}\"");
            context.findings.error(&span, message);
            None
        }
        (None | Some("scram"), Stored::Verifier(secret)) => Some(LoginAuth::ScramVerifier(secret)),
        (None | Some("scram"), Stored::Plain(secret)) => Some(LoginAuth::ScramPlain(secret)),
        (None | Some("md5"), Stored::Md5(secret)) => Some(LoginAuth::Md5Hash(secret)),
        (Some("md5"), Stored::Plain(secret)) => Some(LoginAuth::Md5Plain(secret)),
        (Some(auth), Stored::Verifier(_) | Stored::Md5(_)) => {
            context.findings.error_hint(
                &span,
                format!("auth = \"{auth}\" cannot use this kind of stored password"),
                "a SCRAM verifier goes with \"scram\", an md5 hash with \"md5\"",
            );
            None
        }
        (Some(_), Stored::Plain(_)) => None,
    }
}

fn read_stored(context: &Context<'_>, section: &Section<'_>, key: &str, span: &Span) -> Option<Stored> {
    let secret = match key {
        "password" => section.nonempty("password").map(|p| Secret::new(p.value))?,
        "password_env" => context.secret_from_env(section, key)?,
        _ => context.secret_from_file(section, key)?,
    };
    let text = secret.expose();
    if text.starts_with("SCRAM-SHA-256$") {
        if let Err(error) = ScramVerifier::parse(text) {
            context.findings.error_hint(
                span,
                format!("this SCRAM verifier is malformed: {error}"),
                "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, as pgwarden hash-password prints it",
            );
            return None;
        }
        return Some(Stored::Verifier(secret));
    }
    if Md5Verifier::parse(text).is_some() {
        return Some(Stored::Md5(secret));
    }
    if key == "password" {
        context.findings.warning(
            span,
            "a password in plain text",
            "store a verifier instead: pgwarden hash-password; or use password_env or password_file",
        );
    }
    Some(Stored::Plain(secret))
}

fn read_role(
    context: &Context<'_>,
    section: &Section<'_>,
    tenancy: Option<&Tenancy>,
    upstreams: &Upstreams,
) -> Option<Role> {
    let word = match section.has("role") {
        true => section.nonempty("role")?.value,
        false => "tenant",
    };
    match word {
        "tenant" | "observed" => {
            for key in ["upstream", "database"] {
                if section.has(key) {
                    context.findings.error_hint(
                        &section.span_of(key),
                        format!("\"{key}\" is for operators: a tenant's login goes where its tenant lives"),
                        "remove it, or use role = \"operator\"",
                    );
                }
            }
            Some(if word == "observed" { Role::Observed } else { Role::Tenant })
        }
        "reader" => {
            if section.has("database") {
                context.findings.error_hint(
                    &section.span_of("database"),
                    "\"database\" is for operators: a reader reads where its tenants live",
                    "remove it; \"upstream\" names where they live, if not on the one of [tenancy]",
                );
            }
            Some(Role::Reader { upstream: read_upstream(context, section, tenancy, upstreams)? })
        }
        "admin" => {
            for key in ["upstream", "database", "tenants"] {
                if section.has(key) {
                    context.findings.error_hint(
                        &section.span_of(key),
                        format!("\"{key}\" does nothing for a login of role \"admin\": it uses the console alone"),
                        "remove it, or use role = \"operator\"",
                    );
                }
            }
            Some(Role::Admin)
        }
        "operator" => {
            let upstream = read_upstream(context, section, tenancy, upstreams)?;
            Some(Role::Operator { upstream, database: identifier(context, section, "database") })
        }
        other => {
            let hint = did_you_mean(other, ["tenant", "reader", "observed", "operator", "admin"])
                .unwrap_or_else(|| "\"tenant\", \"reader\", \"observed\", \"operator\" or \"admin\"".to_owned());
            let message = format!("\"{other}\" is no role of a login");
            context.findings.error_hint(&section.span_of("role"), message, hint);
            None
        }
    }
}

/// The upstream of a login that has one of its own, or that of `[tenancy]`.
fn read_upstream(
    context: &Context<'_>,
    section: &Section<'_>,
    tenancy: Option<&Tenancy>,
    upstreams: &Upstreams,
) -> Option<UpstreamName> {
    if !section.has("upstream") {
        return Some(tenancy?.upstream.clone());
    }
    let name = section.nonempty("upstream")?;
    upstreams.find(context, name.value, &name.span)?;
    Some(UpstreamName::new(name.value))
}

fn read_scope(
    context: &Context<'_>,
    section: &Section<'_>,
    role: Option<&Role>,
    tenants: &Tenants,
    more_tenants: bool,
) -> Option<TenantScope> {
    if !section.has("tenants") {
        if let Some(Role::Operator { .. } | Role::Admin) = role {
            return Some(TenantScope::Only(BTreeSet::new()));
        }
        context.findings.error_hint(
            &section.span,
            "[[login]] needs \"tenants\": those that it may act for",
            "tenants = [\"acme\"], or \"*\" for all of them",
        );
        return None;
    }
    let written = section.strings("tenants")?;
    if written.is_empty() {
        context.findings.error_hint(
            &section.span_of("tenants"),
            "\"tenants\" is empty: this login could do nothing",
            "tenants = [\"acme\"], or \"*\" for all of them",
        );
    }
    if let [all] = written.as_slice()
        && all.value == "*"
    {
        return Some(TenantScope::All);
    }
    Some(TenantScope::Only(named_tenants(context, written, tenants, more_tenants)))
}

/// A list of tenants by name; those that cannot be are reported.
pub(super) fn named_tenants(
    context: &Context<'_>,
    written: Vec<At<&str>>,
    tenants: &Tenants,
    more_tenants: bool,
) -> BTreeSet<TenantName> {
    let mut scope = BTreeSet::new();
    for name in written {
        if tenants.names.contains_key(name.value) || (more_tenants && is_tenant_name(name.value)) {
            scope.insert(TenantName::new(name.value));
            continue;
        }
        let hint = match name.value {
            "*" => "write tenants = \"*\" alone".to_owned(),
            other => did_you_mean(other, tenants.names.keys().map(String::as_str))
                .unwrap_or_else(|| format!("add a [[tenant]] with name = \"{other}\"")),
        };
        let message = format!("no tenant \"{}\"", name.value);
        context.findings.error_hint(&name.span, message, hint);
    }
    scope
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&LOGIN];
