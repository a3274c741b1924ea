//! Which revision of a list BIRD has confirmed, and to whom.
//!
//! ```text
//!   current     each write of ours and each change by someone else begins a revision, also where the text ends up equal
//!   owed        the last revision that the family's own transport has to tell
//!   confirmed   the last revision that this transport told, and BIRD took
//! ```
//!
//! The family owes BIRD a revision while `owed > confirmed`. A change that services' custom commands tell does not make
//! it owe one. A transport that is new has nothing confirmed, whatever the one before had.

use std::sync::Arc;

use crate::prefix::Prefix;

/// One revision of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Counts from 1, the file as it was found.
    pub number: u64,
    /// What it lists.
    pub list: Arc<[Prefix]>,
}

/// A list's revisions.
#[derive(Clone, Debug)]
pub struct Revisions {
    current: u64,
    owed: u64,
    confirmed: u64,
    /// What BIRD took last, whoever told it.
    in_bird: Arc<[Prefix]>,
}

impl Revisions {
    /// The first revision; the family's transport has to tell it where `owed`.
    pub fn new(owed: bool) -> Revisions {
        Revisions { current: 1, owed: u64::from(owed), confirmed: 0, in_bird: Arc::new([]) }
    }

    /// The number of the current revision.
    pub fn current(&self) -> u64 {
        self.current
    }

    /// What BIRD took last.
    pub fn in_bird(&self) -> &Arc<[Prefix]> {
        &self.in_bird
    }

    /// Whether the family's transport has to tell BIRD.
    pub fn is_owed(&self) -> bool {
        self.owed > self.confirmed
    }

    /// The file has changed.
    pub fn advance(&mut self) {
        self.current += 1;
    }

    /// The family's transport has to tell the current revision.
    pub fn owe(&mut self) {
        self.owed = self.current;
    }

    /// BIRD took this revision from the family's transport.
    pub fn confirm(&mut self, revision: &Revision) {
        if revision.number > self.confirmed {
            self.confirmed = revision.number;
            self.in_bird = revision.list.clone();
        }
    }

    /// BIRD took this revision from a custom command.
    pub fn confirm_by_custom(&mut self, revision: &Revision) {
        if revision.number > self.confirmed {
            self.in_bird = revision.list.clone();
        }
    }

    /// BIRD holds no more than this, or nobody knows what it holds: it has to be told again.
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
    fn what_is_owed_and_what_pays_it() {
        let mut revisions = Revisions::new(true);
        assert!(revisions.is_owed() && revisions.in_bird().is_empty());
        revisions.confirm(&revision(1, "10.0.0.1"));
        assert!(!revisions.is_owed());
        assert_eq!(**revisions.in_bird(), ["10.0.0.1".parse().unwrap()]);
        revisions.advance();
        assert!(!revisions.is_owed(), "a custom command may tell it");
        revisions.owe();
        assert!(revisions.is_owed());
        revisions.confirm_by_custom(&revision(2, "10.0.0.2"));
        assert!(revisions.is_owed(), "what a custom command says pays no debt of the family");
        assert_eq!(**revisions.in_bird(), ["10.0.0.2".parse().unwrap()]);
        revisions.confirm(&revision(1, "10.0.0.1"));
        assert!(revisions.is_owed(), "an older revision pays none either");
        revisions.confirm(&revision(2, "10.0.0.2"));
        assert!(!revisions.is_owed());
    }

    #[test]
    fn another_transport_has_nothing_confirmed() {
        let mut revisions = Revisions::new(false);
        assert!(!revisions.is_owed());
        revisions.confirm(&revision(1, "10.0.0.1"));
        revisions.unconfirm(Vec::new());
        assert!(revisions.is_owed() && revisions.in_bird().is_empty());
        revisions.confirm(&revision(1, "10.0.0.1"));
        assert!(!revisions.is_owed());
    }
}
