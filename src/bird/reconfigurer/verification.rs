//! Verifies over the control socket that BIRD holds the lists.
//!
//! Guarantees: a list is confirmed if BIRD holds it, and unconfirmed if BIRD holds another one or
//! does not answer.
//!
//! Blocking: on the socket, within the limits of `bird::transport`.
//!
//! Out of scope: what follows from the result (`bird::reconfigurer`), the queries themselves
//! (`bird::protocol::query`).

use std::time::{Instant, SystemTime};

use crate::bird::prefix_list::PrefixList;
use crate::bird::protocol::outcome::Outcome;
use crate::bird::protocol::query::{Difference, Query};
use crate::bird::reconfigurer::{Reconfigurer, VERIFY_INTERVAL};
use crate::bird::revision::Revision;
use crate::prefix::Family;
use crate::sys::stop_token::StopToken;

/// Result of a query for the lists.
pub enum Verification {
    /// The transport cannot query BIRD.
    Unsupported,
    /// BIRD holds all lists.
    InSync,
    /// BIRD holds another list, for this reason.
    Differs(String),
    /// BIRD did not answer.
    Failed(Outcome),
}

impl Reconfigurer {
    /// Queries BIRD for the lists, and confirms or unconfirms each accordingly.
    pub(super) fn verify(&mut self, revisions: &[(Family, Revision)], give_up: &StopToken) -> Verification {
        let queries: Vec<Query> = self.valid_lists().map(PrefixList::query).collect();
        let (results, version) = match self.transport.query(&queries, give_up) {
            None => return Verification::Unsupported,
            Some(Ok(answers)) => answers,
            Some(Err(error)) => {
                revisions.iter().for_each(|(family, _)| self.for_list(*family, |list| list.unconfirm(Vec::new())));
                self.version = None;
                return Verification::Failed(error.outcome());
            }
        };
        self.presence.answered();
        self.recheck_at = Some(Instant::now() + VERIFY_INTERVAL);
        self.set_version(version);
        let mut first_difference = None;
        for ((family, revision), result) in revisions.iter().zip(results) {
            match result.difference {
                None => self.for_list(*family, |list| list.confirm(revision)),
                Some(difference) => {
                    self.for_list(*family, |list| list.unconfirm(result.list.clone()));
                    let why = self.explain(&difference, *family);
                    first_difference = first_difference.or(Some(why));
                }
            }
        }
        match first_difference {
            Some(why) => Verification::Differs(why),
            None => {
                self.counts.last_success = Some(SystemTime::now());
                Verification::InSync
            }
        }
    }

    /// The message for a difference. A BIRD that does not know the constant does not read the file
    /// at all.
    fn explain(&self, difference: &Difference, family: Family) -> String {
        match (difference, self.lists.iter().find(|list| list.family() == family)) {
            (Difference::Unknown { .. }, Some(list)) => {
                format!("{difference}; does bird.conf include {}?", list.path().display())
            }
            _ => difference.to_string(),
        }
    }
}
