//! Which operators tell nothing of their operands but the result.

use pg_query::protobuf::Node;

use super::{
    ANYENUM, BPCHAR, DATE, FLOAT8, INT2, INT4, INT8, NAME, NUMERIC, Operand, Plain, TEXT, TIMESTAMP, TIMESTAMPTZ,
    VARCHAR,
};
use crate::base::Oid;
use crate::catalog::Operator;
use crate::guard::facts;
use crate::guard::rewrite::tree::as_string;

/// Types whose comparison operators in `pg_catalog` fail on no value and have no effect, though they are not all marked
/// leakproof (Postgres 15).
const HARMLESS_COMPARISONS: [Oid; 5] = [NUMERIC, ANYENUM, DATE, TIMESTAMP, TIMESTAMPTZ];
/// Those of them that are compared with each other.
const POINTS_IN_TIME: [Oid; 3] = [DATE, TIMESTAMP, TIMESTAMPTZ];

impl Plain<'_, '_> {
    pub(super) fn safe(&self, name: &[Node], left: Operand, right: Operand) -> bool {
        let names: Option<Vec<&str>> = name.iter().map(as_string).collect();
        match names.as_deref() {
            Some([op] | ["pg_catalog", op]) => self.safe_named(op, left, right),
            _ => false,
        }
    }

    /// Whether the operator that Postgres will take is one of `pg_catalog` and tells nothing.
    pub(super) fn safe_named(&self, op: &str, left: Operand, right: Operand) -> bool {
        let in_text = [left, right].contains(&Operand::Decimal);
        let typed = |it| if it == Operand::Decimal { Operand::Typed(NUMERIC) } else { it };
        let (left, right) = (typed(left), typed(right));
        let (l, r) = match (left, right) {
            // Both are text.
            (Operand::Untyped, Operand::Untyped) => return is_comparison(op),
            (Operand::Unknown | Operand::Opaque, Operand::Column(t))
            | (Operand::Column(t), Operand::Unknown | Operand::Opaque) => return self.safe_with_any(op, t),
            (Operand::Opaque, Operand::Opaque | Operand::Typed(_) | Operand::Untyped)
            | (Operand::Typed(_) | Operand::Untyped, Operand::Opaque) => {
                return op == "=" && self.equality_is_everywhere_safe();
            }
            (Operand::Unknown | Operand::Opaque | Operand::Decimal, _) | (_, Operand::Unknown | Operand::Decimal) => {
                return false;
            }
            (Operand::Column(l) | Operand::Typed(l), Operand::Column(r) | Operand::Typed(r)) => (l, r),
            (Operand::Column(l) | Operand::Typed(l), Operand::Untyped) => (l, l),
            (Operand::Untyped, Operand::Column(r) | Operand::Typed(r)) => (r, r),
        };
        let (l, r) = (self.operator_type(l), self.operator_type(r));
        // A number is cast to the column's type: one in the text when it is read, an integer without fail.
        let of_column = |it| matches!(it, Operand::Column(_));
        let of_constant = |it| matches!(it, Operand::Typed(_));
        let (l, r) = if of_column(left) && of_constant(right) && takes_number(l, r, in_text) {
            (l, l)
        } else if of_constant(left) && of_column(right) && takes_number(r, l, in_text) {
            (r, r)
        } else {
            (l, r)
        };
        let Some(all) = self.policy.catalog.operators.get(op) else { return false };
        let mut exact = all.iter().filter(|o| o.left == l && o.right == r).peekable();
        if exact.peek().is_none() {
            // Postgres casts one side to the other's type.
            return cast_is_harmless(l, r) && self.safe_with_any(op, l) && self.safe_with_any(op, r);
        }
        // Of two columns the text that is sent does not show the types, by which `@>` may ask for a trial.
        let shown = !(of_column(left) && of_column(right)) || facts::trial_by_name(op).is_none();
        exact.all(|o| is_harmless(op, o) || (shown && self.trial_of(op, o) == Some(None)))
    }

    /// Whether every operator of that name that takes the type is safe, whatever stands on the other side.
    fn safe_with_any(&self, op: &str, column: Oid) -> bool {
        let column = self.operator_type(column);
        let Some(all) = self.policy.catalog.operators.get(op) else { return false };
        let mut taking = all.iter().filter(|o| o.left == column || o.right == column).peekable();
        is_comparison(op) && taking.peek().is_some() && taking.all(|o| is_harmless(op, o))
    }

    /// Whether whatever `=` Postgres takes for a column of an unknown type fails on no value: those of `pg_catalog` and of
    /// extensions do not. Without it, a join of two subqueries on computed columns would be neither hashed nor merged.
    fn equality_is_everywhere_safe(&self) -> bool {
        let known = |o: &Operator| o.name.schema == "pg_catalog" || o.extension.is_some();
        self.policy.catalog.operators.get("=").is_some_and(|all| all.iter().all(known))
    }

    /// The type under which operators are declared: `varchar` uses those of `text`, enums those of `anyenum`.
    pub(super) fn operator_type(&self, oid: Oid) -> Oid {
        match self.policy.catalog.types.get(&oid) {
            Some(t) if t.typtype == 'e' => ANYENUM,
            Some(t) if t.typtype == 'd' && t.base != oid => self.operator_type(t.base),
            _ if oid == VARCHAR => TEXT,
            _ => oid,
        }
    }
}

/// Whether the implicit casts between two types fail on no value.
fn cast_is_harmless(a: Oid, b: Oid) -> bool {
    const STRINGS: [Oid; 3] = [TEXT, BPCHAR, NAME];
    const NUMBERS: [Oid; 4] = [INT2, INT4, INT8, NUMERIC];
    [STRINGS.as_slice(), &NUMBERS].iter().any(|family| family.contains(&a) && family.contains(&b))
}

/// Whether an operator tells nothing of its operands but the result.
fn is_harmless(op: &str, operator: &Operator) -> bool {
    let of_one_sort = operator.left == operator.right
        || (POINTS_IN_TIME.contains(&operator.left) && POINTS_IN_TIME.contains(&operator.right));
    let comparison = HARMLESS_COMPARISONS.contains(&operator.left) && of_one_sort && is_comparison(op);
    operator.name.schema == "pg_catalog" && (operator.leakproof || comparison)
}

/// Whether Postgres casts a constant of the second type to the first, and not the column.
fn takes_number(column: Oid, constant: Oid, in_text: bool) -> bool {
    match column {
        NUMERIC => matches!(constant, INT2 | INT4 | INT8),
        FLOAT8 => matches!(constant, INT2 | INT4 | INT8) || (constant == NUMERIC && in_text),
        _ => false,
    }
}

fn is_comparison(op: &str) -> bool {
    matches!(op, "=" | "<>" | "<" | "<=" | ">" | ">=")
}
