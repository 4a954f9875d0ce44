//! Before anything is served: where policies alone are to keep tenants apart, whether they do.

use std::fmt::Write as _;

use super::ServeError;
use crate::checks::load_policy;
use crate::checks::rls::check;
use crate::config::{Config, Enforcement, Layout, Upstream};
use crate::policy::tenants_of;

/// Looks at each upstream whose enforcement is `rls`. One that cannot be reached is left for later: no statement on a tenant
/// table is served there before its catalog was read.
///
/// # Errors
/// What is missing, upstream by upstream, and what mends it.
pub async fn check_policies(config: &Config) -> Result<(), ServeError> {
    let mut text = String::new();
    for upstream in config.upstreams.values().filter(|upstream| relies_on_policies(config, upstream)) {
        let Ok((policy, _)) = load_policy(config, upstream).await else { continue };
        let findings = check(&policy).findings();
        if !findings.is_empty() {
            let _ = write!(text, "\nupstream \"{}\", database \"{}\":", upstream.name, upstream.database);
            findings.iter().for_each(|finding| {
                let _ = write!(text, "\n  {finding}");
            });
        }
    }
    if text.is_empty() { Ok(()) } else { Err(ServeError::Policies(text)) }
}

fn relies_on_policies(config: &Config, upstream: &Upstream) -> bool {
    upstream.enforcement == Enforcement::Rls
        && (upstream.name == config.tenancy.upstream
            || tenants_of(config, &upstream.name).iter().any(|tenant| tenant.layout == Layout::Shared))
}
