//! What the threads send to the bird-writer: one closed set of messages, one channel, one receiver.
//!
//! [`Event::Changed`] is a hint: it says that a look at the check is worth while, and nothing else. What counts is the
//! check's state, which the writer reads at each step, so a hint that is lost, doubled or late changes nothing.

use std::sync::Arc;

use crate::check::Check;
use crate::config::settings::Settings;
use crate::prefix::Family;

/// One message to the bird-writer.
#[derive(Clone, Debug)]
pub enum Event {
    /// What this check asks for its prefixes may have changed. Sent by whoever changed its state.
    Changed(Arc<Check>),
    /// A check thread panicked: its last word. The daemon ends with exit code 1.
    Died {
        /// The service's name.
        service: Arc<str>,
        /// The panic's message.
        why: String,
    },
    /// The prefix file of this family, or a link to it, may have changed. Sent by the thread that watches them.
    Touched(Family),
    /// A run of `custom_bird_reconfigure_cmd` ended. Sent by the thread of that run.
    CustomEnded(CustomRun),
    /// Another configuration takes the place of the running one. Sent by the main thread.
    Reload(Box<Reload>),
    /// The daemon stops: apply what waits, then end. Where it is `leaving`, BIRD has to confirm before that.
    Stop {
        /// Services with `on_exit = withdraw` are withdrawn by now.
        leaving: bool,
    },
}

/// What came of one run of a custom command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomRun {
    /// The service's name.
    pub service: Arc<str>,
    /// Exit code 0, or why not.
    pub result: Result<(), CustomError>,
    /// BIRD may still be working on it, as far as its output tells.
    pub busy: bool,
}

/// Why a custom command did not do its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustomError {
    /// It ran, and failed.
    #[error("{0}")]
    Failed(String),
    /// It cannot be run at all: there is no such program, say.
    #[error("{0}")]
    CannotRun(String),
}

/// What a reload is to the bird-writer.
#[derive(Clone, Debug)]
pub struct Reload {
    /// What is configured from now on.
    pub settings: Settings,
    /// The check of each configured service, in the order of the configuration.
    pub checks: Arc<[Arc<Check>]>,
}
