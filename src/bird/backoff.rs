//! When to attempt something: at once after a change, coalesced after a success, with a growing
//! delay after failures.
//!
//! Guarantees: pure; after a quiet time the first change is applied at once; changes within
//! [`COALESCE_WINDOW`] of a success are applied together at its end; a failure is retried after 0.1
//! s, doubling up to 10 s, and at once when something changes.
//!
//! Out of scope: the clock, and what is attempted (`bird::writer`).

use std::time::{Duration, Instant};

/// How long changes are coalesced after a success, as each reconfigure makes BIRD walk its whole
/// table.
pub const COALESCE_WINDOW: Duration = Duration::from_millis(42);

const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);

/// The retry schedule of one operation.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The end of the window after the last success. No attempt starts before it.
    coalesce_until: Option<Instant>,
    /// The next retry after a failure. A change cancels the wait for it.
    retry_at: Option<Instant>,
    /// The delay of the next retry.
    delay: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { coalesce_until: None, retry_at: None, delay: MIN_RETRY_DELAY }
    }
}

impl Backoff {
    /// Records a success.
    pub fn succeeded(&mut self, now: Instant) {
        *self = Backoff { coalesce_until: Some(now + COALESCE_WINDOW), ..Backoff::default() };
    }

    /// Records a failure.
    pub fn failed(&mut self, now: Instant) {
        self.retry_at = Some(now + self.delay);
        self.delay = MAX_RETRY_DELAY.min(self.delay * 2);
    }

    /// Cancels the wait for the next retry, because there is something new to do.
    pub fn changed(&mut self) {
        self.retry_at = None;
    }

    /// Cancels every wait, for the last attempt before the daemon stops.
    pub fn skip(&mut self) {
        (self.coalesce_until, self.retry_at) = (None, None);
    }

    /// Earliest time for an attempt if there is something new to do. None means at once.
    pub fn earliest_after_change(&self) -> Option<Instant> {
        self.coalesce_until
    }

    /// Earliest time for an attempt. None means at once.
    pub fn earliest(&self) -> Option<Instant> {
        self.coalesce_until.max(self.retry_at)
    }

    /// Whether an attempt may start now.
    pub fn is_ready(&self, now: Instant) -> bool {
        self.earliest().is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_change_is_applied_at_once_and_the_next_ones_are_coalesced() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        assert!(backoff.is_ready(start));
        backoff.succeeded(start);
        backoff.changed();
        assert_eq!(backoff.earliest(), Some(start + COALESCE_WINDOW));
        assert!(
            !backoff.is_ready(start + COALESCE_WINDOW - Duration::from_millis(1))
                && backoff.is_ready(start + COALESCE_WINDOW)
        );
    }

    #[test]
    fn failures_double_the_delay_up_to_ten_seconds_and_a_success_resets_it() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        let mut delays = Vec::new();
        for _ in 0..9 {
            backoff.failed(start);
            delays.push(backoff.earliest().map(|at| (at - start).as_millis()));
        }
        let expected = [100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000];
        assert_eq!(delays, expected.map(Some));
        backoff.succeeded(start);
        backoff.failed(start + COALESCE_WINDOW);
        assert_eq!(backoff.earliest(), Some(start + COALESCE_WINDOW + MIN_RETRY_DELAY));
    }

    #[test]
    fn a_change_cancels_the_wait_for_a_retry_and_a_skip_cancels_every_wait() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        backoff.failed(start);
        assert!(!backoff.is_ready(start));
        backoff.changed();
        assert!(backoff.is_ready(start));
        backoff.succeeded(start);
        backoff.failed(start);
        backoff.changed();
        assert!(!backoff.is_ready(start));
        backoff.skip();
        assert!(backoff.is_ready(start));
    }
}
