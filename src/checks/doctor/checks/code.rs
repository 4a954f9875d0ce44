//! Code in the database that runs with other rights than the statement's, or out of the proxy's sight.

use tokio_postgres::{Client, Error};

use super::{Finding, Line, Schema, Severity, said_of};
use crate::base::QualifiedName;
use crate::guard::Policy;

/// Views and materialised views that read tenant tables with their owner's rights.
pub async fn views(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT DISTINCT v.oid::regclass::text AS object, v.relkind = 'v' AS view, \
                      coalesce('security_invoker=true' = ANY (v.reloptions) OR 'security_invoker=on' = ANY (v.reloptions), false) AS invoker \
               FROM t JOIN pg_catalog.pg_depend d ON d.refobjid = t.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass \
                    AND d.classid = 'pg_catalog.pg_rewrite'::regclass \
               JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid JOIN pg_catalog.pg_class v ON v.oid = r.ev_class \
               WHERE v.relkind IN ('v', 'm')";
    schema.findings(client, sql, |line| (!line.is("invoker")).then(|| view(line))).await
}

fn view(line: &Line<'_>) -> Finding {
    let (object, view) = (line.text("object"), line.is("view"));
    Finding {
        severity: Severity::Medium,
        check: if view { "view-bypasses" } else { "materialized-view" },
        what: format!("{} tenant tables", if view { "reads, with its owner's rights," } else { "holds rows of" }),
        why: "row-level security does not bind it; pgwarden refuses it unless it shows the tenant column and is listed",
        fix: if view {
            format!(
                "ALTER VIEW {object} SET (security_invoker = true); and list it in [tenancy.tables] if it shows the tenant column"
            )
        } else {
            format!("list {object} in [tenancy.tables] if it holds the tenant column; keep it from tenants otherwise")
        },
        object,
    }
}

/// Rules that rewrite statements on tenant tables, after the proxy has read them.
pub async fn rules(client: &Client, schema: &Schema) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT t.oid::regclass::text AS object, pg_catalog.quote_ident(r.rulename) AS rule FROM t \
               JOIN pg_catalog.pg_rewrite r ON r.ev_class = t.oid AND r.rulename <> '_RETURN'";
    let finding = |object: String, rule: String| Finding {
        severity: Severity::Medium,
        check: "rule-rewrites",
        what: format!("the rule {rule} makes other statements of those on it"),
        why: "the proxy guards the statement that it sees; what a rule adds runs as it was written, with its owner's rights",
        fix: format!("DROP RULE {rule} ON {object}; and do its work in a trigger"),
        object,
    };
    schema.findings(client, sql, |line| Some(finding(line.text("object"), line.text("rule")))).await
}

/// SECURITY DEFINER functions, and functions that tenants may call by configuration.
pub async fn functions(client: &Client, policy: &Policy) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(
            "SELECT p.oid::regprocedure::text AS object, n.nspname::text AS schema, p.proname::text AS name, p.prosecdef AS definer, \
                    p.prokind = 'p' AS procedure, \
                    l.lanname IN ('sql', 'plpgsql', 'plpython3u', 'plperl', 'plperlu', 'pltcl') AS runs_sql, \
                    EXISTS (SELECT 1 FROM pg_catalog.pg_trigger g WHERE g.tgfoid = p.oid) AS trigger \
             FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
             WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' \
               AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')",
            &[],
        )
        .await?;
    Ok(said_of(&rows, |line| function(line, policy)))
}

fn function(line: &Line<'_>, policy: &Policy) -> Option<Finding> {
    let object = line.text("object");
    let allowed = policy.allow_functions.contains(&QualifiedName::new(line.text("schema"), line.text("name")));
    let (definer, trigger) = (line.is("definer"), line.is("trigger"));
    let (severity, check, what, why) = if allowed && line.is("runs_sql") {
        (
            Severity::High,
            "allowed-function",
            "is on allow_functions and runs SQL of its own",
            "SQL inside a function is not seen by the proxy: it reads every tenant's rows unless row-level security binds it",
        )
    } else if definer && trigger {
        (
            Severity::Low,
            "definer-trigger",
            "is a SECURITY DEFINER trigger function",
            "it runs with its owner's rights on every tenant's statements: check that it writes for the row's own tenant only",
        )
    } else if definer {
        (
            Severity::Low,
            "definer-function",
            "is SECURITY DEFINER",
            "it runs with its owner's rights, past policies; tenants are refused it, but views, triggers and defaults may call it",
        )
    } else {
        return None;
    };
    let kind = if line.is("procedure") { "PROCEDURE" } else { "FUNCTION" };
    Some(Finding {
        severity,
        check,
        what: what.to_owned(),
        why,
        fix: format!("ALTER {kind} {object} SECURITY INVOKER; over tables with FORCE ROW LEVEL SECURITY"),
        object,
    })
}
