//! Statements about the session: transactions, settings, prepared statements, cursors, notifications.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    ConstraintsSetStmt, DeallocateStmt, DeclareCursorStmt, DiscardMode, DiscardStmt, ExecuteStmt, Node, PrepareStmt,
    TransactionStmt, TransactionStmtKind, VariableSetKind, VariableSetStmt,
};

use super::{Gated, Parts, Sent, channels, refused, unsupported};
use crate::base::{Mode, Refusal};
use crate::guard::gate::names::{MAX_IDENTIFIER_BYTES, foreign_schema, schema_is_own};
use crate::guard::gate::{settings, types};
use crate::guard::{Deallocate, Effect, PinReason, Policy, SQL_PREPARED_PREFIX, StatementKind, nodes};

/// `CURSOR_OPT_HOLD` of parsenodes.h.
const CURSOR_OPT_HOLD: i32 = 0x0020;

#[allow(unreachable_patterns, reason = "the groups name the kinds above too")]
pub(super) fn gate(
    policy: &Policy,
    mode: &Mode,
    node: &mut NodeEnum,
    parts: &mut impl Parts,
) -> Result<Gated, Refusal> {
    let utility = || Gated::printed(StatementKind::Utility);
    match node {
        NodeEnum::TransactionStmt(stmt) => transaction(mode, stmt),
        NodeEnum::VariableSetStmt(stmt) => set(policy, mode, stmt),
        NodeEnum::VariableShowStmt(stmt) => settings::show(policy, mode, &stmt.name).map(|()| utility()),
        NodeEnum::PrepareStmt(stmt) => prepare(policy, mode, stmt, parts),
        NodeEnum::ExecuteStmt(stmt) => execute(stmt, parts).map(|()| changed()),
        NodeEnum::DeallocateStmt(stmt) => deallocate(stmt),
        NodeEnum::DeclareCursorStmt(stmt) => declare(stmt, parts),
        NodeEnum::FetchStmt(_) | NodeEnum::ClosePortalStmt(_) => Ok(utility()),
        NodeEnum::DiscardStmt(stmt) => Ok(discard(stmt)),
        NodeEnum::ListenStmt(_) | NodeEnum::UnlistenStmt(_) | NodeEnum::NotifyStmt(_) => match mode {
            Mode::Shared | Mode::Reader | Mode::Schema(_) => channels::gate(node, parts),
            // Channels are the database's own.
            Mode::Database | Mode::Operator => Ok(match node {
                NodeEnum::ListenStmt(_) => utility().pinned(PinReason::Listen),
                _ => utility(),
            }),
        },
        NodeEnum::ConstraintsSetStmt(stmt) => constraints(mode, stmt).map(|()| utility()),
        nodes::statement!() | nodes::part!() => Err(refused(mode, "this statement")),
    }
}

/// A statement whose tree was changed.
fn changed() -> Gated {
    Gated::new(StatementKind::Utility, Sent::Changed)
}

fn set(policy: &Policy, mode: &Mode, stmt: &mut VariableSetStmt) -> Result<Gated, Refusal> {
    if settings::puts_role_back(stmt) {
        return Ok(role_is_back(mode, stmt));
    }
    let shortened = settings::shorten_path(policy, mode, stmt);
    let effects = settings::set(policy, mode, stmt)?;
    let gated = if shortened {
        changed()
    } else if effects.contains(&Effect::ResetOwn) {
        // It goes with the transaction if that is undone, as RESET ALL would; the session does the rest.
        *stmt = settings::mark_of_reset();
        changed()
    } else {
        Gated::printed(StatementKind::Utility)
    };
    Ok(gated.effects(effects))
}

/// A tenant has set no other role, so that none is to be put back: the one that it has is pgwarden's to set. What is sent in the
/// place of the statement changes nothing, as only pgwarden could set it.
fn role_is_back(mode: &Mode, stmt: &mut VariableSetStmt) -> Gated {
    match mode {
        Mode::Operator => Gated::printed(StatementKind::Utility).effects(settings::effect(&stmt.name)),
        Mode::Database => Gated::printed(StatementKind::Utility),
        Mode::Shared | Mode::Reader | Mode::Schema(_) => {
            if stmt.kind() != VariableSetKind::VarReset {
                stmt.set_kind(VariableSetKind::VarSetDefault);
            }
            stmt.name = "backslash_quote".to_owned();
            stmt.args.clear();
            changed()
        }
    }
}

fn transaction(mode: &Mode, stmt: &TransactionStmt) -> Result<Gated, Refusal> {
    match stmt.kind() {
        TransactionStmtKind::TransStmtBegin
        | TransactionStmtKind::TransStmtStart
        | TransactionStmtKind::TransStmtCommit
        | TransactionStmtKind::TransStmtRollback
        | TransactionStmtKind::TransStmtSavepoint
        | TransactionStmtKind::TransStmtRelease
        | TransactionStmtKind::TransStmtRollbackTo => Ok(Gated::printed(StatementKind::Transaction)),
        TransactionStmtKind::TransStmtPrepare
        | TransactionStmtKind::TransStmtCommitPrepared
        | TransactionStmtKind::TransStmtRollbackPrepared => match mode {
            Mode::Operator => Ok(Gated::printed(StatementKind::Transaction)),
            // Their names are the whole server's.
            Mode::Shared | Mode::Reader | Mode::Schema(_) | Mode::Database => {
                Err(refused(mode, "a two-phase transaction"))
            }
        },
        TransactionStmtKind::Undefined => Err(refused(mode, "this statement")),
    }
}

fn prepare(policy: &Policy, mode: &Mode, stmt: &mut PrepareStmt, parts: &mut impl Parts) -> Result<Gated, Refusal> {
    let PrepareStmt { name, argtypes, query } = stmt;
    let effects = vec![Effect::Pin(PinReason::Prepare), Effect::Prepare(name.clone())];
    prefix(name)?;
    for argtype in argtypes {
        if let Some(NodeEnum::TypeName(argtype)) = argtype.node.as_ref() {
            types::check(policy, mode, argtype)?;
        }
    }
    guard_inner(query.as_deref_mut(), parts)?;
    Ok(changed().effects(effects))
}

/// The query of PREPARE, DECLARE or EXPLAIN.
pub(super) fn guard_inner(query: Option<&mut Node>, parts: &mut impl Parts) -> Result<(), Refusal> {
    let Some(query) = query else {
        return Err(unsupported("a statement without a query"));
    };
    match query.node.as_ref() {
        Some(NodeEnum::SelectStmt(select)) if select.into_clause.is_some() => {
            Err(unsupported("SELECT INTO is not supported here"))
        }
        Some(nodes::query!()) => parts.query(query),
        None
        | Some(
            nodes::session!()
            | nodes::definition!()
            | nodes::database_definition!()
            | nodes::beyond!()
            | nodes::part!(),
        ) => Err(unsupported("only queries can stand here")),
    }
}

pub(super) fn execute(stmt: &mut ExecuteStmt, parts: &mut impl Parts) -> Result<(), Refusal> {
    let ExecuteStmt { name, params } = stmt;
    prefix(name)?;
    params.iter_mut().try_for_each(|param| parts.expression(param))
}

/// Names of SQL-level prepared statements live in one space with those that the proxy makes.
fn prefix(name: &mut String) -> Result<(), Refusal> {
    if name.len() + SQL_PREPARED_PREFIX.len() > MAX_IDENTIFIER_BYTES {
        return Err(unsupported(format!(
            "names of prepared statements may have {} bytes here",
            MAX_IDENTIFIER_BYTES - SQL_PREPARED_PREFIX.len()
        )));
    }
    name.insert_str(0, SQL_PREPARED_PREFIX);
    Ok(())
}

fn deallocate(stmt: &mut DeallocateStmt) -> Result<Gated, Refusal> {
    let DeallocateStmt { name, isall, location: _ } = stmt;
    let what = if *isall { Deallocate::All } else { Deallocate::Name(name.clone()) };
    if !*isall {
        prefix(name)?;
    }
    Ok(changed().effects(vec![Effect::Deallocate(what)]))
}

fn declare(stmt: &mut DeclareCursorStmt, parts: &mut impl Parts) -> Result<Gated, Refusal> {
    let DeclareCursorStmt { portalname: _, options, query } = stmt;
    let holds = *options & CURSOR_OPT_HOLD != 0;
    guard_inner(query.as_deref_mut(), parts)?;
    let gated = Gated::new(StatementKind::Utility, Sent::Printed);
    Ok(if holds { gated.pinned(PinReason::HoldCursor) } else { gated })
}

fn discard(stmt: &DiscardStmt) -> Gated {
    let gated = Gated::printed(StatementKind::Utility);
    match stmt.target() {
        DiscardMode::DiscardAll => gated.effects(vec![Effect::DiscardAll]),
        DiscardMode::DiscardTemp => gated.effects(vec![Effect::DropsTemporary]),
        DiscardMode::DiscardPlans | DiscardMode::DiscardSequences | DiscardMode::Undefined => gated,
    }
}

fn constraints(mode: &Mode, stmt: &ConstraintsSetStmt) -> Result<(), Refusal> {
    for constraint in &stmt.constraints {
        if let Some(NodeEnum::RangeVar(name)) = constraint.node.as_ref()
            && !name.schemaname.is_empty()
            && !schema_is_own(mode, &name.schemaname)
        {
            return Err(foreign_schema(&name.schemaname));
        }
    }
    Ok(())
}
