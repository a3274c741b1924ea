//! The bird-writer: the one thread that touches the prefix files and BIRD.
//!
//! ```text
//!   wanted --[prefix_list: archive, write, rename]--> in file --[reconfigurer: tell, read the answer]--> in BIRD
//!     ^                   ^        |                               ^            |
//!   states of checks  somebody else  +-- failed: again, ever later   +------------+-- not taken: again, ever later
//! ```
//!
//! It pulls the three levels together until they are equal, and sleeps. What is wanted is read from the states of the
//! checks at each step; a hint wakes it, and without one it looks once a second. The first change of a quiet time goes
//! out at once; what waits by then goes out with it, and what follows within 42 ms goes out together.
//!
//! Promises: a change is applied as soon as what is in its way is gone, with no need for a further change; no failure
//! ends the thread; of the reconfigures of this daemon, custom commands included, one is under way at a time, and none
//! is sent while BIRD may be busy with the last one (that kills BIRD 3). So a slow custom command holds up the others
//! until it ends, or for its own time limit.
//! Who may block: this thread, on the disk and on the reconfigure command or BIRD's control socket, for no longer than
//! their limits.
//! What stops it: [`Event::Stop`], after what waits is applied (and, where services leave, BIRD took it), and
//! [`Event::Died`], whose end a reconfigure under way puts off by its own limit and custom commands by `LAST_WAIT`: the
//! other checks go on meanwhile, and nobody waits for the end of a daemon that has a bug. The `give_up` line cuts short
//! what runs then.
//! Leaves out: the list and its file (`bird::prefix_list`), the answer's outcome (`bird::protocol::outcome`).

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::bird::custom::Customs;
use crate::bird::prefix_list::PrefixList;
use crate::bird::protocol::outcome::BUSY_PAUSE;
use crate::bird::reconfigurer::{Busy, Reconfigurer};
use crate::bird::revision::Revision;
use crate::bird::startup::MAX_HOLD;
use crate::bird::state::{BirdState, FamilyState, Hold};
use crate::check::event::{CustomRun, Event, Reload};
use crate::check::health::State;
use crate::check::schedule;
use crate::check::start_limiter::processors;
use crate::check::state::Verdict;
use crate::check::Check;
use crate::config::settings::{Service, Settings};
use crate::prefix::{Family, Prefix};
use crate::sys::mutex::Mutex;
use crate::sys::orphans::Orphans;
use crate::sys::stop_token::{Stop, StopToken};

/// How much longer than its commands a step of the writer may take before it counts as stuck: the disk's share.
const DISK_ALLOWANCE: Duration = Duration::from_secs(10);

/// How long custom commands that run have to end after [`Event::Died`], which nobody but this thread knows of.
const LAST_WAIT: Duration = Duration::from_millis(1600);

/// How long it may take until all check threads have started, after drain files that cannot be read for a second.
const START_ALLOWANCE: Duration = Duration::from_secs(3);

/// How often a last change is tried again, where BIRD does not take it.
const LEAVE_RETRY: Duration = Duration::from_millis(500);

/// How often the checks' states are read though nobody sent a hint.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How soon a busy BIRD is asked again before a custom command.
const BUSY_RETRY: Duration = Duration::from_millis(50);

/// Everything the bird-writer owns.
pub struct Writer {
    /// The checks of the running configuration, in its order.
    checks: Arc<[Arc<Check>]>,
    /// The same, to be found.
    current: HashSet<usize>,
    reconfigurers: Vec<Reconfigurer>,
    customs: Customs,
    /// The end waits until BIRD took that services with `on_exit = withdraw` have left.
    leaving: bool,
    /// Until when BIRD may be busy with a reconfigure of ours: nobody sends it another.
    busy_until: Option<Instant>,
    /// Until when no custom command is started, as BIRD said that it is busy.
    customs_wait: Option<Instant>,
    /// BIRD was asked for the lists that were lost.
    started: bool,
    orphans: Arc<Orphans>,
    state: Arc<Mutex<BirdState>>,
    give_up: StopToken,
    /// How often the checks' states are read though nobody sent a hint.
    look_interval: Duration,
}

/// How the bird-writer ended.
#[derive(Debug)]
pub enum WriterEnd {
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
    /// Reads the prefix files for the first time; nothing is written yet. `checks` are those of all services.
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
            reconfigurers: Reconfigurer::group(lists, &orphans),
            customs: Customs::new(orphans.clone(), events, give_up.clone()),
            leaving: false,
            busy_until: None,
            customs_wait: None,
            started: false,
            orphans,
            state,
            give_up,
            look_interval: LOOK_INTERVAL,
        };
        writer.reload_customs(settings);
        writer
    }

    /// Works until it is told to stop. `stepped` is called after each step, when the state is up to date.
    pub fn run(mut self, events: &Receiver<Event>, mut stepped: impl FnMut()) -> WriterEnd {
        let mut end = None;
        let mut last: Option<Instant> = None;
        loop {
            if last.is_some_and(|at| at <= Instant::now()) {
                self.give_up.trigger();
                last = None;
            }
            if end.is_some() {
                self.skip_backoff();
            }
            self.step();
            stepped();
            match end.take() {
                Some(end) if !self.customs.is_running() && !self.is_leaving() => return end,
                kept => end = kept,
            }
            let again = if end.is_some() && self.leaving { Some(Instant::now() + LEAVE_RETRY) } else { None };
            for event in self.receive(events, earlier(again, last)) {
                match (&end, self.apply(event)) {
                    // A bug stays one, whoever asks for the end meanwhile.
                    (Some(WriterEnd::Died { .. }), _) | (_, None) => {}
                    (_, Some(said)) => {
                        last = matches!(said, WriterEnd::Died { .. }).then(|| Instant::now() + LAST_WAIT);
                        end = Some(said);
                    }
                }
            }
        }
    }

    /// Waits for the next event or until then, or else for the next thing to do; returns all events that wait by then.
    fn receive(&mut self, events: &Receiver<Event>, until: Option<Instant>) -> Vec<Event> {
        let now = Instant::now();
        let until =
            until.unwrap_or_else(|| earlier(self.next_wakeup(now), Some(now + self.look_interval)).unwrap_or(now));
        match events.recv_timeout(until.saturating_duration_since(now)) {
            Ok(event) => std::iter::once(event).chain(events.try_iter()).collect(),
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            // The customs hold a sender, so this cannot happen; were it to, nobody could ask for anything any more.
            Err(RecvTimeoutError::Disconnected) => vec![Event::Stop { leaving: false }],
        }
    }

    /// Takes an event in. Returns how the thread is to end, once it is.
    fn apply(&mut self, event: Event) -> Option<WriterEnd> {
        match event {
            Event::Changed(check) => self.log_hint(&check),
            Event::Touched(family) => {
                self.lists_mut().filter(|list| list.family() == family).for_each(PrefixList::recheck)
            }
            Event::CustomEnded(run) => self.end_custom(&run),
            Event::Reload(reload) => self.reload(*reload),
            Event::Died { service, why } => return Some(WriterEnd::Died { service, why }),
            Event::Stop { leaving } => {
                self.leaving |= leaving;
                // One last try; where services leave, more follow at their usual pace.
                self.customs.skip_backoff();
                return Some(WriterEnd::Stopped);
            }
        }
        None
    }

    /// A hint is worth a line in the log, as the original has it. What it is about is read with the next step.
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

    fn end_custom(&mut self, run: &CustomRun) {
        let outcome = self.customs.end(run, Instant::now());
        if run.busy {
            self.busy_until = self.busy_until.max(Some(Instant::now() + BUSY_PAUSE));
        }
        for reconfigurer in &mut self.reconfigurers {
            let mut is_concerned = false;
            for list in reconfigurer.lists_mut() {
                let family = list.family();
                for (_, revision) in outcome.taken.iter().filter(|(of, _)| *of == family) {
                    list.confirm_by_custom(revision);
                    is_concerned = true;
                }
                if outcome.left_to_families.contains(&list.family()) {
                    list.owe_revision();
                }
            }
            if is_concerned {
                reconfigurer.wake_after_custom();
            }
        }
    }

    /// Whether BIRD has to take a last change, and there is still time for that. A BIRD that is gone, as at the host's
    /// shutdown, has taken its routes along, and the next one reads the file.
    fn is_leaving(&self) -> bool {
        if !self.leaving || self.give_up.stop_requested() {
            return false;
        }
        let (mut open, mut gone) = (false, false);
        for reconfigurer in &self.reconfigurers {
            for list in reconfigurer.lists().iter().filter(|list| !self.is_in_sync(list)) {
                let waits_for_bird_alone = list.is_fit() && list.problem().is_none();
                if reconfigurer.is_gone() && waits_for_bird_alone {
                    gone = true;
                } else {
                    open = true;
                }
            }
        }
        if gone && !open {
            warn!("BIRD is gone, and the routes with it: nothing has to confirm that services left, as on_exit says");
        }
        open
    }

    /// Whether the file lists what it should and BIRD took it, from whoever had to tell it.
    fn is_in_sync(&self, list: &PrefixList) -> bool {
        list.is_in_sync() && !self.customs.owes(list.family())
    }

    /// Goes on with another configuration. What it changes goes out with the next step, in one write and one reconfigure;
    /// what BIRD took, what waits for it and what failed stays known, but for a transport that is another one.
    fn reload(&mut self, Reload { settings, checks }: Reload) {
        let verdicts = self.verdicts();
        let mut became_custom_only = Vec::new();
        for list in self.lists_mut() {
            if let Some(bird) = settings.daemon.bird(list.family()) {
                let before = list.is_custom_only();
                list.reload(bird, &settings.services, &verdicts);
                if list.is_custom_only() && !before {
                    became_custom_only.push(list.family());
                }
            }
        }
        self.reconfigurers =
            Reconfigurer::regroup(std::mem::take(&mut self.reconfigurers), &settings.daemon, &self.orphans);
        self.current = checks.iter().map(identity).collect();
        self.checks = checks;
        self.reload_customs(&settings);
        became_custom_only.into_iter().for_each(|family| self.customs.forget(family));
    }

    /// The services' own commands are these from now on, and the lists are what they were told of.
    fn reload_customs(&mut self, settings: &Settings) {
        let custom_only: HashSet<Family> =
            self.lists().filter(|list| list.is_custom_only()).map(PrefixList::family).collect();
        let is_told = |service: &Service| !service.prefixes.iter().any(|prefix| custom_only.contains(&prefix.family()));
        let left = self.customs.reload(&settings.services, is_told);
        self.lists_mut().filter(|list| left.contains(&list.family())).for_each(PrefixList::owe_revision);
        self.update_customs();
    }

    fn update_customs(&mut self) {
        let owed = self.lists().filter(|list| !list.is_in_sync()).map(PrefixList::family).collect();
        let lists: Vec<Arc<[Prefix]>> = self.lists().map(|list| list.list().clone()).collect();
        self.customs.update(lists.iter(), &owed);
    }

    /// Does everything that can be done now.
    fn step(&mut self) {
        let now = Instant::now();
        let limits: Duration = self.reconfigurers.iter().map(Reconfigurer::max_duration).sum();
        let due = now + limits + DISK_ALLOWANCE;
        self.state.lock().due = Some(due);
        if !std::mem::replace(&mut self.started, true) {
            self.reconfigurers.iter_mut().for_each(|reconfigurer| reconfigurer.recover_lost(&self.give_up));
            self.update_customs();
        }
        self.write(now);
        // A command may take its time, and the file is ahead of BIRD meanwhile.
        self.publish(Some(due));
        self.tell();
        self.lists_mut().for_each(PrefixList::sync_directory);
        self.publish(None);
        self.state.lock().ready = true;
    }

    /// Brings the files in line with the states of the checks.
    fn write(&mut self, now: Instant) {
        let verdicts = self.verdicts();
        let mut foreign = Vec::new();
        for list in self.lists_mut() {
            list.update(&verdicts, now);
            if list.is_due(now) && list.converge(&verdicts, now).foreign {
                foreign.push(list.family());
            }
        }
        foreign.into_iter().for_each(|family| self.customs.forget(family));
        self.update_customs();
    }

    /// Brings BIRD in line with the files, as far as it may be told now.
    fn tell(&mut self) {
        let (mut busy, held) = (self.busy(), self.held_families());
        for reconfigurer in self.reconfigurers.iter_mut().filter(|reconfigurer| !reconfigurer.reads_any(&held)) {
            let now = Instant::now();
            if reconfigurer.next_wakeup(busy, now).is_some_and(|at| at <= now) {
                busy.until = busy.until.max(reconfigurer.advance(&self.give_up));
            }
        }
        self.busy_until = busy.until;
        self.update_customs();
        let now = Instant::now();
        if self.customs_wakeup(now).is_some_and(|at| at <= now) && self.may_start_custom() {
            let fit = self.lists().filter(|list| list.is_fit());
            let revisions: Vec<(Family, Revision)> = fit.map(|list| (list.family(), list.revision())).collect();
            let blocked = self.blocked_families();
            self.customs.start_due(&blocked, now, &revisions);
        }
    }

    /// Before a custom command BIRD is asked whether it is busy, where it can be asked: over a socket it says that of
    /// everybody's reconfigurations. What a command said of a busy BIRD counts unless all say that they are idle, as the
    /// custom command may be for the one that does not.
    fn may_start_custom(&mut self) -> bool {
        if self.lists_mut().any(PrefixList::recheck_if_touched) {
            return false;
        }
        let answers: Vec<Option<bool>> =
            self.reconfigurers.iter().map(|reconfigurer| reconfigurer.is_busy(&self.give_up)).collect();
        if answers.contains(&Some(true)) {
            self.customs_wait = Some(Instant::now() + BUSY_RETRY);
            return false;
        }
        if answers.iter().all(|answer| *answer == Some(false)) {
            self.busy_until = None;
        }
        self.customs_wait = self.busy_until.filter(|until| *until > Instant::now());
        self.customs_wait.is_none()
    }

    fn busy(&self) -> Busy {
        Busy { custom_runs: self.customs.is_running(), until: self.busy_until }
    }

    /// When the next step is due, if nothing happens.
    fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let lists = self.lists().filter_map(|list| list.next_wakeup(now)).min();
        let (busy, held) = (self.busy(), self.held_families());
        let free = self.reconfigurers.iter().filter(|reconfigurer| !reconfigurer.reads_any(&held));
        let reconfigurers = free.filter_map(|reconfigurer| reconfigurer.next_wakeup(busy, now)).min();
        earlier(earlier(lists, reconfigurers), self.customs_wakeup(now))
    }

    /// When the next custom command may be started: like a reconfigure, it makes BIRD read the files.
    fn customs_wakeup(&self, now: Instant) -> Option<Instant> {
        if self.lists().any(PrefixList::is_touched) {
            return None;
        }
        let at = self.customs.next_wakeup(&self.blocked_families(), now)?;
        let can_ask = self.reconfigurers.iter().all(Reconfigurer::can_ask);
        let busy_until = self.busy_until.filter(|_| !can_ask);
        [Some(at), busy_until, self.customs_wait].into_iter().flatten().max()
    }

    /// The families of which BIRD must not be told: a list that is held holds up all that the same BIRD may read. Only
    /// sockets tell one BIRD from another.
    fn held_families(&self) -> HashSet<Family> {
        let is_held = |reconfigurer: &&Reconfigurer| reconfigurer.lists().iter().any(PrefixList::is_held);
        let held = self.reconfigurers.iter().filter(is_held).flat_map(Reconfigurer::lists);
        let held: HashSet<Family> = held.map(PrefixList::family).collect();
        let may_be_one = !self.reconfigurers.iter().all(Reconfigurer::can_ask);
        if may_be_one && !held.is_empty() {
            return self.lists().map(PrefixList::family).collect();
        }
        held
    }

    /// The families whose services' custom commands wait: those that are held, and those whose file is not as it should
    /// be. The other family's need not wait for that.
    fn blocked_families(&self) -> HashSet<Family> {
        let unfit = self.lists().filter(|list| !list.is_fit()).map(PrefixList::family);
        self.held_families().into_iter().chain(unfit).collect()
    }

    /// The last step: nothing is gathered, and no retry waited for.
    fn skip_backoff(&mut self) {
        self.reconfigurers.iter_mut().for_each(Reconfigurer::skip_backoff);
    }

    /// What is known of each service now.
    fn verdicts(&self) -> Vec<Verdict> {
        self.checks.iter().map(|check| check.state().verdict()).collect()
    }

    fn lists(&self) -> impl Iterator<Item = &PrefixList> {
        self.reconfigurers.iter().flat_map(Reconfigurer::lists)
    }

    fn lists_mut(&mut self) -> impl Iterator<Item = &mut PrefixList> {
        self.reconfigurers.iter_mut().flat_map(Reconfigurer::lists_mut)
    }

    /// What is known now; the step has to be over by `due`, where it is not.
    fn publish(&self, due: Option<Instant>) {
        let mut families: Vec<FamilyState> = self
            .reconfigurers
            .iter()
            .flat_map(|reconfigurer| reconfigurer.lists().iter().map(move |list| self.family_state(list, reconfigurer)))
            .collect();
        families.sort_by_key(|found| found.family);
        let mut state = self.state.lock();
        let now = Instant::now();
        for found in families.iter_mut().filter(|found| !found.in_sync) {
            let before = state.families.iter().find(|before| before.family == found.family);
            found.out_of_sync_since = before.and_then(|before| before.out_of_sync_since).or(Some(now));
        }
        state.families = families;
        state.due = due;
    }

    fn family_state(&self, list: &PrefixList, reconfigurer: &Reconfigurer) -> FamilyState {
        let (family, in_sync) = (list.family(), self.is_in_sync(list));
        // What hinders the other family, with which it shares the command, is none of its own.
        let problem = list.problem().or(reconfigurer.problem()).map(String::from);
        FamilyState {
            family,
            wanted: list.wanted(),
            in_file: list.in_file(),
            in_bird: list.in_bird(),
            unmanaged: list.unmanaged(),
            in_sync,
            out_of_sync_since: None,
            problem: problem.or_else(|| self.customs.problem(family)).filter(|_| !in_sync),
            hold: self.hold_of(list, reconfigurer),
            asks_bird: reconfigurer.can_ask(),
            counts: reconfigurer.counts() + self.customs.counts(family),
        }
    }

    /// What keeps BIRD from being told of the list: its own hold, or that of another list which BIRD would read with it.
    fn hold_of(&self, list: &PrefixList, reconfigurer: &Reconfigurer) -> Option<Hold> {
        let by_family = reconfigurer.lists().iter().filter(|_| list.is_owed());
        let by_custom = self.lists().filter(|_| self.customs.owes(list.family()));
        list.hold().or_else(|| by_family.chain(by_custom).find_map(PrefixList::hold))
    }
}

/// What tells one check from another of the same name.
fn identity(check: &Arc<Check>) -> usize {
    Arc::as_ptr(check) as usize
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

/// How long the slowest service of the family needs for its first verdict where it is healthy, from now on: until its
/// thread runs, for its place among all that start, and for its runs; [`MAX_HOLD`] at most.
fn first_verdict(settings: &Settings, family: Family) -> Duration {
    let Settings { daemon, services, .. } = settings;
    let offsets = schedule::start_offset(services.len(), processors());
    let begins = START_ALLOWANCE.saturating_add(offsets).saturating_add(daemon.splay_startup);
    let of_family = services.iter().filter(|service| service.prefixes.iter().any(|prefix| prefix.family() == family));
    let needs = of_family.map(|service| schedule::first_verdict(service)).max().unwrap_or_default();
    begins.saturating_add(needs).min(MAX_HOLD)
}

#[cfg(test)]
mod telling_tests;
#[cfg(test)]
mod tests;
