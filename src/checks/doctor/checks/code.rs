//! Code in the database that runs with other rights than the statement's, or out of the proxy's sight.

use std::collections::HashSet;

use tokio_postgres::{Client, Error};

use super::bodies::Bodies;
use super::{Finding, Line, Schema, Severity, said_of};
use crate::base::QualifiedName;
use crate::guard::Policy;
use crate::sql::quote_literal;

/// Views and materialised views that read tenant tables with their owner's rights.
pub async fn views(client: &Client, schema: &Schema, policy: &Policy) -> Result<Vec<Finding>, Error> {
    // Whoever reads it now must be able to read what it reads.
    let sql = format!(
        "SELECT DISTINCT v.oid::regclass::text AS object, v.oid::text AS oid, v.relkind = 'v' AS view, \
                coalesce('security_invoker=true' = ANY (v.reloptions) OR 'security_invoker=on' = ANY (v.reloptions), false) AS invoker, \
                NOT EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend u ON u.objid = w.oid AND u.classid = 'pg_catalog.pg_rewrite'::regclass \
                                JOIN pg_catalog.pg_class b ON b.oid = u.refobjid AND u.refclassid = 'pg_catalog.pg_class'::regclass AND b.oid <> v.oid \
                            WHERE w.ev_class = v.oid AND (NOT pg_catalog.has_table_privilege({role}::name, b.oid, 'SELECT') \
                                OR EXISTS (SELECT 1 FROM pg_catalog.aclexplode(v.relacl) g WHERE g.grantee <> v.relowner \
                                           AND (g.grantee = 0 OR NOT pg_catalog.has_table_privilege(g.grantee, b.oid, 'SELECT'))))) AS readable \
         FROM t JOIN pg_catalog.pg_depend d ON d.refobjid = t.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass \
              AND d.classid = 'pg_catalog.pg_rewrite'::regclass \
         JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid JOIN pg_catalog.pg_class v ON v.oid = r.ev_class \
         WHERE v.relkind IN ('v', 'm')",
        role = quote_literal(&policy.catalog.role.name)
    );
    // Before 15, views know no such option.
    let is_known = policy.catalog.server_version_num >= 150_000;
    schema.findings(client, &sql, |line| (!line.is("invoker")).then(|| view(line, policy, is_known))).await
}

fn view(line: &Line<'_>, policy: &Policy, is_known: bool) -> Finding {
    let (object, view) = (line.text("object"), line.is("view"));
    let mut relations = policy.tables.keys().filter_map(|name| policy.catalog.relations.get(name));
    let is_listed = relations.any(|it| it.oid.to_string() == line.text("oid"));
    let mut written_out = policy.views.keys().filter_map(|name| policy.catalog.relations.get(name));
    let is_written_out = written_out.any(|it| it.oid.to_string() == line.text("oid"));
    let finding = Finding::new(
        Severity::Medium,
        if view { "view-bypasses" } else { "materialized-view" },
        &object,
        format!("{} tenant tables", if view { "reads, with its owner's rights," } else { "holds rows of" }),
        if is_written_out {
            "row-level security does not bind it; a tenant that names it reads its query instead, guarded; whoever comes past pgwarden reads all rows"
        } else if is_listed {
            "row-level security does not bind it; the tenant's predicate on its tenant column does, and nothing inside it"
        } else {
            "row-level security does not bind it; pgwarden refuses it unless it shows the tenant column and is listed"
        },
    );
    if !view {
        return finding.advice(match is_listed {
            true => format!(
                "make sure that each row of {object} comes from rows of the tenant that its tenant column names"
            ),
            false => format!(
                "list {object} in [tenancy.tables] if it holds the tenant column; keep it from tenants otherwise"
            ),
        });
    }
    let listed = match is_listed {
        _ if is_written_out => "for tenants of pgwarden nothing has to be done",
        true => {
            "until then, make sure that each of its rows comes from rows of the tenant that its tenant column names"
        }
        false => {
            "tenants are refused it until it is listed in [tenancy.tables], which it can be if it shows the tenant column"
        }
    };
    if is_known && line.is("readable") {
        finding.sql([format!("ALTER VIEW {object} SET (security_invoker = true);")]).advice(listed)
    } else if is_known {
        finding.advice(format!(
            "WITH (security_invoker), once all who read it have SELECT on what it reads, which some have not; {listed}"
        ))
    } else {
        finding.advice(format!("Postgres 15 has views with the rights of who asks; {listed}"))
    }
}

/// Rules that rewrite statements on tenant tables, after the proxy has read them.
pub async fn rules(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT t.oid::regclass::text AS object, pg_catalog.quote_ident(r.rulename) AS rule FROM t \
               JOIN pg_catalog.pg_rewrite r ON r.ev_class = t.oid AND r.rulename <> '_RETURN'";
    let finding = |object: String, rule: String| {
        Finding::new(
            Severity::Medium,
            "rule-rewrites",
            &object,
            format!("the rule {rule} makes other statements of those on it"),
            "the proxy guards the statement that it sees; what a rule adds runs as it was written, with its owner's rights",
        )
        .advice(format!("do its work in a trigger, for the tenant of the row, and then drop it: DROP RULE {rule} ON {object}"))
    };
    schema.findings(client, sql, |line| Some(finding(line.text("object"), line.text("rule")))).await
}

/// SECURITY DEFINER functions, and functions that tenants may call by configuration.
pub async fn functions(client: &Client, policy: &Policy) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(
            "SELECT p.oid, p.oid::regprocedure::text AS object, n.nspname::text AS schema, p.proname::text AS name, p.prosecdef AS definer, \
                    l.lanname IN ('sql', 'plpgsql') AS legible, \
                    l.lanname IN ('sql', 'plpgsql', 'plpython3u', 'plperl', 'plperlu', 'pltcl') AS runs_sql, \
                    EXISTS (SELECT 1 FROM pg_catalog.pg_trigger g WHERE g.tgfoid = p.oid) AS trigger \
             FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
             WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' \
               AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')",
            &[],
        )
        .await?;
    let bodies = Bodies::read(client).await?;
    let relations: HashSet<String> = policy.catalog.relations.keys().map(|it| it.name.to_lowercase()).collect();
    // What only computes its result from its arguments needs no look.
    let pure = |line: &Line<'_>| line.is("legible") && bodies.is_pure(line.0.get("oid"), &policy.catalog, &relations);
    Ok(said_of(&rows, |line| function(line, policy, pure(line))))
}

fn function(line: &Line<'_>, policy: &Policy, pure: bool) -> Option<Finding> {
    let object = line.text("object");
    let allowed = policy.allow_functions.contains(&QualifiedName::new(line.text("schema"), line.text("name")));
    let (definer, trigger) = (line.is("definer"), line.is("trigger"));
    let (severity, check, what, why, advice) = if allowed && line.is("runs_sql") && !pure {
        (
            Severity::High,
            "allowed-function",
            "is on allow_functions and runs SQL of its own",
            "SQL inside a function is not seen by the proxy: it reads every tenant's rows unless row-level security binds it",
            "take it off allow_functions; or row-level security on what it names (`pgwarden rls generate`), and accept this finding",
        )
    } else if definer && trigger {
        (
            Severity::Low,
            "definer-trigger",
            "is a SECURITY DEFINER trigger function",
            "it runs with its owner's rights on every tenant's statements: check that it writes for the row's own tenant only",
            "SECURITY INVOKER, if the roles that write have the rights that it needs; or accept this finding, once it is checked",
        )
    } else if definer {
        (
            Severity::Low,
            "definer-function",
            "is SECURITY DEFINER",
            "it runs with its owner's rights, past policies; tenants are refused it, but views, triggers and defaults may call it",
            "SECURITY INVOKER, if the roles that call it have the rights that it needs; or accept this finding, once it is checked",
        )
    } else {
        return None;
    };
    Some(Finding::new(severity, check, object, what, why).advice(advice))
}
