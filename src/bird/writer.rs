//! The bird-writer: the one thread that touches the prefix files and BIRD.
//!
//! ```text
//!   wanted (verdicts) --[table: archive, write, rename]--> in file --[channel: reconfigure, read the answer]--> in BIRD
//!        ^                        ^        |                             ^                  |
//!   check threads          somebody else   +-- failed: again, ever later +                  +-- not taken: again, ever later
//! ```
//!
//! It pulls the three levels together until they are equal, and sleeps. The first change of a quiet time goes out at
//! once; what waits by then goes out with it, and what follows within 42 ms goes out together.
//!
//! Promises: a change is applied as soon as what is in its way is gone, with no need for a further change; no failure
//! ends the thread; BIRD is never told while it may be busy with the last reconfigure (that kills BIRD 3); a slow
//! custom command holds up nobody.
//! Who may block: this thread, on the disk and on the reconfigure command or BIRD's control socket, for no longer than
//! their limits.
//! What stops it: [`Event::Stop`], after what waits is applied (and, after [`Event::Leave`], BIRD took it), and
//! [`Event::Died`], whose end a reconfigure under way puts off by its own limit and custom commands by `LAST_WAIT`: the
//! other checks go on meanwhile, and nobody waits for the end of a daemon that has a bug. The `give_up` line cuts short
//! what runs then.
//! Leaves out: the list and its file (`bird::table`), the answer's meaning (`bird::reply`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::bird::channel::Channel;
use crate::bird::custom::{Customs, Direction};
use crate::bird::table::{Named, Table, Verdicts};
use crate::check::gate::processors;
use crate::check::health::State;
use crate::check::schedule::{self, AGES};
use crate::config::settings::{Service, Settings};
use crate::event::{Event, Reload, Verdict};
use crate::prefix::{Family, Prefix};
use crate::report::snapshot::{BirdReport, FamilyReport, Published};
use crate::sys::stop_line::{Stop, StopLine};

/// How much longer than its commands a step of the writer may take before it counts as stuck: the disk's share.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long custom commands that run have to end after [`Event::Died`], which nobody but this thread knows of.
const LAST_WAIT: Duration = Duration::from_millis(1600);

/// How long it may take until all check threads have started, after drain files that cannot be read for a second.
const STARTS: Duration = Duration::from_secs(3);

/// How often a last change is tried again, where BIRD does not take it.
const LEAVING: Duration = Duration::from_millis(500);

/// Everything the bird-writer owns.
pub struct Writer {
    tables: Vec<Table>,
    channels: Vec<Channel>,
    customs: Customs,
    verdicts: Verdicts,
    /// What a verdict on a service concerns, by its name.
    concerned: HashMap<Arc<str>, Concerned>,
    /// Services with `on_exit = withdraw`.
    leaving: Vec<Arc<str>>,
    /// They are withdrawn, and the end waits until BIRD took that.
    has_left: bool,
    /// While BIRD may be busy with a reconfigure, nobody sends it another.
    busy_until: Option<Instant>,
    report: Arc<Published<BirdReport>>,
    give_up: StopLine,
}

/// What a verdict on a service concerns.
struct Concerned {
    /// The tables that hold prefixes of it.
    tables: Vec<usize>,
    /// All of them, for the log.
    prefixes: String,
}

/// How the bird-writer ended.
#[derive(Debug)]
pub enum End {
    /// It was told to stop, and applied what waited.
    Stopped,
    /// A check thread panicked.
    Died {
        /// The service's name.
        service: Arc<str>,
        /// The panic's message.
        why: String,
    },
}

impl Writer {
    /// Reads the prefix files for the first time; nothing is written yet.
    pub fn new(
        settings: &Settings,
        events: Sender<Event>,
        report: Arc<Published<BirdReport>>,
        give_up: StopLine,
    ) -> Writer {
        let mut tables: Vec<Table> = Vec::new();
        for family in Family::BOTH {
            let Some(bird) = settings.daemon.bird(family) else { continue };
            let named = named(&settings.services, family);
            let patience = patience(settings, family);
            tables.push(Table::open(family, bird, named, settings.daemon.purge_ip_prefixes, patience));
        }
        let channels = channels(settings, &tables, Vec::new());
        let concerned = concerned(settings, &tables);
        let mut customs = Customs::new(events, give_up.clone());
        customs.reload(&settings.services);
        Writer {
            tables,
            channels,
            customs,
            verdicts: Verdicts::new(),
            concerned,
            leaving: leaving(&settings.services),
            has_left: false,
            busy_until: None,
            report,
            give_up,
        }
    }

    /// The files that somebody else may touch, links resolved.
    pub fn files(&self) -> Vec<(Family, PathBuf)> {
        self.tables.iter().map(|table| (table.family, table.path().to_path_buf())).collect()
    }

    /// Works until it is told to stop. `stepped` is called after each step, when the report is up to date.
    pub fn run(mut self, events: &Receiver<Event>, mut stepped: impl FnMut()) -> End {
        let mut end = None;
        let mut last: Option<Instant> = None;
        loop {
            if last.is_some_and(|at| at <= Instant::now()) {
                self.give_up.pull();
                last = None;
            }
            if end.is_some() {
                self.hurry();
            }
            self.step();
            stepped();
            match end.take() {
                Some(end) if !self.customs.busy() && !self.is_leaving() => return end,
                kept => end = kept,
            }
            let again = if end.is_some() && self.has_left { Some(Instant::now() + LEAVING) } else { None };
            for event in self.receive(events, earlier(again, last)) {
                match (&end, self.apply(event)) {
                    // A bug stays one, whoever asks for the end meanwhile.
                    (Some(End::Died { .. }), _) | (_, None) => {}
                    (_, Some(said)) => {
                        last = matches!(said, End::Died { .. }).then(|| Instant::now() + LAST_WAIT);
                        end = Some(said);
                    }
                }
            }
        }
    }

    /// Waits for the next event or until then, or else for the next thing to do; returns all events that wait by then.
    fn receive(&mut self, events: &Receiver<Event>, until: Option<Instant>) -> Vec<Event> {
        let now = Instant::now();
        let first = match until.or_else(|| self.earliest(now)) {
            Some(at) => events.recv_timeout(at.saturating_duration_since(now)),
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match first {
            Ok(event) => std::iter::once(event).chain(events.try_iter()).collect(),
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            // The customs hold a sender, so this cannot happen; were it to, nobody could ask for anything any more.
            Err(RecvTimeoutError::Disconnected) => vec![Event::Stop],
        }
    }

    /// Takes an event in. Returns how the thread is to end, once it is.
    fn apply(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Verdict(verdict) => self.hear(verdict),
            Event::Touched(family) => {
                self.tables.iter_mut().filter(|table| table.family == family).for_each(Table::touched);
            }
            Event::CustomDone { service, result } => {
                let taken = self.customs.done(&service, result, Instant::now());
                // Where the families have BIRDs of their own, the command has told only the service's.
                let concerned = self.concerned.get(&service);
                for (at, told) in taken.iter().flatten().enumerate() {
                    if concerned.is_none_or(|concerned| concerned.tables.contains(&at)) {
                        self.tables[at].took(told);
                    }
                }
            }
            Event::Leave => self.leave(),
            Event::Reload(reload) => self.reload(*reload),
            Event::Died { service, why } => return Some(End::Died { service, why }),
            Event::Stop => return Some(End::Stopped),
        }
        None
    }

    /// Services with `on_exit = withdraw` count as down, and nothing that is said by now changes that. Where this comes
    /// before [`Writer::run`], it is part of the first change.
    pub fn leave(&mut self) {
        info!("going to withdraw {}, as on_exit says", self.leaving.join(","));
        for service in self.leaving.clone() {
            self.hear(Verdict { service, state: State::Down, missing: BTreeSet::new(), undecided: BTreeSet::new() });
        }
        self.has_left = true;
    }

    /// Whether BIRD has to take a last change, and there is still time for that. A BIRD that is gone, as at the host's
    /// shutdown, has taken its routes along, and the next one reads the file.
    fn is_leaving(&self) -> bool {
        if !self.has_left || self.give_up.is_pulled() {
            return false;
        }
        let (mut open, mut gone) = (false, false);
        for (at, table) in self.tables.iter().enumerate().filter(|(_, table)| !table.levels().in_sync) {
            let is_gone = self.channels.iter().any(|channel| channel.tables.contains(&at) && channel.is_gone());
            let waits_for_bird_alone = table.is_due() && table.levels().problem.is_none();
            *(if is_gone && waits_for_bird_alone { &mut gone } else { &mut open }) = true;
        }
        if gone && !open {
            warn!("BIRD is gone, and the routes with it: nothing has to confirm that services left, as on_exit says");
        }
        open
    }

    fn hear(&mut self, verdict: Verdict) {
        if self.has_left {
            return;
        }
        // A service that nothing is known of has just gone with a reload.
        let Some(Concerned { tables, prefixes }) = self.concerned.get(&verdict.service) else { return };
        let action = if verdict.state == State::Up { "add to" } else { "delete from" };
        info!(
            "returned an item from the queue for {} with IP prefix {prefixes} and action to {action} Bird configuration",
            verdict.service
        );
        tables.iter().for_each(|&at| self.tables[at].news());
        self.verdicts.insert(verdict.service.clone(), verdict);
    }

    /// Goes on with another configuration. What it changes goes out with the next step, in one write and one reconfigure;
    /// what BIRD took, what waits for it and what failed stays known.
    fn reload(&mut self, Reload { settings, last_words }: Reload) {
        for table in &mut self.tables {
            if let Some(bird) = settings.daemon.bird(table.family) {
                table.reload(bird, named(&settings.services, table.family), &self.verdicts);
            }
        }
        self.channels = channels(&settings, &self.tables, std::mem::take(&mut self.channels));
        self.concerned = concerned(&settings, &self.tables);
        self.leaving = leaving(&settings.services);
        self.verdicts.retain(|service, _| self.concerned.contains_key(service));
        self.verdicts.extend(last_words.into_iter().map(|verdict| (verdict.service.clone(), verdict)));
        if self.customs.reload(&settings.services) {
            self.tables.iter_mut().for_each(Table::tell_all);
        }
    }

    /// Does everything that can be done now.
    fn step(&mut self) {
        let now = Instant::now();
        let limits: Duration = self.channels.iter().map(Channel::limit).sum();
        let due = now + limits + PATIENCE;
        self.report.lock().due = Some(due);
        let mut changed = Vec::new();
        for table in self.tables.iter_mut().filter(|table| table.earliest(now).is_some_and(|at| at <= now)) {
            changed.extend(table.converge(&self.verdicts, now).into_iter().map(|(service, _)| service));
        }
        self.tell_customs(&changed);
        // A command may take its time, and the file is ahead of BIRD meanwhile.
        self.publish(Some(due));
        let told: Vec<_> = self.tables.iter().map(Table::tell).collect();
        if self.customs_wait_until(now).is_none_or(|at| at <= now) {
            self.customs.start_due(now, &told);
        }
        for channel in &mut self.channels {
            let now = Instant::now();
            if channel.earliest(&mut self.tables, &self.verdicts, self.busy_until, now).is_some_and(|at| at <= now) {
                let busy = channel.reconfigure(&mut self.tables, &self.give_up);
                self.busy_until = self.busy_until.max(busy);
            }
        }
        self.channels.iter_mut().for_each(Channel::reap);
        self.tables.iter_mut().for_each(Table::sync_directory);
        self.publish(None);
        self.report.lock().ready = true;
    }

    /// Has the services' own commands tell what changed.
    fn tell_customs(&mut self, changed: &[Arc<str>]) {
        if changed.is_empty() {
            return;
        }
        let listed: HashSet<Arc<str>> = self.tables.iter().flat_map(Table::listed_services).collect();
        for service in changed {
            let direction = if listed.contains(service) { Direction::Up } else { Direction::Down };
            self.customs.changed(service, direction);
        }
    }

    /// When the next step is due, if nothing happens.
    fn earliest(&mut self, now: Instant) -> Option<Instant> {
        let tables = self.tables.iter().filter_map(|table| table.earliest(now)).min();
        let mut channels = None;
        for channel in &mut self.channels {
            let at = channel.earliest(&mut self.tables, &self.verdicts, self.busy_until, now);
            channels = earlier(channels, at);
        }
        let wait = self.customs_wait_until(now);
        let customs = self.customs.earliest(now).map(|at| wait.map_or(at, |wait| at.max(wait)));
        earlier(earlier(tables, channels), customs)
    }

    /// Until when no custom command is started: like the others, they make BIRD read the files.
    fn customs_wait_until(&mut self, now: Instant) -> Option<Instant> {
        let held = self.tables.iter_mut().filter_map(|table| table.held_until(&self.verdicts, now)).max();
        held.max(self.busy_until)
    }

    /// The last step: nothing is gathered, and no retry waited for.
    fn hurry(&mut self) {
        self.tables.iter_mut().for_each(Table::hurry);
        self.channels.iter_mut().for_each(Channel::hurry);
    }

    /// Why the command of a service with prefixes in the table failed, the first in order of name where several did.
    fn problem_of_customs(&self, table: usize) -> Option<String> {
        let of_table = |service: &str| self.concerned.get(service).is_none_or(|found| found.tables.contains(&table));
        let (service, why) = self.customs.problems().filter(|(service, _)| of_table(service)).min()?;
        Some(format!("{why} (custom command of {service})"))
    }

    /// What is known now; the step has to be over by `due`, where it is not.
    fn publish(&self, due: Option<Instant>) {
        let mut report = self.report.lock();
        let now = Instant::now();
        let before = std::mem::take(&mut report.families);
        for (at, table) in self.tables.iter().enumerate() {
            let levels = table.levels();
            let Some(channel) = self.channels.iter().find(|channel| channel.tables.contains(&at)) else { continue };
            report.families.push(FamilyReport {
                family: table.family,
                wanted: levels.wanted,
                in_file: levels.in_file,
                in_bird: levels.in_bird,
                in_sync: levels.in_sync,
                out_of_sync_since: (!levels.in_sync)
                    .then(|| before.get(at).and_then(|before| before.out_of_sync_since).unwrap_or(now)),
                // What hinders the other family, with which it shares the command, is none of its own.
                problem: levels
                    .problem
                    .or(channel.problem())
                    .map(String::from)
                    .or_else(|| self.problem_of_customs(at))
                    .filter(|_| !levels.in_sync),
                taken: channel.taken,
                failed: channel.failed,
                last_success: channel.last_success,
            });
        }
        report.due = due;
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

/// The ways to tell BIRD of these tables. Those of `before` that go on do so with all that they know, others with what
/// they counted.
fn channels(settings: &Settings, tables: &[Table], mut before: Vec<Channel>) -> Vec<Channel> {
    let mut channels: Vec<Channel> = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        let Some(bird) = settings.daemon.bird(table.family) else { continue };
        if let Some(channel) = channels.iter_mut().find(|channel| channel.is_for(bird)) {
            channel.tables.push(at);
            continue;
        }
        let new = Channel::new(bird, at);
        channels.push(match before.iter().find(|channel| channel.tables.contains(&at)) {
            Some(before) => new.counting_on(before),
            None => new,
        });
    }
    for channel in &mut channels {
        let Some(bird) = settings.daemon.bird(tables[channel.tables[0]].family) else { continue };
        if let Some(same) = before.iter().position(|channel| channel.is_for(bird)) {
            let new = std::mem::replace(channel, before.swap_remove(same));
            channel.tables = new.tables;
        }
    }
    channels
}

/// What a verdict on each service concerns.
fn concerned(settings: &Settings, tables: &[Table]) -> HashMap<Arc<str>, Concerned> {
    let at = |prefix: &Prefix| tables.iter().position(|table| table.family == prefix.family());
    let of = |service: &Service| {
        let tables: BTreeSet<usize> = service.prefixes.iter().filter_map(at).collect();
        let prefixes: Vec<String> = service.prefixes.iter().map(Prefix::to_string).collect();
        Concerned { tables: tables.into_iter().collect(), prefixes: prefixes.join(",") }
    };
    settings.services.iter().map(|service| (service.name.as_str().into(), of(service))).collect()
}

/// Services with `on_exit = withdraw`.
fn leaving(services: &[Arc<Service>]) -> Vec<Arc<str>> {
    services.iter().filter(|service| service.withdraw_on_exit).map(|service| service.name.as_str().into()).collect()
}

/// The family's prefixes in order of configuration.
fn named(services: &[Arc<Service>], family: Family) -> Vec<Named> {
    let of_family = |service: &Arc<Service>| {
        let name: Arc<str> = service.name.as_str().into();
        let custom = service.custom_reconfigure.is_some();
        let prefixes = service.prefixes.clone().into_iter().filter(move |prefix| prefix.family() == family);
        let on_boot = service.withdraw_on_boot;
        prefixes.map(move |prefix| Named { prefix, service: name.clone(), custom, on_boot })
    };
    services.iter().flat_map(of_family).collect()
}

/// How long the slowest service of the family needs for its first verdict, from now on: until its thread runs, for its
/// place among all that start, and for its runs.
fn patience(settings: &Settings, family: Family) -> Duration {
    let Settings { daemon, services, .. } = settings;
    let turns = schedule::turn(services.len(), processors());
    let begins = STARTS.saturating_add(turns).saturating_add(daemon.splay_startup);
    let of_family = services.iter().filter(|service| service.prefixes.iter().any(|prefix| prefix.family() == family));
    let needs = of_family.map(|service| schedule::first_verdict(service)).max().unwrap_or_default();
    begins.saturating_add(needs).min(AGES)
}

#[cfg(test)]
mod tests;
