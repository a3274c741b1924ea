//! To be written.

use crate::config::files::{Configuration, Sources};

/// Why the daemon ended otherwise than by a signal to stop.
#[derive(Debug, thiserror::Error)]
#[error("not yet available")]
pub struct DaemonError;

/// Runs until it is told to stop.
pub fn run(_sources: Sources, _configuration: Configuration) -> Result<(), DaemonError> {
    Err(DaemonError)
}
