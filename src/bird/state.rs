//! The published state of the prefix lists and of BIRD.
//!
//! The bird-writer publishes it after each step; reports only read it.

use std::ops::Add;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::prefix::{Family, Prefix};

/// The state of all prefix lists.
#[derive(Clone, Debug, Default)]
pub struct BirdState {
    /// One entry for each enabled family.
    pub families: Vec<FamilyState>,
    /// Deadline of the writer's current step; after it the writer counts as stuck. None while it
    /// waits for work.
    pub due: Option<Instant>,
    /// Whether the first step is over, with its reconfigure if one was needed. From then on the
    /// daemon is ready.
    pub ready: bool,
}

/// One family's three levels: wanted, in the file, in BIRD.
#[derive(Clone, Debug)]
pub struct FamilyState {
    /// IPv4 or IPv6.
    pub family: Family,
    /// The list that the services' states ask for, including the dummy.
    pub wanted: Arc<[Prefix]>,
    /// The list in the file when it was last read.
    pub in_file: Arc<[Prefix]>,
    /// The list that BIRD accepted last, or that it reported over its control socket.
    pub in_bird: Arc<[Prefix]>,
    /// Prefixes in the file that no service names, without the dummy. BIRD may advertise them.
    pub unmanaged: Arc<[Prefix]>,
    /// Whether the file lists what is wanted and BIRD accepted it.
    pub in_sync: bool,
    /// When it went out of sync. None while it is in sync.
    pub out_of_sync_since: Option<Instant>,
    /// The last failure to write the file or to reconfigure BIRD, if it is not resolved yet.
    pub problem: Option<String>,
    /// Why BIRD is not notified of the file although nothing failed. None if there is no hold.
    pub hold: Option<Hold>,
    /// Whether BIRD is queried each minute for its list. This needs a control socket.
    pub asks_bird: bool,
    /// Counts of reconfigures, including those by custom commands.
    pub counts: Counts,
}

/// Counts of the reconfigures so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reconfigures that BIRD accepted, including those that it finishes later.
    pub taken: u64,
    /// When BIRD last accepted a reconfigure.
    pub last_taken: Option<SystemTime>,
    /// Reconfigures that BIRD did not accept, and queries that it did not answer.
    pub failed: u64,
    /// When BIRD last accepted the files, or confirmed that it holds them.
    pub last_success: Option<SystemTime>,
}

impl Counts {
    /// Counts a reconfigure that BIRD accepted at `now`.
    pub fn count_taken(&mut self, now: SystemTime) {
        self.taken += 1;
        self.last_taken = Some(now);
        self.last_success = Some(now);
    }
}

impl Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts {
            taken: self.taken + other.taken,
            last_taken: self.last_taken.max(other.last_taken),
            failed: self.failed + other.failed,
            last_success: self.last_success.max(other.last_success),
        }
    }
}

/// Why BIRD is not notified of a list: the previous list was lost, and not every service has its
/// first verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// When the hold ends at the latest.
    pub until: Instant,
    /// The services without a verdict.
    pub waiting_for: Vec<Arc<str>>,
}
