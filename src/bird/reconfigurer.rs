//! Makes one BIRD read the prefix lists, over one transport: a reconfigure command or a control
//! socket.
//!
//! ```text
//!   command   run it ------------------------------------------------> accepted, or retried
//!   socket    query --BIRD holds the lists--> left alone for a minute
//!              | ^                              |
//!              | +-- each minute ---------------+
//!              +--it does not--> configure --accepted--> query --holds them--> accepted
//!                     ^              |                     |
//!                  a change          +---------------------+--> retried
//! ```
//!
//! Guarantees: if both families have the same transport, one reconfigure serves both. A reconfigure
//! that BIRD did not accept is retried with a growing delay, and at once when a file changes. Over
//! a socket a list counts as in BIRD only if BIRD says so, which is verified each minute, even
//! while the file of the other family cannot be written. After a change BIRD 2.0 is contacted once
//! more, because it may otherwise delay its last announcements for 3 s. A problem is logged once
//! when it begins and once when it is over.
//!
//! Blocking: on the command or the socket, within the limits of `bird::transport`.
//!
//! Shutdown: the stop token given to each call cancels it.
//!
//! Out of scope: when a reconfigure may be sent (`bird::writer`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, error, info, warn};

use self::presence::Presence;
pub use self::set::ReconfigurerSet;
use self::verification::Verification;
use crate::bird::backoff::{Backoff, COALESCE_WINDOW};
use crate::bird::prefix_list::PrefixList;
use crate::bird::protocol::outcome::{Outcome, ReconfigureResult, Version, BUSY_PAUSE};
use crate::bird::revision::Revision;
use crate::bird::state::Counts;
use crate::bird::transport::{Address, Attempt, Transport};
use crate::prefix::Family;
use crate::sys::log_once::LogOnce;
use crate::sys::orphans::Orphans;
use crate::sys::stop_token::StopToken;

mod presence;
mod set;
mod verification;

/// How often BIRD is queried for the lists, as it may have been restarted with others.
const VERIFY_INTERVAL: Duration = Duration::from_secs(60);
/// How many routes BIRD 2.0 walks in one step. If it needs several steps, it sends the result of
/// the last one only when it is woken, or after 3 s. With fewer routes the end of our own socket
/// connection has already woken it.
const ROUTES_PER_STEP: usize = 256;

/// Makes one BIRD read its prefix lists.
pub struct Reconfigurer {
    lists: Vec<PrefixList>,
    transport: Transport,
    counts: Counts,
    backoff: Backoff,
    problem: LogOnce,
    presence: Presence,
    /// The revisions of the last attempt, so that a new revision does not wait for the next retry.
    attempted: Vec<(Family, u64)>,
    /// When BIRD is queried or woken, if it is owed no revision.
    recheck_at: Option<Instant>,
    /// The version of the BIRD that answered last.
    version: Option<Version>,
}

/// What prevents a reconfigure: one may be in progress already, and only one may be at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Busy {
    /// A custom command is running.
    pub custom_runs: bool,
    /// Until when BIRD may be busy with the last reconfigure. Ignored over a socket, where BIRD
    /// reports it itself.
    pub until: Option<Instant>,
}

impl Reconfigurer {
    /// Creates the reconfigurer of these lists, which BIRD reads by the same transport.
    pub fn new(lists: Vec<PrefixList>, address: Address, orphans: Arc<Orphans>) -> Reconfigurer {
        Reconfigurer {
            lists,
            transport: Transport::new(address, orphans),
            counts: Counts::default(),
            backoff: Backoff::default(),
            problem: LogOnce::new(),
            presence: Presence::default(),
            attempted: Vec::new(),
            recheck_at: None,
            version: None,
        }
    }

    /// The lists that BIRD reads.
    pub fn lists(&self) -> &[PrefixList] {
        &self.lists
    }

    /// The lists, for their steps.
    pub fn lists_mut(&mut self) -> &mut [PrefixList] {
        &mut self.lists
    }

    /// Counts of all attempts.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Maximum duration of one attempt.
    pub fn max_duration(&self) -> Duration {
        self.transport.max_duration()
    }

    /// Why the last attempt failed. None if it succeeded.
    pub fn problem(&self) -> Option<&str> {
        self.problem.problem()
    }

    /// Whether BIRD was running and no longer is, so that no route of it is left to withdraw.
    pub fn is_gone(&self) -> bool {
        self.presence.is_gone()
    }

    /// Whether BIRD can be queried for its list and for whether it is busy.
    pub fn can_query(&self) -> bool {
        self.transport.can_query()
    }

    /// Queries BIRD for lists that were lost. Must be called before their first step.
    pub fn recover_lost(&mut self, give_up: &StopToken) {
        for list in &mut self.lists {
            let Some(query) = list.lost_query() else { continue };
            let held = match self.transport.query(&[query], give_up) {
                Some(Ok((results, _))) => results.into_iter().next().map(|result| result.list),
                Some(Err(_)) | None => None,
            };
            list.recover(held);
        }
    }

    /// Whether BIRD says that it is busy with a reconfiguration. None if it cannot be queried.
    pub fn is_busy(&self, give_up: &StopToken) -> Option<bool> {
        self.transport.is_busy(give_up)
    }

    /// Whether one of the lists belongs to one of these families.
    pub fn reads_any(&self, families: &HashSet<Family>) -> bool {
        self.lists.iter().any(|list| families.contains(&list.family()))
    }

    /// When BIRD must be notified or queried. None if there is nothing to do.
    pub fn next_wakeup(&self, busy: Busy, now: Instant) -> Option<Instant> {
        if busy.custom_runs {
            // The end of the command causes the next step.
            return None;
        }
        if self.lists.iter().any(PrefixList::is_touched) {
            // BIRD would read a foreign change. The list's own step comes first.
            return None;
        }
        let busy_until = busy.until.filter(|_| !self.can_query());
        let at = if self.is_owed() {
            let earliest = if self.is_retry() { self.backoff.earliest() } else { self.backoff.earliest_after_change() };
            earliest.unwrap_or(now)
        } else {
            self.recheck_at?
        };
        Some(busy_until.map_or(at, |busy| at.max(busy)))
    }

    fn is_owed(&self) -> bool {
        self.lists.iter().any(PrefixList::is_owed)
    }

    /// Whether an attempt now would send the same revisions as the last one.
    fn is_retry(&self) -> bool {
        self.revisions().map(|(family, revision)| (family, revision.number)).eq(self.attempted.iter().copied())
    }

    /// Makes one attempt, unless BIRD says that it holds the lists. Returns until when BIRD may be
    /// busy with it.
    pub fn advance(&mut self, give_up: &StopToken) -> Option<Instant> {
        if self.lists.iter_mut().any(PrefixList::recheck_if_touched) {
            return None;
        }
        self.recheck_at = None;
        if !self.is_owed() && !self.can_query() {
            return self.wake(give_up);
        }
        let revisions: Vec<(Family, Revision)> = self.revisions().collect();
        let first = self.attempted.is_empty();
        let changed = !self.is_retry();
        self.attempted = revisions.iter().map(|(family, revision)| (*family, revision.number)).collect();
        // After a change of ours BIRD cannot hold the list yet. In all other cases it may.
        if (first || !changed || self.problem().is_some()) && self.is_settled_by_query(first, &revisions, give_up) {
            return None;
        }
        match self.problem() {
            None => info!("reconfiguring BIRD {}", self.transport.address()),
            Some(_) => debug!("reconfiguring BIRD {} again", self.transport.address()),
        }
        let result = self.run(give_up);
        self.set_version(result.version);
        self.apply(&result, &revisions, give_up);
        if changed && self.problem().is_none() {
            self.schedule_wake();
        }
        result.requires_pause().then(|| Instant::now() + BUSY_PAUSE)
    }

    /// Wakes a BIRD that has already accepted the lists. The result does not matter. Does nothing
    /// while a file is not valid, because BIRD would read it.
    fn wake(&mut self, give_up: &StopToken) -> Option<Instant> {
        if !self.lists.iter().all(PrefixList::is_valid) {
            return None;
        }
        debug!("waking BIRD {}", self.transport.address());
        self.run(give_up).requires_pause().then(|| Instant::now() + BUSY_PAUSE)
    }

    /// Queries BIRD before an attempt. Returns whether the attempt is unnecessary: BIRD holds the
    /// lists, or did not answer.
    fn is_settled_by_query(&mut self, first: bool, revisions: &[(Family, Revision)], give_up: &StopToken) -> bool {
        match self.verify(revisions, give_up) {
            Verification::Unsupported => return false,
            Verification::InSync => {
                self.backoff = Backoff::default();
                if first || self.problem.clear() {
                    info!("BIRD holds the list already, it is not reconfigured");
                }
                return true;
            }
            Verification::Differs(why) if self.problem().is_some() => debug!("{why}"),
            Verification::Differs(why) if first => info!("{why}"),
            Verification::Differs(why) => warn!("{why}"),
            Verification::Failed(outcome) => {
                self.presence.record(&outcome);
                self.fail(&outcome.to_string(), Level::Error);
                return true;
            }
        }
        false
    }

    /// Schedules one more contact after a change, for a BIRD that may delay its last announcements.
    /// BIRD needs a few milliseconds to walk its table; a change in between wakes it too.
    fn schedule_wake(&mut self) {
        let routes: usize = self.lists.iter().map(PrefixList::size).sum();
        let may_sleep = self.version.is_none_or(|version| version.needs_second_reconfigure());
        if may_sleep && (!self.can_query() || routes >= ROUTES_PER_STEP) {
            self.recheck_at = Some(Instant::now() + COALESCE_WINDOW);
        }
    }

    /// Schedules that contact after a custom command, if the transport is configured.
    pub fn wake_after_custom(&mut self) {
        if self.can_query() || self.lists.iter().all(|list| list.bird().reconfigure_cmd_is_set) {
            self.schedule_wake();
        }
    }

    fn run(&mut self, give_up: &StopToken) -> ReconfigureResult {
        let Attempt { result, orphan } = self.transport.reconfigure(give_up);
        if let Some(orphan) = orphan {
            warn!("{orphan}. It was started {}, and is reaped when it ends", self.transport.address());
        }
        result
    }

    /// Applies the result of a reconfigure. A result that claims success is verified if BIRD can be
    /// queried.
    fn apply(&mut self, result: &ReconfigureResult, revisions: &[(Family, Revision)], give_up: &StopToken) {
        let message = result.outcome.to_string();
        self.presence.record(&result.outcome);
        if !result.outcome.is_accepted() {
            match result.outcome {
                Outcome::NotRunning { .. } | Outcome::Unreachable { .. } => self.version = None,
                // A BIRD of unknown version may reject empty lists.
                Outcome::Refused { .. } if result.version.is_none() => {
                    for (family, _) in revisions.iter().filter(|(_, revision)| revision.list.is_empty()) {
                        self.for_list(*family, |list| list.set_empty_lists_are_read(false));
                    }
                }
                _ => {}
            }
            let level = if result.outcome == Outcome::Queued { Level::Warning } else { Level::Error };
            return self.fail(&message, level);
        }
        match self.verify(revisions, give_up) {
            Verification::Unsupported => {
                revisions.iter().for_each(|(family, revision)| self.for_list(*family, |list| list.confirm(revision)));
            }
            Verification::InSync => {}
            Verification::Differs(why) => {
                let why = format!("BIRD read its configuration, but not the list with it: {why}");
                return self.fail(&why, Level::Error);
            }
            Verification::Failed(outcome) => return self.fail(&outcome.to_string(), Level::Error),
        }
        info!("{message}");
        self.counts.count_taken(SystemTime::now());
        self.problem.clear();
        self.backoff.succeeded(Instant::now());
    }

    /// Records BIRD's version, and what it requires.
    fn set_version(&mut self, version: Option<Version>) {
        let Some(version) = version else { return };
        if self.version.replace(version) != Some(version) {
            info!("BIRD {version} was reached {}", self.transport.address());
            if version.major >= 3 && !self.can_query() {
                warn!(
                    "BIRD {version} aborts when a reconfigure comes while another one is under way, also one that an \
                     operator sent, which no command can tell: set bird_control_socket, over which BIRD is asked first"
                );
            }
        }
        self.lists.iter_mut().for_each(|list| list.set_empty_lists_are_read(version.reads_empty_lists()));
    }

    /// Records a failure, which is retried and logged once.
    fn fail(&mut self, why: &str, level: Level) {
        self.counts.failed += 1;
        self.backoff.failed(Instant::now());
        match level {
            _ if !self.problem.set(why) => debug!("{why}"),
            Level::Warning => warn!("{why}"),
            Level::Error => error!("{why}"),
        }
    }

    /// Cancels every wait for a retry, because the daemon stops.
    pub fn skip_backoff(&mut self) {
        self.backoff.skip();
        self.lists.iter_mut().for_each(PrefixList::skip_backoff);
    }

    /// The lists of which BIRD may be notified: those whose file is valid.
    fn valid_lists(&self) -> impl Iterator<Item = &PrefixList> {
        self.lists.iter().filter(|list| list.is_valid())
    }

    /// The revisions that an attempt now would send.
    fn revisions(&self) -> impl Iterator<Item = (Family, Revision)> + '_ {
        self.valid_lists().map(|list| (list.family(), list.revision()))
    }

    fn for_list(&mut self, family: Family, act: impl FnMut(&mut PrefixList)) {
        self.lists.iter_mut().filter(|list| list.family() == family).for_each(act);
    }
}

/// The log level of a problem.
enum Level {
    Warning,
    Error,
}

#[cfg(test)]
mod tests;
