//! A plan's text under the verifier once more, also where nothing was rewritten: for fuzzing.

use super::plan::{Piece, Plan, Protocol};
use super::policy::Policy;
use super::verify::verify;
use crate::base::Arity;
use crate::sql::{parse, quote_identifier};

/// Reads what a plan of the shared layout would send and tells what the verifier has against it.
///
/// # Errors
/// Why it should not have gone out.
#[doc(hidden)]
pub fn recheck(policy: &Policy, plan: &Plan, protocol: Protocol<'_>) -> Result<(), String> {
    let param_types = match protocol {
        Protocol::Simple => &[][..],
        Protocol::Extended { param_types } => param_types,
    };
    let mut text = String::new();
    for piece in &plan.pieces {
        match piece {
            Piece::Text(part) => text.push_str(part),
            // As it was when the verifier read it.
            Piece::Slot(slot) => text.push_str(&format!("${}", usize::from(plan.client_params) + slot + 1)),
            Piece::Literal(_) => text.push('0'),
            Piece::Channel { kind, .. } => text.push_str(&quote_identifier(&kind.unbound())),
        }
    }
    let with_temporary = plan.is_of_session().then(|| policy.with_temporary());
    let policy = with_temporary.as_ref().unwrap_or(policy);
    parse::with_stack(text.len(), || {
        let statements = parse::reparse(&text)?;
        if statements.len() > 1 {
            return Err("more than one statement".to_owned());
        }
        statements.iter().try_for_each(|statement| {
            verify(policy, Arity::One, statement, plan.client_params, param_types, &plan.slots, &plan.checks)
                .map_err(|refusal| refusal.error.detail.unwrap_or_default().into_owned())
        })
    })
}
