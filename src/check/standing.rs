//! How one service stands, and every way in which that changes: a run of its check that ended, a check that is overruled,
//! a decision without one.
//!
//! Promises: a change is published and told to the bird-writer under one lock, so that no two can overtake each other;
//! who makes it learns which states it lies between, for the hook.
//! Leaves out: running checks (`check::worker`), and when a state is reached (`check::health`).

use std::collections::BTreeSet;
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::check::health::{Outcome, Progress, State};
use crate::config::settings::{OnDisabled, Service};
use crate::event::{Event, Verdict};
use crate::prefix::Prefix;
use crate::report::snapshot::{Run, RunResult, ServiceReport};

/// What one cycle found, before it becomes a verdict.
pub(super) struct Finding {
    pub(super) outcome: Outcome,
    pub(super) took: Option<Duration>,
    pub(super) result: RunResult,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

pub(super) fn failed(result: RunResult) -> Finding {
    Finding { outcome: Outcome::Failed, took: None, result, stdout: Vec::new(), stderr: Vec::new() }
}

impl ServiceReport {
    /// Tells the writer "down" in the place of the check thread, which learns of it when it is about to tell something
    /// else. To be done under one lock with what the reason is.
    #[must_use]
    pub(super) fn overrule(&mut self, service: &Service, events: &Sender<Event>) -> Option<[State; 2]> {
        self.overruled = true;
        self.say(service, State::Down, events)
    }

    /// Tells the writer what `on_disabled` says.
    #[must_use]
    pub(super) fn decide(
        &mut self,
        service: &Service,
        decision: OnDisabled,
        events: &Sender<Event>,
    ) -> Option<[State; 2]> {
        self.overruled = false;
        self.missing.clear();
        self.say(service, decided(decision), events)
    }

    fn say(&mut self, service: &Service, state: State, events: &Sender<Event>) -> Option<[State; 2]> {
        let changed = self.reach(state, SystemTime::now());
        self.undecided.clear();
        // Without a receiver the daemon is ending.
        let _ = events.send(Event::Verdict(Verdict { state, ..down(service.name.as_str().into()) }));
        changed
    }

    /// Has the check run at once, where there is a thread for it.
    pub(super) fn order(&self) {
        if let Some(orders) = self.orders.upgrade() {
            // Without a receiver the thread has ended.
            let _ = orders.send(());
        }
    }

    /// What the writer is to know.
    pub fn verdict(&self, service: &Arc<str>) -> Verdict {
        let (missing, undecided) = (self.missing.clone(), self.undecided.clone());
        Verdict { service: service.clone(), state: self.state, missing, undecided }
    }

    /// The state is this one by now. Returns the state before and this one, where it is another.
    #[must_use]
    pub(super) fn reach(&mut self, state: State, when: SystemTime) -> Option<[State; 2]> {
        if self.state == state {
            return None;
        }
        let old = std::mem::replace(&mut self.state, state);
        self.since = when;
        self.transitions += 1;
        Some([old, state])
    }

    pub(super) fn record(
        &mut self,
        began: SystemTime,
        missing: &BTreeSet<Prefix>,
        finding: &Finding,
        progress: Progress,
    ) -> Option<[State; 2]> {
        let changed = match progress {
            // The moment of the verdict, not that of the start of a run which may have taken long.
            Progress::Changed(state) => self.reach(state, SystemTime::now()),
            Progress::Confirmed(_) | Progress::GoingUp { .. } | Progress::GoingDown { .. } => None,
        };
        let counts = &mut self.counts;
        match finding.result {
            RunResult::Exited(0) => counts.passed += 1,
            RunResult::Exited(_) | RunResult::Signaled(_) | RunResult::NotStarted(_) => counts.failed += 1,
            RunResult::TimedOut => {
                counts.timed_out += 1;
                counts.first_time_out.get_or_insert(began);
            }
            RunResult::NotAssigned => counts.not_assigned += 1,
        }
        if let Some(code) = finding.result.verdict_code(progress) {
            self.code = Some(code);
        }
        self.progress = Some(progress);
        if let Progress::Changed(_) | Progress::Confirmed(_) = progress {
            self.undecided.clear();
        }
        if let RunResult::Exited(_) | RunResult::Signaled(_) = finding.result {
            self.duration = finding.took;
        }
        self.missing.clone_from(missing);
        let output = match finding.outcome {
            Outcome::Failed => String::from_utf8_lossy(&[&finding.stdout[..], &finding.stderr].concat()).into_owned(),
            Outcome::Passed | Outcome::Withheld => String::new(),
        };
        self.last = Some(Run { began, took: finding.took, result: finding.result.clone(), output });
        changed
    }
}

/// The state of a service whose check is disabled.
pub(super) fn decided(decision: OnDisabled) -> State {
    match decision {
        OnDisabled::Withdraw => State::Down,
        OnDisabled::Advertise => State::Up,
    }
}

/// What is said of a service whose check is overruled.
pub(super) fn down(service: Arc<str>) -> Verdict {
    Verdict { service, state: State::Down, missing: BTreeSet::new(), undecided: BTreeSet::new() }
}
