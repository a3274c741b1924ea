//! How many checks are started at the same time.
//!
//! A machine that has more checks to run than it can manage must fall behind, and no more than that: were all of them
//! started at once, each would get so little of the machine that it reaches its time-out, and healthy services would go
//! down. So only a few programs are in their start at any time, which leaves the rest of the machine to those that run;
//! as many are started as come to an end, and `check_timeout` begins with the start.
//!
//! Promises: nobody waits where fewer than the limit are in their start; a start that hangs (on a dead file system)
//! takes no place away for longer than a quarter of a second.
//! Leaves out: checks that run, however many: most of them wait for something, and cost nothing.

use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a start counts: one takes a millisecond.
const LONGEST: Duration = Duration::from_millis(250);
/// How many starts a processor has: one waits for the disk at times.
const EACH: usize = 2;

/// How many processors this program may use; one where that cannot be known.
pub fn processors() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// Where checks wait for their start.
pub struct StartLimiter {
    places: usize,
    inside: Mutex<Inside>,
    left: Condvar,
}

#[derive(Default)]
struct Inside {
    /// Who is in the middle of a start, and since when.
    starts: Vec<(u64, Instant)>,
    /// How many came in so far.
    count: u64,
}

/// A check in the middle of its start, until this is dropped.
pub struct StartPermit {
    start_limiter: Arc<StartLimiter>,
    number: u64,
}

impl StartLimiter {
    /// For the processors that there are.
    pub fn new() -> Arc<StartLimiter> {
        StartLimiter::with_places(EACH * processors().get())
    }

    fn with_places(places: usize) -> Arc<StartLimiter> {
        Arc::new(StartLimiter { places, inside: Mutex::default(), left: Condvar::new() })
    }

    /// Waits for a place.
    pub fn acquire(self: &Arc<Self>) -> StartPermit {
        let mut inside = self.lock();
        loop {
            let now = Instant::now();
            inside.starts.retain(|(_, since)| now < *since + LONGEST);
            if inside.starts.len() < self.places {
                let number = inside.count;
                inside.count += 1;
                inside.starts.push((number, now));
                return StartPermit { start_limiter: self.clone(), number };
            }
            // The time is for the case that all places are taken by starts that hang.
            inside = self.left.wait_timeout(inside, LONGEST).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StartPermit {
    fn drop(&mut self) {
        self.start_limiter.lock().starts.retain(|(number, _)| *number != self.number);
        self.start_limiter.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc::{channel, TryRecvError};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn as_many_as_there_are_places_and_the_next_when_one_leaves() {
        for _ in 0..100 {
            let start_limiter = StartLimiter::with_places(2);
            let (first, _second) = (start_limiter.acquire(), start_limiter.acquire());
            let (sender, entered) = channel();
            std::thread::scope(|scope| {
                scope.spawn(|| sender.send(start_limiter.acquire()));
                // Either it waits still, or the machine was so slow that the others count no more.
                let found = entered.try_recv();
                assert!(matches!(found, Err(TryRecvError::Empty)) || start_limiter.lock().count > 2);
                drop(first);
                if found.is_err() {
                    entered.recv_timeout(MINUTE).unwrap();
                }
            });
        }
    }

    #[test]
    fn never_more_than_there_are_places() {
        let start_limiter = StartLimiter::with_places(3);
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let slow = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let (start, began) = (start_limiter.acquire(), Instant::now());
                        most.fetch_max(1 + inside.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(start);
                        // A start that took so long counted no more, on a machine that is busy with something else.
                        slow.fetch_or(began.elapsed() > LONGEST / 2, Ordering::SeqCst);
                    }
                });
            }
        });
        let most = most.into_inner();
        assert!(most <= 3 && most > 0 || slow.into_inner(), "{most} at a time");
        assert!(start_limiter.lock().starts.is_empty());
    }

    #[test]
    fn starts_that_hang_take_no_place_for_long() {
        let start_limiter = StartLimiter::with_places(2);
        let hang = [start_limiter.acquire(), start_limiter.acquire()];
        for _ in 0..3 {
            drop(start_limiter.acquire());
        }
        // Their end takes nobody else's place away.
        let (_a, _b) = (start_limiter.acquire(), start_limiter.acquire());
        drop(hang);
        let numbers: Vec<u64> = start_limiter.lock().starts.iter().map(|(number, _)| *number).collect();
        assert!(numbers.iter().all(|number| *number >= 5) && numbers.last() == Some(&6), "{numbers:?}");
    }
}
