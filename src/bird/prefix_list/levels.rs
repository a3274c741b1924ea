//! What reports show of a prefix list.

use std::sync::Arc;

use crate::bird::prefix_list::PrefixList;
use crate::bird::state::Hold;
use crate::prefix::Prefix;

/// The levels of a list, for reports.
#[derive(Debug, Default)]
pub struct Levels {
    /// The list that the services' states ask for, including the dummy.
    pub wanted: Arc<[Prefix]>,
    /// The list in the file as last read. Empty if the file is broken or missing.
    pub in_file: Arc<[Prefix]>,
    /// Prefixes in the file that no service names, without the dummy.
    pub unmanaged: Arc<[Prefix]>,
}

impl PrefixList {
    /// The levels of the list, for reports.
    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// The list that BIRD accepted last.
    pub fn in_bird(&self) -> &Arc<[Prefix]> {
        self.revisions.in_bird()
    }

    /// Whether the file lists what it should, and the family's transport owes BIRD nothing.
    pub fn is_in_sync(&self) -> bool {
        self.is_valid() && self.file.problem().is_none() && !self.revisions.is_owed()
    }

    /// Why the file cannot be written. None if it can.
    pub fn problem(&self) -> Option<&str> {
        self.file.problem()
    }

    /// Why BIRD is not notified although nothing failed. None if the list is not held.
    pub fn hold(&self) -> Option<Hold> {
        self.startup.hold(self.waiting_for.clone())
    }
}
