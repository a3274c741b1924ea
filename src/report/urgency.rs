//! How much attention a service needs.
//!
//! Promises: pure; one order for the table, for `--down` and for whoever lists services.
//! Leaves out: how a state is worded (`report::table`), and exit codes, which are about the whole daemon.

use crate::report::document::{PrefixStatus, ServiceStatus, State};

/// The classes of services, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Its check should have reported by now.
    Stuck,
    /// It is withdrawn because its check failed.
    Down,
    /// It is not checked, or one of its addresses is not assigned.
    Impaired,
    /// The prefix file or BIRD has not followed.
    OutOfSync,
    /// There was no verdict yet.
    Unknown,
    /// Its operator took it out.
    Drained,
    /// Its check is disabled.
    Disabled,
    /// Nothing is to be said about it.
    Up,
}

impl Urgency {
    /// The class of a service: the most urgent one that fits.
    pub fn of(service: &ServiceStatus) -> Urgency {
        let is_checked = service.disabled.is_none() && service.drained.is_none();
        if service.disabled.is_none() && service.overdue_s.is_some() {
            Urgency::Stuck
        } else if is_checked && service.state == State::Down {
            Urgency::Down
        } else if is_checked && (service.problem.is_some() || service.prefixes.iter().any(|prefix| prefix.missing)) {
            Urgency::Impaired
        } else if service.prefixes.iter().any(PrefixStatus::is_out_of_sync) {
            Urgency::OutOfSync
        } else if is_checked && service.state == State::Unknown {
            Urgency::Unknown
        } else if service.drained.is_some() {
            Urgency::Drained
        } else if service.disabled.is_some() {
            Urgency::Disabled
        } else {
            Urgency::Up
        }
    }

    /// Whether nobody has to act: the service is up, or out because its operator wants that.
    pub fn is_well(self) -> bool {
        self >= Urgency::Drained
    }
}

#[cfg(test)]
mod tests;
