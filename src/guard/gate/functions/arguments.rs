//! Functions that are harmless or not by their arguments.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, Node, TypeName, a_const};

use crate::base::{Mode, Refusal, RefusalKind};
use crate::catalog::Function;
use crate::guard::gate::names::{ambiguous, denied, may_be_named, parts, schema_is_own};
use crate::guard::{Policy, TableRule, nodes};

/// Checks the arguments of functions that look names up or advance sequences.
///
/// # Errors
/// 42501 for an argument that may hold a value of a row, where the function would show it in an error.
pub(super) fn check(policy: &Policy, mode: &Mode, bare: &str, args: &[Node]) -> Result<(), Refusal> {
    if looks_names_up(bare)
        && let Mode::Schema(_) = mode
        && let Some(text) =
            args.iter().filter_map(name_literal).find(|t| t.contains('.') && own_text(policy, mode, t).is_none())
    {
        return Err(denied(
            RefusalKind::Function,
            format!("permission denied for function {bare}"),
            format!("\"{text}\" is not in the tenant's own schema."),
        )
        .about(bare));
    }
    if looks_names_up(bare) {
        return match args.iter().find(|arg| !(is_plain(policy, arg) || is_built_name(policy, mode, arg))) {
            Some(_) => Err(denied(
                RefusalKind::Function,
                format!("permission denied for function {bare}"),
                format!("{bare}() may only be asked about constants and catalog columns here."),
            )
            .about(bare)),
            None => Ok(()),
        };
    }
    if matches!(bare, "nextval" | "currval") {
        return sequence(policy, mode, bare, args);
    }
    if matches!(mode, Mode::Schema(_)) && shows_definitions(bare) {
        return match args.first() {
            Some(object) => own_object(policy, mode, bare, object),
            None => Ok(()),
        };
    }
    Ok(())
}

/// Whether [`check`] looks at the arguments of a function.
pub(super) fn are_checked(mode: &Mode, bare: &str) -> bool {
    looks_names_up(bare)
        || matches!(bare, "nextval" | "currval")
        || (matches!(mode, Mode::Schema(_)) && shows_definitions(bare))
}

/// In the schema layout a text that is taken for an object's name (`pg_partition_tree('t')`) names one that the tenant may name.
pub(super) fn name_own_objects(
    policy: &Policy,
    mode: &Mode,
    bare: &str,
    found: &[&Function],
    args: &[Node],
) -> Result<(), Refusal> {
    let Mode::Schema(_) = mode else { return Ok(()) };
    let takes_name = |at: usize| found.iter().any(|f| f.arg_types.get(at).is_some_and(|oid| NAME_TYPES.contains(oid)));
    let any = (0..args.len()).any(takes_name);
    let foreign = args.iter().enumerate().find(|(at, arg)| match arg.node.as_ref() {
        Some(NodeEnum::NamedArgExpr(named)) => {
            any && named.arg.as_deref().is_some_and(|arg| !is_own(policy, mode, arg))
        }
        Some(_) | None => takes_name(*at) && !is_own(policy, mode, arg),
    });
    // It takes its names as an array.
    match foreign.is_some() || bare == "pg_get_object_address" {
        true => Err(denied(
            RefusalKind::Function,
            format!("permission denied for function {bare}"),
            format!("{bare}() may only be asked about objects of the tenant's own schema."),
        )
        .about(bare)),
        false => Ok(()),
    }
}

/// What is no name in a string, or one that the tenant may name.
fn is_own(policy: &Policy, mode: &Mode, arg: &Node) -> bool {
    literal(arg).is_none_or(|text| own_name(policy, mode, text).is_some())
}

/// regproc, regprocedure, regoper, regoperator, regclass, regtype, regconfig, regdictionary, regcollation
const NAME_TYPES: [u32; 9] = [24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4191];

/// Functions that give an object's definition or comment by its oid or name.
fn shows_definitions(bare: &str) -> bool {
    matches!(bare, "obj_description" | "col_description" | "shobj_description" | "regclass")
        || (bare.starts_with("pg_get_") && !matches!(bare, "pg_get_userbyid" | "pg_get_expr" | "pg_get_keywords"))
}

/// In the schema layout the object must come from the (filtered) catalogs, or be named in the tenant's schema.
fn own_object(policy: &Policy, mode: &Mode, bare: &str, node: &Node) -> Result<(), Refusal> {
    let refused = || {
        denied(
            RefusalKind::Function,
            format!("permission denied for function {bare}"),
            format!("{bare}() may only be asked about objects of the tenant's own schema."),
        )
        .about(bare)
    };
    if let Some(NodeEnum::ColumnRef(_)) = node.node.as_ref() {
        return Ok(());
    }
    if let Some(NodeEnum::TypeCast(cast)) = node.node.as_ref() {
        let harmless = cast.type_name.as_ref().is_some_and(|name| is_bare(name, NAMES) || is_bare(name, &["oid"]));
        return own_object(policy, mode, bare, cast.arg.as_deref().filter(|_| harmless).ok_or_else(refused)?);
    }
    let Some(NodeEnum::AConst(constant)) = node.node.as_ref() else { return Err(refused()) };
    match constant.val.as_ref() {
        Some(a_const::Val::Sval(s)) => own_name(policy, mode, &s.sval).ok_or_else(refused),
        Some(a_const::Val::Ival(i)) => own_name(policy, mode, &i.ival.to_string()).ok_or_else(refused),
        Some(a_const::Val::Fval(_) | a_const::Val::Boolval(_) | a_const::Val::Bsval(_)) => Err(refused()),
        None => Ok(()),
    }
}

/// `16396` of a relation that is the tenant's or no tenant's, or a name in a schema that it may name.
fn own_name(policy: &Policy, mode: &Mode, text: &str) -> Option<()> {
    // As the server's functions take them, `0x1f` and `017` are numbers as well: those are refused.
    let number = text.trim_start();
    if number.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-')) {
        let oid = number.parse::<u32>().ok().filter(|oid| oid.to_string() == number)?;
        let mut relations = policy.catalog.relations.values();
        return match relations.find(|r| r.oid == oid) {
            Some(relation) => schema_is_own(mode, &relation.name.schema).then_some(()),
            // An index or sequence that the catalog does not list, or a relation made a moment ago: not known to be its own.
            None => None,
        };
    }
    own_text(policy, mode, text)
}

/// A name in a string: unqualified, or in a schema that the mode may name. Not one of a common schema's relation that is not
/// shared: its definition is nobody's business.
pub(in crate::guard::gate) fn own_text(policy: &Policy, mode: &Mode, text: &str) -> Option<()> {
    let Mode::Schema(own) = mode else { return Some(()) };
    let allowed = match split_name(text)?.as_slice() {
        [name] => policy.catalog.relation(own, name).is_some() || !policy.is_hidden_in_common(name),
        [schema, name] if !schema_is_own(mode, schema) => {
            let hidden = policy.catalog.relation(schema, name).is_some_and(|relation| !policy.is_shared(relation));
            may_be_named(policy, mode, schema) && !hidden
        }
        [_, _] => true,
        _ => false,
    };
    allowed.then_some(())
}

/// Whether a string that is cast to `regclass` or its kin needs a look: it has a schema in it, or is a name alone.
pub(in crate::guard::gate) fn is_name(text: &str) -> bool {
    text.contains('.') || split_name(text).is_some()
}

/// Functions that raise an error with their argument in it, at so low a cost that the planner runs them early.
fn looks_names_up(bare: &str) -> bool {
    (bare.starts_with("has_") && bare.ends_with("_privilege")) || bare == "pg_has_role" || bare.starts_with("to_reg")
}

/// Constants, parameters, session values and columns that are no tenant table's.
fn is_plain(policy: &Policy, node: &Node) -> bool {
    if let Some(NodeEnum::TypeCast(cast)) = node.node.as_ref() {
        return cast.arg.as_deref().is_some_and(|a| is_plain(policy, a));
    }
    if let Some(NodeEnum::ColumnRef(column)) = node.node.as_ref() {
        let last = column.fields.last().and_then(|f| f.node.as_ref());
        return matches!(last, Some(NodeEnum::String(name)) if !is_tenant_column(policy, &name.sval));
    }
    matches!(node.node, Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::SqlvalueFunction(_)))
}

/// A name that is put together of catalog columns: `quote_ident(schemaname) || '.' || quote_ident(tablename)`. What stands in it
/// literally is no name.
#[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
fn is_built_name(policy: &Policy, mode: &Mode, node: &Node) -> bool {
    let built = |node: &Node| is_built_name(policy, mode, node);
    match node.node.as_ref() {
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(built),
        Some(NodeEnum::ColumnRef(_)) => is_plain(policy, node),
        Some(NodeEnum::AConst(_)) => {
            let free = matches!(mode, Mode::Shared | Mode::Reader | Mode::Database | Mode::Operator);
            free || matches!(literal(node), Some("." | "%I.%I" | "%s.%s"))
        }
        Some(NodeEnum::AExpr(e)) => {
            let joins = e.kind() == AExprKind::AexprOp
                && matches!(parts(&e.name).as_deref(), Some(["||"] | ["pg_catalog", "||"]));
            joins && [&e.lexpr, &e.rexpr].into_iter().all(|side| side.as_deref().is_some_and(built))
        }
        Some(NodeEnum::FuncCall(call)) => {
            let name = parts(&call.funcname);
            let known = matches!(
                name.as_deref(),
                Some(["quote_ident" | "format" | "concat"] | ["pg_catalog", "quote_ident" | "format" | "concat"])
            );
            let plain =
                call.agg_order.is_empty() && call.agg_filter.is_none() && call.over.is_none() && !call.func_variadic;
            known && plain && call.args.iter().all(built)
        }
        Some(nodes::statement!() | nodes::part!()) | None => false,
    }
}

/// A column of that name in any tenant table. (Without an alias list a column of the catalog keeps its name.)
fn is_tenant_column(policy: &Policy, column: &str) -> bool {
    policy
        .tables
        .iter()
        .filter(|(_, rule)| matches!(rule, TableRule::Tenant(_)))
        .filter_map(|(name, _)| policy.catalog.relations.get(name))
        .any(|relation| relation.column(column).is_some())
}

/// `nextval('seq')`: the name must be a literal, of a sequence on the path or of the mode's schema; or that of a column's, by
/// `pg_get_serial_sequence` of a table of these.
fn sequence(policy: &Policy, mode: &Mode, bare: &str, args: &[Node]) -> Result<(), Refusal> {
    let refused = || {
        denied(
            RefusalKind::Function,
            format!("permission denied for function {bare}"),
            format!("{bare}() needs the sequence's name as a literal here."),
        )
        .about(bare)
    };
    let [arg] = args else { return Ok(()) };
    let arg = serial_table(arg).unwrap_or(arg);
    // A number is an oid: any sequence's.
    let text = name_literal(arg).filter(|text| !is_oid(text)).ok_or_else(refused)?;
    let parts = split_name(text).ok_or_else(refused)?;
    match (parts.as_slice(), mode) {
        ([name], Mode::Schema(own)) if policy.in_common(name).next().is_some() => Err(ambiguous(own, name)),
        ([_], _) => Ok(()),
        ([schema, _], Mode::Schema(own)) if schema != own.as_ref() => {
            Err(crate::guard::gate::names::foreign_schema(schema))
        }
        ([_, _], Mode::Schema(_)) => Ok(()),
        ([schema, name], _) if policy.catalog.relation(schema, name).is_some() => Ok(()),
        (_other_names, Mode::Shared | Mode::Reader | Mode::Schema(_) | Mode::Database | Mode::Operator) => {
            Err(refused())
        }
    }
}

/// The table of `pg_get_serial_sequence('table', 'column')`, also under a cast to `regclass`.
fn serial_table(node: &Node) -> Option<&Node> {
    match node.node.as_ref()? {
        NodeEnum::TypeCast(cast) => {
            cast.type_name.as_ref().filter(|name| is_bare(name, NAMES))?;
            serial_table(cast.arg.as_deref()?)
        }
        NodeEnum::FuncCall(call) => match (parts(&call.funcname)?.as_slice(), call.args.as_slice()) {
            (["pg_get_serial_sequence"] | ["pg_catalog", "pg_get_serial_sequence"], [table, column]) => {
                literal(column).map(|_| table)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Types that a text can be cast to and still be the same text.
const TEXTS: &[&str] = &["text", "varchar"];
/// ... or name the same object.
const NAMES: &[&str] = &["text", "varchar", "regclass", "regtype", "regproc", "regprocedure"];

/// The text of a string literal, also under casts that leave it as it is (`'acme2'::varchar(4)` is `acme`).
pub(in crate::guard::gate) fn literal(node: &Node) -> Option<&str> {
    literal_under(node, TEXTS)
}

/// The number of a parameter, also under casts that leave a text as it is.
pub(in crate::guard::gate) fn parameter(node: &Node) -> Option<u16> {
    match node.node.as_ref()? {
        NodeEnum::TypeCast(cast) => {
            cast.type_name.as_ref().filter(|name| is_bare(name, TEXTS))?;
            parameter(cast.arg.as_deref()?)
        }
        NodeEnum::ParamRef(param) => u16::try_from(param.number).ok(),
        _ => None,
    }
}

/// The text of a string literal that names an object, also under casts that leave the object the same.
pub(in crate::guard::gate) fn name_literal(node: &Node) -> Option<&str> {
    literal_under(node, NAMES)
}

fn literal_under<'n>(node: &'n Node, casts: &[&str]) -> Option<&'n str> {
    if let Some(NodeEnum::TypeCast(cast)) = node.node.as_ref() {
        let harmless = cast.type_name.as_ref().is_some_and(|name| is_bare(name, casts));
        return literal_under(cast.arg.as_deref().filter(|_| harmless)?, casts);
    }
    let Some(NodeEnum::AConst(constant)) = node.node.as_ref() else { return None };
    let Some(a_const::Val::Sval(s)) = constant.val.as_ref() else { return None };
    Some(&s.sval)
}

/// One of these types of `pg_catalog`, with no modifier that would cut a value.
fn is_bare(name: &TypeName, types: &[&str]) -> bool {
    let plain = name.typmods.is_empty() && name.array_bounds.is_empty() && !name.setof && !name.pct_type;
    plain && matches!(parts(&name.names).as_deref(), Some([name] | ["pg_catalog", name]) if types.contains(name))
}

/// Whether a name in a string is read as an oid: `regclassin` does where there are digits alone.
pub(in crate::guard::gate) fn is_oid(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Splits a name in a string as `stringToQualifiedNameList` does: dots, double quotes, case folding, blanks between parts.
pub(in crate::guard::gate) fn split_name(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let (name, after) = one_name(rest)?;
        names.push(crate::guard::gate::names::truncated(&name).to_owned());
        rest = after.trim_start();
        match rest.strip_prefix('.') {
            Some(more) => rest = more.trim_start(),
            None => return rest.is_empty().then_some(names),
        }
    }
}

fn one_name(text: &str) -> Option<(String, &str)> {
    if let Some(mut rest) = text.strip_prefix('"') {
        let mut name = String::new();
        loop {
            let end = rest.find('"')?;
            name.push_str(rest.get(..end)?);
            rest = rest.get(end + 1..)?;
            match rest.strip_prefix('"') {
                Some(more) => {
                    name.push('"');
                    rest = more;
                }
                None => return (!name.is_empty()).then_some((name, rest)),
            }
        }
    }
    let end = text.find(|c: char| c == '.' || c == '"' || c.is_ascii_whitespace()).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    (!name.is_empty()).then(|| (name.to_ascii_lowercase(), rest))
}

#[cfg(test)]
mod tests {
    use super::split_name;

    #[test]
    fn names_in_strings_are_split_as_the_server_splits_them() {
        let split = |s: &str| split_name(s);
        assert_eq!(split("Orders"), Some(vec!["orders".to_owned()]));
        assert_eq!(split(" public . \"My.Seq\" "), Some(vec!["public".to_owned(), "My.Seq".to_owned()]));
        assert_eq!(split("\"a\"\"b\""), Some(vec!["a\"b".to_owned()]));
        assert_eq!(split("a b"), None);
        assert_eq!(split("\"open"), None);
        assert_eq!(split("a."), None);
        assert_eq!(split(""), None);
    }
}
