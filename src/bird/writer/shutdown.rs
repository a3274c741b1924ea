//! How and when the bird-writer ends.
//!
//! Guarantees: pure; after a check thread has panicked no later stop hides that.
//!
//! Out of scope: what must be done before the end (`bird::writer`).

use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long running custom commands may delay the end after a panic, which no other thread knows of
/// yet.
const PANIC_WAIT: Duration = Duration::from_millis(1600);

/// How often a last withdrawal is retried if BIRD does not accept it.
const LEAVE_RETRY: Duration = Duration::from_millis(500);

/// Why the bird-writer ended.
#[derive(Debug)]
pub enum WriterEnd {
    /// It was stopped, and has applied all pending changes.
    Stopped,
    /// A check thread panicked.
    Died {
        /// The service's name.
        service: Arc<str>,
        /// The panic's message.
        why: String,
    },
}

/// The progress of a shutdown.
#[derive(Debug, Default)]
pub struct Shutdown {
    end: Option<WriterEnd>,
    /// The end waits until BIRD has accepted that services with `on_exit = withdraw` are withdrawn.
    leaving: bool,
    /// When running commands are killed after a panic.
    kill_at: Option<Instant>,
}

impl Shutdown {
    /// Begins a shutdown. With `leaving` BIRD must accept the last withdrawal first.
    pub fn stop(&mut self, leaving: bool) {
        self.leaving |= leaving;
        if !self.has_panicked() {
            self.end = Some(WriterEnd::Stopped);
        }
    }

    /// Begins the shutdown after the panic of a check thread.
    pub fn panicked(&mut self, service: Arc<str>, why: String, now: Instant) {
        if !self.has_panicked() {
            self.end = Some(WriterEnd::Died { service, why });
            self.kill_at = Some(now + PANIC_WAIT);
        }
    }

    fn has_panicked(&self) -> bool {
        matches!(self.end, Some(WriterEnd::Died { .. }))
    }

    /// Whether a shutdown has begun.
    pub fn has_begun(&self) -> bool {
        self.end.is_some()
    }

    /// Whether BIRD must accept the last withdrawal before the end.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Whether running commands must be killed now. Returns true only once.
    pub fn take_kill(&mut self, now: Instant) -> bool {
        self.kill_at.take_if(|at| *at <= now).is_some()
    }

    /// When the next step of the shutdown is due. None if the shutdown does not set a time.
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let retry_at = (self.has_begun() && self.leaving).then(|| now + LEAVE_RETRY);
        retry_at.into_iter().chain(self.kill_at).min()
    }

    /// Takes the reason for the end. None if no shutdown has begun.
    pub fn take_end(&mut self) -> Option<WriterEnd> {
        self.end.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_does_not_hide_a_panic() {
        let now = Instant::now();
        let mut shutdown = Shutdown::default();
        assert!(!shutdown.has_begun() && shutdown.next_wakeup(now).is_none());
        shutdown.stop(false);
        assert!(shutdown.has_begun() && shutdown.next_wakeup(now).is_none());
        shutdown.panicked("a".into(), "a bug".into(), now);
        shutdown.stop(true);
        shutdown.panicked("b".into(), "another bug".into(), now + PANIC_WAIT);
        assert!(shutdown.is_leaving());
        assert_eq!(shutdown.next_wakeup(now), Some(now + LEAVE_RETRY));
        assert!(!shutdown.take_kill(now));
        assert!(shutdown.take_kill(now + PANIC_WAIT) && !shutdown.take_kill(now + PANIC_WAIT));
        assert!(matches!(shutdown.take_end(), Some(WriterEnd::Died { service, .. }) if &*service == "a"));
    }
}
