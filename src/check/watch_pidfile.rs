//! Watches the process that `watch_pidfile` names, and runs the check at once when it ends.
//!
//! Guarantees: the file is read before each check, so a restarted service is watched from its next
//! check on. The end of one process triggers at most one check, however often the file names it. A
//! process is watched until it ends or the file names another one, even if the file disappears. A
//! file that names no process (missing, empty, stale, of another format) does not disturb the
//! checks; the log says why once.
//!
//! Blocking: the check thread blocks on reading the file.
//!
//! Out of scope: waiting for the end of the process (`sys::pidfd`), and the result of the check.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::Pid;
use tracing::{info, warn};

use crate::check::Check;
use crate::sys::atomic_file::read_start;
use crate::sys::log_once::LogOnce;
use crate::sys::pidfd::{WatchError, Watched, Watcher};

/// How much of the file is read, in bytes. Only its first line counts.
const MAX_READ_LEN: usize = 64;

/// The pidfile of one service, and the process that it named last.
pub struct Pidfile {
    path: PathBuf,
    watcher: Arc<Watcher>,
    /// The check to run when the process ends.
    check: Arc<Check>,
    watched: Option<Watched>,
    /// Why the file is ignored.
    problem: LogOnce,
}

impl Pidfile {
    /// Creates a pidfile that has not been read. The end of the process triggers `check`.
    pub fn new(path: PathBuf, watcher: Arc<Watcher>, check: Arc<Check>) -> Pidfile {
        Pidfile { path, watcher, check, watched: None, problem: LogOnce::new() }
    }

    /// Reads the file and watches the process that it names now. Returns the watched process. Call
    /// it before a check rather than after it: if the process ends in between, the check notices.
    pub fn refresh(&mut self) -> Option<i32> {
        if let Some(ended) = self.watched.take_if(|watched| watched.has_ended()) {
            info!("process {} of {} has ended", ended.pid(), self.path.display());
            // As long as the file names the ended process, no further line is logged.
            let problem = self.describe(&WatchError::NoSuchProcess(ended.pid().as_raw_pid()));
            self.problem.set(&problem);
        }
        match self.watch() {
            Ok(()) => {
                self.problem.clear();
            }
            Err(why) => {
                if self.problem.set(&why) {
                    warn!("watch_pidfile is ignored: {why}; checking at the normal interval");
                }
            }
        }
        self.watched.as_ref().map(|watched| watched.pid().as_raw_pid())
    }

    /// Watches the process that the file names now.
    fn watch(&mut self) -> Result<(), String> {
        let pid = read(&self.path)?;
        if self.watched.as_ref().is_some_and(|watched| watched.pid() == pid) {
            return Ok(());
        }
        let check = self.check.clone();
        let watched = self.watcher.watch(pid, move || check.trigger.check_now()).map_err(|why| self.describe(&why))?;
        self.watched = Some(watched);
        info!("watching process {pid} of {}", self.path.display());
        Ok(())
    }

    fn describe(&self, why: &WatchError) -> String {
        format!("{}: {why}", self.path.display())
    }
}

/// Reads the process id from the file.
fn read(path: &Path) -> Result<Pid, String> {
    match read_start(path, MAX_READ_LEN) {
        Ok(Some(bytes)) => parse(&bytes).ok_or_else(|| format!("{} begins with no process id", path.display())),
        Ok(None) => Err(format!("{} is not there", path.display())),
        Err(why) => Err(format!("cannot read {}: {why}", path.display())),
    }
}

/// Parses the process id: the number in the first line, with blanks around it. Other lines are
/// ignored.
fn parse(bytes: &[u8]) -> Option<Pid> {
    let line = bytes.split(|byte| *byte == b'\n').next()?.trim_ascii();
    // Checked here, because the parser of integers would accept a sign.
    let digits = std::str::from_utf8(line).ok().filter(|line| line.bytes().all(|byte| byte.is_ascii_digit()))?;
    Pid::from_raw(digits.parse().ok()?)
}

#[cfg(test)]
mod tests;
