//! Logins of role "reader": what they read must be rows of the shared layout in one place, behind a predicate that holds several
//! keys.

use std::sync::Arc;

use super::Context;
use super::checks::Found;
use crate::base::TenantName;
use crate::config::model::{Layout, Login, PatternLayout, Role, Tenant, TenantScope, Upstream};
use crate::config::section::At;

const QUESTIONS: &str =
    "tenants of other layouts and places are asked one by one: pgwarden query --tenants \"*\" \"SELECT ...\"";

pub(super) fn check(context: &Context<'_>, found: &Found<'_>) {
    for login in found.logins {
        let Role::Reader { upstream } = &login.value.role else { continue };
        let upstream = found.upstreams.0.get(upstream).and_then(|(_, upstream)| upstream.as_deref());
        if let Some(upstream) = upstream {
            check_one(context, found, login, upstream);
        }
    }
}

fn check_one(context: &Context<'_>, found: &Found<'_>, login: &At<Arc<Login>>, upstream: &Upstream) {
    let name = &login.value.name;
    if upstream.enforcement.uses_rls() {
        context.findings.error_hint(
            &login.span,
            format!(
                "login \"{name}\" reads several tenants, and the policies of upstream \"{}\" (enforcement \"{}\") compare with the \
                 key of one",
                upstream.name,
                upstream.enforcement.as_str()
            ),
            "ask each tenant for itself: pgwarden query --tenants \"*\" \"SELECT ...\"; or read an upstream with enforcement = \"rewrite\"",
        );
    }
    match &login.value.tenants {
        TenantScope::Only(names) => {
            let listed = |name: &TenantName| found.tenants.iter().find(|tenant| tenant.value.name == *name);
            for tenant in names.iter().filter_map(listed) {
                if let Some(why) = unreadable(&tenant.value, upstream) {
                    let message = format!("login \"{name}\" cannot read tenant \"{}\": {why}", tenant.value.name);
                    context.findings.error_hint(&login.span, message, QUESTIONS);
                }
            }
        }
        TenantScope::All => {
            let pattern = found.tenancy.pattern.as_ref();
            if pattern.is_some_and(|it| it.layout == PatternLayout::Shared && it.upstream == upstream.name) {
                context.findings.error_hint(
                    &login.span,
                    format!("login \"{name}\" reads all tenants, but those that come by [tenancy.pattern] are not known beforehand"),
                    "tenants = [...] with their names",
                );
            }
        }
    }
}

/// Why a reader on this upstream cannot read a tenant's rows.
fn unreadable(tenant: &Tenant, upstream: &Upstream) -> Option<String> {
    match tenant.layout {
        Layout::Shared if tenant.upstream.name == upstream.name => None,
        Layout::Shared => Some(format!("it lives on upstream \"{}\"", tenant.upstream.name)),
        Layout::Schema { .. } => Some("it has a schema of its own".to_owned()),
        Layout::Database => Some("it has a database of its own".to_owned()),
    }
}
