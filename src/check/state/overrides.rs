//! Conditions of a service that take precedence over the result of its check.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::drain_file::DrainEnd;

/// Conditions that take precedence over the result of the check.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    /// The operator drained the service.
    pub(super) drained: Option<Drained>,
    /// The service was up when it was drained.
    pub(super) drained_while_up: bool,
    /// The check thread missed its deadline.
    pub(super) stuck: bool,
    /// The daemon stops, and the service leaves with it.
    pub(super) leaving: bool,
    /// The service is down only because no address is assigned, and its check has given no verdict
    /// since.
    pub(super) unassigned: bool,
}

/// The drain of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// The drain file that counts: of two, the one that ends later.
    pub file: PathBuf,
    /// When the drain ends.
    pub end: DrainEnd,
    /// When the drain was noticed.
    pub since: SystemTime,
}

impl Overrides {
    /// Whether the operator withdraws the service.
    pub(super) fn withheld(&self) -> bool {
        self.leaving || self.drained.is_some()
    }

    /// Whether BIRD is to be notified at once, even of a list that is held.
    pub(super) fn ends_hold(&self) -> bool {
        self.leaving || self.drained_while_up
    }
}
