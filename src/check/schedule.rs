//! When a check runs: on the grid `start + n * interval`, which never shifts.
//!
//! Guarantees: pure. The next run is at the first point of the grid after now, so a run that
//! exceeds its interval skips the points that it covered, and an extra run between two points moves
//! none of them. With a faster interval, the next run is at most that long after the start of the
//! last one, and never later than the grid. The time limit of the first verdict follows from the
//! same rules.
//!
//! Out of scope: the clock, and waiting (`check::worker`).

use std::num::NonZero;
use std::time::{Duration, Instant};

use crate::config::settings::Service;

/// How long after its time-out a check may report before its thread counts as stuck.
pub const STUCK_GRACE: Duration = Duration::from_secs(1);
/// How long the result of a check that TERM, INT or HUP ended is held back. A service manager
/// signals the whole control group, checks and daemon alike, and that must not look like failing
/// services: if the daemon's own stop arrives within this time, the result is dropped.
pub const SERVICE_MANAGER_GRACE: Duration = Duration::from_millis(200);
/// The distance between the first runs of checks that are launched together, on one processor. As
/// the grid of each check begins with its first run, the distance stays; checks on one common grid
/// would compete for the processor at each point.
const START_SPACING: Duration = Duration::from_micros(1500);
/// The upper bound of delays, so that `Instant` arithmetic cannot overflow.
pub const MAX_DELAY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The delay of the first run of the `n`th of the checks that are launched together.
pub fn start_offset(n: usize, processors: NonZero<usize>) -> Duration {
    let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    START_SPACING / clamp(processors.get()) * clamp(n)
}

/// The longest time from the start of a service's first run to its first verdict, if all its runs
/// have the same outcome: each run takes as long as it may before it counts as stuck, and the next
/// one waits for the grid. With mixed outcomes there is no limit.
pub fn first_verdict(service: &Service) -> Duration {
    if service.disabled.is_some() {
        return Duration::ZERO;
    }
    let run = service.check_timeout.min(MAX_DELAY) + SERVICE_MANAGER_GRACE + STUCK_GRACE;
    let interval = service.check_interval.as_nanos().max(1);
    let grid = nanos((run.as_nanos() / interval).saturating_add(1).saturating_mul(interval));
    let next = service.check_fast_interval.map_or(grid, |fast| grid.min(fast.max(run)));
    let further_runs = service.check_rise.max(service.check_fail).get() - 1;
    next.saturating_mul(further_runs).saturating_add(run).min(MAX_DELAY)
}

/// The grid of one service.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    interval: Duration,
}

impl Schedule {
    /// Creates the grid that begins at `start`. `config::settings` guarantees that `interval` is
    /// not zero.
    pub fn new(start: Instant, interval: Duration) -> Schedule {
        Schedule { start, interval }
    }

    /// The first point of the grid after `now`; or, if it is earlier, `fast` after `began`, the
    /// start of the last run. Never before `now`.
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
    use crate::config::settings::OnDisabled;
    use crate::testing::sample;

    /// Compares the next run, in milliseconds after the start, at an interval of a second.
    fn check(now: u64, began: u64, fast: Option<u64>, expected: u64) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let schedule = Schedule::new(start, Duration::from_secs(1));
        let next = schedule.next(at(now), at(began), fast.map(Duration::from_millis));
        assert_eq!(next, at(expected), "now {now}, began {began}, fast {fast:?}");
    }

    #[test]
    fn runs_stay_on_the_grid() {
        check(3, 0, None, 1000);
        check(1000, 1000, None, 2000);
        check(999, 0, None, 1000);
        // A run that exceeds its interval skips points; an extra run between two points moves
        // neither.
        check(3500, 1000, None, 4000);
        check(1300, 1290, None, 2000);
    }

    #[test]
    fn the_fast_interval_counts_from_the_last_start_and_never_passes_the_grid() {
        check(3, 0, Some(200), 200);
        check(950, 900, Some(200), 1000);
        check(700, 0, Some(200), 700);
        check(3, 0, Some(5000), 1000);
    }

    /// Compares the limit in seconds. A run may last 1.2 s longer than its time-out.
    fn check_verdict(interval: f64, timeout: f64, runs: u32, fast: Option<f64>, expected: f64) {
        let seconds = Duration::from_secs_f64;
        for (rise, fail) in [(runs, 1), (1, runs), (runs, runs)] {
            let service = Service {
                check_interval: seconds(interval),
                check_timeout: seconds(timeout),
                check_rise: rise.try_into().unwrap(),
                check_fail: fail.try_into().unwrap(),
                check_fast_interval: fast.map(seconds),
                ..sample::service("a", "10.0.0.1/32")
            };
            assert_eq!(first_verdict(&service), seconds(expected), "{service:?}");
        }
    }

    #[test]
    fn the_first_verdict_is_due_after_the_longest_runs() {
        check_verdict(10.0, 2.0, 1, None, 3.2);
        check_verdict(10.0, 2.0, 2, None, 13.2);
        check_verdict(10.0, 2.0, 4, None, 33.2);
        // A run that exceeds its interval waits for the next point of the grid.
        check_verdict(10.0, 9.0, 3, None, 50.2);
        check_verdict(1.0, 30.0, 2, None, 63.2);
        check_verdict(10.0, 2.0, 3, Some(0.5), 9.6);
        check_verdict(10.0, 2.0, 3, Some(5.0), 13.2);
        check_verdict(10.0, 2.0, 3, Some(50.0), 23.2);
        check_verdict(1e9, 1e9, u32::MAX, None, MAX_DELAY.as_secs_f64());
        let disabled = Some(OnDisabled::Advertise);
        assert_eq!(first_verdict(&Service { disabled, ..sample::service("a", "10.0.0.1/32") }), Duration::ZERO);
    }

    #[test]
    fn first_runs_are_spread_over_the_processors() {
        let check = |n, processors: usize, expected| {
            assert_eq!(start_offset(n, processors.try_into().unwrap()), Duration::from_micros(expected));
        };
        check(0, 2, 0);
        check(1000, 1, 1_500_000);
        check(1000, 2, 750_000);
    }

    proptest::proptest! {
        /// Runs of any length with the same outcome, on the grid or faster.
        #[test]
        fn no_first_verdict_comes_after_its_limit(
            interval in 1u64..5000, timeout in 1u64..9000, runs in 1u32..6, fast: Option<u16>,
            lengths in proptest::collection::vec(0.0f64..=1.0, 6),
        ) {
            let ms = Duration::from_millis;
            let service = Service {
                check_interval: ms(interval),
                check_timeout: ms(timeout),
                check_rise: runs.try_into().unwrap(),
                check_fail: runs.try_into().unwrap(),
                check_fast_interval: fast.map(|fast| ms(u64::from(fast) + 1)),
                ..sample::service("a", "10.0.0.1/32")
            };
            let start = Instant::now();
            let schedule = Schedule::new(start, service.check_interval);
            let (mut next, mut ended) = (start, start);
            for length in &lengths[..runs as usize] {
                ended = next + (service.check_timeout + SERVICE_MANAGER_GRACE + STUCK_GRACE).mul_f64(*length);
                next = schedule.next(ended, next, service.check_fast_interval);
            }
            proptest::prop_assert!(ended - start <= first_verdict(&service));
        }

        #[test]
        fn the_next_run_is_on_the_grid_and_within_an_interval(interval in 1u64..10_000_000_000, now in 0u64..100_000_000_000_000) {
            let start = Instant::now();
            let now = start + Duration::from_nanos(now);
            let next = Schedule::new(start, Duration::from_nanos(interval)).next(now, now, None);
            proptest::prop_assert!(next > now && next - now <= Duration::from_nanos(interval));
            proptest::prop_assert_eq!((next - start).as_nanos() % u128::from(interval), 0);
        }
    }
}
