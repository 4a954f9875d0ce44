//! An operator who sets `app.tenant_id` may believe that statements are guarded from then on: it is told once that they are not.

use super::Session;
use crate::base::{PgError, SqlState};
use crate::wire::encode::backend;

/// Whether the operator was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum UnguardedNotice {
    /// There was no reason to.
    #[default]
    Untold,
    /// It is to be, before the next ReadyForQuery.
    Due,
    /// It was.
    Told,
}

impl Session {
    /// A statement sets this setting.
    pub(super) fn note_unguarded(&mut self, setting: &str) {
        if self.context.unguarded == UnguardedNotice::Untold
            && self.is_operator()
            && self.observation.is_none()
            && self.context.backend.guard.policy().setting.eq_ignore_ascii_case(setting)
        {
            self.context.unguarded = UnguardedNotice::Due;
        }
    }

    /// A notice before ReadyForQuery, once.
    pub(super) fn tell_unguarded(&mut self) {
        if self.context.unguarded != UnguardedNotice::Due {
            return;
        }
        self.context.unguarded = UnguardedNotice::Told;
        let setting = &self.context.backend.guard.policy().setting;
        let notice = PgError::error(
            SqlState::SUCCESS,
            format!("statements of operators are not guarded, whatever {setting} is"),
        )
        .hint("Only policies of the database read it here. A login of role \"tenant\" acts for a tenant.");
        backend::notice_response(&mut self.client.out, "NOTICE", &notice);
    }
}
