//! All look-ups take the same time, whether the answer is known already or not: whether somebody was asked for of late is not
//! to be read off a clock.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// So many of the last look-ups count.
const REMEMBERED: usize = 32;
/// Nobody is held up for longer, however slow the upstream is.
const LONGEST: Duration = Duration::from_millis(25);
/// Before the first look-up.
const FIRST: Duration = Duration::from_millis(2);

/// How long look-ups take.
pub(super) struct Pace(Mutex<Lately>);

struct Lately {
    times: [Duration; REMEMBERED],
    next: usize,
}

impl Pace {
    pub fn new() -> Self {
        let mut times = [Duration::ZERO; REMEMBERED];
        times[0] = FIRST;
        Self(Mutex::new(Lately { times, next: 0 }))
    }

    /// A look-up took so long.
    pub fn took(&self, time: Duration) {
        let mut lately = self.0.lock();
        let at = lately.next;
        if let Some(place) = lately.times.get_mut(at) {
            *place = time.min(LONGEST);
        }
        lately.next = (at + 1) % REMEMBERED;
    }

    /// What all look-ups take now.
    pub fn usual(&self) -> Duration {
        self.0.lock().times.iter().copied().max().unwrap_or(FIRST)
    }

    /// Waits until a look-up that began at `started` would usually have ended.
    pub async fn keep(&self, started: Instant) {
        tokio::time::sleep_until((started + self.usual()).into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_late_is_what_all_take() {
        let (pace, ms) = (Pace::new(), Duration::from_millis);
        assert_eq!(pace.usual(), FIRST);
        pace.took(ms(7));
        assert_eq!(pace.usual(), ms(7));
        (0..REMEMBERED - 1).for_each(|_| pace.took(ms(1)));
        assert_eq!(pace.usual(), ms(7));
        pace.took(ms(3));
        assert_eq!(pace.usual(), ms(3));
        pace.took(ms(9_000));
        assert_eq!(pace.usual(), LONGEST);
    }
}
