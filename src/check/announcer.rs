//! Announces a change of a check's state: a hint to the bird-writer, and the service's hook.

use std::sync::mpsc::Sender;
use std::sync::Arc;

use crate::check::event::Event;
use crate::check::hook::Hooks;
use crate::check::state::Change;
use crate::check::Check;

/// Announces changes of state. Every thread that changes the state of checks has a clone.
#[derive(Clone)]
pub struct Announcer {
    /// The channel to the bird-writer.
    pub events: Sender<Event>,
    /// Runs `state_change_cmd`.
    pub hooks: Hooks,
}

impl Announcer {
    /// Sends the hint and runs the hook if the transition requires it. Returns at once.
    pub fn announce(&self, check: &Arc<Check>, change: Change) {
        if change.verdict {
            // The send fails only while the daemon is ending.
            let _ = self.events.send(Event::Changed(check.clone()));
        }
        if let Some(states) = change.states {
            self.hooks.run(check, states, change.transition);
        }
    }
}
