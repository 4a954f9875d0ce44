//! What both sockets have taken and given.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use super::sockets::{Gone, read_some, write_out};
use super::{Event, Relay, Source};

impl<S: Source> Relay<S> {
    /// Waits until a socket has taken or given bytes, or the process wants something of its sessions.
    pub(super) fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut progress = false;
        for step in [Self::poll_send_server, Self::poll_send_client, Self::poll_read_server, Self::poll_read_client] {
            match step(self, cx) {
                Ok(moved) => progress |= moved,
                Err(event) => return Poll::Ready(event),
            }
        }
        if progress {
            return Poll::Ready(Event::Progress);
        }
        if self.session.poll_notifications(cx) {
            return Poll::Ready(Event::Progress);
        }
        if self.poll_room(cx) {
            return Poll::Ready(Event::Progress);
        }
        if self.cancelling.as_mut().is_some_and(|cancelling| Pin::new(cancelling).poll(cx).is_ready()) {
            self.cancelling = None;
            return Poll::Ready(Event::Progress);
        }
        if self.alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Event::Alarm);
        }
        let order = self.handle.poll_order(self.heard, cx).map(Event::Bell);
        // Looked at behind the bell: who changes them rings it.
        if order.is_pending() && self.gates_are_new() { Poll::Ready(Event::Progress) } else { order }
    }

    /// Whether the last byte for the server went out and nothing is to come back: it may be released now.
    fn poll_send_server(&mut self, cx: &mut Context<'_>) -> Result<bool, Event> {
        let Some(server) = self.server.as_mut() else { return Ok(false) };
        let lost = |error: io::Error| Event::ServerLost(error.to_string());
        let socket = S::socket(server);
        if !self.session.server.out.is_empty() {
            write_out(socket, &mut self.session.server.out, cx).map_err(lost)?;
            self.server_unflushed = true;
        }
        if !self.server_unflushed || Pin::new(socket).poll_flush(cx).map_err(lost)?.is_pending() {
            return Ok(false);
        }
        self.server_unflushed = false;
        Ok(self.session.server.out.is_empty() && self.session.between_transactions())
    }

    fn poll_send_client(&mut self, cx: &mut Context<'_>) -> Result<bool, Event> {
        let gone = |error: io::Error| Event::ClientGone(Some(error));
        if !self.session.client.out.is_empty() {
            write_out(&mut self.client, &mut self.session.client.out, cx).map_err(gone)?;
            self.unflushed = true;
        }
        if self.unflushed && Pin::new(&mut self.client).poll_flush(cx).map_err(gone)?.is_ready() {
            self.unflushed = false;
        }
        Ok(false)
    }

    fn poll_read_server(&mut self, cx: &mut Context<'_>) -> Result<bool, Event> {
        let Some(server) = self.server.as_mut().filter(|_| self.session.wants_server()) else { return Ok(false) };
        let session = &mut self.session;
        let outcome = read_some(S::socket(server), &mut self.awaits_server, cx, |bytes| session.server_bytes(bytes));
        match outcome {
            Ok(None) => Ok(false),
            Ok(Some(Ok(()))) => Ok(true),
            Ok(Some(Err(broken))) => Err(Event::ServerLost(broken.to_string())),
            Err(Gone::Eof) => Err(Event::ServerLost("closed by the server".to_owned())),
            Err(Gone::Error(error)) => Err(Event::ServerLost(error.to_string())),
        }
    }

    fn poll_read_client(&mut self, cx: &mut Context<'_>) -> Result<bool, Event> {
        if !self.session.wants_client() {
            return Ok(false);
        }
        let session = &mut self.session;
        match read_some(&mut self.client, &mut self.awaits_client, cx, |bytes| session.client_bytes(bytes)) {
            Ok(moved) => Ok(moved.is_some()),
            Err(Gone::Eof) => Err(Event::ClientGone(None)),
            Err(Gone::Error(error)) => Err(Event::ClientGone(Some(error))),
        }
    }
}
