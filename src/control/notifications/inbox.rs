//! What was heard for one session and waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio_postgres::Notification;

use crate::base::{PgError, SqlState};

/// Bytes of notifications that wait for one session, at most.
const MAX_WAITING: usize = 4 << 20;
/// When so many wait for all sessions of the process, the most for one is this.
const ALL_WAITING: usize = 128 << 20;
const OWN: usize = 64 << 10;
/// What a notification costs besides its payload.
const OVERHEAD: usize = 64;

/// What waits for all sessions.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// How much may wait for one session when so much waits for all.
fn room(all: usize) -> usize {
    if all < ALL_WAITING { MAX_WAITING } else { OWN }
}

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
        if waiting.over.is_some() {
            return;
        }
        let bytes = cost(notification);
        if waiting.bytes + bytes > room(WAITING.load(Ordering::Relaxed)) {
            drop(waiting);
            return self.end(Over::Full);
        }
        waiting.bytes += bytes;
        WAITING.fetch_add(bytes, Ordering::Relaxed);
        waiting.queue.push_back(Arc::clone(notification));
        drop(waiting);
        self.bell.wake();
    }

    /// Nothing more comes.
    pub(super) fn end(&self, why: Over) {
        let mut waiting = self.state.lock();
        waiting.over.get_or_insert(why);
        waiting.queue = VecDeque::new();
        WAITING.fetch_sub(std::mem::take(&mut waiting.bytes), Ordering::Relaxed);
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
                waiting.bytes -= cost(&next);
                WAITING.fetch_sub(cost(&next), Ordering::Relaxed);
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

impl Drop for Inbox {
    fn drop(&mut self) {
        WAITING.fetch_sub(self.state.get_mut().bytes, Ordering::Relaxed);
    }
}

fn cost(notification: &Notification) -> usize {
    notification.payload().len() + OVERHEAD
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
                "At most {} MB of them may wait while it reads nothing or is in a transaction, {} kB when {} MB wait for all.",
                MAX_WAITING >> 20,
                OWN >> 10,
                ALL_WAITING >> 20
            ))
            .hint(again),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_much_waits_for_all_little_may_wait_for_one() {
        assert_eq!((room(0), room(ALL_WAITING - 1)), (MAX_WAITING, MAX_WAITING));
        assert_eq!(room(ALL_WAITING), OWN);
        let inbox = Inbox::default();
        inbox.joins(&"a".into());
        inbox.joins(&"a".into());
        inbox.joins(&"b".into());
        inbox.leaves("b");
        assert_eq!(inbox.leaves_all(), [Arc::from("a")]);
        let cx = Context::from_waker(std::task::Waker::noop());
        assert!(inbox.poll(&cx).is_pending() && !inbox.is_over(&cx));
        inbox.end(Over::Full);
        inbox.end(Over::Lost);
        assert!(inbox.is_over(&cx));
        let Poll::Ready(Err(error)) = inbox.poll(&cx) else { panic!("it is over") };
        assert_eq!(error.code, SqlState::PROGRAM_LIMIT_EXCEEDED);
    }
}
