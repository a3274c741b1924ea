//! What the routes need to know of a service, and what follows from it for each prefix.
//!
//! Guarantees: pure. [`Verdict::intent`] alone decides what becomes of a prefix.
//!
//! Out of scope: how a service gets into a state (`check::state`), and the prefix lists
//! (`bird::routes`).

use std::collections::BTreeSet;

use crate::check::health::State;
use crate::prefix::Prefix;

/// The part of a service's state that its routes depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Unknown before the first verdict.
    pub state: State,
    /// The operator withdraws the service: it is drained, or leaves with the daemon.
    pub withheld: bool,
    /// BIRD is notified at once, even of a list that is held: the service was up, or the daemon
    /// stops.
    pub ends_hold: bool,
    /// The service is down only because no address of it is assigned.
    pub(super) unassigned: bool,
    pub(super) exceptions: PrefixExceptions,
}

/// The prefixes of a service that do not follow its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PrefixExceptions {
    /// Prefixes that are not assigned to the interface.
    pub(super) missing: BTreeSet<Prefix>,
    /// Prefixes that a reload added to the service and that no verdict of its check has covered
    /// yet.
    pub(super) unconfirmed: BTreeSet<Prefix>,
}

/// What is to become of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// The list must not contain the prefix.
    Withdraw,
    /// The list keeps the prefix if it contains it: nothing is known yet.
    Keep,
    /// The list must contain the prefix.
    Advertise,
}

impl Verdict {
    /// Creates the verdict of a service in this state with no exceptions.
    #[cfg(test)]
    pub(crate) fn of(state: State) -> Verdict {
        let exceptions = PrefixExceptions::default();
        Verdict { state, withheld: false, ends_hold: false, unassigned: false, exceptions }
    }

    /// Adds prefixes that are not assigned, and prefixes that no verdict has covered yet.
    #[cfg(test)]
    pub(crate) fn with(self, missing: BTreeSet<Prefix>, unconfirmed: BTreeSet<Prefix>) -> Verdict {
        Verdict { exceptions: PrefixExceptions { missing, unconfirmed }, ..self }
    }

    /// Decides what is to become of this prefix of the service.
    ///
    /// A service that is down is down with all its prefixes, including those that a reload has just
    /// added; but a service that is down only for lack of addresses may be healthy at the added
    /// ones. A service that is up covers an added prefix only after its check has passed with it.
    pub fn intent(&self, prefix: &Prefix) -> Intent {
        let PrefixExceptions { missing, unconfirmed } = &self.exceptions;
        if self.withheld || missing.contains(prefix) {
            return Intent::Withdraw;
        }
        match self.state {
            State::Down if self.unassigned && unconfirmed.contains(prefix) => Intent::Keep,
            State::Down => Intent::Withdraw,
            State::Unknown => Intent::Keep,
            State::Up if unconfirmed.contains(prefix) => Intent::Keep,
            State::Up => Intent::Advertise,
        }
    }

    /// Whether the service has had a verdict, or its operator withdraws it.
    pub fn is_known(&self) -> bool {
        self.withheld || self.state != State::Unknown
    }
}
