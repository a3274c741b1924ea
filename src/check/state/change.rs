//! What the transitions of a service's state return.

use crate::check::health::{Progress, State};

/// What a transition changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Change {
    /// The old and the new state, if they differ.
    pub states: Option<[State; 2]>,
    /// The number of the change of state, see
    /// [`CheckState::transitions`](super::CheckState::transitions). 0 if the state did not change.
    pub transition: u64,
    /// Whether the service's [`Verdict`](super::Verdict) changed.
    pub verdict: bool,
}

/// The effect of [`CheckState::finish`](super::CheckState::finish).
#[derive(Debug)]
pub struct Finished {
    /// What changed.
    pub change: Change,
    /// The counters after the run.
    pub progress: Progress,
    /// The service had been declared stuck during the run.
    pub was_stuck: bool,
    /// The output differs from that of the run before.
    pub output_changed: bool,
}
