//! The record of past runs: the last run of the check, and the counters of checks and of
//! `state_change_cmd`.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

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

/// Number of runs, by result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Runs with exit code 0.
    pub passed: u64,
    /// Runs with another exit code, ended by a signal, or not started.
    pub failed: u64,
    /// Runs that exceeded `check_timeout`.
    pub timed_out: u64,
    /// When the first time-out was. It is a metric, and no field of the status document.
    #[serde(skip)]
    pub first_time_out: Option<SystemTime>,
    /// Checks that did not run because no address was assigned.
    pub not_assigned: u64,
}

/// Changes of state, by the result of `state_change_cmd`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRuns {
    /// Runs with exit code 0.
    pub succeeded: u64,
    /// Runs with another exit code, ended by a signal, timed out, or not started.
    pub failed: u64,
    /// Changes for which the command did not run, because a later change came first.
    pub skipped: u64,
    /// Why the last run failed; null if it did not.
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
