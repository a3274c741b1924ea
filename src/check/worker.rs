//! The thread of one service: waits, looks at the addresses, runs the check, tells the bird-writer what changed.
//!
//! Promises: runs stay on the grid whatever happens in between; only changes are sent; nothing that a check does ends
//! the thread (a panic, which is a bug, becomes [`Event::Died`], its last word); a stop interrupts a running check.
//! Who may block: only this thread, on its own check and its own orders. What stops it: the sender of its orders is
//! dropped, or its stop line is pulled, which also kills the check that runs.
//! Leaves out: the decisions (`check::health`, `check::schedule`) and the routes (`bird::writer`).

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rand::RngExt as _;
use tracing::{debug, error, info, warn};

use crate::check::assignment::Assignment;
use crate::check::gate::{Gate, Start};
use crate::check::health::{Health, Outcome, Progress, State};
use crate::check::hook::Hooks;
use crate::check::pidfile::Pidfile;
use crate::check::schedule::{Schedule, AGES, PATIENCE, SUPERVISOR};
use crate::check::standing::{decided, down, failed, Finding};
use crate::check::unkilled::Unkilled;
use crate::config::settings::{OnDisabled, Service};
use crate::event::{Event, Verdict};
use crate::log::format::python_bytes;
use crate::log::layer::{name_this_thread, Subject};
use crate::prefix::Prefix;
use crate::report::snapshot::{Published, RunResult, ServiceReport};
use crate::sys::process::{Ended, How, Limits, Program};
use crate::sys::process_end::Watcher;
use crate::sys::stop_line::{SlackLine, Stop};

/// How many runs of a service that could not be killed may be left before no further one is started.
pub(super) const MOST_LEFT: usize = 4;
/// How much of each of a check's two streams is kept, in bytes.
const KEEP: usize = 4096;
/// Enough for formatting and a panic's unwinding; 1,000 threads reserve 256 MiB of addresses and touch little of it.
const STACK: usize = 256 * 1024;

/// What all check threads share.
#[derive(Clone)]
pub struct Common {
    /// To the bird-writer.
    pub events: Sender<Event>,
    /// Pulled when the daemon stops, or a reload ends this thread.
    pub stop: SlackLine,
    /// Which addresses are assigned.
    pub assignment: Arc<Assignment>,
    /// Waits for the end of the processes that `watch_pidfile` names.
    pub watcher: Arc<Watcher>,
    /// Runs `state_change_cmd`.
    pub hooks: Arc<Hooks>,
    /// Earlier runs that could not be killed.
    pub unkilled: Arc<Unkilled>,
    /// Where they wait for the start of their programs.
    pub gate: Arc<Gate>,
    /// `splay_startup`.
    pub splay: Duration,
    /// How long its first run waits for its turn among those of the services that start at the same moment.
    pub turn: Duration,
}

/// Starts the thread of `service`. Each message in `orders` runs the check once, at once; `ordering` is their sender, of
/// which the thread keeps none.
///
/// # Errors
/// The thread cannot be created (EAGAIN: no more threads): to be tried again.
pub fn start(
    service: Arc<Service>,
    report: Arc<Published<ServiceReport>>,
    ordering: Weak<Sender<()>>,
    orders: Receiver<()>,
    common: Common,
) -> std::io::Result<JoinHandle<()>> {
    let name: Arc<str> = service.name.as_str().into();
    report.lock().orders = ordering.clone();
    // The kernel's name of a thread holds 15 bytes and no NUL; this one is for ps and the debugger only.
    let thread = std::thread::Builder::new().name(name.replace('\0', "?")).stack_size(STACK);
    let (health, told) = {
        // Where a reload changed the service, this is where its earlier check ended.
        let report = report.lock();
        let health = Health::new(service.check_rise, service.check_fail).with_state(report.state);
        (health, report.verdict(&name))
    };
    let program = Program::new(service.check_cmd.words());
    let pidfile = service.watch_pidfile.clone();
    let pidfile = pidfile.map(|path| Pidfile::new(path, common.watcher.clone(), ordering));
    // Made here and handed over as one pointer: on the thread's stack it would be under everything, several times.
    let mut worker = Box::new(Worker { name, service, common, report, orders, health, program, pidfile, told });
    thread.spawn(move || {
        name_this_thread(Subject::from(&*worker.service));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| worker.run())) {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let why = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            // Where the writer is gone too the daemon is ending anyway.
            let _ = worker.common.events.send(Event::Died { service: worker.name.clone(), why });
        }
    })
}

/// Declares a service down whose thread has missed its time: it hangs where no time limit reaches, as in starting a
/// program from a dead file system. True where this is done now; it stands until the thread is back and `check_rise`
/// runs have passed. For the main thread, now and then; only where that was itself on time, or a machine that stood
/// still for a while would look like one on which every check is stuck.
pub fn declare_stuck(
    service: &Arc<Service>,
    published: &Arc<Published<ServiceReport>>,
    common: &Common,
    now: Instant,
) -> bool {
    let mut report = published.lock();
    if report.stuck || report.due.is_none_or(|due| now <= due) {
        return false;
    }
    report.stuck = true;
    let changed = report.overrule(service, &common.events);
    warn!("{}: status DOWN because its check is stuck", service.name);
    drop(report);
    common.hooks.changed(service, published, changed);
    true
}

struct Worker {
    name: Arc<str>,
    service: Arc<Service>,
    common: Common,
    report: Arc<Published<ServiceReport>>,
    orders: Receiver<()>,
    health: Health,
    program: Program,
    pidfile: Option<Pidfile>,
    /// What the writer knows.
    told: Verdict,
}

impl Worker {
    fn run(&mut self) {
        info!(status = %State::Unknown, "loading check for {}", self.name);
        for line in &self.service.listing {
            debug!("{line}");
        }
        if let Some(decision) = self.service.disabled {
            return self.decide_once(decision);
        }
        let mut next = Instant::now() + self.common.turn + self.splay();
        let schedule = Schedule::new(next, self.service.check_interval);
        while self.sleep_until(next) {
            let began = Instant::now();
            self.expect_word_after(began);
            if !self.cycle() {
                return;
            }
            let now = Instant::now();
            debug!("wall clock time {}ms", Thousandths((now - began).as_micros()));
            let fast = self.service.check_fast_interval.filter(|_| self.health.undecided());
            next = schedule.next(now, began, fast.map(|fast| fast.min(AGES)));
            self.expect_word_after(next);
            debug!("sleeping for {}secs", Thousandths((next - now).as_millis()));
        }
    }

    /// Not for a check that starts anew after a reload: its service would be without one for so long.
    /// Not inlined, like [`Worker::judge`].
    #[inline(never)]
    fn splay(&self) -> Duration {
        if self.common.splay.is_zero() || self.report.lock().last.is_some() {
            return Duration::ZERO;
        }
        let delay = rand::rng().random_range(Duration::ZERO..=self.common.splay.min(AGES));
        info!("delaying startup for {}secs", Thousandths(delay.as_millis()));
        delay
    }

    fn timeout(&self) -> Duration {
        self.service.check_timeout.min(AGES)
    }

    /// Waits for `next` or an order to check now; orders that piled up meanwhile count as one. False: stop.
    fn sleep_until(&self, next: Instant) -> bool {
        let mut order = self.orders.recv_timeout(next.saturating_duration_since(Instant::now()));
        while order.is_ok() {
            order = match self.orders.try_recv() {
                Ok(()) => Ok(()),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
            };
        }
        order != Err(RecvTimeoutError::Disconnected) && !self.common.stop.is_pulled()
    }

    /// Its thread counts as stuck where nothing is heard of a run that starts at `start`.
    fn expect_word_after(&self, start: Instant) {
        self.report.lock().due = Some(start + self.timeout() + SUPERVISOR + PATIENCE);
    }

    /// Waits until the check may start; nobody is stuck who has to wait for that. Not inlined, like [`Worker::judge`].
    #[inline(never)]
    fn enter(&self) -> Start {
        self.report.lock().due = None;
        let start = self.common.gate.enter();
        self.expect_word_after(Instant::now());
        start
    }

    /// `check_disabled`: nothing is run, `on_disabled` decides, and the thread ends, as the original's does.
    /// Not inlined, like [`Worker::judge`].
    #[inline(never)]
    fn decide_once(&mut self, decision: OnDisabled) {
        match decision {
            OnDisabled::Withdraw => info!("Check is disabled and ip_prefix will be withdrawn"),
            OnDisabled::Advertise => info!("check is disabled, ip_prefix wont be withdrawn"),
        }
        let mut report = self.report.lock();
        let mut changed = None;
        // The end of a drain decides in this thread's place; after a reload that ended this thread, the one that follows.
        let known = self.told == Verdict { state: decided(decision), ..down(self.name.clone()) };
        if report.drained.is_none() && !known && !self.common.stop.is_pulled() {
            changed = report.decide(&self.service, decision, &self.common.events);
            info!(status = %report.state, "adding {} in the queue", list(&self.service.prefixes));
        }
        drop(report);
        self.common.hooks.changed(&self.service, &self.report, changed);
        info!("check is now permanently disabled");
    }

    /// One look at the addresses and one run of the check, where the service is not drained. False: the daemon stops.
    fn cycle(&mut self) -> bool {
        if self.rest() {
            return true;
        }
        let began = SystemTime::now();
        if let Some(pidfile) = &mut self.pidfile {
            let watched = pidfile.look();
            self.report.lock().watched = watched;
        }
        let missing = self.missing();
        let finding = if !missing.is_empty() && missing.len() == self.service.prefixes.len() {
            Finding {
                outcome: Outcome::Withheld,
                took: None,
                result: RunResult::NotAssigned,
                stdout: Vec::new(),
                stderr: Vec::new(),
            }
        } else {
            match self.run_check() {
                Some(finding) => finding,
                None => return false,
            }
        };
        // What a run found that was under way counts for nothing.
        if self.rest() {
            return true;
        }
        self.judge(began, missing, finding);
        true
    }

    /// Takes in that the service was declared down, which the writer knows: it begins anew from there. True where it is
    /// drained, so that nothing is to be run; an order tells of the end of that.
    /// Not inlined, like [`Worker::judge`].
    #[inline(never)]
    fn rest(&mut self) -> bool {
        let mut report = self.report.lock();
        let resting = report.drained.is_some();
        if resting || report.overruled && !report.stuck {
            (report.stuck, report.overruled, report.progress) = (false, false, None);
            report.missing.clear();
            drop(report);
            self.health.observe(Outcome::Withheld);
            self.told = down(self.name.clone());
        }
        resting
    }

    /// The prefixes that are not assigned to the interface. Not inlined, like [`Worker::judge`].
    #[inline(never)]
    fn missing(&self) -> BTreeSet<Prefix> {
        let Some(interface) = &self.service.assigned_to else {
            debug!("checking for IP assignment on interface {} is disabled", self.service.interface);
            return BTreeSet::new();
        };
        let (assigned, missing): (Vec<_>, Vec<_>) =
            self.service.prefixes.iter().partition(|prefix| self.common.assignment.assigned(interface, prefix));
        if !assigned.is_empty() {
            debug!("{} assigned to {interface} interface", list(&assigned));
        }
        let known = &self.told.missing;
        let news: Vec<Prefix> = missing.iter().filter(|prefix| !known.contains(prefix)).copied().collect();
        if !news.is_empty() {
            warn!("{} isn't assigned to {interface} interface", list(&news));
        }
        missing.into_iter().collect()
    }

    /// None: the run was interrupted, the daemon stops.
    fn run_check(&mut self) -> Option<Finding> {
        if self.common.unkilled.reap_of(&self.name) >= MOST_LEFT {
            let why = format!("{MOST_LEFT} earlier runs could not be killed and still run");
            return Some(failed(RunResult::NotStarted(why)));
        }
        let start = self.enter();
        if self.common.stop.is_pulled() {
            return None;
        }
        debug!("running {}", self.service.check_cmd);
        let limits = Limits { deadline: Instant::now() + self.timeout(), grace: None, keep: KEEP };
        let ended = self.program.run_and_say(&limits, &self.common.stop, || drop(start));
        self.find(ended)
    }

    /// What a run came to. None: it was interrupted. Not inlined, like [`Worker::judge`].
    #[inline(never)]
    fn find(&self, ended: Ended) -> Option<Finding> {
        let Ended { how, stdout, stderr, took, left } = ended;
        if let Some(left) = left {
            let why = left.to_string();
            if self.common.unkilled.keep(&self.name, left) == 1 {
                warn!(
                    "failed to kill check: {why}. It may run under another user, via sudo; it is reaped when it ends"
                );
            }
        }
        let result = match how {
            How::Exited(code) => RunResult::Exited(code),
            How::Signaled(signal) => RunResult::Signaled(signal),
            How::TimedOut => RunResult::TimedOut,
            How::NotStarted(why) => {
                RunResult::NotStarted(format!("cannot run {}: {why}", self.service.check_cmd.program()))
            }
            How::Stopped => return None,
        };
        let outcome = if result == RunResult::Exited(0) { Outcome::Passed } else { Outcome::Failed };
        // Once a stop has begun a failure tells of the stop rather than of the service.
        let wait = if ended_by_supervisor(&result) { SUPERVISOR } else { Duration::ZERO };
        if outcome == Outcome::Failed && self.common.stop.wait(wait) {
            return None;
        }
        if result != RunResult::TimedOut {
            debug!("check duration {}ms", Thousandths(took.as_micros()));
        }
        Some(Finding { outcome, took: Some(took), result, stdout: stdout.kept, stderr: stderr.kept })
    }

    /// From a finding to a verdict: counted, logged, published, and sent if it is news. Its frame is to be gone while a
    /// check runs: a check thread gets by with two pages of stack, the thread's own data included.
    #[inline(never)]
    fn judge(&mut self, began: SystemTime, missing: BTreeSet<Prefix>, finding: Finding) {
        let report = self.report.clone();
        let mut report = report.lock();
        // Someone declared the service down while this ran; that stands until check_rise passes.
        let stuck = std::mem::take(&mut report.stuck);
        let overruled = std::mem::take(&mut report.overruled);
        let outcome = if overruled { Outcome::Withheld } else { finding.outcome };
        let progress = self.health.observe(outcome);
        let repeated = report.last.as_ref().is_some_and(|last| last.result == finding.result)
            && progress == Progress::Confirmed(State::Down);
        // Of a change that a reload has not taken over, the check that follows will tell.
        let changed = report.record(began, &missing, &finding, progress).filter(|_| !self.common.stop.is_pulled());
        // It is here: nobody shall declare it stuck between this and the verdict.
        report.due = None;
        let verdict = report.verdict(&self.name);
        drop(report);

        if stuck {
            warn!("the check was stuck and is back");
        }
        if finding.outcome == Outcome::Failed {
            log_failure(repeated, &finding);
        }
        self.log_progress(progress, &missing);
        if overruled {
            self.told = down(self.name.clone());
        }
        self.tell(verdict);
        self.common.hooks.changed(&self.service, &self.report, changed);
    }

    fn log_progress(&self, progress: Progress, missing: &BTreeSet<Prefix>) {
        let status = self.health.state();
        match progress {
            Progress::GoingUp { n, of } => info!(%status, "going up {n}/{of}"),
            Progress::GoingDown { n, of } => info!(%status, "going down {n}/{of}"),
            Progress::Changed(State::Down) if missing.len() == self.service.prefixes.len() => {
                let (prefixes, interface) = (list(missing), &self.service.interface);
                warn!(%status, "status DOWN because {prefixes} isn't assigned to {interface} interface.");
            }
            Progress::Changed(State::Down) => warn!(%status, "changed to DOWN"),
            Progress::Changed(_) => info!(%status, "changed to UP"),
            Progress::Confirmed(State::Down) => debug!(%status, "status DOWN"),
            Progress::Confirmed(_) => debug!(%status, "status UP"),
        }
    }

    /// Sends what the writer does not know yet.
    fn tell(&mut self, verdict: Verdict) {
        if self.told == verdict {
            return;
        }
        // Under the lock, so that what overrules this comes after it (what already does stands until the next cycle), and
        // as the main thread pulls the line when it reads this check's last word for a reload: what the writer hears after
        // that comes from the check that follows.
        let report = self.report.lock();
        if report.overruled || self.common.stop.is_pulled() {
            return;
        }
        info!(status = %verdict.state, "adding {} in the queue", list(&self.service.prefixes));
        self.told = verdict.clone();
        // Without a receiver the daemon is ending.
        let _ = self.common.events.send(Event::Verdict(verdict));
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

/// Why a check failed; at debug level where the last run of a service that is down failed in the same way.
fn log_failure(repeated: bool, finding: &Finding) {
    macro_rules! say {
        ($level:ident, $($text:tt)*) => { if repeated { debug!($($text)*) } else { $level!($($text)*) } };
    }
    match &finding.result {
        RunResult::TimedOut => say!(error, "check timed out"),
        RunResult::NotStarted(why) => say!(error, "{why}"),
        RunResult::Signaled(signal) => say!(info, "check was ended by signal {signal}"),
        RunResult::Exited(code) => say!(info, "check failed with exit code {code}"),
        RunResult::NotAssigned => {}
    }
    if !finding.stderr.is_empty() {
        say!(info, "stderr from the check {}", python_bytes(&finding.stderr));
    }
    if !finding.stdout.is_empty() {
        say!(info, "stdout from the check {}", python_bytes(&finding.stdout));
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

fn list<'a>(prefixes: impl IntoIterator<Item = &'a Prefix>) -> String {
    prefixes.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
pub(crate) mod tests;
