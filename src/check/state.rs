//! The state of one service, and every transition of it.
//!
//! ```text
//!       +---------+  check_rise passes in a row    +------+
//!       | Unknown | -----------------------------> |  Up  |
//!       +---------+                                +------+
//!            | check_fail failures in a row,        |    ^
//!            | or forced down                       |    | check_rise passes in a row
//!            |                                      v    |
//!            |                                     +------+
//!            +-----------------------------------> | Down |
//!                                                  +------+
//!
//!   transition      caller           state                          side effects
//!   begin           check thread     -                              refused while drained
//!   finish          check thread     as `check::health` decides     ends "stuck", sets missing
//!   decide          check thread     as `on_disabled` says          ignored while drained
//!   addresses_gone  address watcher  forced down if none is left    adds to missing
//!   declare_stuck   supervisor       forced down                    begins "stuck"
//!   drain           drain watcher    forced down                    begins "drained"
//!   end_drain       drain watcher    stays down, or `on_disabled`   ends "drained"
//!   leave           main thread      -                              begins "leaving", for good
//! ```
//!
//! Guarantees: each transition returns what it changed, so that the caller can send a hint and run
//! the hook. A run that was under way when its service was forced down is discarded.
//! [`Verdict::intent`] derives what becomes of each prefix from the state alone.
//!
//! Out of scope: running checks (`check::worker`), the rules of the counters (`check::health`), the
//! clock.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::check::health::{CheckOutcome, Health, Progress, State};
use crate::config::settings::{OnDisabled, Service};
use crate::drain_file::DrainEnd;
use crate::prefix::Prefix;
use overrides::Overrides;
use verdict::PrefixExceptions;
use watchdog::Watchdog;

pub use change::{Change, Finished};
pub use overrides::Drained;
pub use result::{CheckResult, RunResult};
pub use runs::{Counts, HookRuns, Run};
pub use verdict::{Intent, Verdict};

mod change;
mod overrides;
mod result;
mod runs;
mod verdict;
mod watchdog;

/// The code of a drained service, which is that of a service without assigned addresses.
const DRAINED_CODE: i32 = 1;

/// The state of one service. Read it through [`Check::state`](crate::check::Check::state).
#[derive(Clone, Debug)]
pub struct CheckState {
    health: Health,
    /// Since when it is in this state.
    pub since: SystemTime,
    /// The code of the run that gave or last confirmed the state, see [`RunResult::code`]. None
    /// without a verdict.
    pub code: Option<i32>,
    /// The counters after the last run.
    pub progress: Option<Progress>,
    /// The last run of the check.
    pub last: Option<Run>,
    /// How long the command ran in the last run that neither timed out nor failed to start.
    pub duration: Option<Duration>,
    exceptions: PrefixExceptions,
    /// The number of runs by result.
    pub counts: Counts,
    /// The number of changes of state, including the first verdict.
    pub transitions: u64,
    overrides: Overrides,
    watchdog: Watchdog,
    /// Why the check thread does not run: it cannot be created.
    pub problem: Option<String>,
    /// The process that `watch_pidfile` named at the last check, if it is watched.
    pub watched: Option<i32>,
    /// The runs of `state_change_cmd`.
    pub hook: HookRuns,
}

impl CheckState {
    /// Creates the state of a service that has not been checked.
    pub fn new(service: &Service) -> CheckState {
        CheckState {
            health: Health::new(service.check_rise, service.check_fail),
            since: SystemTime::now(),
            code: None,
            progress: None,
            last: None,
            duration: None,
            exceptions: PrefixExceptions::default(),
            counts: Counts::default(),
            transitions: 0,
            overrides: Overrides::default(),
            watchdog: Watchdog::default(),
            problem: None,
            watched: None,
            hook: HookRuns::default(),
        }
    }

    /// The state of the same service after a reload that changed it and added the prefixes
    /// `gained`: the state and the counts stay, the counters towards another state start again at
    /// 0.
    pub fn carried_over(&self, service: &Service, gained: &[Prefix]) -> CheckState {
        let configured: HashSet<&Prefix> = service.prefixes.iter().collect();
        let is_configured = |prefix: &&Prefix| configured.contains(prefix);
        let PrefixExceptions { missing, unconfirmed } = &self.exceptions;
        let missing = missing.iter().filter(|_| service.assigned_to.is_some()).filter(is_configured);
        let unconfirmed = unconfirmed.iter().filter(is_configured).chain(gained);
        CheckState {
            health: Health::new(service.check_rise, service.check_fail).with_state(self.state()),
            progress: None,
            exceptions: PrefixExceptions {
                missing: missing.copied().collect(),
                unconfirmed: unconfirmed.copied().collect(),
            },
            watchdog: Watchdog { verdict_due: self.watchdog.verdict_due, ..Watchdog::default() },
            overrides: Overrides { stuck: false, ..self.overrides.clone() },
            problem: None,
            ..self.clone()
        }
    }

    // --- queries ---

    /// The state as of the last verdict.
    pub fn state(&self) -> State {
        self.health.state()
    }

    /// Whether the next runs may change the state.
    pub fn is_undecided(&self) -> bool {
        self.health.is_undecided()
    }

    /// What the routes depend on.
    pub fn verdict(&self) -> Verdict {
        Verdict {
            state: self.state(),
            withheld: self.overrides.withheld(),
            ends_hold: self.overrides.ends_hold(),
            unassigned: self.overrides.unassigned,
            exceptions: self.exceptions.clone(),
        }
    }

    /// Prefixes that were not assigned to the interface when it was last examined.
    pub fn missing(&self) -> &BTreeSet<Prefix> {
        &self.exceptions.missing
    }

    /// The drain of the service. None if it is not drained.
    pub fn drained(&self) -> Option<&Drained> {
        self.overrides.drained.as_ref()
    }

    /// Whether the service was declared down because its thread missed its deadline.
    pub fn is_stuck(&self) -> bool {
        self.overrides.stuck
    }

    /// When its thread counts as overdue unless it reports before. None while it cannot be overdue.
    pub fn deadline(&self) -> Option<Instant> {
        self.watchdog.deadline
    }

    /// When its first verdict is due. None if it has one, or if its thread has not begun.
    pub fn verdict_due(&self) -> Option<Instant> {
        self.watchdog.verdict_due.filter(|_| self.state() == State::Unknown)
    }

    /// How often its thread has reported.
    pub fn thread_progress(&self) -> u64 {
        self.watchdog.progress
    }

    /// Whether it is down for another reason than its missing addresses.
    fn is_down_for_another_reason(&self) -> bool {
        self.state() == State::Down && !self.overrides.unassigned
    }

    // --- transitions ---

    /// Records that the check thread is alive and has to report again by `deadline`. Without a
    /// deadline it cannot be overdue.
    pub fn expect_progress_by(&mut self, deadline: Option<Instant>) {
        self.watchdog.report(deadline);
    }

    /// Records that the check thread begins: the first verdict is due by then.
    pub fn expect_verdict_by(&mut self, due: Instant) {
        self.watchdog.verdict_due = Some(due);
    }

    /// Begins a cycle of the check. False if the service is drained, so that nothing may run.
    pub fn begin(&mut self) -> bool {
        self.watchdog.discard = false;
        let drained = self.overrides.drained.is_some();
        if drained {
            self.overrides.stuck = false;
        }
        !drained
    }

    /// Applies the result of a cycle. `missing` are the prefixes that are not assigned now, as an
    /// address may have gone while the command ran. None if the service was drained meanwhile,
    /// which discards the result.
    // Never inlined: see the stack budget in `check::worker`.
    #[inline(never)]
    pub fn finish(
        &mut self,
        service: &Service,
        began: SystemTime,
        missing: BTreeSet<Prefix>,
        check_result: &CheckResult,
    ) -> Option<Finished> {
        let was_stuck = std::mem::take(&mut self.overrides.stuck);
        let discard = std::mem::take(&mut self.watchdog.discard);
        if self.overrides.drained.is_some() {
            return None;
        }
        let (outcome, result) = if missing.len() == service.prefixes.len() {
            (CheckOutcome::ForcedDown, RunResult::NotAssigned)
        } else {
            (check_result.outcome, check_result.result.clone())
        };
        let before = (self.state(), self.verdict());
        let was_down_for_another_reason = self.is_down_for_another_reason();
        let progress = self.health.observe(if discard { CheckOutcome::ForcedDown } else { outcome });
        // A discarded run leaves the code as it was, unless its thread was stuck.
        let kept_code = self.code.filter(|_| discard && !was_stuck);
        self.record(began, missing, &result, check_result.duration, progress);
        self.code = kept_code.or(self.code);
        match progress {
            _ if result == RunResult::NotAssigned => self.overrides.unassigned = !was_down_for_another_reason,
            Progress::Changed(_) | Progress::Confirmed(_) => self.overrides.unassigned = false,
            Progress::GoingUp { .. } | Progress::GoingDown { .. } => {}
        }
        let output = match outcome {
            CheckOutcome::Failed => {
                String::from_utf8_lossy(&[&check_result.stdout[..], &check_result.stderr].concat()).into_owned()
            }
            CheckOutcome::Passed | CheckOutcome::ForcedDown => String::new(),
        };
        let output_changed = self.last.as_ref().is_none_or(|last| last.output != output);
        self.last = Some(Run { began, duration: check_result.duration, result, output });
        // The thread is alive, so it must not be declared stuck before its next report.
        self.expect_progress_by(None);
        Some(Finished { change: self.change_since(before), progress, was_stuck, output_changed })
    }

    fn record(
        &mut self,
        began: SystemTime,
        missing: BTreeSet<Prefix>,
        result: &RunResult,
        duration: Option<Duration>,
        progress: Progress,
    ) {
        self.counts.add(result, began);
        if let Some(code) = result.verdict_code(progress) {
            self.code = Some(code);
        }
        self.progress = Some(progress);
        if let Progress::Changed(_) | Progress::Confirmed(_) = progress {
            self.exceptions.unconfirmed.clear();
        }
        if let RunResult::Exited(_) | RunResult::Signaled(_) = result {
            self.duration = duration;
        }
        self.exceptions.missing = missing;
    }

    /// Records that these prefixes are no longer assigned. Returns those that were not missing
    /// before. The next cycle of the check finds those that are back.
    pub fn addresses_gone(&mut self, service: &Service, gone: BTreeSet<Prefix>) -> (Change, Vec<Prefix>) {
        if self.overrides.drained.is_some() || service.disabled.is_some() {
            return (Change::default(), Vec::new());
        }
        let before = (self.state(), self.verdict());
        let missing = &mut self.exceptions.missing;
        let new: Vec<Prefix> = gone.difference(missing).copied().collect();
        missing.extend(gone);
        if !new.is_empty() && missing.len() == service.prefixes.len() {
            let was_down_for_another_reason = self.is_down_for_another_reason();
            self.force_down(RunResult::NotAssigned.code());
            self.overrides.unassigned = !was_down_for_another_reason;
        }
        (self.change_since(before), new)
    }

    /// Declares the service down because its thread hangs where no time limit applies. It stays
    /// down until the thread is back and `check_rise` runs have passed.
    pub fn declare_stuck(&mut self) -> Change {
        let before = (self.state(), self.verdict());
        self.overrides.stuck = true;
        self.force_down(RunResult::TimedOut.code());
        self.change_since(before)
    }

    /// Drains the service, or changes the file and the end of its drain.
    pub fn drain(&mut self, file: PathBuf, end: DrainEnd) -> Change {
        let before = (self.state(), self.verdict());
        let since = self.overrides.drained.as_ref().map_or_else(SystemTime::now, |drained| drained.since);
        let is_new = self.overrides.drained.replace(Drained { file, end, since }).is_none();
        if is_new {
            self.overrides.drained_while_up = self.state() == State::Up;
            self.exceptions.missing.clear();
            self.force_down(DRAINED_CODE);
        }
        self.change_since(before)
    }

    /// Ends the drain. The service stays down until its check has passed, or `on_disabled` decides.
    pub fn end_drain(&mut self, service: &Service) -> Change {
        let before = (self.state(), self.verdict());
        self.overrides.drained = None;
        self.overrides.drained_while_up = false;
        if let Some(decision) = service.disabled {
            self.apply(decision);
        }
        self.change_since(before)
    }

    /// Applies `on_disabled` to a service with `check_disabled`, unless it is drained.
    pub fn decide(&mut self, decision: OnDisabled) -> Change {
        let before = (self.state(), self.verdict());
        if self.overrides.drained.is_none() {
            self.apply(decision);
        }
        self.change_since(before)
    }

    /// Withdraws the service's prefixes for good, whatever its check says: the daemon stops.
    pub fn leave(&mut self) {
        self.overrides.leaving = true;
    }

    fn apply(&mut self, decision: OnDisabled) {
        self.exceptions = PrefixExceptions::default();
        self.health = self.health.clone().with_state(match decision {
            OnDisabled::Withdraw => State::Down,
            OnDisabled::Advertise => State::Up,
        });
    }

    fn force_down(&mut self, code: i32) {
        self.overrides.unassigned = false;
        self.health.observe(CheckOutcome::ForcedDown);
        self.watchdog.discard = true;
        self.progress = None;
        self.code = Some(code);
        self.exceptions.unconfirmed.clear();
    }

    /// Compares with the state and the verdict before a transition, and counts a change of state.
    fn change_since(&mut self, (old, verdict): (State, Verdict)) -> Change {
        let new = self.state();
        let states = (old != new).then_some([old, new]);
        if states.is_some() {
            // The time of the verdict rather than of the start of the run, which may have taken
            // long.
            self.since = SystemTime::now();
            self.transitions += 1;
        }
        Change { states, transition: states.map_or(0, |_| self.transitions), verdict: verdict != self.verdict() }
    }
}

#[cfg(test)]
mod tests;
