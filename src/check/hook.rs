//! `state_change_cmd`: a command of a service's own, run in the background after each change of its state.
//!
//! ```text
//!   a change of state --> waits --> runs, at most MOST at once and one a service --> counted, and logged where it failed
//!                           |
//!                           +-- the next change of the same service takes its place: skipped, and counted
//! ```
//!
//! A change of state is what the log calls one: from unknown to up or down with the first verdict, and between up and
//! down from then on; also where a check is stuck, or disabled and decided once. An address that comes or goes while
//! others of the service stay is none.
//!
//! The command is started without a shell, with the daemon's environment and in it
//!
//! ```text
//!   SERVICE=foo.bar.com  OLD_STATE=unknown|up|down  NEW_STATE=up|down  PREFIXES="10.52.12.1/32 fd12:aba6:57db:ffff::1/128"
//! ```
//!
//! Promises: nothing waits for it, no route and no check; the runs of a service come in the order of its changes, and its
//! last change is always run, but for a stop of the daemon, which kills what runs and drops what waits.
//! Who may block: only a run's own thread, on the command. What stops it: `state_change_cmd_timeout` (TERM, and KILL a
//! second later), the stop line.
//! Leaves out: which changes there are (`check::worker`); telling them again where a run failed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::check::health::State;
use crate::config::settings::{Service, TimedCommand};
use crate::log::format::python_bytes;
use crate::log::layer::{name_this_thread, Subject};
use crate::report::snapshot::{Published, ServiceReport};
use crate::sys::process::{Ended, How, Left, Limits, Program};
use crate::sys::stop_line::{Stop, StopLine};

/// How many run at the same time, of all services together.
pub const MOST: usize = 8;
/// How long a command that was told to end (TERM) has before it is killed.
const GRACE: Duration = Duration::from_secs(1);
/// How much of its standard error is kept, in bytes.
const KEEP: usize = 1024;
/// As for a check thread: enough for formatting.
const STACK: usize = 256 * 1024;

/// One change of a service's state.
#[derive(Clone)]
pub struct Transition {
    /// As configured when it changed.
    pub service: Arc<Service>,
    /// Where runs are counted.
    pub report: Arc<Published<ServiceReport>>,
    /// The state before.
    pub old: State,
    /// The state since.
    pub new: State,
}

/// The hooks of all services.
pub struct Hooks {
    runs: Published<Runs>,
    stop: StopLine,
}

#[derive(Default)]
struct Runs {
    queue: Queue<Transition>,
    /// The threads that run them, some of which may have ended.
    threads: Vec<JoinHandle<()>>,
    /// How many of them have not.
    working: usize,
    /// Earlier runs that could not be killed.
    left: Vec<Left>,
}

/// What waits to be run, and for whom something runs: first come, first served, one at a time each.
struct Queue<T> {
    order: VecDeque<Arc<str>>,
    waiting: HashMap<Arc<str>, T>,
    running: HashSet<Arc<str>>,
}

impl Hooks {
    /// None waits. `stop` kills what runs.
    pub fn new(stop: StopLine) -> Arc<Hooks> {
        Arc::new(Hooks { runs: Published::default(), stop })
    }

    /// Has the service's command run where its state changed: from the first state to the second. To be called when the
    /// verdict has been sent; returns at once.
    pub fn changed(
        self: &Arc<Self>,
        service: &Arc<Service>,
        report: &Arc<Published<ServiceReport>>,
        changed: Option<[State; 2]>,
    ) {
        if let Some([old, new]) = changed {
            self.run(Transition { service: service.clone(), report: report.clone(), old, new });
        }
    }

    /// Has the service's command run, if it has one. To be called when the verdict has been sent; returns at once.
    pub fn run(self: &Arc<Self>, transition: Transition) {
        if transition.service.state_change.is_none() {
            return;
        }
        let mut runs = self.runs.lock();
        if let Some(skipped) = runs.queue.put(transition.service.name.as_str().into(), transition) {
            skipped.report.lock().hook.skipped += 1;
        }
        if runs.working == MOST || !runs.queue.has_next() {
            // Whoever runs now takes it up next.
            return;
        }
        runs.threads.retain(|thread| !thread.is_finished());
        let hooks = self.clone();
        match std::thread::Builder::new().name("hook".into()).stack_size(STACK).spawn(move || hooks.work()) {
            Ok(thread) => {
                runs.working += 1;
                runs.threads.push(thread);
            }
            // With a thread at work it is only later; without one nobody would ever take it up.
            Err(why) if runs.working == 0 => {
                while let Some((name, transition)) = runs.queue.take() {
                    runs.queue.done(&name);
                    count(&transition, Err(format!("no thread for it: {why}")));
                }
            }
            Err(_) => {}
        }
    }

    /// The threads at work, to be waited for once the stop line is pulled.
    pub fn threads(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.runs.lock().threads)
    }

    /// Runs one after the other until none is left.
    fn work(&self) {
        while let Some((name, transition)) = self.next() {
            name_this_thread(Subject::from(&*transition.service));
            let result = self.run_command(&transition);
            self.runs.lock().queue.done(&name);
            if let Some(result) = result {
                count(&transition, result);
            }
        }
    }

    fn next(&self) -> Option<(Arc<str>, Transition)> {
        let mut runs = self.runs.lock();
        let next = if self.stop.is_pulled() { None } else { runs.queue.take() };
        if next.is_none() {
            runs.working -= 1;
        }
        next
    }

    /// Nothing where the daemon stops.
    fn run_command(&self, transition: &Transition) -> Option<Result<(), String>> {
        let Transition { service, old, new, .. } = transition;
        let TimedCommand { command, timeout } = service.state_change.as_ref()?;
        if self.reap() >= MOST {
            return Some(Err(format!("{MOST} earlier runs could not be killed and still run")));
        }
        info!("running {command}: {old} to {new}");
        let prefixes: Vec<String> = service.prefixes.iter().map(ToString::to_string).collect();
        let mut program = Program::new(command.words())
            .env("SERVICE", &service.name)
            .env("OLD_STATE", old.to_string())
            .env("NEW_STATE", new.to_string())
            .env("PREFIXES", prefixes.join(" "));
        let limits = Limits { deadline: Instant::now() + *timeout, grace: Some(GRACE), keep: KEEP };
        let Ended { how, stderr, left, .. } = program.run(&limits, &self.stop);
        self.runs.lock().left.extend(left);
        let stderr = python_bytes(&stderr.kept);
        match how {
            How::Exited(0) => Some(Ok(())),
            How::Exited(code) => Some(Err(format!("exit code {code}, stderr {stderr}"))),
            How::Signaled(signal) => Some(Err(format!("ended by signal {signal}, stderr {stderr}"))),
            How::TimedOut => Some(Err(format!("ended after {} s, stderr {stderr}", timeout.as_secs_f64()))),
            How::NotStarted(why) => Some(Err(why.to_string())),
            How::Stopped => None,
        }
    }

    /// Reaps runs that could not be killed and have ended, so that none stays a zombie. Returns how many have not.
    pub(super) fn reap(&self) -> usize {
        let mut runs = self.runs.lock();
        runs.left.retain_mut(|left| !left.try_reap());
        runs.left.len()
    }
}

/// Counts a run that ended. The same failure again is logged at debug level.
fn count(transition: &Transition, result: Result<(), String>) {
    let mut report = transition.report.lock();
    let hook = &mut report.hook;
    let before = match &result {
        Ok(()) => {
            hook.succeeded += 1;
            hook.problem.take()
        }
        Err(why) => {
            hook.failed += 1;
            hook.problem.replace(why.clone())
        }
    };
    drop(report);
    match result {
        Ok(()) => debug!("state_change_cmd succeeded"),
        Err(why) if before.as_ref() == Some(&why) => debug!("state_change_cmd failed: {why}"),
        Err(why) => warn!("state_change_cmd failed: {why}"),
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { order: VecDeque::new(), waiting: HashMap::new(), running: HashSet::new() }
    }
}

impl<T> Queue<T> {
    /// Has `name` wait with this; returns what it waited with before, whose place it takes.
    fn put(&mut self, name: Arc<str>, what: T) -> Option<T> {
        let before = self.waiting.insert(name.clone(), what);
        if before.is_none() {
            self.order.push_back(name);
        }
        before
    }

    /// Whether [`Queue::take`] would give something.
    fn has_next(&self) -> bool {
        self.next().is_some()
    }

    /// The first for whom nothing runs, who counts as running from now on.
    fn take(&mut self) -> Option<(Arc<str>, T)> {
        let name = self.order.remove(self.next()?)?;
        let what = self.waiting.remove(&name)?;
        self.running.insert(name.clone());
        Some((name, what))
    }

    /// Nothing runs for `name` any more.
    fn done(&mut self, name: &str) {
        self.running.remove(name);
    }

    /// Found soon: no more can stand before it than run.
    fn next(&self) -> Option<usize> {
        self.order.iter().position(|name| !self.running.contains(name))
    }
}

#[cfg(test)]
mod tests;
