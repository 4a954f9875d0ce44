//! Small pieces of parse tree: what the rewriter injects, and what it looks for.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    self, AConst, AExpr, AExprKind, AStar, Alias, BoolExpr, BoolExprType, CaseExpr, CaseWhen, CoercionForm, ColumnRef,
    FuncCall, JoinExpr, JoinType, Node, NullTest, NullTestType, ParamRef, RangeSubselect, RangeVar, ResTarget,
    SelectStmt, a_const,
};

use crate::base::QualifiedName;
pub(super) fn node(inner: NodeEnum) -> Node {
    Node { node: Some(inner) }
}

pub(super) fn boxed(inner: NodeEnum) -> Option<Box<Node>> {
    Some(Box::new(node(inner)))
}

pub(super) fn string(text: &str) -> Node {
    node(NodeEnum::String(protobuf::String { sval: text.to_owned() }))
}

/// The text of a name's part.
pub(super) fn as_string(part: &Node) -> Option<&str> {
    let NodeEnum::String(s) = part.node.as_ref()? else { return None };
    Some(&s.sval)
}

/// `a.b.c`
pub(super) fn column(prefix: &[String], name: &str) -> Node {
    let fields = prefix.iter().map(String::as_str).chain([name]).map(string).collect();
    node(NodeEnum::ColumnRef(ColumnRef { fields, location: 0 }))
}

/// `*`
pub(super) fn star() -> Node {
    whole_row(&[])
}

/// `a.b.*`
fn whole_row(prefix: &[String]) -> Node {
    let mut fields: Vec<Node> = prefix.iter().map(|p| string(p)).collect();
    fields.push(node(NodeEnum::AStar(AStar {})));
    node(NodeEnum::ColumnRef(ColumnRef { fields, location: 0 }))
}

/// `(a.*) IS NULL`: true of a row that an outer join has made up, and of no row that holds anything.
pub(super) fn row_is_null(prefix: &[String]) -> Node {
    is_null(whole_row(prefix))
}

/// `value IS NULL`
pub(super) fn is_null(value: Node) -> Node {
    node(NodeEnum::NullTest(Box::new(NullTest {
        xpr: None,
        arg: Some(Box::new(value)),
        nulltesttype: NullTestType::IsNull.into(),
        argisrow: false,
        location: 0,
    })))
}

/// `$n`
pub(super) fn param(number: i32) -> Node {
    node(NodeEnum::ParamRef(ParamRef { number, location: 0 }))
}

/// A name in `FOR UPDATE OF name`.
pub(super) fn relation(name: &str) -> Node {
    node(NodeEnum::RangeVar(RangeVar {
        catalogname: String::new(),
        schemaname: String::new(),
        relname: name.to_owned(),
        inh: true,
        relpersistence: "p".to_owned(),
        alias: None,
        location: 0,
    }))
}

/// `left OPERATOR(pg_catalog.op) right`
pub(super) fn system_operator(left: Node, op: &str, right: Node) -> Node {
    system_comparison(AExprKind::AexprOp, left, op, right)
}

/// `left OPERATOR(pg_catalog.=) ANY (array)`
pub(super) fn equals_any(left: Node, array: Node) -> Node {
    system_comparison(AExprKind::AexprOpAny, left, "=", array)
}

fn system_comparison(kind: AExprKind, left: Node, op: &str, right: Node) -> Node {
    node(NodeEnum::AExpr(Box::new(AExpr {
        kind: kind.into(),
        name: vec![string("pg_catalog"), string(op)],
        lexpr: Some(Box::new(left)),
        rexpr: Some(Box::new(right)),
        rexpr_list_start: 0,
        rexpr_list_end: 0,
        location: 0,
    })))
}

pub(super) fn integer(value: i32) -> Node {
    node(NodeEnum::AConst(AConst {
        isnull: false,
        location: 0,
        val: Some(a_const::Val::Ival(protobuf::Integer { ival: value })),
    }))
}

pub(super) fn boolean(value: bool) -> Node {
    node(NodeEnum::AConst(AConst {
        isnull: false,
        location: 0,
        val: Some(a_const::Val::Boolval(protobuf::Boolean { boolval: value })),
    }))
}

pub(super) fn text(value: &str) -> Node {
    node(NodeEnum::AConst(AConst {
        isnull: false,
        location: 0,
        val: Some(a_const::Val::Sval(protobuf::String { sval: value.to_owned() })),
    }))
}

/// The name of a plain call of a function, without a schema or with `pg_catalog`.
pub(super) fn system_name(call: &FuncCall) -> Option<&str> {
    let FuncCall {
        funcname,
        args: _,
        agg_order,
        agg_filter: None,
        over: None,
        agg_within_group: false,
        agg_star: false,
        agg_distinct: false,
        func_variadic: false,
        funcformat: _,
        location: _,
    } = call
    else {
        return None;
    };
    let names: Option<Vec<&str>> = funcname.iter().map(as_string).collect();
    match names?.as_slice() {
        [name] | ["pg_catalog", name] if agg_order.is_empty() => Some(name),
        _ => None,
    }
}

/// `pg_catalog.name(args)`
pub(super) fn system_call(name: &str, args: Vec<Node>) -> FuncCall {
    FuncCall {
        funcname: vec![string("pg_catalog"), string(name)],
        args,
        agg_order: vec![],
        agg_filter: None,
        over: None,
        agg_within_group: false,
        agg_star: false,
        agg_distinct: false,
        func_variadic: false,
        funcformat: CoercionForm::CoerceExplicitCall.into(),
        location: 0,
    }
}

/// The conjuncts of a condition, nested ANDs opened.
pub(super) fn conjuncts(condition: Node, into: &mut Vec<Node>) {
    if let Some(NodeEnum::BoolExpr(b)) = condition.node.as_ref()
        && b.boolop() == BoolExprType::AndExpr
    {
        if let Some(NodeEnum::BoolExpr(b)) = condition.node {
            b.args.into_iter().for_each(|arg| conjuncts(arg, into));
        }
    } else {
        into.push(condition);
    }
}

/// One condition of several, flat as the grammar itself makes it; `None` of none.
pub(super) fn all_of(parts: Vec<Node>) -> Option<Node> {
    let mut flat = Vec::with_capacity(parts.len());
    parts.into_iter().for_each(|part| conjuncts(part, &mut flat));
    junction(flat, BoolExprType::AndExpr)
}

/// `a OR b`
pub(super) fn either(a: Node, b: Node) -> Option<Node> {
    junction(vec![a, b], BoolExprType::OrExpr)
}

fn junction(mut parts: Vec<Node>, boolop: BoolExprType) -> Option<Node> {
    if parts.len() < 2 {
        return parts.pop();
    }
    Some(node(NodeEnum::BoolExpr(Box::new(BoolExpr { xpr: None, boolop: boolop.into(), args: parts, location: 0 }))))
}

/// `CASE WHEN condition THEN result ELSE otherwise END`
pub(super) fn case(condition: Node, result: Node, otherwise: Node) -> Node {
    let when = CaseWhen { xpr: None, expr: Some(Box::new(condition)), result: Some(Box::new(result)), location: 0 };
    node(NodeEnum::CaseExpr(Box::new(CaseExpr {
        xpr: None,
        casetype: 0,
        casecollid: 0,
        arg: None,
        args: vec![node(NodeEnum::CaseWhen(Box::new(when)))],
        defresult: Some(Box::new(otherwise)),
        location: 0,
    })))
}

/// `SELECT value`
pub(super) fn select_one(value: Node) -> SelectStmt {
    SelectStmt {
        target_list: vec![target("", Some(value))],
        limit_option: protobuf::LimitOption::Default.into(),
        op: protobuf::SetOperation::SetopNone.into(),
        ..SelectStmt::default()
    }
}

/// `(SELECT true) pgwarden_row LEFT JOIN rows ON true`: a row of NULLs where there is none.
pub(super) fn one_row_at_least(rows: Node) -> Node {
    let alias = Alias { aliasname: "pgwarden_row".to_owned(), colnames: vec![] };
    node(NodeEnum::JoinExpr(Box::new(JoinExpr {
        jointype: JoinType::JoinLeft.into(),
        is_natural: false,
        larg: Some(Box::new(subselect(select_one(boolean(true)), alias, false))),
        rarg: Some(Box::new(rows)),
        using_clause: vec![],
        join_using_alias: None,
        quals: Some(Box::new(boolean(true))),
        alias: None,
        rtindex: 0,
    })))
}

/// `(SELECT true)`, which Postgres runs once and the planner does not know the value of.
pub(super) fn query_of_true() -> Node {
    sublink(protobuf::SubLinkType::ExprSublink, select_one(boolean(true)))
}

/// `(query)`, `EXISTS (query)`
pub(super) fn sublink(kind: protobuf::SubLinkType, query: SelectStmt) -> Node {
    node(NodeEnum::SubLink(Box::new(protobuf::SubLink {
        xpr: None,
        sub_link_type: kind.into(),
        sub_link_id: 0,
        testexpr: None,
        oper_name: vec![],
        subselect: boxed(NodeEnum::SelectStmt(Box::new(query))),
        location: 0,
    })))
}

/// `expression::type`
pub(super) fn cast(expression: Node, type_name: protobuf::TypeName) -> Node {
    node(NodeEnum::TypeCast(Box::new(protobuf::TypeCast {
        arg: Some(Box::new(expression)),
        type_name: Some(type_name),
        location: 0,
    })))
}

/// A type of `pg_catalog`.
pub(super) fn system_type(name: &str) -> protobuf::TypeName {
    named_type(&QualifiedName::new("pg_catalog", name))
}

/// A type by schema and name.
pub(super) fn named_type(name: &QualifiedName) -> protobuf::TypeName {
    protobuf::TypeName {
        names: vec![string(&name.schema), string(&name.name)],
        type_oid: 0,
        setof: false,
        pct_type: false,
        typmods: vec![],
        typemod: -1,
        array_bounds: vec![],
        location: 0,
    }
}

pub(super) fn target(name: &str, value: Option<Node>) -> Node {
    node(NodeEnum::ResTarget(Box::new(ResTarget {
        name: name.to_owned(),
        indirection: vec![],
        val: value.map(Box::new),
        location: 0,
    })))
}

/// `SELECT targets FROM from WHERE condition [OFFSET 0]`; the offset keeps the planner from moving anything across.
pub(super) fn select(targets: Vec<Node>, from: Node, condition: Option<Node>, fence: bool) -> SelectStmt {
    SelectStmt {
        target_list: targets,
        from_clause: vec![from],
        where_clause: condition.map(Box::new),
        limit_offset: fence.then(|| Box::new(integer(0))),
        limit_option: if fence { protobuf::LimitOption::Count } else { protobuf::LimitOption::Default }.into(),
        op: protobuf::SetOperation::SetopNone.into(),
        ..SelectStmt::default()
    }
}

/// `left UNION ALL right`
pub(super) fn union_all(left: SelectStmt, right: SelectStmt) -> SelectStmt {
    SelectStmt {
        op: protobuf::SetOperation::SetopUnion.into(),
        all: true,
        larg: Some(Box::new(left)),
        rarg: Some(Box::new(right)),
        limit_option: protobuf::LimitOption::Default.into(),
        ..SelectStmt::default()
    }
}

/// `SELECT targets WHERE false`
pub(super) fn no_rows(targets: Vec<Node>) -> SelectStmt {
    SelectStmt {
        target_list: targets,
        where_clause: Some(Box::new(boolean(false))),
        limit_option: protobuf::LimitOption::Default.into(),
        op: protobuf::SetOperation::SetopNone.into(),
        ..SelectStmt::default()
    }
}

pub(super) fn subselect(query: SelectStmt, alias: Alias, lateral: bool) -> Node {
    node(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
        lateral,
        subquery: boxed(NodeEnum::SelectStmt(Box::new(query))),
        alias: Some(alias),
    })))
}

/// `NULL::pg_catalog.oid`
pub(super) fn null_oid() -> Node {
    cast(null(), system_type("oid"))
}

/// `NULL`
pub(super) fn null() -> Node {
    node(NodeEnum::AConst(AConst { isnull: true, location: 0, val: None }))
}
