//! What a session waits for besides its sockets: a server connection, a limit, a long text that is read elsewhere.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::Instant;

use super::sockets::{listen, listening};
use super::{End, Relay, Source};
use crate::base::{PgError, SqlState};
use crate::control::Joining;
use crate::limits::Allowance;
use crate::session::protocol::{Asking, Backend, PlanRequest, Wait};
use crate::session::registry::{Order, SessionHandle};

impl<S: Source> Relay<S> {
    /// Gets what the session waits for besides its sockets, while the client is still listened to: it may go away, or be told
    /// what stands before.
    pub(super) async fn provide(&mut self, wait: Wait) -> Result<(), End> {
        match wait {
            Wait::Server => self.acquire().await,
            // Boxed: they are rare, and a session has room for its futures all its life.
            Wait::Refresh(backend) => Box::pin(self.refresh(backend)).await,
            Wait::Look(backend) => Box::pin(self.look(backend)).await,
            Wait::Rows(asking) => Box::pin(self.ask(*asking)).await,
            Wait::Read(reading) => Box::pin(self.read(*reading)).await,
            Wait::Turn(at) => Box::pin(self.wait_for_turn(at)).await,
            Wait::Permit(allowance) => Box::pin(self.wait_for_permit(allowance)).await,
            Wait::Listen(joining) => Box::pin(self.join(*joining)).await,
            Wait::Input | Wait::Replies | Wait::Elsewhere | Wait::Gate | Wait::Closed => Ok(()),
        }
    }

    /// Gets a server connection. A new transaction: the moment to look whether the session may have it.
    async fn acquire(&mut self) -> Result<(), End> {
        if self.heard_check()
            && let Some(end) = Box::pin(self.recheck()).await
        {
            return Err(end);
        }
        if let Some((server, link)) = self.source.try_checkout(self.session.backend(), &self.session.party()) {
            self.session.attach(link);
            self.acquired(server);
            return Ok(());
        }
        Box::pin(self.acquire_patiently()).await
    }

    /// The session has a server connection.
    pub(super) fn acquired(&mut self, server: S::Server) {
        self.server = Some(server);
        self.served = true;
        self.awaits_server = false;
    }

    async fn acquire_patiently(&mut self) -> Result<(), End> {
        let got = {
            let Self { client, awaits_client, session, source, unflushed, handle, heard, .. } = self;
            let mut checkout = pin!(source.checkout(Arc::clone(session.backend()), session.party()));
            poll_fn(|cx| {
                if let Poll::Ready(got) = checkout.as_mut().poll(cx) {
                    return Poll::Ready(Ok(Some(got)));
                }
                if let Poll::Ready(order) = handle.poll_order(*heard, cx) {
                    *heard = order;
                    if order == Order::Now {
                        let error = SessionHandle::farewell();
                        session.fail(&error);
                        return Poll::Ready(Err(End::Told(error.message.to_string())));
                    }
                }
                if session.has_new_gates() {
                    return Poll::Ready(Ok(None));
                }
                match listen(client, awaits_client, unflushed, session, cx) {
                    Some(end) => Poll::Ready(Err(end)),
                    None => Poll::Pending,
                }
            })
            .await
        };
        match got {
            Ok(Some(Ok((server, link)))) => {
                self.session.attach(link);
                self.acquired(server);
            }
            Ok(Some(Err(error))) => self.session.deny(error),
            // It is asked for again when the gates have been dealt with.
            Ok(None) => self.handle.note_idle(),
            Err(end) => return Err(end),
        }
        Ok(())
    }

    async fn refresh(&mut self, backend: Arc<Backend>) -> Result<(), End> {
        backend.catalog.refresh().await;
        self.session.refreshed();
        Ok(())
    }

    async fn look(&mut self, backend: Arc<Backend>) -> Result<(), End> {
        let Self { client, awaits_client, session, unflushed, .. } = self;
        let outcome = listening(client, awaits_client, unflushed, session, backend.catalog.look()).await?;
        self.session.looked(outcome);
        Ok(())
    }

    /// Asks whose rows are touched.
    async fn ask(&mut self, asking: Asking) -> Result<(), End> {
        let Self { client, awaits_client, session, unflushed, .. } = self;
        let answers = listening(client, awaits_client, unflushed, session, asking.answers()).await?;
        self.session.answered(&answers);
        Ok(())
    }

    /// Waits until a long text is planned.
    async fn read(&mut self, reading: PlanRequest) -> Result<(), End> {
        let planners = self.session.planners();
        let Self { client, awaits_client, session, unflushed, .. } = self;
        match listening(client, awaits_client, unflushed, session, planners.read(reading)).await? {
            Some(read) => {
                self.session.have_read(read);
                Ok(())
            }
            None => {
                let error = PgError::fatal(SqlState::INTERNAL_ERROR, "the statement could not be read");
                Err(self.told(&error))
            }
        }
    }

    /// Waits for the turn of a statement. A cancel request ends that, as it does for those that follow.
    async fn wait_for_turn(&mut self, at: Instant) -> Result<(), End> {
        let Self { client, awaits_client, session, source, unflushed, handle, .. } = self;
        let (gates, seen, rests) = (Arc::clone(handle.gates()), session.gates_seen(), session.between_transactions());
        let turn = async {
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = gates.changed_since(seen), if rests => {}
            }
            Ok(())
        };
        if let Err(error) = listening(client, awaits_client, unflushed, session, source.wait(turn)).await? {
            self.session.deny(error);
        }
        Ok(())
    }

    async fn wait_for_permit(&mut self, allowance: Arc<Allowance>) -> Result<(), End> {
        let Self { client, awaits_client, session, source, unflushed, handle, .. } = self;
        let (gates, seen) = (Arc::clone(handle.gates()), session.gates_seen());
        let permit = async {
            tokio::select! {
                permit = allowance.permit() => permit.map(Some),
                // Those behind a gate must be out of the way before it opens.
                () = gates.changed_since(seen) => Ok(None),
            }
        };
        match listening(client, awaits_client, unflushed, session, source.wait(permit)).await? {
            Ok(Some(permit)) => self.session.permitted(permit),
            Ok(None) => {}
            Err(error) => self.session.deny(error),
        }
        Ok(())
    }

    /// Waits until a channel is heard.
    async fn join(&mut self, joining: Joining) -> Result<(), End> {
        let Self { client, awaits_client, session, source, unflushed, .. } = self;
        match listening(client, awaits_client, unflushed, session, source.wait(joining.joined())).await? {
            Ok(()) => self.session.hears(&joining.channel),
            Err(error) => self.session.deny(error),
        }
        Ok(())
    }
}
