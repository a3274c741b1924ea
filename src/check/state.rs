//! All that is known of one service's health, and every transition of it.
//!
//! ```text
//!   begin ------> finish                  a run of the check: counted, and the state follows check::health
//!   drain ------> end_drain               its operator takes it out, and in again
//!   declare_stuck                         its thread is overdue; the thread's next run takes that back
//!   addresses_gone                        not assigned: withdrawn at once, whatever runs
//!   decide                                check_disabled: on_disabled decides
//!   leave                                 on_exit = withdraw, and the daemon stops
//! ```
//!
//! Promises: each transition returns what it changed, so that the caller can send a hint and run the hook; a run that
//! was under way when its service was drained or declared stuck counts for nothing. The state alone says what is to
//! become of each prefix, see [`Verdict::intent`].
//! Leaves out: running checks (`check::worker`), the rules of the counters (`check::health`), the clock.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::check::health::{CheckOutcome, Health, Progress, State};
use crate::config::settings::{OnDisabled, Service};
use crate::drain_file::DrainEnd;
use crate::prefix::Prefix;

/// The code of a service that is down whatever its check says: as where its address is not assigned.
const WITHHELD: i32 = 1;

/// How a service is. Read it through [`Check::state`](crate::check::Check::state).
#[derive(Clone, Debug)]
pub struct CheckState {
    health: Health,
    /// Since when it is in this state.
    pub since: SystemTime,
    /// What the run that gave or last confirmed the state came to, see [`RunResult::code`]; none without a verdict.
    pub code: Option<i32>,
    /// Where the counters stood after the last run.
    pub progress: Option<Progress>,
    /// The last run of the check.
    pub last: Option<Run>,
    /// How long the last run took that ended by itself.
    pub duration: Option<Duration>,
    /// Prefixes that are not assigned to the interface.
    missing: BTreeSet<Prefix>,
    /// Prefixes that a reload gave to the service, and on which its check has not decided yet.
    unconfirmed: BTreeSet<Prefix>,
    /// Runs so far, by what they came to.
    pub counts: Counts,
    /// Changes of state so far, the first verdict included.
    pub transitions: u64,
    overrides: Overrides,
    watchdog: Watchdog,
    verdict_due: Option<Instant>,
    /// Why nothing is checked although it should be: the thread cannot be created.
    pub problem: Option<String>,
    /// The process that `watch_pidfile` named at the last check and that is watched.
    pub watched: Option<i32>,
    /// Runs of `state_change_cmd` so far.
    pub hook: HookRuns,
}

/// What holds whatever the check says.
#[derive(Clone, Debug, Default)]
struct Overrides {
    /// Its operator wants it out.
    drained: Option<Drained>,
    /// It was up when it was drained.
    drained_while_up: bool,
    /// Its thread missed its time.
    stuck: bool,
    /// The daemon stops, and the service leaves with it.
    leaving: bool,
    /// It is down for no other reason than that no address is assigned, and its check has said nothing since.
    unassigned: bool,
}

/// Whether the check thread is where it should be.
#[derive(Clone, Debug, Default)]
struct Watchdog {
    /// When the thread has to have said something again: after that it is overdue.
    deadline: Option<Instant>,
    /// How often it has said something, so that two looks can tell whether it got anywhere in between.
    progress: u64,
    /// The run under way counts for nothing.
    discard: bool,
}

/// What is known of a service, as far as its routes depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Unknown before the first verdict.
    pub state: State,
    /// Its operator withdraws it: it is drained, or leaves with the daemon.
    pub withheld: bool,
    /// BIRD is told of that at once, even of a list that is held: it was up, or the daemon ends.
    pub ends_hold: bool,
    /// It is down for no other reason than that no address is assigned.
    unassigned: bool,
    missing: BTreeSet<Prefix>,
    unconfirmed: BTreeSet<Prefix>,
}

/// What is to become of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Out of the list.
    Withdraw,
    /// Nothing is known yet: as it is.
    Keep,
    /// In the list.
    Advertise,
}

/// What a transition changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Change {
    /// The state before and after, where it is another.
    pub states: Option<[State; 2]>,
    /// The number of the change of state, if it is one: see [`CheckState::transitions`].
    pub transition: u64,
    /// Whether the bird-writer would read something else now.
    pub verdict: bool,
}

/// A service that its operator took out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// The drain file that counts: where there are two, the one that ends later.
    pub file: PathBuf,
    /// Until when.
    pub end: DrainEnd,
    /// When it was noticed.
    pub since: SystemTime,
}

/// What one cycle of a check came to, before it becomes a verdict.
#[derive(Debug)]
pub struct CheckResult {
    /// For the counters of `check::health`.
    pub outcome: CheckOutcome,
    /// How long the command took; none where it was not run.
    pub duration: Option<Duration>,
    /// What it came to.
    pub result: RunResult,
    /// The end of its standard output.
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: Vec<u8>,
}

/// What [`CheckState::finish`] made of a result.
#[derive(Debug)]
pub struct Finished {
    /// What it changed.
    pub change: Change,
    /// Where the counters stand.
    pub progress: Progress,
    /// The service was declared stuck while this ran.
    pub was_stuck: bool,
    /// The check printed something else than the run before.
    pub output_changed: bool,
}

/// Runs of `state_change_cmd` by what they came to. A run's own thread counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookRuns {
    /// Exit code 0.
    pub succeeded: u64,
    /// Anything else.
    pub failed: u64,
    /// Changes of state that were not run, as a later one came while they waited.
    pub skipped: u64,
    /// Why the last run failed, if it did.
    pub problem: Option<String>,
}

/// One run of a check.
#[derive(Clone, Debug)]
pub struct Run {
    /// When it began.
    pub began: SystemTime,
    /// How long the command took; none where it was not run.
    pub duration: Option<Duration>,
    /// What it came to.
    pub result: RunResult,
    /// The end of what it printed, both streams, where it failed.
    pub output: String,
}

/// What one run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunResult {
    /// The command ended with this exit code.
    Exited(i32),
    /// The command was ended by this signal.
    Signaled(i32),
    /// The command ran into `check_timeout`.
    TimedOut,
    /// The command could not be started, for this reason.
    NotStarted(String),
    /// The command was not run: no address of the service is assigned to its interface.
    NotAssigned,
}

/// Runs by what they came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Exit code 0.
    pub passed: u64,
    /// Another exit code, a signal, or not started.
    pub failed: u64,
    /// Ran into `check_timeout`.
    pub timed_out: u64,
    /// When the first time-out was.
    pub first_time_out: Option<SystemTime>,
    /// Not run, the address was not assigned.
    pub not_assigned: u64,
}

impl Verdict {
    /// For tests: this state and nothing special about it.
    #[cfg(test)]
    pub(crate) fn of(state: State) -> Verdict {
        let (missing, unconfirmed) = (BTreeSet::new(), BTreeSet::new());
        Verdict { state, withheld: false, ends_hold: false, unassigned: false, missing, unconfirmed }
    }

    /// For tests: these prefixes are not assigned, and on those the check has not decided yet.
    #[cfg(test)]
    pub(crate) fn with(self, missing: BTreeSet<Prefix>, unconfirmed: BTreeSet<Prefix>) -> Verdict {
        Verdict { missing, unconfirmed, ..self }
    }

    /// What is to become of this prefix of the service.
    ///
    /// A service that is down is down with all its prefixes, those that a reload has just given to it included; but one
    /// that has merely lost its addresses may be in good health at those. One that is up vouches for such a prefix only
    /// after its check has passed with it.
    pub fn intent(&self, prefix: &Prefix) -> Intent {
        if self.withheld || self.missing.contains(prefix) {
            return Intent::Withdraw;
        }
        match self.state {
            State::Down if self.unassigned && self.unconfirmed.contains(prefix) => Intent::Keep,
            State::Down => Intent::Withdraw,
            State::Unknown => Intent::Keep,
            State::Up if self.unconfirmed.contains(prefix) => Intent::Keep,
            State::Up => Intent::Advertise,
        }
    }

    /// Whether something is known: there was a verdict, or its operator withdraws it.
    pub fn is_known(&self) -> bool {
        self.withheld || self.state != State::Unknown
    }
}

impl CheckState {
    /// Nothing is known.
    pub fn new(service: &Service) -> CheckState {
        CheckState {
            health: Health::new(service.check_rise, service.check_fail),
            since: SystemTime::now(),
            code: None,
            progress: None,
            last: None,
            duration: None,
            missing: BTreeSet::new(),
            unconfirmed: BTreeSet::new(),
            counts: Counts::default(),
            transitions: 0,
            overrides: Overrides::default(),
            watchdog: Watchdog::default(),
            verdict_due: None,
            problem: None,
            watched: None,
            hook: HookRuns::default(),
        }
    }

    /// The state of the same service after a reload that changed it and gave it the prefixes `gained`: what is known of it
    /// and what was counted stay, the counters towards another state begin anew.
    pub fn carried_over(&self, service: &Service, gained: &[Prefix]) -> CheckState {
        let named: HashSet<&Prefix> = service.prefixes.iter().collect();
        let still_named = |prefix: &&Prefix| named.contains(prefix);
        let missing = self.missing.iter().filter(|_| service.assigned_to.is_some()).filter(still_named);
        let unconfirmed = self.unconfirmed.iter().filter(still_named).chain(gained);
        CheckState {
            health: Health::new(service.check_rise, service.check_fail).with_state(self.state()),
            progress: None,
            missing: missing.copied().collect(),
            unconfirmed: unconfirmed.copied().collect(),
            watchdog: Watchdog::default(),
            overrides: Overrides { stuck: false, ..self.overrides.clone() },
            problem: None,
            ..self.clone()
        }
    }

    // --- what is known ---

    /// As of the last verdict.
    pub fn state(&self) -> State {
        self.health.state()
    }

    /// Whether the next runs may change the state.
    pub fn is_undecided(&self) -> bool {
        self.health.undecided()
    }

    /// What the routes depend on.
    pub fn verdict(&self) -> Verdict {
        Verdict {
            state: self.state(),
            withheld: self.overrides.leaving || self.overrides.drained.is_some(),
            ends_hold: self.overrides.leaving || self.overrides.drained_while_up,
            unassigned: self.overrides.unassigned,
            missing: self.missing.clone(),
            unconfirmed: self.unconfirmed.clone(),
        }
    }

    /// Prefixes that are not assigned to the interface, as of the last look.
    pub fn missing(&self) -> &BTreeSet<Prefix> {
        &self.missing
    }

    /// Why it is withdrawn and nothing is run, where its operator wants it so.
    pub fn drained(&self) -> Option<&Drained> {
        self.overrides.drained.as_ref()
    }

    /// Whether its thread missed its time and the service was declared down for it.
    pub fn is_stuck(&self) -> bool {
        self.overrides.stuck
    }

    /// When its thread has to have said something again; none where that cannot be told.
    pub fn deadline(&self) -> Option<Instant> {
        self.watchdog.deadline
    }

    /// When it should have its first verdict at the latest; none where it has one, or where its thread has not begun.
    pub fn verdict_due(&self) -> Option<Instant> {
        self.verdict_due.filter(|_| self.state() == State::Unknown)
    }

    /// How often its thread has said something.
    pub fn thread_progress(&self) -> u64 {
        self.watchdog.progress
    }

    // --- transitions ---

    /// The thread lives, and has to say something again by then; without a time until it says more.
    pub fn expect_progress_by(&mut self, deadline: Option<Instant>) {
        self.watchdog.deadline = deadline;
        self.watchdog.progress += 1;
    }

    /// Its thread begins: a service that is unknown should have its first verdict by then.
    pub fn expect_verdict_by(&mut self, due: Instant) {
        self.verdict_due = Some(due);
    }

    /// A cycle of the check is about to begin. False where the service is drained, so that nothing is to be run.
    pub fn begin(&mut self) -> bool {
        self.watchdog.discard = false;
        let drained = self.overrides.drained.is_some();
        if drained {
            self.overrides.stuck = false;
        }
        !drained
    }

    /// A cycle of the check came to this. `missing` is what is not assigned at this moment: an address may have gone while
    /// the command ran. None where the service was drained meanwhile: then the result counts for nothing.
    // As in the check thread: not inlined, so that its frame is gone when what follows is logged.
    #[inline(never)]
    pub fn finish(
        &mut self,
        service: &Service,
        began: SystemTime,
        missing: BTreeSet<Prefix>,
        found: &CheckResult,
    ) -> Option<Finished> {
        let was_stuck = std::mem::take(&mut self.overrides.stuck);
        let discard = std::mem::take(&mut self.watchdog.discard);
        if self.overrides.drained.is_some() {
            return None;
        }
        let (outcome, result) = if missing.len() == service.prefixes.len() {
            (CheckOutcome::Withheld, RunResult::NotAssigned)
        } else {
            (found.outcome, found.result.clone())
        };
        let before = (self.state(), self.verdict());
        let was_known_to_be_down = self.is_known_to_be_down();
        let progress = self.health.observe(if discard { CheckOutcome::Withheld } else { outcome });
        // What counts for nothing says nothing of the code either; a thread that is back from being stuck does.
        let code = self.code.filter(|_| discard && !was_stuck);
        self.record(began, missing, &result, found.duration, progress);
        self.code = code.or(self.code);
        match progress {
            _ if result == RunResult::NotAssigned => self.overrides.unassigned = !was_known_to_be_down,
            Progress::Changed(_) | Progress::Confirmed(_) => self.overrides.unassigned = false,
            Progress::GoingUp { .. } | Progress::GoingDown { .. } => {}
        }
        let output = match outcome {
            CheckOutcome::Failed => String::from_utf8_lossy(&[&found.stdout[..], &found.stderr].concat()).into_owned(),
            CheckOutcome::Passed | CheckOutcome::Withheld => String::new(),
        };
        let output_changed = self.last.as_ref().is_none_or(|last| last.output != output);
        self.last = Some(Run { began, duration: found.duration, result, output });
        // It is here: nobody shall declare it stuck between this and its next word.
        self.expect_progress_by(None);
        Some(Finished { change: self.change_since(before), progress, was_stuck, output_changed })
    }

    fn record(
        &mut self,
        began: SystemTime,
        missing: BTreeSet<Prefix>,
        result: &RunResult,
        took: Option<Duration>,
        progress: Progress,
    ) {
        let counts = &mut self.counts;
        match result {
            RunResult::Exited(0) => counts.passed += 1,
            RunResult::Exited(_) | RunResult::Signaled(_) | RunResult::NotStarted(_) => counts.failed += 1,
            RunResult::TimedOut => {
                counts.timed_out += 1;
                counts.first_time_out.get_or_insert(began);
            }
            RunResult::NotAssigned => counts.not_assigned += 1,
        }
        if let Some(code) = result.verdict_code(progress) {
            self.code = Some(code);
        }
        self.progress = Some(progress);
        if let Progress::Changed(_) | Progress::Confirmed(_) = progress {
            self.unconfirmed.clear();
        }
        if let RunResult::Exited(_) | RunResult::Signaled(_) = result {
            self.duration = took;
        }
        self.missing = missing;
    }

    /// These prefixes are not assigned any more. Returns those of which that is new. The next cycle of the check takes in
    /// those that are back.
    pub fn addresses_gone(&mut self, service: &Service, gone: BTreeSet<Prefix>) -> (Change, Vec<Prefix>) {
        if self.overrides.drained.is_some() || service.disabled.is_some() {
            return (Change::default(), Vec::new());
        }
        let before = (self.state(), self.verdict());
        let new: Vec<Prefix> = gone.difference(&self.missing).copied().collect();
        self.missing.extend(gone);
        if !new.is_empty() && self.missing.len() == service.prefixes.len() {
            let was_known_to_be_down = self.is_known_to_be_down();
            self.force_down(RunResult::NotAssigned.code());
            self.overrides.unassigned = !was_known_to_be_down;
        }
        (self.change_since(before), new)
    }

    /// Declares the service down, whose thread hangs where no time limit reaches. It stands until the thread is back and
    /// `check_rise` runs have passed.
    pub fn declare_stuck(&mut self) -> Change {
        let before = (self.state(), self.verdict());
        self.overrides.stuck = true;
        self.force_down(RunResult::TimedOut.code());
        self.change_since(before)
    }

    /// The operator takes the service out.
    pub fn drain(&mut self, file: PathBuf, end: DrainEnd) -> Change {
        let before = (self.state(), self.verdict());
        let since = self.overrides.drained.as_ref().map_or_else(SystemTime::now, |drained| drained.since);
        let is_new = self.overrides.drained.replace(Drained { file, end, since }).is_none();
        if is_new {
            self.overrides.drained_while_up = self.state() == State::Up;
            self.missing.clear();
            self.force_down(WITHHELD);
        }
        self.change_since(before)
    }

    /// The drain is over: the service is down until its check says otherwise, or `on_disabled` does.
    pub fn end_drain(&mut self, service: &Service) -> Change {
        let before = (self.state(), self.verdict());
        (self.overrides.drained, self.overrides.drained_while_up) = (None, false);
        if let Some(decision) = service.disabled {
            self.apply(decision);
        }
        self.change_since(before)
    }

    /// `check_disabled`: nothing is run, and this decides, but where the service is drained.
    pub fn decide(&mut self, decision: OnDisabled) -> Change {
        let before = (self.state(), self.verdict());
        if self.overrides.drained.is_none() {
            self.apply(decision);
        }
        self.change_since(before)
    }

    /// The daemon stops, and the service's prefixes leave whatever its check says from now on.
    pub fn leave(&mut self) {
        self.overrides.leaving = true;
    }

    fn apply(&mut self, decision: OnDisabled) {
        self.missing.clear();
        self.unconfirmed.clear();
        self.health = self.health.clone().with_state(match decision {
            OnDisabled::Withdraw => State::Down,
            OnDisabled::Advertise => State::Up,
        });
    }

    /// Whether it is down for another reason than its addresses.
    fn is_known_to_be_down(&self) -> bool {
        self.state() == State::Down && !self.overrides.unassigned
    }

    fn force_down(&mut self, code: i32) {
        self.overrides.unassigned = false;
        self.health.observe(CheckOutcome::Withheld);
        self.watchdog.discard = true;
        self.progress = None;
        self.code = Some(code);
        self.unconfirmed.clear();
    }

    /// Compares with what was before a transition, and counts a change of state.
    fn change_since(&mut self, (old, verdict): (State, Verdict)) -> Change {
        let new = self.state();
        let states = (old != new).then_some([old, new]);
        if states.is_some() {
            // The moment of the verdict, not that of the start of a run which may have taken long.
            self.since = SystemTime::now();
            self.transitions += 1;
        }
        Change { states, transition: states.map_or(0, |_| self.transitions), verdict: verdict != self.verdict() }
    }
}

impl CheckResult {
    /// A check that failed without output.
    pub fn failed(result: RunResult) -> CheckResult {
        CheckResult { outcome: CheckOutcome::Failed, duration: None, result, stdout: Vec::new(), stderr: Vec::new() }
    }

    /// A check that was not run, as no address is assigned.
    pub fn not_assigned() -> CheckResult {
        CheckResult { outcome: CheckOutcome::Withheld, ..CheckResult::failed(RunResult::NotAssigned) }
    }
}

impl RunResult {
    /// The value of the original's metric `service_state`: the exit code, minus the signal's number for a command
    /// ended by a signal (as Python has it), 126 for a command that was too slow or could not be started, 1 for an
    /// address that is not assigned.
    pub fn code(&self) -> i32 {
        match self {
            RunResult::Exited(code) => *code,
            RunResult::Signaled(signal) => -signal,
            RunResult::TimedOut | RunResult::NotStarted(_) => 126,
            RunResult::NotAssigned => 1,
        }
    }

    /// The code of the verdict that a run with this result gave or confirmed; none where it did neither.
    pub fn verdict_code(&self, progress: Progress) -> Option<i32> {
        match progress {
            Progress::Changed(State::Up) | Progress::Confirmed(State::Up) => Some(0),
            // Down although the command passed: the thread was stuck.
            Progress::Changed(_) | Progress::Confirmed(_) if *self == RunResult::Exited(0) => {
                Some(RunResult::TimedOut.code())
            }
            Progress::Changed(_) | Progress::Confirmed(_) => Some(self.code()),
            Progress::GoingUp { .. } | Progress::GoingDown { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
