//! The record of past runs: the last run of the check, and the counters of checks and of
//! `state_change_cmd`.

use std::time::{Duration, SystemTime};

use super::result::RunResult;

/// One run of a check.
#[derive(Clone, Debug)]
pub struct Run {
    /// When it began.
    pub began: SystemTime,
    /// How long the command ran. None if it did not run.
    pub duration: Option<Duration>,
    /// How the command ended.
    pub result: RunResult,
    /// The end of the output of a failed run, both streams. Empty if it passed.
    pub output: String,
}

/// The number of checks by result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Exit code 0.
    pub passed: u64,
    /// Another exit code, a signal, or not started.
    pub failed: u64,
    /// Exceeded `check_timeout`.
    pub timed_out: u64,
    /// When the first time-out was.
    pub first_time_out: Option<SystemTime>,
    /// Did not run because no address was assigned.
    pub not_assigned: u64,
}

/// The number of runs of `state_change_cmd` by result. The thread of each run updates it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookRuns {
    /// Exit code 0.
    pub succeeded: u64,
    /// Any other result.
    pub failed: u64,
    /// Changes of state for which nothing ran, because a later change replaced them while they
    /// waited.
    pub skipped: u64,
    /// Why the last run failed. None if it succeeded.
    pub problem: Option<String>,
}

impl Counts {
    /// Counts a check that began at this time.
    pub(super) fn add(&mut self, result: &RunResult, began: SystemTime) {
        match result {
            RunResult::Exited(0) => self.passed += 1,
            RunResult::Exited(_) | RunResult::Signaled(_) | RunResult::NotStarted(_) => self.failed += 1,
            RunResult::TimedOut => {
                self.timed_out += 1;
                self.first_time_out.get_or_insert(began);
            }
            RunResult::NotAssigned => self.not_assigned += 1,
        }
    }
}
