//! The messages of the other threads to the bird-writer.
//!
//! [`Event::Changed`] is only a hint that the state of a check should be read. The writer reads the
//! state itself at each step, so a hint that is lost, duplicated or late does not matter.

use std::sync::Arc;

use crate::check::Check;
use crate::config::settings::Settings;
use crate::prefix::Family;

/// One message to the bird-writer.
#[derive(Clone, Debug)]
pub enum Event {
    /// The verdict of this check may have changed. Sent by the thread that changed its state.
    Changed(Arc<Check>),
    /// A check thread panicked; this is its last message. The daemon ends with exit code 1.
    Died {
        /// The service's name.
        service: Arc<str>,
        /// The panic's message.
        why: String,
    },
    /// The prefix file of this family, or a link to it, may have changed. Sent by the file watch.
    Touched(Family),
    /// A run of `custom_bird_reconfigure_cmd` ended. Sent by the thread of that run.
    CustomEnded(CustomRun),
    /// A reload replaces the configuration. Sent by the main thread.
    Reload(Box<Reload>),
    /// The daemon stops: the writer applies what is pending, then ends.
    Stop {
        /// Services with `on_exit = withdraw` have been withdrawn, and BIRD must confirm that
        /// before the writer ends.
        leaving: bool,
    },
}

/// The result of one run of a custom command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomRun {
    /// The service's name.
    pub service: Arc<str>,
    /// Ok for exit code 0.
    pub result: Result<(), CustomError>,
    /// According to the output of the command, BIRD may still be working on the request.
    pub busy: bool,
}

/// Why a custom command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustomError {
    /// The command ran and failed.
    #[error("{0}")]
    Failed(String),
    /// The command cannot be run, for example because the program does not exist.
    #[error("{0}")]
    CannotRun(String),
}

/// The configuration of a reload.
#[derive(Clone, Debug)]
pub struct Reload {
    /// The new settings.
    pub settings: Settings,
    /// The check of each configured service, in the order of the configuration.
    pub checks: Arc<[Arc<Check>]>,
}
