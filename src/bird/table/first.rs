//! The list as it is found at the start, and how far it is trusted.
//!
//! Promises: what a sound file lists counts; of a broken one what is legible does, else the newest good copy in the
//! history; where nothing is left to go by, BIRD is told only when each service had its verdict or the time for it; and
//! where a service asks for it, a list from before the machine's last boot says nothing of it.
//! Leaves out: what becomes of the list afterwards (`bird::table`).

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{Named, Table, Verdicts};
use crate::bird::boot::Boot;
use crate::bird::history;
use crate::bird::prefix_file::PrefixFile;
use crate::check::health::State;
use crate::prefix::Prefix;

/// Long enough for a step that is due to come before it.
const MOMENT: Duration = Duration::from_millis(1);

impl Table {
    /// Where the file is sound, what it lists counts. Else what is legible of the configured prefixes, else the newest
    /// good copy in the history; where there is nothing at all, or nothing else was found when the file was written, BIRD is
    /// not told before the services had their say.
    pub(super) fn read_first(&mut self, patience: Duration) {
        let path = self.path.clone();
        let path = path.display();
        let read = self.read();
        let flaw = read.flaw();
        self.unread = read.refused.is_some().then_some(patience);
        let list = match read.file {
            Some(PrefixFile { flaw: None, prefixes, variable, held }) => {
                if let Some(name) = variable.filter(|name| *name != self.bird.variable) {
                    let right = &self.bird.variable;
                    warn!("found incorrect variable name in {path}, going to add the correct one {name} -> {right}");
                }
                if held {
                    self.hold(patience);
                }
                prefixes
            }
            broken => {
                let flaw = flaw.unwrap_or_default();
                warn!("failed to find variable name in {path}, going to add it ({flaw})");
                let (legible, held) = broken.map(|file| (file.prefixes, file.held)).unwrap_or_default();
                self.rescue(legible, held, patience)
            }
        };
        self.begin_with(list);
    }

    /// This counts as what was listed before.
    pub(super) fn begin_with(&mut self, list: Vec<Prefix>) {
        self.first_read = list.iter().copied().collect();
        self.distrust();
        self.list = list.into();
    }

    /// At the first start since the machine booted, prefixes of services that want it so count as not listed.
    fn distrust(&mut self) {
        if self.boot().is_none_or(|boot| !boot.is_first()) {
            return;
        }
        let path = self.path.display();
        for named in self.known.iter().filter(|named| named.on_boot) {
            if self.first_read.remove(&named.prefix) {
                info!("{path} lists {} of {} from before the machine booted: withdrawn", named.prefix, named.service);
            }
        }
    }

    pub(super) fn boot(&mut self) -> Option<&mut Boot> {
        let wanted = self.known.iter().any(|named| named.on_boot);
        wanted.then(|| self.boot.get_or_insert_with(|| Boot::look(&self.path)))
    }

    fn rescue(&mut self, legible: Vec<Prefix>, held: bool, patience: Duration) -> Vec<Prefix> {
        let configured: HashSet<Prefix> = self.known.iter().map(|named| named.prefix).collect();
        let of_ours = |list: Vec<Prefix>| list.into_iter().filter(|prefix| configured.contains(prefix)).collect();
        let mut list: Vec<Prefix> = of_ours(legible);
        if list.is_empty() {
            list = history::newest_good(&self.path, self.family).map(of_ours).unwrap_or_default();
        }
        if list.is_empty() || held {
            self.hold(patience);
        }
        list
    }

    pub(super) fn hold(&mut self, patience: Duration) {
        if !self.known.is_empty() {
            let path = self.path.display();
            warn!("nothing tells what {path} listed, so BIRD is told when each service had its verdict");
            self.hold = Some(Instant::now() + patience);
        }
    }

    /// Until when BIRD must not be told, see [`Table::open`].
    ///
    /// A verdict that has come is worth nothing to BIRD before it is in the file, so that is waited for too, unless the
    /// file cannot be written.
    pub fn held_until(&mut self, verdicts: &Verdicts, now: Instant) -> Option<Instant> {
        let until = self.hold?;
        if self.is_held(verdicts, now) {
            return Some(until);
        }
        // The mark goes before BIRD is told, as what BIRD holds is no list from nothing.
        self.news |= self.marked;
        if self.news && self.problem.is_none() {
            return Some(self.pace.earliest().map_or(now, |at| at.max(now)) + MOMENT);
        }
        self.hold = None;
        None
    }

    /// Whether the list was made from nothing, and a service had neither its verdict nor the time for one.
    pub(super) fn is_held(&self, verdicts: &Verdicts, now: Instant) -> bool {
        let decided = |named: &Named| verdicts.get(&named.service).is_some_and(|found| found.state != State::Unknown);
        self.hold.is_some_and(|until| until > now) && !self.known.iter().all(decided)
    }
}
