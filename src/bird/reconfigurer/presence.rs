//! Whether a BIRD is running at the other end of a transport.

use crate::bird::protocol::outcome::Outcome;

/// How many attempts in a row must fail to find a BIRD until it counts as gone: it may be
/// restarting during one.
const MIN_FAILURES: u32 = 2;

/// What the attempts so far say about the presence of a BIRD.
#[derive(Clone, Copy, Debug, Default)]
pub struct Presence {
    /// A BIRD has answered at least once.
    was_present: bool,
    /// Number of consecutive attempts that found no BIRD.
    failures: u32,
}

impl Presence {
    /// Records that a BIRD answered.
    pub fn answered(&mut self) {
        self.was_present = true;
    }

    /// Records the outcome of an attempt.
    pub fn record(&mut self, outcome: &Outcome) {
        let is_gone = matches!(outcome, Outcome::NotRunning { .. });
        self.failures = if is_gone { self.failures.saturating_add(1) } else { 0 };
        self.was_present |= outcome.is_accepted();
    }

    /// Whether a BIRD was running and no longer is, so that its routes are withdrawn. A BIRD that
    /// never answered may be running elsewhere.
    pub fn is_gone(&self) -> bool {
        self.was_present && self.failures >= MIN_FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bird_is_gone_after_two_failures_in_a_row_if_it_was_present() {
        let gone = Outcome::NotRunning { why: String::new() };
        let refused = Outcome::Refused { why: String::new() };
        let check = |outcomes: &[&Outcome], expected: bool| {
            let mut presence = Presence::default();
            outcomes.iter().for_each(|outcome| presence.record(outcome));
            assert_eq!(presence.is_gone(), expected, "{outcomes:?}");
        };
        check(&[&Outcome::Reconfigured, &gone], false);
        check(&[&Outcome::Reconfigured, &gone, &gone], true);
        check(&[&Outcome::Reconfigured, &gone, &refused, &gone], false);
        check(&[&gone, &gone, &gone], false);

        let mut presence = Presence::default();
        presence.answered();
        presence.record(&gone);
        presence.record(&gone);
        assert!(presence.is_gone(), "an answer to a query counts too");
    }
}
