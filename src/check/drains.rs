//! The drain files, looked at once a second: whose service is to be out, whatever its check says.
//!
//! ```text
//!   file there ----> report.drained, "down" to the bird-writer ----> the check thread rests: it runs nothing
//!   file gone, ----> report.drained taken back, the check ordered -> the check thread goes on from "down", at once; the
//!   time over                                                        prefix is back when check_rise checks passed
//! ```
//!
//! Promises: a prefix leaves within a second though its check hangs, as the writer is told from here; a file that cannot
//! be read changes nothing; a drain that was found when the daemon started is older than every check. Where no
//! service has a drain file there is no thread.
//! Who may block: this thread, on the files; one on a dead file system holds up the look at the others. What stops it:
//! the drop of [`Drains`].
//! Leaves out: what a file says (`drain`).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{error, info, warn};

use crate::check::health::State;
use crate::check::hook::Hooks;
use crate::config::settings::Service;
use crate::drain::{self, End};
use crate::event::Event;
use crate::report::snapshot::{Board, Drained, Published, ServiceReport};
use crate::sys::atomic_file;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How long the daemon waits for a look that must come before the checks.
const PATIENCE: Duration = Duration::from_secs(1);
/// The code of a service that is down whatever its check says: as where its address is not assigned.
const WITHHELD: i32 = 1;
/// For the thread: it calls nothing deep.
const STACK: usize = 256 * 1024;

/// The thread that looks, where one is needed.
pub struct Drains {
    board: Arc<Board>,
    events: Sender<Event>,
    hooks: Arc<Hooks>,
    looks: Option<Sender<Look>>,
}

/// An order to look now.
struct Look {
    /// `drain_file` of `[daemon]`.
    host: Option<PathBuf>,
    /// Told when it is done.
    done: Sender<()>,
}

impl Drains {
    /// No file is looked at yet.
    pub fn new(board: Arc<Board>, events: Sender<Event>, hooks: Arc<Hooks>) -> Drains {
        Drains { board, events, hooks, looks: None }
    }

    /// Looks at the drain files of the services that are on the board now, and at `host`, which concerns them all; then
    /// once a second. Returns when that look is done, or after a second. To be called before the check threads of
    /// services that are new on the board are started.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn follow(&mut self, host: Option<&Path>) -> io::Result<()> {
        let services = self.board.services.lock().clone();
        let needed = host.is_some() || services.iter().any(|(service, _)| service.drain_file.is_some());
        let looks = match self.looks.take() {
            Some(looks) => looks,
            None if !needed => return Ok(()),
            None => self.start()?,
        };
        let (done, looked) = channel();
        // Without a receiver the thread has ended by a bug, which is logged.
        let _ = looks.send(Look { host: host.map(Path::to_path_buf), done });
        if looked.recv_timeout(PATIENCE).is_err() {
            warn!("the drain files cannot be read in {PATIENCE:?}; until they can, nothing new is drained");
        }
        // Else what was drained is not any more, and nothing can be.
        self.looks = needed.then_some(looks);
        Ok(())
    }

    fn start(&self) -> io::Result<Sender<Look>> {
        let (looks, orders) = channel();
        let (board, events, hooks) = (self.board.clone(), self.events.clone(), self.hooks.clone());
        let mut watch = Watch { board, events, hooks, host: None, answers: HashMap::new() };
        let thread = std::thread::Builder::new().name("drains".into()).stack_size(STACK);
        thread.spawn(move || watch.run(&orders))?;
        Ok(looks)
    }
}

/// The looking thread.
struct Watch {
    board: Arc<Board>,
    events: Sender<Event>,
    hooks: Arc<Hooks>,
    host: Option<PathBuf>,
    /// What each file said last.
    answers: HashMap<PathBuf, Answer>,
}

/// What a file says; `end` is none where it is not there.
#[derive(Default)]
struct Answer {
    end: Option<End>,
    problem: Option<String>,
}

impl Watch {
    fn run(&mut self, orders: &Receiver<Look>) {
        loop {
            match orders.recv_timeout(EVERY) {
                Ok(Look { host, done }) => {
                    self.host = host;
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
        let services = self.board.services.lock().clone();
        let host = self.host.take();
        let mut before = std::mem::take(&mut self.answers);
        for file in host.iter().chain(services.iter().filter_map(|(service, _)| service.drain_file.as_ref())) {
            if !self.answers.contains_key(file) {
                self.answers.insert(file.clone(), ask(file, before.remove(file).unwrap_or_default()));
            }
        }
        for (service, report) in &*services {
            let files = host.iter().chain(&service.drain_file);
            let found = files.filter_map(|file| Some((self.answers.get(file)?.end?, &**file)));
            let found = found.filter(|(end, _)| end.is_after(now)).max_by_key(|(end, _)| *end);
            let changed = settle(service, report, found, &self.events);
            self.hooks.changed(service, report, changed);
        }
        self.host = host;
    }
}

/// Reads the file. What hinders that is said once, and the last answer stands.
fn ask(file: &Path, last: Answer) -> Answer {
    match atomic_file::read_start(file, drain::LONGEST) {
        Ok(found) => {
            if last.problem.is_some() {
                info!("drain file {} can be read again", file.display());
            }
            Answer { end: found.map(|bytes| drain::read(&bytes)), problem: None }
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

/// Makes the service what the files say. Returns the state before and after, where that changed it.
fn settle(
    service: &Service,
    report: &Published<ServiceReport>,
    found: Option<(End, &Path)>,
    events: &Sender<Event>,
) -> Option<[State; 2]> {
    let mut changed = None;
    let mut report = report.lock();
    let name = &service.name;
    match (&mut report.drained, found) {
        (None, None) => {}
        (Some(drained), Some((end, file))) => {
            if (drained.end, &*drained.file) != (end, file) {
                (drained.end, drained.file) = (end, file.to_path_buf());
                info!("{name}: drained by {} {end} from now on", file.display());
            }
        }
        (none, Some((end, file))) => {
            *none = Some(Drained { file: file.to_path_buf(), end, since: SystemTime::now() });
            report.code = Some(WITHHELD);
            changed = report.overrule(service, events);
            warn!("{name}: drained by {} {end}: nothing is run, its prefixes are withdrawn", file.display());
        }
        (drained, None) => {
            *drained = None;
            match service.disabled {
                None => {
                    report.order();
                    info!("{name}: the drain is over, {} passing checks make it up again", service.check_rise);
                }
                // Its thread has ended.
                Some(decision) => {
                    changed = report.decide(service, decision, events);
                    info!("{name}: the drain is over, and on_disabled decides again");
                }
            }
        }
    }
    changed
}

#[cfg(test)]
mod tests;
