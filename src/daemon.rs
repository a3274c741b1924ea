//! To be written.
use crate::config::settings::Settings;

/// Runs until it is told to stop; returns the exit code.
pub fn run(_settings: Settings) -> u8 {
    0
}
