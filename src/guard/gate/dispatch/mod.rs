//! One statement to one verdict, over all kinds that the grammar has. What stands inside it (queries, expressions) is
//! guarded by the rewriter, which the dispatcher is given.

mod channels;
mod copy;
mod database;
mod ddl;
mod explain;
mod session;
mod writes;

use pg_query::NodeEnum;
use pg_query::protobuf::Node;

use super::names::denied;
use crate::base::{Mode, Refusal, RefusalKind, SqlState};
use crate::guard::nodes::{self, Class, Parameters};
use crate::guard::{ChannelName, CopyIn, Effect, PinReason, Policy, StatementKind, TenantTable};

/// What the dispatcher needs of the rewriter: it guards the parts of one statement, in place.
pub(crate) trait Parts {
    /// SELECT, INSERT, UPDATE, DELETE or MERGE.
    fn query(&mut self, query: &mut Node) -> Result<(), Refusal>;
    /// An expression that stands outside of any query: arguments of EXECUTE and CALL, defaults, checks.
    fn expression(&mut self, expression: &mut Node) -> Result<(), Refusal>;
    /// The slot that holds the tenant's value for a table, for a COPY stream.
    fn slot(&mut self, table: &TenantTable) -> Result<usize, Refusal>;
    /// An expression of a definition, which is evaluated later: it does nothing to the session.
    fn defined(&mut self, expression: &mut Node) -> Result<(), Refusal>;
    /// A temporary table of the session is named.
    fn temporary(&mut self);
    /// What is written in the place of a channel's name, where channels are each tenant's own.
    fn channel(&mut self, kind: ChannelName, name: &str) -> Result<String, Refusal>;
}

/// What the gate found, besides what the parts' guard knows itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gated {
    /// Kind.
    pub(crate) kind: StatementKind,
    /// What is sent.
    pub(crate) text: Sent,
    /// What it does to the session.
    pub(crate) effects: Vec<Effect>,
    /// For COPY FROM STDIN into a tenant table.
    pub(crate) copy_in: Option<CopyIn>,
    /// It writes, or may.
    pub(crate) writes: bool,
}

/// Which text goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// A query: the rewriter knows whether it changed anything.
    Query,
    /// The tree, printed: what differs between two readings of the text cannot matter then.
    Printed,
    /// The tree, printed in every mode: the gate changed it.
    Changed,
    /// The client's own text: an operator's, or one that cannot leave its database.
    AsWritten,
}

impl Gated {
    fn new(kind: StatementKind, text: Sent) -> Self {
        Self { kind, text, effects: Vec::new(), copy_in: None, writes: true }
    }

    fn printed(kind: StatementKind) -> Self {
        Self::new(kind, Sent::Printed)
    }

    fn effects(mut self, effects: Vec<Effect>) -> Self {
        self.effects.extend(effects);
        self
    }

    fn pinned(self, reason: PinReason) -> Self {
        self.effects(vec![Effect::Pin(reason)])
    }
}

/// Decides on one statement; its tree is changed in place where names or parts of it must be.
///
/// # Errors
/// The refusal that the client is to see.
pub(crate) fn gate(policy: &Policy, mode: &Mode, tree: &mut Node, parts: &mut impl Parts) -> Result<Gated, Refusal> {
    let Some(node) = tree.node.as_mut() else {
        return Ok(Gated { writes: false, ..Gated::new(StatementKind::Empty, Sent::AsWritten) });
    };
    let Some(statement) = nodes::statement_of(node) else { return Err(refused(mode, "this statement")) };
    let (tag, writes) = (statement.tag, writes::writes(node));
    let gated = match statement.class {
        Class::Query => {
            let is_select = match node {
                NodeEnum::SelectStmt(select) => match select.into_clause.take() {
                    Some(into) => return ddl::select_into(policy, mode, *into, tree, parts),
                    None => true,
                },
                _ => false,
            };
            parts.query(tree)?;
            Gated::new(if is_select { StatementKind::Select } else { StatementKind::Dml }, Sent::Query)
        }
        Class::Session => match node {
            NodeEnum::CopyStmt(_) => copy::gate(policy, mode, node, parts)?,
            NodeEnum::ExplainStmt(_) => explain::gate(policy, mode, node, parts)?,
            NodeEnum::DoStmt(_) => code(mode, tag)?,
            NodeEnum::CallStmt(_) => call(mode, node, parts)?,
            // It refuses what it does not know.
            _ => session::gate(policy, mode, node, parts)?,
        },
        Class::Schema => ddl::gate(policy, mode, tag, tree, parts)?,
        Class::Database => {
            let gated = database::ddl(mode, tag, node)?;
            // Conditions and queries of rules, policies and triggers; the texts of functions are not read.
            ddl::names_stay(policy, mode, tree)?;
            gated
        }
        Class::Server => database::beyond(mode, tag, node)?,
    };
    Ok(in_mode(mode, Gated { writes, ..gated }))
}

/// An operator's text, and that of a tenant with a database of its own, goes out as it was written, unless the gate had
/// to change it.
fn in_mode(mode: &Mode, mut gated: Gated) -> Gated {
    if matches!(mode, Mode::Operator | Mode::Database) && gated.text == Sent::Printed {
        gated.text = Sent::AsWritten;
    }
    gated
}

/// DO: a block can do whatever the role may, and leave anything behind in the session.
fn code(mode: &Mode, name: &'static str) -> Result<Gated, Refusal> {
    match mode {
        Mode::Shared | Mode::Reader | Mode::Schema(_) => Err(refused(mode, name)),
        Mode::Database | Mode::Operator => Ok(Gated::new(StatementKind::Utility, Sent::AsWritten)
            .effects(vec![Effect::Pin(PinReason::SessionState), Effect::CatalogChanged])),
    }
}

/// CALL of a procedure that the operator listed.
fn call(mode: &Mode, node: &mut NodeEnum, parts: &mut impl Parts) -> Result<Gated, Refusal> {
    let NodeEnum::CallStmt(stmt) = node else {
        return Err(refused(mode, "CALL"));
    };
    if matches!(mode, Mode::Database | Mode::Operator) {
        return code(mode, "CALL");
    }
    let Some(call) = stmt.funccall.take() else {
        return Err(refused(mode, "CALL"));
    };
    let mut expression = Node { node: Some(NodeEnum::FuncCall(call)) };
    parts.expression(&mut expression)?;
    if let Some(NodeEnum::FuncCall(call)) = expression.node {
        stmt.funccall = Some(call);
    }
    Ok(Gated::printed(StatementKind::Utility))
}

/// The value of an option that is on or off, as a word: `true`, `off` ...; empty for what is no such value.
fn switch_word(given: &NodeEnum) -> String {
    if let NodeEnum::String(s) = given {
        return s.sval.to_ascii_lowercase();
    }
    let on = if let NodeEnum::Boolean(b) = given {
        Some(b.boolval)
    } else if let NodeEnum::Integer(i) = given {
        // `defGetBoolean` takes these two numbers.
        (matches!(i.ival, 0 | 1)).then_some(i.ival == 1)
    } else {
        None
    };
    on.map(|on| on.to_string()).unwrap_or_default()
}

/// Whether a statement takes no parameters from Bind, so that the tenant's values stand in its text.
pub(crate) fn takes_no_parameters(tree: &Node) -> bool {
    let Some(node) = tree.node.as_ref() else { return false };
    match nodes::statement_of(node).map(|statement| statement.parameters) {
        Some(Parameters::Unbound) => true,
        Some(Parameters::Inside) => match node {
            NodeEnum::ExplainStmt(explain) => explain.query.as_deref().is_some_and(takes_no_parameters),
            _ => false,
        },
        Some(Parameters::Bound) | None => false,
    }
}

/// 42501: a statement kind that the mode does not allow.
fn refused(mode: &Mode, name: &'static str) -> Refusal {
    let hint = match mode {
        Mode::Shared | Mode::Reader => {
            "Tenants share these tables: use an operator login for migrations and maintenance."
        }
        Mode::Schema(_) => "It reaches beyond the tenant's schema: use an operator login.",
        Mode::Database | Mode::Operator => "It reaches beyond the tenant's database: use an operator login.",
    };
    denied(RefusalKind::Statement, format!("permission denied: {name} is not allowed here"), hint).about(name)
}

/// 0A000: legal SQL that the gate does not let through yet.
fn unsupported(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(RefusalKind::Unsupported, SqlState::FEATURE_NOT_SUPPORTED, message)
}

#[cfg(test)]
mod tests;
