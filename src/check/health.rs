//! The health of one service: takes the outcome of each check and yields the state and the progress
//! towards another.
//!
//! ```text
//!    +---------+  rise passes in a row       +------+      counters, of consecutive outcomes:
//!    | Unknown | --------------------------> |  Up  |        passed, cleared by a failure
//!    +---------+                             +------+        failed, cleared by a pass
//!         |                                   |    ^
//!         | fail failures in a row,           |    | rise passes in a row
//!         | or forced down                    v    |
//!         |                                  +------+
//!         +--------------------------------> | Down |
//!                                            +------+
//! ```
//!
//! Guarantees: pure. Fewer outcomes in a row than the threshold do not change the state.
//!
//! Out of scope: running checks (`check::worker`) and what a state means for a route
//! (`bird::routes`).

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// The last verdict on a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// There is no verdict so far; the route stays as it was.
    Unknown,
    /// The service is healthy, and its prefixes are to be advertised.
    Up,
    /// The service is not healthy, and its prefixes are to be withdrawn.
    Down,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Unknown => "unknown",
            State::Up => "up",
            State::Down => "down",
        })
    }
}

/// The outcome of one cycle of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The command exited with 0 in time.
    Passed,
    /// Any other end of the command: another exit code, a signal, a time-out, no such executable.
    Failed,
    /// The service must not get traffic whatever its command says: no address is assigned, its
    /// thread is stuck, or it is drained.
    ForcedDown,
}

/// The effect of an outcome on the state and its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The service is up after `of` passes in a row, of which this was the `n`th.
    GoingUp {
        /// Passes in a row.
        n: u32,
        /// `check_rise`.
        of: u32,
    },
    /// The service is down after `of` failures in a row, of which this was the `n`th.
    GoingDown {
        /// Failures in a row.
        n: u32,
        /// `check_fail`.
        of: u32,
    },
    /// This outcome changed the state.
    Changed(State),
    /// This outcome confirmed the state.
    Confirmed(State),
}

/// The state and the counters of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    rise: NonZeroU32,
    fail: NonZeroU32,
    state: State,
    passed: u32,
    failed: u32,
}

impl Health {
    /// Creates the health of a service that has not been checked.
    pub fn new(rise: NonZeroU32, fail: NonZeroU32) -> Health {
        Health { rise, fail, state: State::Unknown, passed: 0, failed: 0 }
    }

    /// Replaces the state and keeps the counters.
    pub fn with_state(self, state: State) -> Health {
        Health { state, ..self }
    }

    /// The state as of the last outcome.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the next outcomes may change the state: it is unknown, or a counter towards the
    /// other state is running.
    pub fn is_undecided(&self) -> bool {
        match self.state {
            State::Unknown => true,
            State::Up => self.failed > 0,
            State::Down => self.passed > 0,
        }
    }

    /// Applies one outcome.
    pub fn observe(&mut self, outcome: CheckOutcome) -> Progress {
        match outcome {
            CheckOutcome::Passed => {
                self.failed = 0;
                self.passed = self.rise.get().min(self.passed + 1);
                if self.passed < self.rise.get() {
                    return Progress::GoingUp { n: self.passed, of: self.rise.get() };
                }
                self.reach(State::Up)
            }
            CheckOutcome::Failed => {
                self.passed = 0;
                self.failed = self.fail.get().min(self.failed + 1);
                if self.failed < self.fail.get() {
                    return Progress::GoingDown { n: self.failed, of: self.fail.get() };
                }
                self.reach(State::Down)
            }
            CheckOutcome::ForcedDown => {
                self.passed = 0;
                self.reach(State::Down)
            }
        }
    }

    fn reach(&mut self, state: State) -> Progress {
        if self.state == state {
            return Progress::Confirmed(state);
        }
        self.state = state;
        Progress::Changed(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(rise: u32, fail: u32) -> Health {
        Health::new(NonZeroU32::new(rise).unwrap(), NonZeroU32::new(fail).unwrap())
    }

    /// Applies outcomes given as letters (`p`assed, `f`ailed, forced do`w`n), and compares the
    /// progress after each.
    fn check(rise: u32, fail: u32, outcomes: &str, expected: &str) {
        let mut health = health(rise, fail);
        let progress: Vec<String> = outcomes
            .chars()
            .map(|c| match c {
                'p' => CheckOutcome::Passed,
                'f' => CheckOutcome::Failed,
                _ => CheckOutcome::ForcedDown,
            })
            .map(|outcome| match health.observe(outcome) {
                Progress::GoingUp { n, of } => format!("{n}/{of}up"),
                Progress::GoingDown { n, of } => format!("{n}/{of}down"),
                Progress::Changed(state) => format!("{state}!"),
                Progress::Confirmed(state) => state.to_string(),
            })
            .collect();
        assert_eq!(progress.join(" "), expected, "rise {rise} fail {fail} {outcomes}");
    }

    #[test]
    fn a_threshold_of_one_decides_at_once() {
        check(1, 1, "ppff", "up! up down! down");
        check(1, 1, "w", "down!");
    }

    #[test]
    fn too_few_outcomes_in_a_row_change_nothing() {
        check(3, 2, "pppfpppfpfp", "1/3up 2/3up up! 1/2down 1/3up 2/3up up 1/2down 1/3up 1/2down 1/3up");
    }

    #[test]
    fn a_service_goes_down_and_up_again() {
        check(2, 2, "ppffpp", "1/2up up! 1/2down down! 1/2up up!");
    }

    #[test]
    fn a_forced_down_service_is_down_at_once_and_needs_all_its_passes_again() {
        check(2, 3, "ppwwpp", "1/2up up! down! down 1/2up up!");
        check(2, 3, "pwp", "1/2up down! 1/2up");
    }

    #[test]
    fn a_service_is_undecided_while_its_state_may_change() {
        let mut health = health(2, 2);
        let mut seen = vec![health.is_undecided()];
        for outcome in [
            CheckOutcome::Passed,
            CheckOutcome::Passed,
            CheckOutcome::Failed,
            CheckOutcome::Failed,
            CheckOutcome::Passed,
        ] {
            health.observe(outcome);
            seen.push(health.is_undecided());
        }
        assert_eq!(seen, [true, true, false, true, false, true]);
    }

    proptest::proptest! {
        /// The model: the last sequence of equal outcomes that reached its threshold decides the
        /// state.
        #[test]
        fn equals_the_model(rise in 1u32..5, fail in 1u32..5, outcomes in proptest::collection::vec(0u8..3, 0..60)) {
            let mut health = health(rise, fail);
            let (mut state, mut passes, mut failures) = (State::Unknown, 0, 0);
            for outcome in outcomes {
                let before = state;
                let outcome = [CheckOutcome::Passed, CheckOutcome::Failed, CheckOutcome::ForcedDown][outcome as usize];
                match outcome {
                    CheckOutcome::Passed => { passes += 1; failures = 0; }
                    CheckOutcome::Failed => { failures += 1; passes = 0; }
                    CheckOutcome::ForcedDown => { passes = 0; state = State::Down; }
                }
                if passes >= rise { state = State::Up; }
                if failures >= fail { state = State::Down; }
                let changed = health.observe(outcome) == Progress::Changed(state);
                proptest::prop_assert_eq!(health.state(), state);
                proptest::prop_assert_eq!(changed, state != before);
            }
        }
    }
}
