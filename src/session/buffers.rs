//! The memory that messages of clients wait in until they are whole.
//!
//! Each client has a little of it for itself. A longer message asks for all of its room before more of it is read, in the order of
//! asking: what is granted is enough to end, so that those who wait are served however much was asked for at once. A message
//! longer than all of the memory waits until it is alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Bytes that every client may send without asking.
pub const OWN: usize = 64 << 10;
/// Memory is counted in pieces of so many bytes.
const PIECE: usize = 1 << 10;
/// A message is there twice while it is made into what is sent.
const COPIES: usize = 2;
/// A message that others wait for has so long to come in, and longer by what it takes at [`PACE`].
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes a second.
const PACE: usize = 256 << 10;

/// All of it; shared by all sessions.
#[derive(Debug)]
pub struct Buffers {
    free: Arc<Semaphore>,
    pieces: u32,
    waiting: AtomicUsize,
}

/// Room for one message; free again when dropped.
#[derive(Debug)]
pub struct Grant {
    bytes: usize,
    /// When it ends for those who wait, if the message is not whole by then.
    pub until: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Grant {
    /// How long the message may be.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Somebody waits.
struct Waiting<'b>(&'b Buffers);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Buffers {
    /// So many bytes.
    pub fn new(bytes: usize) -> Arc<Self> {
        let pieces = u32::try_from((bytes / PIECE).max(1)).unwrap_or(u32::MAX).min(1 << 28);
        Arc::new(Self { free: Arc::new(Semaphore::new(pieces as usize)), pieces, waiting: AtomicUsize::new(0) })
    }

    /// Room for a message of this length, once there is.
    pub async fn grant(self: Arc<Self>, bytes: usize) -> Option<Grant> {
        let wanted = bytes.saturating_mul(COPIES).div_ceil(PIECE);
        let pieces = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.pieces);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let permit = {
            let _waiting = Waiting(&self);
            // Never closed.
            Arc::clone(&self.free).acquire_many_owned(pieces).await.ok()?
        };
        let time = PATIENCE + Duration::from_secs((bytes / PACE) as u64);
        Some(Grant { bytes, until: Instant::now() + time, _permit: permit })
    }

    /// Whether others wait for room.
    pub fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn room_is_granted_in_turn_and_the_longest_comes_through_alone() {
        let buffers = Buffers::new(1 << 20);
        let take = |bytes: usize| Arc::clone(&buffers).grant(bytes);
        let first = take(300 << 10).await.unwrap();
        assert_eq!(first.bytes(), 300 << 10);
        // Longer than all there is.
        let mut huge = Box::pin(take(64 << 20));
        assert!(huge.as_mut().now_or_never().is_none() && buffers.is_short());
        // Nobody goes before it.
        let mut small = Box::pin(take(1 << 10));
        assert!(small.as_mut().now_or_never().is_none());
        drop(first);
        let alone = huge.await.unwrap();
        assert!(small.as_mut().now_or_never().is_none());
        drop(alone);
        assert!(small.await.is_some() && !buffers.is_short());
    }

    #[tokio::test]
    async fn who_gives_up_waits_no_longer() {
        let buffers = Buffers::new(1 << 20);
        let held = Arc::clone(&buffers).grant(1 << 20).await.unwrap();
        let mut waits = Box::pin(Arc::clone(&buffers).grant(1 << 20));
        assert!(waits.as_mut().now_or_never().is_none() && buffers.is_short());
        drop(waits);
        assert!(!buffers.is_short());
        drop(held);
    }
}
