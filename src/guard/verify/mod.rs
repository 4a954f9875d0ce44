//! The verifier: reads the text that will be sent anew and refuses it unless every tenant relation in it stands behind
//! its predicate.
//!
//! It shares nothing with the rewriter but the policy. It walks the re-read tree by [`crate::sql::walk`] (every field of every
//! struct, whether a rule knows it or not), so that a relation in a place that nobody thought of is found: a tenant relation
//! counts as guarded only where one of the rules here says so, and anywhere else the statement does not go out.
//!
//! A statement is walked once by [`survey`], and once by the rules: the work grows with its size, however deep it is nested.

mod channels;
mod common;
mod correlated;
mod derived;
mod from;
mod leak;
mod level;
mod locks;
mod params;
mod parent;
mod plain;
mod predicate;
mod query;
mod reads;
mod scope;
mod stored;
mod sure;
mod survey;
mod temporary;
mod tree;
mod trial;
mod write;

#[cfg(test)]
mod tests;

use pg_query::protobuf::{RangeVar, RawStmt};

pub(crate) use self::channels::verify_own_channels;
pub(crate) use self::common::verify_own_names;
pub(crate) use self::locks::verify_own_locks;
use self::params::ParamTypes;
use self::predicate::Predicates;
pub(crate) use self::reads::verify_reads;
use self::scope::Scope;
use self::survey::Survey;
use super::plan::{TenantCheck, TenantSlot};
use super::policy::{Policy, Protection, TableRule, TenantTable};
use crate::base::{Access, Arity, Oid, Refusal, RefusalKind, SqlState};
use crate::catalog::Relation;

/// Examines a statement of the shared layout as it was read from the text that will be sent: for one tenant, or for a reader of
/// several. `param_types`: those of the Parse message.
///
/// # Errors
/// [`RefusalKind::Verifier`]: the rewriter made a mistake, and the statement must not be sent.
pub(crate) fn verify(
    policy: &Policy,
    arity: Arity,
    statement: &RawStmt,
    client_params: u16,
    param_types: &[Oid],
    slots: &[TenantSlot],
    checks: &[TenantCheck],
) -> Result<(), Refusal> {
    let predicates = Predicates { policy, arity, client_params, slots };
    match arity {
        Arity::One => {}
        Arity::Several => reads::check(statement).map_err(|what| refusal(&what))?,
    }
    predicates.check_locks(statement).map_err(|what| refusal(&what))?;
    predicates.check_channels(statement).map_err(|what| refusal(&what))?;
    predicates.check_temporary(statement).map_err(|what| refusal(&what))?;
    let params = ParamTypes::of(policy, statement, client_params, param_types);
    let verifier = Verifier { policy, predicates, checks, survey: Survey::of(policy, statement), params };
    verifier.walk(statement, &Scope::outermost()).map_err(|what| refusal(&what))
}

fn refusal(what: &str) -> Refusal {
    tracing::error!(target: "pgwarden::guard", what, "the verifier refused a rewritten statement");
    Refusal::new(
        RefusalKind::Verifier,
        SqlState::INSUFFICIENT_PRIVILEGE,
        "pgwarden could not prove this statement safe, and did not send it",
    )
    .detail(what.to_owned())
    .hint("This is a limit of pgwarden, not of your SQL. Write the statement another way, and report it.")
}

/// What is wrong, for the refusal's detail.
type Outcome = Result<(), String>;

struct Verifier<'v, 'p> {
    policy: &'p Policy,
    predicates: Predicates<'p>,
    checks: &'p [TenantCheck],
    survey: Survey<'v>,
    params: ParamTypes<'v>,
}

impl<'p> Verifier<'_, 'p> {
    /// The rule of a relation as Postgres will resolve its name, if it is a tenant relation that no policy guards.
    fn tenant_table(&self, relation: &RangeVar) -> Option<&'p TenantTable> {
        any_tenant_table(self.policy, relation).map(|(_, table)| table).filter(|table| match table.protection {
            Protection::Predicate | Protection::Missing(_) => true,
            Protection::Policies => false,
        })
    }
}

/// A relation that a rule is for, as Postgres will resolve its name.
fn rule<'p>(policy: &'p Policy, name: &RangeVar) -> Option<(&'p Relation, &'p TableRule)> {
    let relation = match name.schemaname.as_str() {
        "" => policy.catalog.resolve(&policy.search_path, &name.relname),
        schema => policy.catalog.relation(schema, &name.relname),
    }?;
    Some((relation, policy.tables.get(&relation.name)?))
}

/// A tenant relation, whatever guards it, and its rule.
fn any_tenant_table<'p>(policy: &'p Policy, name: &RangeVar) -> Option<(&'p Relation, &'p TenantTable)> {
    match rule(policy, name)? {
        (relation, TableRule::Tenant(table)) => Some((relation, table)),
        (_, TableRule::Shared(_)) => None,
    }
}

/// Tenants may do that much with a relation.
fn may(policy: &Policy, name: &RangeVar, wanted: Access) -> Outcome {
    let access = match rule(policy, name) {
        Some((_, TableRule::Tenant(table))) => table.access,
        Some((_, TableRule::Shared(access))) => *access,
        None => return Ok(()),
    };
    if access >= wanted {
        Ok(())
    } else {
        Err(format!("a statement writes to {}, which tenants may not", name.relname))
    }
}

/// Counts what is done, for the test of how the work grows with a statement.
#[inline]
fn count_step() {
    #[cfg(test)]
    tests::STEPS.with(|steps| steps.set(steps.get() + 1));
}
