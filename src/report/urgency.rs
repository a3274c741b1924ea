//! How much attention a service needs.
//!
//! Guarantees: pure. The table and `--down` use the same order.
//!
//! Out of scope: the text for a state (`report::table`), and exit codes, which are about the whole
//! daemon.

use crate::report::document::{PrefixStatus, ServiceStatus, State};

/// The classes of services, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Its check thread is overdue.
    Stuck,
    /// It is withdrawn because its check failed.
    Down,
    /// Its check cannot run, or one of its addresses is not assigned.
    Impaired,
    /// The prefix file or BIRD differs from what is wanted.
    OutOfSync,
    /// BIRD announces one of its prefixes to nobody.
    Unannounced,
    /// It has no verdict so far.
    Unknown,
    /// The operator drained it.
    Drained,
    /// Its check is disabled.
    Disabled,
    /// It is up, without a problem.
    Up,
}

impl Urgency {
    /// Returns the most urgent class that fits a service.
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
        } else if service.to_nobody_s().is_some() {
            Urgency::Unannounced
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

    /// Returns whether no action is needed: the service is up, drained or disabled.
    pub fn is_well(self) -> bool {
        self >= Urgency::Drained
    }
}

#[cfg(test)]
mod tests;
