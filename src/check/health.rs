//! The health of one service: consecutive outcomes in, a state and its progress out.
//!
//! ```text
//!                 rise passes in a row                     (counters, per state)
//!     Unknown ----------------------------> Up             passed: 0..=rise, failed: 0..=fail;
//!        |  \                              ^  |            a pass clears `failed`, a failure clears `passed`
//!        |   fail failures in a row        |  | fail failures in a row, or not assigned
//!        |       \                         |  v
//!        +--------+-------------------> Down -+
//!        not assigned, withheld            rise passes in a row
//! ```
//!
//! Promises: pure; a run of outcomes shorter than its threshold changes nothing; only a change is news.
//! Leaves out: running checks (`check::worker`) and what a state means for a route (`bird::routes`).

use std::fmt;
use std::num::NonZeroU32;

/// What is known of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No verdict yet since the daemon started: the route stays as it is.
    Unknown,
    /// `check_rise` checks in a row passed.
    Up,
    /// `check_fail` checks in a row failed, or the address is not assigned.
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

/// What one cycle of a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The command exited with 0 in time.
    Passed,
    /// Anything else of the command: another exit code, a signal, a time-out, no such executable.
    Failed,
    /// The service cannot have traffic whatever its command says: no address assigned, its thread stuck, or drained.
    Withheld,
}

/// Where the counters stand after an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// `n` of `of` passes that make the service up.
    GoingUp {
        /// Passes in a row.
        n: u32,
        /// `check_rise`.
        of: u32,
    },
    /// `n` of `of` failures that make the service down.
    GoingDown {
        /// Failures in a row.
        n: u32,
        /// `check_fail`.
        of: u32,
    },
    /// The state was just reached by this outcome: news.
    Changed(State),
    /// The state was there before and the outcome confirms it.
    Confirmed(State),
}

/// State and counters of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    rise: NonZeroU32,
    fail: NonZeroU32,
    state: State,
    passed: u32,
    failed: u32,
}

impl Health {
    /// A service that nothing is known of.
    pub fn new(rise: NonZeroU32, fail: NonZeroU32) -> Health {
        Health { rise, fail, state: State::Unknown, passed: 0, failed: 0 }
    }

    /// The same service in a state that an earlier check of it reached; its counters begin anew.
    pub fn with_state(self, state: State) -> Health {
        Health { state, ..self }
    }

    /// The state as of the last outcome.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the next outcomes may change the state: it is unknown, or a counter towards the other state runs.
    pub fn undecided(&self) -> bool {
        match self.state {
            State::Unknown => true,
            State::Up => self.failed > 0,
            State::Down => self.passed > 0,
        }
    }

    /// Takes one outcome in.
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
            CheckOutcome::Withheld => {
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

    /// Outcomes as letters (`p`assed, `f`ailed, `w`ithheld), what comes of each as a word.
    fn check(rise: u32, fail: u32, outcomes: &str, expected: &str) {
        let mut health = health(rise, fail);
        let found: Vec<String> = outcomes
            .chars()
            .map(|c| match c {
                'p' => CheckOutcome::Passed,
                'f' => CheckOutcome::Failed,
                _ => CheckOutcome::Withheld,
            })
            .map(|outcome| match health.observe(outcome) {
                Progress::GoingUp { n, of } => format!("{n}/{of}up"),
                Progress::GoingDown { n, of } => format!("{n}/{of}down"),
                Progress::Changed(state) => format!("{state}!"),
                Progress::Confirmed(state) => state.to_string(),
            })
            .collect();
        assert_eq!(found.join(" "), expected, "rise {rise} fail {fail} {outcomes}");
    }

    #[test]
    fn thresholds_of_one_decide_at_once() {
        check(1, 1, "ppff", "up! up down! down");
        check(1, 1, "w", "down!");
    }

    #[test]
    fn runs_below_the_thresholds_change_nothing() {
        check(3, 2, "pppfpppfpfp", "1/3up 2/3up up! 1/2down 1/3up 2/3up up 1/2down 1/3up 1/2down 1/3up");
    }

    #[test]
    fn going_down_and_up_again() {
        check(2, 2, "ppffpp", "1/2up up! 1/2down down! 1/2up up!");
    }

    #[test]
    fn not_assigned_is_down_at_once_and_rises_from_nothing() {
        check(2, 3, "ppwwpp", "1/2up up! down! down 1/2up up!");
        check(2, 3, "pwp", "1/2up down! 1/2up");
    }

    #[test]
    fn undecided_while_something_may_change() {
        let mut health = health(2, 2);
        let mut seen = vec![health.undecided()];
        for outcome in [
            CheckOutcome::Passed,
            CheckOutcome::Passed,
            CheckOutcome::Failed,
            CheckOutcome::Failed,
            CheckOutcome::Passed,
        ] {
            health.observe(outcome);
            seen.push(health.undecided());
        }
        assert_eq!(seen, [true, true, false, true, false, true]);
    }

    proptest::proptest! {
        /// The model: the state is what the last long enough run of equal outcomes says.
        #[test]
        fn equals_the_model(rise in 1u32..5, fail in 1u32..5, outcomes in proptest::collection::vec(0u8..3, 0..60)) {
            let mut health = health(rise, fail);
            let (mut state, mut passes, mut failures) = (State::Unknown, 0, 0);
            for outcome in outcomes {
                let before = state;
                let outcome = [CheckOutcome::Passed, CheckOutcome::Failed, CheckOutcome::Withheld][outcome as usize];
                match outcome {
                    CheckOutcome::Passed => { passes += 1; failures = 0; }
                    CheckOutcome::Failed => { failures += 1; passes = 0; }
                    CheckOutcome::Withheld => { passes = 0; state = State::Down; }
                }
                if passes >= rise { state = State::Up; }
                if failures >= fail { state = State::Down; }
                let news = health.observe(outcome) == Progress::Changed(state);
                proptest::prop_assert_eq!(health.state(), state);
                proptest::prop_assert_eq!(news, state != before);
            }
        }
    }
}
