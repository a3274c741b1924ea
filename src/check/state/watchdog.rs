//! What is expected of a check thread, and by when.

use std::time::Instant;

/// The deadlines and the progress of a check thread. `check::supervisor` judges by them whether it
/// is stuck.
#[derive(Clone, Debug, Default)]
pub(super) struct Watchdog {
    /// When the thread counts as overdue unless it reports before. None while it cannot be overdue.
    pub(super) deadline: Option<Instant>,
    /// The number of reports. The supervisor compares it to see whether the thread has made
    /// progress.
    pub(super) progress: u64,
    /// When the first verdict is due.
    pub(super) verdict_due: Option<Instant>,
    /// The run under way is to be discarded.
    pub(super) discard: bool,
}

impl Watchdog {
    /// Counts a report, after which the next one is due by `deadline`.
    pub(super) fn report(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
        self.progress += 1;
    }
}
