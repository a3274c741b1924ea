//! The process that a service's `watch_pidfile` names: when it ends, the check runs at once.
//!
//! Promises: the file is read again before each check, so a service that was started anew is watched from its next
//! check on; one process has the check run at most once more, however often the file names it. A process is watched
//! until it ends or the file names another, whatever becomes of the file. A file that is of no use (absent, empty,
//! stale, foreign, none at all) does no harm: checks go on as without it, and the log says why once.
//! Who may block: the check thread, on reading the file.
//! Leaves out: waiting for the end (`sys::pidfd`), and what the check makes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::Pid;
use tracing::{info, warn};

use crate::check::Check;
use crate::sys::atomic_file::read_start;
use crate::sys::pidfd::{WatchError, Watched, Watcher};

/// How much of the file is read, in bytes: its first line is all that counts.
const READ: usize = 64;

/// The pidfile of one service and the process it named last.
pub struct Pidfile {
    path: PathBuf,
    watcher: Arc<Watcher>,
    /// Checked when the process ends.
    check: Arc<Check>,
    watched: Option<Watched>,
    /// What was logged, so that the next equal one is not.
    problem: Option<String>,
}

impl Pidfile {
    /// Nothing is read yet. The end of the process has `check` run at once.
    pub fn new(path: PathBuf, watcher: Arc<Watcher>, check: Arc<Check>) -> Pidfile {
        Pidfile { path, watcher, check, watched: None, problem: None }
    }

    /// Reads the file and watches the process that it names now; returns that process, if one is watched. To be called
    /// before a check rather than after it: what ends in between is seen by the check.
    pub fn refresh(&mut self) -> Option<i32> {
        if let Some(ended) = self.watched.take_if(|watched| watched.has_ended()) {
            info!("process {} of {} has ended", ended.pid(), self.path.display());
            // That the file goes on naming it is no news then.
            self.problem = Some(self.problem_with(&WatchError::NotThere(ended.pid().as_raw_pid())));
        }
        let problem = self.follow().err();
        if let Some(why) = problem.as_ref().filter(|why| self.problem.as_ref() != Some(why)) {
            warn!("watch_pidfile is of no use now: {why}; the check goes on at its interval");
        }
        self.problem = problem;
        self.watched.as_ref().map(|watched| watched.pid().as_raw_pid())
    }

    fn follow(&mut self) -> Result<(), String> {
        let pid = named(&self.path)?;
        if self.watched.as_ref().is_some_and(|watched| watched.pid() == pid) {
            return Ok(());
        }
        let check = self.check.clone();
        let watched =
            self.watcher.watch(pid, move || check.trigger.check_now()).map_err(|why| self.problem_with(&why))?;
        self.watched = Some(watched);
        info!("watching process {pid} of {}", self.path.display());
        Ok(())
    }

    fn problem_with(&self, why: &WatchError) -> String {
        format!("{}: {why}", self.path.display())
    }
}

/// The process that the file names.
fn named(path: &Path) -> Result<Pid, String> {
    match read_start(path, READ) {
        Ok(Some(bytes)) => parse(&bytes).ok_or_else(|| format!("{} begins with no process id", path.display())),
        Ok(None) => Err(format!("{} is not there", path.display())),
        Err(why) => Err(format!("cannot read {}: {why}", path.display())),
    }
}

/// The number in the first line, blanks around it; what other lines hold is the service's own business.
fn parse(bytes: &[u8]) -> Option<Pid> {
    let line = bytes.split(|byte| *byte == b'\n').next()?.trim_ascii();
    // A sign is not for numbers of processes, though the number's own parser takes one.
    let digits = std::str::from_utf8(line).ok().filter(|line| line.bytes().all(|byte| byte.is_ascii_digit()))?;
    Pid::from_raw(digits.parse().ok()?)
}

#[cfg(test)]
mod tests;
