//! `[admin]`

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Context;
use crate::config::diagnostics::did_you_mean;
use crate::config::model::{Admin, Login, Role};
use crate::config::section::{At, Keys, Section};

const ADMIN: Keys = Keys { known: &["logins"], later: &["address", "dashboard"] };

pub(super) fn read(context: &Context<'_>, root: &Section<'_>, logins: &[At<Arc<Login>>]) -> Admin {
    let Some(section) = root.table("admin", &ADMIN) else { return Admin::default() };
    let mut found = BTreeSet::new();
    for name in section.strings("logins").unwrap_or_default() {
        let Some(login) = logins.iter().find(|it| it.value.name.as_str() == name.value) else {
            let names = logins.iter().map(|it| it.value.name.as_str());
            let hint = did_you_mean(name.value, names).unwrap_or_else(|| "logins of role \"operator\"".to_owned());
            context.findings.error_hint(&name.span, format!("no login \"{}\"", name.value), hint);
            continue;
        };
        match login.value.role {
            Role::Operator { .. } => {
                found.insert(login.value.name.clone());
            }
            Role::Admin => context.findings.warning(
                &name.span,
                format!("login \"{}\" has the role \"admin\": it may use the console anyway", name.value),
                "remove it here",
            ),
            Role::Tenant | Role::Reader { .. } | Role::Observed => context.findings.error_hint(
                &name.span,
                format!("login \"{}\" acts for tenants: it must not use the console", name.value),
                "a login of role \"operator\", or one of its own with role = \"admin\"",
            ),
        }
    }
    Admin { logins: found }
}

/// All key lists of this file.
#[cfg(test)]
pub(super) const ALL: [&Keys; 1] = [&ADMIN];
