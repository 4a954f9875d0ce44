//! From one place to another: a session of a login whose tenants live in several ones goes where its tenant does, between
//! transactions. Within one there is no way: what it has done stays where it was done.

use std::sync::Arc;

use super::backend::Backend;
use super::not_ready::NotReady;
use super::tenant_context::CurrentTenant;
use super::{Pin, ServerState, Session, Wait};
use crate::base::{PgError, SqlState, TenantName};
use crate::guard::{PinReason, startup_setting};

impl Session {
    /// Where server connections are taken from.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.context.backend
    }

    /// Who waits for a server connection, where that is not the same for all of the session.
    pub fn party(&self) -> Option<TenantName> {
        self.context.switching.as_ref()?.seated().as_ref().map(|acting| acting.name.clone())
    }

    /// Where statements of an actor go. Nobody is at home, and within a transaction where that is.
    pub(super) fn backend_for(&self, actor: &CurrentTenant) -> Arc<Backend> {
        match (actor, self.context.switching.as_ref()) {
            (Some(acting), _) => Arc::clone(&acting.backend),
            (None, Some(switching)) if !self.in_transaction() => Arc::clone(&switching.home),
            (None, _) => Arc::clone(&self.context.backend),
        }
    }

    /// Makes this the place that the next statement goes to.
    pub(super) fn move_to(&mut self, backend: &Arc<Backend>) -> Result<(), NotReady> {
        if self.context.backend.is(backend) {
            return Ok(());
        }
        if self.server.link.is_some() {
            self.server.settle()?;
            if self.in_transaction() {
                return Err(NotReady::Refuse(crossing()));
            }
            if let Pin::Statement(reason) = self.server.pin {
                return Err(NotReady::Refuse(left_behind(reason)));
            }
            return Err(NotReady::Wait(Wait::Elsewhere));
        }
        self.context.backend = Arc::clone(backend);
        self.server.pin = Pin::by(backend.pool_mode);
        let policy = backend.guard.policy();
        self.context.settings.withhold(|name, value| startup_setting(&policy, &backend.mode, name, value).is_err());
        Ok(())
    }

    /// Takes the server connection's state back because the session goes elsewhere.
    pub fn detach_to_move(&mut self) -> Option<ServerState> {
        if matches!(self.server.pin, Pin::Statement(_)) || !self.server_rests() {
            return None;
        }
        let mut link = self.server.link.take()?;
        link.known.needs_reset |= self.server.pin == Pin::Mode;
        Some(link)
    }
}

/// 25001: the transaction is in another place.
pub(super) fn crossing() -> PgError {
    PgError::error(
        SqlState::ACTIVE_SQL_TRANSACTION,
        "cannot act for a tenant of another layout or upstream within this transaction",
    )
    .hint("Name the tenant first in the transaction (SET LOCAL right after BEGIN), or before it.")
}

fn left_behind(reason: PinReason) -> PgError {
    PgError::error(
        SqlState::ACTIVE_SQL_TRANSACTION,
        format!(
            "cannot act for a tenant of another layout or upstream: the session holds a server connection ({reason})"
        ),
    )
    .hint("DISCARD ALL gives it back, with all that was made on it.")
}
