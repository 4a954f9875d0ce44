//! One session's side: the channels that it wants to hear.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio_postgres::Notification;

use super::inbox::Inbox;
use super::{Notifications, unheard};
use crate::base::PgError;

/// What one session hears. It is out of all channels when this is dropped.
#[derive(Debug)]
pub struct Listener {
    notifications: Arc<Notifications>,
    inbox: Arc<Inbox>,
}

impl Listener {
    pub(super) fn new(notifications: &Arc<Notifications>) -> Self {
        Self { notifications: Arc::clone(notifications), inbox: Arc::default() }
    }

    /// To hear a channel from then on.
    pub fn joining(&self, channel: &str) -> Joining {
        let (notifications, inbox) = (Arc::clone(&self.notifications), Arc::clone(&self.inbox));
        Joining { notifications, inbox, channel: channel.into() }
    }

    /// Hears a channel no more.
    pub fn leave(&self, channel: &str) {
        self.inbox.leaves(channel);
        self.leave_all(&[channel.into()]);
    }

    fn leave_all(&self, channels: &[Arc<str>]) {
        let mut state = self.notifications.state.lock();
        for name in channels {
            if let Some(channel) = state.channels.get_mut(name) {
                channel.inboxes.retain(|inbox| !Arc::ptr_eq(inbox, &self.inbox));
            }
        }
        drop(state);
        self.notifications.wake.notify_one();
    }

    /// What was heard next.
    ///
    /// # Errors
    /// FATAL: nothing more will be heard.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Result<Arc<Notification>, PgError>> {
        self.inbox.poll(cx)
    }

    /// Whether nothing more will be heard.
    pub fn is_over(&self, cx: &Context<'_>) -> bool {
        self.inbox.is_over(cx)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.leave_all(&self.inbox.leaves_all());
    }
}

/// A session that wants to hear a channel.
#[derive(Debug)]
pub struct Joining {
    notifications: Arc<Notifications>,
    inbox: Arc<Inbox>,
    /// The channel, as the server knows it.
    pub channel: Arc<str>,
}

impl Joining {
    /// Returns when the server listens.
    ///
    /// # Errors
    /// That could not be done.
    pub async fn joined(&self) -> Result<(), PgError> {
        self.inbox.joins(&self.channel);
        let confirmed = {
            let mut state = self.notifications.state.lock();
            let channel = state.channels.entry(Arc::clone(&self.channel)).or_default();
            if !channel.inboxes.iter().any(|known| Arc::ptr_eq(known, &self.inbox)) {
                channel.inboxes.push(Arc::clone(&self.inbox));
            }
            if channel.in_force {
                return Ok(());
            }
            let (tell, confirmed) = oneshot::channel();
            channel.waiting.push(tell);
            self.notifications.rouse(&mut state);
            confirmed
        };
        confirmed.await.unwrap_or_else(|_| Err(unheard()))
    }
}
