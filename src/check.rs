//! Everything about checks: when, whether, how, and what follows.
//!
//! A [`Check`] is one configured service: its settings, all that is known of its health, and the trigger of its thread.
//! The check thread, the drain watcher, the address watcher and the supervisor change its state by the transitions of
//! [`state::CheckState`] and send a hint; the bird-writer and the reports read it.
//!
//! ```text
//!   check thread ----- run started, run ended ----+
//!   drain watcher ---- drained, drain ended ------+--> Mutex<CheckState> --> bird-writer, reports: read it
//!   address watcher -- addresses gone ------------+
//!   supervisor ------- declared stuck, leaving ---+
//! ```

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, MutexGuard};

use crate::config::settings::Service;
use crate::sys::mutex::Mutex;

pub mod addresses;
pub mod announcer;
pub mod drain_watcher;
pub mod event;
pub mod health;
pub mod hook;
pub mod reload;
pub mod schedule;
pub mod start_limiter;
pub mod state;
pub mod supervisor;
pub mod trigger;
pub mod watch_pidfile;
pub mod worker;

use state::CheckState;
use trigger::Trigger;

/// One configured service and the state of its check.
pub struct Check {
    /// What is configured.
    pub service: Arc<Service>,
    /// How its thread is reached.
    pub trigger: Trigger,
    state: Mutex<CheckState>,
}

/// A look at the state, for as long as it lives: keep it short.
pub struct StateRef<'a>(MutexGuard<'a, CheckState>);

impl Deref for StateRef<'_> {
    type Target = CheckState;

    fn deref(&self) -> &CheckState {
        &self.0
    }
}

impl Check {
    /// A service of which nothing is known.
    pub fn new(service: Arc<Service>) -> Check {
        let state = CheckState::new(&service);
        Check::with_state(service, state)
    }

    /// A service of which this is known.
    pub fn with_state(service: Arc<Service>, state: CheckState) -> Check {
        Check { service, trigger: Trigger::default(), state: Mutex::new(state) }
    }

    /// The section's name.
    pub fn name(&self) -> &str {
        &self.service.name
    }

    /// All that is known of it.
    pub fn state(&self) -> StateRef<'_> {
        StateRef(self.state.lock())
    }

    /// The daemon is about to stop, and `on_exit = withdraw` says what becomes of the service's prefixes.
    pub fn leave(&self) {
        self.state.lock().leave();
    }

    /// For transitions, which are this module's affair.
    pub(crate) fn state_mut(&self) -> MutexGuard<'_, CheckState> {
        self.state.lock()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Check({})", self.name())
    }
}
