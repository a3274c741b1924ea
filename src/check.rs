//! Health checks: when they run, how they run, and the state of each service.
//!
//! A [`Check`] is one configured service: its settings, the state of its health, and the trigger of
//! its thread. The check thread, the drain watcher, the address watcher, the supervisor and the
//! main thread change the state through the transitions of [`state::CheckState`] and send a hint;
//! the bird-writer and the reports read it.
//!
//! ```text
//!   check thread ----- run started, run ended ----+
//!   drain watcher ---- drained, drain ended ------+
//!   address watcher -- addresses gone ------------+--> Mutex<CheckState> --> bird-writer, reports
//!   supervisor ------- declared stuck ------------+
//!   main thread ------ leaving with the daemon ---+
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

/// A configured service and the state of its check.
pub struct Check {
    /// The settings.
    pub service: Arc<Service>,
    /// Stops the check thread, or has it check now.
    pub trigger: Trigger,
    state: Mutex<CheckState>,
}

/// A read-only guard of the state. It holds the lock, so keep it short.
pub struct StateRef<'a>(MutexGuard<'a, CheckState>);

impl Deref for StateRef<'_> {
    type Target = CheckState;

    fn deref(&self) -> &CheckState {
        &self.0
    }
}

impl Check {
    /// Creates the check of a service whose state is unknown.
    pub fn new(service: Arc<Service>) -> Check {
        let state = CheckState::new(&service);
        Check::with_state(service, state)
    }

    /// Creates the check of a service whose state is known, as after a reload.
    pub fn with_state(service: Arc<Service>, state: CheckState) -> Check {
        Check { service, trigger: Trigger::default(), state: Mutex::new(state) }
    }

    /// The service's name: that of its section in the configuration.
    pub fn name(&self) -> &str {
        &self.service.name
    }

    /// Locks the state for reading.
    pub fn state(&self) -> StateRef<'_> {
        StateRef(self.state.lock())
    }

    /// Withdraws the service's prefixes for good: the daemon is about to stop, and `on_exit =
    /// withdraw` says so.
    pub fn leave(&self) {
        self.state.lock().leave();
    }

    /// Locks the state for a transition.
    pub(crate) fn state_mut(&self) -> MutexGuard<'_, CheckState> {
        self.state.lock()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Check({})", self.name())
    }
}
