//! A session before its tenant's gate: it lets go of its server connection, waits, and goes on where its tenant lives then.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::sockets::listen;
use super::{End, Relay, Source};
use crate::base::{PgError, Severity, SqlState};
use crate::config::Tenant;
use crate::session::registry::{Order, SessionHandle, Standing};
use crate::tenant::Withdrawn;

impl<S: Source> Relay<S> {
    /// Deals with changes of gates, if the session is at rest: returns the number of the last one that there was.
    pub(super) async fn mind_gates(&mut self) -> Result<u64, End> {
        let number = self.handle.gates().number_now();
        if !self.session.rests_at_gate() {
            return match self.session.is_out_of_touch() {
                Some(error) => Err(self.told(&error)),
                None => Ok(number),
            };
        }
        if self.session.must_let_go() {
            match self.session.detach_at_gate() {
                Some(link) => self.release(link),
                None if self.session.is_pinned() => return Err(self.told(&left_behind())),
                // Something is still to be sent or read.
                None => return Ok(number),
            }
        }
        if let Some(end) = self.recheck().await {
            return Err(end);
        }
        if self.session.switches() && self.handle.gates().any_moved() {
            self.session.outdate();
        }
        self.session.dealt_with_gates(number);
        self.handle.note_gates_seen(number);
        Ok(number)
    }

    /// Whether what the session was admitted for still holds. Where its tenant has moved behind its gate, it follows.
    pub(super) async fn recheck(&mut self) -> Option<End> {
        let outcome = self.handle.check(self.session.acting().map(Arc::as_ref));
        self.heard = Order::Run;
        let followed = match outcome {
            Ok(Standing::Same) => return None,
            Ok(Standing::Moved(tenant)) => Box::pin(self.follow(&tenant)).await,
            Ok(Standing::NamedMoved) => {
                self.session.follow_named().map_err(|error| PgError { severity: Severity::Fatal, ..error })
            }
            Err(withdrawn) => Err(withdrawn.to_pg_error()),
        };
        followed.err().map(|error| self.told(&error))
    }

    /// The session goes on where its tenant lives now.
    async fn follow(&mut self, tenant: &Arc<Tenant>) -> Result<(), PgError> {
        if let Some(link) = self.session.detach_at_gate() {
            self.release(link);
        }
        if !self.session.can_travel() {
            return Err(Withdrawn::Changed(tenant.name.to_string()).to_pg_error());
        }
        let home = self.source.home(tenant).await?;
        self.session.relocate(home);
        Ok(())
    }

    /// Waits until there is another change of gates than this one. A cancel request ends the wait, the client's going the session.
    pub(super) async fn wait_at_gate(&mut self, number: u64) -> Result<(), End> {
        let waits = self.server.is_none();
        if waits {
            self.handle.note_waiting();
        }
        let waited = {
            let Self { client, awaits_client, session, source, unflushed, handle, heard, .. } = self;
            let gates = Arc::clone(handle.gates());
            let mut changed = pin!(source.wait(async move {
                gates.changed_since(number).await;
                Ok(())
            }));
            poll_fn(|cx| {
                if let Poll::Ready(outcome) = changed.as_mut().poll(cx) {
                    return Poll::Ready(Ok(outcome));
                }
                if let Poll::Ready(order) = handle.poll_order(*heard, cx) {
                    *heard = order;
                    if order == Order::Now {
                        let error = SessionHandle::farewell();
                        session.fail(&error);
                        return Poll::Ready(Err(End::Told(error.message.to_string())));
                    }
                }
                match listen(client, awaits_client, unflushed, session, cx) {
                    Some(end) => Poll::Ready(Err(end)),
                    None => Poll::Pending,
                }
            })
            .await
        };
        if waits {
            self.handle.note_idle();
        }
        if let Err(error) = waited? {
            self.session.deny(error);
        }
        Ok(())
    }
}

/// 57P01: what is on the server connection cannot be given to another one.
fn left_behind() -> PgError {
    PgError::fatal(SqlState::ADMIN_SHUTDOWN, "terminating connection: its tenant is paused, and may move")
        .detail("The session held what stays on a server connection: a cursor WITH HOLD, a temporary table, a session's lock, or PREPARE.")
        .hint("Connect again.")
}
