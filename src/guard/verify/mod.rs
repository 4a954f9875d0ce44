//! The verifier: reads the text that will be sent anew and refuses it unless every tenant relation in it stands behind
//! its predicate.
//!
//! It shares nothing with the rewriter but the policy. It walks the re-read tree as plain data (every field of every
//! node, known or not), so that a relation in a place that nobody thought of is found: a tenant relation counts as guarded
//! only where one of the rules here says so, and anywhere else the statement does not go out.

mod derived;
mod from;
mod leak;
mod plain;
mod predicate;
mod query;
mod scope;
mod tree;
mod write;

#[cfg(test)]
mod tests;

use pg_query::protobuf::RawStmt;

use self::predicate::Predicates;
use self::scope::Scope;
use super::plan::{TenantCheck, TenantSlot};
use super::policy::{Policy, Protection, TableRule, TenantTable};
use crate::base::{Refusal, RefusalKind, SqlState};
use crate::catalog::Relation;

/// Examines a statement of the shared layout as it was read from the text that will be sent.
///
/// # Errors
/// [`RefusalKind::Verifier`]: the rewriter made a mistake, and the statement must not be sent.
pub(crate) fn verify(
    policy: &Policy,
    statement: &RawStmt,
    client_params: u16,
    slots: &[TenantSlot],
    checks: &[TenantCheck],
) -> Result<(), Refusal> {
    let tree =
        serde_json::to_value(statement).map_err(|error| refusal(&format!("the tree cannot be read: {error}")))?;
    let verifier = Verifier { policy, predicates: Predicates { client_params, slots }, checks };
    verifier.walk(&tree, &Scope::default()).map_err(|what| refusal(&what))
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

struct Verifier<'p> {
    policy: &'p Policy,
    predicates: Predicates<'p>,
    checks: &'p [TenantCheck],
}

impl<'p> Verifier<'p> {
    /// The rule of a relation as Postgres will resolve its name, if it is a tenant relation that no policy guards.
    fn tenant_table(&self, schema: &str, name: &str) -> Option<&'p TenantTable> {
        self.any_tenant_table(schema, name).filter(|table| match table.protection {
            Protection::Predicate | Protection::Missing(_) => true,
            Protection::Policies => false,
        })
    }

    /// The same of any tenant relation.
    fn any_tenant_table(&self, schema: &str, name: &str) -> Option<&'p TenantTable> {
        match self.policy.tables.get(&self.relation(schema, name)?.name)? {
            TableRule::Tenant(table) => Some(table),
            TableRule::Shared => None,
        }
    }

    fn relation(&self, schema: &str, name: &str) -> Option<&'p Relation> {
        if schema.is_empty() {
            self.policy.catalog.resolve(&self.policy.search_path, name)
        } else {
            self.policy.catalog.relation(schema, name)
        }
    }
}
