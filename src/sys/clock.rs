//! One moment, by the wall clock and by the monotonic clock.

use std::time::{Instant, SystemTime};

/// One moment by both clocks: the wall clock is for display, the monotonic clock for measuring
/// durations.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The wall clock. It may be set forward or back at any time.
    pub wall: SystemTime,
    /// The monotonic clock. It is never set.
    pub monotonic: Instant,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Now {
        Now { wall: SystemTime::now(), monotonic: Instant::now() }
    }
}
