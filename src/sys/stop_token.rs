//! A stop token: triggered once, it wakes every thread that waits for it, now or later.
//!
//! Guarantees: level-triggered; a triggered token stays triggered, so no thread can miss it. It is
//! a descriptor, so that a thread can poll it together with whatever else it waits for.
//!
//! Out of scope: joining the threads (`daemon`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{eventfd, EventfdFlags, PollFd, PollFlags};

use crate::sys::poll::poll_until;

/// A request that ends a run or a wait early.
pub trait Stop {
    /// Returns a descriptor that becomes readable once a stop is requested.
    ///
    /// # Errors
    /// No descriptor is left.
    fn fd(&self) -> io::Result<Arc<OwnedFd>>;

    /// Returns whether a stop is requested.
    fn stop_requested(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits at most `timeout` for a stop request, and returns whether there is one.
    fn wait(&self, timeout: Duration) -> bool;
}

/// A stop request that threads share. Clones are the same token.
#[derive(Clone, Debug)]
pub struct StopToken(Arc<OwnedFd>);

impl StopToken {
    /// Creates a token that is not triggered.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<StopToken> {
        Ok(StopToken(new_event()?))
    }

    /// Requests the stop, which wakes all waiting threads. It cannot be taken back.
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

/// Creates an eventfd that is not readable yet.
pub(crate) fn new_event() -> io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
}

/// Makes an eventfd readable, for good.
pub(crate) fn set_event(event: &OwnedFd) {
    // It can fail only if the counter is full, and then the event is set already. It cannot be
    // interrupted, as a nonblocking write does not wait.
    let _ = rustix::io::write(event, &1u64.to_ne_bytes());
}

fn wait_event(event: &OwnedFd, timeout: Duration) -> bool {
    poll_until(&mut [PollFd::new(event, PollFlags::IN)], Instant::now().checked_add(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_triggered_token_stays_triggered() {
        let token = StopToken::new().unwrap();
        assert!(!token.stop_requested());
        assert!(!token.wait(Duration::from_millis(1)));
        token.trigger();
        token.trigger();
        assert!(token.stop_requested() && token.clone().stop_requested() && token.wait(Duration::MAX));
    }

    fn check_wakes(stop: &(impl Stop + Sync), trigger: impl Fn()) {
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..20).map(|_| scope.spawn(|| stop.wait(Duration::from_secs(60)))).collect();
            trigger();
            assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
        });
    }

    #[test]
    fn a_trigger_wakes_every_thread() {
        let token = StopToken::new().unwrap();
        check_wakes(&token, || token.trigger());
    }
}
