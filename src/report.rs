//! What is known, and how it is shown. Reports only read: each state belongs to its owner.

use std::time::{SystemTime, UNIX_EPOCH};

pub mod client;
pub mod document;
pub mod exporter;
pub mod levels;
pub mod metrics;
pub mod nagios;
#[cfg(test)]
pub(crate) mod sample;
pub mod server;
pub mod status;
pub mod table;

/// Seconds since 1970; a clock that stands before that counts as standing there.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
