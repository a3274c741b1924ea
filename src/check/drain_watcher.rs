//! Reads the drain files once a second, and drains the services that they name.
//!
//! ```text
//!   the file appears      --> CheckState::drain     --> the prefix is withdrawn, nothing is run
//!   the file disappears,
//!   or its end has come   --> CheckState::end_drain --> a check is triggered, the service is up
//!                                                       once check_rise checks have passed
//! ```
//!
//! Guarantees: a prefix is withdrawn within a second even if the check hangs. A file that cannot be
//! read changes nothing. A drain file that exists when the daemon starts takes effect before any
//! check. If no service has a drain file, there is no thread. A poll that is under way during a
//! reload changes the checks of the old configuration, which are no longer read; the reload
//! requests another poll.
//!
//! Blocking: only this thread blocks, on the files. A file on a dead file system delays the others.
//!
//! Shutdown: dropping [`DrainWatcher`] stops the thread.
//!
//! Out of scope: the content of the files (`drain_file`).

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
use crate::sys::log_once::LogOnce;

/// How often the files are read.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long the daemon waits for the poll that must precede the checks.
const FIRST_POLL_TIMEOUT: Duration = Duration::from_secs(1);
/// The stack size of the thread, whose calls are not deep.
const STACK_SIZE: usize = 256 * 1024;

/// The handle of the drain watcher's thread, which exists only while a drain file is configured.
pub struct DrainWatcher {
    announcer: Announcer,
    requests: Option<Sender<Request>>,
}

/// Replaces the configuration of the thread, and has it poll at once.
struct Request {
    /// `drain_file` of `[daemon]`, which drains all services.
    host: Option<PathBuf>,
    checks: Arc<[Arc<Check>]>,
    /// Notified after the poll.
    done: Sender<()>,
}

impl DrainWatcher {
    /// Creates a drain watcher that watches no file.
    pub fn new(announcer: Announcer) -> DrainWatcher {
        DrainWatcher { announcer, requests: None }
    }

    /// Reads the drain files of these checks, and `host`, which drains them all, now and then once
    /// a second. Returns after the first poll, or after a second. Call it before the threads of new
    /// checks are started.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn follow(&mut self, host: Option<&Path>, checks: Arc<[Arc<Check>]>) -> io::Result<()> {
        let needed = host.is_some() || checks.iter().any(|check| check.service.drain_file.is_some());
        let requests = match self.requests.take() {
            Some(requests) => requests,
            None if !needed => return Ok(()),
            None => self.start()?,
        };
        let (done, polled) = channel();
        // The send fails only if the thread has panicked; then the wait fails too, and is logged.
        let _ = requests.send(Request { host: host.map(Path::to_path_buf), checks, done });
        if polled.recv_timeout(FIRST_POLL_TIMEOUT).is_err() {
            warn!("the drain files cannot be read in {FIRST_POLL_TIMEOUT:?}; until they can, nothing new is drained");
        }
        // If no file is left, the poll has ended all drains, and dropping the sender stops the
        // thread.
        self.requests = needed.then_some(requests);
        Ok(())
    }

    fn start(&self) -> io::Result<Sender<Request>> {
        let (requests, received) = channel();
        let mut poller = Poller::new(self.announcer.clone());
        let thread = std::thread::Builder::new().name("drains".into()).stack_size(STACK_SIZE);
        thread.spawn(move || poller.run(&received))?;
        Ok(requests)
    }
}

/// The state of the polling thread.
struct Poller {
    announcer: Announcer,
    host: Option<PathBuf>,
    checks: Arc<[Arc<Check>]>,
    files: HashMap<PathBuf, DrainFile>,
}

/// The last known content of a drain file.
#[derive(Default)]
struct DrainFile {
    /// When the drain ends. None if the file does not exist.
    end: Option<DrainEnd>,
    /// Why the file cannot be read.
    problem: LogOnce,
}

impl Poller {
    fn new(announcer: Announcer) -> Poller {
        Poller { announcer, host: None, checks: Arc::from([]), files: HashMap::new() }
    }

    fn run(&mut self, requests: &Receiver<Request>) {
        loop {
            match requests.recv_timeout(POLL_INTERVAL) {
                Ok(Request { host, checks, done }) => {
                    self.host = host;
                    self.checks = checks;
                    self.poll(SystemTime::now());
                    // The send fails if the poll took so long that the caller has given up.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.poll(SystemTime::now()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Reads each file once, and applies them to the services.
    fn poll(&mut self, now: SystemTime) {
        let paths: Vec<&PathBuf> =
            self.host.iter().chain(self.checks.iter().filter_map(|check| check.service.drain_file.as_ref())).collect();
        let mut previous = std::mem::take(&mut self.files);
        for path in paths {
            if !self.files.contains_key(path) {
                let mut file = previous.remove(path).unwrap_or_default();
                file.refresh(path);
                self.files.insert(path.clone(), file);
            }
        }
        for check in self.checks.iter() {
            let paths = self.host.iter().chain(&check.service.drain_file);
            let drains = paths.filter_map(|path| Some((self.files.get(path)?.end?, &**path)));
            let drain = drains.filter(|(end, _)| end.is_after(now)).max_by_key(|(end, _)| *end);
            let change = apply(check, drain);
            self.announcer.announce(check, change);
        }
    }
}

impl DrainFile {
    /// Reads the file. If it cannot be read, its last content still counts.
    fn refresh(&mut self, path: &Path) {
        match atomic_file::read_start(path, drain_file::MAX_LEN) {
            Ok(bytes) => {
                if self.problem.clear() {
                    info!("drain file {} can be read again", path.display());
                }
                self.end = bytes.map(|bytes| drain_file::parse(&bytes));
            }
            Err(why) => {
                if self.problem.set(&why.to_string()) {
                    let drained = if self.end.is_some() { "drained" } else { "not drained" };
                    error!("drain file {} cannot be read, its services stay {drained}: {why}", path.display());
                }
            }
        }
    }
}

/// Drains the service, or ends its drain, as its files say.
fn apply(check: &Check, drain: Option<(DrainEnd, &Path)>) -> Change {
    let service = &check.service;
    let name = check.name();
    let mut state = check.state_mut();
    match (state.drained(), drain) {
        (None, None) => Change::default(),
        (Some(drained), Some((end, file))) if (drained.end, &*drained.file) == (end, file) => Change::default(),
        (drained, Some((end, file))) => {
            let is_new = drained.is_none();
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
                // The thread of a disabled check has ended.
                Some(_) => info!("{name}: the drain is over, and on_disabled decides again"),
            }
            change
        }
    }
}

#[cfg(test)]
mod tests;
