//! What the bird-writer knows of its lists and of BIRD. The writer publishes it; reports read it.

use std::ops::Add;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::prefix::{Family, Prefix};

/// How the prefix files and BIRD stand to each other.
#[derive(Clone, Debug, Default)]
pub struct BirdState {
    /// One for each family that is on.
    pub families: Vec<FamilyState>,
    /// When the step that the writer is in has to be over: after that it is stuck. None while it waits for work.
    pub due: Option<Instant>,
    /// Whether the first reconfigure was tried (or none is needed): from then on the daemon is ready.
    pub ready: bool,
}

/// One family's levels: wanted, in the file, in BIRD.
#[derive(Clone, Debug)]
pub struct FamilyState {
    /// IPv4 or IPv6.
    pub family: Family,
    /// What the services' states say, dummy included.
    pub wanted: Arc<[Prefix]>,
    /// What the file lists, as of the last time it was read.
    pub in_file: Arc<[Prefix]>,
    /// What BIRD took last, or over a control socket what it said it holds.
    pub in_bird: Arc<[Prefix]>,
    /// What the file lists, and so BIRD may advertise, though no service names it; the dummy aside.
    pub unmanaged: Arc<[Prefix]>,
    /// Whether the file lists what it should and BIRD took it as it is.
    pub in_sync: bool,
    /// Since when it is not in sync; none where it is.
    pub out_of_sync_since: Option<Instant>,
    /// What is wrong: the last failure of writing the file or reconfiguring BIRD that still stands.
    pub problem: Option<String>,
    /// Why BIRD is not told of the file, though nothing is wrong; none where it is.
    pub hold: Option<Hold>,
    /// Whether BIRD is asked each minute if it holds the list. Over a command it is only told.
    pub asks_bird: bool,
    /// What came of telling BIRD so far, by custom commands too.
    pub counts: Counts,
}

/// What came of telling BIRD so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reconfigures that BIRD took, finishing later included.
    pub taken: u64,
    /// When BIRD took one the last time.
    pub last_taken: Option<SystemTime>,
    /// Those that it did not take, and queries that it did not answer.
    pub failed: u64,
    /// When BIRD took the files the last time, or said that it holds them.
    pub last_success: Option<SystemTime>,
}

impl Counts {
    /// Counts a reconfigure that BIRD took just now.
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

/// The list was lost, and BIRD is not told of the new one before each service had its first verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// At the latest.
    pub until: Instant,
    /// The services that have none yet.
    pub waiting_for: Vec<Arc<str>>,
}
