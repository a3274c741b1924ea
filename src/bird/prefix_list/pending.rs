//! The pending work on a prefix file, and when it is due.
//!
//! Guarantees: pure; a change is written as soon as [`Backoff`] allows it; foreign changes are
//! repaired at most once in [`REPAIR_INTERVAL`].
//!
//! Out of scope: the work itself (`bird::prefix_list`).

use std::time::{Duration, Instant};

use crate::bird::backoff::Backoff;
use crate::bird::routes::Decision;

/// Minimum time between two repairs, so that another program that keeps changing the file cannot
/// make us spin.
pub const REPAIR_INTERVAL: Duration = Duration::from_secs(1);

/// The pending work on one prefix file.
pub struct Pending {
    /// The list may have changed, or the last write failed.
    dirty: bool,
    /// Another program may have changed the file.
    recheck: bool,
    /// Another program changed the file, which is not repaired yet.
    foreign_change: bool,
    /// The decisions of the last update.
    decisions: Vec<Decision>,
    backoff: Backoff,
    repaired_at: Option<Instant>,
}

impl Pending {
    /// The first step is pending.
    pub fn new() -> Pending {
        Pending {
            dirty: true,
            recheck: false,
            foreign_change: false,
            decisions: Vec::new(),
            backoff: Backoff::default(),
            repaired_at: None,
        }
    }

    /// Whether the list may have changed, or the last write failed.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether another program may have changed the file.
    pub fn needs_recheck(&self) -> bool {
        self.recheck
    }

    /// When the next step is due. None if there is no work.
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let earliest = self.backoff.earliest().unwrap_or(now);
        match (self.dirty, self.recheck) {
            (true, _) => Some(earliest),
            (false, true) => Some(self.repaired_at.map_or(earliest, |at| earliest.max(at + REPAIR_INTERVAL))),
            (false, false) => None,
        }
    }

    /// Makes a write pending, which does not wait for the next retry.
    pub fn mark_dirty(&mut self) {
        self.dirty = true;
        self.backoff.changed();
    }

    /// Makes a write pending if the decisions have changed.
    pub fn set_decisions(&mut self, decisions: Vec<Decision>) {
        if decisions != self.decisions {
            self.decisions = decisions;
            self.mark_dirty();
        }
    }

    /// Makes a check of the file pending.
    pub fn recheck(&mut self) {
        self.recheck = true;
    }

    /// Begins a step, which includes the check of the file.
    pub fn begin_step(&mut self) {
        self.recheck = false;
    }

    /// Records that another program has changed the file, which this step repairs.
    pub fn found_foreign_change(&mut self, now: Instant) {
        self.foreign_change = true;
        self.repaired_at = Some(now);
    }

    /// Records a failed write, which is retried.
    pub fn write_failed(&mut self, now: Instant) {
        self.dirty = true;
        self.backoff.failed(now);
    }

    /// Records a successful write.
    pub fn write_succeeded(&mut self, now: Instant) {
        self.backoff.succeeded(now);
    }

    /// Ends a step that left the file as it should be. Only the first `configured` decisions are
    /// kept, as removed prefixes are withdrawn now. Returns whether a foreign change was repaired.
    pub fn end_step(&mut self, configured: usize) -> bool {
        self.dirty = false;
        self.decisions.truncate(configured);
        std::mem::take(&mut self.foreign_change)
    }

    /// Cancels every wait, because the daemon stops.
    pub fn skip_backoff(&mut self) {
        self.backoff.skip();
    }
}
