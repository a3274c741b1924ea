//! `custom_bird_reconfigure_cmd`: a command of a service's own, run with `up` or `down` when its prefixes changed.
//!
//! A service with several prefixes gets one run for all that are written together, in both families. The direction tells of the
//! service and not of the prefix that moved: `up` while any of its prefixes is in the list, `down` when none is left. So
//! one missing address among several is no `down`. A prefix that several services share is told by the first of them.
//!
//! Promises: each net change gets one run, on a thread of its own, so that a slow command holds up nobody else; one at
//! a time for a service and [`MOST`] in all; a run that fails is tried again with the direction the service has then.
//! What may not be killed is looked after until it ends, and no more than four such of a service are left.
//! What runs when this ends, be it by a panic, is killed.
//! A run that succeeds counts as BIRD having taken the list as it was when the run started.
//! Leaves out: which changes there are (`bird::writer`).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::bird::pace::Pace;
use crate::bird::table::Told;
use crate::config::settings::{Service, TimedCommand};
use crate::event::Event;
use crate::log::format::python_bytes;
use crate::report::snapshot::Published;
use crate::sys::process::{How, Left, Limits, Program};
use crate::sys::stop_line::{Stop, StopLine};

/// How many run at the same time.
pub const MOST: usize = 8;
/// How long a command that was told to end (TERM) has before it is killed.
const GRACE: Duration = Duration::from_secs(1);
/// How many runs of a service that could not be killed may be left before no further one is started.
const MOST_LEFT: usize = 4;
/// How long runs that are killed at the very end have for that.
const LAST_WAIT: Duration = Duration::from_millis(150);
/// How much of its output is kept, in bytes.
const KEEP: usize = 1024;

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
    running: usize,
    /// Runs that could not be killed, and their services.
    left: LeftRuns,
    events: Sender<Event>,
    stop: StopLine,
    /// Each run holds a clone of it to its end, which the receiver sees.
    alive: Sender<()>,
    ended: Receiver<()>,
}

type LeftRuns = Arc<Published<Vec<(Arc<str>, Left)>>>;

struct Custom {
    /// None where a reload took it from the service while it ran.
    command: Option<TimedCommand>,
    /// A reload took the service away: it tells of its withdrawal, and is forgotten when that is done.
    leaves: bool,
    /// The change that no run has carried yet.
    due: Option<Direction>,
    /// The run under way: its direction, and each family's list when it started.
    running: Option<(Direction, Vec<Told>)>,
    pace: Pace,
    /// What was logged about the last failure, so that the next equal one is not.
    problem: Option<String>,
}

impl Customs {
    /// None yet. A run tells its end to `events`; `stop` kills it.
    pub fn new(events: Sender<Event>, stop: StopLine) -> Customs {
        let (alive, ended) = channel();
        Customs { commands: HashMap::new(), running: 0, left: Arc::default(), events, stop, alive, ended }
    }

    /// From now on there are the commands of these services. True where one is gone whose service is still there: what
    /// it was to tell, or tells now, has to be told in another way.
    pub fn reload(&mut self, services: &[Arc<Service>]) -> bool {
        let all: HashSet<&str> = services.iter().map(|service| service.name.as_str()).collect();
        let mut commands: HashMap<&str, &TimedCommand> = services
            .iter()
            .filter_map(|service| Some((service.name.as_str(), service.custom_reconfigure.as_ref()?)))
            .collect();
        let mut lost = false;
        self.commands.retain(|service, custom| {
            if let Some(command) = commands.remove(&**service) {
                (custom.command, custom.leaves) = (Some(command.clone()), false);
                custom.pace.news();
                true
            } else if all.contains(&**service) {
                (custom.command, custom.due) = (None, None);
                lost = true;
                custom.running.is_some()
            } else {
                let idle = custom.due.is_none() && custom.running.is_none();
                !(std::mem::replace(&mut custom.leaves, true) && idle)
            }
        });
        self.commands.extend(commands.into_iter().map(|(service, command)| {
            let command = Some(command.clone());
            let (due, running, problem) = (None, None, None);
            (service.into(), Custom { command, leaves: false, due, running, pace: Pace::default(), problem })
        }));
        lost
    }

    /// Whether a run is under way.
    pub fn busy(&self) -> bool {
        self.running > 0
    }

    /// Prefixes of the service moved, and this is where it stands now.
    pub fn changed(&mut self, service: &str, direction: Direction) {
        if let Some(custom) = self.commands.get_mut(service).filter(|custom| custom.command.is_some()) {
            custom.due = Some(direction);
            custom.pace.news();
        }
    }

    /// The services whose last run failed, and why.
    pub fn problems(&self) -> impl Iterator<Item = (&str, &str)> {
        let of_ours = self.commands.iter().filter(|(_, custom)| custom.command.is_some());
        of_ours.filter_map(|(service, custom)| Some((&**service, custom.problem.as_deref()?)))
    }

    /// Starts what is due, as far as the numbers allow; nothing once the stop line is pulled. `told` is each family's
    /// list now.
    pub fn start_due(&mut self, now: Instant, told: &[Told]) {
        self.left.lock().retain_mut(|(_, left)| !left.try_reap());
        if self.stop.is_pulled() {
            return;
        }
        for (service, custom) in &mut self.commands {
            if self.running >= MOST {
                return;
            }
            if custom.running.is_some() || !custom.pace.ready(now) {
                continue;
            }
            let (Some(command), Some(direction)) = (&custom.command, custom.due) else { continue };
            custom.due = None;
            custom.running = Some((direction, told.to_vec()));
            self.running += 1;
            info!("reconfiguring BIRD by running custom command {} {direction}", command.command);
            let (left, events, stop) = (self.left.clone(), self.events.clone(), self.stop.clone());
            spawn(service.clone(), command.clone(), direction, left, events, stop, self.alive.clone());
        }
    }

    /// A run ended. Returns what BIRD took with it, if it took anything.
    pub fn done(&mut self, service: &str, result: Result<(), String>, now: Instant) -> Option<Vec<Told>> {
        let custom = self.commands.get_mut(service)?;
        let (direction, told) = custom.running.take()?;
        self.running -= 1;
        let done = match result {
            Ok(()) => {
                info!("custom command successfully reconfigured Bird");
                custom.pace = Pace::default();
                custom.problem = None;
                Some(told)
            }
            Err(why) => {
                if custom.problem.as_ref() != Some(&why) {
                    error!("{why} (custom command of {service})");
                    custom.problem = Some(why);
                }
                if custom.command.is_some() {
                    custom.due.get_or_insert(direction);
                }
                custom.pace.failed(now);
                None
            }
        };
        let told_of_its_end = custom.leaves && direction == Direction::Down;
        if custom.due.is_none() && (told_of_its_end || custom.command.is_none()) {
            self.commands.remove(service);
        }
        done
    }

    /// When the next one is to be started. While no more may run, that is when one has ended, and after the stop never.
    pub fn earliest(&self, now: Instant) -> Option<Instant> {
        if self.running >= MOST {
            return None;
        }
        let waiting = self.commands.values().filter(|custom| custom.due.is_some() && custom.running.is_none());
        waiting.map(|custom| custom.pace.earliest().unwrap_or(now)).min().filter(|_| !self.stop.is_pulled())
    }
}

/// Nobody would look after what still runs.
impl Drop for Customs {
    fn drop(&mut self) {
        if self.busy() {
            self.stop.pull();
            self.alive = channel().0;
            // The end of the wait is the last run's: nothing is ever sent.
            let _ = self.ended.recv_timeout(LAST_WAIT);
        }
    }
}

/// Runs the command on a thread of its own, which ends with the event.
fn spawn(
    service: Arc<str>,
    command: TimedCommand,
    direction: Direction,
    left: LeftRuns,
    events: Sender<Event>,
    stop: StopLine,
    alive: Sender<()>,
) {
    let failed = (events.clone(), service.clone());
    let run = move || {
        let _alive = alive;
        let result = run(&service, &command, direction, &left, &stop);
        // Without a receiver the daemon has ended.
        let _ = events.send(Event::CustomDone { service, result });
    };
    if let Err(why) = std::thread::Builder::new().name("custom-bird".to_string()).spawn(run) {
        let (events, service) = failed;
        let result = Err(format!("reconfiguring BIRD failed, no thread for the custom command: {why}"));
        let _ = events.send(Event::CustomDone { service, result });
    }
}

fn run(
    service: &Arc<str>,
    command: &TimedCommand,
    direction: Direction,
    left: &LeftRuns,
    stop: &StopLine,
) -> Result<(), String> {
    if left.lock().iter().filter(|(of, _)| of == service).count() >= MOST_LEFT {
        return Err(format!("reconfiguring BIRD failed: {MOST_LEFT} earlier runs could not be killed and still run"));
    }
    let mut program = Program::new(command.command.words()).arg(direction.to_string());
    let limits = Limits { deadline: Instant::now() + command.timeout, grace: Some(GRACE), keep: KEEP };
    let ended = program.run(&limits, stop);
    if let Some(run) = ended.left {
        warn!("{run}. It was started by the custom command of {service}, and is reaped when it ends");
        left.lock().push((service.clone(), run));
    }
    let failed_with = |code| {
        let stderr = python_bytes(&ended.stderr.kept);
        format!("reconfiguring BIRD failed with return code: {code} and stderr: {stderr}")
    };
    match ended.how {
        How::Exited(0) => Ok(()),
        How::Exited(code) => Err(failed_with(code)),
        How::Signaled(signal) => Err(failed_with(-signal)),
        How::TimedOut => Err("reconfiguring bird timed out".to_string()),
        How::Stopped => Err("reconfiguring BIRD was ended by the daemon's stop".to_string()),
        How::NotStarted(why) => Err(format!("reconfiguring BIRD failed with: {why}: '{}'", command.command.program())),
    }
}

#[cfg(test)]
mod tests;
