//! What was heard for one session and waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio_postgres::Notification;

use crate::base::{PgError, SqlState};

/// Bytes of notifications that wait for one session, at most.
const MAX_WAITING: usize = 4 << 20;
/// What a notification costs besides its payload.
const OVERHEAD: usize = 64;

/// What was heard for one session.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<Waiting>,
    bell: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<Arc<Notification>>,
    bytes: usize,
    over: Option<Over>,
    /// Channels that it was put into.
    channels: Vec<Arc<str>>,
}

/// Why a session hears nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Lost,
    Full,
}

impl Inbox {
    /// It is in this channel from now on.
    pub(super) fn joins(&self, channel: &Arc<str>) {
        let channels = &mut self.state.lock().channels;
        if !channels.contains(channel) {
            channels.push(Arc::clone(channel));
        }
    }

    /// It is in this channel no more.
    pub(super) fn leaves(&self, channel: &str) {
        self.state.lock().channels.retain(|known| **known != *channel);
    }

    /// It is in no channel any more: those that it was in.
    pub(super) fn leaves_all(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.state.lock().channels)
    }

    /// Puts a notification behind the others.
    pub(super) fn put(&self, notification: &Arc<Notification>) {
        let mut waiting = self.state.lock();
        let bytes = waiting.bytes + notification.payload().len() + OVERHEAD;
        if waiting.over.is_some() {
            return;
        }
        if bytes > MAX_WAITING {
            drop(waiting);
            return self.end(Over::Full);
        }
        waiting.bytes = bytes;
        waiting.queue.push_back(Arc::clone(notification));
        drop(waiting);
        self.bell.wake();
    }

    /// Nothing more comes.
    pub(super) fn end(&self, why: Over) {
        let mut waiting = self.state.lock();
        waiting.over.get_or_insert(why);
        waiting.queue = VecDeque::new();
        waiting.bytes = 0;
        drop(waiting);
        self.bell.wake();
    }

    /// What comes next.
    ///
    /// # Errors
    /// FATAL: nothing more will come.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Result<Arc<Notification>, PgError>> {
        self.bell.register(cx.waker());
        let mut waiting = self.state.lock();
        if let Some(over) = waiting.over {
            return Poll::Ready(Err(farewell(over)));
        }
        match waiting.queue.pop_front() {
            Some(next) => {
                waiting.bytes -= next.payload().len() + OVERHEAD;
                Poll::Ready(Ok(next))
            }
            None => Poll::Pending,
        }
    }

    /// Whether nothing more will come; the task is woken when that is so.
    pub(super) fn is_over(&self, cx: &Context<'_>) -> bool {
        self.bell.register(cx.waker());
        self.state.lock().over.is_some()
    }
}

fn farewell(over: Over) -> PgError {
    let again = "Connect and LISTEN again, then look for what may have been missed.";
    match over {
        Over::Lost => {
            let message = "the connection on which the server's notifications are heard was lost";
            PgError::fatal(SqlState::CONNECTION_FAILURE, message).hint(again)
        }
        Over::Full => PgError::fatal(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many notifications wait for this client")
            .detail(format!(
                "At most {} MB of them may wait while it reads nothing or is in a transaction.",
                MAX_WAITING >> 20
            ))
            .hint(again),
    }
}
