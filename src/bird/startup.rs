//! The list found at the start, and how far it is trusted.
//!
//! ```text
//!   the file is sound and not provisional    it is the list of before
//!   no file, no marker and no history        no list was ever written: the list of before is empty
//!   anything else: the list is lost          BIRD's own list, queried over its control socket, or
//!                                            a provisional list, which is held: the legible part
//!                                            of the file, or the newest copy in the history
//! ```
//!
//! While a list is held, BIRD is not notified of it until each service has its first verdict, for
//! at most [`MAX_HOLD`]. The file of a held list is marked as provisional, so that the next start
//! does not mistake it for what was advertised. A copy in the history does not end the hold,
//! because the newest copy is the list before the last change.
//!
//! Guarantees: the hold ends early when an operator withdraws a service that is up (drain or
//! `on_exit`), so that its prefixes are withdrawn at once.
//!
//! Blocking: reads and writes small files on the disk.
//!
//! Out of scope: the list after the start (`bird::prefix_list`).

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::bird::boot::Boot;
use crate::bird::history;
use crate::bird::marker;
use crate::bird::prefix_file::PrefixFile;
use crate::bird::state::Hold;
use crate::prefix::{Family, Prefix};

/// Maximum duration of a hold, however long the services' first checks take.
pub const MAX_HOLD: Duration = Duration::from_secs(60);

/// The list of before the start, and the hold.
pub struct Startup {
    /// The list that services without a verdict keep: as first read, or as of the last reload.
    baseline: HashSet<Prefix>,
    /// Time that the slowest service needs for its first verdict.
    first_verdict: Duration,
    /// When the hold ends. None if the list is not held.
    hold_until: Option<Instant>,
    /// The list is provisional, so the file must be marked.
    provisional: bool,
    /// The file on the disk is marked as provisional.
    marked: bool,
    /// The list was lost, and BIRD was not queried for it yet.
    lost: bool,
    /// The file could not be read, so a fallback is in its place.
    unread: bool,
    /// The first step is done.
    started: bool,
    boot: Boot,
    /// A service has `on_boot = withdraw`, so the boot must be recorded.
    records_boot: bool,
    /// The marker beside the file is written: a list was written there.
    is_marker_set: bool,
}

impl Startup {
    /// Reads the boot marker beside the file `path`. `first_verdict` is the time that the slowest
    /// service needs for its first verdict.
    pub fn new(path: &Path, first_verdict: Duration) -> Startup {
        Startup {
            baseline: HashSet::new(),
            first_verdict: first_verdict.min(MAX_HOLD),
            hold_until: None,
            provisional: false,
            marked: false,
            lost: false,
            unread: false,
            started: false,
            boot: Boot::load(path),
            records_boot: false,
            is_marker_set: false,
        }
    }

    /// The list that services without a verdict keep.
    pub fn baseline(&self) -> &HashSet<Prefix> {
        &self.baseline
    }

    /// Replaces the list that services without a verdict keep, at a reload.
    pub fn set_baseline(&mut self, listed: impl IntoIterator<Item = Prefix>) {
        self.baseline = listed.into_iter().collect();
    }

    /// Whether the first step is done.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Whether the list is provisional, so that the file must be marked.
    pub fn is_provisional(&self) -> bool {
        self.provisional
    }

    /// Whether the file on the disk is marked as provisional.
    pub fn is_marked(&self) -> bool {
        self.marked
    }

    /// Whether the list was lost and BIRD was not queried for it yet.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Assesses the file as first read, and returns the initial list. `configured` are the family's
    /// prefixes.
    pub fn assess(
        &mut self,
        path: &Path,
        family: Family,
        file: Option<PrefixFile>,
        flaw: Option<&str>,
        configured: &HashSet<Prefix>,
    ) -> Vec<Prefix> {
        let provisional = file.as_ref().is_some_and(|file| file.provisional);
        let is_new = file.is_none() && !marker::is_set(path, &self.boot) && !history::exists(path, family);
        let listed = file.map(|file| file.prefixes).unwrap_or_default();
        if flaw.is_none() {
            if provisional {
                self.mark_lost(path, configured);
            }
            return listed;
        }
        if is_new && !self.unread {
            info!("{} was never written: nothing was advertised before", path.display());
            return Vec::new();
        }
        self.mark_lost(path, configured);
        let only_configured =
            |list: Vec<Prefix>| list.into_iter().filter(|prefix| configured.contains(prefix)).collect();
        let legible: Vec<Prefix> = only_configured(listed);
        if legible.is_empty() {
            history::newest_good(path, family).map(only_configured).unwrap_or_default()
        } else {
            legible
        }
    }

    /// Records whether the file could not be read, so that a fallback takes its place until it can.
    pub fn set_unread(&mut self, unread: bool) {
        self.unread = unread;
    }

    /// Whether a fallback is in the place of a file that could not be read, and the first step is
    /// not done.
    pub fn is_unread(&self) -> bool {
        self.unread && !self.started
    }

    /// Discards the fallback and its hold, because the file can be read now.
    pub fn discard_fallback(&mut self) {
        self.hold_until = None;
        self.provisional = false;
        self.marked = false;
        self.lost = false;
        self.unread = false;
    }

    fn mark_lost(&mut self, path: &Path, configured: &HashSet<Prefix>) {
        if configured.is_empty() {
            return;
        }
        let path = path.display();
        warn!("nothing tells what {path} listed, so BIRD is told when each service had its verdict");
        self.lost = true;
        self.provisional = true;
        self.marked = true;
        self.hold_until = Some(Instant::now() + self.first_verdict);
    }

    /// Ends the hold of a lost list, because BIRD has reported the list.
    pub fn recovered(&mut self) {
        self.hold_until = None;
        self.lost = false;
    }

    /// Keeps the hold of a lost list, because BIRD cannot be queried.
    pub fn not_recovered(&mut self) {
        self.lost = false;
    }

    /// Makes `list` the list of before. If it is from before the machine's last boot, the prefixes
    /// `on_boot` are removed: those of services with `on_boot = withdraw`, each with its service's
    /// name.
    pub fn set_initial<'a>(&mut self, path: &Path, list: &[Prefix], on_boot: impl Iterator<Item = (Prefix, &'a str)>) {
        self.baseline = list.iter().copied().collect();
        let mut on_boot = on_boot.peekable();
        self.records_boot |= on_boot.peek().is_some();
        if !self.records_boot || !self.boot.is_first_start() {
            return;
        }
        let path = path.display();
        for (prefix, service) in on_boot {
            if self.baseline.remove(&prefix) {
                info!("{path} lists {prefix} of {service} from before the machine booted: withdrawn");
            }
        }
    }

    /// Ends the hold when its time is over, when no service waits for its first verdict
    /// (`waiting_for`), or when an operator withdraws a service (`withheld`).
    pub fn update_hold(&mut self, waiting_for: &[Arc<str>], withheld: bool, now: Instant) {
        if self.hold_until.is_some_and(|until| until <= now || waiting_for.is_empty() || withheld) {
            self.hold_until = None;
        }
        self.provisional = self.hold_until.is_some();
    }

    /// When the hold ends. None if the list is not held.
    pub fn hold_until(&self) -> Option<Instant> {
        self.hold_until
    }

    /// The hold, for reports.
    pub fn hold(&self, waiting_for: Vec<Arc<str>>) -> Option<Hold> {
        Some(Hold { until: self.hold_until?, waiting_for })
    }

    /// Records that the file `path` is as it should be, so that the next start may trust it.
    pub fn confirm(&mut self, path: &Path) {
        self.started = true;
        self.marked = self.provisional;
        if !self.boot.is_beside(path) {
            // A symbolic link points to another file now.
            self.boot = Boot::load(path);
            self.is_marker_set = false;
        }
        if !std::mem::replace(&mut self.is_marker_set, true) {
            marker::set(path, &mut self.boot);
        }
        if self.records_boot {
            self.boot.save();
        }
    }
}

#[cfg(test)]
mod tests;
