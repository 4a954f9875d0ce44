//! The split guard: what runs before the tenant predicate must not be able to tell what it saw.
//!
//! The planner orders the conjuncts of a scan by cost, whatever their order in the text. So beside a tenant predicate only
//! plain conjuncts may stand (columns, constants and leakproof operators); everything else must be inside a CASE whose
//! condition is the tenant predicate.

use serde_json::Value;

use super::tree::{conjuncts, field, items, node, number, strings};
use super::{Outcome, Verifier};
use crate::guard::policy::Policy;

impl Verifier<'_> {
    /// The conjuncts of a WHERE, ON or HAVING in which tenant predicates may stand.
    pub(super) fn no_leaks(&self, conjuncts: &[&Value]) -> Outcome {
        if !conjuncts.iter().any(|c| self.predicates.is_any_predicate(c)) {
            return Ok(());
        }
        self.only_plain(conjuncts)
    }

    /// The same where a tenant predicate is known to hold elsewhere (HAVING, which the planner may move into WHERE).
    pub(super) fn only_plain(&self, conjuncts: &[&Value]) -> Outcome {
        let leaky = conjuncts
            .iter()
            .find(|c| !self.predicates.is_any_predicate(c) && !self.is_guard(c) && !is_plain(self.policy, c));
        match leaky {
            Some(conjunct) => Err(format!(
                "a condition of kind {} runs beside the tenant predicate",
                node(conjunct).map_or("unknown", |n| n.0)
            )),
            None => Ok(()),
        }
    }

    /// `CASE WHEN <tenant predicates> THEN ... ELSE false END`
    fn is_guard(&self, conjunct: &Value) -> bool {
        let Some(("CaseExpr", case)) = node(conjunct) else { return false };
        let [when] = items(case, "args") else { return false };
        let Some(("CaseWhen", when)) = node(when) else { return false };
        let tests = conjuncts(field(when, "expr"));
        let tested = !tests.is_empty() && tests.iter().all(|test| self.predicates.is_any_predicate(test));
        field(case, "arg").is_null() && tested && is_false(field(case, "defresult"))
    }
}

fn is_false(value: &Value) -> bool {
    value.pointer("/node/AConst/val/Boolval/boolval").is_some_and(|b| b == false)
}

/// Columns, constants, parameters, NULL tests, and operators of which a leakproof one exists, joined by AND, OR and NOT.
fn is_plain(policy: &Policy, value: &Value) -> bool {
    let plain = |value: &Value| is_plain(policy, value);
    match node(value) {
        Some(("ColumnRef" | "ParamRef" | "AConst", _)) => true,
        Some(("BoolExpr", expr)) => items(expr, "args").iter().all(plain),
        Some(("NullTest" | "BooleanTest", test)) => plain(field(test, "arg")),
        Some(("List", list)) => items(list, "items").iter().all(plain),
        // A cast of a constant: the planner folds it before any row is read.
        Some(("TypeCast", cast)) => matches!(node(field(cast, "arg")), Some(("AConst" | "ParamRef", _))),
        Some(("AExpr", expr)) => {
            let operands = [field(expr, "lexpr"), field(expr, "rexpr")];
            is_leakproof(policy, expr) && operands.into_iter().all(|o| o.is_null() || plain(o))
        }
        Some(_) | None => false,
    }
}

/// `A_Expr_Kind`s that call the named operator and nothing else: `op`, `op ANY`, `IN`.
const COMPARISONS: [i64; 3] = [1, 2, 7];

fn is_leakproof(policy: &Policy, expr: &Value) -> bool {
    let Some(name) = strings(expr, "name") else { return false };
    let bare = match name.as_slice() {
        ["pg_catalog", bare] | [bare] => bare,
        _ => return false,
    };
    let overloads = policy.catalog.operators.get(*bare).map_or(&[][..], Vec::as_slice);
    COMPARISONS.contains(&number(expr, "kind")) && overloads.iter().any(|o| o.leakproof)
}
