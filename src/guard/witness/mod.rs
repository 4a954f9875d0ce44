//! The witness: a second grammar reads what is about to be sent, and says whether each tenant relation that it sees stands
//! behind its predicate.
//!
//! Gate, rewriter and verifier read with Postgres's own grammar (libpg_query): what is sent is judged by what the server will
//! read. They share that grammar, though, and with it whatever is wrong in how its trees are understood here. So the text is
//! read once more, by sqlparser, into another tree, and checked by rules that know nothing but the catalog and the policy.
//!
//! The witness judges nothing by itself: what it sees uncovered is refused ([`Witness::Enforce`]), what it cannot read it
//! abstains from. It runs where a plan is made, never on the way of a statement that is known.
//!
//! Every walk is exhaustive: a construct that no rule is for is an abstention, never silence.

mod condition;
mod expression;
mod from;
mod insert;
mod level;
mod merge;
mod names;
mod parent;
mod plain;
mod predicate;
mod read;
mod select;
mod statement;
mod write;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use self::level::{Around, Named};
use self::predicate::Values;
use super::fault::{Fault, planted};
use super::plan::{Piece, Plan, StatementKind};
use super::policy::{Policy, Protection, TableRule, TenantTable};
use crate::base::{Arity, Refusal, RefusalKind, SqlState, Witness};
use crate::catalog::Relation;
use crate::sql::quote_identifier;

/// Why the witness says nothing of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abstention {
    /// Too many bytes, tokens, joins or levels.
    Bounds,
    /// Its grammar does not accept the text.
    Grammar,
    /// It read something that no rule is for; what.
    Construct(&'static str),
    /// It sees no tenant relation where the rewriter put a tenant's value.
    Unseen,
    /// It failed.
    Panic,
}

impl Abstention {
    /// All reasons, without what [`Abstention::Construct`] is about.
    const REASONS: [&'static str; 5] = ["bounds", "grammar", "construct", "unseen", "panic"];

    fn number(self) -> usize {
        match self {
            Self::Bounds => 0,
            Self::Grammar => 1,
            Self::Construct(_) => 2,
            Self::Unseen => 3,
            Self::Panic => 4,
        }
    }
}

/// What the witness says of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// Every tenant relation that it sees stands behind its predicate.
    Covered,
    /// Nothing.
    Abstains(Abstention),
    /// What it sees uncovered.
    Uncovered(String),
}

/// How often the witness said what, since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WitnessCounts {
    /// Texts that it found covered.
    pub covered: u64,
    /// Texts that it did not.
    pub uncovered: u64,
    /// Abstentions by reason.
    pub abstained: Vec<(&'static str, u64)>,
}

static COVERED: AtomicU64 = AtomicU64::new(0);
static UNCOVERED: AtomicU64 = AtomicU64::new(0);
static ABSTAINED: [AtomicU64; Abstention::REASONS.len()] = [const { AtomicU64::new(0) }; Abstention::REASONS.len()];

/// How often the witness said what.
pub fn witness_counts() -> WitnessCounts {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    WitnessCounts {
        covered: read(&COVERED),
        uncovered: read(&UNCOVERED),
        abstained: Abstention::REASONS.into_iter().zip(ABSTAINED.iter().map(read)).collect(),
    }
}

fn count(testimony: &Testimony) {
    let counter = match testimony {
        Testimony::Covered => Some(&COVERED),
        Testimony::Uncovered(_) => Some(&UNCOVERED),
        Testimony::Abstains(reason) => ABSTAINED.get(reason.number()),
    };
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Hears the witness on a plan of the shared layout, and keeps in it what it had against the plan where that is only reported.
///
/// # Errors
/// [`RefusalKind::Witness`]: it sees a tenant relation that is not covered.
pub(crate) fn hear(policy: &Policy, arity: Arity, plan: &mut Plan) -> Result<(), Refusal> {
    if policy.witness == Witness::Off || !is_of_tenants(plan) || planted(Fault::Witness) {
        return Ok(());
    }
    let testimony = testify_by(policy, arity, plan, Rules::IN_FORCE);
    count(&testimony);
    match testimony {
        Testimony::Covered => Ok(()),
        Testimony::Abstains(reason) => {
            tracing::debug!(target: "pgwarden::guard", ?reason, "the witness abstains");
            Ok(())
        }
        Testimony::Uncovered(what) => match policy.witness {
            Witness::Enforce => Err(refusal(&what)),
            Witness::Report | Witness::Off => {
                plan.objection = Some(what.into());
                Ok(())
            }
        },
    }
}

/// Whether a plan is of a statement that reads or writes rows.
fn is_of_tenants(plan: &Plan) -> bool {
    match plan.kind {
        StatementKind::Select | StatementKind::Dml | StatementKind::CopyOut | StatementKind::CopyIn => true,
        // EXPLAIN, DECLARE, PREPARE: also where the rewriter put no tenant's value, for it may have forgotten it.
        StatementKind::Utility => plan.needs_tenant || !plan.slots.is_empty(),
        StatementKind::Empty | StatementKind::Transaction => false,
    }
}

fn refusal(what: &str) -> Refusal {
    tracing::error!(target: "pgwarden::guard", what, "the witness refused a statement that the verifier accepted");
    Refusal::new(
        RefusalKind::Witness,
        SqlState::INSUFFICIENT_PRIVILEGE,
        "pgwarden's two readings of this statement disagree, and it was not sent",
    )
    .detail(what.to_owned())
    .hint("This is a limit of pgwarden, not of your SQL. Write the statement another way, and report it.")
}

/// What the witness says of a plan's text, whatever becomes of it: for tests and benches.
#[doc(hidden)]
pub fn testify(policy: &Policy, plan: &Plan) -> Testimony {
    testify_by(policy, Arity::One, plan, Rules::IN_FORCE)
}

/// The same, of a plan for so many tenants.
#[cfg(test)]
pub(in crate::guard) fn testify_as(policy: &Policy, arity: Arity, plan: &Plan) -> Testimony {
    testify_by(policy, arity, plan, Rules::IN_FORCE)
}

fn testify_by(policy: &Policy, arity: Arity, plan: &Plan, rules: Rules) -> Testimony {
    let text = text_of(plan);
    read::with_tree(&text, plan.client_params, |statement| {
        let mut checker = Checker {
            policy,
            rules,
            values: Values {
                policy,
                arity,
                client_params: plan.client_params,
                slots: &plan.slots,
                checks: &plan.checks,
            },
            ctes: Vec::new(),
            around: Vec::new(),
            seen: 0,
            found: None,
            unread: None,
        };
        checker.statement(statement);
        checker.testimony()
    })
}

/// The text as it will be sent, with the tenant's values as the parameters that they are in the extended protocol.
fn text_of(plan: &Plan) -> String {
    let mut text = String::with_capacity(plan.pieces.iter().map(piece_len).sum());
    for piece in &plan.pieces {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::Slot(slot) => text.push_str(&format!("${}", usize::from(plan.client_params) + slot + 1)),
            Piece::Literal(_) => text.push('0'),
            Piece::Channel { kind, .. } => text.push_str(&quote_identifier(&kind.unbound())),
        }
    }
    text
}

fn piece_len(piece: &Piece) -> usize {
    match piece {
        Piece::Text(part) => part.len(),
        Piece::Slot(_) | Piece::Literal(_) | Piece::Channel { .. } => 8,
    }
}

/// Over which items a condition that is not plain must be fenced, besides tenant relations that the guard's predicate is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Subqueries, common table expressions and aliased joins with rows of tenants in them.
    derived: bool,
    /// Tenant relations that the server's policies guard.
    policed: bool,
}

impl Rules {
    /// What the rewriter promises.
    const IN_FORCE: Self = Self { derived: true, policed: true };
}

/// Checks one statement.
struct Checker<'p> {
    policy: &'p Policy,
    rules: Rules,
    values: Values<'p>,
    /// Common table expressions that a name may mean here, innermost last.
    ctes: Vec<Named>,
    /// Levels around the place of the walk, innermost last.
    around: Vec<Around<'p>>,
    /// Tenant relations seen.
    seen: usize,
    /// The first thing that is not covered.
    found: Option<String>,
    /// The first construct that no rule is for.
    unread: Option<&'static str>,
}

impl<'p> Checker<'p> {
    fn testimony(self) -> Testimony {
        match (self.found, self.unread) {
            (Some(what), _) => Testimony::Uncovered(what),
            (None, Some(construct)) => Testimony::Abstains(Abstention::Construct(construct)),
            (None, None) if self.seen == 0 && !self.values.slots.is_empty() => Testimony::Abstains(Abstention::Unseen),
            (None, None) => Testimony::Covered,
        }
    }

    fn uncovered(&mut self, what: impl FnOnce() -> String) {
        self.found.get_or_insert_with(what);
    }

    /// No rule is for this.
    fn unread(&mut self, construct: &'static str) {
        self.unread.get_or_insert(construct);
    }

    /// Something of another dialect stands where it is empty in Postgres's.
    fn foreign(&mut self, is_there: bool, construct: &'static str) {
        if is_there {
            self.unread(construct);
        }
    }

    /// A relation as the server will find it.
    fn relation(&self, schema: Option<&str>, name: &str) -> Option<&'p Relation> {
        let policy = self.policy;
        match schema {
            Some(schema) => policy.catalog.relation(schema, name),
            None => policy.catalog.resolve(&policy.search_path, name),
        }
    }

    /// The rule for a tenant relation, and whether the guard's predicate is what keeps its rows apart.
    fn tenant_table(&self, relation: &Relation) -> Option<(&'p TenantTable, bool)> {
        match self.policy.tables.get(&relation.name)? {
            TableRule::Tenant(table) => Some(match table.protection {
                Protection::Predicate | Protection::Missing(_) => (table, true),
                Protection::Policies => (table, false),
            }),
            TableRule::Shared(_) => None,
        }
    }
}
