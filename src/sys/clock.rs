//! One moment on both clocks.

use std::time::{Instant, SystemTime};

/// The wall clock's time for texts, the monotonic one's for what is counted.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// May be set at any time.
    pub wall: SystemTime,
    /// Never is.
    pub monotonic: Instant,
}

impl Now {
    /// Looks at both clocks.
    pub fn read() -> Now {
        Now { wall: SystemTime::now(), monotonic: Instant::now() }
    }
}
