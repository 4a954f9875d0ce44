//! From a text to the plans of its statements: gate, rewrite, verify, and the witness.

use super::gate::dispatch::gate;
use super::gate::reader;
use super::place::placed;
use super::plan::{Plan, Protocol, StatementKind};
use super::policy::{Names, Policy};
use super::rewrite::Rewriter;
use super::unread;
use crate::base::{Arity, Mode, Refusal, RefusalKind, SqlState};
use crate::sql::parse;
use crate::sql::parse::Statement;

/// Makes the plans of a text's statements. An empty text gives one empty plan.
///
/// # Errors
/// The refusal of the first statement that does not pass; none of the text may then be sent.
pub fn plan_statements(policy: &Policy, mode: &Mode, protocol: Protocol<'_>, sql: &str) -> Result<Vec<Plan>, Refusal> {
    // One stack for it all: the trees are walked, compared and dropped on it too.
    parse::with_stack(sql.len(), || {
        let statements = match parse::parse(sql, &policy.limits, policy.catalog.server_version_num) {
            Ok(statements) => statements,
            Err(refusal) => return unread::plan(policy, mode, sql, refusal).map(|plan| vec![plan]),
        };
        if matches!(protocol, Protocol::Extended { .. }) && statements.len() > 1 {
            return Err(Refusal::new(
                RefusalKind::Syntax,
                SqlState::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        if statements.is_empty() {
            return Ok(vec![Plan::verbatim(StatementKind::Empty, sql)]);
        }
        let mut plans = Vec::with_capacity(statements.len());
        // What one makes, those behind it may name.
        let mut with_temporary = None;
        for statement in &statements {
            let made = plan(with_temporary.as_ref().unwrap_or(policy), mode, protocol, (sql, statement))
                .map_err(|refusal| placed(refusal, &statement.tree, sql))?;
            if made.makes_temporary()
                && policy.names == Names::Catalog
                && with_temporary.is_none()
                && statements.len() > 1
            {
                with_temporary = Some(policy.with_temporary());
            }
            plans.push(made);
        }
        Ok(plans)
    })
}

fn plan(
    policy: &Policy,
    mode: &Mode,
    protocol: Protocol<'_>,
    (sql, statement): (&str, &Statement<'_>),
) -> Result<Plan, Refusal> {
    let reads = mode.arity() == Arity::Several;
    if reads {
        reader::only_reads(&statement.tree)?;
    }
    let mut rewriter = Rewriter::new(policy, mode, protocol, sql, statement);
    let mut tree = statement.tree.clone();
    let gated = gate(policy, mode, &mut tree, &mut rewriter);
    // Views may have made the tree deeper than the text has it.
    let plan = parse::with_stack(rewriter.written_out(), move || {
        let tree = tree;
        rewriter.finish(statement, &tree, gated?)
    })?;
    if reads {
        reader::only_reads_by_its_calls(&plan)?;
    }
    Ok(plan)
}
