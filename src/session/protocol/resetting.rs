//! RESET ALL where pgwarden's own settings must stay: a mark goes in its place, and the settings of the client are put back behind it.

use super::Session;
use crate::guard::{Effect, Guarded, Plan};

/// Command tag of RESET ALL.
pub(super) fn tag_of_reset(plan: &Plan) -> Option<&'static str> {
    plan.effects.contains(&Effect::ResetOwn).then_some("RESET")
}

/// Whether a statement of it is RESET ALL.
pub(super) fn resets(guarded: &Guarded) -> bool {
    guarded.plans().iter().any(|plan| plan.effects.contains(&Effect::ResetOwn))
}

impl Session {
    /// RESET ALL went out in a transaction that goes on: what follows runs under what the client connected with. What becomes of
    /// that is asked at the transaction's end.
    pub(super) fn put_back(&mut self) {
        if let Some(sql) = self.context.settings.put_back()
            && self.send_own(&sql).is_err()
        {
            self.context_failed();
        }
    }
}
