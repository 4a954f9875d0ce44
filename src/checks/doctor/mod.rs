//! `pgwarden doctor`: reads an upstream's schema and reports what no proxy can close, and what would make isolation
//! weaker or slower than it could be. Reads the system catalogs only; no table of a tenant is touched.

mod checks;
mod finding;
mod html;

use tokio_postgres::Client;

pub use finding::{Finding, Severity};
pub use html::page;

use crate::base::Enforcement;
use crate::checks::rls;
use crate::config::Accepted;
use crate::guard::{NEWEST_TESTED, Policy, TableRule};
use crate::policy::PolicyNote;

/// Examines one upstream: its policy, and what was noted when that was made. `role` is the role that pgwarden connects as.
///
/// # Errors
/// Whatever the upstream answers to a catalog query.
pub async fn examine(
    client: &Client,
    policy: &Policy,
    notes: &[PolicyNote],
    role: &str,
) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let schema = checks::Schema::of(policy);
    let mut findings = checks::unconfigured(policy);
    findings.extend(checks::columns(client, &schema).await?);
    findings.extend(checks::unique_keys(client, &schema).await?);
    findings.extend(checks::foreign_keys(client, &schema, policy).await?);
    findings.extend(checks::indexes(client, &schema).await?);
    findings.extend(checks::unusable_indexes(client, &schema, policy).await?);
    findings.extend(checks::views(client, &schema, policy).await?);
    findings.extend(checks::rules(client, &schema).await?);
    findings.extend(checks::functions(client, policy).await?);
    findings.extend(checks::inside(client, &schema, policy).await?);
    findings.extend(checks::operators(policy));
    findings.extend(checks::casts(policy));
    findings.extend(checks::sequences(client, &schema).await?);
    findings.extend(checks::statistics(client, &schema).await?);
    findings.extend(checks::role(client, role).await?);
    findings.extend(notes.iter().filter_map(checks::noted));
    findings.extend(row_security(policy));
    findings.extend(server(policy));
    findings.sort_by(|a, b| (a.severity, a.cost, &a.object, a.check).cmp(&(b.severity, b.cost, &b.object, b.check)));
    Ok(findings)
}

/// Where the enforcement counts on policies: what of them is missing.
fn row_security(policy: &Policy) -> Vec<Finding> {
    let severity = match policy.enforcement {
        Enforcement::Rewrite => return Vec::new(),
        Enforcement::RewriteAndRls => Severity::Medium,
        Enforcement::Rls => Severity::High,
    };
    let report = rls::check(policy);
    let finding = |object: String, what: String| {
        let why = "enforcement counts on row-level security: with rls alone pgwarden does not serve what it does not keep apart";
        Finding::new(severity, "row-security", object, what, why)
            .advice("what `pgwarden rls generate` prints, or enforcement = \"rewrite\"")
    };
    let of_role = report.role.into_iter().map(|what| finding(format!("role {}", policy.catalog.role.name), what));
    let of_tables = report.tables.into_iter().filter(|table| !table.missing.is_empty());
    let of_tables = of_tables.map(|table| finding(table.table, table.missing.join("; ")));
    of_role.chain(of_tables).collect()
}

/// A server whose grammar pgwarden does not know.
fn server(policy: &Policy) -> Option<Finding> {
    let major = policy.catalog.server_version_num / 10_000;
    (major > NEWEST_TESTED).then(|| {
        Finding::new(
            Severity::Medium,
            "untested-server",
            format!("Postgres {major}"),
            format!("is newer than Postgres {NEWEST_TESTED}, the last that pgwarden was tested with"),
            "SQL that it has added is refused where tenants share tables or a database; functions and catalogs that it has added have no rule yet",
        )
        .advice("a pgwarden that was tested with it")
    })
}

/// Says which findings the configuration accepts; gives the entries that mean none.
pub fn accept<'a>(findings: &mut [Finding], accepted: &'a [Accepted]) -> Vec<&'a Accepted> {
    let mut stale = Vec::new();
    for entry in accepted {
        let mut meant = findings.iter_mut().filter(|it| it.is_meant_by(entry)).peekable();
        if meant.peek().is_none() {
            stale.push(entry);
        }
        meant.for_each(|finding| finding.accepted = Some(entry.reason.clone()));
    }
    stale
}

/// Number of tenant tables in a policy: a doctor that examined none has found nothing.
pub fn tenant_tables(policy: &Policy) -> usize {
    policy.tables.values().filter(|rule| matches!(rule, TableRule::Tenant(_))).count()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn what_is_accepted_is_meant_and_no_more() {
        let of = |object: &str, what: &str| Finding::new(Severity::Medium, "global-unique-key", object, what, "");
        let mut findings =
            vec![of("users", "the key users_email_key"), of("users", "the key users_code"), of("x.users", "")];
        let entry = |object: &str, about: Option<&str>| Accepted {
            check: "global-unique-key".to_owned(),
            object: object.to_owned(),
            about: about.map(str::to_owned),
            reason: "login".to_owned(),
        };
        let entries = [entry("public.users", Some("users_email_key")), entry("gone", None)];
        let stale = accept(&mut findings, &entries);
        assert_eq!(stale.iter().map(|it| it.object.as_str()).collect::<Vec<_>>(), ["gone"]);
        assert_eq!(findings.iter().map(|it| it.accepted.is_some()).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn a_newer_server_than_tested_is_found() {
        for (version, found) in [(140_000, false), (NEWEST_TESTED * 10_000 + 4, false), (190_000, true)] {
            let catalog = Arc::new(Catalog { server_version_num: version, ..Catalog::default() });
            let policy = Policy { catalog, ..Policy::empty() };
            assert_eq!(server(&policy).is_some(), found, "{version}");
        }
    }
}
