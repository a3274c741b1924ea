//! The pidfile while the daemon runs: put back if something deletes or replaces it, removed at the
//! end.
//!
//! Guarantees: a failure is logged once, and so is its end.
//!
//! Blocking: on the disk that holds the pidfile.
//!
//! Out of scope: the lock and the file itself (`sys::single_instance`).

use std::path::Path;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::sys::single_instance::Instance;

/// How often the pidfile is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How long to wait before writing is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The pidfile of the running daemon.
pub(super) struct Pidfile {
    instance: Instance,
    is_written: bool,
    next_check: Instant,
}

impl Pidfile {
    /// Takes over the instance of this process. `is_written` is false if the file could not be
    /// written, which is logged already.
    pub(super) fn new(instance: Instance, is_written: bool) -> Pidfile {
        Pidfile { instance, is_written, next_check: Instant::now() }
    }

    /// Returns when [`Pidfile::restore_if_due`] has something to do.
    pub(super) fn next_check(&self) -> Instant {
        self.next_check
    }

    /// Puts the file back if it is missing or is not ours.
    pub(super) fn restore_if_due(&mut self, now: Instant) {
        if self.next_check > now {
            return;
        }
        let restored = self.instance.restore();
        match &restored {
            Ok(true) if !self.is_written => info!("the pidfile is written now"),
            Ok(true) => warn!("the pidfile was deleted or replaced; it is put back"),
            Err(why) if self.is_written => warn!("{why}"),
            Ok(false) | Err(_) => {}
        }
        self.is_written = restored.is_ok();
        self.next_check = now + if self.is_written { CHECK_INTERVAL } else { RETRY_INTERVAL };
    }

    /// Removes the file at the end of the daemon.
    pub(super) fn remove(self, path: &Path) {
        info!("going to remove pidfile {}", path.display());
        if let Err(why) = self.instance.release() {
            warn!("failed to remove pidfile {}: {why}", path.display());
        }
    }
}
