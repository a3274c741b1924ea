//! Programs that could not be killed: they hang in the kernel, or belong to another user, by way of sudo.
//!
//! Promises: each is looked at until it has ended, so that none stays a zombie, however long ago the thread that started
//! it has ended; they count against an owner, so that no owner leaves more than [`MAX_PER_OWNER`] behind.
//! Who may block: nobody; a look takes two system calls for each.
//! Leaves out: when to look. Owners look before each run, and the main thread each second while there are any.

use std::collections::HashMap;
use std::sync::Arc;

use crate::sys::mutex::Mutex;
use crate::sys::process::Orphan;

/// How many orphans one owner may have before nothing more is started for it.
pub const MAX_PER_OWNER: usize = 4;

/// The orphans of all owners, by the owner's name.
#[derive(Default)]
pub struct Orphans(Mutex<HashMap<Arc<str>, Vec<Orphan>>>);

/// Why nothing more is started for an owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_PER_OWNER} earlier runs could not be killed and still run")]
pub struct TooManyOrphans;

impl Orphans {
    /// Keeps one more of `owner`. Returns how many it has now.
    pub fn keep(&self, owner: &str, orphan: Orphan) -> usize {
        let mut all = self.0.lock();
        let of_owner = all.entry(owner.into()).or_default();
        of_owner.push(orphan);
        of_owner.len()
    }

    /// Reaps the orphans of `owner` that have ended.
    ///
    /// # Errors
    /// So many of them have not that nothing more may be started.
    pub fn admit(&self, owner: &str) -> Result<(), TooManyOrphans> {
        let left = self.0.lock().get_mut(owner).map_or(0, reap);
        if left < MAX_PER_OWNER {
            Ok(())
        } else {
            Err(TooManyOrphans)
        }
    }

    /// Reaps those of all owners that have ended. Returns how many have not.
    pub fn reap(&self) -> usize {
        let mut all = self.0.lock();
        all.retain(|_, of_owner| reap(of_owner) > 0);
        all.values().map(Vec::len).sum()
    }
}

fn reap(orphans: &mut Vec<Orphan>) -> usize {
    orphans.retain_mut(|orphan| !orphan.try_reap());
    orphans.len()
}

#[cfg(test)]
mod tests;
