//! Keeps processes that could not be killed: they hang in the kernel, or run as another user
//! through sudo.
//!
//! Guarantees: each orphan is polled until it has exited, even after the thread that started it has
//! ended, so that no zombie stays. Orphans count by owner, so that no owner has more than
//! [`MAX_PER_OWNER`] of them.
//!
//! Blocking: none; polling takes two system calls per orphan.
//!
//! Out of scope: when to poll. Owners poll before each run, and the main thread every second while
//! there are orphans.

use std::collections::HashMap;
use std::sync::Arc;

use crate::sys::mutex::Mutex;
use crate::sys::process::Orphan;

/// Maximum number of orphans per owner. An owner with that many may start no further program.
pub const MAX_PER_OWNER: usize = 4;

/// The orphans of all owners, by owner name.
#[derive(Default)]
pub struct Orphans(Mutex<HashMap<Arc<str>, Vec<Orphan>>>);

/// The error of an owner that has too many orphans to start another program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_PER_OWNER} earlier runs could not be killed and still run")]
pub struct TooManyOrphans;

impl Orphans {
    /// Adds an orphan of `owner`. Returns how many orphans that owner has now.
    pub fn keep(&self, owner: &str, orphan: Orphan) -> usize {
        let mut all = self.0.lock();
        let of_owner = all.entry(owner.into()).or_default();
        of_owner.push(orphan);
        of_owner.len()
    }

    /// Reaps the orphans of `owner` that have exited, and checks whether it may start another
    /// program.
    ///
    /// # Errors
    /// The owner still has [`MAX_PER_OWNER`] orphans.
    pub fn admit(&self, owner: &str) -> Result<(), TooManyOrphans> {
        let remaining = self.0.lock().get_mut(owner).map_or(0, reap);
        if remaining < MAX_PER_OWNER {
            Ok(())
        } else {
            Err(TooManyOrphans)
        }
    }

    /// Reaps the orphans of all owners that have exited. Returns how many remain.
    pub fn reap(&self) -> usize {
        let mut all = self.0.lock();
        all.retain(|_, of_owner| reap(of_owner) > 0);
        all.values().map(Vec::len).sum()
    }
}

/// Reaps the orphans that have exited. Returns how many remain.
fn reap(orphans: &mut Vec<Orphan>) -> usize {
    orphans.retain_mut(|orphan| !orphan.try_reap());
    orphans.len()
}

#[cfg(test)]
mod tests;
