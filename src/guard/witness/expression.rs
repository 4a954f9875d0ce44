//! What expressions are made of. Every kind is named, every field that could hold a query is looked at.

use sqlparser::ast::{
    AccessExpr, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList,
    FunctionArguments, HavingBound, InTarget, Interval, JsonPath, JsonPathElem, ListAggOnOverflow, NamedWindowExpr,
    ObjectName, OrderByExpr, Query, Subscript, WildcardAdditionalOptions, WindowFrame, WindowFrameBound, WindowSpec,
    WindowType,
};

use super::Checker;

/// A part of an expression.
pub(super) enum Part<'s> {
    Expr(&'s Expr),
    /// `t.*` as a value.
    Row(&'s ObjectName),
    /// A level of its own.
    Query(&'s Query),
    /// What no rule is for.
    Unread(&'static str),
}

/// Takes parts.
type Take<'t, 's> = &'t mut dyn FnMut(Part<'s>);

impl Checker<'_> {
    /// Walks the queries in an expression.
    pub(super) fn walk(&mut self, expression: &Expr) {
        let mut rest = vec![expression];
        while let Some(next) = rest.pop() {
            parts(next, &mut |part| match part {
                Part::Expr(inner) => rest.push(inner),
                Part::Row(_) => {}
                Part::Query(query) => {
                    self.query(query);
                }
                Part::Unread(construct) => self.unread(construct),
            });
        }
    }

    pub(super) fn walk_all<'s>(&mut self, expressions: impl IntoIterator<Item = &'s Expr>) {
        expressions.into_iter().for_each(|expression| self.walk(expression));
    }

    /// Walks parts that stand outside of an expression.
    pub(super) fn walk_parts<'s>(&mut self, give: impl FnOnce(Take<'_, 's>)) {
        let mut found = Vec::new();
        give(&mut |part| found.push(part));
        for part in found {
            match part {
                Part::Expr(expression) => self.walk(expression),
                Part::Row(_) => {}
                Part::Query(query) => {
                    self.query(query);
                }
                Part::Unread(construct) => self.unread(construct),
            }
        }
    }
}

/// The parts of an expression, one level down.
pub(super) fn parts<'s>(expression: &'s Expr, take: Take<'_, 's>) {
    match expression {
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Value(_)
        | Expr::TypedString(_)
        | Expr::Wildcard(_) => {}
        Expr::QualifiedWildcard(row, _) => take(Part::Row(row)),
        Expr::IsFalse(e)
        | Expr::IsNotFalse(e)
        | Expr::IsTrue(e)
        | Expr::IsNotTrue(e)
        | Expr::IsNull(e)
        | Expr::IsNotNull(e)
        | Expr::IsUnknown(e)
        | Expr::IsNotUnknown(e)
        | Expr::Nested(e)
        | Expr::IsJson { expr: e, kind: _, unique_keys: _, negated: _ }
        | Expr::IsNormalized { expr: e, form: _, negated: _ }
        | Expr::UnaryOp { op: _, expr: e }
        | Expr::Cast { kind: _, expr: e, data_type: _, format: _ }
        | Expr::Extract { field: _, syntax: _, expr: e }
        | Expr::Ceil { expr: e, field: _ }
        | Expr::Floor { expr: e, field: _ }
        | Expr::Collate { expr: e, collation: _ }
        | Expr::Prefixed { prefix: _, value: e }
        | Expr::Named { expr: e, name: _ } => take(Part::Expr(e)),
        Expr::Interval(Interval {
            value,
            leading_field: _,
            leading_precision: _,
            last_field: _,
            fractional_seconds_precision: _,
        }) => take(Part::Expr(value)),
        Expr::IsDistinctFrom(a, b)
        | Expr::IsNotDistinctFrom(a, b)
        | Expr::BinaryOp { left: a, op: _, right: b }
        | Expr::AnyOp { left: a, compare_op: _, right: b, is_some: _ }
        | Expr::AllOp { left: a, compare_op: _, right: b }
        | Expr::AtTimeZone { timestamp: a, time_zone: b }
        | Expr::Position { expr: a, r#in: b } => all([&**a, &**b], take),
        Expr::Between { expr, negated: _, low, high } => all([&**expr, &**low, &**high], take),
        Expr::Like { negated: _, any: _, expr, pattern, escape_char }
        | Expr::ILike { negated: _, any: _, expr, pattern, escape_char }
        | Expr::SimilarTo { negated: _, expr, pattern, escape_char } => {
            all([&**expr, &**pattern], take);
            all(escape_char.as_deref(), take);
        }
        Expr::Substring { expr, substring_from, substring_for, special: _, shorthand: _ } => {
            take(Part::Expr(expr));
            all([substring_from, substring_for].into_iter().filter_map(Option::as_deref), take);
        }
        Expr::Trim { trim_where: _, trim_what, expr, trim_characters } => {
            take(Part::Expr(expr));
            all(trim_what.as_deref(), take);
            all(trim_characters.iter().flatten(), take);
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            all([&**expr, &**overlay_what, &**overlay_from], take);
            all(overlay_for.as_deref(), take);
        }
        Expr::In { expr, target, negated: _, global: _ } => {
            take(Part::Expr(expr));
            in_target(target, take);
        }
        Expr::Function(call) => function(call, take),
        Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
            all(operand.as_deref(), take);
            for CaseWhen { condition, result } in conditions {
                all([condition, result], take);
            }
            all(else_result.as_deref(), take);
        }
        Expr::Exists { subquery: query, negated: _ } | Expr::Subquery(query) => take(Part::Query(query)),
        Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => all(sets.iter().flatten(), take),
        Expr::Tuple(values) => all(values, take),
        Expr::Array(array) => all(&array.elem, take),
        Expr::CompoundFieldAccess { root, access_chain } => {
            take(Part::Expr(root));
            access_chain.iter().for_each(|access| self::access(access, take));
        }
        Expr::JsonAccess { value, path: JsonPath { path } } => {
            take(Part::Expr(value));
            for element in path {
                match element {
                    JsonPathElem::Dot { key: _, quoted: _ } => {}
                    JsonPathElem::Bracket { key } | JsonPathElem::ColonBracket { key } => take(Part::Expr(key)),
                }
            }
        }
        Expr::RLike { .. }
        | Expr::Convert { .. }
        | Expr::Struct { .. }
        | Expr::Dictionary(_)
        | Expr::Map(_)
        | Expr::MatchAgainst { .. }
        | Expr::OuterJoin(_)
        | Expr::Prior(_)
        | Expr::Lambda(_)
        | Expr::MemberOf(_) => take(Part::Unread("an expression of another dialect")),
    }
}

fn all<'s>(expressions: impl IntoIterator<Item = &'s Expr>, take: Take<'_, 's>) {
    expressions.into_iter().for_each(|expression| take(Part::Expr(expression)));
}

fn in_target<'s>(target: &'s InTarget, take: Take<'_, 's>) {
    match target {
        InTarget::List(list) => all(list, take),
        InTarget::Subquery(query) => take(Part::Query(query)),
        InTarget::Unnest(array) => take(Part::Expr(array)),
        InTarget::Table { .. } => take(Part::Unread("IN with a table")),
    }
}

fn access<'s>(access: &'s AccessExpr, take: Take<'_, 's>) {
    match access {
        // The name of a field.
        AccessExpr::Dot(Expr::Identifier(_)) => {}
        AccessExpr::Dot(other) => take(Part::Expr(other)),
        AccessExpr::Subscript(Subscript::Index { index }) => take(Part::Expr(index)),
        AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
            all([lower_bound, upper_bound, stride].into_iter().flatten(), take);
        }
    }
}

/// The arguments of a call, with what follows them.
pub(super) fn function<'s>(call: &'s Function, take: Take<'_, 's>) {
    let Function { name: _, uses_odbc_syntax: _, parameters, args, within_group, filter, null_treatment: _, over } =
        call;
    for arguments in [parameters, args] {
        match arguments {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(query) => take(Part::Query(query)),
            FunctionArguments::List(list) => argument_list(list, take),
        }
    }
    within_group.iter().for_each(|order| self::order(order, take));
    all(filter.as_deref(), take);
    match over {
        None | Some(WindowType::NamedWindow(_)) => {}
        Some(WindowType::WindowSpec(window)) => self::window(window, take),
    }
}

fn argument_list<'s>(list: &'s FunctionArgumentList, take: Take<'_, 's>) {
    let FunctionArgumentList { duplicate_treatment: _, args, clauses } = list;
    args.iter().for_each(|argument| self::argument(argument, take));
    for clause in clauses {
        match clause {
            FunctionArgumentClause::IgnoreOrRespectNulls(_)
            | FunctionArgumentClause::Separator(_)
            | FunctionArgumentClause::JsonNullClause(_)
            | FunctionArgumentClause::JsonReturningClause(_)
            | FunctionArgumentClause::OnOverflow(
                ListAggOnOverflow::Error | ListAggOnOverflow::Truncate { filler: None, with_count: _ },
            ) => {}
            FunctionArgumentClause::OnOverflow(ListAggOnOverflow::Truncate { filler: Some(e), with_count: _ }) => {
                take(Part::Expr(e));
            }
            FunctionArgumentClause::Where(e)
            | FunctionArgumentClause::Limit(e)
            | FunctionArgumentClause::Having(HavingBound(_, e)) => take(Part::Expr(e)),
            FunctionArgumentClause::OrderBy(orders) => orders.iter().for_each(|order| self::order(order, take)),
        }
    }
}

pub(super) fn argument<'s>(argument: &'s FunctionArg, take: Take<'_, 's>) {
    let value = match argument {
        FunctionArg::Named { name: _, arg, operator: _ } | FunctionArg::Unnamed(arg) => arg,
        FunctionArg::ExprNamed { name, arg, operator: _ } => {
            take(Part::Expr(name));
            arg
        }
    };
    match value {
        FunctionArgExpr::Expr(e) => take(Part::Expr(e)),
        FunctionArgExpr::QualifiedWildcard(row) => take(Part::Row(row)),
        // `count(*)`
        FunctionArgExpr::Wildcard => {}
        FunctionArgExpr::WildcardWithOptions(options) => wildcard(options, take),
    }
}

/// What other dialects write behind a star.
pub(super) fn wildcard(options: &WildcardAdditionalOptions, take: Take<'_, '_>) {
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    let any = opt_ilike.is_some()
        || opt_exclude.is_some()
        || opt_except.is_some()
        || opt_replace.is_some()
        || opt_rename.is_some()
        || opt_alias.is_some();
    if any {
        take(Part::Unread("options of a star"));
    }
}

pub(super) fn order<'s>(order: &'s OrderByExpr, take: Take<'_, 's>) {
    let OrderByExpr { expr, options: _, with_fill } = order;
    take(Part::Expr(expr));
    if with_fill.is_some() {
        take(Part::Unread("WITH FILL"));
    }
}

pub(super) fn window<'s>(window: &'s WindowSpec, take: Take<'_, 's>) {
    let WindowSpec { window_name: _, partition_by, order_by, window_frame } = window;
    all(partition_by, take);
    order_by.iter().for_each(|order| self::order(order, take));
    let Some(WindowFrame { units: _, start_bound, end_bound }) = window_frame else { return };
    for bound in [Some(start_bound), end_bound.as_ref()].into_iter().flatten() {
        match bound {
            WindowFrameBound::CurrentRow => {}
            WindowFrameBound::Preceding(e) | WindowFrameBound::Following(e) => all(e.as_deref(), take),
        }
    }
}

pub(super) fn named_window<'s>(window: &'s NamedWindowExpr, take: Take<'_, 's>) {
    match window {
        NamedWindowExpr::NamedWindow(_) => {}
        NamedWindowExpr::WindowSpec(spec) => self::window(spec, take),
    }
}
