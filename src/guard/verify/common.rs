//! In the schema layout: no name that a common schema has goes out without a schema.

use std::collections::HashSet;

use pg_query::NodeEnum;
use pg_query::protobuf::Node;

use super::refusal;
use crate::base::Refusal;
use crate::guard::Policy;
use crate::sql::walk::{Part, Walk};

/// Examines a statement of the schema layout as it will be sent. What a common schema has under a name is not what the tenant
/// means by it, and would be what the server finds where the tenant's own is not there any more.
///
/// # Errors
/// [`RefusalKind::Verifier`](crate::base::RefusalKind::Verifier): it must not be sent.
pub(crate) fn verify_own_names(policy: &Policy, statement: &Node) -> Result<(), Refusal> {
    if policy.common_schemas.is_empty() {
        return Ok(());
    }
    let (mut bare, mut ctes) = (Vec::new(), HashSet::new());
    statement.fields(&mut |part| see(part, &mut bare, &mut ctes));
    match bare.into_iter().find(|name| !ctes.contains(name) && policy.is_hidden_in_common(name)) {
        Some(name) => {
            Err(refusal(&format!("\"{name}\" is a name that a common schema has, and stands without its schema")))
        }
        None => Ok(()),
    }
}

/// Names of relations without a schema, and those that WITH gives.
fn see<'v>(part: Part<'v>, bare: &mut Vec<&'v str>, ctes: &mut HashSet<&'v str>) -> bool {
    if let Some(relation) = part.range_var()
        && relation.schemaname.is_empty()
    {
        bare.push(&relation.relname);
    }
    match part {
        Part::Node(NodeEnum::CommonTableExpr(cte)) => {
            ctes.insert(&cte.ctename);
        }
        // These name aliases, and constraints.
        Part::Node(NodeEnum::LockingClause(_) | NodeEnum::ConstraintsSetStmt(_)) => return false,
        Part::Node(_) | Part::Select(_) | Part::RangeVar(_) => {}
    }
    part.fields(&mut |inner| see(inner, bare, ctes))
}
