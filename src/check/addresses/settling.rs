//! Debounces addresses: one that comes or goes counts once the change has lasted.
//!
//! ```text
//!                 current differs                  for SETTLE_TIME
//!     as settled -----------------> changing, since -----------------> settled the other way
//!         ^                             |
//!         +-----------------------------+
//!            current is as settled again
//! ```
//!
//! Guarantees: pure. A change that lasts less than [`SETTLE_TIME`] has no effect. Each address has
//! its own time, so that addresses that keep changing do not delay others.
//!
//! Out of scope: the clock and the kernel (`check::addresses`).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::sys::netlink::{Addresses, InterfaceAddress};

/// How long a change must last. A network restart removes its addresses and adds them again within
/// this time.
pub(super) const SETTLE_TIME: Duration = Duration::from_millis(500);

/// The addresses that have settled, and those that are changing.
#[derive(Debug)]
pub(super) struct Settling {
    settled: Addresses,
    /// When each address that is changing began to differ.
    since: HashMap<InterfaceAddress, Instant>,
}

impl Settling {
    /// Creates the state from the first list of addresses, which counts as settled.
    pub(super) fn new(first: Addresses) -> Settling {
        Settling { settled: first, since: HashMap::new() }
    }

    /// The addresses that have settled.
    pub(super) fn settled(&self) -> &Addresses {
        &self.settled
    }

    /// Compares with the current addresses. Returns those that have settled as changed.
    pub(super) fn observe(&mut self, current: &Addresses, now: Instant) -> Addresses {
        let mut changed = Addresses::default();
        changed.adopt_interfaces(current);
        self.settled.adopt_interfaces(current);
        let mut since = HashMap::new();
        for address in self.settled.differences(current) {
            let began = self.since.get(&address).copied().unwrap_or(now);
            if now.saturating_duration_since(began) < SETTLE_TIME {
                since.insert(address, began);
            } else {
                self.settled.toggle(&address);
                changed.toggle(&address);
            }
        }
        self.since = since;
        changed
    }

    /// When the next address settles unless it changes again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.values().min().map(|began| *began + SETTLE_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses 10.0.0.n on lo.
    fn addresses(numbers: &[u8]) -> Addresses {
        let mut addresses = Addresses::default();
        for n in numbers {
            addresses.toggle(&InterfaceAddress { interface: "lo".into(), ip: [10, 0, 0, *n].into(), length: 32 });
        }
        addresses
    }

    /// Each step gives a time in milliseconds, the current addresses, and those that are expected
    /// to settle.
    fn check(first: &[u8], steps: &[(u64, &[u8], &[u8])]) {
        let start = Instant::now();
        let mut settling = Settling::new(addresses(first));
        for (ms, current, expected) in steps {
            let changed = settling.observe(&addresses(current), start + Duration::from_millis(*ms));
            assert_eq!(changed, addresses(expected), "at {ms} ms");
        }
    }

    #[test]
    fn a_lasting_change_is_reported_once() {
        check(&[1, 2], &[(0, &[1, 2], &[]), (100, &[1], &[]), (599, &[1], &[]), (600, &[1], &[2]), (9000, &[1], &[])]);
        check(&[], &[(0, &[1], &[]), (499, &[1], &[]), (700, &[1], &[1]), (800, &[], &[]), (1300, &[], &[1])]);
    }

    #[test]
    fn a_network_restart_changes_nothing() {
        check(&[1, 2], &[(0, &[], &[]), (400, &[1, 2], &[]), (600, &[1, 2], &[])]);
        // The address goes again: its time starts again.
        check(&[1], &[(0, &[], &[]), (400, &[1], &[]), (450, &[], &[]), (900, &[], &[]), (950, &[], &[1])]);
    }

    #[test]
    fn each_address_settles_on_its_own() {
        check(&[1], &[(0, &[], &[]), (300, &[2], &[]), (400, &[], &[]), (450, &[2], &[]), (500, &[2], &[1])]);
    }

    #[test]
    fn the_first_address_to_settle_is_due_first() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut settling = Settling::new(addresses(&[1]));
        assert_eq!(settling.due(), None);
        settling.observe(&addresses(&[]), at(0));
        settling.observe(&addresses(&[2]), at(200));
        assert_eq!(settling.due(), Some(at(500)));
        settling.observe(&addresses(&[2]), at(500));
        assert_eq!(settling.due(), Some(at(700)));
        settling.observe(&addresses(&[]), at(600));
        assert_eq!(settling.due(), None);
    }
}
