//! How others reach a check thread: to stop it, or to have it check now.
//!
//! Promises: a stop stays and no thread can miss it; orders to check that come before the thread looks count as one.
//! The thread waits on a condition variable; only while a program runs is there a descriptor to wait on beside it, as
//! each program that is started copies the table of descriptors, and one for each service would make every check dearer.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::sys::mutex::Mutex;
use crate::sys::stop_token::{new_event, set_event, Stop};

/// The two things that a check thread can be told.
#[derive(Debug, Default)]
pub struct Trigger {
    flags: Mutex<Flags>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Flags {
    stop: bool,
    check_now: bool,
    /// Becomes readable with the stop; there is one while a program runs.
    fd: Weak<OwnedFd>,
}

/// Why a check thread woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// The time has come.
    Time,
    /// Somebody wants a check now.
    CheckNow,
    /// The thread has to end.
    Stop,
}

impl Trigger {
    /// Ends the thread, and the program that it runs.
    pub fn stop(&self) {
        let mut flags = self.flags.lock();
        flags.stop = true;
        if let Some(fd) = flags.fd.upgrade() {
            set_event(&fd);
        }
        self.changed.notify_all();
    }

    /// Has the thread check at once. If a check is running, another one follows it.
    pub fn check_now(&self) {
        self.flags.lock().check_now = true;
        self.changed.notify_all();
    }

    /// Waits until that time, an order to check, or the stop. Takes the order.
    pub fn wait_until(&self, until: Instant) -> Wakeup {
        let mut flags = self.wait_while(Some(until), |flags| !flags.stop && !flags.check_now);
        match (flags.stop, std::mem::take(&mut flags.check_now)) {
            (true, _) => Wakeup::Stop,
            (false, true) => Wakeup::CheckNow,
            (false, false) => Wakeup::Time,
        }
    }

    fn wait_while(&self, until: Option<Instant>, nothing: impl Fn(&Flags) -> bool) -> MutexGuard<'_, Flags> {
        let mut flags = self.flags.lock();
        while nothing(&flags) {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            flags = self.changed.wait_timeout(flags, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        flags
    }
}

impl Stop for Trigger {
    fn fd(&self) -> io::Result<Arc<OwnedFd>> {
        let mut flags = self.flags.lock();
        if let Some(fd) = flags.fd.upgrade() {
            return Ok(fd);
        }
        let fd = new_event()?;
        flags.fd = Arc::downgrade(&fd);
        if flags.stop {
            set_event(&fd);
        }
        Ok(fd)
    }

    fn stop_requested(&self) -> bool {
        self.flags.lock().stop
    }

    fn wait(&self, timeout: Duration) -> bool {
        self.wait_while(Instant::now().checked_add(timeout), |flags| !flags.stop).stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_stop_stays_and_an_order_to_check_is_taken_once() {
        let trigger = Trigger::default();
        assert_eq!(trigger.wait_until(Instant::now()), Wakeup::Time);
        trigger.check_now();
        trigger.check_now();
        assert!(!trigger.stop_requested() && !trigger.wait(Duration::ZERO), "an order to check is no stop");
        assert_eq!(trigger.wait_until(Instant::now() + MINUTE), Wakeup::CheckNow);
        assert_eq!(trigger.wait_until(Instant::now()), Wakeup::Time);
        trigger.check_now();
        trigger.stop();
        trigger.stop();
        for _ in 0..2 {
            assert_eq!(trigger.wait_until(Instant::now() + MINUTE), Wakeup::Stop);
            assert!(trigger.stop_requested() && trigger.wait(Duration::MAX));
        }
    }

    #[test]
    fn there_is_a_descriptor_while_somebody_waits_on_it_and_it_misses_no_stop() {
        let is_readable = |fd: &OwnedFd| {
            use rustix::event::{PollFd, PollFlags};
            crate::sys::poll::poll_until(&mut [PollFd::new(fd, PollFlags::IN)], Some(Instant::now()))
        };
        let trigger = Trigger::default();
        let fd = trigger.fd().unwrap();
        assert!(Arc::ptr_eq(&fd, &trigger.fd().unwrap()) && !is_readable(&fd));
        trigger.check_now();
        assert!(!is_readable(&fd), "an order to check ends no program");
        trigger.stop();
        assert!(is_readable(&fd));
        drop(fd);
        assert_eq!(trigger.flags.lock().fd.strong_count(), 0);
        assert!(is_readable(&trigger.fd().unwrap()), "one that comes later finds the stop");
    }

    #[test]
    fn every_waiting_thread_wakes() {
        for _ in 0..100 {
            let trigger = Trigger::default();
            std::thread::scope(|scope| {
                let waiting: Vec<_> =
                    (0..10).map(|_| scope.spawn(|| trigger.wait_until(Instant::now() + MINUTE))).collect();
                trigger.stop();
                assert!(waiting.into_iter().all(|thread| thread.join().unwrap() == Wakeup::Stop));
            });
        }
    }
}
