//! Operators and casts of the schema's own, as the guard takes them: it is asked about each.

use std::collections::HashSet;

use super::{Finding, Severity};
use crate::base::{Mode, Oid, RefusalKind};
use crate::catalog::{Cast, Operator};
use crate::guard::{Policy, Protocol, TableRule, plan_statements};
use crate::sql::{quote_identifier, quote_qualified};

/// Operators outside `pg_catalog` over types of tenant columns.
pub fn operators(policy: &Policy) -> Vec<Finding> {
    let types = column_types(policy);
    let all = policy.catalog.operators.values().flatten();
    let own = all.filter(|it| !matches!(it.name.schema.as_str(), "pg_catalog" | "information_schema"));
    own.filter(|it| types.contains(&it.left) || types.contains(&it.right))
        .filter_map(|it| operator(policy, it))
        .collect()
}

/// The types that columns of tenant relations have.
fn column_types(policy: &Policy) -> HashSet<Oid> {
    let tenants = policy.tables.iter().filter(|(_, rule)| matches!(rule, TableRule::Tenant(_)));
    let relations = tenants.filter_map(|(name, _)| policy.catalog.relations.get(name));
    relations.flat_map(|it| &it.columns).flat_map(|it| [it.type_oid, it.base_type_oid]).collect()
}

fn operator(policy: &Policy, operator: &Operator) -> Option<Finding> {
    let bare = operator.name.name.as_str();
    let left = if operator.left == 0 { "" } else { "NULL " };
    let refused =
        is_refused(policy, &format!("SELECT {left}OPERATOR({}.{bare}) NULL", quote_identifier(&operator.name.schema)));
    let of_the_system =
        policy.catalog.operators.get(bare).is_some_and(|all| all.iter().any(|it| it.name.schema == "pg_catalog"));
    // Those of extensions that the guard knows are reviewed.
    let reviewed = operator.extension.is_some() && !refused;
    let (severity, check, what, why, fix) = if of_the_system && !operator.leakproof && !reviewed {
        (
            Severity::Medium,
            "operator-shadows",
            "bears the name of an operator of pg_catalog",
            "names alone do not tell the two apart, so that it is let through and may stand bare: its function then runs on rows and \
             statistics of all tenants, and an error with a value in it would tell",
            format!(
                "make sure that its function raises no error and has no effect, and mark that LEAKPROOF; or DROP OPERATOR {} and \
                 make it anew under a name of its own",
                signature(policy, operator)
            ),
        )
    } else if refused {
        (
            Severity::Low,
            "operator-refused",
            "is outside pg_catalog and not on allow_functions",
            "tenants are refused every statement with it",
            format!("list \"{}\" in tenancy.allow_functions if its function is safe for every tenant", operator.name),
        )
    } else {
        return None;
    };
    Some(Finding::new(severity, check, signature(policy, operator), what, why).advice(fix))
}

/// `public.@@@ (integer, mood)`
fn signature(policy: &Policy, operator: &Operator) -> String {
    let name = |oid: Oid| match (oid, policy.catalog.types.get(&oid)) {
        (0, _) => "NONE".to_owned(),
        (_, Some(it)) if it.name.schema == "pg_catalog" => it.name.name.clone(),
        (_, Some(it)) => it.name.to_string(),
        (oid, None) => oid.to_string(),
    };
    format!("{} ({}, {})", operator.name, name(operator.left), name(operator.right))
}

/// Casts that call a function which tenants may not call.
pub fn casts(policy: &Policy) -> Vec<Finding> {
    let casts = policy.catalog.casts.iter();
    casts.filter(|it| !policy.allow_functions.contains(&it.function)).filter_map(|it| cast(policy, it)).collect()
}

fn cast(policy: &Policy, cast: &Cast) -> Option<Finding> {
    let target = quote_qualified(&cast.target);
    if !is_refused(policy, &format!("SELECT CAST(NULL AS {target})")) {
        return None;
    }
    let (severity, check, why, fix) = if cast.unwritten {
        (
            Severity::Medium,
            "cast-unwritten",
            "Postgres uses it where none is written, and there no rule for functions sees it: the function runs unseen, on rows of all tenants",
            format!(
                "make it a cast that is written: DROP CAST and CREATE CAST without AS IMPLICIT or AS ASSIGNMENT; or list \"{}\" in \
                     tenancy.allow_functions if it is safe for every tenant",
                cast.function
            ),
        )
    } else {
        (
            Severity::Low,
            "cast-refused",
            "tenants are refused every statement with a cast to that type",
            format!("list \"{}\" in tenancy.allow_functions if it is safe for every tenant", cast.function),
        )
    };
    let what = format!("casts to it call the function {}", cast.function);
    Some(Finding::new(severity, check, format!("type {}", cast.target), what, why).advice(fix))
}

fn is_refused(policy: &Policy, sql: &str) -> bool {
    plan_statements(policy, &Mode::Shared, Protocol::Simple, sql)
        .is_err_and(|refusal| refusal.kind == RefusalKind::Function)
}
