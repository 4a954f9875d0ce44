//! What the rules read of a tree, as typed nodes.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, Alias, BoolExprType, Boolean, CaseExpr, CaseWhen, ColumnRef, Node, ResTarget, String as Name, a_const,
};

use crate::sql::walk::{Part, Walk};

/// The node in a field that holds one.
pub(super) fn node(field: &Option<Box<Node>>) -> Option<&NodeEnum> {
    field.as_deref()?.node.as_ref()
}

/// The nodes of a list.
pub(super) fn nodes(list: &[Node]) -> impl DoubleEndedIterator<Item = &NodeEnum> {
    list.iter().filter_map(|item| item.node.as_ref())
}

/// The items of a list of targets: of SELECT, of an assignment.
pub(super) fn targets(list: &[Node]) -> impl Iterator<Item = &ResTarget> {
    nodes(list).filter_map(target)
}

/// A target.
pub(super) fn target(node: &NodeEnum) -> Option<&ResTarget> {
    match node {
        NodeEnum::ResTarget(target) => Some(target),
        _ => None,
    }
}

/// A list of `String` nodes as texts; `None` if any is something else.
pub(super) fn strings(list: &[Node]) -> Option<Vec<&str>> {
    list.iter().map(string).collect()
}

pub(super) fn string(item: &Node) -> Option<&str> {
    match item.node.as_ref()? {
        NodeEnum::String(Name { sval }) => Some(sval),
        _ => None,
    }
}

/// The parts of a column's name. `name.*` gives its name twice, so that it is taken for a qualified column; `None`: a bare
/// star, or what is no plain name.
pub(super) fn column_parts(column: &ColumnRef) -> Option<Vec<&str>> {
    strings(&column.fields).or_else(|| starred(column))
}

/// The name before a star, twice.
pub(super) fn starred(column: &ColumnRef) -> Option<Vec<&str>> {
    let (_star, names) = column.fields.split_last()?;
    let names: Vec<&str> = names.iter().filter_map(string).collect();
    let last = *names.last()?;
    Some(names.into_iter().chain([last]).collect())
}

/// The name that an alias gives; empty without one.
pub(super) fn alias_name(alias: Option<&Alias>) -> &str {
    alias.map_or("", |alias| &alias.aliasname)
}

/// The top-level conjuncts of a condition: AND is flattened, nothing else is looked into.
pub(super) fn conjuncts(condition: Option<&NodeEnum>) -> Vec<&NodeEnum> {
    let mut all = Vec::new();
    if let Some(condition) = condition {
        flatten(condition, &mut all);
    }
    all
}

fn flatten<'v>(condition: &'v NodeEnum, all: &mut Vec<&'v NodeEnum>) {
    match condition {
        NodeEnum::BoolExpr(expr) if expr.boolop() == BoolExprType::AndExpr => {
            nodes(&expr.args).for_each(|arg| flatten(arg, all));
        }
        _ => all.push(condition),
    }
}

/// Whether an expression is the constant NULL.
pub(super) fn is_null(value: Option<&NodeEnum>) -> bool {
    matches!(value, Some(NodeEnum::AConst(AConst { isnull: true, .. })))
}

/// Whether an expression is this truth value.
pub(super) fn is_bool(value: Option<&NodeEnum>, truth: bool) -> bool {
    let Some(NodeEnum::AConst(AConst { val: Some(a_const::Val::Boolval(Boolean { boolval })), .. })) = value else {
        return false;
    };
    *boolval == truth
}

/// `CASE WHEN <when> ELSE <otherwise> END`, of one branch and without a value to compare with.
pub(super) fn single_case(value: &NodeEnum) -> Option<(&CaseWhen, Option<&NodeEnum>)> {
    let NodeEnum::CaseExpr(case) = value else { return None };
    let CaseExpr { arg: None, args, defresult, .. } = &**case else { return None };
    match args.as_slice() {
        [Node { node: Some(NodeEnum::CaseWhen(when)) }] => Some((when, node(defresult))),
        _ => None,
    }
}

/// Whether a column that an expression names, outside of its subqueries, passes a test.
pub(super) fn any_column<'v>(value: Part<'v>, test: &mut dyn FnMut(&'v ColumnRef) -> bool) -> bool {
    super::count_step();
    match value {
        Part::Node(NodeEnum::ColumnRef(column)) => test(column),
        Part::Node(NodeEnum::SelectStmt(_)) | Part::Select(_) => false,
        Part::Node(node) => node.fields(&mut |part| any_column(part, test)),
        Part::RangeVar(relation) => relation.fields(&mut |part| any_column(part, test)),
    }
}
