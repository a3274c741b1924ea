//! Whether BIRD must or may be notified of a prefix list, and what it has accepted.
//!
//! Out of scope: notifying BIRD (`bird::reconfigurer`, `bird::custom`).

use std::collections::HashSet;

use crate::bird::prefix_list::PrefixList;
use crate::bird::protocol::query::Query;
use crate::bird::revision::Revision;
use crate::prefix::Prefix;

impl PrefixList {
    /// Whether the family's transport must notify BIRD.
    pub fn is_owed(&self) -> bool {
        self.is_valid() && self.revisions.is_owed()
    }

    /// Whether BIRD may read the file: we wrote it, or found it as we would write it.
    pub fn is_valid(&self) -> bool {
        self.file.is_verified()
    }

    /// Checks whether another program has changed the file since the last step, so that the next
    /// step repairs it before BIRD is notified.
    pub fn recheck_if_touched(&mut self) -> bool {
        let touched = self.is_valid() && !self.file.is_unchanged();
        if touched {
            self.pending.recheck();
        }
        touched
    }

    /// Whether another program has changed the file, and it is not repaired yet. False if a repair
    /// has failed, so that BIRD does not wait for it.
    pub fn is_touched(&self) -> bool {
        self.pending.needs_recheck() && self.is_valid() && !self.file.is_unchanged()
    }

    /// Whether BIRD must not be notified: the list is held, or the provisional mark must be removed
    /// from the file first.
    pub fn is_held(&self) -> bool {
        let must_remove_mark = self.startup.is_marked() && self.pending.is_dirty() && self.file.problem().is_none();
        self.startup.hold_until().is_some() || must_remove_mark
    }

    /// The revision that BIRD reads by a reconfigure that starts now.
    pub fn revision(&self) -> Revision {
        Revision { number: self.revisions.current(), list: self.list.clone() }
    }

    /// Records that BIRD accepted this revision from the family's transport.
    pub fn confirm(&mut self, revision: &Revision) {
        self.revisions.confirm(revision);
    }

    /// Records that BIRD accepted this revision from a custom command.
    pub fn confirm_by_custom(&mut self, revision: &Revision) {
        match self.custom_only {
            true => self.revisions.confirm(revision),
            false => self.revisions.confirm_by_custom(revision),
        }
    }

    /// Records that BIRD holds only `held`, or that its list is unknown. The current revision is
    /// owed again.
    pub fn unconfirm(&mut self, held: Vec<Prefix>) {
        self.revisions.unconfirm(held);
    }

    /// Makes the family's transport responsible for the current revision, because a custom command
    /// cannot send it.
    pub fn owe_revision(&mut self) {
        self.revisions.owe();
    }

    /// Whether each service of the family has a custom command, and the family has no transport of
    /// its own.
    pub fn is_custom_only(&self) -> bool {
        self.custom_only
    }

    /// The query whether BIRD holds the list, and none of the known prefixes that are not listed.
    pub fn query(&self) -> Query {
        let listed: HashSet<Prefix> = self.list.iter().copied().collect();
        let known = self.services.known();
        let others = known.union(self.startup.baseline()).copied().filter(|prefix| !listed.contains(prefix));
        Query::new(&self.bird.variable, self.list.clone(), others)
    }
}
