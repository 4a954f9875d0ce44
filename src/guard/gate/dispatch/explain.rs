//! EXPLAIN: plain for tenants. Costs and row counts are estimated from the statistics of all tenants, and ANALYZE counts the
//! rows that the guard filtered out.

use pg_query::NodeEnum;
use pg_query::protobuf::{self, DefElem, ExplainStmt, Node};

use super::{Gated, Parts, Sent, refused, session, unsupported};
use crate::base::{Mode, Refusal, RefusalKind};
use crate::guard::fault::{Fault, planted};
use crate::guard::gate::names::denied;
use crate::guard::{Policy, StatementKind};

pub(super) fn gate(
    _policy: &Policy,
    mode: &Mode,
    node: &mut NodeEnum,
    parts: &mut impl Parts,
) -> Result<Gated, Refusal> {
    let NodeEnum::ExplainStmt(stmt) = node else {
        return Err(refused(mode, "EXPLAIN"));
    };
    let ExplainStmt { query, options } = stmt.as_mut();
    if matches!(mode, Mode::Shared | Mode::Reader | Mode::Schema(_)) && !planted(Fault::Explain) {
        plain(options)?;
    }
    let renamed = inner(mode, query.as_deref_mut(), parts)?;
    Ok(Gated::new(StatementKind::Utility, if renamed { Sent::Changed } else { Sent::Printed }))
}

/// The statement that is explained; whether a name in it was changed.
fn inner(mode: &Mode, query: Option<&mut Node>, parts: &mut impl Parts) -> Result<bool, Refusal> {
    let Some(query) = query else {
        return Err(unsupported("EXPLAIN of nothing"));
    };
    if let Some(NodeEnum::ExecuteStmt(stmt)) = query.node.as_mut() {
        return session::execute(stmt, parts).map(|()| true);
    }
    let query = if let Some(NodeEnum::DeclareCursorStmt(stmt)) = query.node.as_mut() {
        stmt.query.as_deref_mut()
    } else if matches!(mode, Mode::Database | Mode::Operator)
        && matches!(query.node, Some(NodeEnum::CreateTableAsStmt(_)))
    {
        let Some(NodeEnum::CreateTableAsStmt(stmt)) = query.node.as_mut() else { return Ok(false) };
        stmt.query.as_deref_mut()
    } else {
        Some(query)
    };
    match query {
        Some(Node { node: Some(NodeEnum::ExecuteStmt(stmt)) }) => session::execute(stmt, parts).map(|()| true),
        query => session::guard_inner(query, parts).map(|()| false),
    }
}

/// Leaves FORMAT and VERBOSE, takes what is switched off away, refuses the rest, and switches costs off.
fn plain(options: &mut Vec<Node>) -> Result<(), Refusal> {
    let given = std::mem::take(options);
    for option in given {
        let Some(NodeEnum::DefElem(elem)) = option.node.as_ref() else {
            return Err(unsupported("an unknown EXPLAIN option"));
        };
        match elem.defname.as_str() {
            "format" | "verbose" => options.push(option),
            // Forced off below.
            "costs" => {}
            _ if is_off(elem) => {}
            name => {
                return Err(denied(
                    RefusalKind::Statement,
                    format!("permission denied: EXPLAIN option {}", name.to_uppercase()),
                    "It would count rows of other tenants; tenants may use plain EXPLAIN with FORMAT and VERBOSE.",
                )
                .about(format_args!("EXPLAIN {}", name.to_uppercase())));
            }
        }
    }
    options.push(costs_off());
    Ok(())
}

fn is_off(elem: &DefElem) -> bool {
    let given = elem.arg.as_deref().and_then(|a| a.node.as_ref());
    given.is_some_and(|given| matches!(super::switch_word(given).as_str(), "off" | "false"))
}

fn costs_off() -> Node {
    let off = Node { node: Some(NodeEnum::String(protobuf::String { sval: "off".to_owned() })) };
    let elem = DefElem {
        defnamespace: String::new(),
        defname: "costs".to_owned(),
        arg: Some(Box::new(off)),
        defaction: protobuf::DefElemAction::DefelemUnspec.into(),
        location: 0,
        arg_location: 0,
    };
    Node { node: Some(NodeEnum::DefElem(Box::new(elem))) }
}
