//! What a reader of several tenants sends only reads: no statement that writes, locks or notifies is anywhere in it, no call that
//! does, and nothing that opens its transaction for writing.

use pg_query::NodeEnum;
use pg_query::protobuf::{DefElem, FuncCall, Node, RawStmt, a_const};

use super::refusal;
use super::tree::strings;
use crate::base::Refusal;
use crate::guard::channels::MARK_OF_ALL;
use crate::guard::nodes;
use crate::sql::walk::{Part, Walk, kind};

/// Functions that draw from sequences, or notify.
const ACTING: &[&str] = &["nextval", "setval", "currval", "lastval", "pg_notify"];
/// Settings of which only one value keeps a transaction read-only.
const READ_ONLY: &[&str] = &["transaction_read_only", "default_transaction_read_only"];

/// Examines a statement that goes out as it was written.
///
/// # Errors
/// [`RefusalKind::Verifier`](crate::base::RefusalKind::Verifier): it must not be sent.
pub(crate) fn verify_reads(statement: &Node) -> Result<(), Refusal> {
    only_reads(statement).map_err(|what| refusal(&what))
}

/// Examines every node of a statement.
pub(super) fn check(statement: &RawStmt) -> Result<(), String> {
    only_reads(statement)
}

fn only_reads(statement: &impl Walk) -> Result<(), String> {
    let mut found = None;
    statement.met(&mut |part| find(part, &mut found));
    found.map_or(Ok(()), |what| Err(format!("{what} has no place in a statement of a reader")))
}

fn find(part: Part<'_>, found: &mut Option<String>) -> bool {
    super::count_step();
    let (select, acts) = match part {
        Part::Select(select) => (Some(select), None),
        Part::Node(NodeEnum::SelectStmt(select)) => (Some(&**select), None),
        Part::Node(node) => (None, acting(node)),
        Part::RangeVar(_) => (None, None),
    };
    let locks = select.is_some_and(|select| !select.locking_clause.is_empty() || select.into_clause.is_some());
    *found = acts.or_else(|| locks.then(|| "a lock or INTO".to_owned()));
    found.is_some() || part.fields(&mut |inner| find(inner, found))
}

/// A statement or a call that does more than read.
#[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
fn acting(node: &NodeEnum) -> Option<String> {
    match node {
        NodeEnum::LockingClause(_) | NodeEnum::IntoClause(_) => Some(kind(node).to_owned()),
        NodeEnum::CopyStmt(copy) => copy.is_from.then(|| "COPY FROM".to_owned()),
        // What stands in the place of UNLISTEN *.
        NodeEnum::ListenStmt(listen) if listen.conditionname == MARK_OF_ALL => None,
        NodeEnum::FuncCall(call) => acting_call(call),
        NodeEnum::DefElem(option) => opens(option).then(|| "READ WRITE".to_owned()),
        NodeEnum::VariableSetStmt(set) => {
            // Without a value it is the server's own.
            let stays = !set.args.is_empty() && set.args.iter().all(is_on);
            (is_of_read_only(&set.name) && !stays).then(|| format!("a change of {}", set.name))
        }
        NodeEnum::SelectStmt(_)
        | NodeEnum::ExplainStmt(_)
        | NodeEnum::DeclareCursorStmt(_)
        | NodeEnum::FetchStmt(_)
        | NodeEnum::ClosePortalStmt(_)
        | NodeEnum::DeallocateStmt(_)
        | NodeEnum::DiscardStmt(_)
        | NodeEnum::TransactionStmt(_)
        | NodeEnum::VariableShowStmt(_)
        | NodeEnum::ConstraintsSetStmt(_) => None,
        nodes::statement!() => Some(kind(node).to_owned()),
        nodes::part!() => None,
    }
}

fn acting_call(call: &FuncCall) -> Option<String> {
    let name = strings(&call.funcname)?;
    let bare = *name.last()?;
    let locks = ["pg_advisory_", "pg_try_advisory_"].iter().any(|start| bare.starts_with(start));
    let sets = || match call.args.as_slice() {
        [name, value, ..] if bare == "set_config" => text(name).is_none_or(is_of_read_only) && !is_on(value),
        _ => bare == "set_config",
    };
    let acts = ACTING.contains(&bare) || (locks && bare != "pg_advisory_unlock_all") || sets();
    acts.then(|| format!("a call of {bare}"))
}

fn opens(option: &DefElem) -> bool {
    is_of_read_only(&option.defname) && !option.arg.as_deref().is_some_and(is_on)
}

fn is_of_read_only(name: &str) -> bool {
    READ_ONLY.iter().any(|it| name.eq_ignore_ascii_case(it))
}

/// `on`, `true`, `1`, as constants; under a cast to text too.
fn is_on(value: &Node) -> bool {
    let Some(NodeEnum::AConst(constant)) = value.node.as_ref() else { return text(value).is_some_and(is_word) };
    match constant.val.as_ref() {
        Some(a_const::Val::Ival(number)) => number.ival == 1,
        Some(a_const::Val::Boolval(value)) => value.boolval,
        Some(a_const::Val::Sval(word)) => is_word(&word.sval),
        Some(a_const::Val::Fval(_) | a_const::Val::Bsval(_)) | None => false,
    }
}

fn is_word(word: &str) -> bool {
    let word = word.trim().to_ascii_lowercase();
    // `parse_bool`: unique prefixes of true and yes, `on`, `1`.
    matches!(word.as_str(), "on" | "1") || !word.is_empty() && ["true", "yes"].iter().any(|it| it.starts_with(&word))
}

/// The text of a string literal, casts taken off.
fn text(value: &Node) -> Option<&str> {
    match value.node.as_ref()? {
        NodeEnum::TypeCast(cast) => text(cast.arg.as_deref()?),
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Sval(word) => Some(&word.sval),
            a_const::Val::Ival(_) | a_const::Val::Fval(_) | a_const::Val::Boolval(_) | a_const::Val::Bsval(_) => None,
        },
        _ => None,
    }
}
