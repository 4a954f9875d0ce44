//! Queries whose value is there without fail: one row at most, and nothing in them that could raise an error.
//!
//! `b = (SELECT max(id) FROM orders)`: when Postgres evaluates the query depends on rows of others, also where it stands behind
//! the predicate (of two indexes it asks the second only if the first had any row). With such a query that shows in nothing.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, FuncCall, LimitOption, Node, SubLink, a_const};

use super::declared_type;
use super::one_level::OneLevel;
use crate::base::Oid;
use crate::base::oid::{INT2, INT4, INT8};
use crate::catalog::{RelKind, Relation};
use crate::guard::Policy;
use crate::guard::rewrite::tree::{self, as_string, system_name};

/// Aggregates that fail on no value of a type that has them.
const AGGREGATES: &[&str] = &["bool_and", "bool_or", "count", "every", "max", "min"];

/// Whether the value of a query, as it stands after the walk, is there without fail.
pub(super) fn is_sure(policy: &Policy, param_types: &[Oid], link: &SubLink) -> bool {
    let Some(OneLevel { targets: [target], from, condition, sort, limit, limit_option }) = OneLevel::of(link) else {
        return false;
    };
    let literal = matches!(value_of(target), Some(NodeEnum::AConst(_))) && from.is_empty();
    let limited = limit_option == LimitOption::Count && limit.is_some_and(is_one);
    let one_row = literal
        || is_aggregate(policy, target) && limit.is_none()
        || value_of(target).is_some_and(|value| is_column(policy, value))
            && (limited || limit.is_none() && has_one_row(policy, param_types, from, condition));
    one_row
        && sort.iter().all(|sort| is_sort_by_column(policy, sort))
        && from.iter().all(|item| is_table(policy, item))
        && condition.is_none_or(|condition| is_calm(policy, condition))
}

fn value_of(target: &Node) -> Option<&NodeEnum> {
    let Some(NodeEnum::ResTarget(target)) = target.node.as_ref() else { return None };
    target.val.as_deref()?.node.as_ref().filter(|_| target.indirection.is_empty())
}

/// A column, and not a function that takes a row, which may be named as one.
fn is_column(policy: &Policy, value: &NodeEnum) -> bool {
    let NodeEnum::ColumnRef(column) = value else { return false };
    let names: Option<Vec<&str>> = column.fields.iter().map(as_string).collect();
    let Some(name) = names.as_ref().and_then(|names| names.last()) else { return false };
    policy.catalog.functions.get(*name).is_none_or(|all| all.iter().all(|it| !it.takes_row))
}

fn is_aggregate(policy: &Policy, target: &Node) -> bool {
    let Some(NodeEnum::FuncCall(call)) = value_of(target) else { return false };
    if call.agg_star {
        let all = FuncCall { agg_star: false, ..FuncCall::clone(call) };
        return system_name(&all) == Some("count");
    }
    let value =
        |arg: &Node| arg.node.as_ref().is_some_and(|it| matches!(it, NodeEnum::AConst(_)) || is_column(policy, it));
    system_name(call).is_some_and(|name| AGGREGATES.contains(&name)) && call.args.iter().all(value)
}

fn is_one(limit: &Node) -> bool {
    let Some(NodeEnum::AConst(value)) = limit.node.as_ref() else { return false };
    matches!(&value.val, Some(a_const::Val::Ival(it)) if it.ival <= 1)
}

fn is_sort_by_column(policy: &Policy, sort: &Node) -> bool {
    let Some(NodeEnum::SortBy(sort)) = sort.node.as_ref() else { return false };
    let value = sort.node.as_deref().and_then(|it| it.node.as_ref());
    sort.use_op.is_empty() && value.is_some_and(|it| is_column(policy, it))
}

/// A table, of which all columns of a unique key are compared with values of their types.
fn has_one_row(policy: &Policy, param_types: &[Oid], from: &[Node], condition: Option<&Node>) -> bool {
    let [Node { node: Some(NodeEnum::RangeVar(name)) }] = from else { return false };
    let Some(table) = policy.catalog.relation(&name.schemaname, &name.relname) else { return false };
    // Those of a table with heirs hold for its own rows.
    let alone = || {
        table.kind == RelKind::PartitionedTable
            || !policy.catalog.relations.values().any(|heir| heir.parents.contains(&table.oid))
    };
    let mut conditions = Vec::new();
    if let Some(condition) = condition {
        tree::conjuncts(condition.clone(), &mut conditions);
    }
    let given = conditions.iter().filter_map(|it| given_column(policy, table, param_types, it)).collect::<Vec<_>>();
    let is_given = |key: &Vec<String>| !key.is_empty() && key.iter().all(|it| given.contains(&it.as_str()));
    table.unique_keys.iter().any(is_given) && alone()
}

/// The column of `column = value`.
fn given_column<'a>(policy: &Policy, table: &Relation, param_types: &[Oid], condition: &'a Node) -> Option<&'a str> {
    let Some(NodeEnum::AExpr(e)) = condition.node.as_ref() else { return None };
    let names: Option<Vec<&str>> = e.name.iter().map(as_string).collect();
    let equal = e.kind() == AExprKind::AexprOp && matches!(names?.as_slice(), ["="] | ["pg_catalog", "="]);
    let Some(NodeEnum::ColumnRef(column)) = e.lexpr.as_deref()?.node.as_ref() else { return None };
    let name = column.fields.last().and_then(as_string)?;
    let oid = table.columns.iter().find(|it| it.name == name)?.type_oid;
    let fits = match e.rexpr.as_deref()?.node.as_ref()? {
        NodeEnum::ParamRef(param) => [0, oid].contains(&declared_type(param, param_types)),
        NodeEnum::AConst(value) => match value.val {
            Some(a_const::Val::Sval(_)) => true,
            Some(a_const::Val::Ival(_)) => matches!(oid, INT2 | INT4 | INT8),
            _ => false,
        },
        NodeEnum::TypeCast(cast) => {
            let names: Option<Vec<&str>> = cast.type_name.as_ref()?.names.iter().map(as_string).collect();
            let literal = matches!(cast.arg.as_deref(), Some(Node { node: Some(NodeEnum::AConst(_)) }));
            let named = policy.catalog.types.get(&oid).map(|it| &it.name);
            literal && named.is_some_and(|it| names.as_deref() == Some(&[it.schema.as_str(), it.name.as_str()]))
        }
        _ => return None,
    };
    (equal && fits).then_some(name)
}

/// A table, or a join of tables.
fn is_table(policy: &Policy, item: &Node) -> bool {
    match item.node.as_ref() {
        Some(NodeEnum::RangeVar(name)) => {
            let kind = policy.catalog.relation(&name.schemaname, &name.relname).map(|it| it.kind);
            matches!(kind, Some(RelKind::Table | RelKind::PartitionedTable))
        }
        Some(NodeEnum::JoinExpr(join)) => {
            let sides = [join.larg.as_deref(), join.rarg.as_deref()];
            sides.iter().all(|side| side.is_some_and(|it| is_table(policy, it)))
                && join.quals.as_deref().is_none_or(|condition| is_calm(policy, condition))
        }
        Some(_) | None => false,
    }
}

/// Columns, literals and parameters, joined by operators of which a leakproof one exists, which fail on nothing.
fn is_calm(policy: &Policy, condition: &Node) -> bool {
    let calm = |node: &Node| is_calm(policy, node);
    match condition.node.as_ref() {
        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::SqlvalueFunction(_)) => true,
        Some(column @ NodeEnum::ColumnRef(_)) => is_column(policy, column),
        Some(NodeEnum::TypeCast(cast)) => matches!(cast.arg.as_deref(), Some(Node { node: Some(NodeEnum::AConst(_)) })),
        Some(NodeEnum::BoolExpr(b)) => b.args.iter().all(calm),
        Some(NodeEnum::NullTest(test)) => test.arg.as_deref().is_some_and(calm),
        Some(NodeEnum::BooleanTest(test)) => test.arg.as_deref().is_some_and(calm),
        Some(NodeEnum::List(list)) => list.items.iter().all(calm),
        Some(NodeEnum::AExpr(e)) => {
            is_harmless(policy, e) && [&e.lexpr, &e.rexpr].into_iter().all(|side| side.as_deref().is_some_and(calm))
        }
        Some(_) | None => false,
    }
}

fn is_harmless(policy: &Policy, e: &AExpr) -> bool {
    let compares = matches!(e.kind(), AExprKind::AexprOp | AExprKind::AexprIn | AExprKind::AexprOpAny);
    let names: Option<Vec<&str>> = e.name.iter().map(as_string).collect();
    let (true, Some([name] | ["pg_catalog", name])) = (compares, names.as_deref()) else { return false };
    let leakproof = policy.catalog.operators.get(*name).is_some_and(|all| all.iter().any(|it| it.leakproof));
    matches!(*name, "=" | "<>" | "<" | ">" | "<=" | ">=") && leakproof
}
