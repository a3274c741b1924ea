//! The stop line: pulled once, it wakes every thread that waits on it, now or later.
//!
//! Promises: level-triggered; a pulled line stays pulled, so no thread can miss it. It is a descriptor, so that it can
//! stand in one `poll` beside whatever else a thread waits for.
//! Leaves out: joining the threads (`daemon`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{eventfd, EventfdFlags, PollFd, PollFlags};

use crate::sys::poll::poll_until;

/// What ends a run or a wait early.
pub trait Stop {
    /// A descriptor that can be read once the line is pulled.
    ///
    /// # Errors
    /// No descriptor is left.
    fn fd(&self) -> io::Result<Arc<OwnedFd>>;

    /// Whether it is pulled.
    fn stop_requested(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits for the pull, at most `timeout`, and says whether it came.
    fn wait(&self, timeout: Duration) -> bool;
}

/// A line that all threads hold; clones are the same line.
#[derive(Clone, Debug)]
pub struct StopToken(Arc<OwnedFd>);

impl StopToken {
    /// A line that is not pulled. Fails where no descriptor is left.
    pub fn new() -> io::Result<StopToken> {
        Ok(StopToken(new_event()?))
    }

    /// Wakes everyone, for good.
    pub fn trigger(&self) {
        set_event(&self.0);
    }
}

impl AsFd for StopToken {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Stop for StopToken {
    fn fd(&self) -> io::Result<Arc<OwnedFd>> {
        Ok(self.0.clone())
    }

    fn wait(&self, timeout: Duration) -> bool {
        wait_event(&self.0, timeout)
    }
}

/// A descriptor that cannot be read yet.
pub(crate) fn new_event() -> io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
}

/// Makes it readable, for good.
pub(crate) fn set_event(wire: &OwnedFd) {
    // It can fail only where the counter is full, and then the line is pulled already. Interruption cannot happen, as a
    // write that does not block does not wait.
    let _ = rustix::io::write(wire, &1u64.to_ne_bytes());
}

fn wait_event(wire: &OwnedFd, timeout: Duration) -> bool {
    poll_until(&mut [PollFd::new(wire, PollFlags::IN)], Instant::now().checked_add(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulled_stays_pulled() {
        let line = StopToken::new().unwrap();
        assert!(!line.stop_requested());
        assert!(!line.wait(Duration::from_millis(1)));
        line.trigger();
        line.trigger();
        assert!(line.stop_requested() && line.clone().stop_requested() && line.wait(Duration::MAX));
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
        let line = StopToken::new().unwrap();
        check_wakes(&line, || line.trigger());
    }
}
