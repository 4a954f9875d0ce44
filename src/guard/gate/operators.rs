//! Which operators a statement may use: each is a function call in disguise.

use pg_query::protobuf::Node;

use super::names::{denied, parts, search_path, truncated};
use crate::base::{Mode, Refusal, RefusalKind};
use crate::guard::Policy;

fn unnamed() -> Refusal {
    denied(RefusalKind::Function, "permission denied for an operator", "Write its name, with or without a schema.")
}

/// Checks an operator as written: `=`, or the parts of `OPERATOR(schema.=)`.
///
/// An unqualified operator that `pg_catalog` has too (`=`, `||`) is let through: what else bears that name was put there by
/// the operator for types of its own, and refusing it would refuse every comparison.
///
/// # Errors
/// 42501 for an operator whose function has no rule.
pub(crate) fn check(policy: &Policy, mode: &Mode, name: &[Node]) -> Result<(), Refusal> {
    if matches!(mode, Mode::Operator | Mode::Database) {
        return Ok(());
    }
    let names = parts(name).ok_or_else(unnamed)?;
    let (schema, bare) = match names.as_slice() {
        // None is written: `IN (SELECT ...)` is `=`.
        [] => return Ok(()),
        [bare] => (None, truncated(bare)),
        [schema, bare] | [_, schema, bare] => (Some(truncated(schema)), truncated(bare)),
        [_, _, _, ..] => return Err(unnamed()),
    };
    let path = search_path(policy, mode);
    let found: Vec<_> = policy
        .catalog
        .operators
        .get(bare)
        .into_iter()
        .flatten()
        .filter(|o| match schema {
            Some(schema) => o.name.schema == schema,
            None => path.contains(&o.name.schema.as_str()),
        })
        .collect();
    if schema.is_none() && found.iter().any(|o| o.name.schema == "pg_catalog") {
        return Ok(());
    }
    let refused = found.iter().find(|o| {
        o.name.schema != "pg_catalog"
            && !policy.allow_functions.contains(&o.name)
            && !o.extension.as_deref().is_some_and(super::functions::extension_is_safe)
    });
    match refused {
        Some(operator) => Err(denied(
            RefusalKind::Function,
            format!("permission denied for operator {}", operator.name),
            "If its function is safe for every tenant, list the operator as schema.name in tenancy.allow_functions.",
        )
        .about(&operator.name)),
        // Unknown to the catalog: made a moment ago, or not there. Only pg_catalog's are sure not to run anybody's code.
        None if found.is_empty() && schema != Some("pg_catalog") => Err(denied(
            RefusalKind::Function,
            format!("operator does not exist: {bare}"),
            "pgwarden's catalog has no such operator.",
        )
        .about(bare)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use pg_query::NodeEnum;

    use super::*;
    use crate::guard::gate::fixture::{outcome, policy, schema_mode};
    use crate::sql::parse;

    fn operator(mode: &Mode, sql: &str) -> String {
        match parse::expression(sql).unwrap().node {
            Some(NodeEnum::AExpr(e)) => outcome(check(&policy(), mode, &e.name)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn operators_are_the_systems_or_of_known_extensions() {
        for (sql, wanted) in [
            ("a = b", "ok"),
            ("a OPERATOR(pg_catalog.=) b", "ok"),
            ("a % b", "ok"),
            ("a OPERATOR(extensions.%) b", "ok"),
            ("a OPERATOR(public.=) b", "42501"),
            ("a @@@ b", "42501"),
            ("a <-> b", "42501"),
            ("a OPERATOR(pg_temp.=) b", "42501"),
        ] {
            assert_eq!(operator(&Mode::Shared, sql), wanted, "{sql}");
            assert_eq!(operator(&Mode::Operator, sql), "ok", "{sql}");
        }
        assert_eq!(operator(&schema_mode(), "a OPERATOR(public.@@@) b"), "42501");
    }
}
