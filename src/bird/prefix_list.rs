//! One family's list on its way from the services' states to the prefix file.
//!
//! The file is level-triggered: each step reads what the file lists, works out what it should list, and replaces it
//! where the two differ, whoever made them differ. Each write of ours and each change by someone else begins a revision
//! (`bird::revision`), and BIRD is in line when it took the last one that it is owed.
//!
//! Promises: a step that fails changes nothing and is tried again; a file that was emptied, garbled, deleted or hidden
//! from BIRD is put right, at most once a second where nothing else is new; a prefix leaves the list only once its
//! service is known to be down.
//! Leaves out: telling BIRD (`bird::reconfigurer`), and the decisions (`bird::routes`).

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::bird::backoff::Backoff;
use crate::bird::dummy::DummyPolicy;
use crate::bird::list_file::{Contents, ListFile};
use crate::bird::prefix_file;
use crate::bird::protocol::query::Query;
use crate::bird::revision::{Revision, Revisions};
use crate::bird::routes::{self, Decision, DesiredPrefix, Finding, Phase, Routes, UnmanagedPrefixes};
use crate::bird::startup::Startup;
use crate::bird::state::Hold;
use crate::check::state::{Intent, Verdict};
use crate::config::settings::{Bird, LogLevel, Service};
use crate::prefix::{Family, Prefix};

/// Two programs that both keep putting the file right must not spin.
const REPAIR_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of each configured service, in the order of the configuration.
pub type Verdicts = [Verdict];

/// A prefix of the family and the service that names it.
#[derive(Clone, Debug)]
struct ServicePrefix {
    prefix: Prefix,
    service: Arc<str>,
    /// The service's place in the configuration, where it is still there.
    place: usize,
    /// The service's changes are told by its own command.
    custom: bool,
    /// `on_boot = withdraw`: a list from before the machine's last boot says nothing of it.
    on_boot: bool,
}

/// What one step changed.
#[derive(Debug, Default)]
pub struct Step {
    /// BIRD may hold something else than the file listed, for a reason that is no service's: each custom command has to
    /// tell it, where the family has no command of its own.
    pub foreign: bool,
}

/// One family's list.
pub struct PrefixList {
    family: Family,
    bird: Bird,
    file: ListFile,
    /// In the order of the configuration.
    prefixes: Vec<ServicePrefix>,
    /// Prefixes that a reload took from their service and gave to no other, until the file lists them no more.
    gone: Vec<ServicePrefix>,
    unmanaged: UnmanagedPrefixes,
    /// The list that we last wrote, or found right.
    list: Arc<[Prefix]>,
    levels: ListLevels,
    startup: Startup,
    dummy: DummyPolicy,
    revisions: Revisions,
    /// Each service of the family has a command of its own, and the family has none.
    custom_only: bool,
    pending: Pending,
    /// What the last step had to say, so that a step that is tried again does not say it again.
    said: HashSet<String>,
}

/// What reports show of the list.
struct ListLevels {
    /// What the services' states say.
    wanted: Arc<[Prefix]>,
    /// What the file lists, as of the last look; empty where it is broken or missing.
    in_file: Arc<[Prefix]>,
    /// What the file lists and no service names, the dummy aside.
    unmanaged: Arc<[Prefix]>,
    /// Services that had no verdict at the last step.
    waiting_for: Vec<Arc<str>>,
}

/// What there is to do.
struct Pending {
    /// The list may have to change, or the last write failed.
    dirty: bool,
    /// Somebody may have touched the file.
    recheck: bool,
    /// Somebody changed the file, and it could not be put right yet.
    foreign: bool,
    /// What was decided on each prefix at the last step.
    decided: Vec<Decision>,
    backoff: Backoff,
    repaired: Option<Instant>,
}

impl PrefixList {
    /// Reads the family's list for the first time. `first_verdict` is how long the slowest service needs for its verdict.
    pub fn open(
        family: Family,
        bird: &Bird,
        services: &[Arc<Service>],
        purge: bool,
        first_verdict: Duration,
    ) -> PrefixList {
        let file = ListFile::new(family, &bird.conf, bird.history);
        let none: Arc<[Prefix]> = Arc::new([]);
        let prefixes = of_family(services, family);
        let custom_only = is_custom_only(bird, &prefixes);
        let mut list = PrefixList {
            family,
            bird: bird.clone(),
            startup: Startup::new(file.path(), first_verdict),
            file,
            prefixes,
            gone: Vec::new(),
            unmanaged: if purge { UnmanagedPrefixes::Remove } else { UnmanagedPrefixes::Keep },
            list: none.clone(),
            levels: ListLevels {
                wanted: none.clone(),
                in_file: none.clone(),
                unmanaged: none,
                waiting_for: Vec::new(),
            },
            dummy: DummyPolicy::new(family, bird.dummy),
            revisions: Revisions::new(!custom_only),
            custom_only,
            pending: Pending {
                dirty: true,
                recheck: false,
                foreign: false,
                decided: Vec::new(),
                backoff: Backoff::default(),
                repaired: None,
            },
            said: HashSet::new(),
        };
        list.read_first();
        list
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// How BIRD is told, and what else is configured for the family.
    pub fn bird(&self) -> &Bird {
        &self.bird
    }

    /// The file, links resolved as of the last look.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The list that we last wrote, or found right.
    pub fn list(&self) -> &Arc<[Prefix]> {
        &self.list
    }

    /// How many prefixes the services have, listed or not: about as many routes BIRD has to look at.
    pub fn size(&self) -> usize {
        self.prefixes.len()
    }

    fn read_first(&mut self) {
        let (Contents { file, read_error, .. }, _) = self.file.read();
        let contents = Contents { file, bytes: None, read_error };
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
        let list = self.startup.read(&path, self.family, contents.file, flaw.as_deref(), &self.configured());
        self.begin_with(list);
    }

    /// This counts as what was listed before.
    fn begin_with(&mut self, list: Vec<Prefix>) {
        let on_boot = self.prefixes.iter().filter(|on| on.on_boot).map(|on| (on.prefix, &*on.service));
        self.startup.begin_with(self.file.path(), &list, on_boot);
        self.list = list.into();
    }

    fn configured(&self) -> HashSet<Prefix> {
        self.prefixes.iter().map(|on| on.prefix).collect()
    }

    /// What BIRD is asked where the list was lost: which of the configured prefixes it holds. None where it is not lost.
    pub fn lost(&self) -> Option<Query> {
        let all = self.configured();
        self.startup.is_lost().then(|| Query::new(&self.bird.variable, Arc::new([]), all.into_iter()))
    }

    /// BIRD was asked, and says that it holds these; or it cannot be asked.
    pub fn recover(&mut self, held: Option<Vec<Prefix>>) {
        match held {
            None => self.startup.not_found(),
            Some(list) => {
                self.startup.found();
                info!("BIRD holds {} prefixes of the list that was lost: they count", list.len());
                self.begin_with(list);
            }
        }
    }

    /// Goes on with other services, and with what else of the family's options can change. Prefixes that go with their
    /// service are withdrawn with the next step; one that another service takes over stays as it is, like every prefix
    /// without a verdict. `verdicts` are those of the services until now.
    pub fn reload(&mut self, bird: &Bird, services: &[Arc<Service>], verdicts: &Verdicts) {
        let decisions = self.decisions(verdicts);
        let known = self.known(&decisions);
        let listed = routes::next(&self.list, &known, self.dummy(), self.unmanaged).list;
        self.startup.set_baseline(listed);
        self.file.keep_changes(bird.history);
        self.dummy.configure(bird.dummy);
        let prefixes = of_family(services, self.family);
        self.custom_only = is_custom_only(bird, &prefixes);
        let named: HashSet<Prefix> = prefixes.iter().map(|on| on.prefix).collect();
        self.gone.extend(self.prefixes.drain(..).map(|on| ServicePrefix { place: GONE, ..on }));
        self.gone.retain(|gone| !named.contains(&gone.prefix));
        self.prefixes = prefixes;
        self.bird = bird.clone();
        self.mark_dirty();
    }

    /// There may be something new to write: no reason to wait for the next retry.
    fn mark_dirty(&mut self) {
        self.pending.dirty = true;
        self.pending.backoff.changed();
    }

    /// Somebody touched the file.
    pub fn recheck(&mut self) {
        self.pending.recheck = true;
    }

    /// Nothing more is waited for: the daemon stops.
    pub fn skip_backoff(&mut self) {
        self.pending.backoff.skip();
    }

    /// Takes in what is known of the services now, to be called before each step.
    pub fn update(&mut self, verdicts: &Verdicts, now: Instant) {
        let decided = self.decisions(verdicts);
        if decided != self.pending.decided {
            self.pending.decided = decided;
            self.mark_dirty();
        }
        let of_family = || self.prefixes.iter().filter_map(|on| Some((on, verdicts.get(on.place)?)));
        if of_family().any(|(_, verdict)| verdict.is_known()) {
            // From the first verdict on prefixes without a service go.
            self.unmanaged = UnmanagedPrefixes::Remove;
        }
        let mut waiting: Vec<Arc<str>> =
            of_family().filter(|(_, verdict)| !verdict.is_known()).map(|(on, _)| on.service.clone()).collect();
        waiting.dedup();
        let was_provisional = self.startup.is_provisional();
        let withheld = of_family().any(|(_, verdict)| verdict.ends_hold);
        self.startup.update_hold(&waiting, withheld, now);
        if was_provisional && !self.startup.is_provisional() {
            // The mark leaves the file before BIRD is told.
            self.mark_dirty();
        }
        self.levels.waiting_for = waiting;
    }

    /// When there is something to do here, if there is.
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let Pending { dirty, recheck, backoff, repaired, .. } = &self.pending;
        let paced = backoff.earliest().unwrap_or(now);
        let write = match (dirty, recheck) {
            (true, _) => Some(paced),
            (false, true) => Some(repaired.map_or(paced, |at| paced.max(at + REPAIR_INTERVAL))),
            (false, false) => None,
        };
        write.into_iter().chain(self.startup.held_until()).min()
    }

    /// Whether a step is to be taken now.
    pub fn is_due(&self, now: Instant) -> bool {
        (self.pending.dirty || self.pending.recheck) && self.next_wakeup(now).is_some_and(|at| at <= now)
    }

    /// One step: reads the file, and replaces it where it does not list what it should.
    pub fn converge(&mut self, verdicts: &Verdicts, now: Instant) -> Step {
        self.pending.recheck = false;
        if !self.pending.dirty && self.file.is_unchanged() {
            return Step::default();
        }
        let first = !self.startup.is_started();
        let (contents, differs) = self.file.read();
        let flaw = contents.flaw();
        let foreign = !first && differs;
        if foreign {
            self.revisions.advance();
            self.pending.repaired = Some(now);
            self.pending.foreign = true;
            let flaw = flaw.as_ref().map_or(String::new(), |flaw| format!(": {flaw}"));
            warn!("{} was changed by someone else{flaw}", self.file.path().display());
        }
        if let (true, None, Some(file)) = (self.startup.is_unread(), &flaw, &contents.file) {
            info!("{} can be read now, so what it lists counts", self.file.path().display());
            self.startup.forget_hold();
            let (path, configured) = (self.file.path().to_path_buf(), self.configured());
            let list = self.startup.read(&path, self.family, Some(file.clone()), None, &configured);
            self.begin_with(list);
        }
        let listed: Arc<[Prefix]> = match contents.file {
            Some(file) if flaw.is_none() => file.prefixes.into(),
            _ => self.list.clone(),
        };
        let (list, unmanaged, mended) = self.next_list(&listed, verdicts);
        self.levels.in_file = if flaw.is_none() { listed } else { Arc::new([]) };
        self.levels.unmanaged = unmanaged;
        self.levels.wanted = list.clone().into();
        let wrong = !self.is_canonical(&contents.bytes, &list);
        if !wrong && self.pending.dirty && !first {
            info!("no updates for bird configuration");
        }
        if wrong && !self.write(&list, now) {
            return Step::default();
        }
        self.file.mark_verified();
        self.startup.confirm(self.file.path());
        let foreign = std::mem::take(&mut self.pending.foreign);
        let owner_changes = self.commit(list);
        self.owe(wrong, foreign || mended, &owner_changes)
    }

    /// Decides who tells BIRD of the revision that the step has begun.
    fn owe(&mut self, written: bool, foreign: bool, changed: &[ServicePrefix]) -> Step {
        let by_custom = |on: &ServicePrefix| on.custom && on.place != GONE;
        if foreign && self.custom_only {
            return Step { foreign: true };
        }
        // Also where a file of somebody else's lists what it should: BIRD may have read another one before.
        let told_by_custom = !changed.is_empty() && changed.iter().all(by_custom) && !foreign;
        let silent = changed.is_empty() && self.custom_only;
        if foreign || written && !told_by_custom && !silent {
            self.revisions.owe();
        }
        Step::default()
    }

    /// What the file should list, which of the listed prefixes no service names, and whether the list differs for
    /// another reason than the services' states.
    fn next_list(&mut self, listed: &[Prefix], verdicts: &Verdicts) -> (Vec<Prefix>, Arc<[Prefix]>, bool) {
        let decisions = self.decisions(verdicts);
        let known = self.known(&decisions);
        let Routes { list, findings } = routes::next(listed, &known, self.dummy(), self.unmanaged);
        let phase = if self.startup.is_started() { Phase::Running } else { Phase::Start };
        let sentences: Vec<String> = findings.iter().map(|found| found.sentence(phase, self.file.path())).collect();
        for (finding, sentence) in findings.iter().zip(&sentences).filter(|(_, text)| !self.said.contains(*text)) {
            match finding.level() {
                LogLevel::Warning => warn!("{sentence}"),
                _ => info!("{sentence}"),
            }
        }
        let mended =
            findings.iter().any(|found| matches!(found, Finding::DummyMissing(_) | Finding::UnmanagedRemoved(_)));
        let unmanaged = findings.iter().find_map(Finding::unmanaged).unwrap_or_default().into();
        self.said = sentences.into_iter().collect();
        (list, unmanaged, mended)
    }

    /// What is to become of each prefix: those of services, then those that are gone.
    fn decisions(&self, verdicts: &Verdicts) -> Vec<Decision> {
        let decide = |on: &ServicePrefix| match verdicts.get(on.place).map(|verdict| verdict.intent(&on.prefix)) {
            None | Some(Intent::Withdraw) => Decision::Withdraw,
            Some(Intent::Keep) => Decision::Keep(self.startup.baseline().contains(&on.prefix)),
            Some(Intent::Advertise) => Decision::Advertise,
        };
        self.prefixes.iter().chain(&self.gone).map(decide).collect()
    }

    fn known(&self, decisions: &[Decision]) -> Vec<DesiredPrefix<'_>> {
        let all = self.prefixes.iter().chain(&self.gone).zip(decisions);
        all.map(|(on, decision)| DesiredPrefix { prefix: on.prefix, service: &on.service, decision: *decision })
            .collect()
    }

    /// Whether the file is what we would write, and BIRD may read it.
    fn is_canonical(&self, bytes: &Option<Vec<u8>>, list: &[Prefix]) -> bool {
        let (provisional, variable, dummy) = (self.startup.is_provisional(), &self.bird.variable, self.dummy());
        let is_ours = |bytes: &Vec<u8>| prefix_file::is_canonical(bytes, provisional, variable, dummy, list);
        self.file.is_world_readable() && bytes.as_ref().is_some_and(is_ours)
    }

    /// Replaces the file; false where that fails and is to be tried again.
    fn write(&mut self, list: &[Prefix], now: Instant) -> bool {
        let generated = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S.%6f").to_string();
        let mut text = prefix_file::render(&self.bird.variable, self.dummy(), list, &generated, std::process::id());
        if self.startup.is_provisional() {
            prefix_file::mark_provisional(&mut text);
        }
        if !self.file.replace(&text) {
            self.pending.dirty = true;
            self.pending.backoff.failed(now);
            return false;
        }
        self.revisions.advance();
        self.pending.backoff.succeeded(now);
        info!("Bird configuration for {} is updated", self.family);
        true
    }

    /// The file is right. Returns the prefixes that went in or out, each with the first of its services: their commands
    /// are the same, and one run is enough.
    fn commit(&mut self, list: Vec<Prefix>) -> Vec<ServicePrefix> {
        let before: HashSet<Prefix> = self.list.iter().copied().collect();
        let after: HashSet<Prefix> = list.iter().copied().collect();
        let mut moved: HashSet<Prefix> = before.symmetric_difference(&after).copied().collect();
        let all = self.prefixes.iter().cloned().chain(self.gone.drain(..));
        let changed = all.filter(|on| moved.remove(&on.prefix)).collect();
        self.list = list.into();
        self.levels.in_file = self.list.clone();
        if self.unmanaged == UnmanagedPrefixes::Remove {
            self.levels.unmanaged = Arc::new([]);
        }
        self.pending.decided.truncate(self.prefixes.len());
        self.said.clear();
        self.pending.dirty = false;
        changed
    }

    // --- what BIRD knows of it ---

    /// Whether the family's transport has to tell BIRD.
    pub fn is_owed(&self) -> bool {
        self.is_fit() && self.revisions.is_owed()
    }

    /// Whether BIRD may be told of the file: it is one that we wrote, or found as we would write it.
    pub fn is_fit(&self) -> bool {
        self.file.is_verified()
    }

    /// Looks whether the file is still the one that BIRD is to be told of. Where somebody has touched it since the last
    /// step, the next one puts that right first.
    pub fn recheck_if_touched(&mut self) -> bool {
        let touched = self.is_fit() && !self.file.is_unchanged();
        self.pending.recheck |= touched;
        touched
    }

    /// Whether somebody has touched the file, and that is not put right yet. Where it cannot be, nothing waits for it.
    pub fn is_touched(&self) -> bool {
        self.pending.recheck && self.is_fit() && !self.file.is_unchanged()
    }

    /// Whether BIRD must not be told now: the list is held, or the mark that says so has to leave the file first.
    pub fn is_held(&self) -> bool {
        let is_to_be_unmarked = self.startup.is_marked() && self.pending.dirty && self.file.problem().is_none();
        self.startup.held_until().is_some() || is_to_be_unmarked
    }

    /// What BIRD is told by a reconfigure that starts now.
    pub fn revision(&self) -> Revision {
        Revision { number: self.revisions.current(), list: self.list.clone() }
    }

    /// BIRD took this revision from the family's transport.
    pub fn confirm(&mut self, revision: &Revision) {
        self.revisions.confirm(revision);
    }

    /// BIRD took this revision from a custom command.
    pub fn confirm_by_custom(&mut self, revision: &Revision) {
        match self.custom_only {
            true => self.revisions.confirm(revision),
            false => self.revisions.confirm_by_custom(revision),
        }
    }

    /// BIRD holds no more than this, or nobody knows what it holds: it has to be told again.
    pub fn unconfirm(&mut self, held: Vec<Prefix>) {
        self.revisions.unconfirm(held);
    }

    /// The family's transport has to tell what a custom command cannot.
    pub fn owe_revision(&mut self) {
        self.revisions.owe();
    }

    /// Whether each service of the family has a command of its own, and the family has none.
    pub fn is_custom_only(&self) -> bool {
        self.custom_only
    }

    /// What BIRD is asked to learn whether it holds the list, and none of the prefixes that are known and not listed.
    pub fn query(&self) -> Query {
        let listed: HashSet<Prefix> = self.list.iter().copied().collect();
        let known: HashSet<Prefix> = self.prefixes.iter().chain(&self.gone).map(|on| on.prefix).collect();
        let others = known.union(self.startup.baseline()).copied().filter(|prefix| !listed.contains(prefix));
        Query::new(&self.bird.variable, self.list.clone(), others)
    }

    /// BIRD was found to read empty lists, or not to. Where no dummy is configured, the default one has to stand in for
    /// it until BIRD is a newer one.
    pub fn set_empty_lists_are_read(&mut self, able: bool) {
        let prefixes = &self.prefixes;
        if self.dummy.set_required(!able, |dummy| prefixes.iter().any(|on| on.prefix == *dummy)) {
            self.mark_dirty();
        }
    }

    fn dummy(&self) -> Option<&Prefix> {
        self.dummy.prefix(|dummy| self.prefixes.iter().any(|on| on.prefix == *dummy))
    }

    /// Makes the last write survive a power cut. Comes after the reconfigure, so that no route waits for it.
    pub fn sync_directory(&mut self) {
        self.file.sync_directory();
    }

    // --- what reports show ---

    /// What the services' states say, dummy included.
    pub fn wanted(&self) -> Arc<[Prefix]> {
        self.levels.wanted.clone()
    }

    /// What the file lists, as of the last look; empty where it is broken or missing.
    pub fn in_file(&self) -> Arc<[Prefix]> {
        self.levels.in_file.clone()
    }

    /// What the file lists and no service names, the dummy aside.
    pub fn unmanaged(&self) -> Arc<[Prefix]> {
        self.levels.unmanaged.clone()
    }

    /// What BIRD took last.
    pub fn in_bird(&self) -> Arc<[Prefix]> {
        self.revisions.in_bird().clone()
    }

    /// Whether the file lists what it should, and the family's transport owes BIRD nothing.
    pub fn is_in_sync(&self) -> bool {
        self.is_fit() && self.file.problem().is_none() && !self.revisions.is_owed()
    }

    /// Why the file cannot be written.
    pub fn problem(&self) -> Option<&str> {
        self.file.problem()
    }

    /// Why BIRD is not told of it, though nothing is wrong.
    pub fn hold(&self) -> Option<Hold> {
        self.startup.hold(self.levels.waiting_for.clone())
    }
}

/// The place of a service that is configured no longer.
const GONE: usize = usize::MAX;

/// The family's prefixes in order of configuration.
fn of_family(services: &[Arc<Service>], family: Family) -> Vec<ServicePrefix> {
    let of_service = |(place, service): (usize, &Arc<Service>)| {
        let name: Arc<str> = service.name.as_str().into();
        let (custom, on_boot) = (service.custom_reconfigure.is_some(), service.withdraw_on_boot);
        let prefixes = service.prefixes.clone().into_iter().filter(move |prefix| prefix.family() == family);
        prefixes.map(move |prefix| ServicePrefix { prefix, service: name.clone(), place, custom, on_boot })
    };
    services.iter().enumerate().flat_map(of_service).collect()
}

/// Whether each service of the family has a command of its own, and the family has none.
fn is_custom_only(bird: &Bird, prefixes: &[ServicePrefix]) -> bool {
    !prefixes.is_empty()
        && prefixes.iter().all(|on| on.custom)
        && !bird.reconfigure_cmd_is_set
        && bird.control_socket.is_none()
}

#[cfg(test)]
mod tests;
