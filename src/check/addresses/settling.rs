//! Addresses that have settled: what comes or goes counts once it has lasted.
//!
//! ```text
//!                  seen differs                    differs for SETTLE
//!     as settled ---------------> since: now ----------------------> as settled, the other way round
//!         ^                          |
//!         +--------------------------+
//!             seen is as settled again
//! ```
//!
//! Promises: pure; an address that is away (or there) for less than [`SETTLE`] was never away (or there). Each address
//! has a time of its own, so that others which come and go all the time delay nothing.
//! Leaves out: the clock and the kernel (`check::addresses`).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::sys::netlink::{AddressOn, Addresses};

/// How long a change has to last. A network restart takes its addresses away and puts them back within this time.
pub(super) const SETTLE: Duration = Duration::from_millis(500);

/// What has settled, and what may be about to change.
#[derive(Debug)]
pub(super) struct Settling {
    settled: Addresses,
    since: HashMap<AddressOn, Instant>,
}

impl Settling {
    /// What is seen first counts as it is.
    pub(super) fn new(first: Addresses) -> Settling {
        Settling { settled: first, since: HashMap::new() }
    }

    /// The addresses that count.
    pub(super) fn settled(&self) -> &Addresses {
        &self.settled
    }

    /// Takes in what is seen now; returns those addresses that have come or gone for good by that.
    pub(super) fn observe(&mut self, seen: &Addresses, now: Instant) -> Addresses {
        let mut changed = Addresses::default();
        changed.adopt_interfaces(seen);
        self.settled.adopt_interfaces(seen);
        let mut since = HashMap::new();
        for place in self.settled.differences(seen) {
            let began = self.since.get(&place).copied().unwrap_or(now);
            if now.saturating_duration_since(began) < SETTLE {
                since.insert(place, began);
            } else {
                self.settled.flip(&place);
                changed.flip(&place);
            }
        }
        self.since = since;
        changed
    }

    /// When to look again, though nothing more may happen.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.values().min().map(|began| *began + SETTLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Address n is 10.0.0.n.
    fn addresses(numbers: &[u8]) -> Addresses {
        let mut addresses = Addresses::default();
        for n in numbers {
            addresses.flip(&AddressOn { interface: "lo".into(), ip: [10, 0, 0, *n].into(), length: 32 });
        }
        addresses
    }

    /// What is seen at which millisecond, and which addresses change for good by that.
    fn check(first: &[u8], seen: &[(u64, &[u8], &[u8])]) {
        let start = Instant::now();
        let mut settling = Settling::new(addresses(first));
        for (ms, seen, expected) in seen {
            let found = settling.observe(&addresses(seen), start + Duration::from_millis(*ms));
            assert_eq!(found, addresses(expected), "at {ms} ms");
        }
    }

    #[test]
    fn a_lasting_change_counts_and_only_once() {
        check(&[1, 2], &[(0, &[1, 2], &[]), (100, &[1], &[]), (599, &[1], &[]), (600, &[1], &[2]), (9000, &[1], &[])]);
        check(&[], &[(0, &[1], &[]), (499, &[1], &[]), (700, &[1], &[1]), (800, &[], &[]), (1300, &[], &[1])]);
    }

    #[test]
    fn a_network_restart_is_no_change() {
        check(&[1, 2], &[(0, &[], &[]), (400, &[1, 2], &[]), (600, &[1, 2], &[])]);
        // Away again: the time begins anew.
        check(&[1], &[(0, &[], &[]), (400, &[1], &[]), (450, &[], &[]), (900, &[], &[]), (950, &[], &[1])]);
    }

    #[test]
    fn each_address_has_its_own_time() {
        check(&[1], &[(0, &[], &[]), (300, &[2], &[]), (400, &[], &[]), (450, &[2], &[]), (500, &[2], &[1])]);
    }

    #[test]
    fn due_is_the_first_one_to_settle() {
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
