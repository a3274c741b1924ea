//! What follows a change of a check's state: a hint to the bird-writer, and the service's hook.

use std::sync::mpsc::Sender;
use std::sync::Arc;

use crate::check::event::Event;
use crate::check::hook::Hooks;
use crate::check::state::Change;
use crate::check::Check;

/// Held by every thread that changes the state of checks.
#[derive(Clone)]
pub struct Announcer {
    /// To the bird-writer.
    pub events: Sender<Event>,
    /// Runs `state_change_cmd`.
    pub hooks: Hooks,
}

impl Announcer {
    /// Sends the hint and runs the hook, where the transition gave a reason to. Returns at once.
    pub fn announce(&self, check: &Arc<Check>, change: Change) {
        if change.verdict {
            // Without a receiver the daemon is ending.
            let _ = self.events.send(Event::Changed(check.clone()));
        }
        if let Some(states) = change.states {
            self.hooks.run(check, states, change.transition);
        }
    }
}
