//! When something may be tried: at once after news, gathered after a success, ever more slowly after failures.
//!
//! Promises: pure; the first change of a quiet time goes out at once; changes that follow within [`COALESCE_WINDOW`] of a
//! success wait for its end and go out together; a failure is tried again after 0.1 s, doubling to 10 s, and at once
//! when there is news.
//! Leaves out: the clock, and what is tried (`bird::writer`).

use std::time::{Duration, Instant};

/// Each reconfigure makes BIRD walk and announce its whole table again, so changes are gathered for this long after one.
pub const COALESCE_WINDOW: Duration = Duration::from_millis(42);

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// The pace of one thing that is tried until it succeeds.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Not before this, whatever happens.
    gathering: Option<Instant>,
    /// Not before this, unless there is news.
    retry: Option<Instant>,
    wait: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { gathering: None, retry: None, wait: FIRST_RETRY }
    }
}

impl Backoff {
    /// It succeeded.
    pub fn succeeded(&mut self, now: Instant) {
        *self = Backoff { gathering: Some(now + COALESCE_WINDOW), ..Backoff::default() };
    }

    /// It failed.
    pub fn failed(&mut self, now: Instant) {
        self.retry = Some(now + self.wait);
        self.wait = LAST_RETRY.min(self.wait * 2);
    }

    /// There is something new to do: no reason to wait for the next retry.
    pub fn changed(&mut self) {
        self.retry = None;
    }

    /// This is the last chance: nothing more is gathered or waited for.
    pub fn skip(&mut self) {
        (self.gathering, self.retry) = (None, None);
    }

    /// The same where there is something new to do, which waits for no retry.
    pub fn earliest_after_change(&self) -> Option<Instant> {
        self.gathering
    }

    /// From when on it may be tried; none: at once.
    pub fn earliest(&self) -> Option<Instant> {
        self.gathering.max(self.retry)
    }

    /// Whether it may be tried now.
    pub fn is_ready(&self, now: Instant) -> bool {
        self.earliest().is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_change_goes_out_at_once_and_the_next_are_gathered() {
        let start = Instant::now();
        let mut pace = Backoff::default();
        assert!(pace.is_ready(start));
        pace.succeeded(start);
        pace.changed();
        assert_eq!(pace.earliest(), Some(start + COALESCE_WINDOW));
        assert!(
            !pace.is_ready(start + COALESCE_WINDOW - Duration::from_millis(1))
                && pace.is_ready(start + COALESCE_WINDOW)
        );
    }

    #[test]
    fn failures_double_the_wait_up_to_ten_seconds_and_a_success_forgets_them() {
        let start = Instant::now();
        let mut pace = Backoff::default();
        let mut waits = Vec::new();
        for _ in 0..9 {
            pace.failed(start);
            waits.push(pace.earliest().map(|at| (at - start).as_millis()));
        }
        let expected = [100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000];
        assert_eq!(waits, expected.map(Some));
        pace.succeeded(start);
        pace.failed(start + COALESCE_WINDOW);
        assert_eq!(pace.earliest(), Some(start + COALESCE_WINDOW + FIRST_RETRY));
    }

    #[test]
    fn news_end_the_wait_for_a_retry_and_the_last_chance_every_wait() {
        let start = Instant::now();
        let mut pace = Backoff::default();
        pace.failed(start);
        assert!(!pace.is_ready(start));
        pace.changed();
        assert!(pace.is_ready(start));
        pace.succeeded(start);
        pace.failed(start);
        pace.changed();
        assert!(!pace.is_ready(start));
        pace.skip();
        assert!(pace.is_ready(start));
    }
}
