//! Names as Postgres reads them: 63 bytes, quoting, search path; and the refusals that many rules share.

use std::borrow::Cow;

use pg_query::NodeEnum;
use pg_query::protobuf::Node;

use crate::base::{Mode, Refusal, RefusalKind, SqlState};
use crate::guard::Policy;

/// `NAMEDATALEN - 1`: identifiers are cut to so many bytes, never inside a character.
pub(crate) const MAX_IDENTIFIER_BYTES: usize = 63;

/// Cuts an identifier as the server's scanner does.
pub(crate) fn truncated(name: &str) -> &str {
    if name.len() <= MAX_IDENTIFIER_BYTES {
        return name;
    }
    let end = (0..=MAX_IDENTIFIER_BYTES).rev().find(|&i| name.is_char_boundary(i)).unwrap_or(0);
    name.get(..end).unwrap_or("")
}

/// The parts of a possibly qualified name, as the parse tree gives them; `None` if a part is no plain name.
pub(crate) fn parts(nodes: &[Node]) -> Option<Vec<&str>> {
    nodes
        .iter()
        .map(|node| {
            let Some(NodeEnum::String(s)) = node.node.as_ref() else { return None };
            Some(s.sval.as_str())
        })
        .collect()
}

/// The schemas in which an unqualified name is looked for, in order, `pg_catalog` included. Empty where the server decides.
pub(crate) fn search_path<'a>(policy: &'a Policy, mode: &'a Mode) -> Vec<&'a str> {
    let path: Vec<&str> = match mode {
        Mode::Shared | Mode::Reader => policy.search_path.iter().map(String::as_str).collect(),
        Mode::Schema(own) => {
            std::iter::once(own.as_ref()).chain(policy.common_schemas.iter().map(String::as_str)).collect()
        }
        Mode::Database | Mode::Operator => policy.catalog.search_path.iter().map(String::as_str).collect(),
    };
    if path.contains(&"pg_catalog") { path } else { std::iter::once("pg_catalog").chain(path).collect() }
}

/// A schema that the tenant may name in the schema layout whatever it has of it in mind: its own, and the two of the system.
pub(crate) fn schema_is_own(mode: &Mode, schema: &str) -> bool {
    match mode {
        Mode::Schema(own) => schema == own.as_ref() || schema == "pg_catalog" || schema == "information_schema",
        Mode::Shared | Mode::Reader | Mode::Database | Mode::Operator => true,
    }
}

/// A schema in which functions, types and configurations may be looked up by name: those, and the common ones.
pub(crate) fn may_be_named(policy: &Policy, mode: &Mode, schema: &str) -> bool {
    schema_is_own(mode, schema) || policy.common_schemas.iter().any(|common| common == schema)
}

/// 42501 for a name that a common schema holds too: without a schema it could be either's.
pub(crate) fn ambiguous(own: &str, name: &str) -> Refusal {
    denied(
        RefusalKind::Relation,
        format!("\"{name}\" is a name that a schema common to all tenants has too"),
        format!("Write it with your own schema, {own}.{name}, or take another name."),
    )
    .about(name)
}

/// 42501 with a hint.
pub(crate) fn denied(
    kind: RefusalKind,
    message: impl Into<Cow<'static, str>>,
    hint: impl Into<Cow<'static, str>>,
) -> Refusal {
    Refusal::new(kind, SqlState::INSUFFICIENT_PRIVILEGE, message).hint(hint)
}

/// 0A000 for a name with a database before its schema: the rules are for names with a schema or without one.
pub(crate) fn cross_database(kind: RefusalKind, name: &str) -> Refusal {
    let message = format!("cross-database references are not implemented: \"{name}\"");
    Refusal::new(kind, SqlState::FEATURE_NOT_SUPPORTED, message).about(name)
}

/// 42501 for a schema of somebody else.
pub(crate) fn foreign_schema(schema: &str) -> Refusal {
    denied(
        RefusalKind::Relation,
        format!("permission denied for schema {schema}"),
        "A tenant of the schema layout may name its own schema, pg_catalog and information_schema.",
    )
    .about(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_cut_at_63_bytes_between_characters() {
        assert_eq!(truncated("orders"), "orders");
        let long = "a".repeat(70);
        assert_eq!(truncated(&long), "a".repeat(63));
        let umlauts = "ä".repeat(40);
        assert_eq!(truncated(&umlauts), "ä".repeat(31));
    }
}
