//! How long BIRD may be busy with a reconfigure, so that no other one may be sent: a second one
//! kills BIRD 3.
//!
//! Guarantees: pure. A BIRD that can be queried decides for itself; what the output of a command
//! says about a busy BIRD counts until all BIRDs answer that they are idle, because a custom
//! command may be for any of them.
//!
//! Out of scope: querying BIRD (`bird::reconfigurer`).

use std::time::{Duration, Instant};

/// How soon a busy BIRD is queried again before a custom command.
pub const BUSY_RETRY: Duration = Duration::from_millis(50);

/// What is known of a busy BIRD.
#[derive(Debug, Default)]
pub struct BusyState {
    /// Until when BIRD may be busy, as far as commands have shown.
    until: Option<Instant>,
    /// No custom command is started before this, because BIRD was busy when it was queried.
    custom_retry_at: Option<Instant>,
}

impl BusyState {
    /// Until when BIRD may be busy. None if it is idle.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Records that BIRD may be busy until then.
    pub fn extend(&mut self, until: Option<Instant>) {
        self.until = self.until.max(until);
    }

    /// Whether a custom command may start. `answers` says of each BIRD whether it is busy, None if
    /// it did not answer.
    pub fn may_start_custom(&mut self, answers: &[Option<bool>], now: Instant) -> bool {
        if answers.contains(&Some(true)) {
            self.custom_retry_at = Some(now + BUSY_RETRY);
            return false;
        }
        if answers.iter().all(|answer| *answer == Some(false)) {
            self.until = None;
        }
        self.custom_retry_at = self.until.filter(|until| *until > now);
        self.custom_retry_at.is_none()
    }

    /// When a custom command that is due at `due` may start. `can_query_all` says whether all BIRDs
    /// can be queried.
    pub fn custom_wakeup(&self, due: Instant, can_query_all: bool) -> Instant {
        let until = self.until.filter(|_| !can_query_all);
        [until, self.custom_retry_at].into_iter().flatten().fold(due, Instant::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_custom_command_starts_if_no_bird_may_be_busy() {
        let now = Instant::now();
        let check = |until: Option<Instant>, answers: &[Option<bool>], expected: bool, wakeup: Instant| {
            let mut busy = BusyState::default();
            busy.extend(until);
            let case = format!("{until:?} {answers:?}");
            assert_eq!(busy.may_start_custom(answers, now), expected, "{case}");
            assert_eq!(busy.custom_wakeup(now, true), wakeup, "{case}");
        };
        let later = Some(now + MINUTE);
        check(None, &[None], true, now);
        check(None, &[Some(false), None], true, now);
        check(None, &[Some(true), None], false, now + BUSY_RETRY);
        check(later, &[None], false, now + MINUTE);
        check(later, &[Some(false), None], false, now + MINUTE);
        check(later, &[Some(false), Some(false)], true, now);
        check(later, &[Some(false), Some(true)], false, now + BUSY_RETRY);
        check(Some(now), &[None], true, now);
    }

    #[test]
    fn without_a_query_a_custom_command_waits_until_bird_is_idle() {
        let now = Instant::now();
        let mut busy = BusyState::default();
        busy.extend(Some(now + MINUTE));
        busy.extend(Some(now));
        busy.extend(None);
        assert_eq!(busy.until(), Some(now + MINUTE));
        assert_eq!(busy.custom_wakeup(now, false), now + MINUTE);
        assert_eq!(busy.custom_wakeup(now, true), now);
        assert_eq!(busy.custom_wakeup(now + MINUTE * 2, false), now + MINUTE * 2);
    }
}
