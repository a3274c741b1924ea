//! The list as it is found at the start, and how far it is trusted.
//!
//! ```text
//!   the file is sound, and not provisional      it counts as what was listed before
//!   nothing was ever written here               nothing was listed before: no file, no marker of ours, no history
//!   anything else: the list is lost             over a control socket BIRD is asked what it holds, and that counts;
//!                                               else what is legible, or the newest copy in the history, is the base of
//!                                               a provisional list, and the list is held
//! ```
//!
//! A list is held: BIRD is not told of it before each service had its first verdict, at most [`MAX_HOLD`]. While it is
//! held the file is marked as provisional, so that the next start does not take it for what was advertised. The history
//! is no better witness than nothing: its newest copy is the list before the last change.
//! The drain of a service that is up, or `on_exit`, ends the hold: what an operator withdraws leaves at once.
//!
//! Leaves out: what becomes of the list afterwards (`bird::prefix_list`).

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

/// How long BIRD is kept from a list at most, whatever the services' checks take.
pub const MAX_HOLD: Duration = Duration::from_secs(60);

/// What is known of the list from before.
pub struct Startup {
    /// What a service without a verdict keeps: the list as it was first read, or as it was at the last reload.
    baseline: HashSet<Prefix>,
    /// How long the slowest service needs for its first verdict.
    first_verdict: Duration,
    /// Until when the list is held.
    hold: Option<Instant>,
    /// The file has to say that the list is provisional.
    provisional: bool,
    /// It says so.
    marked: bool,
    /// The list was lost, and BIRD was not asked for it yet.
    lost: bool,
    /// The file was refused at the first look, so that another list stands in for it.
    unread: bool,
    /// The file was read, and replaced where that was needed.
    started: bool,
    boot: Boot,
    /// A service has `on_boot = withdraw`, so that the boot has to be remembered.
    keeps_boot: bool,
    /// The directory says that a list was written there.
    is_marker_set: bool,
}

impl Startup {
    /// Looks at what stands beside the file `path`. `first_verdict` is how long the slowest service needs for its verdict.
    pub fn new(path: &Path, first_verdict: Duration) -> Startup {
        Startup {
            baseline: HashSet::new(),
            first_verdict: first_verdict.min(MAX_HOLD),
            hold: None,
            provisional: false,
            marked: false,
            lost: false,
            unread: false,
            started: false,
            boot: Boot::load(path),
            keeps_boot: false,
            is_marker_set: false,
        }
    }

    /// What a service without a verdict keeps.
    pub fn baseline(&self) -> &HashSet<Prefix> {
        &self.baseline
    }

    /// A reload begins: this is what a service without a verdict keeps from now on.
    pub fn set_baseline(&mut self, listed: impl IntoIterator<Item = Prefix>) {
        self.baseline = listed.into_iter().collect();
    }

    /// Whether the first step is done.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Whether the file has to say that the list is provisional.
    pub fn is_provisional(&self) -> bool {
        self.provisional
    }

    /// Whether the file says so.
    pub fn is_marked(&self) -> bool {
        self.marked
    }

    /// Whether the list was lost, and BIRD was not asked for it yet.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Takes in the first look at the file, and returns the list to begin with. `configured` are the family's prefixes.
    pub fn read(
        &mut self,
        path: &Path,
        family: Family,
        found: Option<PrefixFile>,
        flaw: Option<&str>,
        configured: &HashSet<Prefix>,
    ) -> Vec<Prefix> {
        let provisional = found.as_ref().is_some_and(|file| file.provisional);
        let is_new = found.is_none() && !marker::is_set(path, &self.boot) && !history::exists(path, family);
        let listed = found.map(|file| file.prefixes).unwrap_or_default();
        if flaw.is_none() {
            if provisional {
                self.lose(path, configured);
            }
            return listed;
        }
        if is_new && !self.unread {
            info!("{} was never written: nothing was advertised before", path.display());
            return Vec::new();
        }
        self.lose(path, configured);
        let of_ours = |list: Vec<Prefix>| list.into_iter().filter(|prefix| configured.contains(prefix)).collect();
        let legible: Vec<Prefix> = of_ours(listed);
        if legible.is_empty() {
            history::newest_good(path, family).map(of_ours).unwrap_or_default()
        } else {
            legible
        }
    }

    /// The file cannot be read: another list stands in for it, until it can.
    pub fn set_unread(&mut self, refused: bool) {
        self.unread = refused;
    }

    /// Whether the file, which could not be read until now, can be read before the first step is over.
    pub fn is_unread(&self) -> bool {
        self.unread && !self.started
    }

    /// It can.
    pub fn forget_hold(&mut self) {
        (self.hold, self.provisional, self.marked, self.lost, self.unread) = (None, false, false, false, false);
    }

    fn lose(&mut self, path: &Path, configured: &HashSet<Prefix>) {
        if configured.is_empty() {
            return;
        }
        let path = path.display();
        warn!("nothing tells what {path} listed, so BIRD is told when each service had its verdict");
        (self.lost, self.provisional, self.marked) = (true, true, true);
        self.hold = Some(Instant::now() + self.first_verdict);
    }

    /// BIRD says what it holds of the lost list: nothing has to be guessed.
    pub fn found(&mut self) {
        (self.hold, self.lost) = (None, false);
    }

    /// BIRD cannot be asked.
    pub fn not_found(&mut self) {
        self.lost = false;
    }

    /// This counts as what was listed before, less what is from before the machine's last boot: `on_boot` are prefixes of
    /// services that want it so, with the services' names.
    pub fn begin_with<'a>(&mut self, path: &Path, list: &[Prefix], on_boot: impl Iterator<Item = (Prefix, &'a str)>) {
        self.baseline = list.iter().copied().collect();
        let mut on_boot = on_boot.peekable();
        self.keeps_boot |= on_boot.peek().is_some();
        if !self.keeps_boot || !self.boot.is_first_start() {
            return;
        }
        let path = path.display();
        for (prefix, service) in on_boot {
            if self.baseline.remove(&prefix) {
                info!("{path} lists {prefix} of {service} from before the machine booted: withdrawn");
            }
        }
    }

    /// Whether the list is held. `waiting_for` are the services without a verdict; `withheld` says whether an operator
    /// withdraws one of the others.
    pub fn update_hold(&mut self, waiting_for: &[Arc<str>], withheld: bool, now: Instant) {
        if self.hold.is_some_and(|until| until <= now || waiting_for.is_empty() || withheld) {
            self.hold = None;
        }
        self.provisional = self.hold.is_some();
    }

    /// Until when the list is held, if it is.
    pub fn held_until(&self) -> Option<Instant> {
        self.hold
    }

    /// The hold, for reports.
    pub fn hold(&self, waiting_for: Vec<Arc<str>>) -> Option<Hold> {
        Some(Hold { until: self.hold?, waiting_for })
    }

    /// The file `path` is right: the next start may trust it.
    pub fn confirm(&mut self, path: &Path) {
        self.started = true;
        self.marked = self.provisional;
        if !self.boot.is_beside(path) {
            // A link leads to another file now.
            (self.boot, self.is_marker_set) = (Boot::load(path), false);
        }
        if !std::mem::replace(&mut self.is_marker_set, true) {
            marker::set(path, &mut self.boot);
        }
        if self.keeps_boot {
            self.boot.save();
        }
    }
}

#[cfg(test)]
mod tests;
