//! Functional notation: fields, each of which may be a call.

use pg_query::protobuf::Node;

use super::arguments;
use super::{LockCall, NOTIFY, Printed, RECORD, candidates, effects, may_call, reach, refused, tells_of_shared};
use crate::base::{Mode, Refusal};
use crate::catalog::Function;
use crate::guard::gate::names::{parts, truncated};
use crate::guard::{Effect, Policy};

/// Polymorphic and row types that a composite value is accepted for: `x.f` reads as `f(x)` for functions of these.
const ROW_ACCEPTING: &[u32] = &[
    RECORD, 2276, // "any"
    2283, // anyelement
    2776, // anynonarray
    5077, // anycompatible
    5079, // anycompatiblenonarray
];

/// What stands before the dot in `x.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// A row for certain.
    Row,
    /// It may be a value of whatever type.
    Value,
}

/// Functional notation: `x.name` calls `name(x)`, where `x` is a row that has no such column, and where it is any other value. What
/// a call's argument is held to, or what is done to it, is not done here: such a function is called by its name and parentheses.
///
/// # Errors
/// 42501 if a function has that name that could be called so, and may not be.
pub(crate) fn check_field(policy: &Policy, mode: &Mode, before: Before, field: &str) -> Result<Vec<Effect>, Refusal> {
    let field = truncated(field);
    let is_called = |f: &&Function| match before {
        Before::Row => takes_row(f),
        Before::Value => f.takes_one,
    };
    let called: Vec<&Function> = candidates(policy, mode, None, field).into_iter().filter(is_called).collect();
    if called.is_empty() {
        return Ok(Vec::new());
    }
    let denied = match mode {
        Mode::Operator => false,
        Mode::Database => called.into_iter().any(reach::leaves_database),
        Mode::Shared | Mode::Reader | Mode::Schema(_) => {
            (before == Before::Value && needs_parentheses(mode, field))
                || !called.into_iter().all(|f| may_call(policy, mode, f))
        }
    };
    match (denied, before) {
        (true, _) => Err(refused(field)),
        (false, Before::Row) => Ok(Vec::new()),
        (false, Before::Value) => Ok(effects(field)),
    }
}

/// Whether more is to be said of a call than whether the function may be called.
pub(super) fn needs_parentheses(mode: &Mode, bare: &str) -> bool {
    matches!(bare, "current_setting" | "set_config" | NOTIFY)
        || arguments::are_checked(mode, bare)
        || !effects(bare).is_empty()
        || LockCall::of(bare).is_some()
        || tells_of_shared(mode, bare)
        || Printed::is_by(bare)
}

/// What stands before the dot where it is a call of a function of this name.
pub(crate) fn gives(policy: &Policy, mode: &Mode, name: &[Node]) -> Before {
    let names = parts(name).unwrap_or_default();
    let found = match names.as_slice() {
        [bare] => candidates(policy, mode, None, truncated(bare)),
        [schema, bare] => candidates(policy, mode, Some(truncated(schema)), truncated(bare)),
        _ => Vec::new(),
    };
    let row = |f: &&Function| f.returns == RECORD || policy.catalog.is_composite(f.returns);
    if !found.is_empty() && found.iter().all(row) { Before::Row } else { Before::Value }
}

fn takes_row(function: &Function) -> bool {
    function.takes_row || matches!(function.arg_types.as_slice(), [only] if ROW_ACCEPTING.contains(only))
}
