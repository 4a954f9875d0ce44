//! A run that is to stop: nothing more is begun, and what is under way is undone.

use std::time::Duration;

use tokio::sync::watch;

use crate::lifecycle::error::LifecycleError;

/// Whether it is to stop.
#[derive(Clone, Debug)]
pub struct Stop(Option<watch::Receiver<bool>>);

impl Stop {
    /// When the value becomes true.
    pub fn when(receiver: watch::Receiver<bool>) -> Self {
        Self(Some(receiver))
    }

    /// Never.
    pub fn never() -> Self {
        Self(None)
    }

    /// It is to stop now.
    pub fn is_raised(&self) -> bool {
        self.0.as_ref().is_some_and(|receiver| *receiver.borrow())
    }

    /// Waits until it is to stop.
    pub async fn raised(&self) {
        if let Some(receiver) = &self.0
            && receiver.clone().wait_for(|raised| *raised).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Waits so long.
    ///
    /// # Errors
    /// It is to stop.
    pub async fn pause(&self, time: Duration) -> Result<(), LifecycleError> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.raised() => Err(LifecycleError::Interrupted),
        }
    }
}
