//! From the edited tree to a plan: printed, read again, compared, verified.

use pg_query::protobuf::{Node, RawStmt};
use serde_json::Value;

use super::equal::same_tree;
use super::{Rewriter, unsupported};
use crate::base::{Arity, Mode, Refusal, RefusalKind, SqlState};
use crate::guard::fault::{Fault, planted};
use crate::guard::gate::dispatch::{Gated, Sent};
use crate::guard::gate::settings::left_to_bind;
use crate::guard::plan::{Piece, Plan, StatementKind};
use crate::guard::verify::{verify, verify_own_channels, verify_own_locks, verify_own_names, verify_reads};
use crate::guard::witness;
use crate::sql::parse;
use crate::sql::parse::Statement;

pub(super) fn plan(
    rewriter: Rewriter<'_>,
    statement: &Statement<'_>,
    tree: &Node,
    gated: Gated,
) -> Result<Plan, Refusal> {
    if rewriter.loses_system_column {
        return Err(unsupported(
            "a system column (ctid, tableoid, xmin ...) beside a FULL JOIN or an alias with columns",
        ));
    }
    let printed = rewriter.rewritten
        || match gated.text {
            Sent::Printed | Sent::Changed => true,
            Sent::Query | Sent::AsWritten => false,
        };
    let pieces = if printed { print(&rewriter, tree)? } else { vec![Piece::Text(statement.text.into())] };
    let (policy, mode, guarding) = (rewriter.policy, rewriter.mode, rewriter.guarding());
    let Rewriter {
        client_params, simple, inline, slots, checks, mut effects, notes, touches_data, param_types, ..
    } = rewriter;
    effects.extend(gated.effects);
    let is_bound = !simple && matches!(gated.kind, StatementKind::Select | StatementKind::Dml);
    left_to_bind(mode, tree, is_bound.then_some(param_types.as_slice()), &mut effects)?;
    let mut plan = Plan {
        kind: gated.kind,
        pieces,
        rewritten: printed,
        needs_tenant: touches_data.get() || !is_harmless(gated.kind),
        slots,
        inline_slots: inline,
        client_params,
        checks,
        effects,
        copy_in: gated.copy_in,
        writes: gated.writes,
        notes,
        objection: None,
    };
    if let Mode::Schema(own) = mode
        && !planted(Fault::Verifier)
    {
        verify_own_names(policy, tree)?;
        verify_own_channels(own, tree)?;
        verify_own_locks(own, tree)?;
    }
    if mode.arity() == Arity::Several && !printed && !planted(Fault::Verifier) {
        verify_reads(tree)?;
    }
    if guarding {
        witness::hear(policy, mode.arity(), &mut plan)?;
    }
    Ok(plan)
}

/// Kinds that may run without a tenant, if nothing that they name says otherwise.
fn is_harmless(kind: StatementKind) -> bool {
    match kind {
        StatementKind::Empty | StatementKind::Select | StatementKind::Transaction | StatementKind::Utility => true,
        StatementKind::Dml | StatementKind::CopyOut | StatementKind::CopyIn => false,
    }
}

fn print(rewriter: &Rewriter<'_>, tree: &Node) -> Result<Vec<Piece>, Refusal> {
    let by_literal = rewriter.simple;
    let text = parse::deparse(tree).map_err(|e| defect("the statement cannot be printed", &e))?;
    let mut read = parse::reparse(&text).map_err(|e| defect("the printed statement cannot be read", &e))?;
    let (Some(again), true) = (read.pop(), read.is_empty()) else {
        return Err(defect("the printed statement is not one statement", &text));
    };
    if !again.stmt.as_deref().is_some_and(|again| same_tree(tree, again)) {
        tracing::warn!(target: "pgwarden::guard", printed = %text, "a statement does not print as it was read");
        return Err(unsupported("a construct that does not print as it was read"));
    }
    if rewriter.guarding() && !planted(Fault::Verifier) {
        let Rewriter { policy, mode, client_params, declared, slots, checks, .. } = rewriter;
        verify(policy, mode.arity(), &again, *client_params, declared, slots, checks)?;
    }
    if let Some(channel) = &rewriter.channel {
        return channel.cut(&text).ok_or_else(|| defect("the name of a channel is out of place", &text));
    }
    if by_literal { cut(rewriter, &text, &again) } else { Ok(vec![Piece::Text(text.into())]) }
}

/// Cuts the text at the injected parameters.
fn cut(rewriter: &Rewriter<'_>, text: &str, read: &RawStmt) -> Result<Vec<Piece>, Refusal> {
    let tree =
        serde_json::to_value(read).map_err(|e| defect("the printed statement cannot be walked", &e.to_string()))?;
    let first = i64::from(rewriter.client_params) + 1;
    let mut places = Vec::new();
    params(&tree, &mut places);
    places.retain(|(_, number)| *number >= first);
    places.sort_unstable();
    places.dedup();
    let mut pieces = Vec::with_capacity(places.len() * 2 + 1);
    let mut done = 0usize;
    for (location, number) in places {
        let token = format!("${number}");
        let slot = usize::try_from(number - first).ok().filter(|s| *s < rewriter.slots.len());
        let start = usize::try_from(location).ok().filter(|at| *at >= done);
        let (Some(slot), Some(start)) = (slot, start) else {
            return Err(defect("an injected parameter is out of place", &token));
        };
        let before = text.get(done..start);
        let after = text.get(start..).is_some_and(|rest| rest.starts_with(&token));
        let (Some(before), true) = (before, after) else {
            return Err(defect("an injected parameter is out of place", &token));
        };
        pieces.push(Piece::Text(before.into()));
        pieces.push(Piece::Slot(slot));
        done = start + token.len();
    }
    pieces.push(Piece::Text(text.get(done..).unwrap_or("").into()));
    Ok(pieces)
}

/// Location and number of every parameter.
fn params(value: &Value, found: &mut Vec<(i64, i64)>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if key == "ParamRef" {
                    let field = |name: &str| inner.get(name).and_then(Value::as_i64);
                    found.extend(field("location").zip(field("number")));
                }
                params(inner, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| params(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A fault of pgwarden's own, kept from the client but for its name.
fn defect(what: &str, detail: &str) -> Refusal {
    tracing::error!(target: "pgwarden::guard", detail, "{what}");
    Refusal::new(RefusalKind::Verifier, SqlState::FEATURE_NOT_SUPPORTED, format!("{what}; it was not sent"))
}
