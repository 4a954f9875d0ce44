//! Puts the tenant's predicates into a statement's tree.
//!
//! A [`Rewriter`] is made for one statement, walks what the gate hands it (queries, expressions), and ends in a [`Plan`]:
//! the edited tree is printed, read again, compared with the edited one and verified. The walk is exhaustive: a node that it
//! does not know is refused, so that nothing stands in a statement that was not looked at.

mod channels;
mod conflict;
mod equal;
mod expression;
mod field;
mod finish;
mod from;
mod guard;
mod insert;
mod json;
mod locks;
mod merge;
mod outputs;
mod own;
mod own_part;
mod parent;
mod plain;
mod scope;
mod select;
mod sets;
#[cfg(test)]
pub(super) mod tests;
mod tree;
mod trial;
mod write;

use std::cell::Cell;

use pg_query::protobuf::{Node, RangeVar};

use super::gate::dispatch::{Gated, Parts, takes_no_parameters};
use super::gate::relations::{self, Resolved};
use super::plan::{Effect, Plan, Protocol, TenantCheck, TenantSlot};
use super::{ChannelName, Policy, TenantTable};
use crate::base::oid::{INT2, INT4, INT8};
use crate::base::{Mode, OWN_VALUE_ONLY, Oid, Refusal, RefusalKind, SqlState};
use crate::catalog::{Column, Identity};
use crate::sql::parse::Statement;
use channels::Channel;
use plain::{Closed, ParamCasts, declared_by_prepare};
use scope::{CteFrame, Level, Locking, Refs};
#[cfg(test)]
pub(in crate::guard) use trial::trial_text;

/// The greatest number of parameters in a statement (a 16-bit count in the protocol).
const MAX_PARAMS: usize = 65_535;
/// The tenant's values in one statement, at most: one for each key and type.
const SLOTS: usize = 256;

/// Kinds of relations that were met in a query.
#[derive(Clone, Copy, Debug, Default)]
struct Met {
    tenant: bool,
    shared: bool,
    /// Relations with values of others in them: those of tenants, and the system's.
    private: bool,
}

impl Met {
    fn absorb(&mut self, other: Met) {
        self.tenant |= other.tenant;
        self.shared |= other.shared;
        self.private |= other.private;
    }
}

/// Rewrites one statement.
pub(crate) struct Rewriter<'p> {
    policy: &'p Policy,
    mode: &'p Mode,
    /// Types that the Parse message declares.
    declared: Vec<Oid>,
    /// Those, or the ones that PREPARE declares.
    param_types: Vec<Oid>,
    casts: ParamCasts,
    /// The tenant's values are literals in the final text.
    simple: bool,
    /// They are, although the protocol is the extended one.
    inline: bool,
    /// The greater of the parameters declared and those used.
    client_params: u16,
    slots: Vec<TenantSlot>,
    checks: Vec<TenantCheck>,
    effects: Vec<Effect>,
    notes: Vec<String>,
    rewritten: bool,
    /// The client's text.
    text: &'p str,
    /// Its length, and that of the queries of views that stand in it.
    written_out: usize,
    /// WITH clauses around the place of the walk, outermost first.
    ctes: Vec<CteFrame>,
    /// Query levels around the place of the walk, outermost first.
    levels: Vec<Level<'p>>,
    /// What the expressions being walked look at, outermost first.
    refs: Vec<Refs>,
    /// Subqueries in expressions that look at nothing outside of themselves.
    closed: Vec<Closed>,
    /// The walk is in an EXISTS, whose WHERE may become the condition of a join.
    in_exists: bool,
    /// The client names a system column that is lost, or would mean another table's, behind a subquery of the guard's.
    loses_system_column: bool,
    /// What the query being walked locks.
    locking: Locking,
    /// What was met in the query being walked.
    met: Met,
    /// A relation outside the system catalogs, or a function of the application, was met.
    touches_data: Cell<bool>,
    /// Calls that take an advisory lock.
    locks: u16,
    /// The channel that the statement names: it is put in once the tenant is known.
    channel: Option<Channel>,
    /// The client's text names `tableoid`, which masked relations leave out otherwise.
    tableoid: bool,
}

impl<'p> Rewriter<'p> {
    /// A rewriter for `statement` of `text`.
    pub(crate) fn new(
        policy: &'p Policy,
        mode: &'p Mode,
        protocol: Protocol<'_>,
        text: &'p str,
        statement: &Statement<'_>,
    ) -> Rewriter<'p> {
        let param_types = match protocol {
            Protocol::Simple => Vec::new(),
            Protocol::Extended { param_types } => param_types.to_vec(),
        };
        let client_params = statement.params.max(u16::try_from(param_types.len()).unwrap_or(u16::MAX));
        // As literals, too, where there is no number left for them.
        let inline = !matches!(protocol, Protocol::Simple)
            && (takes_no_parameters(&statement.tree) || usize::from(client_params) + SLOTS > MAX_PARAMS);
        Rewriter {
            policy,
            mode,
            simple: inline || matches!(protocol, Protocol::Simple),
            inline,
            client_params,
            param_types: declared_by_prepare(policy, mode, &statement.tree).unwrap_or_else(|| param_types.clone()),
            declared: param_types,
            casts: if statement.params > 0 { ParamCasts::of(&statement.tree) } else { ParamCasts::default() },
            slots: Vec::new(),
            checks: Vec::new(),
            effects: Vec::new(),
            notes: Vec::new(),
            rewritten: false,
            text,
            written_out: text.len(),
            ctes: Vec::new(),
            levels: Vec::new(),
            refs: Vec::new(),
            closed: Vec::new(),
            in_exists: false,
            loses_system_column: false,
            locking: Locking::None,
            met: Met::default(),
            touches_data: Cell::new(false),
            locks: 0,
            channel: None,
            tableoid: statement.text.to_ascii_lowercase().contains("tableoid"),
        }
    }

    /// Bytes of text that the tree was made of.
    pub(crate) fn written_out(&self) -> usize {
        self.written_out
    }

    /// The slot that carries the tenant's value for a table.
    ///
    /// # Errors
    /// 54000 if there are too many.
    fn tenant_slot(&mut self, table: &TenantTable) -> Result<usize, Refusal> {
        self.slot_for(TenantSlot {
            key: table.key.clone(),
            arity: self.mode.arity(),
            type_oid: table.type_oid,
            type_name: table.type_name.as_str().into(),
        })
    }

    fn slot_for(&mut self, slot: TenantSlot) -> Result<usize, Refusal> {
        if let Some(index) = self.slots.iter().position(|s| *s == slot) {
            return Ok(index);
        }
        if self.slots.len() >= SLOTS {
            return Err(Refusal::new(
                RefusalKind::Limit,
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("the statement needs more than {SLOTS} values of the tenant"),
            ));
        }
        self.slots.push(slot);
        Ok(self.slots.len() - 1)
    }

    /// Remembers what the statement does to the session.
    fn effect(&mut self, effect: Effect) {
        if !self.effects.contains(&effect) {
            self.effects.push(effect);
        }
    }

    /// Rows are added to a relation.
    fn adds_rows(&mut self, relation: &Option<RangeVar>) {
        if self.draws(relation.as_ref()) {
            self.effect(Effect::Draws);
        }
    }

    /// Whether columns of a relation may draw from sequences where rows are added, whatever the statement gives for them.
    fn draws(&self, relation: Option<&RangeVar>) -> bool {
        let serial = |column: &Column| match column.identity {
            Identity::Always | Identity::ByDefault => true,
            Identity::No => column.has_default && matches!(column.base_type_oid, INT2 | INT4 | INT8),
        };
        match relation.map(|relation| self.resolve(relation)) {
            Some(Ok(
                Resolved::Tenant(_, found)
                | Resolved::Policed(_, found)
                | Resolved::Shared(found, _)
                | Resolved::Free(Some(found))
                | Resolved::Own(Some(found)),
            )) => found.columns.iter().any(serial),
            Some(Ok(Resolved::Free(None) | Resolved::Own(None) | Resolved::Temporary)) => true,
            // Nobody writes there.
            Some(Ok(Resolved::System(..)) | Err(_)) | None => false,
        }
    }

    /// A temporary table is named with its schema, by which nothing else can be reached.
    fn names_temporary(&mut self) {
        self.rewritten = true;
        self.effect(Effect::NamesTemporary);
    }

    /// Adds a line for `explain`.
    fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Prints, compares, verifies, and makes the plan. `tree` is the statement with all that was walked put back into it.
    ///
    /// # Errors
    /// 0A000 for what cannot be printed faithfully or guarded together; the verifier's refusal.
    pub(crate) fn finish(mut self, statement: &Statement<'_>, tree: &Node, gated: Gated) -> Result<Plan, Refusal> {
        self.check_locks(tree)?;
        finish::plan(self, statement, tree, gated)
    }

    fn guarding(&self) -> bool {
        self.mode.is_shared()
    }

    fn resolve(&self, relation: &RangeVar) -> Result<Resolved<'p>, Refusal> {
        let RangeVar { catalogname, schemaname, relname, .. } = relation;
        let resolved = relations::resolve(self.policy, self.mode, catalogname, schemaname, relname)?;
        if !matches!(resolved, Resolved::System(..)) {
            self.touches_data.set(true);
        }
        Ok(resolved)
    }

    /// Number of the parameter that carries a slot.
    fn param_number(&self, slot: usize) -> i32 {
        i32::from(self.client_params) + i32::try_from(slot).unwrap_or(i32::MAX - MAX_PARAMS as i32) + 1
    }
}

impl Parts for Rewriter<'_> {
    fn query(&mut self, query: &mut Node) -> Result<(), Refusal> {
        if self.is_own_business(query) { Ok(()) } else { self.any_query(query).map(|_| ()) }
    }

    fn expression(&mut self, expression: &mut Node) -> Result<(), Refusal> {
        if self.is_own_business(expression) { Ok(()) } else { self.expr(expression) }
    }

    fn defined(&mut self, expression: &mut Node) -> Result<(), Refusal> {
        let before = (self.effects.len(), self.slots.len(), self.locks);
        self.expr(expression)?;
        if (self.effects.len(), self.slots.len(), self.locks) == before && self.channel.is_none() {
            return Ok(());
        }
        Err(unsupported("an expression of a definition that does something to the session")
            .hint("Call the function in the statement that adds the rows."))
    }

    fn temporary(&mut self) {
        self.touches_data.set(true);
        self.names_temporary();
    }

    fn slot(&mut self, table: &TenantTable) -> Result<usize, Refusal> {
        self.tenant_slot(table)
    }

    fn channel(&mut self, kind: ChannelName, name: &str) -> Result<String, Refusal> {
        self.own_channel(kind, name)
    }
}

/// 0A000: legal SQL that cannot be guarded.
fn unsupported(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        RefusalKind::Unsupported,
        SqlState::FEATURE_NOT_SUPPORTED,
        format!("{what} is not supported for tenants"),
    )
    .hint(
        "pgwarden cannot tell for certain which rows this would touch. Write it another way, or use an operator login.",
    )
    .about(what)
}

/// 42501: a value for another tenant.
fn foreign_value(column: &str) -> Refusal {
    Refusal::new(
        RefusalKind::ForeignTenant,
        SqlState::INSUFFICIENT_PRIVILEGE,
        format!("column \"{column}\" {OWN_VALUE_ONLY}"),
    )
    .hint("Leave the column out, or give the tenant's own value as a literal or a parameter.")
    .about(column)
}
