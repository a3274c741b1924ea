//! When a check runs: on the grid `start + n * interval`, which nothing ever shifts.
//!
//! Promises: pure; the next run is the first point of the grid after now, so a run that overran its interval skips the
//! points it covered, and an extra run between two points moves none of them; while a faster interval is asked for,
//! runs come at most that long after the last one began, and never later than the grid.
//! Leaves out: the clock, and waiting (`check::worker`).

use std::time::{Duration, Instant};

/// The grid of one service.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    interval: Duration,
}

impl Schedule {
    /// A grid whose first point is `start`. `interval` is above zero (`config::settings` sees to it).
    pub fn new(start: Instant, interval: Duration) -> Schedule {
        Schedule { start, interval }
    }

    /// The first run.
    pub fn first(&self) -> Instant {
        self.start
    }

    /// The first point of the grid after `now`, or, where `fast` is given, `fast` after `began` (the start of the last
    /// run) if that comes earlier. Never before `now`.
    pub fn next(&self, now: Instant, began: Instant, fast: Option<Duration>) -> Instant {
        let interval = self.interval.as_nanos().max(1);
        let into = now.saturating_duration_since(self.start).as_nanos() % interval;
        let grid = if now < self.start { self.start } else { now + nanos(interval - into) };
        fast.map_or(grid, |fast| grid.min((began + fast).max(now)))
    }
}

fn nanos(n: u128) -> Duration {
    Duration::from_nanos(u64::try_from(n).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds after the start, at an interval of a second.
    fn check(now: u64, began: u64, fast: Option<u64>, expected: u64) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let schedule = Schedule::new(start, Duration::from_secs(1));
        let found = schedule.next(at(now), at(began), fast.map(Duration::from_millis));
        assert_eq!(found, at(expected), "now {now}, began {began}, fast {fast:?}");
    }

    #[test]
    fn points_of_the_grid() {
        check(3, 0, None, 1000);
        check(1000, 1000, None, 2000);
        check(999, 0, None, 1000);
        // An overrun skips what it covered; a run between two points moves neither.
        check(3500, 1000, None, 4000);
        check(1300, 1290, None, 2000);
    }

    #[test]
    fn the_fast_interval_counts_from_the_last_start_and_yields_to_the_grid() {
        check(3, 0, Some(200), 200);
        check(950, 900, Some(200), 1000);
        check(700, 0, Some(200), 700);
        check(3, 0, Some(5000), 1000);
    }

    proptest::proptest! {
        #[test]
        fn always_on_the_grid_and_within_an_interval(interval in 1u64..10_000_000_000, now in 0u64..100_000_000_000_000) {
            let start = Instant::now();
            let now = start + Duration::from_nanos(now);
            let next = Schedule::new(start, Duration::from_nanos(interval)).next(now, now, None);
            proptest::prop_assert!(next > now && next - now <= Duration::from_nanos(interval));
            proptest::prop_assert_eq!((next - start).as_nanos() % u128::from(interval), 0);
        }
    }
}
