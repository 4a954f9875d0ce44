//! Which types a statement may name.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, TypeCast, TypeName, a_const};

use super::functions;
use super::names::{denied, foreign_schema, may_be_named, parts, truncated};
use crate::base::{Mode, Refusal, RefusalKind, SqlState};
use crate::guard::{Policy, TableRule, nodes};

/// Checks the name of a type in a cast, a column definition or a column definition list.
///
/// Casts to `regclass` and its kin look names up, which are no secret in the shared layout; they run on the tenant's own rows
/// only (split guard), so an error shows no other's value.
///
/// # Errors
/// 42501 for a type in a schema of another tenant; 42601 for a modifier that is no constant, which Postgres refuses too, and
/// its printer cannot print.
pub(crate) fn check(policy: &Policy, mode: &Mode, name: &TypeName) -> Result<(), Refusal> {
    let names = parts(&name.names).ok_or_else(bad_name)?;
    if !name.typmods.iter().all(|modifier| is_modifier(&names, kind(modifier))) {
        return Err(bad_modifier());
    }
    let schema = match names.as_slice() {
        [.., schema, _] => truncated(schema),
        // It is found on the search path, which is pinned: the system's, or of a schema that the tenant may use.
        [_] => return Ok(()),
        [] => return Err(bad_name()),
    };
    let Mode::Schema(_) = mode else { return Ok(()) };
    if may_be_named(policy, mode, schema) || holds_no_tenant(policy, schema) {
        return Ok(());
    }
    Err(foreign_schema(schema))
}

/// What may stand in the parentheses of a type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Modifier {
    /// `varchar(5)`, `timestamp(3)`
    Integer,
    /// Another constant
    Constant,
    /// `geometry(Point, 4326)`: an identifier stands there as a column would, and is none.
    Name,
}

fn kind(modifier: &Node) -> Option<Modifier> {
    match modifier.node.as_ref() {
        Some(NodeEnum::AConst(constant)) => {
            let is_integer = matches!(constant.val, Some(a_const::Val::Ival(_)));
            Some(if is_integer { Modifier::Integer } else { Modifier::Constant })
        }
        Some(NodeEnum::ColumnRef(column)) => {
            parts(&column.fields).filter(|names| names.len() == 1).map(|_| Modifier::Name)
        }
        Some(_) | None => None,
    }
}

/// Whether a type of this name takes it: the system's take numbers only, as libpg_query's printer expects; those of extensions names and
/// constants.
pub(super) fn is_modifier(names: &[&str], modifier: Option<Modifier>) -> bool {
    match modifier {
        Some(Modifier::Integer) => true,
        Some(Modifier::Constant | Modifier::Name) => names.first() != Some(&"pg_catalog"),
        None => false,
    }
}

fn bad_name() -> Refusal {
    Refusal::new(RefusalKind::Syntax, SqlState::SYNTAX_ERROR, "the name of a type must be an identifier")
}

pub(super) fn bad_modifier() -> Refusal {
    Refusal::new(RefusalKind::Syntax, SqlState::SYNTAX_ERROR, "type modifiers must be simple constants or identifiers")
}

/// A cast: besides its type, a name in a string that is cast to `regclass` and its kin.
///
/// # Errors
/// 42501 for a name in a schema of another tenant.
pub(crate) fn check_cast(policy: &Policy, mode: &Mode, cast: &TypeCast) -> Result<(), Refusal> {
    let Some(name) = cast.type_name.as_ref() else { return Ok(()) };
    check(policy, mode, name)?;
    if let Some((last, before)) = parts(&name.names).unwrap_or_default().split_last() {
        functions::check_cast(policy, mode, before.last().map(|schema| truncated(schema)), truncated(last))?;
    }
    check_lookup(policy, mode, cast)
}

/// Types whose values are written as names, with a schema or without. (`regnamespace` and `regrole` have none.)
const LOOK_UP: &[&str] = &[
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regtype",
];

/// Of a cast, the name that it looks up, if it does.
///
/// # Errors
/// As [`check_cast`].
pub(super) fn check_lookup(policy: &Policy, mode: &Mode, cast: &TypeCast) -> Result<(), Refusal> {
    let to = cast.type_name.as_ref().and_then(|name| parts(&name.names)).unwrap_or_default();
    let looks_up = to.last().is_some_and(|last| LOOK_UP.contains(&truncated(last)));
    if !looks_up || !matches!(mode, Mode::Schema(_)) {
        return Ok(());
    }
    match cast.arg.as_deref().map(|arg| (arg, functions::name_literal(arg))) {
        Some((_, Some(text))) if functions::is_name(text) && functions::own_text(policy, mode, text).is_none() => {
            Err(denied(
                RefusalKind::Relation,
                "permission denied to look up this name",
                "A tenant of the schema layout may name its own schema, pg_catalog and information_schema.",
            )
            .about(text))
        }
        // A computed name could be anybody's.
        Some((arg, None)) if is_computed(arg) => Err(denied(
            RefusalKind::Relation,
            "permission denied to look up a computed name",
            "Name the relation in a literal.",
        )),
        Some(_) | None => Ok(()),
    }
}

/// Whether the name is not to be seen in the text: all but numbers, columns, parameters and their casts to `oid`.
#[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
fn is_computed(arg: &Node) -> bool {
    match arg.node.as_ref() {
        Some(NodeEnum::ColumnRef(_) | NodeEnum::ParamRef(_) | NodeEnum::AConst(_)) | None => false,
        // A text that a cast changes (`'t_a'::varchar(2)`); numbers and columns are cast to `oid`.
        Some(NodeEnum::TypeCast(cast)) => {
            let (mut arg, mut of_text) = (cast.arg.as_deref(), false);
            while let Some(NodeEnum::TypeCast(inner)) = arg.and_then(|arg| arg.node.as_ref()) {
                arg = inner.arg.as_deref();
            }
            if let Some(NodeEnum::AConst(constant)) = arg.and_then(|arg| arg.node.as_ref()) {
                of_text = matches!(constant.val, Some(a_const::Val::Sval(_)));
            }
            of_text || arg.is_some_and(is_computed)
        }
        Some(nodes::statement!() | nodes::part!()) => true,
    }
}

/// A schema with types of an extension (`extensions.citext`) or with a configured shared table: no tenant's.
fn holds_no_tenant(policy: &Policy, schema: &str) -> bool {
    policy.tables.iter().any(|(name, rule)| name.schema == schema && matches!(rule, TableRule::Shared(_)))
        || policy.catalog.functions.values().flatten().any(|f| f.name.schema == schema && f.extension.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::gate::fixture::{outcome, policy, schema_mode};
    use crate::sql::parse;

    fn cast(mode: &Mode, sql: &str) -> String {
        match parse::expression(sql).unwrap().node {
            Some(NodeEnum::TypeCast(cast)) => outcome(check_cast(&policy(), mode, &cast)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn modifiers_are_constants_or_names() {
        for (sql, wanted) in [
            ("x::numeric(3, -2)", "ok"),
            ("x::interval hour to second(3)", "ok"),
            ("x::geometry(Point, 4326)", "ok"),
            ("x::geometry(a.b)", "42601"),
            ("x::geometry((SELECT 1))", "42601"),
            ("x::pg_catalog.timestamptz(y)", "42601"),
            ("x::pg_catalog.timestamptz('y')", "42601"),
        ] {
            assert_eq!(cast(&Mode::Shared, sql), wanted, "{sql}");
        }
    }

    #[test]
    fn types_have_plain_names() {
        let named = |names: Vec<Node>| {
            let cast = TypeCast { type_name: Some(TypeName { names, ..TypeName::default() }), ..TypeCast::default() };
            outcome(check_cast(&policy(), &Mode::Shared, &cast))
        };
        let name = |sval: &str| Node { node: Some(NodeEnum::String(pg_query::protobuf::String { sval: sval.into() })) };
        assert_eq!(named(vec![name("int4")]), "ok");
        assert_eq!(named(vec![]), "42601");
        assert_eq!(named(vec![name("public"), Node::default()]), "42601");
    }

    #[test]
    fn casts_call_no_function_without_a_rule() {
        for (sql, wanted) in [
            ("x::boxed", "42501"),
            ("x::public.boxed", "42501"),
            ("CAST(x AS boxed[])", "42501"),
            ("x::labelled", "ok"),
            ("x::t_b.boxed", "ok"),
        ] {
            assert_eq!(cast(&Mode::Shared, sql), wanted, "{sql}");
            assert_eq!(cast(&Mode::Operator, sql), "ok", "{sql}");
        }
    }

    #[test]
    fn casts_name_no_other_tenants_schema() {
        for (sql, wanted) in [
            ("x::int", "ok"),
            ("x::t_a.mood", "ok"),
            ("x::varchar(5)", "ok"),
            ("x::extensions.citext", "ok"),
            ("x::t_b.customers", "42501"),
            ("'customers'::regclass", "ok"),
            ("'t_a.customers'::regclass", "ok"),
            ("'t_b.customers'::regclass", "42501"),
            ("c.oid::pg_catalog.regclass", "ok"),
            ("('t_b' || '.customers')::regclass", "42501"),
            ("'t_b.customers'::text::regclass", "42501"),
            ("'t_b.customers'::varchar(20)::regclass", "42501"),
            ("'customers'::text::regclass", "ok"),
            ("16501::oid::regclass", "ok"),
            ("format('%I.%I', a, b)::regclass", "42501"),
            ("coalesce('t_b.customers')::regclass", "42501"),
            ("(SELECT 't_b.customers')::regclass", "42501"),
            ("('t_b.customers' COLLATE \"C\")::regclass", "42501"),
            ("'{t_b.customers}'::regclass[]", "42501"),
            ("$1::regclass", "ok"),
            ("'t_b.mood'::regtype", "42501"),
            ("'t_b.my_customers()'::regprocedure", "42501"),
            ("'t_b.english'::regconfig", "42501"),
            ("'pg_catalog.english'::regconfig", "ok"),
            ("'t_b.+'::regoper", "42501"),
            ("'t_b.c'::regcollation", "42501"),
        ] {
            assert_eq!(cast(&schema_mode(), sql), wanted, "{sql}");
            assert_eq!(cast(&Mode::Shared, sql), "ok", "{sql}");
        }
    }

    #[test]
    fn type_modifiers_are_constants() {
        for sql in ["x::numeric((SELECT 5))", "x::numeric(2 + 1, 1)", "x::mine($1)"] {
            assert_eq!(cast(&Mode::Shared, sql), "42601", "{sql}");
        }
        assert_eq!(cast(&Mode::Shared, "x::mine(a, 5)"), "ok");
    }
}
