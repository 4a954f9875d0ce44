//! Functions that statements on tenant tables call without naming them: in policies, defaults, constraints, indexes, rules and
//! triggers.

use tokio_postgres::{Client, Error, Row};

use super::bodies::{Bodies, Body};
use super::{Finding, Line, Schema, Severity};
use crate::base::{Enforcement, Oid};
use crate::guard::{Policy, TableRule};

/// A call that the server makes.
struct Use {
    /// The tenant table.
    object: String,
    /// `policy`, `default`, ...
    kind: String,
    /// Of the policy, the column, ...
    name: String,
    function: Oid,
}

/// Functions that are called directly, or as the function of an operator.
const USES: &str = "\
    , part(relid, kind, name, classid, objid) AS (\
        SELECT polrelid, 'policy', polname, 'pg_catalog.pg_policy'::regclass, oid FROM pg_catalog.pg_policy \
        UNION ALL SELECT d.adrelid, 'default', a.attname, 'pg_catalog.pg_attrdef'::regclass, d.oid FROM pg_catalog.pg_attrdef d \
            JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
        UNION ALL SELECT conrelid, 'constraint', conname, 'pg_catalog.pg_constraint'::regclass, oid FROM pg_catalog.pg_constraint \
        UNION ALL SELECT i.indrelid, 'index', c.relname, 'pg_catalog.pg_class'::regclass, c.oid FROM pg_catalog.pg_index i \
            JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
        UNION ALL SELECT ev_class, 'rule', rulename, 'pg_catalog.pg_rewrite'::regclass, oid FROM pg_catalog.pg_rewrite), \
    called(relid, kind, name, function) AS (\
        SELECT p.relid, p.kind, p.name, coalesce(o.oprcode::oid, d.refobjid) FROM part p \
            JOIN pg_catalog.pg_depend d ON d.classid = p.classid AND d.objid = p.objid \
            LEFT JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND o.oid = d.refobjid \
            WHERE d.refclassid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass) \
        UNION ALL SELECT tgrelid, 'trigger', tgname, tgfoid FROM pg_catalog.pg_trigger WHERE NOT tgisinternal) \
    SELECT DISTINCT t.oid::regclass::text AS object, c.kind, pg_catalog.quote_ident(c.name) AS name, c.function FROM t \
        JOIN called c ON c.relid = t.oid";

/// What statements on tenant tables call unseen, and what tenants may call by configuration.
pub async fn inside(client: &Client, schema: &Schema, policy: &Policy) -> Result<Vec<Finding>, Error> {
    let bodies = Bodies::read(client).await?;
    let uses: Vec<Use> = schema.query(client, USES).await?.iter().map(of_row).collect();
    let folded = uses.iter().filter_map(|it| folded(it, &bodies, policy));
    let unguarded = uses.iter().filter_map(|it| unguarded(it, &bodies, policy));
    Ok(folded.chain(unguarded).chain(allowed(&bodies, policy)).collect())
}

fn of_row(row: &Row) -> Use {
    let line = Line(row);
    let [object, kind, name] = ["object", "kind", "name"].map(|it| line.text(it));
    Use { object, kind, name, function: row.get("function") }
}

const FOLDS: &str = "Postgres replaces a call of an IMMUTABLE function by its value when it plans, and keeps the plan with the prepared \
                     statement: the next tenant on that server connection meets the value of the one before";

/// A function that is IMMUTABLE by its declaration, and reads which tenant it is called for.
fn folded(it: &Use, bodies: &Bodies, policy: &Policy) -> Option<Finding> {
    let body = bodies.folded(it.function, &policy.setting)?;
    // A policy that stands alone shows the rows of the tenant before.
    let alone = it.kind == "policy" && policy.enforcement == Enforcement::Rls;
    let severity = if alone { Severity::High } else { Severity::Medium };
    let what = format!(
        "the {} {} calls {}, which is IMMUTABLE and reads the tenant's setting",
        it.kind, it.name, body.signature
    );
    let finding = Finding::new(severity, "immutable-reads-tenant", &it.object, what, FOLDS);
    Some(if it.kind == "index" {
        finding
            .advice(format!("an index without it; an index calls nothing that is not IMMUTABLE. Then {}", stable(body)))
    } else {
        finding.sql([stable(body)])
    })
}

fn stable(body: &Body) -> String {
    format!("ALTER FUNCTION {} STABLE;", body.signature)
}

/// The same of the functions that stand in `allow_functions`.
fn allowed(bodies: &Bodies, policy: &Policy) -> Vec<Finding> {
    let named = policy.allow_functions.iter().flat_map(|name| bodies.named(name));
    let folded = named.filter_map(|(oid, body)| Some((body, bodies.folded(oid, &policy.setting)?)));
    folded
        .map(|(body, folded)| {
            let what =
                format!("is on allow_functions, and {} is IMMUTABLE and reads the tenant's setting", folded.signature);
            Finding::new(Severity::Medium, "immutable-reads-tenant", &body.signature, what, FOLDS).sql([stable(folded)])
        })
        .collect()
}

/// A function whose SQL no policy of the server's binds, nor any predicate of the guard's.
fn unguarded(it: &Use, bodies: &Bodies, policy: &Policy) -> Option<Finding> {
    let body = bodies.get(it.function)?;
    let tenants = policy.tables.iter().filter(|(_, rule)| matches!(rule, TableRule::Tenant(_)));
    let bare = tenants.filter_map(|(name, _)| policy.catalog.relations.get(name)).filter(|it| !it.row_security_active);
    let mut bare: Vec<_> = bare.map(|it| &it.name).collect();
    bare.sort();
    let reached = bodies.reached(it.function);
    let named = bare.iter().find(|table| reached.iter().any(|body| body.names(&table.name.to_lowercase())));
    let computed = reached.iter().any(|body| body.runs_computed_sql());
    // Of SECURITY DEFINER functions it is said anyway.
    if body.definer || bare.is_empty() || (named.is_none() && !computed) {
        return None;
    }
    let does = named.map_or_else(|| "runs SQL that it puts together".to_owned(), |table| format!("names {table}"));
    Some(
        Finding::new(
            Severity::Low,
            "unguarded-code",
            &it.object,
            format!("the {} {} calls {}, which {does}", it.kind, it.name, body.signature),
            "the proxy does not see SQL inside a function: on tables without row-level security it reads and writes rows of all tenants",
        )
        .advice(
            "make sure that it stays with the tenant of its row (NEW's tenant column in each statement); or row-level security on what it \
             names, as `pgwarden rls generate` prints it",
        ),
    )
}
