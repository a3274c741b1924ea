//! Stops a check thread, or has it check now.
//!
//! Guarantees: a stop is permanent, so the thread cannot miss it. Several requests to check before
//! the thread wakes count as one. The thread waits on a condition variable. A file descriptor
//! exists only while a program runs, because each program that is started copies the table of
//! descriptors: one descriptor a service would make every check more expensive.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::sys::mutex::Mutex;
use crate::sys::stop_token::{new_event, set_event, Stop};

/// The stop request and the check request of one check thread.
#[derive(Debug, Default)]
pub struct Trigger {
    flags: Mutex<Flags>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Flags {
    stop: bool,
    check_now: bool,
    /// Becomes readable with the stop. Exists only while a program runs.
    fd: Weak<OwnedFd>,
}

/// Why a check thread woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// The time that it waited for has come.
    Time,
    /// A check was requested.
    CheckNow,
    /// The thread must end.
    Stop,
}

impl Trigger {
    /// Stops the thread and kills the program that it runs.
    pub fn stop(&self) {
        let mut flags = self.flags.lock();
        flags.stop = true;
        if let Some(fd) = flags.fd.upgrade() {
            set_event(&fd);
        }
        self.changed.notify_all();
    }

    /// Requests a check at once. If one is running, another follows it.
    pub fn check_now(&self) {
        self.flags.lock().check_now = true;
        self.changed.notify_all();
    }

    /// Waits until that time, a request to check, or the stop. Clears the request.
    pub fn wait_until(&self, until: Instant) -> Wakeup {
        let mut flags = self.wait_while(Some(until), |flags| !flags.stop && !flags.check_now);
        match (flags.stop, std::mem::take(&mut flags.check_now)) {
            (true, _) => Wakeup::Stop,
            (false, true) => Wakeup::CheckNow,
            (false, false) => Wakeup::Time,
        }
    }

    fn wait_while(&self, until: Option<Instant>, keep_waiting: impl Fn(&Flags) -> bool) -> MutexGuard<'_, Flags> {
        let mut flags = self.flags.lock();
        while keep_waiting(&flags) {
            let remaining = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if remaining.is_zero() {
                break;
            }
            flags = self.changed.wait_timeout(flags, remaining).unwrap_or_else(PoisonError::into_inner).0;
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
    fn a_stop_is_permanent_and_a_request_to_check_is_cleared_by_one_wait() {
        let trigger = Trigger::default();
        assert_eq!(trigger.wait_until(Instant::now()), Wakeup::Time);
        trigger.check_now();
        trigger.check_now();
        assert!(!trigger.stop_requested() && !trigger.wait(Duration::ZERO), "a request to check is no stop");
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
    fn the_descriptor_exists_while_it_is_used_and_becomes_readable_with_the_stop() {
        let is_readable = |fd: &OwnedFd| {
            use rustix::event::{PollFd, PollFlags};
            crate::sys::poll::poll_until(&mut [PollFd::new(fd, PollFlags::IN)], Some(Instant::now()))
        };
        let trigger = Trigger::default();
        let fd = trigger.fd().unwrap();
        assert!(Arc::ptr_eq(&fd, &trigger.fd().unwrap()) && !is_readable(&fd));
        trigger.check_now();
        assert!(!is_readable(&fd), "a request to check ends no program");
        trigger.stop();
        assert!(is_readable(&fd));
        drop(fd);
        assert_eq!(trigger.flags.lock().fd.strong_count(), 0);
        assert!(is_readable(&trigger.fd().unwrap()), "a descriptor made after the stop is readable at once");
    }

    #[test]
    fn a_stop_wakes_every_waiting_thread() {
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
