//! When a check runs: on the grid `start + n * interval`, which nothing ever shifts.
//!
//! Promises: pure; the next run is the first point of the grid after now, so a run that overran its interval skips the
//! points it covered, and an extra run between two points moves none of them; while a faster interval is asked for,
//! runs come at most that long after the last one began, and never later than the grid. How long a service may take for
//! its first verdict follows from the same.
//! Leaves out: the clock, and waiting (`check::worker`).

use std::num::NonZero;
use std::time::{Duration, Instant};

use crate::config::settings::Service;

/// How much later than its time-out a check may report before its thread counts as stuck.
pub const STUCK_GRACE: Duration = Duration::from_secs(1);
/// How long a check that TERM, INT or HUP ended waits for the daemon's own stop before it counts: a supervisor signals
/// the whole control group, and that must not look like failing services.
pub const SUPERVISOR_GRACE: Duration = Duration::from_millis(200);
/// How much time of one processor a check gets to itself when many start at the same moment. As the grid of each begins
/// with its first run, they never meet again; all at once they would take turns and all be late, every time.
const TURN: Duration = Duration::from_micros(1500);
/// The longest time there is: what the clock can be set forward by without running over.
pub const MAX_DELAY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long the first run of the `n`th of the services that start at the same moment waits for its turn.
pub fn start_offset(n: usize, processors: NonZero<usize>) -> Duration {
    let of = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    TURN / of(processors.get()) * of(n)
}

/// When a service has its first verdict at the latest, after the start of its first run, where all its runs come to the
/// same: each may last as long as it can before it counts as stuck, and the next waits for the grid. Where they do not
/// come to the same there is no such time.
pub fn first_verdict(service: &Service) -> Duration {
    if service.disabled.is_some() {
        return Duration::ZERO;
    }
    let run = service.check_timeout.min(MAX_DELAY) + SUPERVISOR_GRACE + STUCK_GRACE;
    let interval = service.check_interval.as_nanos().max(1);
    let grid = nanos((run.as_nanos() / interval).saturating_add(1).saturating_mul(interval));
    let next = service.check_fast_interval.map_or(grid, |fast| grid.min(fast.max(run)));
    let more = service.check_rise.max(service.check_fail).get() - 1;
    next.saturating_mul(more).saturating_add(run).min(MAX_DELAY)
}

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
    use crate::config::settings::OnDisabled;
    use crate::testing::sample;

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

    /// Seconds; a run may last 1.2 s longer than its time-out.
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
    fn the_first_verdict() {
        check_verdict(10.0, 2.0, 1, None, 3.2);
        check_verdict(10.0, 2.0, 2, None, 13.2);
        check_verdict(10.0, 2.0, 4, None, 33.2);
        // A run that ends behind its interval waits for the next point of the grid.
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
    fn turns() {
        let check = |n, processors: usize, expected| {
            assert_eq!(start_offset(n, processors.try_into().unwrap()), Duration::from_micros(expected));
        };
        check(0, 2, 0);
        check(1000, 1, 1_500_000);
        check(1000, 2, 750_000);
    }

    proptest::proptest! {
        /// Runs of any length that all come to the same, on the grid or faster.
        #[test]
        fn no_verdict_is_later(
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
                ended = next + (service.check_timeout + SUPERVISOR_GRACE + STUCK_GRACE).mul_f64(*length);
                next = schedule.next(ended, next, service.check_fast_interval);
            }
            proptest::prop_assert!(ended - start <= first_verdict(&service));
        }

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
