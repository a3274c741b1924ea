//! Log lines about a check that failed, and the numbers in log lines.

use std::fmt;

use tracing::{error, info};

use crate::check::state::{CheckResult, RunResult};
use crate::log::format::python_bytes;

/// Logs why a check failed.
pub(super) fn log_failure(result: &RunResult) {
    match result {
        RunResult::TimedOut => error!("check timed out"),
        RunResult::NotStarted(why) => error!("{why}"),
        RunResult::Signaled(signal) => info!("check was ended by signal {signal}"),
        RunResult::Exited(code) => info!("check failed with exit code {code}"),
        RunResult::NotAssigned => {}
    }
}

/// Logs the output of a check.
pub(super) fn log_output(result: &CheckResult) {
    if !result.stderr.is_empty() {
        info!("stderr from the check {}", python_bytes(&result.stderr));
    }
    if !result.stdout.is_empty() {
        info!("stdout from the check {}", python_bytes(&result.stdout));
    }
}

/// Prints a number of thousandths with three decimals. Formatting a float instead would be the
/// deepest call of a check thread, with a kilobyte of stack.
pub(super) struct Thousandths(pub(super) u128);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}
