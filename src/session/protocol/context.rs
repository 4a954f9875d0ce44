//! The client's settings on the server connection that it has.

use std::sync::Arc;

use super::not_ready::NotReady;
use super::replies::{Disposition, InternalQuery, Kind, Run, Subject};
use super::{Hold, Session, Wait};
use crate::base::{Enforcement, Mode, PgError, Severity, SqlState};
use crate::wire::encode::{backend, frontend};

impl Session {
    /// What the message at hand waits for cannot be had: it fails.
    pub fn deny(&mut self, error: PgError) {
        match error.severity {
            // Another tenant's server may be there.
            Severity::Fatal if self.context.switching.is_some() => {
                self.current.denied = Some(PgError { severity: Severity::Error, ..error });
            }
            Severity::Error => self.current.denied = Some(error),
            Severity::Fatal => self.fail(&error),
        }
    }

    /// A server connection is there and has the client's settings, or will have them when it comes to what is sent next.
    pub(super) fn ready_to_send(&mut self) -> Result<(), NotReady> {
        if self.limits.metered.is_some() && self.starts() {
            self.take_permit()?;
        }
        if self.server.link.is_none() {
            let Some(link) = self.server.offered.take() else { return Err(Wait::Server.into()) };
            self.attach(link);
        }
        if !self.starts() {
            return Ok(());
        }
        self.follow_path()?;
        self.apply_context()?;
        self.send_unsent()
    }

    /// Which schemas stand behind a tenant's own is part of the rules that statements are decided by: the search path goes with them.
    /// Of a place that was not needed before they are not known yet.
    fn follow_path(&mut self) -> Result<(), NotReady> {
        let backend = Arc::clone(&self.context.backend);
        let Mode::Schema(own) = &backend.mode else { return Ok(()) };
        if self.context.switching.is_some() && backend.guard.epoch() == 0 {
            self.check_catalog(&backend)?;
        }
        self.context.settings.seal_path(backend.guard.policy().schema_path(own));
        Ok(())
    }

    fn apply_context(&mut self) -> Result<(), NotReady> {
        let Some(link) = self.server.link.as_mut() else { return Err(NotReady::Wait(Wait::Server)) };
        self.context.settings.applied();
        let Some(difference) = self.context.settings.difference(&mut link.known.applied) else {
            if self.context.switching.is_some() || self.has_moved() {
                // It may be another server than the last one.
                self.report_changes();
            }
            return Ok(());
        };
        // A Query drops the unnamed statement.
        link.unnamed = None;
        if frontend::query(&mut self.server.out, &difference.sql).is_err() {
            // A NUL cannot come from a client's message; a key of the configuration with one in it fails here.
            self.context_failed();
            return Err(NotReady::Wait(Wait::Closed));
        }
        self.server.replies.push(
            Kind::Query(Run::new(Subject::None)),
            Disposition::Swallow(InternalQuery::Context(difference.changes)),
        );
        if difference.critical || self.relies_on_settings() {
            self.server.hold = Hold::Drain;
            return Err(NotReady::Wait(Wait::Replies));
        }
        Ok(())
    }

    /// Policies alone tell whose rows a statement means, by a setting: nothing may be sent before it is confirmed.
    fn relies_on_settings(&self) -> bool {
        self.context.backend.mode.is_shared() && self.context.backend.guard.policy().enforcement == Enforcement::Rls
    }

    /// The settings could not be applied. What the client sent meanwhile may have run without them: nothing of it is
    /// given to the client, and neither side goes on.
    pub(super) fn context_failed(&mut self) {
        self.server.poison();
        self.fail(&PgError::fatal(
            SqlState::CONNECTION_FAILURE,
            "the session's settings could not be applied to a server connection",
        ));
    }

    /// The settings hold now.
    pub(super) fn context_applied(&mut self, changes: Vec<(String, Option<String>)>) {
        let Some(link) = self.server.link.as_mut() else { return };
        changes.into_iter().for_each(|(name, value)| link.known.applied.set(name, value));
        self.report_changes();
    }

    /// Tells the client of reported settings that differ from what it was told last.
    pub(super) fn report_changes(&mut self) {
        let Some(link) = self.server.link.as_ref() else { return };
        if link.known.parameters == *self.client.reported {
            return;
        }
        for (name, value) in &link.known.parameters {
            if self.client.reported.get(name) != Some(value)
                // The texts came out of a message of the same kind: they can be written.
                && backend::parameter_status(&mut self.client.out, name, value).is_ok()
            {
                Arc::make_mut(&mut self.client.reported).insert(name.clone(), value.clone());
            }
        }
    }
}
