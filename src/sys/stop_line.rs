//! The stop line: pulled once, it wakes every thread that waits on it, now or later.
//!
//! Promises: level-triggered; a pulled line stays pulled, so no thread can miss it. It is a descriptor, so that it can
//! stand in one `poll` beside whatever else a thread waits for. A slack line is one only while somebody waits: each
//! program that is started copies the table of descriptors, and one for each service would make every check dearer.
//! Leaves out: joining the threads (`daemon`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::event::{eventfd, EventfdFlags, PollFd, PollFlags};

use crate::sys::poll::poll_until;

/// How often a slack line is looked at where no descriptor is left to wait with.
const LOOK: Duration = Duration::from_millis(10);

/// What ends a run or a wait early.
pub trait Stop {
    /// A descriptor that can be read once the line is pulled.
    ///
    /// # Errors
    /// No descriptor is left, as may happen with a slack line.
    fn wire(&self) -> io::Result<Arc<OwnedFd>>;

    /// Whether it is pulled.
    fn is_pulled(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits for the pull, at most `timeout`, and says whether it came.
    fn wait(&self, timeout: Duration) -> bool;
}

/// A line that all threads hold; clones are the same line.
#[derive(Clone, Debug)]
pub struct StopLine(Arc<OwnedFd>);

impl StopLine {
    /// A line that is not pulled. Fails where no descriptor is left.
    pub fn new() -> io::Result<StopLine> {
        Ok(StopLine(new_wire()?))
    }

    /// Wakes everyone, for good.
    pub fn pull(&self) {
        ring(&self.0);
    }
}

impl AsFd for StopLine {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Stop for StopLine {
    fn wire(&self) -> io::Result<Arc<OwnedFd>> {
        Ok(self.0.clone())
    }

    fn wait(&self, timeout: Duration) -> bool {
        hear(&self.0, timeout)
    }
}

/// A line that takes a descriptor only while somebody waits on it; clones are the same line.
#[derive(Clone, Debug, Default)]
pub struct SlackLine(Arc<Slack>);

#[derive(Debug, Default)]
struct Slack {
    pulled: AtomicBool,
    /// What is waited with, while that is so.
    wire: Mutex<Weak<OwnedFd>>,
}

impl SlackLine {
    /// Wakes everyone, for good.
    pub fn pull(&self) {
        self.0.pulled.store(true, Ordering::SeqCst);
        if let Some(wire) = self.lock().upgrade() {
            ring(&wire);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Weak<OwnedFd>> {
        self.0.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stop for SlackLine {
    fn wire(&self) -> io::Result<Arc<OwnedFd>> {
        let mut kept = self.lock();
        if let Some(wire) = kept.upgrade() {
            return Ok(wire);
        }
        let wire = new_wire()?;
        *kept = Arc::downgrade(&wire);
        // A pull that comes after this look finds the wire.
        if self.is_pulled() {
            ring(&wire);
        }
        Ok(wire)
    }

    fn is_pulled(&self) -> bool {
        self.0.pulled.load(Ordering::SeqCst)
    }

    fn wait(&self, timeout: Duration) -> bool {
        if timeout.is_zero() || self.is_pulled() {
            return self.is_pulled();
        }
        let until = Instant::now().checked_add(timeout);
        loop {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            match self.wire() {
                Ok(wire) => return hear(&wire, left),
                Err(_) if left.is_zero() || self.is_pulled() => return self.is_pulled(),
                Err(_) => std::thread::sleep(left.min(LOOK)),
            }
        }
    }
}

fn new_wire() -> io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
}

fn ring(wire: &OwnedFd) {
    // It can fail only where the counter is full, and then the line is pulled already. Interruption cannot happen, as a
    // write that does not block does not wait.
    let _ = rustix::io::write(wire, &1u64.to_ne_bytes());
}

fn hear(wire: &OwnedFd, timeout: Duration) -> bool {
    poll_until(&mut [PollFd::new(wire, PollFlags::IN)], Instant::now().checked_add(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulled_stays_pulled() {
        let line = StopLine::new().unwrap();
        assert!(!line.is_pulled());
        assert!(!line.wait(Duration::from_millis(1)));
        line.pull();
        line.pull();
        assert!(line.is_pulled() && line.clone().is_pulled() && line.wait(Duration::MAX));
    }

    #[test]
    fn a_slack_line_is_a_descriptor_while_somebody_waits_and_misses_no_pull() {
        let line = SlackLine::default();
        assert!(!line.is_pulled() && !line.wait(Duration::from_millis(1)));
        let wire = line.wire().unwrap();
        assert!(Arc::ptr_eq(&wire, &line.wire().unwrap()) && !hear(&wire, Duration::ZERO));
        line.pull();
        assert!(hear(&wire, Duration::ZERO) && line.is_pulled());
        drop(wire);
        assert_eq!(line.lock().strong_count(), 0);
        // One that comes later finds it pulled.
        assert!(hear(&line.wire().unwrap(), Duration::ZERO) && line.clone().wait(Duration::MAX));
    }

    fn check_wakes(line: &(impl Stop + Sync), pull: impl Fn()) {
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..20).map(|_| scope.spawn(|| line.wait(Duration::from_secs(60)))).collect();
            pull();
            assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
        });
    }

    #[test]
    fn wakes_every_thread() {
        let line = StopLine::new().unwrap();
        check_wakes(&line, || line.pull());
        for _ in 0..100 {
            let line = SlackLine::default();
            check_wakes(&line, || line.pull());
        }
    }
}
