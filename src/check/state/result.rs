//! The result of one check: of its command, and of the whole cycle around it.
//!
//! Guarantees: pure. Each result has the numeric code that the original exports.
//!
//! Out of scope: running the command (`check::worker`), and what a result means for the state
//! (`check::health`).

use std::time::Duration;

use crate::check::health::{CheckOutcome, Progress, State};

/// The result of one cycle of a check, before the counters are applied.
#[derive(Debug)]
pub struct CheckResult {
    /// The input of the counters in `check::health`.
    pub outcome: CheckOutcome,
    /// How long the command ran. None if it did not run.
    pub duration: Option<Duration>,
    /// How the command ended.
    pub result: RunResult,
    /// The end of its standard output.
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: Vec<u8>,
}

/// How the command of a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunResult {
    /// The command exited with this code.
    Exited(i32),
    /// The command was killed by this signal.
    Signaled(i32),
    /// The command exceeded `check_timeout`.
    TimedOut,
    /// The command could not be started, for this reason.
    NotStarted(String),
    /// The command did not run: no address of the service is assigned to its interface.
    NotAssigned,
}

impl CheckResult {
    /// Creates the result of a check that failed without output.
    pub fn failed(result: RunResult) -> CheckResult {
        CheckResult { outcome: CheckOutcome::Failed, duration: None, result, stdout: Vec::new(), stderr: Vec::new() }
    }

    /// Creates the result of a check that did not run because no address is assigned.
    pub fn not_assigned() -> CheckResult {
        CheckResult { outcome: CheckOutcome::ForcedDown, ..CheckResult::failed(RunResult::NotAssigned) }
    }
}

impl RunResult {
    /// The value of the original's metric `service_state`: the exit code; the negated signal number
    /// for a command that was killed by a signal (as in Python); 126 for a command that timed out
    /// or could not be started; 1 if no address is assigned.
    pub fn code(&self) -> i32 {
        match self {
            RunResult::Exited(code) => *code,
            RunResult::Signaled(signal) => -signal,
            RunResult::TimedOut | RunResult::NotStarted(_) => 126,
            RunResult::NotAssigned => 1,
        }
    }

    /// The code of the verdict that a run with this result gave or confirmed. None if it did
    /// neither.
    pub fn verdict_code(&self, progress: Progress) -> Option<i32> {
        match progress {
            Progress::Changed(State::Up) | Progress::Confirmed(State::Up) => Some(0),
            // Down although the command passed: the thread was stuck.
            Progress::Changed(_) | Progress::Confirmed(_) if *self == RunResult::Exited(0) => {
                Some(RunResult::TimedOut.code())
            }
            Progress::Changed(_) | Progress::Confirmed(_) => Some(self.code()),
            Progress::GoingUp { .. } | Progress::GoingDown { .. } => None,
        }
    }
}
