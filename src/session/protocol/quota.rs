//! Statements of a tenant whose quota is used up are refused; one that is nearly used up is warned of.

use std::sync::Arc;

use super::Session;
use super::plan::Planned;
use super::route::Needs;
use super::statements::Statement;
use super::switching::Change;
use crate::base::{PgError, Refusal, RefusalKind};
use crate::guard::context::Step;
use crate::guard::{Guarded, Plan, StatementKind};
use crate::usage::{Account, QuotaState};
use crate::wire::encode::backend;

impl Session {
    /// Why the statements of a Query are refused, if they are. One that only names a tenant is let through.
    pub(super) fn over_quota(&self, planned: &Planned) -> Option<PgError> {
        let Needs::All(_) = planned.needs else { return None };
        let own = planned.actor.as_ref().map_or(&self.env.account, |acting| &acting.account);
        let named = planned.changes.iter().filter_map(|change| match change {
            Change::Switch { to: Some(to), .. } => Some(&to.account),
            Change::Switch { to: None, .. }
            | Change::None
            | Change::Transaction(_)
            | Change::Clear
            | Change::Cursor(_) => None,
        });
        std::iter::once(own).chain(named).find_map(|account| self.refused_by(account, &planned.guarded))
    }

    /// Why a prepared statement is not run, if it is not. One that only names the tenant is.
    pub(super) fn statement_over_quota(&self, statement: &Statement) -> Option<PgError> {
        match &statement.step {
            Step::None | Step::Cursor => self.refused_by(self.stats.account(), &statement.guarded),
            Step::Switch { .. } | Step::Show(_) | Step::Begin(_) | Step::Transaction(_) | Step::Clear => None,
        }
    }

    fn refused_by(&self, account: &Arc<Account>, guarded: &Guarded) -> Option<PgError> {
        let refused: fn(&Plan) -> bool = match account.standing() {
            QuotaState::Fine | QuotaState::Warned => return None,
            QuotaState::WritesRefused => |plan| plan.writes,
            // A transaction can be ended.
            QuotaState::AllRefused => |plan| !matches!(plan.kind, StatementKind::Transaction | StatementKind::Empty),
        };
        if !guarded.plans().iter().any(|plan| refused(plan)) {
            return None;
        }
        let error = account.refusal()?;
        let refusal = Refusal { kind: RefusalKind::Limit, object: Some("quota".into()), error: Box::new(error) };
        self.env.observer.refused(&refusal, &guarded.text());
        Some(*refusal.error)
    }

    /// A notice before ReadyForQuery, once for each bound that is reached.
    pub(super) fn warn_of_quota(&mut self) {
        if self.stats.account().standing() == QuotaState::Warned
            && let Some(warning) = self.stats.warning()
        {
            backend::notice_response(&mut self.client.out, "WARNING", &warning);
        }
    }
}
