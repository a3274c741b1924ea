//! The thread of one service: waits for the next run, examines the addresses, runs the check, and
//! announces what changed.
//!
//! Guarantees: runs stay on the grid of `check::schedule`, whatever happens between them. No result
//! of a check ends the thread; a panic, which is a bug, becomes [`Event::Died`], the last message
//! of the thread. A stop interrupts a running check.
//!
//! Blocking: only this thread blocks, on its own check and its trigger.
//!
//! Shutdown: the trigger stops the thread and kills its running check.
//!
//! Out of scope: the transitions of the state (`check::state`), the decisions (`check::health`,
//! `check::schedule`) and the routes (`bird::writer`).
//!
//! # Stack budget
//!
//! A host may have a thousand check threads, so each of them has a budget of two pages of stack,
//! including its own data; a test measures it. The deepest call is the one that runs the command.
//! The functions that need much stack before or after it are `#[inline(never)]`, here and in the
//! modules that the thread calls, so that their frames are gone while the command runs.

use std::collections::BTreeSet;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rand::RngExt as _;
use tracing::{debug, info, warn};

use crate::check::addresses::{list, not_assigned, AddressWatcher};
use crate::check::announcer::Announcer;
use crate::check::event::Event;
use crate::check::health::{CheckOutcome, Progress, State};
use crate::check::schedule::{first_verdict, Schedule, MAX_DELAY, SERVICE_MANAGER_GRACE, STUCK_GRACE};
use crate::check::start_limiter::{StartLimiter, StartPermit};
use crate::check::state::{Change, CheckResult, RunResult};
use crate::check::trigger::Wakeup;
use crate::check::watch_pidfile::Pidfile;
use crate::check::Check;
use crate::config::settings::{OnDisabled, Service};
use crate::log::layer::{set_subject, Subject};
use crate::prefix::Prefix;
use crate::sys::orphans::Orphans;
use crate::sys::pidfd::Watcher;
use crate::sys::process::{Exit, Limits, Program, RunOutput};
use crate::sys::stop_token::Stop;
use log_lines::{log_failure, log_output, Thousandths};

mod log_lines;

/// How much of each output stream of a check is kept, in bytes.
const MAX_OUTPUT_LEN: usize = 4096;
/// Enough for formatting and for unwinding a panic. 1,000 threads reserve 256 MiB of address space
/// and touch little of it.
const STACK_SIZE: usize = 256 * 1024;

/// Handles that the supervisor and all check threads share.
#[derive(Clone)]
pub struct Context {
    /// Announces changes of state.
    pub announcer: Announcer,
    /// Knows which addresses are assigned.
    pub address_watcher: Arc<AddressWatcher>,
    /// Watches the processes that `watch_pidfile` names.
    pub process_watcher: Arc<Watcher>,
    /// Programs that could not be killed.
    pub orphans: Arc<Orphans>,
    /// Limits how many checks start at the same time.
    pub start_limiter: Arc<StartLimiter>,
}

/// Starts the thread of `check`.
///
/// # Errors
/// The thread cannot be created, for example because the system has no more (EAGAIN). The caller
/// tries again.
pub fn start(check: Arc<Check>, context: Context, delay: StartDelay) -> std::io::Result<JoinHandle<()>> {
    // For ps and debuggers only: the kernel keeps 15 bytes of a thread's name, and a NUL would be
    // an error.
    let thread = std::thread::Builder::new().name(check.name().replace('\0', "?")).stack_size(STACK_SIZE);
    let program = Program::new(check.service.check_cmd.words());
    let path = check.service.watch_pidfile.clone();
    let pidfile = path.map(|path| Pidfile::new(path, context.process_watcher.clone(), check.clone()));
    // Boxed before the spawn, so that no copy of it lies on the stack of the thread.
    let mut worker = Box::new(Worker { check, context, delay, program, pidfile });
    thread.spawn(move || {
        set_subject(Subject::from(&*worker.check.service));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| worker.run())) {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let why = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            // The send fails only if the writer is gone too, and then the daemon is ending anyway.
            let _ = worker.context.announcer.events.send(Event::Died { service: worker.check.name().into(), why });
        }
    })
}

/// How long the first run of a check is delayed.
#[derive(Clone, Copy, Debug, Default)]
pub struct StartDelay {
    /// A fixed delay, which spreads checks that start at the same moment.
    pub offset: Duration,
    /// The upper bound of an additional random delay: `splay_startup`, for the start of the daemon
    /// only.
    pub splay: Duration,
}

struct Worker {
    check: Arc<Check>,
    context: Context,
    delay: StartDelay,
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
        let mut next = self.schedule_first_run();
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

    /// Chooses the time of the first run, and the deadline of the first verdict.
    #[inline(never)]
    fn schedule_first_run(&self) -> Instant {
        let first = Instant::now() + self.delay.offset + self.random_delay();
        self.check.state_mut().expect_verdict_by(first + first_verdict(self.service()));
        first
    }

    #[inline(never)]
    fn random_delay(&self) -> Duration {
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

    /// If a run that starts at `start` has not reported by this deadline, the thread counts as
    /// stuck.
    fn expect_progress_after(&self, start: Instant) {
        self.check.state_mut().expect_progress_by(Some(start + self.timeout() + SERVICE_MANAGER_GRACE + STUCK_GRACE));
    }

    /// Waits until the check may start. Waiting for a permit does not count as stuck.
    #[inline(never)]
    fn acquire_start(&self) -> StartPermit {
        self.check.state_mut().expect_progress_by(None);
        let permit = self.context.start_limiter.acquire();
        self.expect_progress_after(Instant::now());
        permit
    }

    /// Applies `on_disabled` for a service with `check_disabled`, after which the thread ends, as
    /// that of the original.
    #[inline(never)]
    fn decide_once(&mut self, decision: OnDisabled) {
        match decision {
            OnDisabled::Withdraw => info!("Check is disabled and ip_prefix will be withdrawn"),
            OnDisabled::Advertise => info!("check is disabled, ip_prefix wont be withdrawn"),
        }
        let change = {
            let mut state = self.check.state_mut();
            // See `finish`.
            if self.check.trigger.stop_requested() {
                return;
            }
            state.decide(decision)
        };
        self.announce(change);
        info!("check is now permanently disabled");
    }

    /// Examines the addresses and runs the check once, unless the service is drained. False if the
    /// thread has to stop.
    fn cycle(&mut self) -> bool {
        if !self.begin() {
            return true;
        }
        let began = SystemTime::now();
        let missing = self.missing();
        let result = if !missing.is_empty() && missing.len() == self.service().prefixes.len() {
            CheckResult::not_assigned()
        } else {
            match self.run_check() {
                Some(result) => result,
                None => return false,
            }
        };
        self.finish(began, &result);
        true
    }

    /// Begins a cycle. False if the service is drained, so that nothing may run. The end of the
    /// drain triggers a check.
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

    /// Returns the prefixes that are not assigned to the interface now, and logs those that are
    /// newly missing.
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

    /// Runs the check command. None if a stop interrupted it.
    fn run_check(&mut self) -> Option<CheckResult> {
        if let Err(why) = self.context.orphans.admit(self.check.name()) {
            return Some(CheckResult::failed(RunResult::NotStarted(why.to_string())));
        }
        let permit = self.acquire_start();
        if self.check.trigger.stop_requested() {
            return None;
        }
        debug!("running {}", self.service().check_cmd);
        let limits = Limits { deadline: Instant::now() + self.timeout(), grace: None, max_output: MAX_OUTPUT_LEN };
        let output = self.program.run_with(&limits, &self.check.trigger, || drop(permit));
        self.classify(output)
    }

    /// Turns the end of the command into a result. None if a stop interrupted it.
    #[inline(never)]
    fn classify(&self, output: RunOutput) -> Option<CheckResult> {
        let RunOutput { exit, stdout, stderr, duration, orphan } = output;
        if let Some(orphan) = orphan {
            let why = orphan.to_string();
            if self.context.orphans.keep(self.check.name(), orphan) == 1 {
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
        // Once a stop has begun, a failure is an effect of the stop rather than of the service.
        let wait = if ended_by_service_manager(&result) { SERVICE_MANAGER_GRACE } else { Duration::ZERO };
        if outcome == CheckOutcome::Failed && self.check.trigger.wait(wait) {
            return None;
        }
        if result != RunResult::TimedOut {
            debug!("check duration {}ms", Thousandths(duration.as_micros()));
        }
        Some(CheckResult { outcome, duration: Some(duration), result, stdout: stdout.bytes, stderr: stderr.bytes })
    }

    /// Applies a result to the state, logs it, and announces what it changed.
    #[inline(never)]
    fn finish(&mut self, began: SystemTime, result: &CheckResult) {
        let finished = {
            let mut state = self.check.state_mut();
            // A reload copies the state once it has stopped the check, so the state must not change
            // after the stop.
            if self.check.trigger.stop_requested() {
                return;
            }
            // Read under the lock: an address that goes at this moment is either missing here
            // already, or its transition follows this one.
            let missing = self.context.address_watcher.missing(self.service());
            state.finish(self.service(), began, missing, result)
        };
        let Some(finished) = finished else { return };
        if finished.was_stuck {
            warn!("the check was stuck and is back");
        }
        if result.outcome == CheckOutcome::Failed {
            log_failure(&result.result);
            if finished.output_changed {
                log_output(result);
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

/// Whether a service manager may have ended the run together with the daemon: TERM, INT or HUP
/// ended the command, or it is a shell whose child one of them ended.
fn ended_by_service_manager(result: &RunResult) -> bool {
    const SIGNALS: [i32; 3] = [1, 2, 15];
    match result {
        RunResult::Signaled(signal) => SIGNALS.contains(signal),
        RunResult::Exited(code) => SIGNALS.contains(&(code - 128)),
        _ => false,
    }
}

#[cfg(test)]
pub(crate) mod tests;
