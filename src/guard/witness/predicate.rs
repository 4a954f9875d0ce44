//! The forms in which a tenant's value stands in a text: `ref.column OPERATOR(pg_catalog.=) $k`, for a reader of several tenants
//! `... ANY ($k)`, and what may test it.

use sqlparser::ast::{BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Value};

use super::level::{Behind, Item};
use super::names::path;
use super::read::EQUALS_ANY;
use crate::base::Arity;
use crate::guard::plan::{TenantCheck, TenantSlot};
use crate::guard::policy::{Policy, TenantTable};

/// The parameters that carry the tenant's values: those after the client's.
#[derive(Clone, Copy)]
pub(super) struct Values<'p> {
    pub policy: &'p Policy,
    /// Which form the predicate has.
    pub arity: Arity,
    pub client_params: u16,
    pub slots: &'p [TenantSlot],
    /// Values of the client's that are compared with the tenant's before the statement is sent.
    pub checks: &'p [TenantCheck],
}

/// An expression without parentheses around it.
pub(super) fn bare(mut expression: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expression {
        expression = inner;
    }
    expression
}

/// The conditions that all must hold.
pub(super) fn conjuncts(condition: Option<&Expr>) -> Vec<&Expr> {
    let mut found = Vec::new();
    let mut rest: Vec<&Expr> = condition.into_iter().collect();
    while let Some(next) = rest.pop() {
        match bare(next) {
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => rest.extend([&**right, &**left]),
            other => found.push(other),
        }
    }
    found
}

/// `$n`
fn parameter(expression: &Expr) -> Option<usize> {
    let Expr::Value(value) = bare(expression) else { return None };
    let Value::Placeholder(text) = &value.value else { return None };
    text.strip_prefix('$')?.parse().ok()
}

/// The names of `OPERATOR(a.b)`
pub(super) fn is_system_operator(op: &BinaryOperator, wanted: &str) -> bool {
    matches!(op, BinaryOperator::PGCustomBinaryOperator(names)
        if matches!(names.as_slice(), [schema, name] if schema == "pg_catalog" && name == wanted))
}

impl<'p> Values<'p> {
    /// The tenant's value that an expression is.
    fn slot(&self, expression: &Expr) -> Option<&'p TenantSlot> {
        let first = usize::from(self.client_params) + 1;
        self.slots.get(parameter(expression)?.checked_sub(first)?).filter(|slot| slot.arity == self.arity)
    }

    /// Whether it is the value for a table's column.
    pub fn is_value(&self, expression: &Expr, table: &TenantTable) -> bool {
        self.slot(expression).is_some_and(|slot| slot.key == table.key && slot.type_oid == table.type_oid)
    }

    /// Whether it is a parameter of the client's that is compared before the statement is sent.
    pub fn is_checked(&self, expression: &Expr) -> bool {
        let Some(number) = parameter(expression) else { return false };
        self.checks.iter().any(|check| match check {
            TenantCheck::Param { number: checked, .. } => usize::from(*checked) == number,
            TenantCheck::Literal { .. } | TenantCheck::Lifted { .. } => false,
        })
    }

    /// The sides of `a.column OPERATOR(pg_catalog.=) $k`.
    fn predicate<'s>(&self, test: &'s Expr) -> Option<(&'s [Ident], &'p TenantSlot)> {
        let Expr::BinaryOp { left, op, right } = bare(test) else { return None };
        let Expr::CompoundIdentifier(column) = bare(left) else { return None };
        self.is_equality(op).then_some((column.as_slice(), self.slot(right)?))
    }

    fn is_equality(&self, op: &BinaryOperator) -> bool {
        match self.arity {
            Arity::One => is_system_operator(op, "="),
            Arity::Several => is_system_operator(op, EQUALS_ANY),
        }
    }

    /// Whether a condition is the tenant predicate of an item. `reads`: it is no target, and rows of everybody may be among its
    /// own.
    pub fn is_predicate_of(&self, test: &Expr, item: &Item<'_>, reads: bool) -> bool {
        let Behind::Tenant(table) = item.behind else { return false };
        if let Some(through) = &table.through {
            return self.leads_to_own(test, through, reads).is_some_and(|column| item.owns(column, &table.column));
        }
        let own = if reads && table.null_is_shared { self.or_null(test).unwrap_or(test) } else { test };
        self.predicate(own).is_some_and(|(column, slot)| {
            slot.key == table.key && slot.type_oid == table.type_oid && item.owns(column, &table.column)
        })
    }

    /// Whether a condition compares any column with the tenant's value.
    pub fn is_predicate(&self, test: &Expr) -> bool {
        self.predicate(test).is_some() || self.leads_to_any(test).is_some()
    }

    /// The predicate, or that an outer join made the row up: `own OR t.* IS NULL`.
    pub fn is_own_row(&self, test: &Expr) -> bool {
        match bare(self.or_null(test).unwrap_or(test)) {
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
                self.is_predicate(left) && whole_row_null(right).is_some()
            }
            other => self.is_predicate(other),
        }
    }

    /// The same of one item.
    pub fn is_own_row_of(&self, test: &Expr, item: &Item<'_>) -> bool {
        match bare(test) {
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } if self.or_null(test).is_none() => {
                self.is_predicate_of(left, item, true)
                    && whole_row_null(right).is_some_and(|names| names.last() == item.qualifier.as_ref())
            }
            other => self.is_predicate_of(other, item, true),
        }
    }

    /// The comparison of `column OPERATOR(pg_catalog.=) $k OR column IS NULL`, of one column.
    fn or_null<'s>(&self, test: &'s Expr) -> Option<&'s Expr> {
        let Expr::BinaryOp { left, op: BinaryOperator::Or, right } = bare(test) else { return None };
        let Expr::IsNull(null) = bare(right) else { return None };
        let Expr::BinaryOp { left: compared, op, right: _ } = bare(left) else { return None };
        match (bare(compared), bare(null)) {
            (Expr::CompoundIdentifier(one), Expr::CompoundIdentifier(other)) if self.is_equality(op) => {
                (one == other).then_some(&**left)
            }
            _other => None,
        }
    }
}

/// The names of `t.* IS NULL`
fn whole_row_null(test: &Expr) -> Option<Vec<String>> {
    let Expr::IsNull(row) = bare(test) else { return None };
    let Expr::QualifiedWildcard(object, _) = bare(row) else { return None };
    path(object)
}

/// The values of `(a, b)` or `ROW(a, b)`.
pub(super) fn row(value: &Expr) -> Option<Vec<&Expr>> {
    match bare(value) {
        Expr::Tuple(values) => Some(values.iter().collect()),
        Expr::Function(Function { name: called, args: FunctionArguments::List(list), .. })
            if path(called).is_some_and(|path| path == ["row"]) =>
        {
            let value = |argument| match argument {
                &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref value)) => Some(value),
                FunctionArg::Unnamed(_) | FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => None,
            };
            list.args.iter().map(value).collect()
        }
        _other => None,
    }
}
