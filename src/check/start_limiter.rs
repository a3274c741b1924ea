//! Limits how many checks are started at the same time.
//!
//! On an overloaded host, checks must run late rather than time out. If all of them were started at
//! once, each would get so little of the processors that it exceeds its time-out, and healthy
//! services would go down. So only a few programs are being started at any time, and the processors
//! stay free for those that run. `check_timeout` begins with the start of the program, so waiting
//! for a permit does not count.
//!
//! Guarantees: no check waits while fewer than the limit are being started. A start that hangs, for
//! example on a dead file system, holds a permit for at most a quarter of a second.
//!
//! Out of scope: the number of running checks, which is not limited: most of them wait for the
//! network and cost nothing.

use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a start holds its permit. A normal one takes a millisecond.
const MAX_START_DURATION: Duration = Duration::from_millis(250);
/// Concurrent starts per processor. More than one, as a start may wait for the disk.
const STARTS_PER_PROCESSOR: usize = 2;

/// The number of processors that this program may use. 1 if it is unknown.
pub fn processors() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// Hands out permits to start a check.
pub struct StartLimiter {
    limit: usize,
    permits: Mutex<Permits>,
    released: Condvar,
}

#[derive(Default)]
struct Permits {
    /// The id of each permit in use, and when it was acquired.
    in_use: Vec<(u64, Instant)>,
    next_id: u64,
}

/// Permits one check to start. Released when it is dropped.
pub struct StartPermit {
    start_limiter: Arc<StartLimiter>,
    id: u64,
}

impl StartLimiter {
    /// Creates a limiter for the number of processors.
    pub fn new() -> Arc<StartLimiter> {
        StartLimiter::with_limit(STARTS_PER_PROCESSOR * processors().get())
    }

    fn with_limit(limit: usize) -> Arc<StartLimiter> {
        Arc::new(StartLimiter { limit, permits: Mutex::default(), released: Condvar::new() })
    }

    /// Waits for a permit.
    pub fn acquire(self: &Arc<Self>) -> StartPermit {
        let mut permits = self.lock();
        loop {
            let now = Instant::now();
            permits.in_use.retain(|(_, since)| now < *since + MAX_START_DURATION);
            if permits.in_use.len() < self.limit {
                let id = permits.next_id;
                permits.next_id += 1;
                permits.in_use.push((id, now));
                return StartPermit { start_limiter: self.clone(), id };
            }
            // The time-out is for the case that all permits are held by starts that hang.
            permits = self.released.wait_timeout(permits, MAX_START_DURATION).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Permits> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StartPermit {
    fn drop(&mut self) {
        self.start_limiter.lock().in_use.retain(|(id, _)| *id != self.id);
        self.start_limiter.released.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc::{channel, TryRecvError};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_permit_above_the_limit_is_granted_when_another_is_released() {
        for _ in 0..100 {
            let start_limiter = StartLimiter::with_limit(2);
            let (first, _second) = (start_limiter.acquire(), start_limiter.acquire());
            let (sender, acquired) = channel();
            std::thread::scope(|scope| {
                scope.spawn(|| sender.send(start_limiter.acquire()));
                // Either it still waits, or the machine was so slow that the other permits have
                // expired.
                let result = acquired.try_recv();
                assert!(matches!(result, Err(TryRecvError::Empty)) || start_limiter.lock().next_id > 2);
                drop(first);
                if result.is_err() {
                    acquired.recv_timeout(MINUTE).unwrap();
                }
            });
        }
    }

    #[test]
    fn permits_never_exceed_the_limit() {
        let start_limiter = StartLimiter::with_limit(3);
        let (in_use, max) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let slow = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let permit = start_limiter.acquire();
                        let acquired_at = Instant::now();
                        max.fetch_max(1 + in_use.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                        std::thread::yield_now();
                        in_use.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                        // On a busy machine the permit may have expired.
                        slow.fetch_or(acquired_at.elapsed() > MAX_START_DURATION / 2, Ordering::SeqCst);
                    }
                });
            }
        });
        let max = max.into_inner();
        assert!(max <= 3 && max > 0 || slow.into_inner(), "{max} at a time");
        assert!(start_limiter.lock().in_use.is_empty());
    }

    #[test]
    fn a_start_that_hangs_loses_its_permit() {
        let start_limiter = StartLimiter::with_limit(2);
        let hanging = [start_limiter.acquire(), start_limiter.acquire()];
        for _ in 0..3 {
            drop(start_limiter.acquire());
        }
        // Dropping an expired permit releases no other one.
        let (_a, _b) = (start_limiter.acquire(), start_limiter.acquire());
        drop(hanging);
        let ids: Vec<u64> = start_limiter.lock().in_use.iter().map(|(id, _)| *id).collect();
        assert!(ids.iter().all(|id| *id >= 5) && ids.last() == Some(&6), "{ids:?}");
    }
}
