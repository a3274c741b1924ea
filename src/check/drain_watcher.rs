//! The drain files, looked at once a second: whose service is to be out, whatever its check says.
//!
//! ```text
//!   file there ----> CheckState::drain, a hint to the bird-writer ----> the check thread rests: it runs nothing
//!   file gone, ----> CheckState::end_drain, the check triggered ------> the check thread goes on from "down", at once;
//!   time over                                                           the prefix is back when check_rise checks passed
//! ```
//!
//! Promises: a prefix leaves within a second though its check hangs; a file that cannot be read changes nothing; a drain
//! that was found when the daemon started is older than every check. Where no service has a drain file there is no
//! thread. A look that is under way during a reload acts on the checks of the old configuration, which nobody reads any
//! more; the look that the reload asks for follows it.
//! Who may block: this thread, on the files; one on a dead file system holds up the look at the others. What stops it:
//! the drop of [`DrainWatcher`].
//! Leaves out: what a file says (`drain`).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{error, info, warn};

use crate::check::announcer::Announcer;
use crate::check::state::Change;
use crate::check::Check;
use crate::drain_file::{self, DrainEnd};
use crate::sys::atomic_file;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How long the daemon waits for a look that must come before the checks.
const PATIENCE: Duration = Duration::from_secs(1);
/// For the thread: it calls nothing deep.
const STACK: usize = 256 * 1024;

/// The thread that looks, where one is needed.
pub struct DrainWatcher {
    announcer: Announcer,
    looks: Option<Sender<Look>>,
}

/// An order to look now, and to go on with these.
struct Look {
    /// `drain_file` of `[daemon]`, which concerns all checks.
    host: Option<PathBuf>,
    checks: Arc<[Arc<Check>]>,
    /// Told when it is done.
    done: Sender<()>,
}

impl DrainWatcher {
    /// No file is looked at yet.
    pub fn new(announcer: Announcer) -> DrainWatcher {
        DrainWatcher { announcer, looks: None }
    }

    /// Looks at the drain files of these checks, and at `host`, which concerns them all; then once a second. Returns when
    /// that look is done, or after a second. To be called before the threads of new checks are started.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn follow(&mut self, host: Option<&Path>, checks: Arc<[Arc<Check>]>) -> io::Result<()> {
        let needed = host.is_some() || checks.iter().any(|check| check.service.drain_file.is_some());
        let looks = match self.looks.take() {
            Some(looks) => looks,
            None if !needed => return Ok(()),
            None => self.start()?,
        };
        let (done, looked) = channel();
        // Without a receiver the thread has ended by a bug, which is logged.
        let _ = looks.send(Look { host: host.map(Path::to_path_buf), checks, done });
        if looked.recv_timeout(PATIENCE).is_err() {
            warn!("the drain files cannot be read in {PATIENCE:?}; until they can, nothing new is drained");
        }
        // Else what was drained is not any more, and nothing can be.
        self.looks = needed.then_some(looks);
        Ok(())
    }

    fn start(&self) -> io::Result<Sender<Look>> {
        let (looks, orders) = channel();
        let announcer = self.announcer.clone();
        let mut watch = Watch { announcer, host: None, checks: Arc::from([]), answers: HashMap::new() };
        let thread = std::thread::Builder::new().name("drains".into()).stack_size(STACK);
        thread.spawn(move || watch.run(&orders))?;
        Ok(looks)
    }
}

/// The looking thread.
struct Watch {
    announcer: Announcer,
    host: Option<PathBuf>,
    checks: Arc<[Arc<Check>]>,
    /// What each file said last.
    answers: HashMap<PathBuf, Answer>,
}

/// What a file says; `end` is none where it is not there.
#[derive(Default)]
struct Answer {
    end: Option<DrainEnd>,
    problem: Option<String>,
}

impl Watch {
    fn run(&mut self, orders: &Receiver<Look>) {
        loop {
            match orders.recv_timeout(EVERY) {
                Ok(Look { host, checks, done }) => {
                    (self.host, self.checks) = (host, checks);
                    self.look(SystemTime::now());
                    // Nobody waits any more where the look took long.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.look(SystemTime::now()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look(&mut self, now: SystemTime) {
        let files: Vec<&PathBuf> =
            self.host.iter().chain(self.checks.iter().filter_map(|check| check.service.drain_file.as_ref())).collect();
        let mut before = std::mem::take(&mut self.answers);
        for file in files {
            if !self.answers.contains_key(file) {
                self.answers.insert(file.clone(), ask(file, before.remove(file).unwrap_or_default()));
            }
        }
        for check in self.checks.iter() {
            let files = self.host.iter().chain(&check.service.drain_file);
            let found = files.filter_map(|file| Some((self.answers.get(file)?.end?, &**file)));
            let found = found.filter(|(end, _)| end.is_after(now)).max_by_key(|(end, _)| *end);
            let change = settle(check, found);
            self.announcer.announce(check, change);
        }
    }
}

/// Reads the file. What hinders that is said once, and the last answer stands.
fn ask(file: &Path, last: Answer) -> Answer {
    match atomic_file::read_start(file, drain_file::MAX_LEN) {
        Ok(found) => {
            if last.problem.is_some() {
                info!("drain file {} can be read again", file.display());
            }
            Answer { end: found.map(|bytes| drain_file::parse(&bytes)), problem: None }
        }
        Err(why) => {
            let problem = why.to_string();
            if last.problem.as_ref() != Some(&problem) {
                let drained = if last.end.is_some() { "drained" } else { "not drained" };
                error!("drain file {} cannot be read, its services stay {drained}: {problem}", file.display());
            }
            Answer { problem: Some(problem), ..last }
        }
    }
}

/// Makes the service what the files say.
fn settle(check: &Check, found: Option<(DrainEnd, &Path)>) -> Change {
    let (service, name) = (&check.service, check.name());
    let mut state = check.state_mut();
    match (state.drained(), found) {
        (None, None) => Change::default(),
        (Some(drained), Some((end, file))) if (drained.end, &*drained.file) == (end, file) => Change::default(),
        (before, Some((end, file))) => {
            let is_new = before.is_none();
            let change = state.drain(file.to_path_buf(), end);
            drop(state);
            let file = file.display();
            match is_new {
                true => warn!("{name}: drained by {file} {end}: nothing is run, its prefixes are withdrawn"),
                false => info!("{name}: drained by {file} {end} from now on"),
            }
            change
        }
        (Some(_), None) => {
            let change = state.end_drain(service);
            drop(state);
            match service.disabled {
                None => {
                    check.trigger.check_now();
                    info!("{name}: the drain is over, {} passing checks make it up again", service.check_rise);
                }
                // Its thread has ended.
                Some(_) => info!("{name}: the drain is over, and on_disabled decides again"),
            }
            change
        }
    }
}

#[cfg(test)]
mod tests;
