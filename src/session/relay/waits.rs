//! What a session waits for besides its sockets: a server connection, a limit, a long text that is read elsewhere.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::sockets::{listen, listening};
use super::{End, Relay, Source};
use crate::base::{PgError, SqlState};
use crate::limits::Permit;
use crate::session::directory::{Order, Seat};
use crate::session::machine::{Link, Pending};

impl<S: Source> Relay<S> {
    /// Gets a server connection while the client is still listened to: it may go away, or be told what stands before.
    pub(super) async fn acquire(&mut self) -> Option<End> {
        if let Some((server, link)) = self.source.try_checkout(self.machine.place(), &self.machine.party()) {
            self.acquired(server, link);
            return None;
        }
        // Boxed: it is rare, and a session has room for its futures all its life.
        Box::pin(self.acquire_patiently()).await
    }

    fn acquired(&mut self, server: S::Server, link: Link) {
        self.server = Some(server);
        self.served = true;
        self.awaits_server = false;
        self.machine.attach(link);
    }

    async fn acquire_patiently(&mut self) -> Option<End> {
        let got = {
            let Self { client, awaits_client, machine, source, unflushed, seat, heard, .. } = self;
            let mut checkout = pin!(source.checkout(Arc::clone(machine.place()), machine.party()));
            poll_fn(|cx| {
                if let Poll::Ready(got) = checkout.as_mut().poll(cx) {
                    return Poll::Ready(Ok(got));
                }
                if let Poll::Ready(order) = seat.poll_order(*heard, cx) {
                    *heard = order;
                    if order == Order::Now {
                        let error = Seat::farewell();
                        machine.fail(&error);
                        return Poll::Ready(Err(End::Told(error.message.to_string())));
                    }
                }
                match listen(client, awaits_client, unflushed, machine, cx) {
                    Some(end) => Poll::Ready(Err(end)),
                    None => Poll::Pending,
                }
            })
            .await
        };
        match got {
            Ok(Ok((server, link))) => self.acquired(server, link),
            Ok(Err(error)) => self.machine.deny(error),
            Err(end) => return Some(end),
        }
        None
    }

    /// Waits for what a limit asks for, while the client is still listened to.
    pub(super) async fn wait_for_limit(&mut self) -> Option<End> {
        let pending = self.machine.pending()?;
        let Self { client, awaits_client, machine, source, unflushed, .. } = self;
        match listening(client, awaits_client, unflushed, machine, source.wait(grant(pending))).await {
            Ok(Ok(permit)) => permit.into_iter().for_each(|permit| self.machine.permitted(permit)),
            Ok(Err(error)) => self.machine.deny(error),
            Err(end) => return Some(end),
        }
        None
    }

    /// Waits until the database was looked at, while the client is still listened to.
    pub(super) async fn look(&mut self) -> Option<End> {
        let place = Arc::clone(self.machine.asking());
        let Self { client, awaits_client, machine, unflushed, .. } = self;
        match listening(client, awaits_client, unflushed, machine, place.catalog.look()).await {
            Ok(outcome) => self.machine.looked(outcome),
            Err(end) => return Some(end),
        }
        None
    }

    /// Waits until a long text is planned, while the client is still listened to.
    pub(super) async fn read_ahead(&mut self) -> Option<End> {
        let (reading, readers) = self.machine.to_read()?;
        let Self { client, awaits_client, machine, unflushed, .. } = self;
        match listening(client, awaits_client, unflushed, machine, readers.read(reading)).await {
            Ok(Some(read)) => self.machine.have_read(read),
            Ok(None) => {
                let error = PgError::fatal(SqlState::INTERNAL_ERROR, "the statement could not be read");
                return Some(self.told(&error));
            }
            Err(end) => return Some(end),
        }
        None
    }
}

/// Waits for a turn or a place.
async fn grant(pending: Pending) -> Result<Option<Permit>, PgError> {
    match pending {
        Pending::Turn(at) => {
            tokio::time::sleep_until(at).await;
            Ok(None)
        }
        Pending::Permit(allowance) => allowance.permit().await.map(Some),
    }
}
