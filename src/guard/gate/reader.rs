//! What a reader of several tenants may send: statements that read, and those about its own session. Looked at before anything
//! else, so that nobody is told to write in another way.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SelectStmt, TransactionStmt, VariableSetStmt};

use super::functions;
use super::settings::{READ_ONLY_SETTINGS, is_on};
use crate::base::{Refusal, RefusalKind, SqlState};
use crate::guard::fault::{Fault, planted};
use crate::guard::nodes;
use crate::guard::{Effect, PinReason, Plan};
use crate::sql::walk::{Part, Walk};

/// Whether the text of a statement only reads.
///
/// # Errors
/// 25006 for what writes, locks or notifies, and for what would be kept for other tenants than those of its transaction.
#[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
pub(crate) fn only_reads(tree: &Node) -> Result<(), Refusal> {
    let Some(node) = tree.node.as_ref().filter(|_| !planted(Fault::Reads)) else { return Ok(()) };
    let tag = nodes::statement_of(node).map_or("this statement", |statement| statement.tag);
    match node {
        NodeEnum::SelectStmt(_) => reads_inside(tree),
        NodeEnum::ExplainStmt(explain) => inner(explain.query.as_deref(), tag),
        NodeEnum::DeclareCursorStmt(cursor) => inner(cursor.query.as_deref(), tag),
        NodeEnum::CopyStmt(copy) if copy.is_from => Err(refused("COPY FROM")),
        NodeEnum::CopyStmt(_) => reads_inside(tree),
        NodeEnum::TransactionStmt(begin) => begins_read_only(begin),
        NodeEnum::VariableSetStmt(set) => sets_read_only(set),
        NodeEnum::PrepareStmt(_) | NodeEnum::ExecuteStmt(_) => Err(prepared(tag)),
        // Of everything: what drivers send to clean up.
        NodeEnum::UnlistenStmt(unlisten) if unlisten.conditionname.is_empty() => Ok(()),
        NodeEnum::VariableShowStmt(_)
        | NodeEnum::FetchStmt(_)
        | NodeEnum::ClosePortalStmt(_)
        | NodeEnum::DeallocateStmt(_)
        | NodeEnum::DiscardStmt(_)
        | NodeEnum::ConstraintsSetStmt(_) => Ok(()),
        nodes::statement!() | nodes::part!() => Err(refused(tag)),
    }
}

/// Whether what it does to the session is a reader's business: calls of functions say that.
///
/// # Errors
/// 25006.
pub(crate) fn only_reads_by_its_calls(plan: &Plan) -> Result<(), Refusal> {
    let effects = plan.effects.iter().filter(|_| !planted(Fault::Reads));
    effects.map(effect).find(Result::is_err).unwrap_or(Ok(()))
}

fn effect(effect: &Effect) -> Result<(), Refusal> {
    match effect {
        Effect::Locks(_) => Err(refused("an advisory lock")),
        Effect::Draws | Effect::MayDraw | Effect::AsksSequences => Err(refused("a function of sequences")),
        Effect::LooksUp => Err(refused("a function of tenancy.without_tenant")),
        Effect::CatalogChanged => Err(refused("this statement")),
        Effect::MakesTemporary(_) | Effect::NamesTemporary => Err(refused("a temporary table")),
        Effect::Pin(reason) => match reason {
            PinReason::AdvisoryLock => Err(refused("an advisory lock")),
            PinReason::Prepare
            | PinReason::Listen
            | PinReason::TempObject
            | PinReason::Sequences
            | PinReason::SessionState => Err(refused("this statement")),
            PinReason::HoldCursor | PinReason::Seed => Ok(()),
        },
        Effect::Setting(_)
        | Effect::SettingAtBind { .. }
        | Effect::ResetAll
        | Effect::ResetOwn
        | Effect::DiscardAll
        | Effect::Prepare(_)
        | Effect::Deallocate(_)
        | Effect::DropsTemporary
        | Effect::Unlocks
        | Effect::Listens(_) => Ok(()),
    }
}

fn inner(query: Option<&Node>, tag: &'static str) -> Result<(), Refusal> {
    match query {
        Some(query) if matches!(query.node, Some(NodeEnum::SelectStmt(_))) => reads_inside(query),
        Some(query) => only_reads(query),
        None => Err(refused(tag)),
    }
}

/// No node in a query writes or locks, however deep.
pub(crate) fn reads_inside(query: &Node) -> Result<(), Refusal> {
    let mut found = None;
    query.met(&mut |part| writes(part, &mut found));
    found.map_or(Ok(()), |what| Err(refused(what)))
}

fn writes(part: Part<'_>, found: &mut Option<&'static str>) -> bool {
    let of_select = |select: &SelectStmt| match select.into_clause {
        Some(_) => Some("SELECT INTO"),
        None => (!select.locking_clause.is_empty()).then_some("SELECT FOR UPDATE or FOR SHARE"),
    };
    *found = match part {
        Part::Select(select) => of_select(select),
        Part::Node(NodeEnum::SelectStmt(select)) => of_select(select),
        Part::Node(
            node @ (NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_)),
        ) => nodes::statement_of(node).map(|statement| statement.tag),
        Part::Node(NodeEnum::FuncCall(call)) => calls(&call.funcname),
        Part::Node(_) | Part::RangeVar(_) => None,
    };
    found.is_some() || part.fields(&mut |inner| writes(inner, found))
}

/// A function that does more than read, whatever the catalog knows of it.
fn calls(name: &[Node]) -> Option<&'static str> {
    if functions::is_notify(name) {
        return Some("pg_notify");
    }
    match functions::lock_call(name) {
        Some(_) => Some("a function of advisory locks"),
        None => functions::is_of_sequences(name).then_some("a function of sequences"),
    }
}

/// BEGIN, START TRANSACTION; what else the kind does is for the rules of all tenants.
fn begins_read_only(begin: &TransactionStmt) -> Result<(), Refusal> {
    let read_write = begin.options.iter().any(is_read_write);
    if read_write { Err(refused("a transaction that is READ WRITE")) } else { Ok(()) }
}

/// SET TRANSACTION and SET SESSION CHARACTERISTICS; settings by their names have rules of their own.
fn sets_read_only(set: &VariableSetStmt) -> Result<(), Refusal> {
    let read_write = set.args.iter().any(is_read_write);
    if read_write { Err(refused("a transaction that is READ WRITE")) } else { Ok(()) }
}

fn is_read_write(option: &Node) -> bool {
    let Some(NodeEnum::DefElem(option)) = option.node.as_ref() else { return false };
    let named = READ_ONLY_SETTINGS.iter().any(|name| option.defname.eq_ignore_ascii_case(name));
    named && !option.arg.as_deref().is_some_and(is_on)
}

fn prepared(what: &'static str) -> Refusal {
    refused(what).hint(
        "It would keep the tenants of its time. Let the driver prepare (a Parse message): that is for those of each transaction.",
    )
}

/// 25006, with a reason.
pub(crate) fn refused(what: &'static str) -> Refusal {
    Refusal::new(
        RefusalKind::Statement,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        format!("cannot execute {what}: a login of role \"reader\" only reads"),
    )
    .hint("A login of role \"tenant\" writes, for one tenant at a time.")
    .about(what)
}
