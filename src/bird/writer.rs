//! The bird-writer: the only thread that touches the prefix files and BIRD.
//!
//! ```text
//!   states of checks
//!         v
//!      wanted
//!         |  prefix_list: archive, write, rename       failed: retry with a growing delay
//!         v
//!      in file <-- foreign changes
//!         |  reconfigurer: notify, read the answer     not accepted: retry with a growing delay
//!         v
//!      in BIRD
//! ```
//!
//! The thread brings the three levels in line, then sleeps. Each step reads the wanted list from
//! the states of the checks. A hint wakes the thread; without one it reads the states once a
//! second. After a quiet time the first change is applied at once, together with all that are
//! queued by then; later changes within 42 ms are coalesced.
//!
//! Guarantees: a change is applied as soon as its obstacle is gone, without a further change. No
//! failure ends the thread. At most one reconfigure of this daemon is in progress at a time, custom
//! commands included, and none is sent while BIRD may be busy with the last one (that kills BIRD
//! 3). So a slow custom command delays the others, up to its time limit.
//!
//! Blocking: on the disk, and on the reconfigure command or BIRD's control socket, within their
//! limits.
//!
//! Shutdown: by [`Event::Stop`], after pending changes are applied and, if services leave, BIRD has
//! accepted that. By [`Event::Died`], which a running reconfigure delays up to its own limit and
//! custom commands for at most 1.6 s, because the other checks keep running until then. The
//! `give_up` token cancels running commands.
//!
//! Out of scope: the list and its file (`bird::prefix_list`), what an answer means
//! (`bird::protocol::outcome`).

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use self::busy::BusyState;
use self::first_verdict::first_verdict;
use self::shutdown::Shutdown;
pub use self::shutdown::WriterEnd;
use crate::bird::custom::CustomCommands;
use crate::bird::prefix_list::PrefixList;
use crate::bird::protocol::outcome::BUSY_PAUSE;
use crate::bird::reconfigurer::{Busy, ReconfigurerSet};
use crate::bird::revision::Revision;
use crate::bird::state::BirdState;
use crate::check::event::{CustomRun, Event, Reload};
use crate::check::health::State;
use crate::check::state::Verdict;
use crate::check::Check;
use crate::config::settings::{Service, Settings};
use crate::prefix::{Family, Prefix};
use crate::sys::mutex::Mutex;
use crate::sys::orphans::Orphans;
use crate::sys::stop_token::{Stop, StopToken};

mod busy;
mod first_verdict;
mod shutdown;
mod status;

/// Time that a step may take for the disk, in addition to its commands, before the writer counts as
/// stuck.
const DISK_ALLOWANCE: Duration = Duration::from_secs(10);

/// How often the checks' states are read without a hint.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The state of the bird-writer.
pub struct Writer {
    /// The checks of the current configuration, in its order.
    checks: Arc<[Arc<Check>]>,
    /// The identities of these checks, so that hints of former checks are ignored.
    current: HashSet<usize>,
    reconfigurers: ReconfigurerSet,
    custom_commands: CustomCommands,
    busy: BusyState,
    shutdown: Shutdown,
    /// BIRD was queried for lost lists.
    started: bool,
    state: Arc<Mutex<BirdState>>,
    give_up: StopToken,
    /// How often the checks' states are read without a hint.
    poll_interval: Duration,
}

impl Writer {
    /// Reads the prefix files for the first time, without writing. `checks` are those of all
    /// services.
    pub fn new(
        settings: &Settings,
        checks: Arc<[Arc<Check>]>,
        orphans: Arc<Orphans>,
        events: Sender<Event>,
        state: Arc<Mutex<BirdState>>,
        give_up: StopToken,
    ) -> Writer {
        let (daemon, services) = (&settings.daemon, &settings.services);
        let open = |family: Family| {
            let bird = daemon.bird(family)?;
            let first_verdict = first_verdict(settings, family);
            Some(PrefixList::open(family, bird, services, daemon.purge_ip_prefixes, first_verdict))
        };
        let lists = Family::BOTH.into_iter().filter_map(open).collect();
        let mut writer = Writer {
            current: checks.iter().map(identity).collect(),
            checks,
            reconfigurers: ReconfigurerSet::new(lists, orphans.clone()),
            custom_commands: CustomCommands::new(orphans, events, give_up.clone()),
            busy: BusyState::default(),
            shutdown: Shutdown::default(),
            started: false,
            state,
            give_up,
            poll_interval: POLL_INTERVAL,
        };
        writer.reload_custom_commands(settings);
        writer
    }

    /// Runs until it is stopped. `stepped` is called after each step, when the published state is
    /// current.
    pub fn run(mut self, events: &Receiver<Event>, mut stepped: impl FnMut()) -> WriterEnd {
        loop {
            if self.shutdown.take_kill(Instant::now()) {
                self.give_up.trigger();
            }
            if self.shutdown.has_begun() {
                self.skip_backoff();
            }
            self.step();
            stepped();
            if !self.custom_commands.is_running() && !self.is_leaving() {
                if let Some(end) = self.shutdown.take_end() {
                    return end;
                }
            }
            self.receive(events).into_iter().for_each(|event| self.apply(event));
        }
    }

    /// Waits for the next event or the next wake-up. Returns all events that are queued then.
    fn receive(&mut self, events: &Receiver<Event>) -> Vec<Event> {
        let now = Instant::now();
        let poll_at = now + self.poll_interval;
        let until = self
            .shutdown
            .next_wakeup(now)
            .unwrap_or_else(|| self.next_wakeup(now).map_or(poll_at, |wakeup| wakeup.min(poll_at)));
        match events.recv_timeout(until.saturating_duration_since(now)) {
            Ok(event) => std::iter::once(event).chain(events.try_iter()).collect(),
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            // Impossible, because the custom commands hold a sender. Without any sender the thread
            // could not be stopped.
            Err(RecvTimeoutError::Disconnected) => vec![Event::Stop { leaving: false }],
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Changed(check) => self.log_hint(&check),
            Event::Touched(family) => {
                let lists = self.reconfigurers.lists_mut();
                lists.filter(|list| list.family() == family).for_each(PrefixList::recheck);
            }
            Event::CustomEnded(run) => self.end_custom(&run),
            Event::Reload(reload) => self.reload(*reload),
            Event::Died { service, why } => self.shutdown.panicked(service, why, Instant::now()),
            Event::Stop { leaving } => {
                self.shutdown.stop(leaving);
                // Each command gets one last attempt at once; if services leave, more follow with
                // the usual delays.
                self.custom_commands.skip_backoff();
            }
        }
    }

    /// Logs a hint, as the original does. Its effect comes with the next step, which reads the
    /// check's state.
    fn log_hint(&self, check: &Arc<Check>) {
        if !self.current.contains(&identity(check)) {
            return;
        }
        let verdict = check.state().verdict();
        let action = if verdict.state == State::Up && !verdict.withheld { "add to" } else { "delete from" };
        let prefixes: Vec<String> = check.service.prefixes.iter().map(Prefix::to_string).collect();
        info!(
            "returned an item from the queue for {} with IP prefix {} and action to {action} Bird configuration",
            check.name(),
            prefixes.join(",")
        );
    }

    /// Applies the result of a custom command to the lists.
    fn end_custom(&mut self, run: &CustomRun) {
        let outcome = self.custom_commands.end(run, Instant::now());
        if run.busy {
            self.busy.extend(Some(Instant::now() + BUSY_PAUSE));
        }
        for reconfigurer in self.reconfigurers.iter_mut() {
            let mut is_affected = false;
            for list in reconfigurer.lists_mut() {
                let family = list.family();
                for (_, revision) in outcome.accepted.iter().filter(|(accepted, _)| *accepted == family) {
                    list.confirm_by_custom(revision);
                    is_affected = true;
                }
                if outcome.left_to_families.contains(&family) {
                    list.owe_revision();
                }
            }
            if is_affected {
                reconfigurer.wake_after_custom();
            }
        }
    }

    /// Whether BIRD must still accept the last withdrawal, and there is time for that. A BIRD that
    /// is gone, as at the host's shutdown, no longer announces its routes, and reads the file when
    /// it starts again.
    fn is_leaving(&self) -> bool {
        if !self.shutdown.is_leaving() || self.give_up.stop_requested() {
            return false;
        }
        let (mut is_open, mut is_bird_gone) = (false, false);
        for reconfigurer in self.reconfigurers.iter() {
            for list in reconfigurer.lists().iter().filter(|list| !self.is_in_sync(list)) {
                let waits_only_for_bird = list.is_valid() && list.problem().is_none();
                if reconfigurer.is_gone() && waits_only_for_bird {
                    is_bird_gone = true;
                } else {
                    is_open = true;
                }
            }
        }
        if is_bird_gone && !is_open {
            warn!("BIRD is gone, and the routes with it: nothing has to confirm that services left, as on_exit says");
        }
        is_open
    }

    /// Whether the file lists what it should and BIRD has accepted it, over whichever transport is
    /// responsible.
    fn is_in_sync(&self, list: &PrefixList) -> bool {
        list.is_in_sync() && !self.custom_commands.owes(list.family())
    }

    /// Replaces the configuration. The next step applies it with one write and one reconfigure.
    /// Confirmed revisions, pending work and problems are kept, except those of a transport that
    /// has changed.
    fn reload(&mut self, Reload { settings, checks }: Reload) {
        let verdicts = self.verdicts();
        let mut became_custom_only = Vec::new();
        for list in self.reconfigurers.lists_mut() {
            if let Some(bird) = settings.daemon.bird(list.family()) {
                let was_custom_only = list.is_custom_only();
                list.reload(bird, &settings.services, &verdicts);
                if list.is_custom_only() && !was_custom_only {
                    became_custom_only.push(list.family());
                }
            }
        }
        self.reconfigurers.regroup(&settings.daemon);
        self.current = checks.iter().map(identity).collect();
        self.checks = checks;
        self.reload_custom_commands(&settings);
        became_custom_only.into_iter().for_each(|family| self.custom_commands.rerun_all(family));
    }

    fn reload_custom_commands(&mut self, settings: &Settings) {
        let lists = self.reconfigurers.lists();
        let custom_only: HashSet<Family> = lists.filter(|list| list.is_custom_only()).map(PrefixList::family).collect();
        let is_covered =
            |service: &Service| !service.prefixes.iter().any(|prefix| custom_only.contains(&prefix.family()));
        let left_to_families = self.custom_commands.reload(&settings.services, is_covered);
        let lists = self.reconfigurers.lists_mut();
        lists.filter(|list| left_to_families.contains(&list.family())).for_each(PrefixList::owe_revision);
        self.update_custom_commands();
    }

    fn update_custom_commands(&mut self) {
        let lists = self.reconfigurers.lists();
        let owed = lists.filter(|list| !list.is_in_sync()).map(PrefixList::family).collect();
        let lists: Vec<Arc<[Prefix]>> = self.reconfigurers.lists().map(|list| list.list().clone()).collect();
        self.custom_commands.update(lists.iter(), &owed);
    }

    /// Does all work that is due now.
    fn step(&mut self) {
        let now = Instant::now();
        let due = now + self.reconfigurers.max_duration() + DISK_ALLOWANCE;
        self.state.lock().due = Some(due);
        if !std::mem::replace(&mut self.started, true) {
            self.reconfigurers.recover_lost(&self.give_up);
            self.update_custom_commands();
        }
        self.write_files(now);
        // Reports show that the files are ahead of BIRD while a command runs.
        self.publish(Some(due));
        self.notify_bird();
        self.reconfigurers.lists_mut().for_each(PrefixList::sync_directory);
        self.publish(None);
        self.state.lock().ready = true;
    }

    /// Brings the files in line with the states of the checks.
    fn write_files(&mut self, now: Instant) {
        let verdicts = self.verdicts();
        let mut rerun = Vec::new();
        for list in self.reconfigurers.lists_mut() {
            list.update(&verdicts, now);
            if list.is_due(now) && list.converge(&verdicts, now).rerun_commands {
                rerun.push(list.family());
            }
        }
        rerun.into_iter().for_each(|family| self.custom_commands.rerun_all(family));
        self.update_custom_commands();
    }

    /// Brings BIRD in line with the files, as far as it may be notified now.
    fn notify_bird(&mut self) {
        let held = self.reconfigurers.held_families();
        let custom_runs = self.custom_commands.is_running();
        for reconfigurer in self.reconfigurers.iter_mut().filter(|reconfigurer| !reconfigurer.reads_any(&held)) {
            let now = Instant::now();
            let busy = Busy { custom_runs, until: self.busy.until() };
            if reconfigurer.next_wakeup(busy, now).is_some_and(|at| at <= now) {
                self.busy.extend(reconfigurer.advance(&self.give_up));
            }
        }
        self.update_custom_commands();
        let now = Instant::now();
        if self.custom_wakeup(now).is_some_and(|at| at <= now) && self.may_start_custom() {
            let valid = self.reconfigurers.lists().filter(|list| list.is_valid());
            let revisions: Vec<(Family, Revision)> = valid.map(|list| (list.family(), list.revision())).collect();
            let blocked = self.reconfigurers.blocked_families();
            self.custom_commands.start_due(&blocked, now, &revisions);
        }
    }

    /// Whether a custom command may start now. Every BIRD that can be queried is asked whether it
    /// is busy; over a socket that includes reconfigurations of other programs.
    fn may_start_custom(&mut self) -> bool {
        if self.reconfigurers.lists_mut().any(PrefixList::recheck_if_touched) {
            return false;
        }
        let answers: Vec<Option<bool>> =
            self.reconfigurers.iter().map(|reconfigurer| reconfigurer.is_busy(&self.give_up)).collect();
        self.busy.may_start_custom(&answers, Instant::now())
    }

    /// When the next step is due. None if no work is pending.
    fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let lists = self.reconfigurers.lists().filter_map(|list| list.next_wakeup(now));
        let busy = Busy { custom_runs: self.custom_commands.is_running(), until: self.busy.until() };
        let held = self.reconfigurers.held_families();
        let free = self.reconfigurers.iter().filter(|reconfigurer| !reconfigurer.reads_any(&held));
        let reconfigurers = free.filter_map(|reconfigurer| reconfigurer.next_wakeup(busy, now));
        lists.chain(reconfigurers).chain(self.custom_wakeup(now)).min()
    }

    /// When the next custom command may start. Like a reconfigure, it makes BIRD read the files.
    fn custom_wakeup(&self, now: Instant) -> Option<Instant> {
        if self.reconfigurers.lists().any(PrefixList::is_touched) {
            return None;
        }
        let due = self.custom_commands.next_wakeup(&self.reconfigurers.blocked_families(), now)?;
        Some(self.busy.custom_wakeup(due, self.reconfigurers.can_query_all()))
    }

    /// Cancels every wait for a retry, because the daemon stops.
    fn skip_backoff(&mut self) {
        self.reconfigurers.skip_backoff();
    }

    /// The current verdicts of all services.
    fn verdicts(&self) -> Vec<Verdict> {
        self.checks.iter().map(|check| check.state().verdict()).collect()
    }
}

/// The identity of a check, which differs from that of a former check of the same name.
fn identity(check: &Arc<Check>) -> usize {
    Arc::as_ptr(check) as usize
}

#[cfg(test)]
mod blocked_tests;
#[cfg(test)]
mod tests;
