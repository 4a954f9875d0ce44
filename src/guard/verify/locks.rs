//! The keys of advisory locks: whatever calls a function of theirs gives it the hash of a text that begins with the tenant's
//! own key.

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node, RawStmt};

use super::channels::is_text;
use super::predicate::Predicates;
use super::tree::{node, string, strings};
use crate::base::Refusal;
use crate::base::oid::TEXT;
use crate::guard::channels::lock_space;
use crate::sql::walk::{Part, Walk};

impl Predicates<'_> {
    /// Every call in a statement.
    pub(super) fn check_locks(&self, statement: &RawStmt) -> Result<(), String> {
        check(statement, &|space, _| self.is_own_text(concatenated(space, true)))
    }

    /// The parameter that holds the tenant's key as a text.
    pub(super) fn is_own_text(&self, value: Option<&NodeEnum>) -> bool {
        let slot = self.slot_of(value).and_then(|at| self.slots.get(at));
        slot.is_some_and(|slot| slot.key.is_none() && slot.type_oid == TEXT)
    }
}

/// The same in the schema layout.
///
/// # Errors
/// [`RefusalKind::Verifier`](crate::base::RefusalKind::Verifier)
pub(crate) fn verify_own_locks(schema: &str, statement: &Node) -> Result<(), Refusal> {
    let is_own = |space: &NodeEnum, numbers: usize| is_text(space, &lock_space(schema, numbers));
    check(statement, &is_own).map_err(|what| super::refusal(&what))
}

/// Whether a text is whose the key is, and how many numbers there are behind it.
type IsSpace<'a> = dyn Fn(&NodeEnum, usize) -> bool + 'a;

fn check(statement: &impl Walk, is_space: &IsSpace<'_>) -> Result<(), String> {
    let mut wrong = None;
    statement.fields(&mut |part| find_lock(part, is_space, &mut wrong));
    wrong.map_or(Ok(()), |name| Err(format!("the key given to {name} is not the tenant's own")))
}

fn find_lock(part: Part<'_>, is_space: &IsSpace<'_>, wrong: &mut Option<String>) -> bool {
    super::count_step();
    let named = match part {
        Part::Node(NodeEnum::FuncCall(call)) => takes_key(call).filter(|_| !is_key(&call.args, is_space)),
        // `(5).pg_advisory_lock`
        Part::Node(NodeEnum::AIndirection(it)) => it.indirection.iter().filter_map(string).find(|it| is_taker(it)),
        Part::Node(NodeEnum::ColumnRef(it)) => it.fields.iter().skip(1).filter_map(string).find(|it| is_taker(it)),
        Part::Node(_) | Part::Select(_) | Part::RangeVar(_) => None,
    };
    if let Some(name) = named {
        *wrong = Some(name.to_owned());
        return true;
    }
    part.fields(&mut |inner| find_lock(inner, is_space, wrong))
}

/// `('x' || encode(substr(sha256(convert_to(space, ..) || ...), 1, 8), 'hex'))::bit(64)::int8`, read from the outside in.
fn is_key(args: &[Node], is_space: &IsSpace<'_>) -> bool {
    let [Node { node: Some(key) }] = args else { return false };
    let hashed = cast(key)
        .and_then(cast)
        .and_then(|digits| concatenated(digits, false))
        .and_then(|hex| first_of(hex, "encode"))
        .and_then(|head| first_of(head, "substr"))
        .and_then(|hash| first_of(hash, "sha256"));
    let Some(mut bytes) = hashed else { return false };
    let mut numbers = 0;
    while let Some(before) = concatenated(bytes, true) {
        bytes = before;
        numbers += 1;
    }
    first_of(bytes, "convert_to").is_some_and(|space| is_space(space, numbers))
}

/// The name of a function whose argument is a lock's key.
fn takes_key(call: &FuncCall) -> Option<&str> {
    let name = strings(&call.funcname)?;
    let bare = match name.as_slice() {
        [bare] | ["pg_catalog", bare] | [_, "pg_catalog", bare] => *bare,
        _ => return None,
    };
    is_taker(bare).then_some(bare)
}

fn is_taker(bare: &str) -> bool {
    let names = ["pg_advisory_", "pg_try_advisory_"];
    names.iter().any(|start| bare.starts_with(start)) && bare != "pg_advisory_unlock_all"
}

pub(super) fn cast(value: &NodeEnum) -> Option<&NodeEnum> {
    match value {
        NodeEnum::TypeCast(cast) => node(&cast.arg),
        _ => None,
    }
}

/// One side of `left || right`.
pub(super) fn concatenated(value: &NodeEnum, left: bool) -> Option<&NodeEnum> {
    let NodeEnum::AExpr(expr) = value else { return None };
    let joins = strings(&expr.name)? == ["pg_catalog", "||"];
    node(if left { &expr.lexpr } else { &expr.rexpr }).filter(|_| joins)
}

/// The first argument of a call of a function of the system's.
pub(super) fn first_of<'v>(value: &'v NodeEnum, name: &str) -> Option<&'v NodeEnum> {
    let NodeEnum::FuncCall(call) = value else { return None };
    let called = strings(&call.funcname)? == ["pg_catalog", name];
    call.args.first()?.node.as_ref().filter(|_| called)
}
