//! `custom_bird_reconfigure_cmd`: a service's own reconfigure command, run with `up` or `down` when
//! its prefixes changed.
//!
//! ```text
//!   pending --run--> exit status 0, and the service has not changed since the start --> done
//!    ^  ^               |
//!    |  +---------------+ otherwise: run again with the current direction, after a failure with
//!    |                    a growing delay
//!    |
//!    +-- the service's listed prefixes change, even there and back: BIRD may have read the list
//!    +-- a start of a family that has only custom commands
//!    +-- a reload that changes the command
//!    +-- a foreign file change
//! ```
//!
//! The direction describes the service and not the prefix that changed: `up` while any of its
//! prefixes is listed, `down` when none is. So one missing address among several does not mean
//! `down`. If several services share a prefix, the command of the first one runs.
//!
//! Guarantees: a command is pending until it has succeeded with the service's current prefixes; one
//! command runs at a time, as each may make BIRD reconfigure, and the one that has waited longest
//! runs first. If a command cannot be started at all, its family's transport notifies BIRD instead.
//! If its service is removed, both do: the command is retried until the family's transport has
//! succeeded.
//!
//! Blocking: the commands run on their own thread; only dropping [`CustomCommands`] waits, for at
//! most `KILL_WAIT`.
//!
//! Shutdown: the stop token kills a running command, and no further one starts.
//!
//! Out of scope: when BIRD may be notified (`bird::writer`), running a command (`sys::background`).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info};

use crate::bird::backoff::Backoff;
use crate::bird::protocol::birdc;
use crate::bird::revision::Revision;
use crate::bird::state::Counts;
use crate::check::event::{CustomError, CustomRun, Event};
use crate::config::settings::{Service, TimedCommand};
use crate::log::format::python_bytes;
use crate::prefix::{Family, Prefix};
use crate::sys::background::{Background, Finished, NotRun, Task};
use crate::sys::orphans::Orphans;
use crate::sys::process::{Exit, Program};
use crate::sys::stop_token::{Stop, StopToken};

/// How long the drop waits for a command that is killed.
const KILL_WAIT: Duration = Duration::from_millis(150);

/// The last argument of the command: whether the service is listed after the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A prefix of the service is listed.
    Up,
    /// No prefix of the service is listed.
    Down,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Up => "up",
            Direction::Down => "down",
        })
    }
}

/// The custom commands of all services.
pub struct CustomCommands {
    /// By the service's name.
    commands: HashMap<Arc<str>, CustomCommand>,
    /// Counts of commands that no longer exist.
    former_counts: HashMap<Family, Counts>,
    /// The service whose command is running.
    running: Option<Arc<str>>,
    background: Arc<Background>,
    events: Sender<Event>,
    stop: StopToken,
}

/// The command of one service.
struct CustomCommand {
    command: TimedCommand,
    /// The prefixes that no earlier service names.
    prefixes: Vec<Prefix>,
    families: HashSet<Family>,
    /// Runs since a reload removed the service. None while the service is configured.
    runs_since_removal: Option<u32>,
    /// The command must run, again if it is already running.
    pending: bool,
    /// The prefixes of the service that are listed. None before the first update.
    listed: Option<Vec<Prefix>>,
    /// The revisions that BIRD reads by the current run. None if the command is not running.
    run: Option<Vec<(Family, Revision)>>,
    last_start: Option<Instant>,
    backoff: Backoff,
    problem: Option<CustomError>,
    counts: Counts,
}

/// Result of a run, for the lists.
#[derive(Debug, Default)]
pub struct CustomOutcome {
    /// The revisions that BIRD accepted, if the command succeeded.
    pub accepted: Vec<(Family, Revision)>,
    /// The families whose transports must notify BIRD instead, because the command cannot be
    /// started.
    pub left_to_families: HashSet<Family>,
}

impl CustomCommands {
    /// Starts without commands. The end of each run is sent to `events`; `stop` kills a run.
    pub fn new(orphans: Arc<Orphans>, events: Sender<Event>, stop: StopToken) -> CustomCommands {
        CustomCommands {
            commands: HashMap::new(),
            former_counts: HashMap::new(),
            running: None,
            background: Background::new("custom-bird", 1, orphans, stop.clone()),
            events,
            stop,
        }
    }

    /// Replaces the commands by those of these services. `is_covered` says whether the family's
    /// transport notifies BIRD of the prefixes that are listed for a service with a new command.
    /// Returns the families whose transports must notify BIRD because a command was removed.
    pub fn reload(&mut self, services: &[Arc<Service>], is_covered: impl Fn(&Service) -> bool) -> HashSet<Family> {
        let mut owned: HashSet<Prefix> = HashSet::new();
        let mut left_to_families = HashSet::new();
        let mut before = std::mem::take(&mut self.commands);
        for service in services {
            let prefixes = service.prefixes.iter().filter(|prefix| owned.insert(**prefix)).copied().collect();
            let old = before.remove(&*service.name);
            let Some(command) = &service.custom_reconfigure else {
                if let Some(old) = old {
                    add_counts(&mut self.former_counts, &old);
                    left_to_families.extend(old.families);
                }
                continue;
            };
            let families = service.prefixes.iter().map(Prefix::family).collect();
            let mut custom = old.unwrap_or_else(|| CustomCommand::new(command, is_covered(service)));
            if custom.command != *command {
                custom = CustomCommand { run: custom.run, counts: custom.counts, ..CustomCommand::new(command, false) };
            }
            let custom = CustomCommand { prefixes, families, runs_since_removal: None, ..custom };
            self.commands.insert(service.name.as_str().into(), custom);
        }
        for (name, mut custom) in before {
            left_to_families.extend(&custom.families);
            // A prefix that another service has taken over belongs to that service's command or
            // family.
            custom.prefixes.retain(|prefix| !owned.contains(prefix));
            custom.listed.iter_mut().for_each(|listed| listed.retain(|prefix| !owned.contains(prefix)));
            custom.runs_since_removal.get_or_insert(0);
            self.commands.insert(name, custom);
        }
        left_to_families
    }

    /// Compares the commands with the current lists. `owed` are the families whose transport owes
    /// BIRD a revision.
    pub fn update<'a>(&mut self, lists: impl Iterator<Item = &'a Arc<[Prefix]>>, owed: &HashSet<Family>) {
        if self.commands.is_empty() {
            return;
        }
        let all: HashSet<Prefix> = lists.flat_map(|list| list.iter().copied()).collect();
        for custom in self.commands.values_mut() {
            let listed: Vec<Prefix> = custom.prefixes.iter().filter(|prefix| all.contains(prefix)).copied().collect();
            if custom.listed.as_ref().is_some_and(|before| *before != listed) {
                custom.pending = true;
                custom.backoff.changed();
            }
            custom.listed = Some(listed);
        }
        let done = self.commands.extract_if(|_, custom| custom.is_done(owed));
        done.for_each(|(_, custom)| add_counts(&mut self.former_counts, &custom));
    }

    /// Makes every command of the family pending, because BIRD may have read another list.
    pub fn rerun_all(&mut self, family: Family) {
        for custom in self.commands.values_mut().filter(|custom| custom.families.contains(&family)) {
            custom.pending = true;
        }
    }

    /// Whether a command is running.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether a command of this family is pending or running. Commands that the family's transport
    /// replaces do not count.
    pub fn owes(&self, family: Family) -> bool {
        let of_family = self.commands.values().filter(|custom| custom.families.contains(&family));
        let mut current = of_family.filter(|custom| custom.runs_since_removal.is_none() && !custom.cannot_run());
        current.any(|custom| custom.pending || custom.run.is_some())
    }

    /// Why a command of the family failed. If several failed, the first by the service's name.
    pub fn problem(&self, family: Family) -> Option<String> {
        let of_family = self.commands.iter().filter(|(_, custom)| custom.families.contains(&family));
        let (name, why) = of_family
            .filter_map(|(name, custom)| Some((name, custom.problem.as_ref()?)))
            .min_by_key(|(name, _)| name.to_string())?;
        Some(format!("{why} (custom command of {name})"))
    }

    /// Counts of the runs for the family's services, including removed services.
    pub fn counts(&self, family: Family) -> Counts {
        let of_family = self.commands.values().filter(|custom| custom.families.contains(&family));
        let former = self.former_counts.get(&family).copied().unwrap_or_default();
        of_family.fold(former, |sum, custom| sum + custom.counts)
    }

    /// Starts the command that has waited longest, if one is due. `revisions` are the current
    /// revisions of the lists. Commands of `blocked` families are not started, and none at all
    /// after the stop.
    pub fn start_due(&mut self, blocked: &HashSet<Family>, now: Instant, revisions: &[(Family, Revision)]) {
        if self.running.is_some() || self.stop.stop_requested() {
            return;
        }
        let is_due = |custom: &CustomCommand| {
            custom.is_startable() && custom.families.is_disjoint(blocked) && custom.backoff.is_ready(now)
        };
        let due = self.commands.iter_mut().filter(|(_, custom)| is_due(custom));
        let Some((name, custom)) = due.min_by_key(|(name, custom)| (custom.last_start, name.to_string())) else {
            return;
        };
        let direction = if custom.is_listed() { Direction::Up } else { Direction::Down };
        let of_service = revisions.iter().filter(|(family, _)| custom.families.contains(family)).cloned();
        custom.run = Some(of_service.collect());
        custom.pending = false;
        custom.last_start = Some(now);
        custom.runs_since_removal = custom.runs_since_removal.map(|runs| runs.saturating_add(1));
        info!("reconfiguring BIRD by running custom command {} {direction}", custom.command.command);
        self.running = Some(name.clone());
        let task = task(name.clone(), &custom.command, direction, self.events.clone());
        self.background.run(task);
    }

    /// Records the end of a run. Returns its result for the lists.
    pub fn end(&mut self, CustomRun { service, result, .. }: &CustomRun, now: Instant) -> CustomOutcome {
        self.running.take_if(|running| running == service);
        let Some(custom) = self.commands.get_mut(service) else { return CustomOutcome::default() };
        let Some(run) = custom.run.take() else { return CustomOutcome::default() };
        match result {
            Ok(()) => {
                info!("custom command successfully reconfigured Bird");
                (custom.backoff, custom.problem) = (Backoff::default(), None);
                custom.counts.count_taken(SystemTime::now());
                CustomOutcome { accepted: run, left_to_families: HashSet::new() }
            }
            Err(why) => {
                // Whether the command has reached BIRD is not known.
                custom.pending = true;
                custom.counts.failed += 1;
                custom.backoff.failed(now);
                if custom.problem.as_ref() != Some(why) {
                    error!("{why} (custom command of {service})");
                    custom.problem = Some(why.clone());
                }
                let left_to_families = if custom.cannot_run() { custom.families.clone() } else { HashSet::new() };
                CustomOutcome { accepted: Vec::new(), left_to_families }
            }
        }
    }

    /// When the next command is due. None while a command is running, and after the stop.
    pub fn next_wakeup(&self, blocked: &HashSet<Family>, now: Instant) -> Option<Instant> {
        if self.running.is_some() || self.stop.stop_requested() {
            return None;
        }
        let startable =
            self.commands.values().filter(|custom| custom.is_startable() && custom.families.is_disjoint(blocked));
        startable.map(|custom| custom.backoff.earliest().unwrap_or(now)).min()
    }

    /// Cancels every wait for a retry, because the daemon stops.
    pub fn skip_backoff(&mut self) {
        self.commands.values_mut().for_each(|custom| custom.backoff.skip());
    }
}

/// Kills a running command, because its end would not be noticed.
impl Drop for CustomCommands {
    fn drop(&mut self) {
        if self.is_running() {
            self.stop.trigger();
            self.background.wait(KILL_WAIT);
        }
    }
}

impl CustomCommand {
    /// `is_covered` says whether the family's transport notifies BIRD of what is listed now.
    fn new(command: &TimedCommand, is_covered: bool) -> CustomCommand {
        CustomCommand {
            command: command.clone(),
            prefixes: Vec::new(),
            families: HashSet::new(),
            runs_since_removal: None,
            pending: !is_covered,
            listed: None,
            run: None,
            last_start: None,
            backoff: Backoff::default(),
            problem: None,
            counts: Counts::default(),
        }
    }

    /// Whether the command must run and is not running.
    fn is_startable(&self) -> bool {
        self.pending && self.run.is_none()
    }

    /// Whether a prefix of the service is listed.
    fn is_listed(&self) -> bool {
        self.listed.as_ref().is_some_and(|listed| !listed.is_empty())
    }

    fn cannot_run(&self) -> bool {
        matches!(self.problem, Some(CustomError::CannotRun(_)))
    }

    /// Whether the service is removed, its prefixes are withdrawn, and BIRD knows it: by this
    /// command, or by the family's transport after at least one run.
    fn is_done(&self, owed: &HashSet<Family>) -> bool {
        let Some(runs) = self.runs_since_removal else { return false };
        let confirmed_by_family = runs > 0 && self.families.is_disjoint(owed);
        !self.is_listed() && self.run.is_none() && (!self.pending || confirmed_by_family)
    }
}

/// Adds the counts of a removed command, so that they are not lost.
fn add_counts(former_counts: &mut HashMap<Family, Counts>, custom: &CustomCommand) {
    for family in &custom.families {
        let counts = former_counts.entry(*family).or_default();
        *counts = *counts + custom.counts;
    }
}

/// A run of a service's command. Its end is sent as an event.
fn task(service: Arc<str>, custom: &TimedCommand, direction: Direction, events: Sender<Event>) -> Task {
    let TimedCommand { command, timeout } = custom;
    let program = Program::new(command.words()).arg(direction.to_string());
    let (key, owner) = (service.clone(), format!("the custom command of {service}").into());
    let name = command.program().to_string();
    let end = move |finished| {
        let busy = is_busy(&finished);
        let run = CustomRun { service, result: result_of(finished, &name), busy };
        // A missing receiver means that the daemon has ended.
        let _ = events.send(Event::CustomEnded(run));
    };
    Task { key, owner, program, timeout: *timeout, begin: Box::new(|| ()), end: Box::new(end) }
}

/// Whether BIRD may still be reconfiguring. The output is parsed like that of birdc.
fn is_busy(finished: &Result<Finished, NotRun>) -> bool {
    let Ok(Finished { exit, stdout, stderr }) = finished else { return false };
    let end = match exit {
        Exit::Exited(code) => birdc::CommandEnd::Code(*code),
        Exit::Signaled(signal) => birdc::CommandEnd::Signal(*signal),
        Exit::TimedOut | Exit::Stopped => birdc::CommandEnd::Limit(Duration::ZERO),
        Exit::NotStarted(_) => return false,
    };
    birdc::parse(&stdout.bytes, &stderr.bytes, end).requires_pause()
}

fn result_of(finished: Result<Finished, NotRun>, program: &str) -> Result<(), CustomError> {
    let Finished { exit, stderr, .. } =
        finished.map_err(|why| CustomError::Failed(format!("reconfiguring BIRD failed: {why}")))?;
    let failed_with = |code| {
        let stderr = python_bytes(&stderr.bytes);
        CustomError::Failed(format!("reconfiguring BIRD failed with return code: {code} and stderr: {stderr}"))
    };
    match exit {
        Exit::Exited(0) => Ok(()),
        Exit::Exited(code) => Err(failed_with(code)),
        Exit::Signaled(signal) => Err(failed_with(-signal)),
        Exit::TimedOut => Err(CustomError::Failed("reconfiguring bird timed out".to_string())),
        Exit::Stopped => Err(CustomError::Failed("reconfiguring BIRD was ended by the daemon's stop".to_string())),
        Exit::NotStarted(why) => {
            Err(CustomError::CannotRun(format!("reconfiguring BIRD failed with: {why}: '{program}'")))
        }
    }
}

#[cfg(test)]
mod tests;
