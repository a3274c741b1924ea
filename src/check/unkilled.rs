//! Runs of checks that could not be killed: they hang in the kernel, or belong to another user, by way of sudo.
//!
//! Promises: each is looked at until it has ended, so that none stays a zombie, also where a reload has ended its check
//! thread long ago; they count against their service's name, so that a reload gives it no right to more of them.
//! Who may block: nobody; a look takes two system calls for each.
//! Leaves out: when to look (`check::worker` before a run, `check::threads` each second while there are any).

use std::collections::HashMap;
use std::sync::Arc;

use crate::report::snapshot::Published;
use crate::sys::process::Left;

/// Those of all services, by name.
#[derive(Default)]
pub struct Unkilled(Published<HashMap<Arc<str>, Vec<Left>>>);

impl Unkilled {
    /// Keeps one more of `service`. Returns how many of it there are now.
    pub fn keep(&self, service: &Arc<str>, left: Left) -> usize {
        let mut all = self.0.lock();
        let of_service = all.entry(service.clone()).or_default();
        of_service.push(left);
        of_service.len()
    }

    /// Reaps those of `service` that have ended. Returns how many have not.
    pub fn reap_of(&self, service: &str) -> usize {
        self.0.lock().get_mut(service).map_or(0, reap)
    }

    /// Reaps those of all services that have ended. Returns how many have not.
    pub fn reap(&self) -> usize {
        let mut all = self.0.lock();
        all.retain(|_, of_service| reap(of_service) > 0);
        all.values().map(Vec::len).sum()
    }
}

fn reap(of_service: &mut Vec<Left>) -> usize {
    of_service.retain_mut(|left| !left.try_reap());
    of_service.len()
}
