//! Tells one BIRD of the lists that it reads, by one transport: a reconfigure command or a control socket.
//!
//! ```text
//!   command   run it ------------------------------------------------> taken, or tried again
//!   socket    ask --holds the lists--> left alone until the next minute
//!              | ^                       |
//!              | +-- each minute --------+
//!              +--does not--> configure --taken--> ask --holds--> taken
//!                     ^          |                  |
//!                   a change     +------------------+--> tried again
//! ```
//!
//! Promises: where both families have the same transport, one reconfigure tells both; one that BIRD did not take is
//! tried again, ever later, and at once when a file changed; over a socket a list is in BIRD when BIRD says so, each
//! minute anew, also while the file of the other family cannot be written; BIRD 2.0 is spoken to once more after a
//! change, as it may keep the last of its announcements for 3 s otherwise; the log says once what is wrong and once that
//! it is over.
//! Leaves out: when it is this thread's turn (`bird::writer`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, error, info, warn};

use crate::bird::backoff::{Backoff, COALESCE_WINDOW};
use crate::bird::prefix_list::PrefixList;
use crate::bird::protocol::outcome::{Outcome, ReconfigureResult, Version, BUSY_PAUSE};
use crate::bird::protocol::query::{Difference, Query};
use crate::bird::revision::Revision;
use crate::bird::state::Counts;
use crate::bird::transport::{Address, Attempt, Transport};
use crate::config::settings::Daemon;
use crate::prefix::Family;
use crate::sys::orphans::Orphans;
use crate::sys::stop_token::StopToken;

/// How often BIRD is asked whether it still holds the lists: somebody may have started it with others.
const VERIFY_INTERVAL: Duration = Duration::from_secs(60);
/// BIRD 2.0 walks so many routes of its table at a time, and sends what the last of several such steps found only when
/// something wakes it, or after 3 s. Over a socket the end of our own connection has woken it where our prefixes are fewer.
const STEP: usize = 256;

/// Tells one BIRD of the lists that it reads.
pub struct Reconfigurer {
    lists: Vec<PrefixList>,
    transport: Transport,
    counts: Counts,
    backoff: Backoff,
    problem: Option<String>,
    presence: Presence,
    /// What the last run told, so that a new revision need not wait for the next retry.
    tried: Vec<(Family, u64)>,
    /// When BIRD is asked again, or woken.
    ask_at: Option<Instant>,
    /// Who answered last.
    version: Option<Version>,
}

/// Whether a BIRD runs there.
#[derive(Clone, Copy, Debug, Default)]
struct Presence {
    /// It was there once.
    was_there: bool,
    /// How often in a row none was there.
    gone: u32,
}

/// What keeps everybody from telling BIRD: at most one reconfiguration is under way at a time, whoever sent it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Busy {
    /// A custom command runs.
    pub custom_runs: bool,
    /// Until when BIRD may be busy with the last reconfigure. Over a socket BIRD says itself when it is not.
    pub until: Option<Instant>,
}

impl Reconfigurer {
    /// For these lists, which BIRD reads by the same transport.
    pub fn new(lists: Vec<PrefixList>, address: Address, orphans: Arc<Orphans>) -> Reconfigurer {
        Reconfigurer {
            lists,
            transport: Transport::new(address, orphans),
            counts: Counts::default(),
            backoff: Backoff::default(),
            problem: None,
            presence: Presence::default(),
            tried: Vec::new(),
            ask_at: None,
            version: None,
        }
    }

    /// One for each transport of these lists.
    pub fn group(lists: Vec<PrefixList>, orphans: &Arc<Orphans>) -> Vec<Reconfigurer> {
        let mut reconfigurers: Vec<Reconfigurer> = Vec::new();
        for list in lists {
            let address = Address::of(list.bird());
            match reconfigurers.iter_mut().find(|found| *found.transport.address() == address) {
                Some(found) => found.lists.push(list),
                None => reconfigurers.push(Reconfigurer::new(vec![list], address, orphans.clone())),
            }
        }
        reconfigurers
    }

    /// After a reload: each list goes to the transport that is configured for it now. A transport that goes on does so with
    /// all that it knows. For a list that comes to another one nothing is confirmed: what BIRD took by the old transport
    /// says nothing of the BIRD at the new one.
    pub fn regroup(old: Vec<Reconfigurer>, daemon: &Daemon, orphans: &Arc<Orphans>) -> Vec<Reconfigurer> {
        let (mut before, mut lists) = (Vec::new(), Vec::new());
        for mut reconfigurer in old {
            let counts = reconfigurer.counts;
            for mut list in reconfigurer.lists.drain(..) {
                let address = daemon.bird(list.family()).map(Address::of);
                if address.as_ref() != Some(reconfigurer.transport.address()) {
                    list.unconfirm(Vec::new());
                }
                lists.push((list, counts));
            }
            before.push(reconfigurer);
        }
        lists.sort_by_key(|(list, _)| list.family());
        let mut after: Vec<Reconfigurer> = Vec::new();
        for (list, counts) in lists {
            let Some(address) = daemon.bird(list.family()).map(Address::of) else { continue };
            if let Some(found) = after.iter_mut().find(|found| *found.transport.address() == address) {
                found.lists.push(list);
                continue;
            }
            let same = before.iter().position(|old| *old.transport.address() == address);
            let mut reconfigurer = match same {
                Some(at) => before.swap_remove(at),
                None => Reconfigurer { counts, ..Reconfigurer::new(Vec::new(), address, orphans.clone()) },
            };
            reconfigurer.lists.push(list);
            after.push(reconfigurer);
        }
        after
    }

    /// The lists that BIRD reads.
    pub fn lists(&self) -> &[PrefixList] {
        &self.lists
    }

    /// The same, for their steps.
    pub fn lists_mut(&mut self) -> &mut [PrefixList] {
        &mut self.lists
    }

    /// What came of all runs so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How long one turn takes at most.
    pub fn max_duration(&self) -> Duration {
        self.transport.max_duration()
    }

    /// Why BIRD did not take the last run.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Whether BIRD was there and was not at the last two tries: then no route is left that it could withdraw. Where it
    /// never was there, it may as well run and be looked for in the wrong place.
    pub fn is_gone(&self) -> bool {
        self.presence.was_there && self.presence.gone >= 2
    }

    /// Whether BIRD can be asked what it holds, and whether it is busy.
    pub fn can_ask(&self) -> bool {
        self.transport.can_ask()
    }

    /// Asks BIRD for lists that were lost: what it holds of them is the truth. To be called before their first step.
    pub fn recover_lost(&mut self, give_up: &StopToken) {
        for list in &mut self.lists {
            let Some(query) = list.lost() else { continue };
            let held = match self.transport.ask(&[query], give_up) {
                Some(Ok((holdings, _))) => holdings.into_iter().next().map(|holding| holding.list),
                Some(Err(_)) | None => None,
            };
            list.recover(held);
        }
    }

    /// Whether BIRD says that it is busy with a reconfiguration; nothing where it cannot be asked.
    pub fn is_busy(&self, give_up: &StopToken) -> Option<bool> {
        self.transport.is_busy(give_up)
    }

    /// Whether BIRD reads a list of these families by it.
    pub fn reads_any(&self, families: &HashSet<Family>) -> bool {
        self.lists.iter().any(|list| families.contains(&list.family()))
    }

    /// When BIRD is to be told or asked, if it is.
    pub fn next_wakeup(&self, busy: Busy, now: Instant) -> Option<Instant> {
        if busy.custom_runs {
            // The end of the command is the next occasion.
            return None;
        }
        if self.lists.iter().any(PrefixList::is_touched) {
            // BIRD would read what somebody else wrote. The list's next step is the next occasion.
            return None;
        }
        let busy_until = busy.until.filter(|_| !self.transport.can_ask());
        let at = if self.is_owed() {
            let has_news = !self.tells_what_was_tried();
            let paced = if has_news { self.backoff.earliest_after_change() } else { self.backoff.earliest() };
            paced.unwrap_or(now)
        } else {
            self.ask_at?
        };
        Some(busy_until.map_or(at, |busy| at.max(busy)))
    }

    fn is_owed(&self) -> bool {
        self.lists.iter().any(PrefixList::is_owed)
    }

    fn tells_what_was_tried(&self) -> bool {
        self.revisions().map(|(family, revision)| (family, revision.number)).eq(self.tried.iter().copied())
    }

    /// Tells BIRD once, where it does not say that it knows. Returns until when it may be busy with it.
    pub fn advance(&mut self, give_up: &StopToken) -> Option<Instant> {
        if self.lists.iter_mut().any(PrefixList::recheck_if_touched) {
            return None;
        }
        self.ask_at = None;
        if !self.is_owed() && !self.transport.can_ask() {
            // It has taken the list: whether this works changes nothing of that. A file that is wrong and cannot be put
            // right is none to be read for it.
            if !self.lists.iter().all(PrefixList::is_fit) {
                return None;
            }
            debug!("waking BIRD {}", self.transport.address());
            return self.run(give_up).requires_pause().then(|| Instant::now() + BUSY_PAUSE);
        }
        let told: Vec<(Family, Revision)> = self.revisions().collect();
        let first = self.tried.is_empty();
        // A change of ours is one that BIRD cannot know; in all other cases it may have the right list already.
        let changed = !self.tells_what_was_tried();
        self.tried = told.iter().map(|(family, revision)| (*family, revision.number)).collect();
        if (first || !changed || self.problem.is_some()) && self.is_settled_by_asking(first, &told, give_up) {
            return None;
        }
        match self.problem {
            None => info!("reconfiguring BIRD {}", self.transport.address()),
            Some(_) => debug!("reconfiguring BIRD {} again", self.transport.address()),
        }
        let reply = self.run(give_up);
        self.meet(reply.version);
        self.conclude(&reply, &told, give_up);
        if changed && self.problem.is_none() {
            self.wake_later();
        }
        reply.requires_pause().then(|| Instant::now() + BUSY_PAUSE)
    }

    /// Asks BIRD first. True where nothing has to be told by that: BIRD holds the lists, or does not answer.
    fn is_settled_by_asking(&mut self, first: bool, told: &[(Family, Revision)], give_up: &StopToken) -> bool {
        match self.ask(told, give_up) {
            Asked::Cannot => return false,
            Asked::Holds => {
                self.backoff = Backoff::default();
                if first || self.problem.take().is_some() {
                    info!("BIRD holds the list already, it is not reconfigured");
                }
                return true;
            }
            Asked::Differs(why) if self.problem.is_some() => debug!("{why}"),
            Asked::Differs(why) if first => info!("{why}"),
            Asked::Differs(why) => warn!("{why}"),
            Asked::Failed(outcome) => {
                self.count_gone(&outcome);
                self.fail(outcome.to_string(), Level::Error);
                return true;
            }
        }
        false
    }

    /// BIRD 2.0 may keep the last of its announcements for 3 s. It needs a few milliseconds to walk its table; a change
    /// that comes meanwhile wakes it as well.
    fn wake_later(&mut self) {
        let routes: usize = self.lists.iter().map(PrefixList::size).sum();
        let may_sleep = self.version.is_none_or(|version| version.needs_second_reconfigure());
        if may_sleep && (!self.transport.can_ask() || routes >= STEP) {
            self.ask_at = Some(Instant::now() + COALESCE_WINDOW);
        }
    }

    /// A custom command made BIRD read the lists, which may have to be woken for them.
    pub fn wake_after_custom(&mut self) {
        if self.transport.can_ask() || self.lists.iter().all(|list| list.bird().reconfigure_cmd_is_set) {
            self.wake_later();
        }
    }

    fn run(&mut self, give_up: &StopToken) -> ReconfigureResult {
        let Attempt { reply, left, .. } = self.transport.reconfigure(give_up);
        if let Some(left) = left {
            warn!("{left}. It was started {}, and is reaped when it ends", self.transport.address());
        }
        reply
    }

    /// BIRD has answered to a reconfigure, or not. What it took it has to hold, where it can be asked.
    fn conclude(&mut self, reply: &ReconfigureResult, told: &[(Family, Revision)], give_up: &StopToken) {
        let said = reply.outcome.to_string();
        self.count_gone(&reply.outcome);
        if !reply.outcome.is_accepted() {
            match reply.outcome {
                Outcome::NotRunning { .. } | Outcome::Unreachable { .. } => self.version = None,
                // Where nobody says which version it is, an empty list is the first thing to suspect.
                Outcome::Refused { .. } if reply.version.is_none() => {
                    for (family, _) in told.iter().filter(|(_, revision)| revision.list.is_empty()) {
                        self.list_of(*family, |list| list.set_empty_lists_are_read(false));
                    }
                }
                _ => {}
            }
            let level = if reply.outcome == Outcome::Queued { Level::Warning } else { Level::Error };
            return self.fail(said, level);
        }
        match self.ask(told, give_up) {
            Asked::Cannot => told.iter().for_each(|(family, told)| self.list_of(*family, |list| list.confirm(told))),
            Asked::Holds => {}
            Asked::Differs(why) => {
                let why = format!("BIRD read its configuration, but not the list with it: {why}");
                return self.fail(why, Level::Error);
            }
            Asked::Failed(outcome) => return self.fail(outcome.to_string(), Level::Error),
        }
        info!("{said}");
        self.counts.count_taken(SystemTime::now());
        self.problem = None;
        self.backoff.succeeded(Instant::now());
    }

    /// Asks BIRD whether it holds what it was told, and has the lists know.
    fn ask(&mut self, told: &[(Family, Revision)], give_up: &StopToken) -> Asked {
        let queries: Vec<Query> = self.fit_lists().map(PrefixList::query).collect();
        let (holdings, version) = match self.transport.ask(&queries, give_up) {
            None => return Asked::Cannot,
            Some(Ok(asked)) => asked,
            Some(Err(error)) => {
                told.iter().for_each(|(family, _)| self.list_of(*family, |list| list.unconfirm(Vec::new())));
                self.version = None;
                return Asked::Failed(error.outcome());
            }
        };
        self.presence.was_there = true;
        self.ask_at = Some(Instant::now() + VERIFY_INTERVAL);
        self.meet(version);
        let mut difference = None;
        for ((family, told), holding) in told.iter().zip(holdings) {
            match holding.difference {
                None => self.list_of(*family, |list| list.confirm(told)),
                Some(found) => {
                    self.list_of(*family, |list| list.unconfirm(holding.list.clone()));
                    let sentence = self.sentence(&found, *family);
                    difference = difference.or(Some(sentence));
                }
            }
        }
        match difference {
            Some(why) => Asked::Differs(why),
            None => {
                self.counts.last_success = Some(SystemTime::now());
                Asked::Holds
            }
        }
    }

    /// Where BIRD does not know the constant, it does not read the file at all.
    fn sentence(&self, difference: &Difference, family: Family) -> String {
        match (difference, self.lists.iter().find(|list| list.family() == family)) {
            (Difference::Unknown { .. }, Some(list)) => {
                format!("{difference}; does bird.conf include {}?", list.path().display())
            }
            _ => difference.to_string(),
        }
    }

    /// Takes in who answered.
    fn meet(&mut self, version: Option<Version>) {
        let Some(version) = version else { return };
        if self.version.replace(version) != Some(version) {
            info!("BIRD {version} was reached {}", self.transport.address());
            if version.major >= 3 && !self.transport.can_ask() {
                warn!(
                    "BIRD {version} aborts when a reconfigure comes while another one is under way, also one that an \
                     operator sent, which no command can tell: set bird_control_socket, over which BIRD is asked first"
                );
            }
        }
        self.lists.iter_mut().for_each(|list| list.set_empty_lists_are_read(version.reads_empty_lists()));
    }

    fn count_gone(&mut self, outcome: &Outcome) {
        let gone = matches!(outcome, Outcome::NotRunning { .. });
        self.presence.gone = if gone { self.presence.gone.saturating_add(1) } else { 0 };
        self.presence.was_there |= outcome.is_accepted();
    }

    /// It is tried again, and said once.
    fn fail(&mut self, said: String, level: Level) {
        self.counts.failed += 1;
        self.backoff.failed(Instant::now());
        match level {
            _ if self.problem.as_ref() == Some(&said) => debug!("{said}"),
            Level::Warning => warn!("{said}"),
            Level::Error => error!("{said}"),
        }
        self.problem = Some(said);
    }

    /// The last chance, see [`Backoff::skip`].
    pub fn skip_backoff(&mut self) {
        self.backoff.skip();
        self.lists.iter_mut().for_each(PrefixList::skip_backoff);
    }

    /// The lists of which BIRD may be told: those whose file is as it should be.
    fn fit_lists(&self) -> impl Iterator<Item = &PrefixList> {
        self.lists.iter().filter(|list| list.is_fit())
    }

    /// What a run that starts now tells.
    fn revisions(&self) -> impl Iterator<Item = (Family, Revision)> + '_ {
        self.fit_lists().map(|list| (list.family(), list.revision()))
    }

    fn list_of(&mut self, family: Family, act: impl FnMut(&mut PrefixList)) {
        self.lists.iter_mut().filter(|list| list.family() == family).for_each(act);
    }
}

/// What came of a query.
enum Asked {
    /// The way is none that answers.
    Cannot,
    /// BIRD holds all lists.
    Holds,
    /// It does not, for this reason.
    Differs(String),
    /// There was no answer, for this reason.
    Failed(Outcome),
}

enum Level {
    Warning,
    Error,
}

#[cfg(test)]
mod tests;
