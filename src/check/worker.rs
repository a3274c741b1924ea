//! The thread of one service: waits, looks at the addresses, runs the check, and says what changed.
//!
//! Promises: runs stay on the grid whatever happens in between; nothing that a check does ends the thread (a panic, which
//! is a bug, becomes [`Event::Died`], its last word); a stop interrupts a running check.
//! Who may block: only this thread, on its own check and its trigger. What stops it: the trigger, which also kills the
//! check that runs.
//! Leaves out: the transitions of the state (`check::state`), the decisions (`check::health`, `check::schedule`) and the
//! routes (`bird::writer`).
//!
//! A check thread gets by with two pages of stack, its own data included. So what is called between two runs of the
//! command is not inlined: its frame has to be gone while the command runs.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rand::RngExt as _;
use tracing::{debug, error, info, warn};

use crate::check::addresses::{list, not_assigned, AddressWatcher};
use crate::check::announcer::Announcer;
use crate::check::event::Event;
use crate::check::health::{CheckOutcome, Progress, State};
use crate::check::schedule::{first_verdict, Schedule, MAX_DELAY, STUCK_GRACE, SUPERVISOR_GRACE};
use crate::check::start_limiter::{StartLimiter, StartPermit};
use crate::check::state::{Change, CheckResult, RunResult};
use crate::check::trigger::Wakeup;
use crate::check::watch_pidfile::Pidfile;
use crate::check::Check;
use crate::config::settings::{OnDisabled, Service};
use crate::log::format::python_bytes;
use crate::log::layer::{name_this_thread, Subject};
use crate::prefix::Prefix;
use crate::sys::orphans::Orphans;
use crate::sys::pidfd::Watcher;
use crate::sys::process::{Exit, Limits, Program, RunOutput};
use crate::sys::stop_token::Stop;

/// How much of each of a check's two streams is kept, in bytes.
const KEEP: usize = 4096;
/// Enough for formatting and a panic's unwinding; 1,000 threads reserve 256 MiB of addresses and touch little of it.
const STACK: usize = 256 * 1024;

/// What all check threads share.
#[derive(Clone)]
pub struct Context {
    /// Tells of changes.
    pub announcer: Announcer,
    /// Which addresses are assigned.
    pub address_watcher: Arc<AddressWatcher>,
    /// Waits for the end of the processes that `watch_pidfile` names.
    pub process_watcher: Arc<Watcher>,
    /// Programs that could not be killed.
    pub orphans: Arc<Orphans>,
    /// Where they wait for the start of their programs.
    pub start_limiter: Arc<StartLimiter>,
}

/// Starts the thread of `check`, whose first run is delayed so.
///
/// # Errors
/// The thread cannot be created (EAGAIN: no more threads): to be tried again.
pub fn start(check: Arc<Check>, context: Context, delay: FirstRun) -> std::io::Result<JoinHandle<()>> {
    // The kernel's name of a thread holds 15 bytes and no NUL; this one is for ps and the debugger only.
    let thread = std::thread::Builder::new().name(check.name().replace('\0', "?")).stack_size(STACK);
    let program = Program::new(check.service.check_cmd.words());
    let pidfile = check.service.watch_pidfile.clone();
    let pidfile = pidfile.map(|path| Pidfile::new(path, context.process_watcher.clone(), check.clone()));
    // Made here and handed over as one pointer: on the thread's stack it would be under everything, several times.
    let mut worker = Box::new(Worker { check, context, delay, program, pidfile });
    thread.spawn(move || {
        name_this_thread(Subject::from(&*worker.check.service));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| worker.run())) {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let why = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            // Where the writer is gone too the daemon is ending anyway.
            let _ = worker.context.announcer.events.send(Event::Died { service: worker.check.name().into(), why });
        }
    })
}

/// How long the first run waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct FirstRun {
    /// For its place among the services that start at the same moment.
    pub offset: Duration,
    /// A random time up to this more: `splay_startup`, which is for the start of the daemon.
    pub splay: Duration,
}

struct Worker {
    check: Arc<Check>,
    context: Context,
    delay: FirstRun,
    program: Program,
    pidfile: Option<Pidfile>,
}

impl Worker {
    fn run(&mut self) {
        info!(status = %State::Unknown, "loading check for {}", self.check.name());
        for line in &self.service().listing {
            debug!("{line}");
        }
        if let Some(decision) = self.service().disabled {
            return self.decide_once(decision);
        }
        let mut next = self.first_run();
        let schedule = Schedule::new(next, self.service().check_interval);
        while self.check.trigger.wait_until(next) != Wakeup::Stop {
            let began = Instant::now();
            self.expect_progress_after(began);
            if !self.cycle() {
                return;
            }
            let now = Instant::now();
            debug!("wall clock time {}ms", Thousandths((now - began).as_micros()));
            let fast = self.service().check_fast_interval.filter(|_| self.check.state().is_undecided());
            next = schedule.next(now, began, fast.map(|fast| fast.min(MAX_DELAY)));
            self.expect_progress_after(next);
            debug!("sleeping for {}secs", Thousandths((next - now).as_millis()));
        }
    }

    fn service(&self) -> &Service {
        &self.check.service
    }

    /// When that is.
    #[inline(never)]
    fn first_run(&self) -> Instant {
        let first = Instant::now() + self.delay.offset + self.splay();
        self.check.state_mut().expect_verdict_by(first + first_verdict(self.service()));
        first
    }

    #[inline(never)]
    fn splay(&self) -> Duration {
        if self.delay.splay.is_zero() {
            return Duration::ZERO;
        }
        let delay = rand::rng().random_range(Duration::ZERO..=self.delay.splay.min(MAX_DELAY));
        info!("delaying startup for {}secs", Thousandths(delay.as_millis()));
        delay
    }

    fn timeout(&self) -> Duration {
        self.service().check_timeout.min(MAX_DELAY)
    }

    /// If a run that starts at `start` has not reported by this deadline, the thread counts as stuck.
    fn expect_progress_after(&self, start: Instant) {
        self.check.state_mut().expect_progress_by(Some(start + self.timeout() + SUPERVISOR_GRACE + STUCK_GRACE));
    }

    /// Waits until the check may start. Waiting for that does not count as stuck.
    #[inline(never)]
    fn enter(&self) -> StartPermit {
        self.check.state_mut().expect_progress_by(None);
        let start = self.context.start_limiter.acquire();
        self.expect_progress_after(Instant::now());
        start
    }

    /// `check_disabled`: nothing is run, `on_disabled` decides, and the thread ends, as the original's does.
    #[inline(never)]
    fn decide_once(&mut self, decision: OnDisabled) {
        match decision {
            OnDisabled::Withdraw => info!("Check is disabled and ip_prefix will be withdrawn"),
            OnDisabled::Advertise => info!("check is disabled, ip_prefix wont be withdrawn"),
        }
        let change = {
            let mut state = self.check.state_mut();
            // As in `finish`.
            if self.check.trigger.stop_requested() {
                return;
            }
            state.decide(decision)
        };
        self.announce(change);
        info!("check is now permanently disabled");
    }

    /// One look at the addresses and one run of the check, where the service is not drained. False: the daemon stops.
    fn cycle(&mut self) -> bool {
        if !self.begin() {
            return true;
        }
        let began = SystemTime::now();
        let missing = self.missing();
        let found = if !missing.is_empty() && missing.len() == self.service().prefixes.len() {
            CheckResult::not_assigned()
        } else {
            match self.run_check() {
                Some(found) => found,
                None => return false,
            }
        };
        self.finish(began, &found);
        true
    }

    /// False where nothing is to be run: the service is drained. The end of that orders a check.
    #[inline(never)]
    fn begin(&mut self) -> bool {
        if !self.check.state_mut().begin() {
            return false;
        }
        if let Some(pidfile) = &mut self.pidfile {
            let watched = pidfile.refresh();
            self.check.state_mut().watched = watched;
        }
        true
    }

    /// The prefixes that are not assigned to the interface, as of now; those that the state does not know of are logged.
    #[inline(never)]
    fn missing(&self) -> BTreeSet<Prefix> {
        let Some(interface) = &self.service().assigned_to else {
            debug!("checking for IP assignment on interface {} is disabled", self.service().interface);
            return BTreeSet::new();
        };
        let missing = self.context.address_watcher.missing(self.service());
        let assigned = || self.service().prefixes.iter().filter(|prefix| !missing.contains(prefix));
        if assigned().next().is_some() {
            debug!("{} assigned to {interface} interface", list(assigned()));
        }
        let new = list(missing.difference(self.check.state().missing()));
        if !new.is_empty() {
            warn!("{new} isn't assigned to {interface} interface");
        }
        missing
    }

    /// None: the run was interrupted, the daemon stops.
    fn run_check(&mut self) -> Option<CheckResult> {
        if let Err(why) = self.context.orphans.admit(self.check.name()) {
            return Some(CheckResult::failed(RunResult::NotStarted(why.to_string())));
        }
        let start = self.enter();
        if self.check.trigger.stop_requested() {
            return None;
        }
        debug!("running {}", self.service().check_cmd);
        let limits = Limits { deadline: Instant::now() + self.timeout(), grace: None, keep: KEEP };
        let ended = self.program.run_with(&limits, &self.check.trigger, || drop(start));
        self.classify(ended)
    }

    /// What a run came to. None: it was interrupted.
    #[inline(never)]
    fn classify(&self, ended: RunOutput) -> Option<CheckResult> {
        let RunOutput { exit, stdout, stderr, took, left } = ended;
        if let Some(left) = left {
            let why = left.to_string();
            if self.context.orphans.keep(self.check.name(), left) == 1 {
                warn!(
                    "failed to kill check: {why}. It may run under another user, via sudo; it is reaped when it ends"
                );
            }
        }
        let result = match exit {
            Exit::Exited(code) => RunResult::Exited(code),
            Exit::Signaled(signal) => RunResult::Signaled(signal),
            Exit::TimedOut => RunResult::TimedOut,
            Exit::NotStarted(why) => {
                RunResult::NotStarted(format!("cannot run {}: {why}", self.service().check_cmd.program()))
            }
            Exit::Stopped => return None,
        };
        let outcome = if result == RunResult::Exited(0) { CheckOutcome::Passed } else { CheckOutcome::Failed };
        // Once a stop has begun a failure tells of the stop rather than of the service.
        let wait = if ended_by_supervisor(&result) { SUPERVISOR_GRACE } else { Duration::ZERO };
        if outcome == CheckOutcome::Failed && self.check.trigger.wait(wait) {
            return None;
        }
        if result != RunResult::TimedOut {
            debug!("check duration {}ms", Thousandths(took.as_micros()));
        }
        Some(CheckResult { outcome, duration: Some(took), result, stdout: stdout.kept, stderr: stderr.kept })
    }

    /// From a result to a verdict: counted, logged, and announced where it changed something.
    #[inline(never)]
    fn finish(&mut self, began: SystemTime, found: &CheckResult) {
        let finished = {
            let mut state = self.check.state_mut();
            // A reload takes the state over once it has stopped the check, so nothing may change afterwards.
            if self.check.trigger.stop_requested() {
                return;
            }
            // Asked for under the lock: an address that goes at this moment is seen here, or its transition comes after
            // this one.
            let missing = self.context.address_watcher.missing(self.service());
            state.finish(self.service(), began, missing, found)
        };
        let Some(finished) = finished else { return };
        if finished.was_stuck {
            warn!("the check was stuck and is back");
        }
        if found.outcome == CheckOutcome::Failed {
            log_failure(found);
            if finished.output_changed {
                log_output(found);
            }
        }
        self.log_progress(finished.progress);
        self.announce(finished.change);
    }

    fn log_progress(&self, progress: Progress) {
        let state = self.check.state();
        let (status, missing) = (state.state(), state.missing().clone());
        drop(state);
        match progress {
            Progress::GoingUp { n, of } => info!(%status, "going up {n}/{of}"),
            Progress::GoingDown { n, of } => info!(%status, "going down {n}/{of}"),
            Progress::Changed(State::Down) | Progress::Confirmed(State::Down)
                if missing.len() == self.service().prefixes.len() =>
            {
                warn!(%status, "{}", not_assigned(&missing, self.service()));
            }
            Progress::Changed(State::Down) => warn!(%status, "changed to DOWN"),
            Progress::Changed(_) => info!(%status, "changed to UP"),
            Progress::Confirmed(State::Down) => info!(%status, "status DOWN"),
            Progress::Confirmed(_) => debug!(%status, "status UP"),
        }
    }

    fn announce(&self, change: Change) {
        if change.verdict {
            let status = self.check.state().state();
            info!(%status, "adding {} in the queue", list(&self.service().prefixes));
        }
        self.context.announcer.announce(&self.check, change);
    }
}

/// Whether the run looks like one that a supervisor ended together with the daemon: by TERM, INT or HUP, or by a shell
/// that reports its own child's end by one of them.
fn ended_by_supervisor(result: &RunResult) -> bool {
    const SIGNALS: [i32; 3] = [1, 2, 15];
    match result {
        RunResult::Signaled(signal) => SIGNALS.contains(signal),
        RunResult::Exited(code) => SIGNALS.contains(&(code - 128)),
        _ => false,
    }
}

/// Why a check failed.
fn log_failure(found: &CheckResult) {
    match &found.result {
        RunResult::TimedOut => error!("check timed out"),
        RunResult::NotStarted(why) => error!("{why}"),
        RunResult::Signaled(signal) => info!("check was ended by signal {signal}"),
        RunResult::Exited(code) => info!("check failed with exit code {code}"),
        RunResult::NotAssigned => {}
    }
}

/// What a check printed.
fn log_output(found: &CheckResult) {
    if !found.stderr.is_empty() {
        info!("stderr from the check {}", python_bytes(&found.stderr));
    }
    if !found.stdout.is_empty() {
        info!("stdout from the check {}", python_bytes(&found.stdout));
    }
}

/// A count of thousandths as a number with three decimals, cut off. Formatting a float instead would be the deepest call
/// of a check thread, with a kilobyte of stack.
struct Thousandths(u128);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
pub(crate) mod tests;
