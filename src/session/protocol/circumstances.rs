//! What besides its text decides what a prepared statement means. The server reads constants, and makes plans that it keeps,
//! under the settings and the catalog of the moment: only statements that were prepared under the same are the same.

use std::sync::Arc;

use super::not_ready::NotReady;
use super::settings::{Settings, is_critical};
use super::statements::{ServerStatement, Statement};
use super::{Batch, Session};
use crate::base::is_custom_setting;
use crate::wire::backend::TransactionStatus;

/// Settings that no plan and no constant depends on. All others count, known or not.
const HARMLESS: &[&str] = &[
    // A label: read by nothing but views and the log.
    "application_name",
    // Which messages are sent, not what is done.
    "client_min_messages",
    // Looked at when a transaction begins, for what it may do: plans are the same.
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    // When a statement or session is given up.
    "idle_in_transaction_session_timeout",
    "lock_timeout",
    "statement_timeout",
    "transaction_timeout",
    // How a plan's expressions are computed, not to what.
    "jit",
];

/// Under which settings and catalog a statement was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// The settings that count. None: they were being changed, so that nobody knows.
    pub settings: Option<Arc<str>>,
    /// The number of the policy, which changes with the catalog.
    pub epoch: u64,
}

impl Circumstances {
    /// Whether a statement that was prepared under these is the same as one that is prepared under those of now.
    fn are(&self, settings: Option<&Arc<str>>, epoch: u64) -> bool {
        self.epoch == epoch
            && match (&self.settings, settings) {
                (Some(then), Some(now)) => Arc::ptr_eq(then, now) || then == now,
                (None, _) | (_, None) => false,
            }
    }
}

impl Settings {
    /// Whether a setting decides what statements mean. Those that pgwarden sets belong to the place of the session, or
    /// hold the tenant's key, which no statement is prepared for.
    pub(super) fn counts(&self, name: &str) -> bool {
        let own = self.is_sealed(name) && !is_critical(name);
        // No analysis of a statement looks at an application's own.
        !HARMLESS.contains(&name) && !own && !self.is_reserved(name) && !is_custom_setting(name)
    }

    /// The client's settings that count, as text.
    pub(super) fn that_count(&self) -> Arc<str> {
        let mut text = String::new();
        for (name, value) in self.own() {
            if self.counts(name) {
                // Neither can hold a NUL.
                for part in [name.as_str(), "\0", value, "\0"] {
                    text.push_str(part);
                }
            }
        }
        text.into()
    }
}

impl Session {
    /// Under what a statement is prepared that is sent now.
    pub(super) fn circumstances(&self) -> Circumstances {
        Circumstances { settings: self.context.settings.in_force().cloned(), epoch: self.context.backend.guard.epoch() }
    }

    /// Between transactions, what has become of settings that count is on its way: a named statement waits for it.
    pub(super) fn settle_settings(&mut self, name: &str) -> Result<(), NotReady> {
        let open = !name.is_empty()
            && self.context.settings.in_force().is_none()
            && !self.server.replies.is_empty()
            && self.server.tx == TransactionStatus::Idle
            && self.server.batch == Batch::Closed
            && self.server.replies.only_internal();
        if open { self.server.settle() } else { Ok(()) }
    }

    /// The statement under the name that it has on servers now: what is prepared under other settings than those in force,
    /// or was before the catalog changed, is another one. Where they are being changed the server keeps what it has.
    pub(super) fn under_now(&mut self, statement: Arc<Statement>) -> Arc<Statement> {
        let ServerStatement::Shared(_) = statement.server else { return statement };
        let settings = self.context.settings.in_force();
        let unknown = settings.is_none();
        if statement.circumstances.are(settings, self.context.backend.guard.epoch())
            || (unknown && self.knows(&statement))
        {
            return statement;
        }
        let mut renamed = Statement::clone(&statement);
        self.name_on_server(&mut renamed);
        self.prepared.statements.supersede(&statement, renamed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn settings_that_count() {
        let startup = map(&[("application_name", "x"), ("datestyle", "ISO, DMY"), ("search_path", "other")]);
        let mut settings = Settings::new(map(&[("app.tenant_id", "42"), ("search_path", "own")]), startup);
        assert_eq!(settings.in_force(), None, "nothing was applied yet");
        settings.applied();
        assert_eq!(settings.in_force().unwrap().as_ref(), "datestyle\0ISO, DMY\0");
        for harmless in ["application_name", "statement_timeout", "app.tenant_id", "audit.actor"] {
            settings.touch(harmless);
            assert!(settings.in_force().is_some(), "{harmless}");
        }
        for counts in ["datestyle", "search_path", "role", "work_mem", "hnsw.ef_search", "never_heard_of"] {
            settings.touch(counts);
            assert_eq!(settings.in_force(), None, "{counts}");
            settings.applied();
        }
        settings.touch_all();
        assert_eq!(settings.in_force(), None);
        settings.applied();
        settings.reset_sent();
        assert_eq!(settings.in_force(), None, "what it was reset to is not known");
    }

    #[test]
    fn only_the_same_is_the_same() {
        let (none, a, b) = (None::<&str>, Some("a"), Some("b"));
        let same = |then: Option<&str>, now: Option<&str>, epoch| {
            let then = Circumstances { settings: then.map(Into::into), epoch: 1 };
            then.are(now.map(Into::into).as_ref(), epoch)
        };
        assert!(same(a, a, 1));
        assert!(!same(a, b, 1) && !same(a, a, 2));
        assert!(!same(none, none, 1) && !same(none, a, 1) && !same(a, none, 1));
    }
}
