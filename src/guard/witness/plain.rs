//! Which conditions tell nothing of the rows that they run on, wherever they run: comparisons of columns, constants and
//! parameters, tests for NULL, queries of their own, and AND, OR and NOT of these. More lenient than the rewriter, which knows
//! types: what this calls a leak clearly is none of these.

use sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, InTarget, UnaryOperator,
};

use super::Checker;
use super::condition::is_nothing;
use super::expression::{Part, parts};
use super::level::{Level, Seen};
use super::names::{name, path};
use super::predicate::{bare, row};
use super::read::EQUALS_ANY;
use crate::guard::facts::{self, VALUE_FUNCTIONS};

impl<'p> Checker<'p> {
    /// What in a condition could tell of the rows of others; `None`: it is plain.
    pub(super) fn leak(&self, condition: &Expr, level: &Level<'p>) -> Option<&'static str> {
        let mut rest = vec![condition];
        while let Some(next) = rest.pop() {
            match next {
                Expr::Nested(inner)
                | Expr::IsTrue(inner)
                | Expr::IsNotTrue(inner)
                | Expr::IsFalse(inner)
                | Expr::IsNotFalse(inner)
                | Expr::IsUnknown(inner)
                | Expr::IsNotUnknown(inner)
                | Expr::IsNull(inner)
                | Expr::IsNotNull(inner)
                | Expr::UnaryOp { op: UnaryOperator::Not, expr: inner }
                | Expr::Collate { expr: inner, collation: _ } => rest.push(inner),
                Expr::BinaryOp { left, op, right } if self.is_plain_operator(op) => rest.extend([&**left, &**right]),
                Expr::AnyOp { left, compare_op, right, is_some: _ } if self.is_plain_operator(compare_op) => {
                    rest.push(left);
                    rest.extend(Some(&**right).filter(|right| !is_query(right)));
                }
                Expr::AllOp { left, compare_op, right } if self.is_plain_operator(compare_op) => {
                    rest.extend([&**left, &**right]);
                }
                Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                    rest.extend([&**left, &**right]);
                }
                Expr::Between { expr, negated: _, low, high } => rest.extend([&**expr, &**low, &**high]),
                Expr::In { expr, target: InTarget::List(list), negated: _, global: _ } => {
                    rest.push(expr);
                    rest.extend(list);
                }
                Expr::In { expr, target: InTarget::Subquery(_), negated: _, global: _ } => rest.push(expr),
                Expr::Array(array) => rest.extend(&array.elem),
                // A pattern of the client's, and none from a column.
                Expr::Like { expr, pattern, .. } | Expr::ILike { expr, pattern, .. }
                    if self.policy.catalog.texts.utf8 && self.looked_at(pattern, level).is_empty() =>
                {
                    rest.push(expr);
                }
                Expr::Function(call) if self.policy.catalog.texts.utf8 && is_harmless(call) => {
                    rest.extend(arguments(call))
                }
                case @ Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                    if self.is_fence(case, level) {
                        continue;
                    }
                    if let Some(late) = put_late(case) {
                        self.late_parts(late, &mut rest);
                        continue;
                    }
                    rest.extend(operand.as_deref());
                    rest.extend(else_result.as_deref());
                    for CaseWhen { condition, result } in conditions {
                        rest.extend([condition, result]);
                    }
                }
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) | Expr::QualifiedWildcard(..) => {}
                // It is run when the first row comes that far.
                Expr::Subquery(_) if !self.looked_at(condition, level).is_empty() => return Some("a query"),
                other => match row(other) {
                    Some(values) => rest.extend(values),
                    None if self.looked_at(other, level).is_empty() => {}
                    None => return Some(kind(other)),
                },
            }
        }
        None
    }

    /// Items at stake that an expression names. Queries in it are levels of their own.
    pub(super) fn looked_at<'l>(&'l self, expression: &Expr, level: &'l Level<'p>) -> Vec<Seen<'l, 'p>> {
        let mut found = Vec::new();
        let mut rest = vec![expression];
        while let Some(next) = rest.pop() {
            match next {
                Expr::Identifier(ident) => found.extend(self.meant_by_name(&name(ident), level)),
                Expr::CompoundIdentifier(path) => found.extend(self.meant_by_path(path, level)),
                other => parts(other, &mut |part| match part {
                    Part::Expr(inner) => rest.push(inner),
                    Part::Row(row) => {
                        let last = path(row).and_then(|mut names| names.pop());
                        found.extend(last.map(|last| self.meant_by_name(&last, level)).unwrap_or_default());
                    }
                    Part::Query(_) | Part::Unread(_) => {}
                }),
            }
        }
        found
    }

    /// AND, OR, comparisons, and what else there is a leakproof or a listed operator for under that name. `%` is that of an
    /// extension, or fails on a zero.
    fn is_plain_operator(&self, op: &BinaryOperator) -> bool {
        use BinaryOperator as Op;
        let name = match op {
            Op::And | Op::Or | Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => return true,
            Op::PGCustomBinaryOperator(names) => match names.as_slice() {
                [schema, name] if schema == "pg_catalog" => name.clone(),
                [name] => name.clone(),
                _ => return false,
            },
            other => other.to_string(),
        };
        let named = self.policy.catalog.operators.get(&name);
        ["=", EQUALS_ANY, "<>", "!=", "<", "<=", ">", ">="].contains(&name.as_str())
            || facts::is_listed(&name) && name != "%"
            || named.is_some_and(|all| {
                all.iter().any(|it| {
                    let is_listed = it.extension.is_some() && facts::is_listed(&name);
                    is_listed || (it.leakproof && it.name.schema == "pg_catalog")
                })
            })
    }

    /// A query, or a comparison with one, which may stand there; all else is looked at.
    fn late_parts<'s>(&self, late: &'s Expr, rest: &mut Vec<&'s Expr>) {
        match bare(late) {
            Expr::Subquery(_) => {}
            Expr::BinaryOp { left, op, right } if self.is_plain_operator(op) => {
                rest.extend([&**left, &**right].into_iter().filter(|side| !is_query(side)));
            }
            other => rest.push(other),
        }
    }
}

/// A function that fails on no value of a column.
fn is_harmless(call: &Function) -> bool {
    let listed = |name: &str| VALUE_FUNCTIONS.iter().any(|it| it.0 == name);
    let Function { name, over: None, filter: None, null_treatment: None, within_group, .. } = call else {
        return false;
    };
    match path(name).unwrap_or_default().iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [name] | ["pg_catalog", name] => within_group.is_empty() && listed(name),
        _ => false,
    }
}

fn arguments(call: &Function) -> impl Iterator<Item = &Expr> {
    let args = match &call.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => &[],
    };
    args.iter().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        FunctionArg::Unnamed(_) | FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => None,
    })
}

fn is_query(expression: &Expr) -> bool {
    matches!(bare(expression), Expr::Subquery(_))
}

/// What `CASE WHEN pg_catalog.now() IS NULL THEN NULL ELSE ... END` keeps until other conditions were evaluated.
fn put_late(case: &Expr) -> Option<&Expr> {
    let Expr::Case { case_token: _, end_token: _, operand: None, conditions, else_result: Some(late) } = case else {
        return None;
    };
    let [CaseWhen { condition: Expr::IsNull(now), result }] = conditions.as_slice() else { return None };
    let Expr::Function(call) = bare(now) else { return None };
    let is_now = path(&call.name).is_some_and(|name| name == ["pg_catalog", "now"]);
    (is_now && is_nothing(result)).then_some(late)
}

/// What a condition that is not plain is called.
fn kind(expression: &Expr) -> &'static str {
    match expression {
        Expr::Function(_) => "a function call",
        Expr::Cast { .. } => "a cast",
        Expr::Like { .. } | Expr::ILike { .. } | Expr::SimilarTo { .. } => "a pattern",
        Expr::BinaryOp { .. } | Expr::UnaryOp { .. } | Expr::AnyOp { .. } | Expr::AllOp { .. } => "an operator",
        _other => "a condition",
    }
}
