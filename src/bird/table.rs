//! One family's list on its way from the services' states to the prefix file.
//!
//! The file is level-triggered: each step reads what the file lists, works out what it should list, and replaces it
//! where the two differ, whoever made them differ. What BIRD knows of it is counted in generations: each write of ours
//! and each change by someone else begins one, also where the text ends up equal, and BIRD is in line when it took the
//! last one.
//!
//! Promises: a step that fails changes nothing and is tried again; a file that was emptied, garbled, deleted or hidden
//! from BIRD is put right, at most once a second where nothing else is new; no service that is not known to be dead
//! loses its place in the list.
//! Leaves out: telling BIRD (`bird::writer`), and the decisions (`bird::routes`).

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use crate::bird::boot::Boot;
use crate::bird::history::History;
use crate::bird::pace::Pace;
use crate::bird::prefix_file::{self, PrefixFile};
use crate::bird::question::Question;
use crate::bird::routes::{self, Decision, Finding, Known, Moment, Routes, Strangers};
use crate::check::health::State;
use crate::config::options::{self, Scope};
use crate::config::settings::{Bird, LogLevel};
use crate::event::Verdict;
use crate::prefix::{Family, Prefix};
use crate::sys::atomic_file::{self, Durability, Identity, MODE};

/// A longer file is none of ours: 10,000 prefixes need half a megabyte at most.
const LONGEST: usize = 4 * 1024 * 1024;
/// Two programs that both keep putting the file right must not spin.
const REPAIR: Duration = Duration::from_secs(1);

/// What is known of the services, by name.
pub type Verdicts = HashMap<Arc<str>, Verdict>;

/// A prefix of the family and the service that names it.
#[derive(Clone, Debug)]
pub struct Named {
    /// The prefix.
    pub prefix: Prefix,
    /// The service's name.
    pub service: Arc<str>,
    /// Whether the service's changes are told by its own command.
    pub custom: bool,
    /// `on_boot = withdraw`: a list from before the machine's last boot says nothing of it.
    pub on_boot: bool,
}

/// What BIRD is told when it is told of the file: which generation, and what that lists.
#[derive(Clone, Debug)]
pub struct Told {
    /// Counts writes and foreign changes of the file.
    pub generation: u64,
    /// The list.
    pub list: Arc<[Prefix]>,
}

/// Where one family's list stands.
#[derive(Debug)]
pub struct Levels<'a> {
    /// What the services' states say, dummy included.
    pub wanted: Arc<[Prefix]>,
    /// What the file lists, as of the last look; empty where it is broken or missing.
    pub in_file: Arc<[Prefix]>,
    /// What BIRD took last.
    pub in_bird: Arc<[Prefix]>,
    /// Whether all three are the same, as far as can be known.
    pub in_sync: bool,
    /// Why the file cannot be written.
    pub problem: Option<&'a str>,
}

/// One look at the file: what it holds and its text; nothing where it is missing or cannot be read.
struct Read {
    file: Option<PrefixFile>,
    bytes: Option<Vec<u8>>,
    /// Why it cannot be read.
    refused: Option<String>,
}

impl Read {
    /// What is wrong with it, for a sentence.
    fn flaw(&self) -> Option<String> {
        match (&self.refused, &self.file) {
            (Some(refused), _) => Some(refused.clone()),
            (None, None) => Some("it is not there".to_string()),
            (None, Some(file)) => file.flaw.as_ref().map(ToString::to_string),
        }
    }
}

/// One family's list.
pub struct Table {
    /// The family.
    pub family: Family,
    bird: Bird,
    path: PathBuf,
    history: Option<History>,
    /// Listed where no dummy is configured and BIRD does not read an empty list.
    stand_in: Option<Prefix>,
    /// BIRD was found to read none, so that it is said once.
    needs_dummy: bool,
    /// In the order of the configuration.
    known: Vec<Named>,
    /// Prefixes that a reload took from their service and gave to no other, until the file lists them no more.
    gone: Vec<Named>,
    /// The list as it was first read, or as it was at the last reload: what a service without a verdict keeps.
    first_read: HashSet<Prefix>,
    /// The list that we last wrote, or found right.
    list: Arc<[Prefix]>,
    /// What the services' states say.
    wanted: Arc<[Prefix]>,
    /// What the file lists, as of the last look.
    in_file: Arc<[Prefix]>,
    /// The file at the last look.
    identity: Option<Identity>,
    /// The file when it last listed what it should. BIRD is told of no other: somebody may have emptied it.
    right: Option<Identity>,
    strangers: Strangers,
    /// Counts writes and foreign changes; the first is the file as it was found.
    generation: u64,
    /// The last generation that has to be told by the family's command; later ones are told by custom commands.
    due: u64,
    /// Each service of the family has a command of its own, and the family has none.
    custom_only: bool,
    /// What BIRD took last.
    taken: Option<Told>,
    /// A verdict came, or the last write failed.
    news: bool,
    /// Somebody may have touched the file.
    look: bool,
    pace: Pace,
    repaired: Option<Instant>,
    /// BIRD is not told of a list made from nothing until each service had time for its verdict.
    hold: Option<Instant>,
    /// As of the last step the file has to say so, for the next start.
    marked: bool,
    /// Where the file was refused at the first look, so that another list stands in for it: how long the slowest service
    /// needs.
    unread: Option<Duration>,
    unsynced: bool,
    problem: Option<String>,
    /// What the last step had to say, so that a step that is tried again does not say it again.
    said: HashSet<String>,
    started: bool,
    /// Where a service has `on_boot = withdraw`.
    boot: Option<Boot>,
}

impl Table {
    /// Reads the family's list for the first time. `patience` is how long the slowest service needs for its verdict.
    pub fn open(family: Family, bird: &Bird, known: Vec<Named>, purge: bool, patience: Duration) -> Table {
        let path = behind_link(&bird.conf);
        if let Err(why) = atomic_file::remove_leftovers(&path) {
            debug!("cannot look for left-over temporary files of {}: {why}", path.display());
        }
        let none: Arc<[Prefix]> = Arc::new([]);
        let mut table = Table {
            family,
            bird: bird.clone(),
            history: bird.history.map(|most| History::new(&path, family, most)),
            path,
            gone: Vec::new(),
            stand_in: None,
            needs_dummy: false,
            first_read: HashSet::new(),
            list: none.clone(),
            wanted: none.clone(),
            in_file: none,
            identity: None,
            right: None,
            strangers: if purge { Strangers::Remove } else { Strangers::Keep },
            generation: 1,
            due: 1,
            custom_only: custom_only(bird, &known),
            taken: None,
            news: true,
            look: false,
            pace: Pace::default(),
            repaired: None,
            hold: None,
            marked: false,
            unread: None,
            unsynced: false,
            problem: None,
            said: HashSet::new(),
            started: false,
            boot: None,
            known,
        };
        table.read_first(patience);
        table
    }

    fn read(&mut self) -> Read {
        let (found, refused) = match atomic_file::read(&self.path, LONGEST) {
            Ok(found) => (found, None),
            Err(why) => (None, Some(format!("it cannot be read: {why}"))),
        };
        self.identity = found.as_ref().map(|(_, identity)| *identity);
        let bytes = found.map(|(bytes, _)| bytes);
        Read { file: bytes.as_ref().map(|bytes| prefix_file::parse(bytes, self.family)), bytes, refused }
    }

    /// Goes on with other services, and with what else of the family's options can change. Prefixes that go with their
    /// service are withdrawn with the next step; one that another service takes over stays as it is, like every prefix
    /// without a verdict.
    pub fn reload(&mut self, bird: &Bird, known: Vec<Named>, verdicts: &Verdicts) {
        let decided = self.decisions(verdicts);
        let listed = routes::next(&self.list, &decided, self.dummy(), self.strangers).list;
        self.first_read = listed.into_iter().collect();
        if bird.history != self.bird.history {
            self.history = bird.history.map(|most| History::new(&self.path, self.family, most));
        }
        self.custom_only = custom_only(bird, &known);
        let named: HashSet<Prefix> = known.iter().map(|named| named.prefix).collect();
        self.gone.append(&mut self.known);
        self.gone.retain(|gone| !named.contains(&gone.prefix));
        self.known = known;
        self.bird = bird.clone();
        self.news = true;
        self.pace.news();
    }

    /// Whatever BIRD has not taken yet is told by the family's command.
    pub fn tell_all(&mut self) {
        self.due = self.generation;
    }

    /// The services that have a prefix in the list.
    pub fn listed_services(&self) -> impl Iterator<Item = Arc<str>> + '_ {
        let list: HashSet<Prefix> = self.list.iter().copied().collect();
        self.known.iter().filter(move |named| list.contains(&named.prefix)).map(|named| named.service.clone())
    }

    /// How many prefixes the services have, listed or not: about as many routes BIRD has to look at.
    pub fn size(&self) -> usize {
        self.known.len()
    }

    /// The file, links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A verdict reached the writer for one of the family's services: from now on prefixes without a service go.
    pub fn news(&mut self) {
        self.strangers = Strangers::Remove;
        self.news = true;
        self.pace.news();
    }

    /// Somebody touched the file.
    pub fn touched(&mut self) {
        self.look = true;
    }

    /// When there is something to do here, if there is.
    pub fn earliest(&self, now: Instant) -> Option<Instant> {
        let paced = self.pace.earliest().unwrap_or(now);
        match (self.news, self.look) {
            (true, _) => Some(paced),
            (false, true) => Some(self.repaired.map_or(paced, |at| paced.max(at + REPAIR))),
            (false, false) => None,
        }
    }

    /// One step: reads the file, and replaces it where it does not list what it should. Returns the services whose
    /// prefixes went in (true) or out.
    pub fn converge(&mut self, verdicts: &Verdicts, now: Instant) -> Vec<(Arc<str>, bool)> {
        let before = self.identity;
        self.look = false;
        if !self.news && before.is_some() && atomic_file::identity(&self.path).is_ok_and(|found| found == before) {
            return Vec::new();
        }
        let read = self.read();
        let flaw = read.flaw();
        let first = !self.started;
        let foreign = !first && self.identity != before;
        if foreign {
            self.generation += 1;
            self.due = self.generation;
            self.repaired = Some(now);
            let flaw = flaw.as_ref().map_or(String::new(), |flaw| format!(": {flaw}"));
            warn!("{} was changed by someone else{flaw}", self.path.display());
        }
        if let (true, Some(patience), None, Some(file)) = (first, self.unread, &flaw, &read.file) {
            info!("{} can be read now, so what it lists counts", self.path.display());
            self.hold = None;
            if file.held {
                self.hold(patience);
            }
            self.begin_with(file.prefixes.clone());
        }
        self.marked = self.is_held(verdicts, now);
        let listed: Arc<[Prefix]> = match read.file {
            Some(file) if flaw.is_none() => file.prefixes.into(),
            _ => self.list.clone(),
        };
        let (list, mended) = self.next_list(&listed, verdicts);
        self.in_file = if flaw.is_none() { listed } else { Arc::new([]) };
        self.wanted = list.clone().into();
        self.started = true;
        let wrong = !self.is_right(&read.bytes, &list);
        if !wrong && self.news && !first {
            info!("no updates for bird configuration");
        }
        if wrong && !self.write(&list, now) {
            return Vec::new();
        }
        self.right = self.identity;
        if let Some(boot) = self.boot() {
            boot.keep();
        }
        let changed = self.settle(list);
        let told_by_custom = !changed.is_empty() && changed.iter().all(|named| named.custom) && !mended && !foreign;
        if wrong && !told_by_custom {
            self.due = self.generation;
        }
        if self.custom_only && changed.is_empty() && self.taken.is_none() {
            // There is no command to tell BIRD at start: it counts as holding what was found.
            self.took(&self.tell());
        }
        let listed: HashSet<&Prefix> = self.list.iter().collect();
        changed.into_iter().map(|named| (named.service, listed.contains(&named.prefix))).collect()
    }

    /// What the file should list, and whether that differs for another reason than the services' states.
    fn next_list(&mut self, listed: &[Prefix], verdicts: &Verdicts) -> (Vec<Prefix>, bool) {
        let known = self.decisions(verdicts);
        let Routes { list, findings } = routes::next(listed, &known, self.dummy(), self.strangers);
        let moment = if self.started { Moment::Running } else { Moment::Start };
        let sentences: Vec<String> = findings.iter().map(|finding| finding.sentence(moment, &self.path)).collect();
        for (finding, sentence) in findings.iter().zip(&sentences).filter(|(_, text)| !self.said.contains(*text)) {
            match finding.level() {
                LogLevel::Warning => warn!("{sentence}"),
                _ => info!("{sentence}"),
            }
        }
        let mended =
            findings.iter().any(|found| matches!(found, Finding::DummyMissing(_) | Finding::StrangersRemoved(_)));
        self.said = sentences.into_iter().collect();
        (list, mended)
    }

    /// What is to become of each prefix.
    fn decisions(&self, verdicts: &Verdicts) -> Vec<Known<'_>> {
        let known = self.known.iter().map(|Named { prefix, service, .. }| Known {
            prefix: *prefix,
            service,
            decision: decision(verdicts.get(service), *prefix, self.first_read.contains(prefix)),
        });
        let gone = self.gone.iter().map(|Named { prefix, service, .. }| Known {
            prefix: *prefix,
            service,
            decision: Decision::Withdraw,
        });
        known.chain(gone).collect()
    }

    /// Whether the file is what we would write, and BIRD, another user, may read it.
    fn is_right(&self, bytes: &Option<Vec<u8>>, list: &[Prefix]) -> bool {
        let (variable, dummy) = (&self.bird.variable, self.dummy());
        self.identity.is_some_and(|identity| identity.mode & MODE == MODE)
            && bytes.as_ref().is_some_and(|bytes| prefix_file::is_canonical(bytes, self.marked, variable, dummy, list))
    }

    /// Replaces the file; false where that fails, which is said once and tried again.
    fn write(&mut self, list: &[Prefix], now: Instant) -> bool {
        if let Some(history) = &mut self.history {
            history.archive();
        }
        let generated = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S.%6f").to_string();
        let (variable, dummy) = (&self.bird.variable, self.dummy());
        let mut text = prefix_file::render(variable, dummy, list, &generated, std::process::id());
        if self.marked {
            prefix_file::mark_held(&mut text);
        }
        debug!("going to write to {}", self.path.display());
        match atomic_file::replace(&self.path, text.as_bytes(), Durability::Synced) {
            Ok(identity) => {
                self.identity = Some(identity);
                self.generation += 1;
                self.unsynced = true;
                self.pace.succeeded(now);
                if self.problem.take().is_some() {
                    info!("{} can be written again", self.path.display());
                }
                info!("Bird configuration for {} is updated", self.family);
                true
            }
            Err(why) => {
                let problem = format!("failed to write Bird configuration: {why}");
                if self.problem.as_ref() != Some(&problem) {
                    error!("{problem}; the change waits and is tried again");
                    self.problem = Some(problem);
                }
                self.news = true;
                self.pace.failed(now);
                false
            }
        }
    }

    /// The file is right; returns the prefixes that went in or out, each with the first of its services: their commands
    /// are the same, and one run is enough.
    fn settle(&mut self, list: Vec<Prefix>) -> Vec<Named> {
        let before: HashSet<Prefix> = self.list.iter().copied().collect();
        let after: HashSet<Prefix> = list.iter().copied().collect();
        let mut moved: HashSet<Prefix> = before.symmetric_difference(&after).copied().collect();
        let all = self.known.iter().cloned().chain(self.gone.drain(..));
        let changed = all.filter(|named| moved.remove(&named.prefix)).collect();
        self.list = list.into();
        self.in_file = self.list.clone();
        self.said.clear();
        self.news = false;
        changed
    }

    /// Whether the family's reconfigure command has to be run.
    pub fn is_due(&self) -> bool {
        self.is_fit() && !self.custom_only && self.due > self.taken_generation()
    }

    /// Whether BIRD may be told of the file: it is one that we wrote, or found as we would write it.
    pub fn is_fit(&self) -> bool {
        self.right.is_some() && self.right == self.identity
    }

    /// Whether BIRD took the file as it is. Where there is no command to tell it of a file that was put right, the list
    /// counts and not the generation.
    fn is_taken(&self) -> bool {
        let same = |told: &Told| told.generation == self.generation || self.custom_only && told.list == self.list;
        self.taken.as_ref().is_some_and(same)
    }

    fn taken_generation(&self) -> u64 {
        self.taken.as_ref().map_or(0, |told| told.generation)
    }

    /// What BIRD is told by a reconfigure that starts now.
    pub fn tell(&self) -> Told {
        Told { generation: self.generation, list: self.list.clone() }
    }

    /// BIRD took what it was told.
    pub fn took(&mut self, told: &Told) {
        if told.generation > self.taken_generation() {
            self.taken = Some(told.clone());
        }
    }

    /// BIRD was asked, and holds no more than this of it, or did not answer: it has to be told again.
    pub fn lost(&mut self, held: Vec<Prefix>) {
        self.taken = Some(Told { generation: 0, list: held.into() });
    }

    /// What BIRD is asked to learn whether it holds the list, and none of the prefixes that are known and not listed.
    pub fn question(&self) -> Question {
        let listed: HashSet<Prefix> = self.list.iter().copied().collect();
        let known: HashSet<Prefix> = self.known.iter().chain(&self.gone).map(|named| named.prefix).collect();
        let others = known.union(&self.first_read).copied().filter(|prefix| !listed.contains(prefix));
        Question::new(&self.bird.variable, self.list.clone(), others)
    }

    /// BIRD was found to read empty lists, or not to. Where no dummy is configured, the default one has to stand in for
    /// it until BIRD is a newer one.
    pub fn empty_lists_are_read(&mut self, able: bool) {
        if self.bird.dummy.is_some() || self.needs_dummy != able {
            return;
        }
        self.needs_dummy = !able;
        self.stand_in = default_dummy(self.family).filter(|dummy| !able && self.named(dummy).is_none());
        let option = option_of_dummy(self.family);
        match (self.stand_in, able) {
            (_, true) => info!("BIRD reads empty lists now, as {option} asks for"),
            (Some(dummy), false) => error!(
                "{option} asks for no dummy, but BIRD reads no empty list before version 2.0.11: {dummy} is listed"
            ),
            (None, false) => error!(
                "{option} asks for no dummy, but BIRD reads no empty list before version 2.0.11: the last {} prefix \
                 will not be withdrawn; configure a dummy",
                self.family
            ),
        }
        self.news = true;
        self.pace.news();
    }

    fn dummy(&self) -> Option<&Prefix> {
        let stand_in = self.stand_in.as_ref().filter(|dummy| self.named(dummy).is_none());
        self.bird.dummy.as_ref().or(stand_in)
    }

    fn named(&self, prefix: &Prefix) -> Option<&Named> {
        self.known.iter().find(|named| named.prefix == *prefix)
    }

    /// Makes the last write survive a power cut. Comes after the reconfigure, so that no route waits for it.
    pub fn sync_directory(&mut self) {
        if std::mem::take(&mut self.unsynced) {
            if let Err(why) = atomic_file::sync_directory_of(&self.path) {
                debug!("cannot sync the directory of {}: {why}", self.path.display());
            }
        }
    }

    /// The levels as they stand, and what is wrong with the file.
    pub fn levels(&self) -> Levels<'_> {
        Levels {
            wanted: self.wanted.clone(),
            in_file: self.in_file.clone(),
            in_bird: self.taken.as_ref().map_or_else(|| Arc::new([]) as Arc<[Prefix]>, |told| told.list.clone()),
            in_sync: self.is_taken() && self.problem.is_none() && self.is_fit(),
            problem: self.problem.as_deref(),
        }
    }

    /// Nothing more is waited for: the daemon stops.
    pub fn hurry(&mut self) {
        self.pace.hurry();
    }
}

/// Whether each service of the family has a command of its own, and the family has none.
fn custom_only(bird: &Bird, known: &[Named]) -> bool {
    !known.is_empty()
        && known.iter().all(|named| named.custom)
        && !bird.reconfigure_cmd_is_set
        && bird.control_socket.is_none()
}

fn option_of_dummy(family: Family) -> &'static str {
    match family {
        Family::V4 => "dummy_ip_prefix",
        Family::V6 => "dummy_ip6_prefix",
    }
}

fn default_dummy(family: Family) -> Option<Prefix> {
    options::find(Scope::Daemon, option_of_dummy(family))?.default?.parse().ok()
}

fn decision(verdict: Option<&Verdict>, prefix: Prefix, was_listed: bool) -> Decision {
    match verdict {
        None => Decision::Keep(was_listed),
        Some(verdict) if verdict.missing.contains(&prefix) => Decision::Withdraw,
        Some(verdict) if verdict.undecided.contains(&prefix) => Decision::Keep(was_listed),
        Some(Verdict { state: State::Unknown, .. }) => Decision::Keep(was_listed),
        Some(Verdict { state: State::Up, .. }) => Decision::Advertise,
        Some(Verdict { state: State::Down, .. }) => Decision::Withdraw,
    }
}

/// The file that is replaced: what a symbolic link points to, also where nothing stands there yet.
fn behind_link(path: &Path) -> PathBuf {
    let Ok(target) = std::fs::read_link(path) else { return path.to_path_buf() };
    let joined = path.parent().unwrap_or(Path::new("")).join(target);
    let real = std::fs::canonicalize(path).unwrap_or(joined);
    info!("{} is a symbolic link, the file behind it is used: {}", path.display(), real.display());
    real
}

mod first;
#[cfg(test)]
mod tests;
