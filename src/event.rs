//! What the threads tell the bird-writer: one closed set of messages, one channel, one receiver.
//!
//! The sender of a [`Event::Verdict`] is the check thread of the service, or the main thread for a check that is
//! stuck; of [`Event::Touched`] the thread that watches the prefix files' directories; of [`Event::CustomDone`] the
//! thread of that one run; of the others the main thread.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::check::health::State;
use crate::config::settings::Settings;
use crate::prefix::{Family, Prefix};

/// One message to the bird-writer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The state of a service changed, or which of its addresses are assigned.
    Verdict(Verdict),
    /// A check thread panicked: its last word. The daemon ends with exit code 1.
    Died {
        /// The service's name.
        service: Arc<str>,
        /// The panic's message.
        why: String,
    },
    /// Somebody, perhaps the writer itself, did something to the prefix file of this family.
    Touched(Family),
    /// A run of `custom_bird_reconfigure_cmd` ended.
    CustomDone {
        /// The service's name.
        service: Arc<str>,
        /// Exit code 0, or why not.
        result: Result<(), String>,
    },
    /// The daemon is about to stop, and this is no accident: services with `on_exit = withdraw` are down from now on,
    /// whatever is said of them afterwards.
    Leave,
    /// Another configuration takes the place of the running one.
    Reload(Box<Reload>),
    /// The daemon stops: apply what waits, then end.
    Stop,
}

/// What is known of a service now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The service's name.
    pub service: Arc<str>,
    /// Unknown only where addresses are missing before the first verdict.
    pub state: State,
    /// Prefixes of the service that are not assigned to its interface: they are withdrawn whatever the state.
    pub missing: BTreeSet<Prefix>,
    /// Prefixes that the service gained by a reload, and on which its check has not decided yet: they stay as they are.
    pub undecided: BTreeSet<Prefix>,
}

/// What a reload is to the bird-writer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reload {
    /// What is configured from now on.
    pub settings: Settings,
    /// The last word of each check that starts anew, as its service has changed. It says no other.
    pub last_words: Vec<Verdict>,
}
