//! Watches which neighbors BIRD announces the listed prefixes to: the level behind "in BIRD". It is
//! reported, and nothing acts upon it.
//!
//! ```text
//!   the writer's state changed --+--> wait 100 ms --> ask BIRD --> publish, log what changed
//!   bird_export_interval --------+         ^             |
//!                                          +-------------+  less announced than could be: again, after 0.2 s up to 10 s
//! ```
//!
//! Guarantees: BIRD is only asked, on connections of this thread's own, one exact prefix after the
//! other; asking stops between two prefixes while the bird-writer works, so that no withdrawal
//! waits for it; a round is bounded by [`ROUND_LIMIT`], and what was not reached is counted.
//!
//! Blocking: this thread, on BIRD's control sockets.
//!
//! Shutdown: [`ExportWatcher::stop`].
//!
//! Out of scope: the requests and their answers (`bird::protocol::exports`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use std::{io, thread};

use tracing::{info, warn};

use crate::bird::protocol::control::{Control, Exports};
use crate::bird::protocol::exports::{PrefixExports, Protocol};
use crate::bird::state::BirdState;
use crate::config::settings::Settings;
use crate::prefix::{Family, Prefix};
use crate::sys::log_once::LogOnce;
use crate::sys::mutex::Mutex;
use crate::sys::stop_token::{Stop, StopToken};

/// How long one round may take with one BIRD.
pub const ROUND_LIMIT: Duration = Duration::from_secs(2);
/// How long after a change BIRD is asked, so that it has announced the new list.
const SETTLE_TIME: Duration = Duration::from_millis(100);
/// How soon a round that was interrupted, or found too little, is repeated; doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// How late it is repeated at most.
const LAST_RETRY: Duration = Duration::from_secs(10);
/// For the thread: it calls nothing deep.
const STACK: usize = 256 * 1024;

/// What was last found of one family.
#[derive(Clone, Debug, Default)]
pub struct FamilyExports {
    /// The protocols that speak to neighbors.
    pub protocols: Vec<Protocol>,
    /// Each prefix that was asked about.
    pub prefixes: BTreeMap<Prefix, Announcement>,
    /// When the last whole round ended; none before the first.
    pub asked: Option<SystemTime>,
    /// Why nothing is known; none if BIRD answers.
    pub problem: Option<String>,
    /// Prefixes that the last round did not reach.
    pub not_reached: usize,
}

/// What is known of one prefix.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// Whom BIRD announces it to.
    pub exports: PrefixExports,
    /// Since when BIRD announces it to nobody. None if it announces it to somebody.
    pub to_nobody_since: Option<Instant>,
}

/// The published state: one entry for each family with a control socket.
pub type ExportState = BTreeMap<Family, FamilyExports>;

/// What the thread needs to know of the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
struct Plan {
    /// Each control socket, and the prefixes of services that its BIRD reads.
    sockets: Vec<(PathBuf, BTreeSet<Prefix>)>,
    /// None if asking is switched off.
    interval: Option<Duration>,
}

impl Plan {
    fn new(settings: &Settings) -> Plan {
        let mut sockets: Vec<(PathBuf, BTreeSet<Prefix>)> = Vec::new();
        for family in Family::BOTH {
            let socket = settings.daemon.bird(family).and_then(|bird| bird.control_socket.as_ref());
            let Some(socket) = socket else { continue };
            let of_services = settings.services.iter().flat_map(|service| service.prefixes.iter().copied());
            let prefixes = of_services.filter(|prefix| prefix.family() == family);
            match sockets.iter_mut().find(|(path, _)| path == socket) {
                Some((_, all)) => all.extend(prefixes),
                None => sockets.push((socket.clone(), prefixes.collect())),
            }
        }
        Plan { sockets, interval: settings.daemon.export_interval }
    }

    fn is_idle(&self) -> bool {
        self.sockets.is_empty() || self.interval.is_none()
    }
}

enum Message {
    /// Another configuration.
    Follow(Plan),
    /// The bird-writer has finished a step.
    Stepped,
}

/// The handle of the thread.
#[derive(Clone)]
pub struct ExportWatcher {
    messages: Sender<Message>,
    /// Whether there is a BIRD to ask, so that steps are worth a message.
    is_asking: Arc<AtomicBool>,
    stop: StopToken,
}

impl ExportWatcher {
    /// Starts the thread. It reads the levels of `bird` and publishes what it finds in `state`.
    ///
    /// # Errors
    /// The thread cannot be spawned, or no descriptor is left.
    pub fn start(
        settings: &Settings,
        bird: Arc<Mutex<BirdState>>,
        state: Arc<Mutex<ExportState>>,
    ) -> io::Result<(ExportWatcher, JoinHandle<()>)> {
        let (messages, received) = channel();
        let stop = StopToken::new()?;
        let plan = Plan::new(settings);
        let is_asking = Arc::new(AtomicBool::new(!plan.is_idle()));
        let watcher = ExportWatcher { messages, is_asking, stop: stop.clone() };
        let mut worker =
            Worker { plan, bird, state, stop, asked_of: Vec::new(), retry: FIRST_RETRY, problems: BTreeMap::new() };
        let thread = thread::Builder::new().name("exports".into()).stack_size(STACK);
        let thread = thread.spawn(move || worker.run(&received))?;
        Ok((watcher, thread))
    }

    /// Uses another configuration.
    pub fn follow(&self, settings: &Settings) {
        let plan = Plan::new(settings);
        self.is_asking.store(!plan.is_idle(), Ordering::Relaxed);
        // Without a receiver the thread has stopped.
        let _ = self.messages.send(Message::Follow(plan));
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.stop.trigger();
        let _ = self.messages.send(Message::Stepped);
    }

    /// The bird-writer's state may be another one.
    pub fn stepped(&self) {
        if self.is_asking.load(Ordering::Relaxed) {
            let _ = self.messages.send(Message::Stepped);
        }
    }
}

struct Worker {
    plan: Plan,
    bird: Arc<Mutex<BirdState>>,
    state: Arc<Mutex<ExportState>>,
    stop: StopToken,
    /// The lists in BIRD that the last round was about.
    asked_of: Vec<Arc<[Prefix]>>,
    retry: Duration,
    problems: BTreeMap<PathBuf, LogOnce>,
}

/// What a round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// All that could be announced is, and nothing else.
    Complete,
    /// It was interrupted, or something is announced to fewer than it could be: ask again soon.
    Again,
}

impl Worker {
    fn run(&mut self, messages: &Receiver<Message>) {
        let mut next = Some(Instant::now() + SETTLE_TIME);
        while !self.stop.stop_requested() {
            let wait = next.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            match messages.recv_timeout(wait) {
                Ok(Message::Follow(plan)) => {
                    self.plan = plan;
                    self.forget_others();
                    next = Some(Instant::now() + SETTLE_TIME);
                }
                Ok(Message::Stepped) => {
                    if self.has_changed() {
                        self.retry = FIRST_RETRY;
                        next = Some(Instant::now() + SETTLE_TIME);
                    }
                }
                Err(RecvTimeoutError::Timeout) => next = self.wake(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Whether BIRD holds other lists than those of the last round.
    fn has_changed(&self) -> bool {
        if self.plan.is_idle() {
            return false;
        }
        let lists = self.lists();
        lists.len() != self.asked_of.len()
            || !lists.iter().zip(&self.asked_of).all(|(a, b)| Arc::ptr_eq(a, b) || a == b)
    }

    fn lists(&self) -> Vec<Arc<[Prefix]>> {
        self.bird.lock().families.iter().map(|family| family.in_bird.clone()).collect()
    }

    /// A round with each BIRD. Returns when the next is due.
    fn wake(&mut self) -> Option<Instant> {
        let interval = self.plan.interval.filter(|_| !self.plan.is_idle())?;
        self.asked_of = self.lists();
        let listed: BTreeSet<Prefix> = self.asked_of.iter().flat_map(|list| list.iter().copied()).collect();
        let mut round = Round::Complete;
        for (socket, prefixes) in self.plan.sockets.clone() {
            if self.ask(&socket, &prefixes, &listed) == Round::Again {
                round = Round::Again;
            }
        }
        let wait = match round {
            Round::Complete => {
                self.retry = FIRST_RETRY;
                interval
            }
            Round::Again => {
                let wait = self.retry.min(interval);
                self.retry = (self.retry * 2).min(LAST_RETRY);
                wait
            }
        };
        Some(Instant::now() + wait)
    }

    /// Asks one BIRD about the listed prefixes, and about those that it may still announce.
    fn ask(&mut self, socket: &Path, prefixes: &BTreeSet<Prefix>, listed: &BTreeSet<Prefix>) -> Round {
        let announced = |prefix: &Prefix| is_announced(&self.state.lock(), &[*prefix]);
        let of_interest: Vec<Prefix> =
            prefixes.iter().filter(|prefix| listed.contains(prefix) || announced(prefix)).copied().collect();
        let bird = self.bird.clone();
        let is_interrupted = || bird.lock().due.is_some();
        let answer = Control::new(socket).exports(&of_interest, ROUND_LIMIT, &self.stop, is_interrupted);
        let families: BTreeSet<Family> = prefixes.iter().map(Prefix::family).collect();
        let log = self.problems.entry(socket.to_path_buf()).or_default();
        match answer {
            Ok(exports) => {
                if log.clear() {
                    info!("BIRD says over {} whom it announces the prefixes to again", socket.display());
                }
                let mut state = self.state.lock();
                let mut round = if exports.not_reached > 0 { Round::Again } else { Round::Complete };
                for family in families {
                    let known = state.entry(family).or_default();
                    if known.take(family, &exports, listed) == Round::Again {
                        round = Round::Again;
                    }
                }
                round
            }
            Err(why) => {
                let why = why.to_string();
                if !self.stop.stop_requested() && log.set(&why) {
                    warn!("BIRD cannot be asked whom it announces the prefixes to: {why}");
                }
                let mut state = self.state.lock();
                for family in families {
                    *state.entry(family).or_default() =
                        FamilyExports { problem: Some(why.clone()), ..FamilyExports::default() };
                }
                Round::Again
            }
        }
    }

    /// Families that are asked about no more are not reported any more.
    fn forget_others(&mut self) {
        let idle = self.plan.is_idle();
        let families: BTreeSet<Family> =
            self.plan.sockets.iter().flat_map(|(_, prefixes)| prefixes.iter().map(Prefix::family)).collect();
        self.state.lock().retain(|family, _| !idle && families.contains(family));
        self.asked_of = Vec::new();
    }
}

/// Whether BIRD still announces one of these prefixes, as far as is known.
pub fn is_announced(state: &ExportState, prefixes: &[Prefix]) -> bool {
    let known = |prefix: &Prefix| state.get(&prefix.family())?.prefixes.get(prefix);
    prefixes.iter().filter_map(known).any(|known| !known.exports.announced_by.is_empty())
}

impl FamilyExports {
    /// Takes the answers about this family over, and logs what changed.
    fn take(&mut self, family: Family, exports: &Exports, listed: &BTreeSet<Prefix>) -> Round {
        let mut round = Round::Complete;
        self.protocols = exports.protocols.clone();
        (self.problem, self.not_reached) = (None, exports.not_reached);
        if exports.not_reached == 0 {
            self.asked = Some(SystemTime::now());
        }
        self.prefixes.retain(|prefix, known| listed.contains(prefix) || !known.exports.announced_by.is_empty());
        for (prefix, found) in exports.prefixes.iter().filter(|(prefix, _)| prefix.family() == family) {
            let is_listed = listed.contains(prefix);
            let before = self.prefixes.get(prefix);
            log_change(prefix, before.map(|known| &known.exports), found, is_listed);
            let is_complete = if is_listed {
                found.announced_by.len() == found.up && found.up > 0
            } else {
                found.announced_by.is_empty()
            };
            if !is_complete {
                round = Round::Again;
            }
            if !is_listed && found.announced_by.is_empty() {
                self.prefixes.remove(prefix);
                continue;
            }
            let since = before.and_then(|known| known.to_nobody_since);
            let to_nobody_since = found.announced_by.is_empty().then(|| since.unwrap_or_else(Instant::now));
            self.prefixes.insert(*prefix, Announcement { exports: found.clone(), to_nobody_since });
        }
        round
    }
}

fn log_change(prefix: &Prefix, before: Option<&PrefixExports>, found: &PrefixExports, is_listed: bool) {
    if before.is_some_and(|before| before.announced_by == found.announced_by && before.why == found.why) {
        return;
    }
    match (&found.why, is_listed) {
        (None, _) => info!("BIRD announces {prefix} by {}", found.announced_by.join(", ")),
        (Some(why), true) => warn!("BIRD announces {prefix} to nobody: {why}"),
        (Some(_), false) => info!("BIRD announces {prefix} to nobody any more"),
    }
}

#[cfg(test)]
mod tests;
