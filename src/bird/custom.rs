//! `custom_bird_reconfigure_cmd`: a command of a service's own, run with `up` or `down` when its prefixes changed.
//!
//! ```text
//!   owes --run it--> exit code 0, and nothing of the service changed meanwhile --> told: BIRD took the list of its start
//!    ^ ^                 |
//!    | +-----------------+ else: again, after a failure ever later, with the direction the service has then
//!    |
//!    +-- what the list holds of the service changes, also there and back: BIRD may have read it in between
//!    +-- a start where only custom commands tell BIRD; a reload that changed the command; a file of somebody else's
//! ```
//!
//! The direction tells of the service and not of the prefix that moved: `up` while any of its prefixes is in the list,
//! `down` when none is left. So one missing address among several is no `down`. A prefix that several services share is
//! told by the first of them.
//!
//! Promises: a service's command owes BIRD its prefixes until it has succeeded with them; one runs at a time, as each may
//! make BIRD reconfigure, and the one that has waited longest comes first. A command that cannot be run at all leaves the
//! telling to the family's transport, and so does one whose service is gone: that one is run until the family has told.
//! Leaves out: when BIRD may be told (`bird::writer`), running (`sys::background`).

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

/// How long a run that is killed at the very end has for that.
const LAST_WAIT: Duration = Duration::from_millis(150);

/// The last argument of the command: where the service stands after the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The list holds a prefix of the service.
    Up,
    /// It holds none.
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

/// The custom commands of all services that have one.
pub struct Customs {
    commands: HashMap<Arc<str>, Custom>,
    /// What came of commands that are no more.
    former: HashMap<Family, Counts>,
    /// The service whose command runs.
    running: Option<Arc<str>>,
    background: Arc<Background>,
    events: Sender<Event>,
    stop: StopToken,
}

/// One service's command.
struct Custom {
    command: TimedCommand,
    /// Prefixes of which the service is the first to name them.
    prefixes: Vec<Prefix>,
    families: HashSet<Family>,
    /// A reload took the service away; how often its command was tried since.
    gone: Option<u32>,
    /// It is to be run; a run under way does not count.
    owes: bool,
    /// What the list holds of the service; none before the first look.
    listed: Option<Vec<Prefix>>,
    /// What the run under way tells.
    run: Option<Vec<(Family, Revision)>>,
    last_start: Option<Instant>,
    backoff: Backoff,
    problem: Option<CustomError>,
    counts: Counts,
}

/// What came of a run, for the lists.
#[derive(Debug, Default)]
pub struct CustomOutcome {
    /// Exit code 0: BIRD took these revisions.
    pub taken: Vec<(Family, Revision)>,
    /// The command cannot be run: the transports of these families have to tell what it was to tell.
    pub left_to_families: HashSet<Family>,
}

impl Customs {
    /// None yet. A run tells its end to `events`; `stop` kills it.
    pub fn new(orphans: Arc<Orphans>, events: Sender<Event>, stop: StopToken) -> Customs {
        let background = Background::new("custom-bird", 1, orphans, stop.clone());
        Customs { commands: HashMap::new(), former: HashMap::new(), running: None, background, events, stop }
    }

    /// From now on there are the commands of these services. `is_told` says whether the family's transport tells, or has
    /// told, what is listed of a service whose command is new. Returns the families that have to tell for commands that are
    /// no more.
    pub fn reload(&mut self, services: &[Arc<Service>], is_told: impl Fn(&Service) -> bool) -> HashSet<Family> {
        let mut owned: HashSet<Prefix> = HashSet::new();
        let mut left_to_families = HashSet::new();
        let mut before = std::mem::take(&mut self.commands);
        for service in services {
            let prefixes = service.prefixes.iter().filter(|prefix| owned.insert(**prefix)).copied().collect();
            let old = before.remove(&*service.name);
            let Some(command) = &service.custom_reconfigure else {
                if let Some(old) = old {
                    count_former(&mut self.former, &old);
                    left_to_families.extend(old.families);
                }
                continue;
            };
            let families = service.prefixes.iter().map(Prefix::family).collect();
            let mut custom = old.unwrap_or_else(|| Custom::new(command, is_told(service)));
            if custom.command != *command {
                custom = Custom { run: custom.run, counts: custom.counts, ..Custom::new(command, false) };
            }
            self.commands.insert(service.name.as_str().into(), Custom { prefixes, families, gone: None, ..custom });
        }
        for (name, mut custom) in before {
            left_to_families.extend(&custom.families);
            // What another service has taken over is told by that one, or by its family.
            custom.prefixes.retain(|prefix| !owned.contains(prefix));
            custom.listed.iter_mut().for_each(|listed| listed.retain(|prefix| !owned.contains(prefix)));
            self.commands.insert(name, Custom { gone: Some(custom.gone.unwrap_or(0)), ..custom });
        }
        left_to_families
    }

    /// Takes in what the lists hold now, and `owed`, the families whose transport owes BIRD a revision.
    pub fn update<'a>(&mut self, lists: impl Iterator<Item = &'a Arc<[Prefix]>>, owed: &HashSet<Family>) {
        if self.commands.is_empty() {
            return;
        }
        let all: HashSet<Prefix> = lists.flat_map(|list| list.iter().copied()).collect();
        for custom in self.commands.values_mut() {
            let listed: Vec<Prefix> = custom.prefixes.iter().filter(|prefix| all.contains(prefix)).copied().collect();
            if custom.listed.as_ref().is_some_and(|before| *before != listed) {
                custom.owes = true;
                custom.backoff.changed();
            }
            custom.listed = Some(listed);
        }
        let done = self.commands.extract_if(|_, custom| custom.is_done(owed));
        done.for_each(|(_, custom)| count_former(&mut self.former, &custom));
    }

    /// BIRD may hold something else than it was told: each command has to tell it anew.
    pub fn forget(&mut self, family: Family) {
        for custom in self.commands.values_mut().filter(|custom| custom.families.contains(&family)) {
            custom.owes = true;
        }
    }

    /// Whether a run is under way.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether a command owes BIRD prefixes of this family, which its family does not tell instead.
    pub fn owes(&self, family: Family) -> bool {
        let of_family = self.commands.values().filter(|custom| custom.families.contains(&family));
        let mut of_ours = of_family.filter(|custom| custom.gone.is_none() && !custom.cannot_run());
        of_ours.any(|custom| custom.owes || custom.run.is_some())
    }

    /// Why the command of a service of the family failed, the first in order of name where several did.
    pub fn problem(&self, family: Family) -> Option<String> {
        let of_family = self.commands.iter().filter(|(_, custom)| custom.families.contains(&family));
        let (name, why) = of_family
            .filter_map(|(name, custom)| Some((name, custom.problem.as_ref()?)))
            .min_by_key(|(name, _)| name.to_string())?;
        Some(format!("{why} (custom command of {name})"))
    }

    /// What came of the runs for the family's services, those included that are gone.
    pub fn counts(&self, family: Family) -> Counts {
        let of_family = self.commands.values().filter(|custom| custom.families.contains(&family));
        let former = self.former.get(&family).copied().unwrap_or_default();
        of_family.fold(former, |sum, custom| sum + custom.counts)
    }

    /// Starts the run that has waited longest, if one is due; nothing once the stop line is pulled. `revisions` are those
    /// of the lists now.
    /// None is started for the families that are `blocked`.
    pub fn start_due(&mut self, blocked: &HashSet<Family>, now: Instant, revisions: &[(Family, Revision)]) {
        if self.running.is_some() || self.stop.stop_requested() {
            return;
        }
        let is_due =
            |custom: &Custom| custom.is_owed() && custom.families.is_disjoint(blocked) && custom.backoff.is_ready(now);
        let due = self.commands.iter_mut().filter(|(_, custom)| is_due(custom));
        let Some((name, custom)) = due.min_by_key(|(name, custom)| (custom.last_start, name.to_string())) else {
            return;
        };
        let direction = if custom.is_listed() { Direction::Up } else { Direction::Down };
        let of_service = revisions.iter().filter(|(family, _)| custom.families.contains(family)).cloned();
        custom.run = Some(of_service.collect());
        custom.owes = false;
        custom.last_start = Some(now);
        custom.gone = custom.gone.map(|tries| tries.saturating_add(1));
        info!("reconfiguring BIRD by running custom command {} {direction}", custom.command.command);
        self.running = Some(name.clone());
        let task = task(name.clone(), &custom.command, direction, self.events.clone());
        self.background.run(task);
    }

    /// A run ended. Returns what that is to the lists.
    pub fn end(&mut self, CustomRun { service, result, .. }: &CustomRun, now: Instant) -> CustomOutcome {
        self.running.take_if(|running| running == service);
        let Some(custom) = self.commands.get_mut(service) else { return CustomOutcome::default() };
        let Some(run) = custom.run.take() else { return CustomOutcome::default() };
        match result {
            Ok(()) => {
                info!("custom command successfully reconfigured Bird");
                (custom.backoff, custom.problem) = (Backoff::default(), None);
                custom.counts.count_taken(SystemTime::now());
                CustomOutcome { taken: run, left_to_families: HashSet::new() }
            }
            Err(why) => {
                // It may have reached BIRD, or not.
                custom.owes = true;
                custom.counts.failed += 1;
                custom.backoff.failed(now);
                if custom.problem.as_ref() != Some(why) {
                    error!("{why} (custom command of {service})");
                    custom.problem = Some(why.clone());
                }
                let left_to_families = if custom.cannot_run() { custom.families.clone() } else { HashSet::new() };
                CustomOutcome { taken: Vec::new(), left_to_families }
            }
        }
    }

    /// When the next one is to be started. While one runs, that is when it has ended, and after the stop never.
    pub fn next_wakeup(&self, blocked: &HashSet<Family>, now: Instant) -> Option<Instant> {
        if self.running.is_some() || self.stop.stop_requested() {
            return None;
        }
        let owed = self.commands.values().filter(|custom| custom.is_owed() && custom.families.is_disjoint(blocked));
        owed.map(|custom| custom.backoff.earliest().unwrap_or(now)).min()
    }

    /// Nothing more is waited for: the daemon stops.
    pub fn skip_backoff(&mut self) {
        self.commands.values_mut().for_each(|custom| custom.backoff.skip());
    }
}

/// Nobody would look after what still runs.
impl Drop for Customs {
    fn drop(&mut self) {
        if self.is_running() {
            self.stop.trigger();
            self.background.wait(LAST_WAIT);
        }
    }
}

impl Custom {
    fn new(command: &TimedCommand, is_told: bool) -> Custom {
        Custom {
            command: command.clone(),
            prefixes: Vec::new(),
            families: HashSet::new(),
            gone: None,
            owes: !is_told,
            listed: None,
            run: None,
            last_start: None,
            backoff: Backoff::default(),
            problem: None,
            counts: Counts::default(),
        }
    }

    /// Whether it is to be run, and does not run.
    fn is_owed(&self) -> bool {
        self.owes && self.run.is_none()
    }

    /// Whether the list holds a prefix of the service.
    fn is_listed(&self) -> bool {
        self.listed.as_ref().is_some_and(|listed| !listed.is_empty())
    }

    fn cannot_run(&self) -> bool {
        matches!(self.problem, Some(CustomError::CannotRun(_)))
    }

    /// Whether it is gone, and the prefixes of its service with it: BIRD took that from it, or from the family after it was
    /// tried once.
    fn is_done(&self, owed: &HashSet<Family>) -> bool {
        let Some(tries) = self.gone else { return false };
        let told_by_family = tries > 0 && self.families.is_disjoint(owed);
        !self.is_listed() && self.run.is_none() && (!self.owes || told_by_family)
    }
}

/// The command is no more, and what was counted of it stays.
fn count_former(former: &mut HashMap<Family, Counts>, custom: &Custom) {
    for family in &custom.families {
        let counts = former.entry(*family).or_default();
        *counts = *counts + custom.counts;
    }
}

/// The run of a service's command, which ends with an event.
fn task(service: Arc<str>, custom: &TimedCommand, direction: Direction, events: Sender<Event>) -> Task {
    let TimedCommand { command, timeout } = custom;
    let program = Program::new(command.words()).arg(direction.to_string());
    let (key, owner) = (service.clone(), format!("the custom command of {service}").into());
    let name = command.program().to_string();
    let end = move |finished| {
        let busy = is_busy(&finished);
        let run = CustomRun { service, result: judge(finished, &name), busy };
        // Without a receiver the daemon has ended.
        let _ = events.send(Event::CustomEnded(run));
    };
    Task { key, owner, program, timeout: *timeout, begin: Box::new(|| ()), end: Box::new(end) }
}

/// Whether BIRD may still be working on it, as its output is read like that of BIRD's client.
fn is_busy(finished: &Result<Finished, NotRun>) -> bool {
    let Ok(Finished { exit, stdout, stderr }) = finished else { return false };
    let end = match exit {
        Exit::Exited(code) => birdc::CommandEnd::Code(*code),
        Exit::Signaled(signal) => birdc::CommandEnd::Signal(*signal),
        Exit::TimedOut | Exit::Stopped => birdc::CommandEnd::Limit(Duration::ZERO),
        Exit::NotStarted(_) => return false,
    };
    birdc::parse(&stdout.kept, &stderr.kept, end).requires_pause()
}

fn judge(finished: Result<Finished, NotRun>, program: &str) -> Result<(), CustomError> {
    let Finished { exit, stderr, .. } =
        finished.map_err(|why| CustomError::Failed(format!("reconfiguring BIRD failed: {why}")))?;
    let failed_with = |code| {
        let stderr = python_bytes(&stderr.kept);
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
