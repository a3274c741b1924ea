//! One family's prefix list, from the services' states to the prefix file.
//!
//! The file is level-triggered: each step reads what the file lists, works out what it should list,
//! and replaces the file if the two differ, whatever caused the difference. Each write of ours and
//! each foreign change begins a revision (`bird::revision`). BIRD is in sync when it has accepted
//! the last revision that it is owed.
//!
//! Guarantees: a step that fails changes nothing and is retried. A file that was emptied, garbled,
//! deleted or hidden from BIRD is repaired, at most once a second if nothing else changes. A prefix
//! is removed only once its service is known to be down.
//!
//! Blocking: on the disk.
//!
//! Out of scope: notifying BIRD (`bird::reconfigurer`), and the decisions (`bird::routes`).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use self::finding_log::FindingLog;
pub use self::levels::Levels;
use self::pending::Pending;
use self::services::{ServicePrefix, ServicePrefixes};
use crate::bird::dummy::DummyPolicy;
use crate::bird::list_file::ListFile;
use crate::bird::prefix_file;
use crate::bird::protocol::query::Query;
use crate::bird::revision::Revisions;
use crate::bird::routes::{self, Finding, Phase, Routes, UnmanagedPrefixes};
use crate::bird::startup::Startup;
use crate::check::state::Verdict;
use crate::config::settings::{Bird, Service};
use crate::prefix::{Family, Prefix};

mod finding_log;
mod levels;
mod notification;
mod pending;
mod services;

/// The verdicts of all configured services, in the order of the configuration.
pub type Verdicts = [Verdict];

/// Result of one step.
#[derive(Debug, Default)]
pub struct Step {
    /// Each custom command must run again: BIRD may hold another list for a reason that is no
    /// service's state, and the family has no transport of its own.
    pub rerun_commands: bool,
}

/// One family's prefix list and its file.
pub struct PrefixList {
    family: Family,
    bird: Bird,
    file: ListFile,
    services: ServicePrefixes,
    unmanaged: UnmanagedPrefixes,
    /// The list that we last wrote, or found in the file as it should be.
    list: Arc<[Prefix]>,
    levels: Levels,
    /// The services without a verdict at the last update.
    waiting_for: Vec<Arc<str>>,
    startup: Startup,
    dummy: DummyPolicy,
    revisions: Revisions,
    /// Each service of the family has a custom command, and the family has no transport of its own.
    custom_only: bool,
    pending: Pending,
    finding_log: FindingLog,
}

impl PrefixList {
    /// Reads the family's list for the first time. `first_verdict` is the time that the slowest
    /// service needs for its first verdict.
    pub fn open(
        family: Family,
        bird: &Bird,
        services: &[Arc<Service>],
        purge: bool,
        first_verdict: Duration,
    ) -> PrefixList {
        let file = ListFile::new(family, &bird.conf, bird.history);
        let services = ServicePrefixes::new(services, family);
        let custom_only = services.is_custom_only(bird);
        let mut list = PrefixList {
            family,
            bird: bird.clone(),
            startup: Startup::new(file.path(), first_verdict),
            file,
            services,
            unmanaged: if purge { UnmanagedPrefixes::Remove } else { UnmanagedPrefixes::Keep },
            list: Arc::default(),
            levels: Levels::default(),
            waiting_for: Vec::new(),
            dummy: DummyPolicy::new(family, bird.dummy),
            revisions: Revisions::new(!custom_only),
            custom_only,
            pending: Pending::new(),
            finding_log: FindingLog::default(),
        };
        list.read_first();
        list
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The family's settings.
    pub fn bird(&self) -> &Bird {
        &self.bird
    }

    /// The file's path, with symbolic links resolved as of the last read.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The list that we last wrote, or found in the file as it should be.
    pub fn list(&self) -> &Arc<[Prefix]> {
        &self.list
    }

    /// Number of prefixes of all services, listed or not: about the number of routes that BIRD must
    /// walk.
    pub fn size(&self) -> usize {
        self.services.len()
    }

    fn read_first(&mut self) {
        let (contents, _) = self.file.read();
        let flaw = contents.flaw();
        self.startup.set_unread(contents.read_error.is_some());
        let path = self.file.path().to_path_buf();
        if let Some(flaw) = &flaw {
            warn!("failed to find variable name in {}, going to add it ({flaw})", path.display());
        } else if let Some(name) = contents.file.as_ref().and_then(|file| file.variable.as_ref()) {
            let right = &self.bird.variable;
            if name != right {
                let path = path.display();
                warn!("found incorrect variable name in {path}, going to add the correct one {name} -> {right}");
            }
        }
        let configured = self.services.configured();
        let list = self.startup.assess(&path, self.family, contents.file, flaw.as_deref(), &configured);
        self.set_initial(list);
    }

    /// Makes `list` the list of before the start.
    fn set_initial(&mut self, list: Vec<Prefix>) {
        self.startup.set_initial(self.file.path(), &list, self.services.withdrawn_on_boot());
        self.list = list.into();
    }

    /// The query for a lost list: which of the configured prefixes BIRD holds. None if the list is
    /// not lost.
    pub fn lost_query(&self) -> Option<Query> {
        let all = self.services.configured();
        self.startup.is_lost().then(|| Query::new(&self.bird.variable, Arc::new([]), all.into_iter()))
    }

    /// Replaces a lost list by the prefixes that BIRD holds. None if BIRD cannot be queried.
    pub fn recover(&mut self, held: Option<Vec<Prefix>>) {
        match held {
            None => self.startup.not_recovered(),
            Some(list) => {
                self.startup.recovered();
                info!("BIRD holds {} prefixes of the list that was lost: they count", list.len());
                self.set_initial(list);
            }
        }
    }

    /// Replaces the services and the family's settings at a reload. The next step withdraws
    /// prefixes that were removed with their service. A prefix that another service takes over
    /// stays as it is, like every prefix without a verdict. `verdicts` are those of the services
    /// before the reload.
    pub fn reload(&mut self, bird: &Bird, services: &[Arc<Service>], verdicts: &Verdicts) {
        let decisions = self.services.decisions(verdicts, self.startup.baseline());
        let desired = self.services.desired(&decisions);
        let listed = routes::next(&self.list, &desired, self.dummy(), self.unmanaged).list;
        self.startup.set_baseline(listed);
        self.file.keep_changes(bird.history);
        self.dummy.configure(bird.dummy);
        self.services.reload(services);
        self.custom_only = self.services.is_custom_only(bird);
        self.bird = bird.clone();
        self.pending.mark_dirty();
    }

    /// Makes a check of the file pending, because another program may have changed it.
    pub fn recheck(&mut self) {
        self.pending.recheck();
    }

    /// Cancels every wait for a retry, because the daemon stops.
    pub fn skip_backoff(&mut self) {
        self.pending.skip_backoff();
    }

    /// Applies the current verdicts. Must be called before each step.
    pub fn update(&mut self, verdicts: &Verdicts, now: Instant) {
        self.pending.set_decisions(self.services.decisions(verdicts, self.startup.baseline()));
        if self.services.verdicts(verdicts).any(Verdict::is_known) {
            // Unmanaged prefixes are removed after the first verdict.
            self.unmanaged = UnmanagedPrefixes::Remove;
        }
        self.waiting_for = self.services.without_verdict(verdicts);
        let was_provisional = self.startup.is_provisional();
        let withheld = self.services.verdicts(verdicts).any(|verdict| verdict.ends_hold);
        self.startup.update_hold(&self.waiting_for, withheld, now);
        if was_provisional && !self.startup.is_provisional() {
            // The mark must be removed from the file before BIRD is notified.
            self.pending.mark_dirty();
        }
    }

    /// When the next step or the end of the hold is due. None if there is nothing to do.
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        self.pending.next_wakeup(now).into_iter().chain(self.startup.hold_until()).min()
    }

    /// Whether a step is due.
    pub fn is_due(&self, now: Instant) -> bool {
        let has_work = self.pending.is_dirty() || self.pending.needs_recheck();
        has_work && self.next_wakeup(now).is_some_and(|at| at <= now)
    }

    /// Makes one step: reads the file, and replaces it if it does not list what it should.
    pub fn converge(&mut self, verdicts: &Verdicts, now: Instant) -> Step {
        self.pending.begin_step();
        if !self.pending.is_dirty() && self.file.is_unchanged() {
            return Step::default();
        }
        let first = !self.startup.is_started();
        let (contents, differs) = self.file.read();
        let flaw = contents.flaw();
        if !first && differs {
            self.revisions.advance();
            self.pending.found_foreign_change(now);
            let flaw = flaw.as_ref().map_or(String::new(), |flaw| format!(": {flaw}"));
            warn!("{} was changed by someone else{flaw}", self.file.path().display());
        }
        if let (true, None, Some(file)) = (self.startup.is_unread(), &flaw, &contents.file) {
            info!("{} can be read now, so what it lists counts", self.file.path().display());
            self.startup.discard_fallback();
            let (path, configured) = (self.file.path().to_path_buf(), self.services.configured());
            let list = self.startup.assess(&path, self.family, Some(file.clone()), None, &configured);
            self.set_initial(list);
        }
        let listed: Arc<[Prefix]> = match contents.file {
            Some(file) if flaw.is_none() => file.prefixes.into(),
            _ => self.list.clone(),
        };
        let (list, unmanaged, repaired) = self.next_list(&listed, verdicts);
        self.levels = Levels {
            wanted: list.clone().into(),
            in_file: if flaw.is_none() { listed } else { Arc::default() },
            unmanaged,
        };
        let must_write = !self.is_canonical(contents.bytes.as_deref(), &list);
        if !must_write && self.pending.is_dirty() && !first {
            info!("no updates for bird configuration");
        }
        if must_write && !self.write(&list, now) {
            return Step::default();
        }
        self.file.mark_verified();
        self.startup.confirm(self.file.path());
        let foreign = self.pending.end_step(self.services.len());
        let changed = self.commit(list);
        self.assign_revision(must_write, foreign || repaired, &changed)
    }

    /// Decides which transport sends the revision that the step has begun.
    fn assign_revision(&mut self, written: bool, foreign: bool, changed: &[ServicePrefix]) -> Step {
        if foreign && self.custom_only {
            return Step { rerun_commands: true };
        }
        // After a foreign change the family sends it even if the list did not change: BIRD may have
        // read the other one.
        let sent_by_custom = !changed.is_empty() && changed.iter().all(ServicePrefix::has_custom_command) && !foreign;
        let unchanged = changed.is_empty() && self.custom_only;
        if foreign || written && !sent_by_custom && !unchanged {
            self.revisions.owe();
        }
        Step::default()
    }

    /// Returns the next list, the listed prefixes that no service names, and whether the list
    /// differs for another reason than the services' states. Logs the findings.
    fn next_list(&mut self, listed: &[Prefix], verdicts: &Verdicts) -> (Vec<Prefix>, Arc<[Prefix]>, bool) {
        let decisions = self.services.decisions(verdicts, self.startup.baseline());
        let desired = self.services.desired(&decisions);
        let Routes { list, findings } = routes::next(listed, &desired, self.dummy(), self.unmanaged);
        let phase = if self.startup.is_started() { Phase::Running } else { Phase::Start };
        self.finding_log.log(&findings, phase, self.file.path());
        let repaired =
            findings.iter().any(|finding| matches!(finding, Finding::DummyMissing(_) | Finding::UnmanagedRemoved(_)));
        let unmanaged = findings.iter().find_map(Finding::unmanaged).unwrap_or_default().into();
        (list, unmanaged, repaired)
    }

    /// Whether the file is what we would write, and BIRD may read it.
    fn is_canonical(&self, bytes: Option<&[u8]>, list: &[Prefix]) -> bool {
        let (provisional, variable, dummy) = (self.startup.is_provisional(), &self.bird.variable, self.dummy());
        let is_ours = |bytes| prefix_file::is_canonical(bytes, provisional, variable, dummy, list);
        self.file.is_world_readable() && bytes.is_some_and(is_ours)
    }

    /// Replaces the file. Returns false if that fails, and makes a retry pending.
    fn write(&mut self, list: &[Prefix], now: Instant) -> bool {
        let generated = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S.%6f").to_string();
        let mut text = prefix_file::render(&self.bird.variable, self.dummy(), list, &generated, std::process::id());
        if self.startup.is_provisional() {
            prefix_file::mark_provisional(&mut text);
        }
        if !self.file.replace(&text) {
            self.pending.write_failed(now);
            return false;
        }
        self.revisions.advance();
        self.pending.write_succeeded(now);
        info!("Bird configuration for {} is updated", self.family);
        true
    }

    /// Records that the file lists `list`. Returns the prefixes that were added or removed.
    fn commit(&mut self, list: Vec<Prefix>) -> Vec<ServicePrefix> {
        let changed = self.services.commit(&self.list, &list);
        self.list = list.into();
        self.levels.in_file = self.list.clone();
        if self.unmanaged == UnmanagedPrefixes::Remove {
            self.levels.unmanaged = Arc::default();
        }
        self.finding_log.clear();
        changed
    }

    /// Makes the last write survive a power failure. Called after the reconfigure, so that no route
    /// waits for it.
    pub fn sync_directory(&mut self) {
        self.file.sync_directory();
    }

    /// Records whether BIRD accepts empty lists. If it does not and no dummy is configured, the
    /// default dummy is listed.
    pub fn set_empty_lists_are_read(&mut self, accepted: bool) {
        if self.dummy.set_required(!accepted, |dummy| self.services.contains(dummy)) {
            self.pending.mark_dirty();
        }
    }

    fn dummy(&self) -> Option<&Prefix> {
        self.dummy.prefix(|dummy| self.services.contains(dummy))
    }
}

#[cfg(test)]
mod tests;
