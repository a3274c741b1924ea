//! Revisions of a prefix list, and which of them BIRD has confirmed.
//!
//! ```text
//!   current     incremented by each write of ours and each foreign change, even to an equal text
//!   owed        the last revision that the family's own transport has to send
//!   confirmed   the last revision that BIRD accepted from this transport
//! ```
//!
//! The family owes BIRD a revision while `owed > confirmed`. A change that custom commands send to
//! BIRD does not make the family owe one. A new transport starts with no confirmed revision.
//!
//! Guarantees: pure; an older confirmation never replaces a newer one.
//!
//! Out of scope: sending a revision (`bird::reconfigurer`, `bird::custom`).

use std::sync::Arc;

use crate::prefix::Prefix;

/// One revision of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The revision number. 1 is the file as it was found.
    pub number: u64,
    /// What it lists.
    pub list: Arc<[Prefix]>,
}

/// The revision numbers of one list.
#[derive(Clone, Debug)]
pub struct Revisions {
    current: u64,
    owed: u64,
    confirmed: u64,
    /// What BIRD accepted last, over any transport.
    in_bird: Arc<[Prefix]>,
}

impl Revisions {
    /// Starts at revision 1. `owed` says whether the family's transport has to send it.
    pub fn new(owed: bool) -> Revisions {
        Revisions { current: 1, owed: u64::from(owed), confirmed: 0, in_bird: Arc::new([]) }
    }

    /// The number of the current revision.
    pub fn current(&self) -> u64 {
        self.current
    }

    /// What BIRD accepted last.
    pub fn in_bird(&self) -> &Arc<[Prefix]> {
        &self.in_bird
    }

    /// Whether the family's transport still has to send a revision.
    pub fn is_owed(&self) -> bool {
        self.owed > self.confirmed
    }

    /// Begins a new revision, because the file has changed.
    pub fn advance(&mut self) {
        self.current += 1;
    }

    /// Makes the family's transport responsible for the current revision.
    pub fn owe(&mut self) {
        self.owed = self.current;
    }

    /// Records that BIRD accepted this revision from the family's transport.
    pub fn confirm(&mut self, revision: &Revision) {
        if revision.number > self.confirmed {
            self.confirmed = revision.number;
            self.in_bird = revision.list.clone();
        }
    }

    /// Records that BIRD accepted this revision from a custom command.
    pub fn confirm_by_custom(&mut self, revision: &Revision) {
        if revision.number > self.confirmed {
            self.in_bird = revision.list.clone();
        }
    }

    /// Records that BIRD holds only `held`, or that its list is unknown. The current revision is
    /// owed again.
    pub fn unconfirm(&mut self, held: Vec<Prefix>) {
        self.confirmed = 0;
        self.in_bird = held.into();
        self.owe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: u64, prefix: &str) -> Revision {
        Revision { number, list: Arc::new([prefix.parse().unwrap()]) }
    }

    #[test]
    fn only_the_familys_own_transport_confirms_what_the_family_owes() {
        let mut revisions = Revisions::new(true);
        assert!(revisions.is_owed() && revisions.in_bird().is_empty());
        revisions.confirm(&revision(1, "10.0.0.1"));
        assert!(!revisions.is_owed());
        assert_eq!(**revisions.in_bird(), ["10.0.0.1".parse().unwrap()]);
        revisions.advance();
        assert!(!revisions.is_owed(), "a custom command may send it");
        revisions.owe();
        assert!(revisions.is_owed());
        revisions.confirm_by_custom(&revision(2, "10.0.0.2"));
        assert!(revisions.is_owed(), "a custom command does not settle what the family owes");
        assert_eq!(**revisions.in_bird(), ["10.0.0.2".parse().unwrap()]);
        revisions.confirm(&revision(1, "10.0.0.1"));
        assert!(revisions.is_owed(), "an older revision does not settle it either");
        revisions.confirm(&revision(2, "10.0.0.2"));
        assert!(!revisions.is_owed());
    }

    #[test]
    fn a_new_transport_has_no_confirmed_revision() {
        let mut revisions = Revisions::new(false);
        assert!(!revisions.is_owed());
        revisions.confirm(&revision(1, "10.0.0.1"));
        revisions.unconfirm(Vec::new());
        assert!(revisions.is_owed() && revisions.in_bird().is_empty());
        revisions.confirm(&revision(1, "10.0.0.1"));
        assert!(!revisions.is_owed());
    }
}
